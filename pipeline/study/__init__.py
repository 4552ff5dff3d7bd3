"""`polyvit study`: does co-training pay on a config's own data? Trainings of several mixtures, compared."""
