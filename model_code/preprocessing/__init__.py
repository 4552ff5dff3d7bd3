"""One module a modality: encoded bytes -> the tokenizer's input tensor, and augmentations of that tensor."""
