"""DataStatistics, the artifact with what is known of a run's data.

It is not in artifacts.py, because AtomicPusher reads it: a change of the findings must not ask for another push.
Kubeflow imports the type by its TYPE_NAME, as those of artifacts.py.
"""

import json
import os

from tfx.types import artifact

from model_code import file_io

_DRIFT = 'drift.json'


class DataStatistics(artifact.Artifact):
    """A directory with what DataDrift found out about the data of all tasks.

    statistics/: what a push keeps with the version (components.data_drift.statistics).
    drift.json: how the data differ from those of the served version (components.data_drift.executor.judge).
    """
    TYPE_NAME = 'components.DataStatistics'


def kept_statistics(uri: str) -> str:
    """The folder of a DataStatistics artifact that a push keeps with the version."""
    return os.path.join(uri, 'statistics')


def write_drift(uri: str, drift: dict):
    """Writes drift.json of a DataStatistics artifact."""
    file_io.write(os.path.join(uri, _DRIFT), json.dumps(drift, indent=1, sort_keys=True))


def read_drift(uri: str) -> dict:
    """drift.json of a DataStatistics artifact."""
    return json.loads(file_io.read_text(os.path.join(uri, _DRIFT)))
