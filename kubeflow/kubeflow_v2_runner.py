"""Compiles a config for Kubeflow Pipelines v2: the same pipeline as on one machine, with other paths.

    python kubeflow/kubeflow_v2_runner.py CONFIG -o pipeline.yaml --root gs://BUCKET/polyvit --image IMAGE:TAG

It takes the arguments of `polyvit compile`. The package polyvit-pipeline must be installed.
"""

import sys

from pipeline import cli

if __name__ == '__main__':
    sys.exit(cli.main(['compile', *sys.argv[1:]]))
