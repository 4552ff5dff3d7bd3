"""MediaListing: lists and checks a task's media when a run on a cluster starts."""
