"""A module for each modality: encoded bytes -> the tokenizer's input tensor, and what else is done with that tensor."""
