"""A BeamDagRunner that reports when a component starts, finishes, fails, or is taken from the cache.

It extends the DoFn that runs a node (BeamDagRunner names that class in an attribute) and parses no log messages of TFX.
What a node did is read from ML Metadata, where TFX itself keeps it, and its exception is caught before Beam turns it
into text. This module imports TFX, so import it late.
"""

import itertools
import pathlib
import shutil
import sys
import typing

from ml_metadata import ListOptions
from ml_metadata.proto import metadata_store_pb2
from tfx.orchestration import metadata
from tfx.orchestration.beam import beam_dag_runner
from tfx.orchestration.portable.mlmd import context_lib, execution_lib

from components import costs
from model_code import interruption
from model_code.errors import PipelineStop
from pipeline import cost_meter
from pipeline.run_record import NodeRecord


class Observer(typing.Protocol):
    """What is told of each component. node: its id."""
    def started(self, node: str): ...
    def finished(self, node: str, record: NodeRecord): ...
    def failed(self, node: str, error: Exception): ...


# Beam pickles its DoFns, so they cannot hold the observer and look it up here. The Beam pipeline that runs the
# components is always in this process, whatever runner the components' own Beam pipelines use.
_observer: Observer | None = None


class ObservedNode(beam_dag_runner.PipelineNodeAsDoFn):
    """Runs one component and tells the observer. An exception ends the run: Beam starts no more nodes."""

    def _run_node(self):
        observer = _observer
        if interruption.requested():  # something caught the KeyboardInterrupt
            raise KeyboardInterrupt
        observer.started(self._node_id)
        try:
            with cost_meter.running() as meter:
                super()._run_node()
            record = self._record(meter)
        except Exception as error:
            observer.failed(self._node_id, error)
            raise
        observer.finished(self._node_id, record)

    def _record(self, meter: cost_meter.Meter) -> NodeRecord:
        """What the component did. What it took goes to its output artifacts, which a cached one has already."""
        with metadata.Metadata(self._mlmd_connection_config) as handle:
            contexts = context_lib.prepare_contexts(handle, node_contexts=self._pipeline_node.contexts)
            executions = execution_lib.get_executions_associated_with_all_contexts(handle, contexts)
            if not executions or not execution_lib.is_execution_successful(executions[0]):
                # If a node's inputs cannot be resolved, TFX only logs it and goes on.
                raise PipelineStop(f'{self._node_id} did not run, because TFX could not find its inputs. The log says '
                                   'which.')
            events = [e for e in handle.store.get_events_by_execution_ids([executions[0].id])
                      if e.type == metadata_store_pb2.Event.OUTPUT]
            artifacts = {a.id: a for a in handle.store.get_artifacts_by_id([e.artifact_id for e in events])}
            cached = executions[0].last_known_state == metadata_store_pb2.Execution.CACHED
            cost = meter.cost(self._node_id)
            if not cached:
                for artifact in artifacts.values():
                    artifact.custom_properties[costs.PROPERTY].string_value = cost.to_json()
                handle.store.put_artifacts(list(artifacts.values()))
        kept = [a.custom_properties[costs.PROPERTY].string_value for a in artifacts.values()
                if costs.PROPERTY in a.custom_properties]
        if kept:
            costs.tell(costs.from_json(kept[0]), cached)
        outputs = {}
        for event in events:
            outputs.setdefault(event.path.steps[0].key, []).append(artifacts[event.artifact_id].uri)
        versions = [a.custom_properties['pushed_version'].string_value for a in artifacts.values()
                    if 'pushed_version' in a.custom_properties]
        return NodeRecord(cached, cost.seconds, outputs, ''.join(versions),
                          **({} if cached else {'cpu_seconds': cost.cpu_seconds, 'peak_bytes': cost.peak_bytes}))


class ObservedRunner(beam_dag_runner.BeamDagRunner):
    """Runs the components in the pipeline's own order: by their layers in the graph, and by name in a layer.

    Beam would run what does not depend on each other one after another too, but in another order each time.
    """
    _PIPELINE_NODE_DO_FN_CLS = ObservedNode

    def run_with_ir(self, pipeline, run_options=None):
        for before, node in itertools.pairwise(node.pipeline_node for node in pipeline.nodes):
            if before.node_info.id not in node.upstream_nodes:
                node.upstream_nodes.append(before.node_info.id)
        return super().run_with_ir(pipeline, run_options)


def run(pipeline, observer: Observer):
    """Runs a TFX pipeline in this process. Raises what a component raises, as Beam passes it on.

    Call it while holding the lock of the root.
    """
    global _observer
    _observer = observer
    _end_lost_executions(pipeline.metadata_connection_config, pipeline.pipeline_info.pipeline_root)
    # The Beam pipeline that runs the components would read its options from sys.argv, which holds ours.
    arguments, sys.argv = sys.argv, sys.argv[:1]
    try:
        with costs.of_one_run():
            ObservedRunner().run(pipeline)
    finally:
        sys.argv = arguments
        _observer = None


def _end_lost_executions(connection, pipeline_root: str):
    """Executions that an interrupted or killed run left as running have failed. What they wrote is removed.

    Nothing needs it: their outputs are registered when they finish, and training keeps its checkpoints elsewhere.
    """
    with metadata.Metadata(connection) as handle:
        lost = handle.store.get_executions(ListOptions(filter_query='last_known_state = RUNNING'))
        for execution in lost:
            # Outputs and working folders are named by the execution's id, which no other component has.
            for folder in ('*', '.system/*'):
                for path in pathlib.Path(pipeline_root).glob(f'*/{folder}/{execution.id}'):
                    shutil.rmtree(path, ignore_errors=True)
            execution.last_known_state = metadata_store_pb2.Execution.FAILED
        if lost:
            handle.store.put_executions(lost)
