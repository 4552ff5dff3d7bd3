"""The annotation files of public data sets, in the columns in which they are published.

Files are found with one walk of the data folder by their name without its ending, wherever they lie. A clip that an
annotation names and nobody has is rejected as `missing`: it has no path that a reader could open. Sources: Kinetics-400
(Kay et al. 2017, and its annotation archive), Moments in Time (its README), AudioSet (research.google.com/audioset),
VGGSound (robots.ox.ac.uk/~vgg/data/vggsound), ILSVRC 2012 (its development kit, and Kaggle's files), Oxford-IIIT Pets
(annotations/README).
"""

import json
import posixpath
import re

from media.entries import Entry, Refused
from media.listing import files
from media.listing.folders import walk_media
from media.listing.manifests import MAX_BYTES, Lines, csv_rows, where_is
from media.listing.collector import Found, clean_extra, hashed_split, split_of, split_of_name
from model_code.errors import ConfigError

_MAX_NAMES_BYTES = 64 << 20  # of a file of classes' names


class _Media:
    """The media files below the data folder, by what an annotation calls them."""

    def __init__(self, found: Found, parts: int = 1):
        """parts: how many names of a path, from its end, an annotation gives."""
        walked = walk_media(found)
        self._refused, self._paths = walked.refused_files, {}
        for path in sorted([*walked.files, *walked.refused_files], reverse=True):  # of several the first is taken
            self._paths['/'.join(_stem(path).split('/')[-parts:])] = path

    def find(self, *names: str) -> tuple[str, int] | None:
        """(path, which name) of the first name that a file has; Refused where it may not be opened."""
        for i, name in enumerate(names):
            path = self._paths.get(name)
            if path in self._refused:
                raise self._refused[path]
            if path is not None:
                return path, i
        return None


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


# Rows of a published file: name of a column -> text.

def _add_csv(found: Found, columns: tuple[str, ...], optional: int, header: bool, add_row, comments=False, **dialect):
    """Calls add_row(row, where, name of the manifest) for each row of each manifest.

    columns: as published, the last `optional` of them need not be there. header: the first line names them, in any
    order. comments: lines that begin with '#' are none. A row that add_row raises Refused for is rejected.
    """
    _check_extra(found, columns)
    for name in found.task.manifest:
        with files.open_text(found.task.data, name, MAX_BYTES) as text:
            places = None if header else {column: i for i, column in enumerate(columns)}
            on_error = lambda line, what, _: found.reject('', f'line {line} of {name}', 'bad_row',
                                                          f'It is not valid CSV: {what}.')
            for line, fields in csv_rows(text, on_error, **dialect):
                if comments and fields[0].startswith('#'):
                    continue
                if places is None:
                    places = {field.strip(): i for i, field in enumerate(fields)}
                    lacking = [c for c in columns[:len(columns) - optional] if c not in places]
                    if lacking:
                        raise ConfigError(f'{where_is(found, name)} has no column {" nor ".join(lacking)}; as '
                                          f'published its first line is {",".join(columns)}.')
                    width = len(fields)
                    continue
                where, most = f'line {line} of {name}', width if header else len(columns)
                row = {column: fields[i].strip() for column, i in places.items() if i < len(fields)}
                _add_row(found, where, row, len(fields) > most or len(fields) < most - (0 if header else optional),
                         columns, lambda: add_row(row, where, name))


def _add_row(found, where, row, ragged, columns, add):
    try:
        if ragged:
            raise Refused('bad_row', f'It has not the columns {", ".join(columns)}.')
        add()
    except Refused as refused:
        found.reject('', where, refused.reason, refused.detail)


def _check_extra(found: Found, columns):
    for name in found.task.columns.extra:
        if name not in columns:
            raise ConfigError(f'Task {found.task.name}: the extra column {name} is none of format '
                              f"{found.task.format!r}'s: {', '.join(columns)}.")


def _extra(found: Found, row: dict) -> tuple[tuple[str, str], ...]:
    pairs = ((name, clean_extra(name, row.get(name, ''))) for name in found.task.columns.extra)
    return tuple((name, value) for name, value in pairs if value)


def _split(found: Found, name: str) -> str:
    """The split that a published file's name says."""
    split = split_of_name(posixpath.basename(name))
    if split is None:
        raise ConfigError(f'{where_is(found, name)}: its name says neither train nor test, val or eval; keep the name '
                          'under which it is published.')
    return split


def _whole_seconds(seconds: float | None) -> int:
    if seconds is None or seconds > 10_000_000:
        raise Refused('bad_row', 'It has no start and end in seconds.')
    return round(seconds)


