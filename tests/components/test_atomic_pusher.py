"""Pushing: whole or not at all, once, under the next number, with metrics in the card, only with both blessings."""

import concurrent.futures
import hashlib
import json
import os
import shutil

import pytest
from tfx.proto import pusher_pb2
from tfx.types import standard_artifacts
from tfx.utils import proto_utils

from components.atomic_pusher import card as card_entries
from components.atomic_pusher import executor
from components.data_drift import statistics
from components.data_statistics import DataStatistics, kept_statistics, write_drift
from model_code import file_io, model_directory, remote_files
from model_code.errors import PipelineStop
from serving import served, version_directories
from tests import object_stores

DATA = {'digits': statistics.TaskData({'train': 3}, {'one': {'train': 3}}, 4, {'empty': 1}, {}, {'train': 2},
                                        {'license': 'CC0'})}


@pytest.fixture
def model(tmp_path):
    """A directory with the files of a SavedModel; pushing copies files and never loads them."""
    path = tmp_path / 'model' / 'Format-Serving'
    for name, content in {'saved_model.pb': 'graph', 'variables/variables.index': 'v',
                          'assets.extra/model_card.json': '{"name": "m", "model_key": "old"}'}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path / 'model')
    return artifact


def run_pusher(tmp_path, model, blessed=1, infra_blessed=1, serving_dir=None, output=None, intervals=True):
    """output: the name of the output's folder; by default a new one, as in a new run. intervals: whether the evaluation
    has them."""
    blessing, infra = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    blessing.uri, infra.uri = str(tmp_path / 'blessing'), str(tmp_path / 'infra')
    os.makedirs(blessing.uri, exist_ok=True)
    with open(os.path.join(blessing.uri, 'decision.json'), 'w') as stream:
        json.dump({'baseline_version': '2', 'tasks': [{'name': 'digits', 'metrics': {'accuracy': 0.75}}]}, stream)
    blessing.set_int_custom_property('blessed', blessed)
    infra.set_int_custom_property('blessed', infra_blessed)
    data = DataStatistics()
    data.uri = str(tmp_path / 'data')
    write_drift(data.uri, {'version': '1'})
    statistics.write(kept_statistics(data.uri), DATA)
    pushed = standard_artifacts.PushedModel()
    pushed.uri = str(tmp_path / (output or f'pushed{len([*tmp_path.glob("pushed*")]) or ""}'))
    destination = pusher_pb2.PushDestination(
        filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving_dir or str(tmp_path / 'serving')))
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = str(tmp_path / 'evaluation')
    if intervals:
        file_io.write(f'{evaluation.uri}/evaluation.json', json.dumps({'task': 'digits', 'slices': [
            {'examples': 9, 'groups': 3, 'metrics': {
                'accuracy': {'value': 0.75, 'low': 0.5, 'high': 0.9, 'change': 0}}},
            {'examples': 1, 'groups': 1, 'metrics': {}}]}))
    executor.Executor().Do(
        {'model': [model], 'model_blessing': [blessing], 'infra_blessing': [infra], 'data_statistics': [data],
         'evaluation_digits': [evaluation]},
        {'pushed_model': [pushed]},
        {'push_destination': proto_utils.proto_to_json(destination),
         'custom_config': json.dumps({'model_key': 'new', 'served_version': '1', 'limits': 'No cheques.'})})
    return pushed


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """The time is always 100 seconds."""
    monkeypatch.setattr(executor.time, 'time', lambda: 100.9)


