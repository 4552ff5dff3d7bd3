"""The annotation files of public data sets, with the columns that they are published with.

One walk of the data folder finds the media, wherever they are, by their names without endings. An annotation without a
media file is rejected as `missing`, since it has no path that a reader could open.

Sources: Kinetics-400 (Kay et al. 2017, and its annotation archive), Moments in Time (its README), AudioSet
(research.google.com/audioset), VGGSound (robots.ox.ac.uk/~vgg/data/vggsound), ILSVRC 2012 (its development kit, and
Kaggle's files), Oxford-IIIT Pets (annotations/README).
"""

import functools
import json
import posixpath
import re

from media import paths
from media.entries import Entry
from media.listing import files
from media.listing.collector import (
    Collector,
    clean_extra,
    split_of,
    split_of_name,
    split_of_path,
)
from media.listing.folders import walk_media
from media.listing.manifests import MAX_BYTES, Lines, csv_rows, where_is
from media.rejections import Rejection
from model_code.errors import ConfigError

_MAX_NAMES_BYTES = 64 << 20  # of a file with class names


class _Media:
    """The media files below the data folder, by the names that annotations use."""

    def __init__(self, collector: Collector, parts: int = 1):
        """parts: how many parts of a path, counted from its end, make the name."""
        walked = walk_media(collector)
        self._rejected_files, self._paths = walked.rejected_files, {}
        for path in sorted([*walked.files, *walked.rejected_files], reverse=True):  # the first of several wins
            self._paths['/'.join(_stem(path).split('/')[-parts:])] = path

    def find(self, *names: str) -> tuple[str, int] | None:
        """(path, index of the name) for the first name that a file has. Raises Rejection if the file is rejected."""
        for i, name in enumerate(names):
            path = self._paths.get(name)
            if path in self._rejected_files:
                raise self._rejected_files[path]
            if path is not None:
                return path, i
        return None


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


# A row of a published file is a dict: column -> text.

def _add_csv(collector: Collector, columns: tuple[str, ...], optional: int, header: bool, add_row, comments=False,
             **dialect):
    """Calls add_row(row, where, name of the manifest) for each row of each manifest.

    columns: as published; the last `optional` of them may be missing. header: the first line names the columns, in any
    order. comments: lines that begin with '#' are ignored. dialect: of the csv module. If add_row raises Rejection, the
    row is rejected.
    """
    _check_extra(collector, columns)
    for name in collector.data.manifest:
        with files.open_text(collector.data.folder, name, MAX_BYTES) as text:
            indices = None if header else {column: i for i, column in enumerate(columns)}
            on_error = functools.partial(_reject_line, collector, name)
            for line, fields in csv_rows(text, on_error, **dialect):
                if comments and fields[0].startswith('#'):
                    continue
                if indices is None:
                    indices = {field.strip(): i for i, field in enumerate(fields)}
                    lacking = [column for column in columns[:len(columns) - optional] if column not in indices]
                    if lacking:
                        raise ConfigError(f'{where_is(collector, name)} has no column {" or ".join(lacking)}. As '
                                          f'published, its first line is {",".join(columns)}.')
                    width = len(fields)
                    continue
                most = width if header else len(columns)
                least = most if header else most - optional
                row = {column: fields[i].strip() for column, i in indices.items() if i < len(fields)}
                where = f'line {line} of {name}'
                _add_row(collector, where, least <= len(fields) <= most, columns,
                         functools.partial(add_row, row, where, name))


def _add_row(collector, where, complete, columns, add):
    try:
        if not complete:
            raise Rejection('bad_row', f'It does not have the columns {", ".join(columns)}.')
        add()
    except Rejection as rejection:
        collector.reject(rejection.at(''), where)


def _reject_line(collector: Collector, manifest: str, number: int, what: str, line: str):
    collector.reject(Rejection('bad_row', f'It is not valid CSV: {what}.'), f'line {number} of {manifest}')


