"""What the ML Metadata of a root says of its runs and their artifacts. It imports ml_metadata, but no TFX."""

import dataclasses
import json
import os
import pathlib

from ml_metadata import errors
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from model_code.errors import PipelineStop

FILE = 'metadata.db'


@dataclasses.dataclass(frozen=True)
class Run:
    """A run of the pipeline. TFX records an execution of each component that it reached, also of a cached one.

    pipeline: the name of the config's pipeline. started: seconds since 1970. finished: whether it came to its report.
    uris: the folders of what its components made or took from the cache. pushed: the versions that it pushed, or whose
    push came from the cache. starts_from: the paths of weights that its training started from.
    """
    pipeline: str
    started: float
    finished: bool
    uris: frozenset[str]
    pushed: frozenset[str]
    starts_from: frozenset[str]


class Lineage:
    """The metadata of a root; empty if it has none. runs: newest first.

    Raises PipelineStop if it cannot be read.
    """

    def __init__(self, root: pathlib.Path):
        self._store = _open(root) if (root / FILE).is_file() else None
        self.runs: list[Run] = []
        self._artifacts: dict[int, mlmd.Artifact] = {}
        if self._store:
            self._read(self._store)

    def _read(self, store: metadata_store.MetadataStore):
        self._artifacts = {a.id: a for a in store.get_artifacts() if a.state != mlmd.Artifact.DELETED}
        for context in store.get_contexts_by_type('pipeline_run'):
            executions = store.get_executions_by_context(context.id)
            events = store.get_events_by_execution_ids([e.id for e in executions]) if executions else []
            parents = store.get_parent_contexts_by_context(context.id)
            outputs = [self._artifacts[event.artifact_id] for event in events
                       if event.type == mlmd.Event.OUTPUT and event.artifact_id in self._artifacts]
            self.runs.append(Run(
                pipeline=parents[0].name if parents else '',
                started=context.create_time_since_epoch / 1000,
                finished=all(map(_succeeded, executions)) and any(e.type.endswith('.Report') for e in executions),
                uris=frozenset(artifact.uri for artifact in outputs),
                pushed=frozenset(_text(artifact, 'pushed_version') for artifact in outputs) - {''},
                starts_from=frozenset(map(_initial_checkpoint, executions)) - {''}))
        self.runs.sort(key=lambda run: run.started, reverse=True)

    def mark_deleted(self, folders: set[str]):
        """Says that the artifacts in these folders are deleted, so that TFX's cache does not take them.

        folders: real paths.

        The others are not written again: when an artifact was written is in the cache key of what read it.
        """
        artifacts = [a for a in self._artifacts.values() if os.path.realpath(a.uri) in folders]
        for artifact in artifacts:
            artifact.state = mlmd.Artifact.DELETED
        if self._store and artifacts:
            self._store.put_artifacts(artifacts)


def connection(root: pathlib.Path, mode: str) -> mlmd.ConnectionConfig:
    """The metadata of a root. mode: READONLY, READWRITE, or READWRITE_OPENCREATE, which makes the file if need be."""
    config = mlmd.ConnectionConfig()
    config.sqlite.filename_uri = str(root / FILE)
    config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.ConnectionMode.Value(mode)
    return config


def _open(root: pathlib.Path) -> metadata_store.MetadataStore:
    try:
        return metadata_store.MetadataStore(connection(root, 'READWRITE'))
    except (RuntimeError, errors.StatusError) as error:
        raise PipelineStop(f'{root / FILE} cannot be read as ML Metadata ({error}).') from error


def _succeeded(execution: mlmd.Execution) -> bool:
    return execution.last_known_state in (mlmd.Execution.COMPLETE, mlmd.Execution.CACHED)


def _initial_checkpoint(execution: mlmd.Execution) -> str:
    """The path of the weights that a training started from; '' for other executions and for random weights."""
    training = _text(execution, 'training') if execution.type.endswith('.CoTrainer') else ''
    return json.loads(training).get('initial_checkpoint', '') if training else ''


def _text(node: mlmd.Artifact | mlmd.Execution, name: str) -> str:
    """A custom property; '' if there is none. (Reading one that is not there would add it to the message.)"""
    return node.custom_properties[name].string_value if name in node.custom_properties else ''
