"""The annotation files of public data sets, in the columns in which they are published.

Files are found with one walk of the data folder by their name without its ending, wherever they lie. A clip that an
annotation names and nobody has is rejected as `missing`: it has no path that a reader could open. Sources: Kinetics-400
(Kay et al. 2017, and its annotation archive), Moments in Time (its README), AudioSet (research.google.com/audioset),
VGGSound (robots.ox.ac.uk/~vgg/data/vggsound), ILSVRC 2012 (its development kit, and Kaggle's files), Oxford-IIIT Pets
(annotations/README).
"""

import functools
import json
import posixpath
import re

from media.entries import Entry
from media.listing import files, paths
from media.listing.collector import (
    Collector,
    clean_extra,
    hashed_split,
    split_of,
    split_of_name,
)
from media.listing.folders import walk_media
from media.listing.manifests import MAX_BYTES, Lines, csv_rows, where_is
from media.rejections import Rejection
from model_code.errors import ConfigError

_MAX_NAMES_BYTES = 64 << 20  # of a file of classes' names


class _Media:
    """The media files below the data folder, by what an annotation calls them."""

    def __init__(self, collector: Collector, parts: int = 1):
        """parts: how many names of a path, from its end, an annotation gives."""
        walked = walk_media(collector)
        self._rejected_files, self._paths = walked.rejected_files, {}
        for path in sorted([*walked.files, *walked.rejected_files], reverse=True):  # of several the first is taken
            self._paths['/'.join(_stem(path).split('/')[-parts:])] = path

    def find(self, *names: str) -> tuple[str, int] | None:
        """(path, which name) of the first name that a file has; Rejection where it may not be opened."""
        for i, name in enumerate(names):
            path = self._paths.get(name)
            if path in self._rejected_files:
                raise self._rejected_files[path]
            if path is not None:
                return path, i
        return None


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


# Rows of a published file: name of a column -> text.

def _add_csv(collector: Collector, columns: tuple[str, ...], optional: int, header: bool, add_row, comments=False,
             **dialect):
    """Calls add_row(row, where, name of the manifest) for each row of each manifest.

    columns: as published, the last `optional` of them need not be there. header: the first line names them, in any
    order. comments: lines that begin with '#' are none. A row that add_row raises Rejection for is rejected.
    """
    _check_extra(collector, columns)
    for name in collector.data.manifest:
        with files.open_text(collector.data.folder, name, MAX_BYTES) as text:
            places = None if header else {column: i for i, column in enumerate(columns)}
            on_error = functools.partial(_reject_line, collector, name)
            for line, fields in csv_rows(text, on_error, **dialect):
                if comments and fields[0].startswith('#'):
                    continue
                if places is None:
                    places = {field.strip(): i for i, field in enumerate(fields)}
                    lacking = [c for c in columns[:len(columns) - optional] if c not in places]
                    if lacking:
                        raise ConfigError(f'{where_is(collector, name)} has no column {" nor ".join(lacking)}; as '
                                          f'published its first line is {",".join(columns)}.')
                    width = len(fields)
                    continue
                where, most = f'line {line} of {name}', width if header else len(columns)
                row = {column: fields[i].strip() for column, i in places.items() if i < len(fields)}
                _add_row(collector, where, row, len(fields) > most or len(fields) < most - (0 if header else optional),
                         columns, functools.partial(add_row, row, where, name))


def _add_row(collector, where, row, ragged, columns, add):
    try:
        if ragged:
            raise Rejection('bad_row', f'It has not the columns {", ".join(columns)}.')
        add()
    except Rejection as rejection:
        collector.reject(rejection.at(''), where)


def _reject_line(collector: Collector, manifest: str, number: int, what: str, line: str):
    collector.reject(Rejection('bad_row', f'It is not valid CSV: {what}.'), f'line {number} of {manifest}')


def _check_extra(collector: Collector, columns):
    for name in collector.data.columns.extra:
        if name not in columns:
            raise ConfigError(f'Task {collector.source.name}: the extra column {name} is none of format '
                              f"{collector.data.format!r}'s: {', '.join(columns)}.")


def _extra(collector: Collector, row: dict) -> tuple[tuple[str, str], ...]:
    pairs = ((name, clean_extra(name, row.get(name, ''))) for name in collector.data.columns.extra)
    return tuple((name, value) for name, value in pairs if value)


