"""The public names: all there, what they say they are, and light to import."""

import inspect
import pathlib
import subprocess
import sys

import pytest

import polyvit

PROJECT = pathlib.Path(__file__).resolve().parents[2]
TASK = polyvit.Task('animals', 'image', data=polyvit.Data('/data/animals'), recipe=polyvit.Recipe(10, 4))


def _python(code: str) -> str:
    """What a fresh interpreter prints."""
    return subprocess.run([sys.executable, '-c', code], cwd=PROJECT, capture_output=True, text=True, check=True).stdout


def test_importing_it_imports_nothing_heavy():
    heavy = ('tensorflow', 'tf_keras', 'keras', 'tfx', 'apache_beam', 'numpy', 'av', 'PIL', 'rich', 'aiohttp')
    loaded = _python('import sys, polyvit; print(*sys.modules)').split()
    assert 'pipeline.config' in loaded
    assert set(loaded).isdisjoint(heavy)


def test_all_names_are_there_and_sorted():
    assert polyvit.__all__ == sorted(set(polyvit.__all__))
    for name in polyvit.__all__:
        assert hasattr(polyvit, name), name
    public = {name for name, value in vars(polyvit).items()  # modules are there too: those that somebody imported
              if not name.startswith('_') and not inspect.ismodule(value)}
    assert public - set(polyvit.__all__) <= {'Sequence'}


def test_a_config_of_public_names_alone(tmp_path):
    path = tmp_path / 'mine.py'
    path.write_text('''
from polyvit import Data, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig

def get_config():
    animals = Task('animals', 'image', data=Data('/data/animals'), recipe=Recipe(steps=10, batch_size=4))
    return PipelineConfig('mine', Mixture((animals,)),
                          ModelConfig(inputs=ImageInput(height=32, width=32, patch=(8, 8))), TrainingConfig())
''')
    config = polyvit.load_config(str(path))
    assert polyvit.load_config(path) == config
    assert isinstance(config, polyvit.PipelineConfig)
    assert config.mixture['animals'].recipe.steps == 10 and config.model.input('image').patch == (8, 8)


@pytest.mark.parametrize('values, sentence', [
    (('',), "Config name '': use at most 55 letters, digits, underscores and hyphens"),
    (('x' * 56,), 'use at most 55 letters'),
    (('../evil',), "Config name '../evil': use at most 55 letters, digits, underscores and hyphens"),
    ((None,), 'Config None: name is None; it must be a str.'),
    (('x', (TASK,)), "Config x: mixture is (Task('animals', ...),) (a tuple); it must be a Mixture(...)."),
    (('x', polyvit.Mixture((TASK,)), None), 'Config x: model is None; it must be a ModelConfig(...).'),
    (('x', polyvit.Mixture((TASK,)), polyvit.ModelConfig(), None),
     'Config x: training is None; it must be a TrainingConfig(...).'),
])
def test_a_wrong_field_of_a_config_is_a_sentence(values, sentence):
    rest = (polyvit.Mixture((TASK,)), polyvit.ModelConfig(), polyvit.TrainingConfig())[len(values) - 1:]
    with pytest.raises(polyvit.ConfigError) as error:
        polyvit.PipelineConfig(*values, *rest)
    assert sentence in str(error.value)


def test_run_raises_a_sentence_before_anything_is_written(tmp_path):
    task = polyvit.Task('animals', 'image', data=polyvit.Data(str(tmp_path / 'none')), recipe=polyvit.Recipe(10, 4))
    config = polyvit.PipelineConfig('mine', polyvit.Mixture((task,)), polyvit.ModelConfig(), polyvit.TrainingConfig(),
                                    root=str(tmp_path / 'root'))
    with pytest.raises(polyvit.ConfigError, match='none'):
        polyvit.run(config)
    assert not (tmp_path / 'root').exists()


def test_run_says_what_it_takes():
    with pytest.raises(polyvit.ConfigError, match=r"takes a PipelineConfig, not 'mine.py'. .*load_config"):
        polyvit.run('mine.py')


def test_a_report_outside_a_notebook_opens_the_browser(tmp_path, monkeypatch, capsys):
    import ipykernel  # noqa: F401  as after a run: Beam imports it
    opened = []
    monkeypatch.setattr('webbrowser.open', opened.append)
    polyvit.Report(str(tmp_path / 'report.html')).show()
    assert opened == [(tmp_path / 'report.html').as_uri()]
    assert capsys.readouterr().out.startswith('Report: ')


def test_predict_raises_a_sentence_for_a_missing_file(tmp_path):
    with pytest.raises(polyvit.ConfigError, match='There is no file'):
        polyvit.predict('animals', [tmp_path / 'none.jpg'])
    for one in (tmp_path / 'none.jpg', str(tmp_path / 'none.jpg')):
        with pytest.raises(polyvit.ConfigError, match='There is no file .*none.jpg'):
            polyvit.predict('animals', one)


def test_the_module_is_the_command():
    out = subprocess.run([sys.executable, '-m', 'polyvit', '--version'], cwd=PROJECT, capture_output=True, text=True)
    assert out.returncode == 0 and out.stdout.splitlines()[0] == f'polyvit {polyvit.__version__}'
