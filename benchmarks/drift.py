"""How far the statistics of two random halves of the same data are apart, by which `max_drift` was chosen.

    python -m benchmarks.drift [SET ...] [--halves 20]

SET: mnist, cifar10, fsdd, surveillance (../shared/data), demo (made on the spot). For halves of each size it prints the
median and the largest Jensen-Shannon divergence of all numeric features, by TFDV's histograms of equal width, by its
quantiles, and the smaller one, which DataDrift takes; what it takes for chance; the largest change of a label's
share; and how many pairs of features it would remark on.
"""

import argparse
import collections
import dataclasses
import pathlib
import random
import statistics as numbers
import tempfile

import pandas
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import schema_pb2

from benchmarks.report import chosen
from components.data_drift import distances, statistics
from media import listing, reading
from media.sandbox.parent import Decoder
from model_code.data import Data, Source
from model_code.modalities import MODALITIES
from model_code.tasks import Checks
from pipeline import demo_data
from pipeline.configs import demo

SHARED = pathlib.Path(__file__).resolve().parent.parent.parent / 'shared/data'
SIZES = (25, 50, 100, 200, 500, 1000, 2500, 6000)
SETS = {'mnist': ('image', Data(str(SHARED / 'mnist'), manifest='manifest.csv')),
        'cifar10': ('image', Data(str(SHARED / 'cifar10'))),
        'fsdd': ('audio', Data(str(SHARED / 'fsdd'), manifest='digit.csv')),
        'surveillance': ('video', Data(str(SHARED / 'surveillance'), manifest='manifest.csv')), 'demo': ('', Data())}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('sets', nargs='*')
    parser.add_argument('--halves', type=int, default=20, help='pairs of halves of each size')
    arguments = parser.parse_args()
    print('set            size  equal width     quantiles       the smaller     chance  labels          too far')
    for name in chosen(parser, arguments.sets, SETS):
        for task, examples in read(name):
            for size in (size for size in SIZES if 2 * size <= len(examples)):
                print_distances(task, examples, size, arguments.halves)


def read(name: str):
    """(name of a task, its examples' label and numeric features) of a set."""
    modality, data = SETS[name]
    if modality:
        yield name, decode(Source(name, modality, data))
        return
    with tempfile.TemporaryDirectory() as made:
        demo_data.make_demo_data(made)
        for task in demo.get_config().mixture.tasks:
            folder = pathlib.Path(made, pathlib.Path(task.data.folder).name)
            yield f'demo {task.name}', decode(Source(task.name, task.modality,
                                                     dataclasses.replace(task.data, folder=str(folder))))


def decode(source: Source) -> list[dict]:
    """{'label', numeric feature: value} of each example, as MediaExampleGen writes it."""
    decoder = Decoder(source.data.folder, source.modality, MODALITIES[source.modality].input_class(),
                      source.data.limits, ())
    try:
        found = reading.decode(decoder, listing.list_media(source).entries, source.modality)
        return [{'label': decoded.entry.labels[0], **{feature: value for feature, value in decoded.features.items()
                                                      if isinstance(value, (int, float))}}
                for decoded in found if not decoded.rejection]
    finally:
        decoder.close()


def print_distances(name: str, examples: list[dict], size: int, halves: int):
    by_histogram, smaller, labels, over = {kind: [] for kind in distances.HISTOGRAMS}, [], [], 0
    for seed in range(halves):
        picked = random.Random(seed).sample(examples, 2 * size)
        old, new = (tfdv.generate_statistics_from_dataframe(pandas.DataFrame(half), n_jobs=1)
                    for half in (picked[:size], picked[size:]))
        names = list(statistics.numeric(new))
        measured = {kind: distances.measure(old, new, names, kind) for kind in by_histogram}
        for kind, values in measured.items():
            by_histogram[kind] += values.values()
        found = distances.between(old, new)
        smaller += [distance.value for distance in found.values()]
        over += sum(distance.exceeds(Checks().max_drift) for distance in found.values())
        counts = [collections.Counter(example['label'] for example in half) for half in (picked[:size], picked[size:])]
        labels.append(max(abs(counts[0][label] - counts[1][label]) / size for label in {*counts[0], *counts[1]}))
    columns = [by_histogram[schema_pb2.HistogramSelection.STANDARD],
               by_histogram[schema_pb2.HistogramSelection.QUANTILES], smaller]
    shown = '   '.join(f'{numbers.median(values):.3f}  {max(values):.3f}' for values in columns)
    print(f'{name:<13} {size:>5}  {shown}   {distances.chance(size, size):.3f}   {numbers.median(labels):.3f}  '
          f'{max(labels):.3f}   {over} of {len(smaller)}', flush=True)


if __name__ == '__main__':
    main()
