"""Where the components' Beam pipelines run: settings, checks before a run, runners, and what their errors mean."""
