"""The artifact types that this project adds to TFX's.

Kubeflow finds a custom type by its TYPE_NAME, which so must be an import path, of the form `<package>.<Class>` (one
dot: components/__init__.py hands these classes on), and allows it no PROPERTIES.
"""

from tfx.types import artifact


class RejectedMedia(artifact.Artifact):
    """What became of a task's media beside its examples, in a directory.

    rejected.jsonl: a line `{"path", "reason", "detail"}` for each file that could not be read. findings.json: counts,
    duplicates, leaks between splits, odd media (media.findings.Findings).
    """
    TYPE_NAME = 'components.RejectedMedia'


class EvaluationReport(artifact.Artifact):
    """A directory with report.html, one self-contained file."""
    TYPE_NAME = 'components.EvaluationReport'
