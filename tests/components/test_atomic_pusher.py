"""Pushing: whole or not at all, once, under the next number, with metrics in the card, only with both blessings."""

import concurrent.futures
import hashlib
import json
import multiprocessing
import os
import shutil
import time

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


def run_pusher(tmp_path, model, blessed=1, infra_blessed=1, serving_dir=None, output=None, baseline=None,
               intervals=True):
    """output: the name of the output's folder; by default a new one, as in a new run. baseline: the version that the
    gate compared with; by default the newest. intervals: whether the evaluation has them."""
    if baseline is None:
        newest = served.newest(serving_dir or str(tmp_path / 'serving'))
        baseline = str(newest.number) if newest else ''
    blessing, infra = standard_artifacts.ModelBlessing(), standard_artifacts.InfraBlessing()
    blessing.uri, infra.uri = str(tmp_path / 'blessing'), str(tmp_path / 'infra')
    os.makedirs(blessing.uri, exist_ok=True)
    with open(os.path.join(blessing.uri, 'decision.json'), 'w') as stream:
        json.dump({'baseline_version': baseline, 'forced': None,
                   'tasks': [{'name': 'digits', 'metrics': {'accuracy': 0.75}}]}, stream)
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
    (tmp_path / 'serving/2/saved_model.pb').write_text('of version 2')
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


def _push_in_a_process(number, root, ready):
    """What a run in a process of its own does at its end.

    Each takes a number of its own, and is slow between look and rename, so that only the lock tells them apart.
    """
    look = executor.check_baseline
    executor.check_baseline = lambda *arguments: (look(*arguments), time.sleep(0.1))
    executor.next_version = lambda _: str(100 + number)
    source = os.path.join(root, f'model_{number}')
    for name in ('saved_model.pb', 'variables/variables.index'):
        file_io.write(os.path.join(source, name), str(number))
    ready.wait()
    try:
        return executor.push(source, os.path.join(root, 'serving'), {'number': number}, os.path.join(root, 'none'), '7')
    except executor.Overtaken as error:
        return str(error)


def test_of_processes_that_push_at_once_one_wins(tmp_path):
    file_io.write(str(tmp_path / 'serving/7/saved_model.pb'), 'of version 7')
    context = multiprocessing.get_context('fork')
    with context.Manager() as manager, concurrent.futures.ProcessPoolExecutor(4, context) as pool:
        ready = manager.Barrier(4)
        answers = list(pool.map(_push_in_a_process, range(4), [str(tmp_path)] * 4, [ready] * 4))
    versions = [answer for answer in answers if answer.isdecimal()]
    assert len(versions) == 1 and sorted(os.listdir(tmp_path / 'serving')) == sorted(['7', *versions])
    number = str(answers.index(versions[0]))
    assert (tmp_path / 'serving' / versions[0] / 'variables/variables.index').read_text() == number
    assert {answer for answer in answers if not answer.isdecimal()} == {
        f'Version {versions[0]} was pushed while this model was compared with version 7. Nothing is pushed. Run again, '
        f'and the model is compared with version {versions[0]}.'}


@pytest.mark.parametrize('there, baseline, sentence', [
    ('7', '5', 'Version 7 was pushed while this model was compared with version 5. Nothing is pushed. Run again'),
    ('7', '', 'Version 7 was pushed while this model was judged by its floors alone, with nothing served.'),
    ('5', '7', 'Version 7, which this model was compared with, was removed from .*: version 5 is the newest.'),
    ('', '7', 'Version 7, which this model was compared with, was removed from .*: no version is left.')])
def test_a_model_that_was_compared_with_another_version_is_not_pushed(tmp_path, model, there, baseline, sentence):
    if there:
        file_io.write(str(tmp_path / f'serving/{there}/saved_model.pb'), 'x')
    with pytest.raises(PipelineStop, match=sentence):
        run_pusher(tmp_path, model, baseline=baseline)
    assert file_io.list_folder(str(tmp_path / 'serving')) == [there] * bool(there)


def test_a_version_that_appears_during_the_copy_counts(tmp_path, model, monkeypatch):
    flush = executor._flush
    monkeypatch.setattr(executor, '_flush', lambda folder: (
        flush(folder), file_io.write(str(tmp_path / 'serving/50/saved_model.pb'), 'the other')))
    with pytest.raises(executor.Overtaken, match='Version 50 was pushed'):
        run_pusher(tmp_path, model)
    assert os.listdir(tmp_path / 'serving') == ['50']


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


def test_of_pushes_at_once_one_wins(tmp_path, model, store, monkeypatch):
    """Five threads push five models; one version appears, with the files of one model, and nothing else is left."""
    uniform = executor.random.uniform
    monkeypatch.setattr(executor.random, 'uniform', lambda a, b: uniform(a, b) / 10)

    def push(number):
        source = str(tmp_path / f'model_{number}')
        for name in ('saved_model.pb', 'variables/variables.index', 'variables/variables.data', 'assets.extra/warm'):
            file_io.write(os.path.join(source, name), str(number))
        file_io.write(str(tmp_path / f'data_{number}/data.json'), str(number))
        try:
            return executor.push(source, store, {'number': number}, str(tmp_path / f'data_{number}'), baseline='')
        except executor.Overtaken as error:
            assert 'was pushed while this model was judged by its floors alone' in str(error)
            return ''
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        versions = list(pool.map(push, range(5)))
    (number, version), = [(number, version) for number, version in enumerate(versions) if version]
    path = f'{store}/{version}'
    assert file_io.list_files(path) == ['assets.extra/data_statistics/data.json', 'assets.extra/model_card.json',
                                        'assets.extra/warm', 'saved_model.pb', 'variables/variables.data',
                                        'variables/variables.index']
    assert {file_io.read_text(f'{path}/{name}') for name in file_io.list_files(path)
            if not name.endswith('card.json')} == {str(number)}
    assert file_io.read_json(f'{path}/assets.extra/model_card.json')['number'] == number
    assert [name for name in file_io.list_folder(store)] == [version]


def test_a_push_waits_for_one_that_is_about_to_appear_and_is_then_overtaken(tmp_path, model, store, monkeypatch):
    """The other push has announced itself before this one looks, and its version appears while this one waits."""
    other = f'{store}/{executor._COMMIT}100-of-the-other'
    file_io.write(other, '')

    def finish_the_other(_):
        file_io.write(f'{store}/50/saved_model.pb', 'the other')
        file_io.remove(other)
    monkeypatch.setattr(executor.time, 'sleep', finish_the_other)
    with pytest.raises(executor.Overtaken, match='Version 50 was pushed while this model was judged'):
        run_pusher(tmp_path, model, serving_dir=store, baseline='')
    assert file_io.list_files(store) == ['50/saved_model.pb']


def test_a_push_that_was_killed_as_it_appeared_is_waited_for_some_minutes_only(tmp_path, model, store, monkeypatch):
    file_io.write(f'{store}/{executor._COMMIT}100-of-a-killed-push', '')
    now, waits = [100.0], []
    monkeypatch.setattr(executor.time, 'time', lambda: now[0])
    monkeypatch.setattr(executor.time, 'sleep', lambda _: (waits.append(now[0]), now.append(now.pop() + 60)))
    run_pusher(tmp_path, model, serving_dir=store)
    assert waits == [100.0, 160.0, 220.0, 280.0, 340.0] and served.newest(store).number == 100


def test_a_destination_out_of_reach_is_a_sentence(tmp_path, model, s3):
    with pytest.raises(PipelineStop, match='there is no bucket'):
        run_pusher(tmp_path, model, serving_dir=f'{s3}-of-nobody/serving')
