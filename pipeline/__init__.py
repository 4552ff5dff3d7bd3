"""The pipeline: configs, its wiring, what runs and compiles it, the command line."""

import importlib.metadata

__version__ = importlib.metadata.version('polyvit-pipeline')  # pyproject.toml's
