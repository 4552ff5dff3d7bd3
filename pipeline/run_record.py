"""What a run keeps under its root beside its results: a lock while it runs, and a record of what it did.

logs/run-<id>.json, beside the log of the same name, is there from the run's start on. last_run.json is a copy of the
record of the run that ended last.
"""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import os
import pathlib
import typing

from model_code import file_io
from model_code.errors import ConfigError
from model_code.logger import logger
from pipeline import environment
from pipeline.beam.settings import COMPONENTS
from pipeline.exit_codes import DONE, REJECTED

FILE = 'last_run.json'

State = typing.Literal['running', 'done', 'rejected', 'failed', 'interrupted', 'killed']


@dataclasses.dataclass(frozen=True)
class NodeRecord:
    """What one component did in a run. outputs: output name -> artifact paths. version: what it pushed, '' for nothing.

    seconds, cpu_seconds, peak_bytes: as in components.costs.Cost; the last two are None if it came from the cache, and
    in records of versions before 0.2.
    """
    cached: bool
    seconds: float
    outputs: dict[str, list[str]]
    version: str = ''
    cpu_seconds: float | None = None
    peak_bytes: int | None = None


@dataclasses.dataclass(frozen=True)
class Record:
    """What a run did. Its fields are the keys of the JSON files."""
    id: str
    """The time of its start, as in the names of its log and its record: 20261126-095500."""
    config: str
    """The config's name."""
    log: str
    """The path of its log."""
    argv: tuple[str, ...] = ()
    """What was typed after `polyvit`; () for a run from Python."""
    overrides: tuple[str, ...] = ()
    """What `--set` changed in the config, such as 'training.seed=1'."""
    folder: str = ''
    """The working folder in which it was typed."""
    started: str = ''
    """When it started, in ISO format with the offset from UTC."""
    seconds: float | None = None
    """How long it took; None until it has ended."""
    exit_code: int | None = None
    """Its exit code; None until it has ended."""
    state: State = 'running'
    """running, done, rejected (by the gate), failed, interrupted, or killed (it died without writing its end)."""
    reason: str = ''
    """Why it failed or was interrupted."""
    run_key: str = ''
    """fingerprints.run_key: a hash of config, media, libraries, and the code of the components."""
    code: str = ''
    """unchanged.runner_code: a hash of all code that a run passes through."""
    repeats: str = ''
    """The id of the equal run whose result was given again because nothing had changed; '' if components ran."""
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    """The variables of the environment that change the numbers of a training, such as TF_ENABLE_ONEDNN_OPTS."""
    beam_args: dict[str, list[str]] = dataclasses.field(default_factory=dict)
    """Component on Beam -> the options of its pipelines. TFX's cache compares them; ML Metadata does not keep them."""
    version: str = ''
    """The newest version in the serving directory when it ended; '' for none."""
    pushed: bool = False
    """Whether this run pushed that version."""
    report: str = ''
    """The path of its report.html; '' if it ended before its report."""
    decision: dict | None = None
    """The gate's decision (components/blessing_gate/decision.py); None if it ended before the gate."""
    components: dict[str, NodeRecord] = dataclasses.field(default_factory=dict)
    """Component id -> what it did."""
    samples: dict[str, str] = dataclasses.field(default_factory=dict)
    """Task -> the path of one of its media files, for commands to try."""

    @property
    def root(self) -> pathlib.Path:
        """The root of the run, in whose logs/ its log is."""
        return pathlib.Path(self.log).parent.parent


@contextlib.contextmanager
def one_run_at_a_time(root: pathlib.Path):
    """Holds the lock of a root: two runs under one root would write the same metadata and push over each other.

    Studies and polyvit clean hold it too. Raises ConfigError if another one holds it, or if the root cannot be created.
    """
    create_folder(root)
    with open(root / '.lock', 'wb') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f'Another run, a study or polyvit clean is in progress in {root}. Wait for its end, or give this one '
                'another --root.') from error
        yield


def create_folder(path: pathlib.Path):
    """Creates a folder, and those above it, unless they exist. ConfigError if that fails."""
    file_io.check_folder(str(path))
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'The folder {path} cannot be created: {error.strerror}. Give another.') from error


def start(config, run_key: str, argv: tuple[str, ...] = (), code: str = '') -> Record:
    """Writes and returns the record of a run that starts now. Call it while holding the lock of the root."""
    now = datetime.datetime.now().astimezone()
    logs = config.run_root / 'logs'
    first = name = now.strftime('%Y%m%d-%H%M%S')
    number = 1
    while (logs / f'run-{name}.json').exists():
        number += 1
        name = f'{first}-{number}'
    record = Record(id=name, config=config.name, log=str(logs / f'run-{name}.log'), argv=tuple(argv),
                    overrides=config.overrides, beam_args={name: config.beam.arguments(name) for name in COMPONENTS},
                    folder=os.getcwd(), environment=environment.numbers(),
                    started=now.isoformat(timespec='seconds'),
                    run_key=run_key, code=code)
    _write(pathlib.Path(record.log).with_suffix('.json'), record)
    return record


