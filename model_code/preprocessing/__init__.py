"""One module per modality: encoded bytes -> the tokenizer's input tensor, its augmentations and its statistics."""