def _check_extra(collector: Collector, columns):
    for name in collector.data.columns.extra:
        if name not in columns:
            raise ConfigError(f'Task {collector.source.name}: the extra column {name} is not one of '
                              f'format {collector.data.format!r}: {", ".join(columns)}.')


def _extra(collector: Collector, row: dict) -> tuple[tuple[str, str], ...]:
    pairs = ((name, clean_extra(name, row.get(name, ''))) for name in collector.data.columns.extra)
    return tuple((name, value) for name, value in pairs if value)


def _split(collector: Collector, name: str) -> str:
    """The split of a published file, by its name."""
    split = split_of_name(posixpath.basename(name))
    if split is None:
        raise ConfigError(f'{where_is(collector, name)}: its name names no split (train, test, val, ...). '
                          'Keep the published name.')
    return split


def _whole_seconds(seconds: float | None) -> int:
    if seconds is None or seconds > 10_000_000:
        raise Rejection('bad_row', 'It has no start and end in seconds.')
    return round(seconds)


def _add_clip(collector: Collector, media: _Media, row, where, labels, split, start, end, name: str,
              cut_names: list[str]):
    """Adds a clip of a longer recording: its own file, if one of `cut_names` exists, else a segment of the recording.
    Clips of one recording are a group, unless the task has other ones.

    name: that of the recording. cut_names: possible names of the clip's own file.
    """
    file = media.find(*cut_names, name)
    if file is None:
        collector.reject(Rejection('missing', f'No file below the data folder is named {cut_names[0]}.* or '
                                              f'{paths.shown(name, 40)}.*.', cut_names[0]), where, labels)
        return
    path, index = file
    columns = collector.data.columns
    if index < len(cut_names) or not (columns.start and columns.end):  # without these columns, every file is a clip
        start = end = None
    group = '' if collector.data.groups else name
    collector.add(Entry(path, labels, split, start, end, group=group, extra=_extra(collector, row)), where)


# Video and sound.

def add_kinetics(collector: Collector):
    """Kinetics-400: `label,youtube_id,time_start,time_end,split[,is_cc]`; `<id>_000010_000020.mp4` or `<id>.*`."""
    media = _Media(collector)

    def add_row(row, where, name):
        start, end = collector.segment(row['time_start'], row['time_end'])
        split = split_of(row['split']) if row.get('split') else _split(collector, name)
        cut = f'{row["youtube_id"]}_{_whole_seconds(start):06d}_{_whole_seconds(end):06d}'
        labels = collector.label_list([row['label']])
        _add_clip(collector, media, row, where, labels, split, start, end, row['youtube_id'], [cut])

    _add_csv(collector, ('label', 'youtube_id', 'time_start', 'time_end', 'split', 'is_cc'), 2, True, add_row)


def add_moments(collector: Collector):
    """Moments in Time: `<class>/<file>,label,agreeing,disagreeing`; files below training/ and validation/."""
    media = _Media(collector, parts=2)

    def add_row(row, where, name):
        path = paths.safe_path(row['path'])
        file = media.find('/'.join(_stem(path if '/' in path else f'{row["label"]}/{path}').split('/')[-2:]))
        labels = collector.label_list([row['label']])
        if file is None:
            collector.reject(Rejection('missing', f'No file below the data folder ends in {path}.', path), where,
                             labels)
        else:
            collector.add(Entry(file[0], labels, _split(collector, name), extra=_extra(collector, row)), where)

    _add_csv(collector, ('path', 'label', 'agreeing', 'disagreeing'), 2, False, add_row)


