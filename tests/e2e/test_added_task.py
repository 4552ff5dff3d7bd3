"""`polyvit run` adds a task to the model that an earlier run has pushed: with the command line that a user types."""

import json
import os
import subprocess
import sys

import pytest

from tests import model_cards, testing

pytestmark = pytest.mark.e2e

CONFIG = '''
from polyvit import Data, Gate, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig

def get_config():
    tasks = [Task(name, 'image', data=Data({root!r} + '/' + name), recipe=Recipe(steps=4, batch_size=4),
                  gate=Gate(floor=0.0)) for name in {names!r}]
    return PipelineConfig(
        'added', Mixture(tuple(tasks)), ModelConfig(layers=1, width=16, heads=2, mlp_width=32,
                                                    inputs=ImageInput(16, 16, (8, 8))),
        TrainingConfig(warmup_steps=2, train_only={only!r}))
'''


def run(home, names, only=()):
    (home / 'config.py').write_text(CONFIG.format(root=str(home), names=names, only=only))
    done = subprocess.run([sys.executable, '-m', 'polyvit', 'run', home / 'config.py', '--root', home / 'root'],
                          capture_output=True, text=True, timeout=900,
                          env={**os.environ, 'TF_USE_LEGACY_KERAS': '1', 'CUDA_VISIBLE_DEVICES': ''})
    assert done.returncode == 0, done.stdout + done.stderr
    last = json.loads((home / 'root/last_run.json').read_text())
    version = last['version']
    card = json.loads((home / f'root/serving/polyvit/{version}/assets.extra/model_card.json').read_text())
    return done.stdout, last, version, card


def test_a_task_is_added_to_a_served_model_and_nothing_of_the_other_runs_again(tmp_path):
    testing.image_task(tmp_path / 'shapes')
    testing.image_task(tmp_path / 'lights', classes=('on', 'off'))
    _, _, first, before = run(tmp_path, ('shapes',))
    printed, last, second, card = run(tmp_path, ('shapes', 'lights'), ('lights',))
    assert second != first and f'are those of version {first}, bit for bit' in printed
    assert not [name for name, of in last['components'].items() if name.endswith('_shapes') and not of['cached']]
    assert 'TaskEvaluator_shapes' not in last['components'] and 'TaskEvaluator_lights' in last['components']
    assert card['parent']['version'] == first and card['unchanged'] == ['shapes'] and model_cards.errors(card) == []
    assert [card[key]['shapes'] == before[key]['shapes'] for key in ('metrics', 'evaluation', 'data')] == [True] * 3
    assert set(card['evaluation']) == {'shapes', 'lights'}
    assert 'unchanged, bit for bit' in (tmp_path / 'root' / last['report']).read_text()

    again, last, third, _ = run(tmp_path, ('shapes', 'lights'), ('lights',))
    assert third == second and 'Nothing changed' in again
