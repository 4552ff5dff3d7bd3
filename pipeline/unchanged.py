"""Whether a run can be answered at once: an equal run has ended, and what it made is still there.

Such a run would take every component from the cache and come to the same end, after it has imported TFX. So its result
is given again, from its record. This module imports nothing heavy.
"""

import functools
import os
import pathlib

from model_code import file_io, model_directory
from pipeline import fingerprints, run_record
from serving import version_directories


@functools.cache
def runner_code() -> str:
    """A hash of all code that a run passes through: the runner, the wiring, the components.

    The run_key has only the components' code. With other wiring, equal components may be asked for something else.
    """
    return fingerprints.code_version('pipeline.local_runner')


def equal_run(config, run_key: str) -> run_record.Record | None:
    """The record of the run whose result is also that of a run with this run_key; None if components must run.

    It is the newest that ended, well or rejected by the gate, with the same config, media, code and libraries, and with
    the version that is being served now. Everything that it made must still be there; otherwise the components run, and
    make it again.
    """
    versions = version_directories.list_models(str(config.serving_dir))
    newest = max(versions, default='')
    for earlier in run_record.records(config.run_root):
        if earlier.state in ('done', 'rejected') and earlier.run_key == run_key:
            same = earlier.code == runner_code() and earlier.version == str(newest)
            served = versions[newest] if newest else ''
            return earlier if same and _is_there(config, earlier, served) else None
    return None


def _is_there(config, record: run_record.Record, served: str) -> bool:
    """Whether the artifacts, the report and the served model of a run are there. served: the version's directory."""
    # A copied root has records of the original, whose artifacts are elsewhere.
    if pathlib.Path(record.log).parent != config.run_root / 'logs' or not record.decision:
        return False
    outputs = [path for node in record.components.values() for paths in node.outputs.values() for path in paths]
    if not all(map(os.path.exists, [*outputs, record.report, config.run_root / 'metadata.db'])):
        return False
    if record.state == 'rejected':  # what is served came from another run
        return True
    model = os.path.join(record.components['CoTrainer'].outputs['model'][0], 'Format-Serving')
    files = _sizes(model)
    return bool(files) and files.items() <= _sizes(served).items()


def _sizes(model_dir: str) -> dict[str, int]:
    """The files of an exported model and their sizes, without its card, to which the push adds."""
    return {name: os.path.getsize(os.path.join(model_dir, name))
            for name in file_io.list_files(model_dir) if name != model_directory.card_path('')}
