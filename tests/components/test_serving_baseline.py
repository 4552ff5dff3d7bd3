"""What becomes the baseline, and its copy."""

import json
import os

import pytest
from tfx.types import standard_artifacts

from components.baseline_lookup import executor as baseline_lookup
from components.serving_baseline import executor
from model_code import file_io
from model_code.errors import PipelineStop
from serving import served


def _model(path, weights, **card):
    for name, content in {'saved_model.pb': 'graph', 'variables/variables.index': weights,
                          'assets.extra/model_card.json': json.dumps(card)}.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(content)
    return served.digest(str(path))


@pytest.fixture
def serving_dir(tmp_path):
    """Versions 2 and 10, and folders that are none. Version 10 was compared with version 2."""
    _model(tmp_path / 'serving' / '2', 'two')
    digest = _model(tmp_path / 'serving' / '10', 'ten')
    _model(tmp_path / 'serving' / '10', 'ten', model_digest=digest, baseline_version='2')
    for name in ('.pushing-x', 'tmp', '-3', '²', str(2 ** 63)):
        _model(tmp_path / 'serving' / name, name)
    (tmp_path / 'serving' / '11').mkdir()
    return tmp_path / 'serving'


def _card(serving_dir, version, **entries):
    path = serving_dir / version / 'assets.extra/model_card.json'
    path.write_text(json.dumps({**json.loads(path.read_text()), **entries}))


def run(serving_dir, tmp_path, weights):
    candidate, model = standard_artifacts.Model(), standard_artifacts.Model()
    candidate.uri, model.uri = str(tmp_path / 'candidate'), str(tmp_path / 'model')
    _model(tmp_path / 'candidate' / 'Format-Serving', weights, name='not yet pushed')
    executor.Executor().Do({'candidate': [candidate]}, {'model': [model]},
                           {'serving_dir': str(serving_dir), 'served_version': ''})
    return model, tmp_path / 'model' / 'Format-Serving'


@pytest.mark.parametrize('weights, chosen', [('new', '10'), ('two', '10'), ('ten', '2')])
def test_a_model_is_compared_with_the_newest_version_but_not_with_itself(serving_dir, tmp_path, weights, chosen):
    model, path = run(serving_dir, tmp_path, weights)
    assert (path / 'variables/variables.index').read_text() == {'2': 'two', '10': 'ten'}[chosen]
    assert model.get_string_custom_property('version') == chosen


def test_without_anything_else_to_compare_with_it_is_compared_with_itself(serving_dir, tmp_path):
    _card(serving_dir, '10', baseline_version='7')
    model, _ = run(serving_dir, tmp_path, 'ten')
    assert model.get_string_custom_property('version') == '10', 'version 7 was removed'


@pytest.mark.parametrize('folder', ['serving', 'nowhere'])
def test_no_baseline_is_an_empty_directory(serving_dir, tmp_path, folder):
    _card(serving_dir, '10', baseline_version='')
    model, path = run(tmp_path / folder, tmp_path, 'ten')
    assert path.is_dir() and not os.listdir(path)
    assert not model.has_custom_property('version')


class TestTheVersionThatWasLookedUp:
    """On a cluster BaselineLookup chooses, and ServingBaseline copies what it is told."""

    def _look_up(self, serving_dir, tmp_path, weights) -> str:
        candidate, version = standard_artifacts.Model(), standard_artifacts.String()
        candidate.uri, version.uri = str(tmp_path / 'candidate'), str(tmp_path / 'version')
        _model(tmp_path / 'candidate' / 'Format-Serving', weights)
        baseline_lookup.Executor().Do({'candidate': [candidate]}, {'version': [version]},
                                      {'serving_dir': str(serving_dir)})
        return version.read()

    def _copy(self, serving_dir, tmp_path, version):
        model = standard_artifacts.Model()
        model.uri = str(tmp_path / 'model')
        executor.Executor().Do({}, {'model': [model]}, {'serving_dir': str(serving_dir), 'served_version': '',
                                                        'version': version})
        return model

    @pytest.mark.parametrize('weights, chosen', [('new', '10'), ('ten', '2')])
    def test_is_the_one_of_a_local_run(self, serving_dir, tmp_path, weights, chosen):
        assert self._look_up(serving_dir, tmp_path, weights) == chosen
        _model(serving_dir / '12', 'twelve')  # pushed in between: the answer stands
        model = self._copy(serving_dir, tmp_path, chosen)
        assert model.get_string_custom_property('version') == chosen
        copied = tmp_path / 'model/Format-Serving/variables/variables.index'
        assert copied.read_text() == {'2': 'two', '10': 'ten'}[chosen]

    def test_is_none_where_nothing_was_served(self, tmp_path):
        assert self._look_up(tmp_path / 'nowhere', tmp_path, 'new') == 'none'
        model = self._copy(tmp_path / 'nowhere', tmp_path, 'none')
        assert not model.has_custom_property('version') and list((tmp_path / 'model/Format-Serving').iterdir()) == []

    def test_is_gone(self, serving_dir, tmp_path):
        with pytest.raises(PipelineStop, match='Version 7, .* is no longer in .*serving. Run again'):
            self._copy(serving_dir, tmp_path, '7')


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_what_is_served_from_an_object_store_is_the_baseline(serving_dir, tmp_path, store, request):
    url = f'{request.getfixturevalue(store)}/serving/polyvit'
    file_io.copy_folder(str(serving_dir), url)
    file_io.remove(f'{url}/11/saved_model.pb')
    file_io.write(f'{url}/12/variables/variables.index', 'of a killed push')
    model, path = run(url, tmp_path, 'new')
    assert model.get_string_custom_property('version') == '10'
    assert (path / 'variables/variables.index').read_text() == 'ten'
    assert run(url, tmp_path, 'ten')[0].get_string_custom_property('version') == '2', 'not compared with itself'