def _add_clip(found: Found, media: _Media, row, where, labels, split, start, end, name: str, cut_names: list[str]):
    """A clip of a longer recording: in a file of its own under one of `cut_names`, or in the recording's, by its id."""
    file = media.find(*cut_names, name)
    if file is None:
        found.reject(cut_names[0], where, 'missing', f'No file below the data folder is named {cut_names[0]}.* or '
                                                     f'{files.shown(name, 40)}.*.')
        return
    path, which = file
    columns = found.task.columns
    if which < len(cut_names) or not (columns.start and columns.end):  # without them: bare ids are clips, too
        start = end = None
    found.add(Entry(path, labels, split, start, end, extra=_extra(found, row)), where)


# Video and sound.

def add_kinetics(found: Found):
    """Kinetics-400: `label,youtube_id,time_start,time_end,split[,is_cc]`; `<id>_000010_000020.mp4` or `<id>.*`."""
    media = _Media(found)

    def add_row(row, where, name):
        start, end = found.segment(row['time_start'], row['time_end'])
        split = split_of(row['split']) if row.get('split') else _split(found, name)
        cut = f'{row["youtube_id"]}_{_whole_seconds(start):06d}_{_whole_seconds(end):06d}'
        labels = found.label_list([row['label']])
        _add_clip(found, media, row, where, labels, split, start, end, row['youtube_id'], [cut])

    _add_csv(found, ('label', 'youtube_id', 'time_start', 'time_end', 'split', 'is_cc'), 2, True, add_row)


def add_moments(found: Found):
    """Moments in Time: `<class>/<file>,label,agreeing,disagreeing`; the files below training/ and validation/."""
    media = _Media(found, parts=2)

    def add_row(row, where, name):
        path = files.safe_path(row['path'])
        file = media.find('/'.join(_stem(path if '/' in path else f'{row["label"]}/{path}').split('/')[-2:]))
        if file is None:
            found.reject(path, where, 'missing', f'No file below the data folder ends in {path}.')
        else:
            found.add(Entry(file[0], found.label_list([row['label']]), _split(found, name), extra=_extra(found, row)),
                      where)

    _add_csv(found, ('path', 'label', 'agreeing', 'disagreeing'), 2, False, add_row)


def add_audioset(found: Found):
    """AudioSet: `YTID, start_seconds, end_seconds, "/m/..,/m/.."` after comment lines; the classes' names beside it."""
    media, names = _Media(found), _audioset_names(found)

    def add_row(row, where, name):
        start, end = found.segment(row['start_seconds'], row['end_seconds'])
        first, last, ytid = _whole_seconds(start), _whole_seconds(end), row['YTID']
        mids = [mid.strip() for mid in row['positive_labels'].split(',') if mid.strip()]
        unknown = [mid for mid in mids if names and mid not in names]
        if unknown:
            raise Refused('bad_label', f'The label {files.shown(unknown[0], 40)} is not in the file of classes.')
        labels = found.label_list([names.get(mid, mid) for mid in mids])
        cut = [f'{ytid}_{first:06d}', f'{ytid}_{first * 1000}_{last * 1000}', f'{ytid}_{first:06d}_{last:06d}',
               f'{ytid}_{first}_{last}', f'Y{ytid}']
        _add_clip(found, media, row, where, labels, _split(found, name), start, end, ytid, cut)

    columns = ('YTID', 'start_seconds', 'end_seconds', 'positive_labels')
    _add_csv(found, columns, 0, False, add_row, comments=True, skipinitialspace=True)


def _audioset_names(found: Found) -> dict[str, str]:
    """Label id -> name by class_labels_indices.csv (index,mid,display_name) or ontology.json; {} where neither is."""
    name = _beside(found, ('class_labels_indices.csv', 'ontology.json'))
    if not name:
        return {}
    try:
        with files.open_text(found.task.data, name, _MAX_NAMES_BYTES) as text:
            if name.endswith('.json'):
                return {str(item['id']): str(item['name']) for item in json.load(text)}
            rows = [fields for _, fields in csv_rows(text, _raise, skipinitialspace=True)]
            mid, shown = rows[0].index('mid'), rows[0].index('display_name')
            return {fields[mid]: fields[shown] for fields in rows[1:]}
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f'Task {found.task.name}: {name} in {found.task.data} is not as AudioSet publishes it: '
                          f'{files.shown(str(error))}.') from error


def _raise(line, what, _):
    raise ValueError(f'line {line}: {what}')


def add_vggsound(found: Found):
    """VGGSound: `id,start,label,split`, no first line of names; clips of 10 s, `<id>_000030.*`, or `<id>.*`."""
    media = _Media(found)

    def add_row(row, where, name):
        start = found.segment(row['start'], None)[0]
        first, last = _whole_seconds(start), _whole_seconds(start) + 10
        cut = [f'{row["id"]}_{first:06d}', f'{row["id"]}_{first * 1000}_{last * 1000}',
               f'{row["id"]}_{first:06d}_{last:06d}', f'{row["id"]}_{first}']
        labels, split = found.label_list([row['label']]), split_of(row['split'])
        _add_clip(found, media, row, where, labels, split, start, start + 10.0, row['id'], cut)

    _add_csv(found, ('id', 'start', 'label', 'split'), 0, False, add_row)


