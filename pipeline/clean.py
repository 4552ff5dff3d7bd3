"""`polyvit clean`: frees the space of old runs.

TFX's cache finds earlier results through ML Metadata. It takes a result only if all artifacts of the component's
execution are live in the metadata and their folders exist; it does not look inside. So an artifact is first marked as
deleted, then its folder is removed. If the removal is cut short, no run takes the rest for a result, and the next clean
removes it.

Kept whatever the options say: what is served, its baseline, and what the run that pushed it and the newest finished run
of each config used or made. So an unchanged run still comes from the cache.
"""

import contextlib
import dataclasses
import datetime
import os
import pathlib
import shutil
import sys
import time
import uuid

import humanize

from model_code import file_io, shell, words
from model_code.errors import ConfigError, PipelineStop
from model_code.urls import is_url
from pipeline import layout, roots, run_record
from pipeline.lineage import Lineage, Run
from serving import served, version_directories

RESULTS, VERSIONS, TRAININGS, LOGS, LEFTOVERS = (
    'results of components', 'served versions', 'unfinished trainings', 'logs', 'leftovers of interrupted work')
PARTS = (RESULTS, VERSIONS, TRAININGS, LOGS, LEFTOVERS)


@dataclasses.dataclass(frozen=True)
class Item:
    """A file or folder under a root. part: one of PARTS. size: in bytes. removed: whether it is to be removed."""
    part: str
    path: pathlib.Path
    size: int
    removed: bool


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be removed under a root, and what is kept."""
    root: pathlib.Path
    items: list[Item]
    lineage: Lineage

    def size(self, part: str = '', removed: bool | None = None) -> int:
        """The bytes of a part, by default of all, of what is removed or kept, by default of both."""
        return sum(item.size for item in self.items
                   if part in ('', item.part) and removed in (None, item.removed))


def make_plan(root: pathlib.Path, keep: int, before: float | None) -> Plan:
    """What clean removes under a root. Call it while holding the root's lock.

    keep: how many of the newest runs, versions and logs stay. before: seconds since 1970; what is newer stays. Without
    it, trainings that may be resumed stay too.

    Raises ConfigError if the root was moved since its last run, PipelineStop if its metadata cannot be read.
    """
    root = root.resolve()
    lineage = Lineage(root)
    if lineage.runs and lineage.runs[0].uris and not any(_is_under(uri, root) for uri in lineage.runs[0].uris):
        raise ConfigError(f'{root} was moved: the metadata of its last run name {min(lineage.runs[0].uris)}. Move it '
                          'back, or delete pipeline/ and metadata.db together; the next run makes both anew.')
    serving_dir = str(roots.serving_dir(root))
    models, newest = version_directories.list_models(serving_dir), served.newest(serving_dir)
    # What is served, and the version with which it was compared; '' for none.
    number, baseline = (str(newest.number), str(newest.card.get('baseline_version', ''))) if newest else ('', '')
    runs = _kept_runs(lineage, keep, before, number)
    records = _kept_records(root, keep, before)
    starts_from = {os.path.realpath(path) for run in runs for path in run.starts_from if not is_url(path)}
    used = {os.path.realpath(uri) for run in runs for uri in run.uris}
    used |= {os.path.realpath(uri) for record in records for node in record.components.values()
             for uris in node.outputs.values() for uri in uris}

    def item(part: str, path: pathlib.Path, removed: bool) -> Item:
        size, newest = _size_and_time(path)
        return Item(part, path, size, removed and (before is None or newest < before))

    items = []
    for path in sorted(root.glob('pipeline/*/*/[0-9]*')):
        items.append(item(RESULTS, path, str(path) not in used and not any(
            _is_under(start, path) for start in starts_from)))
    kept_versions = {*map(str, list(models)[-keep:]), number, baseline}
    for version, path in models.items():
        items.append(item(VERSIONS, pathlib.Path(path), str(version) not in kept_versions and path not in starts_from))
    for path in root.glob('pipeline/*/*/unfinished/*'):
        items.append(item(TRAININGS, path, before is not None))
    kept_logs = {record.log for record in records}
    for place, path in enumerate(sorted(root.glob('logs/run-*.log'), reverse=True)):
        items.append(item(LOGS, path, place >= keep and str(path) not in kept_logs))
    for pattern in _LEFTOVERS:
        items += [item(LEFTOVERS, path, True) for path in root.glob(pattern)]
    return Plan(root, items, lineage)


_LEFTOVERS = (*(f'{folder}{file_io.TEMPORARY}*' for folder in ('', 'logs/', 'serving/polyvit/')),
              'pipeline/*/.system/executor_execution/*/.temp', 'pipeline/*/.system/stateful_working_dir/*')


def _kept_runs(lineage: Lineage, keep: int, before: float | None, version: str) -> list[Run]:
    """The runs whose results stay: the newest, those after `before`, and what an unchanged run repeats."""
    needed = {}  # why -> the newest run
    for run in lineage.runs:
        if run.finished:
            needed.setdefault(run.pipeline, run)
        if version in run.pushed:
            needed.setdefault('pushed', run)
    recent = [run for run in lineage.runs if before is not None and run.started >= before]
    return [*lineage.runs[:keep], *needed.values(), *recent]


def _kept_records(root: pathlib.Path, keep: int, before: float | None) -> list[run_record.Record]:
    """The same of the records, which also know the runs that repeated an equal one without TFX."""
    records, needed = run_record.records(root), {}
    for record in records:
        if record.state in ('done', 'rejected'):
            needed.setdefault(record.config, record)
    recent = [record for record in records if before is not None and record.started
              and datetime.datetime.fromisoformat(record.started).timestamp() >= before]
    return [*records[:keep], *needed.values(), *recent]


def _is_under(path: str, folder: pathlib.Path) -> bool:
    return pathlib.Path(os.path.realpath(path)).is_relative_to(folder)


def _size_and_time(path: pathlib.Path) -> tuple[int, float]:
    """The bytes of a file or folder, and when its newest file was written. Links are not followed."""
    size, newest = 0, 0.0
    for file in _files(path):
        status = os.lstat(file)
        size, newest = size + status.st_size, max(newest, status.st_mtime)
    return size, newest or os.lstat(path).st_mtime


def _files(path: pathlib.Path) -> list[str]:
    if path.is_symlink() or not path.is_dir():
        return [str(path)]
    return [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]


def remove(plan: Plan):
    """Removes what the plan says. Raises PipelineStop if something cannot be removed."""
    removed = [item for item in plan.items if item.removed]
    plan.lineage.mark_deleted({str(item.path) for item in removed if item.part == RESULTS})
    for item in removed:
        path = item.path
        try:
            if item.part == VERSIONS:
                # A server that polls the folder must not see half a version.
                path = item.path.rename(item.path.with_name(file_io.TEMPORARY + uuid.uuid4().hex))
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()
        except OSError as error:
            raise PipelineStop(f'{item.path} cannot be removed: {error.strerror}. What was removed before it is gone; '
                               'nothing that a run needs is missing.') from error


def command(root: str | None, keep: int, older_than: float | None, dry_run: bool, yes: bool):
    """`polyvit clean`: says what is to be removed, asks, and removes it.

    root: by default all roots under runs/; those with a run in progress are left out. older_than: in seconds.

    Raises ConfigError if there is no such root, if a run is in progress there, or if nobody can be asked.
    """
    if keep < 1:
        raise ConfigError(f'--keep is {keep}; it must be at least 1.')
    before = None if older_than is None else time.time() - older_than
    with contextlib.ExitStack() as locks:
        plans = [make_plan(path, keep, before) for path in _lock(root, locks)]
        for plan in plans:
            print('\n'.join([*table(plan), *kept_lines(plan, keep, older_than), '']), flush=True)
        size = sum(plan.size(removed=True) for plan in plans)
        if not any(item.removed for plan in plans for item in plan.items):
            print('There is nothing to remove.')
        elif dry_run:
            print(f'{_size(size)} would be freed. Nothing was removed, because of --dry-run.')
        elif yes or _confirmed(size):
            for plan in plans:
                remove(plan)
            print(f'Freed {_size(size)}; {_size(sum(plan.size(removed=False) for plan in plans))} remain.')
        else:
            print('Nothing was removed.')


def _lock(root: str | None, locks: contextlib.ExitStack) -> list[pathlib.Path]:
    """The roots to clean, each locked, so that no run starts meanwhile."""
    if root:
        paths = roots.find(root)
        locks.enter_context(run_record.one_run_at_a_time(paths[0]))
        return paths
    locked = []
    for path in roots.find():
        try:
            locks.enter_context(run_record.one_run_at_a_time(path))
            locked.append(path)
        except ConfigError:
            print(f'{shell.short(path)}: a run is in progress, so it is left as it is.\n')
    return locked


def _confirmed(size: int) -> bool:
    if not sys.stdin.isatty():
        raise ConfigError('Nothing was removed: there is no terminal on which to ask. Give --yes to remove it, or '
                          '--dry-run to look only.')
    return input(f'Remove {_size(size)}? [y/N] ').strip().lower() in ('y', 'yes')


def table(plan: Plan) -> list[str]:
    """The root, a heading, and of each part that is there how much is kept and how much removed."""
    lines = [shell.short(plan.root), f'{"":<31}{"kept":>10}{"removed":>10}']
    for part in PARTS:
        items = [item for item in plan.items if item.part == part]
        if items:
            lines.append(f'  {part:<29}{_size(plan.size(part, False)):>10}{_size(plan.size(part, True)):>10}'
                         f'  {_named(part, [item for item in items if item.removed])}'.rstrip())
    return lines


def _named(part: str, items: list[Item]) -> str:
    """What is removed of a part: how many, and the names that say something."""
    if not items:
        return ''
    if part in (VERSIONS, TRAININGS):
        return items[0].path.name + (f' and {len(items) - 1} more' if len(items) > 1 else '')
    return words.count(len(items), {RESULTS: 'folder', LOGS: 'file'}.get(part, 'item'))


def kept_lines(plan: Plan, keep: int, older_than: float | None) -> list[str]:
    """By which rules things are kept, and what becomes of unfinished trainings."""
    runs = 'the newest run' if keep == 1 else f'the newest {keep} runs'
    sentences = [f'Kept is what {runs} used, what the newest finished run of each config used, and what is served with '
                 'its baseline.']
    if older_than is not None:
        sentences.append(f'What is newer than {words.duration(older_than)} is kept too.')
    trainings = [item for item in plan.items if item.part == TRAININGS]
    if any(item.removed for item in trainings):
        sentences.append('An unfinished training that is removed starts anew when its config is run again.')
    elif trainings:
        sentences.append('Unfinished trainings resume when their config is run again; --older-than removes old ones.')
    return [line for sentence in sentences for line in layout.wrap(f'  {sentence}', layout.columns())]


def _size(count: int) -> str:
    return humanize.naturalsize(count)