def _split(collector: Collector, name: str) -> str:
    """The split that a published file's name says."""
    split = split_of_name(posixpath.basename(name))
    if split is None:
        raise ConfigError(f'{where_is(collector, name)}: its name says neither train nor test, val or eval; keep the '
                          'name under which it is published.')
    return split


def _whole_seconds(seconds: float | None) -> int:
    if seconds is None or seconds > 10_000_000:
        raise Rejection('bad_row', 'It has no start and end in seconds.')
    return round(seconds)


def _add_clip(collector: Collector, media: _Media, row, where, labels, split, start, end, name: str,
              cut_names: list[str]):
    """A clip of a longer recording: in a file of its own under one of `cut_names`, or in the recording's, by its id."""
    file = media.find(*cut_names, name)
    if file is None:
        collector.reject(Rejection('missing', f'No file below the data folder is named {cut_names[0]}.* or '
                                              f'{paths.shown(name, 40)}.*.', cut_names[0]), where)
        return
    path, which = file
    columns = collector.data.columns
    if which < len(cut_names) or not (columns.start and columns.end):  # without them: bare ids are clips, too
        start = end = None
    collector.add(Entry(path, labels, split, start, end, extra=_extra(collector, row)), where)


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
    """Moments in Time: `<class>/<file>,label,agreeing,disagreeing`; the files below training/ and validation/."""
    media = _Media(collector, parts=2)

    def add_row(row, where, name):
        path = paths.safe_path(row['path'])
        file = media.find('/'.join(_stem(path if '/' in path else f'{row["label"]}/{path}').split('/')[-2:]))
        if file is None:
            collector.reject(Rejection('missing', f'No file below the data folder ends in {path}.', path), where)
        else:
            labels = collector.label_list([row['label']])
            collector.add(Entry(file[0], labels, _split(collector, name), extra=_extra(collector, row)), where)

    _add_csv(collector, ('path', 'label', 'agreeing', 'disagreeing'), 2, False, add_row)


def add_audioset(collector: Collector):
    """AudioSet: `YTID, start_seconds, end_seconds, "/m/..,/m/.."` after comment lines; the classes' names beside it."""
    media, names = _Media(collector), _audioset_names(collector)

    def add_row(row, where, name):
        start, end = collector.segment(row['start_seconds'], row['end_seconds'])
        first, last, ytid = _whole_seconds(start), _whole_seconds(end), row['YTID']
        mids = [mid.strip() for mid in row['positive_labels'].split(',') if mid.strip()]
        unknown = [mid for mid in mids if names and mid not in names]
        if unknown:
            raise Rejection('bad_label', f'The label {paths.shown(unknown[0], 40)} is not in the file of classes.')
        labels = collector.label_list([names.get(mid, mid) for mid in mids])
        cut = [f'{ytid}_{first:06d}', f'{ytid}_{first * 1000}_{last * 1000}', f'{ytid}_{first:06d}_{last:06d}',
               f'{ytid}_{first}_{last}', f'Y{ytid}']
        _add_clip(collector, media, row, where, labels, _split(collector, name), start, end, ytid, cut)

    columns = ('YTID', 'start_seconds', 'end_seconds', 'positive_labels')
    _add_csv(collector, columns, 0, False, add_row, comments=True, skipinitialspace=True)


def _audioset_names(collector: Collector) -> dict[str, str]:
    """Label id -> name by class_labels_indices.csv (index,mid,display_name) or ontology.json; {} where neither is."""
    name = _beside(collector, ('class_labels_indices.csv', 'ontology.json'))
    if not name:
        return {}
    try:
        with files.open_text(collector.data.folder, name, _MAX_NAMES_BYTES) as text:
            if name.endswith('.json'):
                return {str(item['id']): str(item['name']) for item in json.load(text)}
            rows = [fields for _, fields in csv_rows(text, _raise, skipinitialspace=True)]
            mid, shown = rows[0].index('mid'), rows[0].index('display_name')
            return {fields[mid]: fields[shown] for fields in rows[1:]}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f'Task {collector.source.name}: {name} in {collector.data.folder} is not as AudioSet '
                          f'publishes it: {paths.shown(str(error))}.') from error


def _raise(line, what, _):
    raise ValueError(f'line {line}: {what}')


