"""DataDrift: the statistics of the new data against those of the data that the served model was trained on."""