def test_a_push_is_a_greater_version_with_its_metrics(tmp_path, model):
    for name in ('2', '100', '.pushing-left-over', 'notes'):
        (tmp_path / 'serving' / name).mkdir(parents=True)
    pushed = run_pusher(tmp_path, model)
    version = tmp_path / 'serving' / '101'
    assert json.loads((version / 'assets.extra' / 'model_card.json').read_text()) == {
        'name': 'm', 'model_key': 'new', 'served_version': '1', 'baseline_version': '2',
        'data_baseline_version': '1', 'metrics': {'digits': {'accuracy': 0.75}},
        'intended_use': card_entries.INTENDED_USE, 'limits': 'No cheques.',
        'data': {'digits': {'examples': {'train': 3}, 'groups': {'train': 2}, 'classes': 1, 'files': 4, 'rejected': 1,
                            'license': 'CC0'}},
        'evaluation': {'digits': {'examples': 9, 'groups': 3,
                                  'metrics': {'accuracy': {'value': 0.75, 'low': 0.5, 'high': 0.9}}}},
        'model_digest': served.digest(str(tmp_path / 'model/Format-Serving')), 'push': _push_id(pushed.uri)}
    assert (version / 'saved_model.pb').read_text() == 'graph'
    assert (version / 'variables' / 'variables.index').read_text() == 'v'
    assert pushed.get_int_custom_property('pushed') == 1
    assert pushed.get_string_custom_property('pushed_version') == '101'
    assert pushed.get_string_custom_property('pushed_destination') == str(version)
    assert (tmp_path / 'pushed' / 'saved_model.pb').exists()
    card = tmp_path / 'model/Format-Serving/assets.extra/model_card.json'
    assert json.loads(card.read_text())['model_key'] == 'old'


def test_the_statistics_of_the_data_are_in_the_version_and_do_not_make_it_another_model(tmp_path, model):
    version = run_pusher(tmp_path, model).get_string_custom_property('pushed_destination')
    assert statistics.read(model_directory.statistics_path(version)) == DATA
    assert served.is_whole(version) and served.digest(version) == served.digest(str(tmp_path / 'model/Format-Serving'))
    assert run_pusher(tmp_path, model).get_int_custom_property('pushed') == 0


def test_an_evaluation_without_intervals_leaves_them_out(tmp_path, model):
    version = run_pusher(tmp_path, model, intervals=False).get_string_custom_property('pushed_destination')
    card = model_directory.read_card(version)
    assert card['evaluation'] == {} and card['metrics'] == {'digits': {'accuracy': 0.75}}


def _push_id(uri):
    return hashlib.sha256(uri.encode()).hexdigest()[:16]


def _train_another(tmp_path):
    (tmp_path / 'model/Format-Serving/variables/variables.index').write_text('w')


def test_two_pushes_in_one_second_are_two_versions(tmp_path, model):
    assert run_pusher(tmp_path, model).get_string_custom_property('pushed_version') == '100'
    _train_another(tmp_path)
    assert run_pusher(tmp_path, model).get_string_custom_property('pushed_version') == '101'
    assert sorted(os.listdir(tmp_path / 'serving')) == ['100', '101']


def test_the_newest_version_is_not_pushed_again(tmp_path, model, caplog):
    caplog.set_level('INFO', 'polyvit')
    run_pusher(tmp_path, model)
    again = run_pusher(tmp_path, model)
    assert again.get_int_custom_property('pushed') == 0 and os.listdir(tmp_path / 'serving') == ['100']
    assert 'Nothing is pushed: version 100 is this model already.' in caplog.text


def test_an_older_version_is_pushed_again_because_another_model_is_served(tmp_path, model):
    run_pusher(tmp_path, model)
    first = (tmp_path / 'model/Format-Serving/variables/variables.index').read_text()
    _train_another(tmp_path)
    run_pusher(tmp_path, model)
    (tmp_path / 'model/Format-Serving/variables/variables.index').write_text(first)
    assert run_pusher(tmp_path, model).get_string_custom_property('pushed_version') == '102'
    shutil.rmtree(tmp_path / 'serving/102')
    shutil.rmtree(tmp_path / 'serving/101')
    assert run_pusher(tmp_path, model).get_int_custom_property('pushed') == 0, 'rolled back to this very model'
    shutil.rmtree(tmp_path / 'serving/100')
    assert run_pusher(tmp_path, model).get_string_custom_property('pushed_version') == '100', 'emptied'


