"""TaskValidator: the stock ExampleValidator, and a stop where the data are not good enough to train on."""
