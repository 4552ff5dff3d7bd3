"""How ingest, statistics, Transform and evaluation grow with the number of examples, and what breaks first.

Run: .venv/bin/python -m benchmarks.growth [--sizes 1000,10000,50000] [--workers N]
It takes some 15 minutes with these sizes, so it is not among those of `make bench`.

Examples are JPEGs of 32 x 32 pixels (about 1 kB) in ten class folders, made on the spot; a tenth of them is the eval
split. Each component's executor runs in a process of its own, after its imports, as the pipeline runs it. The baseline
reads and decodes the same files in a loop. The evaluation is of a model that costs nothing, on as many examples.

Without --workers Beam runs in the process that starts it, so that the memory is that of driver and worker in one. With
it, workers are processes, and the memory of the driver and of the largest worker are apart.

Seconds and memory are fitted by a straight line, start + examples x slope. What a million and a hundred million
examples would take is extrapolated from it, not measured.
"""

import argparse
import io
import json
import os
import pathlib
import resource
import shutil
import subprocess
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

import numpy as np
from PIL import Image

from media.listing import files as listing_files
from media.listing import manifests
from model_code import words
from model_code.data import Data, Source
from model_code.modalities import ImageInput
from model_code.serialization import to_json
from pipeline.beam.settings import Beam

CLASSES = 10
SPEC = ImageInput(height=32, width=32, patch=(8, 8))
FAR = (1_000_000, 100_000_000)


# What a child process does. Each function takes the folder of one size, and the number of examples. It returns the
# function that is timed.

def loop(folder: pathlib.Path, count: int, arguments: list[str]):
    def decode():
        for path in (folder / 'media').glob('*/*/*.jpg'):
            np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert('RGB'))
    return decode


def ingest(folder: pathlib.Path, count: int, arguments: list[str]):
    from tfx.types import standard_artifacts

    from components.artifacts import RejectedMedia
    from components.classes import Classes
    from components.media_example_gen import executor
    from media import listing
    outputs = {'examples': [_artifact(standard_artifacts.Examples, folder)],
               'rejected': [_artifact(RejectedMedia, folder)], 'classes': [_artifact(Classes, folder)]}
    properties = {'source': to_json(_source(folder)), 'spec': to_json(SPEC),
                  'media_fingerprint': listing.media_fingerprint(_source(folder))}
    return lambda: _do(executor, folder, arguments, {}, outputs, properties)


def statistics(folder: pathlib.Path, count: int, arguments: list[str]):
    from tfx.components.statistics_gen import executor
    from tfx.types import standard_artifacts
    inputs = {'examples': [_examples(folder)], 'schema': [_schema(folder)]}
    outputs = {'statistics': [_artifact(standard_artifacts.ExampleStatistics, folder)]}
    return lambda: _do(executor, folder, arguments, inputs, outputs, {})


def transform(folder: pathlib.Path, count: int, arguments: list[str]):
    from tfx.types import standard_artifacts

    from components.transform import executor
    inputs = {'examples': [_examples(folder)], 'schema': [_schema(folder)]}
    outputs = {'transform_graph': [_artifact(standard_artifacts.TransformGraph, folder)],
               'transformed_examples': [_artifact(standard_artifacts.Examples, folder, 'Transformed')]}
    return lambda: _do(executor, folder, arguments, inputs, outputs,
                       {'source': to_json(_source(folder)), 'spec': to_json(SPEC)})


