"""The artifact types that this project adds to TFX's.

Kubeflow finds a custom type by its TYPE_NAME, which so must be an import path, of the form `<package>.<Class>` (one
dot: components/__init__.py hands these classes on), and allows it no PROPERTIES.
"""

import os

from tfx.types import artifact

from media import findings, rejections
from model_code import file_io


class RejectedMedia(artifact.Artifact):
    """What became of a task's media beside its examples, in a directory.

    rejected.jsonl: a line `{"path", "reason", "detail"}` for each file that could not be read (rejections.to_lines).
    findings.json: counts, duplicates, leaks between splits, odd media (media.findings.Findings).
    """
    TYPE_NAME = 'components.RejectedMedia'


class EvaluationReport(artifact.Artifact):
    """A directory with report.html, one self-contained file."""
    TYPE_NAME = 'components.EvaluationReport'


def read_rejected(uri: str) -> list[rejections.Rejection]:
    """What rejected.jsonl of a RejectedMedia artifact says, by path; [] where there is no such file."""
    path = os.path.join(uri, rejections.FILE)
    return rejections.from_lines(file_io.read_text(path)) if file_io.exists(path) else []


def read_findings(uri: str) -> findings.Findings | None:
    """The findings of a RejectedMedia artifact; None where there are none."""
    values = file_io.read_json(os.path.join(uri, findings.FILE))
    return findings.Findings.from_dict(values) if values else None
