"""Wrong input gives a sentence and exit code 2, before anything is written."""

import json
import subprocess
import sys
import textwrap
import time

import pytest

from pipeline import cli

GOOD = '''
from polyvit import ImageInput, Mixture, ModelConfig, PipelineConfig, TrainingConfig
from tests import testing


def task(name='shapes', modality='image', folder={data!r}, steps=2, batch_size=4, **more):
    return testing.task(name, modality, folder=folder, steps=steps, batch_size=batch_size, **more)


def get_config():
    return PipelineConfig(
        name='wrong', root={root!r}, mixture=Mixture(({tasks},)),
        model=ModelConfig(layers=1, width=16, heads=2, mlp_width=16, inputs=ImageInput(32, 32, {patch})),
        training=TrainingConfig({training}))
'''


@pytest.fixture
def run_config(tmp_path, capsys, monkeypatch):
    """run_config(tasks=..., patch=..., training=..., files=...) -> (exit code, stderr); nothing may be written."""
    monkeypatch.delenv('POLYVIT_DATA', raising=False)

    def run(tasks='task()', patch='(8, 8)', training='', files=()):
        data = tmp_path / 'data'
        data.mkdir()
        for name, content in files:
            (data / name).parent.mkdir(parents=True, exist_ok=True)
            (data / name).write_bytes(content)
        root = tmp_path / 'root'
        config = tmp_path / 'wrong.py'
        config.write_text(GOOD.format(tasks=tasks, patch=patch, training=training, data=str(data), root=str(root)))
        code = cli.main(['run', str(config)])
        assert not root.exists()
        return code, capsys.readouterr().err
    return run


CLASS_FILES = [('a/1.png', b'x'), ('b/1.png', b'x'), ('a/2.png', b'x'), ('b/2.png', b'x')]


def _sentence(result, *words):
    code, text = result
    assert code == 2
    assert 'Traceback' not in text
    assert text.startswith('polyvit: ') and text.rstrip()[-1] in '.?'
    for word in words:
        assert word in text