def test_a_version_whose_card_has_no_digest_counts_as_another_model(tmp_path, model):
    run_pusher(tmp_path, model)
    (tmp_path / 'serving/100/assets.extra/model_card.json').write_text('{')
    assert run_pusher(tmp_path, model).get_string_custom_property('pushed_version') == '101'


def test_a_number_that_no_server_reads_stops(tmp_path):
    (tmp_path / str(2 ** 63 - 1)).mkdir()
    with pytest.raises(PipelineStop, match='Remove it'):
        executor.next_version(str(tmp_path))


@pytest.mark.parametrize('blessed, infra_blessed', [(0, 1), (1, 0), (0, 0)])
def test_nothing_is_pushed_without_both_blessings(tmp_path, model, blessed, infra_blessed):
    pushed = run_pusher(tmp_path, model, blessed, infra_blessed)
    assert pushed.get_int_custom_property('pushed') == 0
    assert not (tmp_path / 'serving').exists() and not (tmp_path / 'pushed').exists()


def test_a_missing_blessing_stops(model):
    pushed = standard_artifacts.PushedModel()
    with pytest.raises(PipelineStop, match='nothing is pushed unchecked'):
        executor.Executor().Do({'model': [model]}, {'pushed_model': [pushed]}, {})


def test_no_version_is_visible_before_it_is_whole(tmp_path, model, monkeypatch):
    def fail(*_):
        assert not [n for n in os.listdir(tmp_path / 'serving') if n.isdecimal()]
        raise OSError('disk full')
    monkeypatch.setattr(executor, '_flush', fail)
    with pytest.raises(OSError, match='disk full'):
        run_pusher(tmp_path, model)
    assert os.listdir(tmp_path / 'serving') == [], 'the incomplete version is removed'


def test_a_number_taken_by_another_push_is_left_alone(tmp_path, model, monkeypatch):
    taken = tmp_path / 'serving' / '1'
    taken.mkdir(parents=True)
    (taken / 'saved_model.pb').write_text('the other')
    answers = iter(['1', '2'])
    monkeypatch.setattr(executor, 'next_version', lambda _: next(answers))
    assert run_pusher(tmp_path, model).get_string_custom_property('pushed_version') == '2'
    assert (taken / 'saved_model.pb').read_text() == 'the other'