def add_audioset(collector: Collector):
    """AudioSet: `YTID, start_seconds, end_seconds, "/m/..,/m/.."` after comment lines; class names in another file."""
    media, names = _Media(collector), _audioset_names(collector)

    def add_row(row, where, name):
        start, end = collector.segment(row['start_seconds'], row['end_seconds'])
        first, last, ytid = _whole_seconds(start), _whole_seconds(end), row['YTID']
        mids = [mid.strip() for mid in row['positive_labels'].split(',') if mid.strip()]
        unknown = [mid for mid in mids if names and mid not in names]
        if unknown:
            raise Rejection('bad_label', f'The label {paths.shown(unknown[0], 40)} is not in the file of class names.')
        labels = collector.label_list([names.get(mid, mid) for mid in mids])
        cut_names = [f'{ytid}_{first:06d}', f'{ytid}_{first * 1000}_{last * 1000}', f'{ytid}_{first:06d}_{last:06d}',
                     f'{ytid}_{first}_{last}', f'Y{ytid}']
        _add_clip(collector, media, row, where, labels, _split(collector, name), start, end, ytid, cut_names)

    columns = ('YTID', 'start_seconds', 'end_seconds', 'positive_labels')
    _add_csv(collector, columns, 0, False, add_row, comments=True, skipinitialspace=True)


def _audioset_names(collector: Collector) -> dict[str, str]:
    """Label id -> name, from class_labels_indices.csv (index,mid,display_name) or ontology.json; {} without either."""
    name = _beside(collector, ('class_labels_indices.csv', 'ontology.json'))
    if not name:
        return {}
    try:
        with files.open_text(collector.data.folder, name, _MAX_NAMES_BYTES) as text:
            if name.endswith('.json'):
                return {str(item['id']): str(item['name']) for item in json.load(text)}
            rows = [fields for _, fields in csv_rows(text, _raise, skipinitialspace=True)]
            mid, display_name = rows[0].index('mid'), rows[0].index('display_name')
            return {fields[mid]: fields[display_name] for fields in rows[1:]}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f'Task {collector.source.name}: {name} in {collector.data.folder} differs from the file that '
                          f'AudioSet publishes: {paths.shown(str(error))}.') from error


def _raise(line, what, _):
    raise ValueError(f'line {line}: {what}')


def add_vggsound(collector: Collector):
    """VGGSound: `id,start,label,split`, without a line of column names; clips of 10 s, `<id>_000030.*`, or `<id>.*`."""
    media = _Media(collector)

    def add_row(row, where, name):
        start = collector.segment(row['start'], None)[0]
        first, last = _whole_seconds(start), _whole_seconds(start) + 10
        cut_names = [f'{row["id"]}_{first:06d}', f'{row["id"]}_{first * 1000}_{last * 1000}',
                     f'{row["id"]}_{first:06d}_{last:06d}', f'{row["id"]}_{first}']
        labels, split = collector.label_list([row['label']]), split_of(row['split'])
        _add_clip(collector, media, row, where, labels, split, start, (start or 0.0) + 10.0, row['id'], cut_names)

    _add_csv(collector, ('id', 'start', 'label', 'split'), 0, False, add_row)


# Images.

def add_imagenet(collector: Collector):
    """ILSVRC: synset folders (n01440764) in train and val, or a flat val with LOC_val_solution.csv."""
    walked = walk_media(collector)
    _check_extra(collector, ('synset',))
    names, solution = _synset_names(collector), _val_solution(collector)
    for path in [*walked.files, *walked.rejected_files]:
        *folders, name = path.split('/')
        if name.startswith('ILSVRC2012_test_'):
            continue  # published without labels
        listed_synset = solution.pop(_stem(name), None)
        synset = next((folder for folder in reversed(folders) if re.fullmatch(r'n\d{8}', folder)), listed_synset)
        try:
            if path in walked.rejected_files:
                raise walked.rejected_files[path]
            if synset is None:
                raise Rejection('bad_label', 'It is not in a synset folder (such as n01440764), and no '
                                             'LOC_val_solution.csv names it.')
            split = split_of_path('/'.join(folders))
            if name.startswith('ILSVRC2012_val_'):
                split = 'eval'
            collector.add(Entry(path, collector.label_list([names.get(synset, synset)]), split or '',
                                extra=_extra(collector, {'synset': synset})), '')
        except Rejection as rejection:
            collector.reject(rejection.at(path))
    for name in solution:
        collector.reject(Rejection('missing', 'LOC_val_solution.csv names it, but it is not below the data folder.',
                                   f'{name}.JPEG'))


