"""The compiled demo, executed on this machine as Kubeflow Pipelines does: seconds per step, and whether it is equal.

Run: .venv/bin/python -m benchmarks.compiled_pipeline [CONFIG] [--folder DIR]
It takes about ten minutes. Exit code 1 if a target is missed.

The config (by default the demo, whose media are made in DIR) is compiled, and executed twice by tests/kubeflow_backend,
with an S3 server of this machine for media, artifacts and versions, artifact types dropped, and every step in a process
of its own. Then it is run on this machine, from a copy of the media on its disk. Targets: all steps pass; the second
time nothing runs but the components that look at the world, and nothing is pushed; the weights are those of the local
run, bit for bit.
"""

import argparse
import os
import pathlib
import subprocess
import sys
import tempfile

os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

from benchmarks.report import Report
from model_code import file_io
from pipeline.kubeflow.compiler import UNCACHED
from pipeline.kubeflow.containers import component_of
from tests import kubeflow_backend, object_stores


def polyvit(*words: str | os.PathLike):
    subprocess.run([sys.executable, '-m', 'polyvit', *map(str, words)], check=True)


def weights(version: pathlib.Path) -> dict:
    """The values of all variables of a SavedModel, by their keys in its checkpoint."""
    import tensorflow as tf
    reader = tf.train.load_checkpoint(str(version / 'variables' / 'variables'))
    return {key: reader.get_tensor(key) for key in reader.get_variable_to_shape_map()}


def differing(first: dict, second: dict) -> list[str]:
    """The keys that only one has, or whose values differ in a bit."""
    def bits(value):
        return value.tobytes() if hasattr(value, 'tobytes') else value
    return sorted(key for key in first.keys() | second.keys()
                  if key not in first or key not in second or bits(first[key]) != bits(second[key]))


def measure(report: Report, config: str, folder: pathlib.Path):
    media = folder / 'media'
    if config == 'demo':
        polyvit('data', 'demo', media)
    with object_stores.s3_bucket() as url:
        file_io.copy_folder(str(media), f'{url}/media')
        polyvit('compile', config, '--data', f'{url}/media', '-o', folder / 'pipeline.yaml', '--root', f'{url}/polyvit',
                '--image', 'none/polyvit-pipeline:1')
        backend = kubeflow_backend.Backend(folder / 'cluster', environment={
            name: value for name, value in os.environ.items() if name.startswith('AWS_')})
        runs = [backend.run(folder / 'pipeline.yaml') for _ in range(2)]
        for run in runs:
            print(run.table(), flush=True)
        pushed = [run.executions['AtomicPusher'].outputs['pushed_model'] for run in runs if not run.failed]
        compiled = folder / 'pushed'
        if pushed:
            kubeflow_backend.store(pushed[0]['uri']).download(compiled)
    report('steps that failed', len(runs[0].failed), 0, False, ', '.join(runs[0].failed) or 'none')
    again = sorted(runs[1].of_state('COMPLETE'))
    looking = [name for name in runs[0].executions if component_of(name) in UNCACHED]
    report('steps that ran again', len(again), len(looking), False, ', '.join(again))
    report('pushes of the second run', sum(p['metadata']['pushed'] for p in pushed[1:]), 0, False, 'AtomicPusher')
    polyvit('run', config, '--data', media, '--root', folder / 'local')
    local = max((folder / 'local/serving/polyvit').iterdir())
    expected = weights(local)
    report('weights that differ from a local run', len(differing(weights(compiled), expected)), 0, False,
           f'of {len(expected)}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('config', nargs='?', default='demo', help='reads its media from --data, DIR/media here')
    parser.add_argument('--folder', type=pathlib.Path, help='for all that is written; by default a temporary one')
    arguments = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        measure(report, arguments.config, arguments.folder or pathlib.Path(temporary))
    return 1 if report.missed else 0


if __name__ == '__main__':
    sys.exit(main())
