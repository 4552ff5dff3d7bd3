"""BaselineLookup: which served version a model is compared with, found when a run on a cluster gets there."""
