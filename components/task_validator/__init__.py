"""TaskValidator: the stock ExampleValidator, which also stops the run if the data are not good enough to train on."""
