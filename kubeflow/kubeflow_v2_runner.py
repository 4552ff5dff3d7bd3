"""Compiles a config for Kubeflow Pipelines v2: the same pipeline as on one machine, other paths.

    python kubeflow/kubeflow_v2_runner.py CONFIG -o pipeline.yaml --root gs://BUCKET/polyvit --image IMAGE:TAG

The package must be installed. It takes the arguments of `polyvit compile`.
"""

import sys

from pipeline import cli

if __name__ == '__main__':
    sys.exit(cli.main(['compile', *sys.argv[1:]]))
