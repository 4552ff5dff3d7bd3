"""What a run keeps under its root beside its results: a lock while it goes on, last_run.json when it ends."""

import contextlib
import dataclasses
import fcntl
import json
import pathlib

from model_code import file_io
from model_code.errors import ConfigError

FILE = 'last_run.json'


@contextlib.contextmanager
def one_run_at_a_time(root: pathlib.Path):
    """Two runs under one root would write one metadata file and push over each other."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / '.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigError(
                f'Another run is under way in {root}. Wait for it, or give this one another --root.') from error
        yield


def write(config, components: dict, exit_code: int, log_path: pathlib.Path, **more):
    """Writes <root>/last_run.json: what `polyvit report` and scripts read.

    components: node -> observed_runner.NodeRecord. more: further entries, such as the report's path.
    """
    file_io.write(str(config.run_root / FILE), json.dumps({
        'config': config.name, 'exit_code': exit_code, 'log': str(log_path), **more,
        'components': {name: dataclasses.asdict(record) for name, record in components.items()},
    }, indent=1))


def read(root: str | None = None) -> dict:
    """The last_run.json of a root, by default of the newest run under runs/. ConfigError where there is none."""
    if root:
        path = pathlib.Path(root) / FILE
    else:
        written = sorted(pathlib.Path('runs').glob(f'*/{FILE}'), key=lambda p: p.stat().st_mtime)
        path = written[-1] if written else pathlib.Path('runs', 'CONFIG', FILE)
    if not path.is_file():
        raise ConfigError(f'There is no run under {path.parent}. Run one first (polyvit run demo), or give its --root.')
    last = json.loads(path.read_text())
    if not last.get('report'):
        raise ConfigError(f'The last run under {path.parent} did not reach its report; its log is {last["log"]}.')
    return last
