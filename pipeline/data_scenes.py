"""`polyvit data scenes`: finds the clips of a video task that are of one scene, and writes them down for `Data.groups`.

A CSV file is written, which people correct, and beside it a page with pictures of each scene, by which they see what to
correct.
"""

import collections
import csv
import io
import os
import tempfile

from markupsafe import Markup

from components import media_pictures
from components.report import render as report
from media import checks as media_checks
from media import listing, scene_names, scenes
from media.entries import SPLITS, Entry
from media.sandbox.parent import Decoded
from model_code import file_io, words
from model_code.data import Source
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import get_modality
from pipeline import checks

# More would make a page that no browser shows: 500 pictures have about 3 MB.
MAX_PICTURES, MAX_OF_SCENE = 500, 12


def write_scenes(config, task_name: str, path: str, progress=lambda *unused: None) -> str:
    """Writes the scenes of a task to `path`, and the page beside it, `.html`. Returns what to say about them.

    progress: as in media.checks.check_media. Raises ConfigError if the task has no clips, if the path does not end in
    .csv, or if a file is there already: people may have edited it.
    """
    source = config.mixture[task_name].source
    page_path = _page_path(path)
    checks.use_file_systems(config)
    if not scenes.has_scenes(source.modality):
        named = scene_names.suggest(listing.list_media(source).entries)
        hint = f' But {named.remark()}.' if named else ''
        raise ConfigError(f'Task {task_name}: scenes are found by the backgrounds of clips, but this task is of '
                          f'{source.modality}.{hint}')
    entries = listing.list_media(source).entries
    if len(entries) > scenes.MAX_CLIPS:
        raise ConfigError(f'Task {task_name} has {len(entries):,} clips; scenes are looked for in at most '
                          f'{scenes.MAX_CLIPS:,}. Look at a part of them, such as one folder.')
    clips, pictures, rejected = scenes.Scenes(), _Pictures(), 0
    feature = get_modality(source.modality).feature

    def look(decoded: Decoded):
        if decoded.features is None:
            return None
        frames = decoded.features[feature]
        middle = {feature: [frames[len(frames) // 2]]}
        return scenes.views(frames), media_pictures.picture(source.modality, middle, decoded.entry.id)

    for decoded, seen in media_checks.read_all(source, config.model.input(source.modality), tuple(config.beam.options),
                                               entries, 0, progress, look):
        if seen is None:
            rejected += 1
            continue
        clips.add(decoded.entry, seen[0])
        pictures.add(decoded.entry.id, seen[1])
    if not len(clips):
        raise PipelineStop(f'Task {task_name}: none of its {words.count(rejected, "clip")} can be read. '
                           '`polyvit data check` says why.')
    found = {f'scene_{number:0{len(str(len(clips)))}d}': scene for number, scene in enumerate(clips.find(), 1)}
    file_io.write(path, _table(found))
    file_io.write(page_path, _page(task_name, os.path.basename(path), found, pictures))
    shared = scenes.shared_with_train(found.values())
    in_eval = sum(entry.split == 'eval' for scene in found.values() for entry in scene)
    several = sum(len(scene) > 1 for scene in found.values())
    left_out = f' {words.count(rejected, "clip")} could not be read.' if rejected else ''
    return (f'{words.count(len(clips), "clip")} of {words.count(len(found), "scene")}, {several:,} of them with '
            f'several clips; {shared:,} of {in_eval:,} eval clips share theirs with train.{left_out}\n'
            f'Look at {page_path}, correct the groups in {path}, and name it in the config: '
            f'Data(..., groups={os.path.abspath(path)!r}).{_about_splits(source, found) if shared else ""}')


def _about_splits(source: Source, found: dict[str, list[Entry]]) -> str:
    """What else to do, if the data give the splits: a run stops while these tear a scene."""
    if source.data.manifest:
        if not source.data.columns.split:
            return ''
        return (" If the manifest gives the splits, drop them too, with columns=Columns(split=''): then each scene "
                'gets one.')
    if any(entry.path.split('/')[0].lower() in listing.SPLITS for scene in found.values() for entry in scene):
        return ' The folders give the splits: move files, so that each scene is in one of them, or a run will stop.'
    return ''


def _page_path(path: str) -> str:
    """The path of the page. Raises ConfigError if either file cannot be written anew."""
    if not path.lower().endswith('.csv'):
        raise ConfigError(f'The file of scenes is {path}; name one that ends in .csv, such as scenes.csv.')
    page_path = f'{path[:-4]}.html'
    for name in (path, page_path):
        if os.path.lexists(name):
            raise ConfigError(f'{name} exists already, and may have been edited. Name another file, or remove it.')
    folder = os.path.dirname(path) or '.'
    if not os.path.isdir(folder):
        raise ConfigError(f'There is no folder {folder} to write {os.path.basename(path)} in. Make it first.')
    return page_path


class _Pictures:
    """HTML of the picture of each clip, in a temporary file."""

    def __init__(self):
        self._file = tempfile.TemporaryFile(buffering=0)
        self._end = 0
        self._place: dict[str, tuple[int, int]] = {}

    def add(self, example_id: str, html: str):
        self._place[example_id] = self._end, self._file.write(html.encode('utf-8', 'surrogateescape'))
        self._end += self._place[example_id][1]

    def __getitem__(self, example_id: str) -> Markup:
        begin, size = self._place[example_id]
        html = os.pread(self._file.fileno(), size, begin)
        return Markup(html.decode('utf-8', 'surrogateescape'))


def _table(found: dict[str, list[Entry]]) -> bytes:
    """A CSV file: path and group for `Data.groups`, label and split for people. A file is named once."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(('path', 'group', 'label', 'split'))
    rows = {}
    for name, scene in found.items():
        for entry in scene:
            path = f'{entry.path}!{entry.member}' if entry.member else entry.path
            rows.setdefault(path, (path, name, '|'.join(entry.labels), entry.split))
    writer.writerows(rows[path] for path in sorted(rows))
    return out.getvalue().encode('utf-8', 'surrogateescape')


def _page(task: str, table: str, found: dict[str, list[Entry]], pictures: _Pictures) -> bytes:
    cards, left = [], MAX_PICTURES
    for name, scene in sorted(found.items(), key=lambda item: -len(item[1])):
        shown = scene[:min(MAX_OF_SCENE, left)]
        if not shown:
            break
        left -= len(shown)
        splits = collections.Counter(entry.split for entry in scene)
        cards.append({'name': name, 'clips': len(scene), 'torn': len(splits) > 1,
                      'counts': ', '.join(f'{splits[split]:,} {split}' for split in SPLITS if splits[split]),
                      'shown': [(entry, pictures[entry.id]) for entry in shown]})
    page = report.environment(os.path.dirname(__file__)).get_template('data_scenes.html').render(
        task=task, table=table, cards=cards, scenes=len(found), clips=sum(map(len, found.values())),
        shared=scenes.shared_with_train(found.values()))
    return page.encode('utf-8', 'backslashreplace')
