"""CIFAR's binary batches: records of one or two label bytes and 32 x 32 pixels (cs.toronto.edu/~kriz/cifar.html).

Only the labels are used here. The pixels of a record are 3,072 bytes: 1,024 for red, then green, then blue, row by row.
"""

import posixpath

from media.entries import Entry
from media.listing import files
from media.listing.collector import Collector
from media.rejections import Rejection
from model_code.errors import ConfigError

PIXEL_BYTES = 3 * 32 * 32
_CHUNK_RECORDS = 1000  # read at once

# A format -> the splits of its files, the file with the class names, and the number of label bytes before the pixels.
# The last label byte is the label.
_FORMATS = {
    'cifar10': ({**{f'data_batch_{i}.bin': 'train' for i in range(1, 6)}, 'test_batch.bin': 'eval'},
                'batches.meta.txt', 1),
    'cifar100': ({'train.bin': 'train', 'test.bin': 'eval'}, 'fine_label_names.txt', 2),
}


def add_all(collector: Collector):
    """Adds every record of the batches, which may be anywhere below the data folder.

    Raises ConfigError if the class names are missing, or all batches.
    """
    folder = collector.data.folder
    splits, names_file, _ = _FORMATS[collector.data.format]
    walked = files.walk(folder, ('.bin', names_file))
    paths = {posixpath.basename(path): path for path in reversed([*walked.files])}
    if names_file not in paths or not splits.keys() & paths.keys():
        raise ConfigError(f'Task {collector.source.name}: {folder} needs {names_file} and {", ".join(splits)}, the '
                          'files of the binary version of the data set.')
    with files.open_text(folder, paths[names_file], 1 << 20) as text:
        names = [line.strip() for line in text if line.strip()]
    for name, split in splits.items():
        if name in paths:
            _add_batch(collector, paths[name], split, names)
        else:
            collector.reject(Rejection('missing', 'There is no such file below the data folder.', name))


def _add_batch(collector: Collector, path: str, split: str, names: list[str]):
    label_bytes = _FORMATS[collector.data.format][2]
    record_bytes, number = label_bytes + PIXEL_BYTES, 0
    with files.open_file(collector.data.folder, path) as file:
        while chunk := file.read(_CHUNK_RECORDS * record_bytes):
            for begin in range(0, len(chunk), record_bytes):
                member = f'{number:06d}'
                if begin + record_bytes > len(chunk):
                    detail = f'The file ends after {len(chunk) - begin:,} of its {record_bytes:,} bytes.'
                    collector.reject(Rejection('truncated', detail, f'{path}!{member}'))
                    continue
                label, offset = chunk[begin + label_bytes - 1], number * record_bytes + label_bytes
                number += 1
                try:
                    if label >= len(names):
                        raise Rejection('bad_label', f'Its label is {label}, but there are {len(names)} class names.')
                    labels = collector.label_list([names[label]])
                    collector.add(Entry(path, labels, split, None, None, offset, PIXEL_BYTES,
                                        member, collector.data.format), '')
                except Rejection as rejection:
                    collector.reject(rejection.at(f'{path}!{member}'))
