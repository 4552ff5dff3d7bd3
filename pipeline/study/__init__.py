"""`polyvit study`: does co-training pay on a config's own data? Trainings of several mixtures, compared."""

SEEDS = 3  # how many times a study does each training, unless it is told