def test_a_push_that_was_killed_after_its_version_appeared_is_reported_and_not_repeated(tmp_path, model, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(executor.Executor, '_MarkPushed', _die)
        with pytest.raises(KeyboardInterrupt):
            run_pusher(tmp_path, model, output='of_this_run')
    again = run_pusher(tmp_path, model, output='of_this_run')
    assert again.get_int_custom_property('pushed') == 1
    assert again.get_string_custom_property('pushed_version') == '100' and os.listdir(tmp_path / 'serving') == ['100']
    assert (tmp_path / 'of_this_run/saved_model.pb').read_text() == 'graph'
    assert run_pusher(tmp_path, model, output='of_another').get_int_custom_property('pushed') == 0


def _die(*_, **__):
    raise KeyboardInterrupt


@pytest.fixture(params=['s3', 'gcs'])
def store(request):
    return f'{request.getfixturevalue(request.param)}/serving/polyvit'


def test_a_push_to_an_object_store_is_whole_by_its_last_file(tmp_path, model, store, monkeypatch):
    order, upload = [], remote_files.upload
    monkeypatch.setattr(remote_files, 'upload', lambda path, url: (order.append(url), upload(path, url)))
    pushed = run_pusher(tmp_path, model, serving_dir=store)
    assert [name.removeprefix('serving/polyvit/') for name in object_stores.object_names(store)] == [
        '100/assets.extra/data_statistics/data.json', '100/assets.extra/model_card.json', '100/saved_model.pb',
        '100/variables/variables.index'], 'and nothing else'
    assert order[-1] == f'{store}/100/saved_model.pb'
    newest = served.newest(store)
    assert newest and newest.number == 100 and newest.card['metrics'] == {'digits': {'accuracy': 0.75}}
    assert pushed.get_string_custom_property('pushed_destination') == f'{store}/100'
    assert (tmp_path / 'pushed/saved_model.pb').read_text() == 'graph'
    assert run_pusher(tmp_path, model, serving_dir=store).get_int_custom_property('pushed') == 0


def test_the_version_of_a_killed_push_is_ignored_and_its_number_not_used_again(tmp_path, model, store, monkeypatch):
    run_pusher(tmp_path, model, serving_dir=store)
    _train_another(tmp_path)
    upload = remote_files.upload

    def die(path, url):
        if url.endswith('/saved_model.pb'):
            raise KeyboardInterrupt
        upload(path, url)
    monkeypatch.setattr(remote_files, 'upload', die)
    with pytest.raises(KeyboardInterrupt):
        run_pusher(tmp_path, model, serving_dir=store)
    monkeypatch.setattr(remote_files, 'upload', upload)
    assert [*version_directories.list_versions(store)] == [100, 101]
    assert [*version_directories.list_models(store)] == [100] and served.newest(store).number == 100
    assert run_pusher(tmp_path, model, serving_dir=store).get_string_custom_property('pushed_version') == '102'


def test_what_a_killed_push_left_is_removed_once_no_push_can_be_writing_it(tmp_path, model, store, monkeypatch):
    for name in ('50/variables/variables.index', '90/assets.extra/model_card.json', '60/saved_model.pb'):
        file_io.write(f'{store}/{name}', '')
    monkeypatch.setattr(executor.time, 'time', lambda: 3650.5 + 10)
    run_pusher(tmp_path, model, serving_dir=store)
    assert [*version_directories.list_versions(store)] == [60, 90, 3660], '90 may still be written'


def test_a_push_takes_another_number_when_it_meets_one(tmp_path, model, store, monkeypatch):
    """The other push claims the number between the look for a number and the claim, as late as it can."""
    monkeypatch.setattr(executor.time, 'sleep', lambda _: None)
    claimed, write = [], file_io.write

    def claim_late(path, content):
        write(path, content)
        if f'/100/{file_io.TEMPORARY}' in path and not claimed:
            claimed.append(path)
            write(f'{store}/100/{file_io.TEMPORARY}of-the-other', '')
    monkeypatch.setattr(file_io, 'write', claim_late)
    assert run_pusher(tmp_path, model, serving_dir=store).get_string_custom_property('pushed_version') == '101'
    assert file_io.list_files(f'{store}/100') == [f'{file_io.TEMPORARY}of-the-other']


def test_pushes_at_once_are_versions_of_their_own(tmp_path, model, store):
    """Eight threads push eight models; the files of no two are mixed."""
    def push(number):
        source = str(tmp_path / f'model_{number}')
        for name in ('saved_model.pb', 'variables/variables.index', 'variables/variables.data', 'assets.extra/warm'):
            file_io.write(os.path.join(source, name), str(number))
        file_io.write(str(tmp_path / f'data_{number}/data.json'), str(number))
        return executor.push(source, store, {'number': number}, str(tmp_path / f'data_{number}'))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        versions = list(pool.map(push, range(8)))
    assert len(set(versions)) == 8
    for number, version in enumerate(versions):
        path = f'{store}/{version}'
        assert file_io.list_files(path) == ['assets.extra/data_statistics/data.json',
                                            'assets.extra/model_card.json', 'assets.extra/warm', 'saved_model.pb',
                                            'variables/variables.data', 'variables/variables.index']
        assert {file_io.read_text(f'{path}/{name}') for name in file_io.list_files(path)
                if not name.endswith('card.json')} == {str(number)}
        assert file_io.read_json(f'{path}/assets.extra/model_card.json')['number'] == number


def test_a_destination_out_of_reach_is_a_sentence(tmp_path, model, s3):
    with pytest.raises(PipelineStop, match='there is no bucket'):
        run_pusher(tmp_path, model, serving_dir=f'{s3}-of-nobody/serving')
