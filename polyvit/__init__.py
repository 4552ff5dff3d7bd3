"""The public names: everything that a config needs, and functions to load it, run it and query its model.

    from polyvit import Data, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig

Importing this package imports nothing heavy: no TensorFlow, TFX, Beam or numpy. The functions import what they need
when they are called.
"""

import os
from collections.abc import Sequence

from model_code.data import Columns, Data
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import AudioInput, ImageInput, Limits, VideoInput
from model_code.settings import ModelConfig, TrainingConfig, preset
from model_code.tasks import Checks, Gate, Mixture, Recipe, Task
from pipeline import __version__
from pipeline.config import PipelineConfig
from pipeline.config import load_config as load

__all__ = [
    'AudioInput',
    'Checks',
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
    'Recipe',
    'Task',
    'TrainingConfig',
    'VideoInput',
    '__version__',
    'load',
    'predict',
    'preset',
    'run',
]


def run(config: PipelineConfig, debug: bool = False) -> int:
    """Runs the pipeline on this machine, as `polyvit run` does: progress on the screen, the rest in a log.

    debug: also print the traceback of an error.

    Returns the exit code: 0 if the model was pushed or nothing changed, 1 if the run failed, 3 if the gate rejected the
    model.

    Raises ConfigError, before anything is written, if the config or its data are wrong.
    """
    from pipeline import local_runner
    return local_runner.run(config, debug)


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
