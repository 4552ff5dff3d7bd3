"""Artifacts that tests of several components need."""

import os

from components.classes import Classes, TaskClasses, write_classes


def classes(directory, labels, media_fingerprint: str = 'f') -> Classes:
    """A Classes artifact of these labels, in the directory."""
    artifact = Classes()
    artifact.uri = os.fspath(directory)
    write_classes(artifact.uri, TaskClasses(tuple(labels), media_fingerprint))
    return artifact
