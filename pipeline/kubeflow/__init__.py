"""The pipeline on Kubeflow Pipelines v2: compiling it, and what its containers run."""
