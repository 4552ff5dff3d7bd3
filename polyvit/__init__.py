"""The public names: everything that a config needs, and functions to run it, read its report and query its model.

    from polyvit import Data, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig

Importing this package imports nothing heavy: no TensorFlow, TFX, Beam or numpy. The functions import what they need
when they are called.
"""

import os
import typing
from collections.abc import Sequence

from model_code.data import Columns, Data
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import AudioInput, ImageInput, Limits, TextInput, VideoInput
from model_code.probe import Probe
from model_code.settings import ModelConfig, TrainingConfig, preset
from model_code.tasks import Checks, Gate, Mixture, Recipe, Task
from pipeline import __version__, results
from pipeline.beam.settings import Beam
from pipeline.config import PipelineConfig, load_config
from pipeline.kubeflow.resources import Cluster, Resources
from pipeline.results import Report, Run

if typing.TYPE_CHECKING:
    from serving.local_model import LocalModel

__all__ = [
    'AudioInput',
    'Beam',
    'Checks',
    'Cluster',
    'Columns',
    'ConfigError',
    'Data',
    'Gate',
    'ImageInput',
    'Limits',
    'Mixture',
    'ModelConfig',
    'PipelineConfig',
    'PipelineStop',
    'Probe',
    'Recipe',
    'Report',
    'Resources',
    'Run',
    'Task',
    'TextInput',
    'TrainingConfig',
    'VideoInput',
    '__version__',
    'load',
    'load_config',
    'predict',
    'preset',
    'report',
    'run',
]


def run(config: PipelineConfig, debug: bool = False) -> Run:
    """Runs the pipeline on this machine, as `polyvit run` does: progress on the screen, the rest in a log.

    debug: also print the traceback of an error.

    Returns what the run came to: whether the model was accepted, the metrics, the report, the newest served version. A
    model that the gate rejects, and a run that fails, are no exceptions: see `Run.exit_code` and `Run.reasons`.

    Raises ConfigError, before anything is written, if the config or its data are wrong. Raises KeyboardInterrupt for
    Ctrl-C and SystemExit for SIGTERM, once training has saved: call it again to go on.
    """
    from pipeline import local_runner, run_record
    if not isinstance(config, PipelineConfig):
        raise ConfigError(f'run() takes a PipelineConfig, not {config!r}. Load a file with polyvit.load_config(PATH).')
    with results.no_displays():
        local_runner.run(config.with_data(), debug)
    return results.of_run(run_record.read(str(config.run_root)), config.serving_dir)


def report(root: str | os.PathLike | None = None) -> Report:
    """The report of the run that ended last under a root, by default of the newest root under runs/.

    Raises ConfigError if there is none.
    """
    return results.newest_report(None if root is None else os.fspath(root))


def load(directory: str | os.PathLike) -> 'LocalModel':
    """A served model, loaded once and asked many times: `.predict(task, files)`, `.embed(task, files)`, `.card`.

    directory: a version directory, or the folder of them, whose newest version is taken.

    Raises ConfigError if there is no model, PipelineStop if it cannot be loaded.
    """
    from serving.local_model import LocalModel
    return LocalModel(directory)


def predict(task: str, files: str | os.PathLike | Sequence[str | os.PathLike], url: str | None = None,
            model_dir: str | os.PathLike | None = None, top: int = 5) -> list[dict]:
    """{'path', 'labels', 'scores'} for each file, best label first, at most `top` labels.

    files: one path, or several.

    url: a server, by default the one that `polyvit serve` starts on this machine. model_dir: in place of a server, a
    version directory or the folder of them.

    Raises ConfigError for a task that the model does not have, and for files that cannot be read or are of another
    modality; PipelineStop if the server cannot be reached or rejects the request.
    """
    from serving import client
    if isinstance(files, (str, os.PathLike)):
        files = [files]
    return client.predict(task, files, url, model_dir, top)
