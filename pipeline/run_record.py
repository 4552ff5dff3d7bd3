"""What a run keeps under its root beside its results: a lock while it runs, last_run.json when it has ended."""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib

from model_code import file_io
from model_code.errors import ConfigError

FILE = 'last_run.json'


@contextlib.contextmanager
def one_run_at_a_time(root: pathlib.Path):
    """Holds the lock of a root: two runs under one root would write the same metadata and push over each other.

    Raises ConfigError if another run holds it, or if the root cannot be created.
    """
    create_folder(root)
    with open(root / '.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f'Another run is in progress in {root}. Wait for its end, or give this one another --root.') from error
        yield


def create_folder(path: pathlib.Path):
    """Creates a folder, and those above it, unless they exist. ConfigError if that fails."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f'The folder {path} cannot be created: {error.strerror}. Give another.') from error


def write(config, components: dict, exit_code: int, log_path: pathlib.Path, **more):
    """Writes <root>/last_run.json, for `polyvit report` and for scripts.

    components: component id -> observed_runner.NodeRecord. more: further entries, such as the report's path.
    """
    file_io.write(str(config.run_root / FILE), json.dumps({
        'config': config.name, 'exit_code': exit_code, 'log': str(log_path), **more,
        'components': {name: dataclasses.asdict(record) for name, record in components.items()},
    }, indent=1))


def read_decision(blessing_dir: str) -> dict:
    """The gate's decision (components/blessing_gate/decision.py), from the directory of its blessing."""
    return json.loads(file_io.read_text(os.path.join(blessing_dir, 'decision.json')))


def read(root: str | None = None) -> dict:
    """The last_run.json of a root, by default of the newest run under runs/.

    Raises ConfigError if there is none, or if the run ended before its report.
    """
    if root:
        path = pathlib.Path(root) / FILE
    else:
        newest_last = sorted(pathlib.Path('runs').glob(f'*/{FILE}'), key=lambda p: p.stat().st_mtime)
        path = newest_last[-1] if newest_last else pathlib.Path('runs', 'CONFIG', FILE)
    if not path.is_file():
        raise ConfigError(f'There is no run under {path.parent}. Run a config first (polyvit run demo), or give the '
                          '--root of a run.')
    record = json.loads(path.read_text())
    if not record.get('report'):
        raise ConfigError(f'The last run under {path.parent} ended before its report. Its log is {record["log"]}.')
    return record