def evaluation(folder: pathlib.Path, count: int, arguments: list[str]):
    from tfx.types import standard_artifacts

    from components.task_evaluator import executor
    from tests import artifacts
    from tests.components import scoring_model
    judged = _artifact(standard_artifacts.Examples, folder, 'Judged')
    judged.split_names = '["eval"]'
    scores = np.random.default_rng(0).random((count, len(scoring_model.CLASSES)))
    labels = [[scoring_model.CLASSES[i % len(scoring_model.CLASSES)]] for i in range(count)]
    scoring_model.write_examples(judged.uri, labels, scores)
    model = _artifact(standard_artifacts.Model, folder)
    scoring_model.export(model.uri, {'digits': np.eye(len(scoring_model.CLASSES))}, (scoring_model.SINGLE,),
                         card={'tasks': [{'name': 'digits', 'classes': list(scoring_model.CLASSES)}]})
    inputs = {'examples': [judged], 'model': [model],
              'classes': [artifacts.classes(folder / 'JudgedClasses', scoring_model.CLASSES)]}
    outputs = {'evaluation': [_artifact(standard_artifacts.ModelEvaluation, folder)]}
    return lambda: _do(executor, folder, arguments, inputs, outputs, {'source': to_json(scoring_model.SINGLE.source)})


def _do(executor, folder: pathlib.Path, arguments: list[str], *given):
    from tfx.dsl.components.base import base_beam_executor
    context = base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=arguments, tmp_dir=str(folder),
                                                          unique_id='1')
    executor.Executor(context).Do(*given)


def _artifact(kind, folder: pathlib.Path, name: str = ''):
    made = kind()
    made.uri = str(folder / (name or kind.__name__))
    return made


def _examples(folder: pathlib.Path):
    from tfx.types import standard_artifacts
    examples = _artifact(standard_artifacts.Examples, folder)
    examples.split_names = '["train", "eval"]'
    return examples


def _schema(folder: pathlib.Path):
    from tfx.types import standard_artifacts

    from components.classes import Classes
    from components.task_schema_gen import executor
    schema = _artifact(standard_artifacts.Schema, folder)
    executor.Executor().Do({'classes': [_artifact(Classes, folder)]}, {'schema': [schema]},
                           {'source': to_json(_source(folder))})
    return schema


def _source(folder: pathlib.Path) -> Source:
    return Source('growth', 'image', Data(str(folder / 'media')))


STAGES = {'loop': loop, 'ingest': ingest, 'statistics': statistics, 'Transform': transform, 'evaluation': evaluation}


def child(stage: str, folder: str, count: int, arguments: list[str]) -> dict:
    """{'seconds', 'driver_mb': peak memory of this process over that after its imports, 'worker_mb': of a worker}.

    worker_mb: of the largest process that Beam started, its imports included. Without workers it says nothing.
    """
    work = STAGES[stage](pathlib.Path(folder), count, arguments)
    before, start = _peak_mb(resource.RUSAGE_SELF), time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return {'seconds': seconds, 'driver_mb': _peak_mb(resource.RUSAGE_SELF) - before,
            'worker_mb': _peak_mb(resource.RUSAGE_CHILDREN)}


def _peak_mb(who: int) -> float:
    return resource.getrusage(who).ru_maxrss / 1024


# What the parent does.

def run(stage: str, folder: pathlib.Path, count: int, arguments: list[str]) -> dict:
    """What `child` returns, from a process of its own."""
    job = dict(stage=stage, folder=str(folder), count=count, arguments=arguments)
    process = subprocess.run([sys.executable, '-m', 'benchmarks.growth', '--child', json.dumps(job)],
                             capture_output=True, encoding='utf-8')
    if process.returncode:
        sys.exit(f'{stage} of {count:,} examples failed:\n{process.stderr[-4000:]}')
    return json.loads(process.stdout.splitlines()[-1])


def make_media(folder: pathlib.Path, count: int):
    """`count` JPEGs, no two equal: a tenth of them for the eval split, in as many classes as there are."""
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (64, 32, 32, 3), np.uint8)
    for i in range(count):
        path = folder / ('eval' if i % 10 == 0 else 'train') / f'class_{i // 10 % CLASSES}' / f'{i:08d}.jpg'
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = base[i % len(base)].copy()
        pixels[:8, :8] = i % 256, i // 256 % 256, i // 65536 % 256
        Image.fromarray(pixels).save(path, quality=60)