def end(config, record: Record, exit_code: int, seconds: float, **more) -> Record:
    """Writes the record of a run that has ended, also to <root>/last_run.json. more: further fields of Record.

    A disk that is full does not hide what the run came to.
    """
    record = dataclasses.replace(record, exit_code=exit_code, state=_state(exit_code),
                                 seconds=round(seconds, 1), **more)
    try:
        _write(pathlib.Path(record.log).with_suffix('.json'), record)
        _write(config.run_root / FILE, record)
    except OSError as error:
        logger.warning('The record of this run is not written. %s', file_io.failure(error) or error)
    return record


def _state(exit_code: int) -> State:
    if exit_code >= 128:  # 128 and the number of the signal
        return 'interrupted'
    if exit_code == DONE:
        return 'done'
    return 'rejected' if exit_code == REJECTED else 'failed'


def _write(path: pathlib.Path, record: Record):
    file_io.write(str(path), json.dumps(dataclasses.asdict(record), indent=1))


def _read(path: pathlib.Path) -> Record:
    """Raises OSError or ValueError if the file cannot be read or is no record."""
    values = json.loads(path.read_text(encoding='utf-8'))
    known = {field.name for field in dataclasses.fields(Record)}
    if not isinstance(values, dict) or not {'config', 'log'} <= values.keys():
        raise ValueError(f'{path} is no record of a run')
    decision = values.get('decision')
    if decision is not None and not (isinstance(decision, dict) and {'blessed', 'reasons', 'tasks'} <= decision.keys()):
        raise ValueError(f'what {path} has as decision is none of the gate')
    values = {name: value for name, value in values.items() if name in known}
    values |= {name: tuple(values.get(name, ())) for name in ('argv', 'overrides')}
    if not isinstance(values.get('beam_args'), dict):  # in version 0.1 it was a list for all
        values.pop('beam_args', None)
    values['components'] = {name: NodeRecord(**node) for name, node in values.get('components', {}).items()}
    return Record(**{'id': '', **values})


def records(root: str | os.PathLike) -> list[Record]:
    """The records of all runs under a root, newest first; unreadable ones are left out."""
    found = []
    for path in pathlib.Path(root, 'logs').glob('run-*.json'):
        try:
            found.append(_read(path))
        except (OSError, ValueError, TypeError) as error:
            logger.warning('%s cannot be read (%s); that run is left out.', path, error)
    found.sort(key=lambda record: (record.id[:15], len(record.id), record.id), reverse=True)
    for i, record in enumerate(found):
        # Only the newest can be running, and only while the lock is held.
        if record.state == 'running' and (i or not _is_locked(pathlib.Path(root))):
            found[i] = dataclasses.replace(record, state='killed')
    return found


def _is_locked(root: pathlib.Path) -> bool:
    try:
        with open(root / '.lock', 'rb') as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def seconds(root: str | os.PathLike) -> dict[str, float]:
    """Component id -> the seconds that it took when it last ran under this root, and was not taken from the cache."""
    took = {}
    for record in records(root):
        for name, node in record.components.items():
            if not node.cached:
                took.setdefault(name, node.seconds)
    return took


def read_decision(blessing_dir: str) -> dict:
    """The gate's decision (components/blessing_gate/decision.py), from the directory of its blessing."""
    return json.loads(file_io.read_text(os.path.join(blessing_dir, 'decision.json')))


def data_lines(components: dict[str, NodeRecord]) -> list[str]:
    """What DataDrift found in a run, the sentences of its drift.json; [] if it did not run, or found nothing."""
    directories = components['DataDrift'].outputs.get('data_statistics', []) if 'DataDrift' in components else []
    result = file_io.read_json(os.path.join(directories[0], 'drift.json')) if directories else None
    return [finding['sentence'] for finding in result['findings']] if result else []


def read(root: str | None = None) -> Record:
    """The record of the last run of a root that has ended, by default of the newest root under runs/.

    Raises ConfigError if there is none.
    """
    if root:
        path = pathlib.Path(root) / FILE
    else:
        newest_last = sorted(pathlib.Path('runs').glob(f'*/{FILE}'), key=lambda p: p.stat().st_mtime)
        path = newest_last[-1] if newest_last else pathlib.Path('runs', 'CONFIG', FILE)
    if not path.is_file():
        if any(path.parent.parent.glob('*/logs/run-*.json') if root is None else path.parent.glob('logs/run-*.json')):
            raise ConfigError(f'No run under {path.parent} has come to its end yet. `polyvit runs` lists them.')
        raise ConfigError(f'There is no run under {path.parent}. Run a config first (polyvit demo), or give the '
                          '--root of a run.')
    try:
        return _read(path)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f'{path} cannot be read ({error}). Run the config again, and it is written anew.') from error
