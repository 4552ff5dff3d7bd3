"""Images with captions, from a manifest to zero-shot answers, beside the words of the same captions."""

import csv
import json
import random

import pytest

import polyvit
from polyvit import Columns, Mixture, ModelConfig, PipelineConfig, TextInput, TrainingConfig
from tests import testing

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

TEMPLATES = ('a picture that is bright on the {}', 'the {} side is bright', 'light comes from the {}.')


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    home = tmp_path_factory.mktemp('captions')
    testing.image_task(home / 'data', per_class=24, eval_per_class=8)
    rows = []
    for path in sorted((home / 'data').rglob('*.png')):
        split, label, _ = path.relative_to(home / 'data').parts
        caption = random.Random(str(path.name)).choice(TEMPLATES).format(label)
        rows.append((path.relative_to(home / 'data').as_posix(), label, caption, split))
    testing.write_manifest(home / 'data', rows, ('path', 'label', 'caption', 'split'))
    data = dict(folder=str(home / 'data'), manifest='manifest.csv')
    sides = testing.task('sides', 'image', steps=100, batch_size=8, floor=0.8, objective='captions',
                         columns=Columns(text='caption'), prompts=('bright on the {}', '{}'), **data)
    words = testing.task('side_words', 'image', steps=60, batch_size=8, label_kind='words',
                         columns=Columns(label='caption'), **data)
    inputs = (*testing.INPUTS[:3], TextInput(length=48))
    return PipelineConfig('captions', Mixture((sides, words)),
                          ModelConfig(layers=1, width=32, heads=2, mlp_width=64, inputs=inputs),
                          TrainingConfig(learning_rate=3e-3, warmup_steps=5, eval_every=40), root=str(home / 'root'))


def test_a_run_pushes_a_model_that_tells_classes_which_only_captions_named(config):
    assert polyvit.run(config).exit_code == 0
    version, = config.serving_dir.iterdir()
    card = json.loads((version / 'assets.extra' / 'model_card.json').read_text())
    assert card['metrics']['sides']['accuracy'] >= 0.8
    assert card['inputs'].keys() == {'image', 'text'}
    tasks = {task['name']: task for task in card['tasks']}
    assert sorted(tasks['sides']['classes']) == ['left', 'right'] and 'bright' in tasks['side_words']['classes']

    with open(f'{config.mixture["sides"].data.folder}/manifest.csv', newline='') as file:
        rows = [row for row in csv.DictReader(file) if row['split'] == 'eval']
    files = [f'{config.mixture["sides"].data.folder}/{row["path"]}' for row in rows]
    with polyvit.load(config.serving_dir) as model:
        right = [answer['labels'][0] == row['label'] for row, answer in
                 zip(rows, model.predict('sides', files), strict=True)]
    assert sum(right) / len(right) == pytest.approx(card['metrics']['sides']['accuracy'])