# Images.

def add_imagenet(found: Found):
    """ILSVRC: folders of synsets (n01440764) in train and val; a flat val by LOC_val_solution.csv; names if there."""
    task, walked = found.task, walk_media(found)
    _check_extra(found, ('synset',))
    names, solution = _synset_names(found), _val_solution(found)
    for path in [*walked.files, *walked.refused_files]:
        *folders, name = path.split('/')
        if name.startswith('ILSVRC2012_test_'):
            continue  # published without labels
        solved = solution.pop(_stem(name), None)
        synset = next((folder for folder in reversed(folders) if re.fullmatch(r'n\d{8}', folder)), solved)
        try:
            if path in walked.refused_files:
                raise walked.refused_files[path]
            if synset is None:
                raise Refused('bad_label', 'It lies in no folder of a synset (n01440764), and no LOC_val_solution.csv '
                                           'names it.')
            split = next(filter(None, (split_of_name(folder) for folder in reversed(folders))), None)
            split = 'eval' if name.startswith('ILSVRC2012_val_') else split or hashed_split(path, task.eval_share)
            found.add(Entry(path, found.label_list([names.get(synset, synset)]), split,
                            extra=_extra(found, {'synset': synset})), '')
        except Refused as error:
            found.reject(path, '', error.reason, error.detail)
    for name in solution:
        found.reject(f'{name}.JPEG', '', 'missing', 'LOC_val_solution.csv names it; it is not below the data folder.')


def _synset_names(found: Found) -> dict[str, str]:
    """Synset -> its words, with the synset where two have the same (crane, the bird and the machine)."""
    name = _beside(found, ('LOC_synset_mapping.txt', 'synset_words.txt'))
    names = dict(_spaced(found, name, 2)) if name else {}
    counts = {}
    for words in names.values():
        counts[words] = counts.get(words, 0) + 1
    return {synset: f'{words} ({synset})' if counts[words] > 1 else words for synset, words in names.items()}


def _spaced(found: Found, name: str, parts: int):
    """The lines of a small text file that have `parts` words, the last one with what follows."""
    with files.open_text(found.task.data, name, _MAX_NAMES_BYTES) as text:
        for line in text:
            words = line.strip().split(None, parts - 1)
            if len(words) == parts:
                yield words


def _val_solution(found: Found) -> dict[str, str]:
    """Name of a validation image -> synset by LOC_val_solution.csv (ImageId, 'synset and a box, again and again')."""
    name = _beside(found, ('LOC_val_solution.csv',))
    if not name:
        return {}
    solution = {}
    with files.open_text(found.task.data, name, _MAX_NAMES_BYTES) as text:
        on_error = lambda line, what, _: found.reject('', f'line {line} of {name}', 'bad_row',
                                                      f'It is not valid CSV: {what}.')
        for line, fields in csv_rows(text, on_error):
            synset = fields[1].split(None, 1)[:1] if len(fields) == 2 else []
            if synset and re.fullmatch(r'n\d{8}', synset[0]):
                solution[fields[0]] = synset[0]
            elif fields[0] != 'ImageId':
                found.reject('', f'line {line} of {name}', 'bad_row', 'It is not an image, a comma and a synset.')
    return solution


def add_pets(found: Found):
    """Oxford-IIIT Pets: lines `Abyssinian_100 1 1 1` (name, class, species, breed) of trainval.txt and test.txt."""
    media, columns = _Media(found), ('name', 'class_id', 'species', 'breed_id')
    _check_extra(found, columns)
    for manifest in found.task.manifest:
        split = _split(found, manifest)
        with files.open_text(found.task.data, manifest, MAX_BYTES) as text:
            lines = Lines(text)
            for line in lines:
                lines.next_row()
                fields = line.split()
                if fields and not line.startswith('#'):
                    where, row = f'line {lines.number} of {manifest}', dict(zip(columns, fields))
                    _add_row(found, where, row, len(fields) != len(columns), columns,
                             lambda: _add_pet(found, media, row, where, split))


def _add_pet(found: Found, media: _Media, row, where, split):
    file = media.find(row['name'])
    if file is None:
        found.reject(f'{row["name"]}.jpg', where, 'missing', 'No file below the data folder has this name.')
        return
    breed, _, number = row['name'].rpartition('_')
    if not breed or not number.isdigit():
        raise Refused('bad_row', f'{files.shown(row["name"], 40)} is not a breed, "_" and a number.')
    found.add(Entry(file[0], found.label_list([breed]), split, extra=_extra(found, row)), where)


def _beside(found: Found, names: tuple[str, ...]) -> str:
    """The first of `names` that lies in the data folder or beside an annotation file; '' where none does."""
    places = dict.fromkeys(['', *(posixpath.dirname(manifest) for manifest in found.task.manifest)])
    paths = [posixpath.join(place, name) for name in names for place in places]
    return next((path for path in paths if files.exists(found.task.data, path)), '')
