"""MediaListing's Do on real files: what it emits, and that it stops a run as the check before a local one does."""

import os

import pytest
from tfx.types import channel, standard_artifacts

from components.media_listing import executor
from components.media_listing.component import MediaListing
from media import listing
from model_code.errors import ConfigError
from model_code.serialization import to_json
from pipeline import checks
from tests import testing


def _list(task, directory, **parameters) -> str:
    """The media_fingerprint, as its reader finds it in the file."""
    uri = os.path.join(directory, 'value')
    written = standard_artifacts.String()
    written.uri = uri
    executor.Executor().Do({}, {'media_fingerprint': [written]},
                           {'source': to_json(task.source), 'checks': to_json(task.checks), **parameters})
    read = standard_artifacts.String()
    read.uri = uri
    return read.read()


def test_it_emits_the_fingerprint_of_what_is_there_now(tmp_path):
    task = testing.image_task(tmp_path / 'media')
    first = _list(task, tmp_path)
    assert first == listing.media_fingerprint(task.source) == _list(task, tmp_path)
    testing.write(tmp_path / 'media', 'train/left/new.png', testing.image_bytes(seed=9))
    assert _list(task, tmp_path) == listing.media_fingerprint(task.source) != first


@pytest.mark.parametrize('fields, message', [
    (dict(num_classes=3), r'shapes has Data\(num_classes=3\), but its train split has 2 labels: left, right\. '),
    (dict(classes=('left', 'right', 'up')), '1 class without a train example: up'),
    (dict(folder='/nowhere'), 'there is no folder /nowhere'),
])
def test_it_stops_a_run_with_the_sentence_of_the_check_before_a_local_run(tmp_path, fields, message):
    task = testing.changed(testing.image_task(tmp_path / 'media'), **fields)
    with pytest.raises(ConfigError, match=message) as stopped:
        _list(task, tmp_path)
    with pytest.raises(ConfigError) as before:
        checks._add_task(checks.DataSummary({}, {}, {}), task)
    assert str(stopped.value) == str(before.value)
    assert not (tmp_path / 'value').exists()


def test_it_lists_the_version_of_the_data_that_the_run_names(tmp_path):
    for version, per_class in (('monday', 4), ('tuesday', 5)):
        testing.image_task(tmp_path / version, per_class=per_class)
    task = testing.image_task(tmp_path / 'unused', folder=str(tmp_path / '{data_version}'))
    found = {version: _list(task, tmp_path, data_version=version) for version in ('monday', 'tuesday')}
    assert found == {version: listing.media_fingerprint(task.source.at_version(version)) for version in found}
    assert len(set(found.values())) == 2
    with pytest.raises(ConfigError, match=r'Task shapes: .*\{data_version\} has a place for .* but none is given'):
        _list(task, tmp_path)
    with pytest.raises(ConfigError, match='there is no folder .*wednesday'):
        _list(task, tmp_path, data_version='wednesday')


def test_the_component_has_one_output_and_no_input():
    component = MediaListing(source='{}', checks='{}')
    assert list(component.outputs) == ['media_fingerprint'] and not component.inputs
    assert isinstance(component.outputs['media_fingerprint'], channel.BaseChannel)
