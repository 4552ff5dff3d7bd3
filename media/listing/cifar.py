"""CIFAR's binary batches: records of a label byte or two and 32 x 32 pixels (cs.toronto.edu/~kriz/cifar.html).

Only labels are looked at here. A record's pixels are 3,072 bytes: 1,024 of red, then of green, then of blue, by rows.
"""

import posixpath

from media.entries import Entry
from media.listing import files
from media.listing.collector import Collector
from media.rejections import Rejection
from model_code.errors import ConfigError

PIXEL_BYTES = 3 * 32 * 32
_CHUNK = 1000  # records read at once

# A format -> its files by split, the file of its classes' names, and the label bytes before the pixels: the last one of
# them is the label.
_KINDS = {
    'cifar10': ({**{f'data_batch_{i}.bin': 'train' for i in range(1, 6)}, 'test_batch.bin': 'eval'},
                'batches.meta.txt', 1),
    'cifar100': ({'train.bin': 'train', 'test.bin': 'eval'}, 'fine_label_names.txt', 2),
}


def add_all(collector: Collector):
    """Adds every record of the batches, wherever below the data folder they lie.

    Raises ConfigError where the classes' names are not there, or no batch.
    """
    folder = collector.data.folder
    splits, names_file, _ = _KINDS[collector.data.format]
    walked = files.walk(folder, ('.bin', names_file))
    paths = {posixpath.basename(path): path for path in reversed(walked.files)}
    if names_file not in paths or not splits.keys() & paths.keys():
        raise ConfigError(f'Task {collector.source.name}: {folder} needs {names_file} and {", ".join(splits)}, as the '
                          'binary version of the data set is published.')
    with files.open_text(folder, paths[names_file], 1 << 20) as text:
        names = [line.strip() for line in text if line.strip()]
    for name, split in splits.items():
        if name in paths:
            _add_batch(collector, paths[name], split, names)
        else:
            collector.reject(Rejection('missing', 'There is no such file below the data folder.', name))


def _add_batch(collector: Collector, path: str, split: str, names: list[str]):
    label_bytes = _KINDS[collector.data.format][2]
    record, number = label_bytes + PIXEL_BYTES, 0
    with files.open_file(collector.data.folder, path) as file:
        while chunk := file.read(_CHUNK * record):
            for place in range(0, len(chunk), record):
                member = f'{number:06d}'
                if place + record > len(chunk):
                    collector.reject(Rejection('truncated', f'The file ends after {len(chunk) - place:,} of its '
                                                            f'{record:,} bytes.', f'{path}!{member}'))
                    continue
                label, offset = chunk[place + label_bytes - 1], number * record + label_bytes
                number += 1
                try:
                    if label >= len(names):
                        raise Rejection('bad_label', f'Its label is {label}; there are names for {len(names)}.')
                    labels = collector.label_list([names[label]])
                    collector.add(Entry(path, labels, split, None, None, offset, PIXEL_BYTES,
                                        member, collector.data.format), '')
                except Rejection as rejection:
                    collector.reject(rejection.at(f'{path}!{member}'))