def measure(sizes: list[int], workers: int, folder: pathlib.Path) -> dict[str, list[dict]]:
    """Stage -> what `run` measured of each size. Prints each, and the stored bytes and files."""
    arguments = (Beam(runner='multi_process', workers=workers) if workers else Beam()).arguments('MediaExampleGen')
    measured = {stage: [] for stage in STAGES}
    for count in sizes:
        here = folder / str(count)
        make_media(here / 'media', count)
        for stage, rows in measured.items():
            row = run(stage, here, count, arguments)
            if stage in ('ingest', 'Transform'):
                made = here / ('Examples' if stage == 'ingest' else 'Transformed')
                stored = [path.stat().st_size for path in made.rglob('*.gz')]
                row |= {'bytes': sum(stored), 'files': len(stored)}
            rows.append(row)
            print(f'{stage:11} {count:>9,}  {row["seconds"]:8.1f} s {row["driver_mb"]:8.0f} MB'
                  + (f' and {row["worker_mb"]:,.0f} MB of a worker' if workers and stage != 'loop' else '')
                  + (f', {row["bytes"] / 1e6:.1f} MB in {row["files"]} files' if 'bytes' in row else ''), flush=True)
        shutil.rmtree(here)
    return measured


def line(sizes: list[int], values: list[float]) -> tuple[float, float]:
    """(start, slope) of the straight line that fits best."""
    slope, start = np.polyfit(sizes, values, 1)
    return float(start), float(slope)


def report(sizes: list[int], measured: dict[str, list[dict]], memory: int, disk: int):
    """Prints the fits, what they say of many more examples, and which limit is met first."""
    limits = [(listing_files.MAX_FILES, 'the most examples that one task may have'),
              (manifests.MAX_BYTES // 60, 'the most bytes of one manifest, at 60 bytes per row')]
    stored = 0.0
    print('\nBy a straight line; what is beyond the largest size is extrapolated:')
    for stage, rows in measured.items():
        start_s, slope_s = line(sizes, [row['seconds'] for row in rows])
        start_mb, slope_mb = line(sizes, [row['driver_mb'] for row in rows])
        far = '; '.join(f'{count:,}: {words.duration(max(0, start_s + slope_s * count))}, '
                        f'{max(0, start_mb + slope_mb * count) / 1024:.1f} GB' for count in FAR)
        print(f'{stage:11} {start_s:6.1f} s + {1e6 * slope_s:8.1f} us per example, {start_mb:6.0f} MB + '
              f'{1e6 * slope_mb:8.0f} bytes per example. {far}')
        if stage != 'loop':
            if slope_mb > 0:
                limits.append(((memory / 2 ** 20 - start_mb) / slope_mb, f'{stage}: this machine\'s memory'))
            limits.append(((86_400 - start_s) / slope_s, f'{stage}: a day'))
        if 'bytes' in rows[-1]:
            stored += rows[-1]['bytes'] / sizes[-1]
    limits.append((disk / stored, 'ingest and Transform: this disk'))
    print(f'\nStored: {stored:,.0f} bytes per example. Output files: one per 1,024 images or 64 MB.')
    print('What is met first, by the number of examples of one task:')
    for count, what in sorted(limit for limit in limits if limit[0] > 0):
        print(f'{round(count, -3):>15,.0f}  {what}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('--sizes', default='1000,10000,50000', help='numbers of examples, two at least')
    parser.add_argument('--workers', type=int, default=0, help='processes for Beam; 0: in this one')
    parser.add_argument('--child', type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(child(**args.child)))
        return 0
    sizes = sorted({int(size) for size in args.sizes.split(',')})
    if len(sizes) < 2 or sizes[0] < 100:
        parser.error('--sizes needs two numbers at least, of 100 or more')
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(sizes, args.workers, pathlib.Path(folder))
        memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
        report(sizes, measured, memory, shutil.disk_usage(folder).free)
    return 0


if __name__ == '__main__':
    sys.exit(main())
