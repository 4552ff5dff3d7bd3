"""The pipeline: configs, wiring, runners, the Kubeflow compiler, the command line."""

import importlib.metadata

__version__ = importlib.metadata.version('polyvit-pipeline')  # as in pyproject.toml
