"""`polyvit data check` on good media, and on a folder with one fault of each kind."""

import json
import sys

from pipeline import cli
from tests import terminals, testing

CONFIG = '''
from model_code.data import Data
from model_code.modalities import ImageInput
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Recipe, Task
from pipeline.config import PipelineConfig


def get_config():
    return PipelineConfig('checked', Mixture((Task('shapes', 'image', data=Data({data!r}), recipe=Recipe(1, 1)),)),
                          ModelConfig(inputs=ImageInput(16, 16, (8, 8))), TrainingConfig())
'''


def _check(tmp_path, capsys, *arguments):
    path = tmp_path / 'checked.py'
    path.write_text(CONFIG.format(data=str(tmp_path / 'media')))
    code = cli.main(['data', 'check', str(path), *arguments])
    return code, capsys.readouterr().out


def test_good_media(tmp_path, capsys):
    testing.image_task(tmp_path / 'media')
    code, text = _check(tmp_path, capsys)
    assert code == 0
    assert '  12 files: 8 train, 4 eval examples, 0 rejected\n  2 classes with 4 train examples each\n' in text
    assert 'ready to run' in text


def test_on_a_narrow_terminal_lines_wrap_between_words(tmp_path):
    media = tmp_path / ('long_' * 20)
    testing.image_task(media)
    testing.write(media, 'train/left/broken.png', b'no picture')
    (tmp_path / 'checked.py').write_text(CONFIG.format(data=str(media)))
    seen = terminals.run([sys.executable, '-m', 'polyvit', 'data', 'check', tmp_path / 'checked.py'])
    assert seen.exit_code == 1
    assert any(line.startswith('shapes (image, /') and line.endswith('long_)') and '...' in line
               for line in seen.lines)
    at, = (i for i, line in enumerate(seen.lines) if line.startswith('  a run would stop: '))
    assert seen.lines[at + 1].startswith('    ') and seen.widest() <= 80
    assert 'shapes: 13 of 13 files (100%)' in seen.text


def test_every_fault_is_named(tmp_path, capsys):
    media = tmp_path / 'media'
    testing.image_task(media)
    testing.write(media, 'train/left/empty.png', b'')
    testing.write(media, 'train/left/broken.png', testing.image_bytes()[:60])
    one, two, three = (testing.image_bytes(seed=s) for s in (11, 12, 13))
    for name, content in (('train/left/x1.png', one), ('train/left/x2.png', one),
                          ('train/left/y.png', two), ('eval/left/y.png', two),
                          ('train/left/z.png', three), ('train/right/z.png', three)):
        testing.write(media, name, content)
    code, text = _check(tmp_path, capsys, '--json')
    assert code == 1
    task, = json.loads(text)['tasks']
    assert {r['path'] for r in task['rejected_lines']} == {'train/left/empty.png', 'train/left/broken.png'}
    assert task['rejected']['empty'] == {'count': 1, 'first': [['train/left/empty.png', 'The file has no bytes.']]}
    assert task['total'] == sum(task['examples'].values()) + 2
    assert ['train/left/x1.png', 'train/left/x2.png'] in task['duplicates']['first']
    assert task['leaks'] == {'count': 1, 'first': [['eval/left/y.png', 'train/left/y.png']]}
    assert task['contradictions'] == {'count': 1, 'first': [['train/left/z.png', 'train/right/z.png']]}
    code, text = _check(tmp_path, capsys)
    assert code == 1 and 'rejected, empty: 1' in text and 'ready to run' not in text
    assert '2 classes with 5 to 8 train examples each' in text
    assert 'a run would stop: Task shapes: equal media are both in train and in eval (1 group)' in text
