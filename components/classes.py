"""Classes, the artifact with a task's labels.

It is not in artifacts.py, because CoTrainer reads it: a change of the other types and their files must not re-train.
Kubeflow imports the type by its TYPE_NAME, as those of artifacts.py.
"""

import json
import os
import typing

from tfx.types import artifact

from model_code import file_io

_FILE = 'classes.json'


class Classes(artifact.Artifact):
    """A directory with classes.json: {"labels": [all labels of a task], "media_fingerprint": that of its media}.

    An artifact, because the arguments of a container have room for 128 KiB only, which is some 2,000 labels.
    """
    TYPE_NAME = 'components.Classes'


class TaskClasses(typing.NamedTuple):
    """What a Classes artifact says of a task."""
    labels: tuple[str, ...]
    media_fingerprint: str


def write_classes(uri: str, classes: TaskClasses):
    """Writes the file of a Classes artifact."""
    file_io.write(os.path.join(uri, _FILE), json.dumps(classes._asdict(), indent=1))


def read_classes(uri: str) -> TaskClasses:
    """What the Classes artifact says."""
    content = json.loads(file_io.read_text(os.path.join(uri, _FILE)))
    return TaskClasses(tuple(content['labels']), content['media_fingerprint'])