def add_vggsound(collector: Collector):
    """VGGSound: `id,start,label,split`, no first line of names; clips of 10 s, `<id>_000030.*`, or `<id>.*`."""
    media = _Media(collector)

    def add_row(row, where, name):
        start = collector.segment(row['start'], None)[0]
        first, last = _whole_seconds(start), _whole_seconds(start) + 10
        cut = [f'{row["id"]}_{first:06d}', f'{row["id"]}_{first * 1000}_{last * 1000}',
               f'{row["id"]}_{first:06d}_{last:06d}', f'{row["id"]}_{first}']
        labels, split = collector.label_list([row['label']]), split_of(row['split'])
        _add_clip(collector, media, row, where, labels, split, start, (start or 0.0) + 10.0, row['id'], cut)

    _add_csv(collector, ('id', 'start', 'label', 'split'), 0, False, add_row)


# Images.

def add_imagenet(collector: Collector):
    """ILSVRC: folders of synsets (n01440764) in train and val; a flat val by LOC_val_solution.csv; names if there."""
    source, walked = collector.source, walk_media(collector)
    _check_extra(collector, ('synset',))
    names, solution = _synset_names(collector), _val_solution(collector)
    for path in [*walked.files, *walked.rejected_files]:
        *folders, name = path.split('/')
        if name.startswith('ILSVRC2012_test_'):
            continue  # published without labels
        solved = solution.pop(_stem(name), None)
        synset = next((folder for folder in reversed(folders) if re.fullmatch(r'n\d{8}', folder)), solved)
        try:
            if path in walked.rejected_files:
                raise walked.rejected_files[path]
            if synset is None:
                raise Rejection('bad_label', 'It lies in no folder of a synset (n01440764), and no '
                                             'LOC_val_solution.csv names it.')
            split = next(filter(None, (split_of_name(folder) for folder in reversed(folders))), None)
            if name.startswith('ILSVRC2012_val_'):
                split = 'eval'
            split = split or hashed_split(path, source.data.eval_share)
            collector.add(Entry(path, collector.label_list([names.get(synset, synset)]), split,
                                extra=_extra(collector, {'synset': synset})), '')
        except Rejection as rejection:
            collector.reject(rejection.at(path))
    for name in solution:
        collector.reject(Rejection('missing', 'LOC_val_solution.csv names it; it is not below the data folder.',
                                   f'{name}.JPEG'))


def _synset_names(collector: Collector) -> dict[str, str]:
    """Synset -> its words, with the synset where two have the same (crane, the bird and the machine)."""
    name = _beside(collector, ('LOC_synset_mapping.txt', 'synset_words.txt'))
    names = dict(_spaced(collector, name, 2)) if name else {}
    counts = {}
    for words in names.values():
        counts[words] = counts.get(words, 0) + 1
    return {synset: f'{words} ({synset})' if counts[words] > 1 else words for synset, words in names.items()}


def _spaced(collector: Collector, name: str, parts: int):
    """The lines of a small text file that have `parts` words, the last one with what follows."""
    with files.open_text(collector.data.folder, name, _MAX_NAMES_BYTES) as text:
        for line in text:
            words = line.strip().split(None, parts - 1)
            if len(words) == parts:
                yield words


def _val_solution(collector: Collector) -> dict[str, str]:
    """Name of a validation image -> synset by LOC_val_solution.csv (ImageId, 'synset and a box, again and again')."""
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
                collector.reject(Rejection('bad_row', 'It is not an image, a comma and a synset.'),
                                 f'line {line} of {name}')
    return solution


def add_pets(collector: Collector):
    """Oxford-IIIT Pets: lines `Abyssinian_100 1 1 1` (name, class, species, breed) of trainval.txt and test.txt."""
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
                    _add_row(collector, where, row, len(fields) != len(columns), columns,
                             functools.partial(_add_pet, collector, media, row, where, split))


def _add_pet(collector: Collector, media: _Media, row, where, split):
    file = media.find(row['name'])
    if file is None:
        collector.reject(Rejection('missing', 'No file below the data folder has this name.', f'{row["name"]}.jpg'),
                         where)
        return
    breed, _, number = row['name'].rpartition('_')
    if not breed or not number.isdigit():
        raise Rejection('bad_row', f'{paths.shown(row["name"], 40)} is not a breed, "_" and a number.')
    collector.add(Entry(file[0], collector.label_list([breed]), split, extra=_extra(collector, row)), where)


def _beside(collector: Collector, names: tuple[str, ...]) -> str:
    """The first of `names` that lies in the data folder or beside an annotation file; '' where none does."""
    places = dict.fromkeys(['', *(posixpath.dirname(manifest) for manifest in collector.data.manifest)])
    candidates = [posixpath.join(place, name) for name in names for place in places]
    return next((path for path in candidates if files.exists(collector.data.folder, path)), '')
