"""The components of a pipeline, and their earlier executions by ML Metadata, which TFX's cache compares.

This module imports TFX. It reads, and writes nothing.
"""

import os
import pathlib

import ml_metadata
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import pipeline as tfx_pipeline

from pipeline import lineage
from pipeline.dry_run import Execution, Node


def nodes(pipeline: tfx_pipeline.Pipeline) -> list[Node]:
    """The components in the order in which they run, with the properties and inputs that TFX would give them."""
    beam_args = {c.id: c.executor_spec.beam_pipeline_args for c in pipeline.components
                 if isinstance(c.executor_spec, executor_spec.BeamExecutorSpec)}
    found = []
    for item in compiler.Compiler().compile(pipeline).nodes:
        node = item.pipeline_node
        name = node.node_info.id
        found.append(Node(
            id=name, beam_args=beam_args.get(name, []),
            properties={key: _value(value.field_value) for key, value in node.parameters.parameters.items()},
            inputs={key: [(channel.producer_node_query.id, channel.output_key) for channel in value.channels]
                    for key, value in node.inputs.inputs.items()}))
    return found


def executions(root: pathlib.Path, pipeline_name: str, names: list[str]) -> dict[str, list[Execution]]:
    """Component id -> its successful executions under a root, the newest first. {} if it has no metadata yet."""
    if not (root / lineage.FILE).is_file():
        return {}
    store = ml_metadata.MetadataStore(lineage.connection(root, 'READONLY'))
    return {name: _executions(store, f'{pipeline_name}.{name}') for name in names}


def _executions(store, context_name: str) -> list[Execution]:
    context = store.get_context_by_type_and_name('node', context_name)
    if context is None:
        return []
    states = metadata_store_pb2.Execution
    done = [e for e in store.get_executions_by_context(context.id)
            if e.last_known_state in (states.COMPLETE, states.CACHED)]
    events = store.get_events_by_execution_ids([e.id for e in done]) if done else []
    artifacts = {a.id: a for a in store.get_artifacts_by_id(list({event.artifact_id for event in events}))}
    found = []
    for execution in sorted(done, key=lambda e: e.id, reverse=True):
        own = [event for event in events if event.execution_id == execution.id]
        outputs = _by_key(own, metadata_store_pb2.Event.OUTPUT)
        made = [artifacts[i] for ids in outputs.values() for i in ids]
        found.append(Execution(
            properties={key: _value(value) for key, value in execution.custom_properties.items()},
            inputs=_by_key(own, metadata_store_pb2.Event.INPUT), outputs=outputs, paths=[a.uri for a in made],
            is_there=all(a.state == metadata_store_pb2.Artifact.LIVE and os.path.exists(a.uri) for a in made)))
    return found


def _by_key(events, kind) -> dict[str, list[int]]:
    """Input or output name -> the ids of its artifacts, in their order."""
    found = {}
    for event in sorted((e for e in events if e.type == kind), key=lambda e: e.path.steps[1].index):
        found.setdefault(event.path.steps[0].key, []).append(event.artifact_id)
    return found


def _value(value):
    kind = value.WhichOneof('value')
    return getattr(value, kind) if kind else None