def test_unknown_config(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _sentence((cli.main(['run', 'dmeo']), capsys.readouterr().err), "'dmeo'", 'demo', 'nine')
    assert list(tmp_path.iterdir()) == []


def test_missing_config_file(capsys):
    _sentence((cli.main(['run', '/nowhere/x.py']), capsys.readouterr().err), '/nowhere/x.py')


def test_unknown_modality(run_config):
    _sentence(run_config("task(modality='smell')"), "'smell'", 'image', 'audio', 'video')


def test_missing_data_folder(run_config):
    _sentence(run_config("task(folder='/nowhere/at/all')"), 'shapes', '/nowhere/at/all')


def test_missing_initial_checkpoint(run_config):
    _sentence(run_config(training="initial_checkpoint='/nowhere/vit.npz'", files=CLASS_FILES), '/nowhere/vit.npz')


def test_labels_that_are_in_no_label_group(run_config):
    _sentence(run_config("task(label_kind='groups', label_groups=('verb', 'noun'))", files=CLASS_FILES), "'a'", 'verb:')


def test_no_data_folder(run_config):
    _sentence(run_config("task(folder='')"), 'shapes', 'data=')


def test_empty_data_folder(run_config):
    _sentence(run_config(), 'shapes', 'image')


def test_manifest_without_label_column(run_config):
    files = [('manifest.csv', b'path,kind\na.png,x\n'), ('a.png', b'x')]
    _sentence(run_config("task(manifest='manifest.csv')", files=files), 'shapes', 'manifest.csv', 'label')


def test_two_tasks_of_one_name(run_config):
    _sentence(run_config('task(), task()', files=CLASS_FILES), "'shapes'")


def test_patch_does_not_divide(run_config):
    _sentence(run_config(patch='(7, 8)', files=CLASS_FILES), '32', '7')


def test_batch_does_not_divide_over_replicas(run_config):
    _sentence(run_config(training="strategy='mirrored', replicas=3", files=CLASS_FILES), 'shapes', '4', '3')


def test_batch_does_not_divide_over_workers(run_config, monkeypatch):
    cluster = {'cluster': {'worker': ['a:1', 'b:1', 'c:1']}, 'task': {'type': 'worker', 'index': 0}}
    monkeypatch.setenv('TF_CONFIG', json.dumps(cluster))
    _sentence(run_config(training="strategy='multi_worker'", files=CLASS_FILES), 'shapes', '4', '3')


def test_one_class_is_not_enough(run_config):
    _sentence(run_config("task(eval_share=0.0)", files=CLASS_FILES[::2]), 'shapes', 'at least 2')


def test_a_folder_that_cannot_be_created(tmp_path, capsys):
    (tmp_path / 'file').write_text('')
    code = cli.main(['data', 'demo', str(tmp_path / 'file' / 'media')])
    _sentence((code, capsys.readouterr().err),
              f'{tmp_path}/file/media must be a folder, but {tmp_path}/file is a file.')


def test_config_that_is_not_python(tmp_path, capsys):
    path = tmp_path / 'broken.py'
    path.write_text('def get_config(:\n')
    code = cli.main(['plan', str(path)])
    text = capsys.readouterr().err
    assert code == 2 and 'broken.py' in text and 'Traceback' not in text


def test_config_that_returns_something_else(tmp_path, capsys):
    path = tmp_path / 'empty.py'
    path.write_text('def get_config():\n    pass\n')
    code = cli.main(['plan', str(path)])
    _sentence((code, capsys.readouterr().err), 'empty.py, line 1: get_config() returns nothing; it must return one')


@pytest.mark.parametrize('code, words', [
    ('Recipe(step=3)', ['line 5: There is no field of Recipe named \'step\'. Did you mean steps? Known: steps, ']),
    ('Recipe(steps=3)', ['line 5: Recipe lacks batch_size. Write Recipe(..., batch_size=...).']),
    ('Recipe()', ['line 5: Recipe lacks steps and batch_size. Write Recipe(..., steps=..., batch_size=...).']),
    ("Task('x', 'image')", ['line 5: Task lacks recipe. Write Task(..., recipe=...).']),
    ("Task('x', 'image', recipie=1)",
     ["line 5: There is no field of Task named 'recipie'. Did you mean recipe? Known: recipe, "]),
    ('Columns(*"abcdefgh")',
     ['line 5: Columns takes from 1 to 8 positional arguments but 9 were given.', 'Its fields: path, label, ']),
    ('Gate(1, floor=1)', ["line 5: Gate got multiple values for argument 'floor'. Its fields: floor, max_drop, "]),
    ("preset('S', heigth=3)", ["line 5: There is no field of ModelConfig named 'heigth'. Known: "]),
    ("ImageInput(heigth=3)",
     ["line 5: There is no field of ImageInput named 'heigth'. Did you mean height? Known: height, "]),
    ("Task('x', 'image', recipe=Recipe('3', 1))", ["line 5: Task x: steps is '3' (a str); it must be a whole number."]),
    ('len(3)', ["line 5: TypeError: object of type 'int' has no len()."]),
    ('1 / 0', ['line 5: ZeroDivisionError: division by zero.']),
    ("exec('import nonsense')", ["line 5: ModuleNotFoundError: No module named 'nonsense'."]),
    ('nonsense', ["line 5: NameError: name 'nonsense' is not defined."]),
    ('Recip()', ["line 5: NameError: name 'Recip' is not defined. Did you mean Recipe?"]),
    ('from polyvit import Taks', ["line 5: ImportError: cannot import name 'Taks' from", 'Did you mean Task?']),
    ('import polyvit; polyvit.Taks', ["has no attribute 'Taks'. Did you mean Task?"]),
    ("del globals()['Task']; Task()", ["'Task' is not defined. Import it: from polyvit import Task."]),
    ('Recipe(400, 32) + 1', ["line 5: TypeError: unsupported operand type(s) for +: 'Recipe' and 'int'."]),
    ("Task('../x', 'image', recipe=Recipe(1, 1))", ["line 5: Task name '../x': use at most 100 lower-case letters"]),
    ("Task('x', 'image', data=Data('/x'), recipe=Recipe(400.5, 1))",
     ['line 5: Task x: steps is 400.5 (a float); it must be a whole number.']),
    ("TrainingConfig(learning_rate=-1)", ['line 5: Training: learning_rate is -1.0; it must be at least 0.']),
    ('exit()', ['line 5: SystemExit']),
    ("exit('No data here.')", ['line 5: SystemExit: No data here.']),
])
def test_an_error_in_a_config_names_its_file_and_line(tmp_path, capsys, code, words):
    path = tmp_path / 'mine.py'
    path.write_text(f'from sys import exit\nfrom polyvit import *\n\ndef get_config():\n    {code}\n')
    result = cli.main(['plan', str(path)]), capsys.readouterr().err
    _sentence(result, *words)
    assert result[1].startswith(f'polyvit: {path}, line 5: ')


@pytest.mark.parametrize('code, words', [
    ('def get_config(:', ['mine.py, line 1: SyntaxError: invalid syntax.']),
    ('\ndef get_config():\nreturn 1', ['mine.py, line 3: IndentationError: expected an indented block']),
    ('x = "\0"', ['The config', 'cannot be loaded', 'null bytes']),
    ('\ndef get_config():\n    return 1, 2', ['line 2: get_config() returns a tuple', 'one polyvit.PipelineConfig']),
    ('get_config = lambda: {}', ['line 1: get_config() returns a dict; it must return one polyvit.PipelineConfig.']),
    ('', ['has no function get_config()', 'PipelineConfig']),
    ('get_config = 3', ['has no function get_config()', 'PipelineConfig']),
    ('\ndef get_config(size):\n    pass', ['line 2: get_config() is called without arguments', "'size'"]),
    ('import sys\nsys.exit(0)', ['line 2: SystemExit: 0.']),
])
def test_a_config_without_a_fitting_get_config(tmp_path, capsys, code, words):
    path = tmp_path / 'mine.py'
    path.write_text(code)
    _sentence((cli.main(['plan', str(path)]), capsys.readouterr().err), 'mine.py', *words)


def test_a_config_named_without_its_ending(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine.py').write_text('')
    _sentence((cli.main(['plan', 'mine']), capsys.readouterr().err), "named 'mine', but a file mine.py")


def test_help_is_quick_and_light():
    code = ("import sys, time; t = time.perf_counter(); from pipeline import cli\n"
            "try:\n  cli.main(['--help'])\nexcept SystemExit as e:\n  assert e.code == 0\n"
            "heavy = [m for m in ('tensorflow', 'tfx', 'apache_beam', 'numpy', 'rich') if m in sys.modules]\n"
            "print(heavy, file=sys.stderr)")
    begin = time.perf_counter()
    done = subprocess.run([sys.executable, '-c', textwrap.dedent(code)], capture_output=True, text=True, timeout=30)
    assert done.stderr.strip().endswith('[]'), done.stderr
    assert 'data' in done.stdout and 'serve' in done.stdout
    assert time.perf_counter() - begin < 5  # it takes less than 1 s, but more on a busy test machine
