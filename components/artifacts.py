"""The artifact types that this project adds to TFX's, but for Classes (classes.py) and DataStatistics.

Kubeflow imports a custom type by its TYPE_NAME, so this must be `<package>.<Class>`, with one dot: therefore
components/__init__.py re-exports these classes. Kubeflow does not allow PROPERTIES.
"""

import json
import os
from collections.abc import Iterable

from tfx.types import artifact

from media import rejections
from media.findings import Findings
from media.rejections import Rejection
from model_code import file_io

_REJECTED, _FINDINGS = 'rejected.jsonl', 'findings.json'
NEAR_DUPLICATES = 'near_duplicates.tfrecord.gz'


class RejectedMedia(artifact.Artifact):
    """A directory with what MediaExampleGen found in a task's media, apart from the examples.

    rejected.jsonl: one line `{"path", "reason", "detail"}` per file that could not be read (rejections.to_lines).
    findings.json: counts, duplicates, leaks between splits, odd media (media.findings.Findings).
    near_duplicates.tfrecord.gz: the examples in the near duplicates that findings.json names, in no order.
    """
    TYPE_NAME = 'components.RejectedMedia'


class EvaluationReport(artifact.Artifact):
    """A directory with report.html, one self-contained file."""
    TYPE_NAME = 'components.EvaluationReport'


def write_rejected_media(uri: str, findings: Findings, rejected: Iterable[Rejection]):
    """Writes rejected.jsonl and findings.json of a RejectedMedia artifact."""
    with file_io.replacing(os.path.join(uri, _REJECTED)) as temporary, open(
            temporary, 'w', encoding='utf-8') as file:
        file.writelines(rejections.to_lines(rejected))
    file_io.write(os.path.join(uri, _FINDINGS), json.dumps(findings.to_dict(), indent=1, sort_keys=True))


def read_rejected(uri: str) -> list[Rejection]:
    """The rejections of a RejectedMedia artifact, sorted by path."""
    return rejections.from_lines(file_io.read_text(os.path.join(uri, _REJECTED)))


def read_findings(uri: str) -> Findings:
    """The findings of a RejectedMedia artifact."""
    return Findings.from_dict(json.loads(file_io.read_text(os.path.join(uri, _FINDINGS))))