def _synset_names(collector: Collector) -> dict[str, str]:
    """Synset -> its words. If two have the same (crane, the bird and the machine), the synset is added to them."""
    name = _beside(collector, ('LOC_synset_mapping.txt', 'synset_words.txt'))
    names = dict(_spaced(collector, name, 2)) if name else {}
    counts = {}
    for words in names.values():
        counts[words] = counts.get(words, 0) + 1
    return {synset: f'{words} ({synset})' if counts[words] > 1 else words for synset, words in names.items()}


def _spaced(collector: Collector, name: str, parts: int):
    """The lines of a small text file that have `parts` parts: words, and the rest of the line as the last part."""
    with files.open_text(collector.data.folder, name, _MAX_NAMES_BYTES) as text:
        for line in text:
            words = line.strip().split(None, parts - 1)
            if len(words) == parts:
                yield words


def _val_solution(collector: Collector) -> dict[str, str]:
    """Name of a validation image -> synset, from LOC_val_solution.csv (ImageId, synset and box, repeated)."""
    name = _beside(collector, ('LOC_val_solution.csv',))
    if not name:
        return {}
    solution = {}
    with files.open_text(collector.data.folder, name, _MAX_NAMES_BYTES) as text:
        on_error = functools.partial(_reject_line, collector, name)
        for line, fields in csv_rows(text, on_error):
            synset = fields[1].split(None, 1)[:1] if len(fields) == 2 else []
            if synset and re.fullmatch(r'n\d{8}', synset[0]):
                solution[fields[0]] = synset[0]
            elif fields[0] != 'ImageId':
                collector.reject(Rejection('bad_row', 'It is not an image name, a comma and a synset.'),
                                 f'line {line} of {name}')
    return solution


def add_pets(collector: Collector):
    """Oxford-IIIT Pets: lines `Abyssinian_100 1 1 1` (name, class, species, breed) in trainval.txt and test.txt."""
    media, columns = _Media(collector), ('name', 'class_id', 'species', 'breed_id')
    _check_extra(collector, columns)
    for manifest in collector.data.manifest:
        split = _split(collector, manifest)
        with files.open_text(collector.data.folder, manifest, MAX_BYTES) as text:
            lines = Lines(text)
            for line in lines:
                lines.next_row()
                fields = line.split()
                if fields and not line.startswith('#'):
                    where, row = f'line {lines.number} of {manifest}', dict(zip(columns, fields, strict=False))
                    _add_row(collector, where, len(fields) == len(columns), columns,
                             functools.partial(_add_pet, collector, media, row, where, split))


def _add_pet(collector: Collector, media: _Media, row, where, split):
    breed, _, number = row['name'].rpartition('_')
    if not breed or not number.isdigit():
        raise Rejection('bad_row', f'{paths.shown(row["name"], 40)} is not a breed, "_" and a number.')
    labels, file = collector.label_list([breed]), media.find(row['name'])
    if file is None:
        missing = Rejection('missing', 'No file below the data folder has this name.', f'{row["name"]}.jpg')
        collector.reject(missing, where, labels)
    else:
        collector.add(Entry(file[0], labels, split, extra=_extra(collector, row)), where)


def _beside(collector: Collector, names: tuple[str, ...]) -> str:
    """The path of the first of `names` in the data folder or beside a manifest; '' if there is none."""
    folders = dict.fromkeys(['', *(posixpath.dirname(manifest) for manifest in collector.data.manifest)])
    candidates = [posixpath.join(folder, name) for name in names for folder in folders]
    return next((path for path in candidates if files.exists(collector.data.folder, path)), '')
