"""The runner: the order of components, what it tells of each, what is pushed."""

import pytest
from tfx import types
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import standard_artifacts

from components import costs
from pipeline import observed_runner

pytestmark = pytest.mark.slow


@component
def Push(pushed_model: OutputArtifact[standard_artifacts.PushedModel], version: Parameter[str]):
    pushed_model.set_string_custom_property('pushed_version', version)
    if version == 'broken':
        raise ValueError('It broke.')


class Observed:
    def __init__(self):
        self.events, self.records, self.costs = [], {}, set()

    def started(self, node):
        self.events.append(('started', node))

    def finished(self, node, record):
        self.events.append(('finished', node))
        self.records[node] = record
        self.costs = {(cost.component, cached) for cost, cached in costs.known({})}

    def failed(self, node, error):
        self.events.append((type(error).__name__, node))


def _run(root, versions: dict[str, str], observed: Observed) -> Observed:
    nodes: list[types.BaseNode] = [Push(version=version).with_id(name) for name, version in versions.items()]
    observed_runner.run(tfx_pipeline.Pipeline(
        'observed', str(root), components=nodes, enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / 'metadata.db'))), observed)
    return observed


def _costs(root) -> list[costs.Cost]:
    """What ML Metadata say that the components took."""
    with metadata.Metadata(metadata.sqlite_metadata_connection_config(str(root / 'metadata.db'))) as handle:
        return [costs.from_json(artifact.custom_properties[costs.PROPERTY].string_value)
                for artifact in handle.store.get_artifacts()]


def test_what_is_independent_runs_in_the_order_of_names_and_is_told_of(tmp_path):
    versions = {f'Push_{name}': name for name in 'fbdaec'}
    observed = _run(tmp_path, versions, Observed())
    assert observed.events == [(what, f'Push_{name}') for name in 'abcdef' for what in ('started', 'finished')]
    assert {node: record.version for node, record in observed.records.items()} == versions
    assert not any(record.cached for record in observed.records.values())
    assert all(record.cpu_seconds is not None and record.peak_bytes > 0 for record in observed.records.values())
    before = _costs(tmp_path)
    assert {cost.component: cost.seconds for cost in before} == {
        node: record.seconds for node, record in observed.records.items()}
    assert observed.costs == {(node, False) for node in versions} and costs.known({}) == []
    again = _run(tmp_path, versions, Observed())
    assert again.events == observed.events and all(record.cached for record in again.records.values())
    assert again.records['Push_a'].version == 'a'
    assert _costs(tmp_path) == before, 'a cached component keeps what it took'
    assert again.costs == {(node, True) for node in versions}
    assert again.records['Push_a'].cpu_seconds is None


def test_the_first_failure_ends_the_run(tmp_path):
    observed = Observed()
    with pytest.raises(Exception, match='It broke'):
        _run(tmp_path, {'Push_a': '1', 'Push_b': 'broken', 'Push_c': '3'}, observed)
    assert observed.events == [('started', 'Push_a'), ('finished', 'Push_a'), ('started', 'Push_b'),
                               ('ValueError', 'Push_b')]
