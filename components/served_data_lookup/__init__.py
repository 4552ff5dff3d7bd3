"""ServedDataLookup: which served version the new data are compared with, found when a run on a cluster gets there."""
