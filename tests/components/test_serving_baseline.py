"""Which version becomes the baseline, and its copy."""

import os

import pytest
from tfx.types import standard_artifacts

from components.serving_baseline import executor
from model_code.errors import PipelineStop


@pytest.fixture
def serving_dir(tmp_path):
    for name in ('2', '10', '.pushing-x', 'tmp', '-3', '²', str(2 ** 63)):
        (tmp_path / 'serving' / name).mkdir(parents=True)
        (tmp_path / 'serving' / name / 'saved_model.pb').write_text(f'graph {name}')
    (tmp_path / 'serving' / '11').mkdir()
    return str(tmp_path / 'serving')


def run(serving_dir, version, tmp_path):
    model = standard_artifacts.Model()
    model.uri = str(tmp_path / 'model')
    executor.Executor().Do({}, {'model': [model]}, {'serving_dir': serving_dir, 'version': version})
    return model, tmp_path / 'model' / 'Format-Serving'


@pytest.mark.parametrize('asked, chosen', [('newest', '10'), ('2', '2')])
def test_a_copy_of_the_version(serving_dir, tmp_path, asked, chosen):
    model, path = run(serving_dir, asked, tmp_path)
    assert (path / 'saved_model.pb').read_text() == f'graph {chosen}'
    assert model.get_string_custom_property('version') == chosen


@pytest.mark.parametrize('folder, asked', [('serving', ''), ('nowhere', 'newest')])
def test_no_baseline_is_an_empty_directory(serving_dir, tmp_path, folder, asked):
    model, path = run(os.path.join(tmp_path, folder), asked, tmp_path)
    assert path.is_dir() and not list(path.iterdir())
    assert not model.has_custom_property('version')


def test_a_version_that_is_gone_stops(serving_dir, tmp_path):
    with pytest.raises(PipelineStop, match='version 7, which is not in .*versions there: 2, 10'):
        run(serving_dir, '7', tmp_path)
