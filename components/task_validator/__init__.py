"""TaskValidator: the stock ExampleValidator, and a stop where it finds an anomaly."""
