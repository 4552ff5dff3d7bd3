"""A task that is added to a served model (TrainingConfig.train_only): what is trained, what stays, what the gate says.

The models are real ones, trained for a few steps by CoTrainer's functions and saved.
"""

import dataclasses
import json
import os
import pathlib
import re
import shutil

import jsonschema
import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

import schemas
from components.atomic_pusher import executor as pusher
from components.blessing_gate import decision as decisions
from components.blessing_gate import forcing, unchanged
from components.co_trainer import executor
from components.report import render
from model_code import model_directory, signature_names
from model_code.errors import PipelineStop
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import summary
from serving.served import Served
from tests import evaluations, model_cards, testing
from tests.model_code import tiny_training

SHAPES = testing.task('shapes', 'image', steps=2, batch_size=4)
TONES = testing.task('tones', 'audio', steps=2, batch_size=4)
LIGHTS = testing.task('lights', 'image', steps=8, batch_size=4)  # its examples are encoded once
FLIPPED = testing.task('flipped', 'image', steps=3, batch_size=4, augmentations=('flip',), head_hidden=(8,))
WALKS = testing.task('walks', 'video', steps=3, batch_size=2)  # of a modality that the served model does not have
MODEL = ModelConfig(layers=2, width=16, heads=2, mlp_width=32, modality_layers=1, dropout=0.1, inputs=testing.INPUTS)
TRAINING = TrainingConfig(learning_rate=0.05, warmup_steps=0, eval_every=0, strategy='one_device', optimizer='momentum')
SERVED, ADDED = (SHAPES, TONES), (SHAPES, TONES, LIGHTS, FLIPPED, WALKS)
slow = pytest.mark.slow
_MEDIA = {'lights': 'shapes', 'flipped': 'shapes'}  # whose media a task has


def trained(examples, folder, tasks, number='7', classes=('b', 'a'), **fields):
    """The directory of a version that was trained on these tasks. fields: of TrainingConfig."""
    files = {t.name: sorted(tf.io.gfile.glob(f'{examples}/data/{_MEDIA.get(t.name, t.name)}/*.gz')) for t in tasks}
    export_dir = f'{folder}/serving/{number}'
    executor.co_train(
        mixture=Mixture(tuple(tasks)), model_config=MODEL, config=dataclasses.replace(TRAINING, **fields),
        train_files=files, eval_files={}, vocabularies={t.name: list(classes) for t in tasks},
        checkpoint_dir=f'{folder}/checkpoints-{number}', model_run_dir=f'{folder}/model_run-{number}',
        export_dir=export_dir, card={'media_fingerprints': {t.name: f'of {number}' for t in tasks},
                                     'model': json.loads(json.dumps(dataclasses.asdict(MODEL)))})
    return export_dir


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """(examples, the served version, one to which three tasks were added)."""
    folder = str(tmp_path_factory.mktemp('added'))
    tiny_training.write_examples(folder)
    os.makedirs(f'{folder}/serving')
    parent = trained(folder, folder, SERVED)
    # The vocabulary of data that have grown may have another order.
    added = trained(folder, folder, ADDED, '8', classes=('a', 'b'), initial_checkpoint=parent,
                    train_only=('lights', 'flipped', 'walks'))
    return folder, parent, added


def answers(path, requests_of):
    """(signature, output) -> what a SavedModel answers to the warm-up requests of another."""
    model, found = tf.saved_model.load(path), {}
    for record in tf.data.TFRecordDataset(model_directory.warmup_path(requests_of)).as_numpy_iterator():
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        found |= {(name, output): value.numpy() for output, value in model.signatures[name](**inputs).items()}
    return found


@slow
def test_every_signature_of_the_served_model_answers_bit_for_bit_as_before(models):
    _, parent, added = models
    before, now = answers(parent, parent), answers(added, parent)
    card = (signature_names.MODEL_CARD, 'card')
    assert set(now) == set(before) | {('image_all', 'lights_scores'), ('image_all', 'flipped_scores')}
    # What only the pipeline asks, to evaluate, is not warmed up.
    evaluated = {name(task) for task in ('shapes', 'tones') for name in (
        signature_names.examples, signature_names.label)}
    assert {name for name, _ in before} == set(tf.saved_model.load(parent).signatures) - evaluated
    for key, value in before.items():
        if key != card:
            np.testing.assert_array_equal(now[key], value, err_msg=str(key), strict=True)
    assert json.loads(now[card][0])['tasks'][0] == json.loads(before[card][0])['tasks'][0]


@slow
def test_the_gate_finds_them_the_same_and_the_new_heads_are_trained(models):
    _, parent, added = models
    found = unchanged.compare(added, parent, SERVED)
    assert found.differences == {'shapes': '', 'tones': ''}
    # 2 tokenizers of 4 arrays, 2 own blocks and a shared one of 16, a norm of 2, 2 heads of 2.
    assert found.weights == 2 * 4 + 3 * 16 + 2 + 2 * 2
    assert found.answers == 2 * (2 + 1 + 3) + 2 * 2  # T, T_scores, T_safe; M_*
    reader = tf.train.load_checkpoint(f'{added}/variables/variables')
    for head in ('lights', 'flipped', 'walks'):  # the biases began at zero
        assert any(reader.get_tensor(key).any() for key in reader.get_variable_to_shape_map()
                   if key.startswith(f'model/heads/{head}/') and reader.get_variable_to_shape_map()[key] == [2])


@slow
def test_the_optimizer_has_state_for_what_is_trained_alone(models):
    folder, *_ = models
    shapes = tf.train.load_checkpoint(tf.train.latest_checkpoint(
        f'{folder}/model_run-8/checkpoints')).get_variable_to_shape_map()
    velocities = [shape for key, shape in shapes.items() if key.startswith('optimizer/_variables/')]
    # 3 heads, one of them with a hidden layer; the tokenizer and the own block of the new modality.
    assert len(velocities) == (2 + 4 + 2) + 4 + 16
    assert [16, 2] in velocities and [1, 9, 16] in velocities


@slow
def test_the_card_tells_the_parent_and_what_the_kept_tasks_were_trained_on(models):
    _, _, added = models
    card = model_directory.read_card(added)
    assert card['parent'] == {'version': '7', 'model_digest': '', 'trained': ['lights', 'flipped', 'walks']}
    assert card['media_fingerprints'] == {'shapes': 'of 7', 'tones': 'of 7', 'lights': 'of 8', 'flipped': 'of 8',
                                          'walks': 'of 8'}
    assert [t['classes'] for t in card['tasks'][1:3]] == [['b', 'a'], ['a', 'b']]
    assert card['tasks'][1]['statistics'] == [-20.0, 15.0]
    properties = model_cards.validator().schema['properties']
    jsonschema.validate(card['tasks'], properties['tasks'])
    jsonschema.validate(card['parent'], properties['parent'])


@slow
def test_what_was_trained_or_computes_in_another_way_is_not_the_same(models, tmp_path):
    examples, parent, _ = models
    pooled = testing.changed(SHAPES, pooling='gap')  # the same weights
    other = trained(examples, str(tmp_path), (pooled, TONES, LIGHTS), initial_checkpoint=parent,
                    train_only=('tones', 'lights'))
    found = unchanged.compare(other, parent, (pooled, TONES)).differences
    assert 'gives another' in found['shapes']
    assert found['tones'].startswith('the weights ') and found['tones'].endswith(' changed')


@slow
def test_a_head_of_another_form_ends_the_training_before_its_first_step(models, tmp_path):
    examples, parent, _ = models
    deeper = testing.changed(SHAPES, head_hidden=(8,))
    with pytest.raises(PipelineStop, match=r'does not have heads/shapes/hidden/0/bias.* in the form of this model'):
        trained(examples, str(tmp_path), (deeper, LIGHTS), initial_checkpoint=parent, train_only=('lights',))
    with pytest.raises(PipelineStop, match=r"its labels are not those of version 7: without 'a'; new are 'c'\. Its "
                                           r'head cannot stay as it is: name shapes in train_only too'):
        trained(examples, str(tmp_path), (SHAPES, LIGHTS), classes=('b', 'c'), initial_checkpoint=parent,
                train_only=('lights',))


@slow
def test_nothing_served_or_a_damaged_model_is_no_model_that_is_the_same(models, tmp_path):
    _, parent, added = models
    assert unchanged.compare(added, str(tmp_path), [SHAPES]).differences == {
        'shapes': 'nothing is being served that it could be compared with'}
    shutil.copytree(parent, tmp_path / '7')
    (tmp_path / '7/variables/variables.data-00000-of-00001').write_bytes(b'')
    clause = unchanged.compare(added, str(tmp_path / '7'), [SHAPES]).differences['shapes']
    assert clause.startswith('the two models cannot be compared (')


# What the gate, the card and the pages say. No model is needed.

GATED = testing.changed(SHAPES, floor=0.9, max_drop=0.1)
NEW = testing.changed(LIGHTS, floor=0.4)
CARD = {'metrics': {'shapes': {'accuracy': 0.75, 'loss': 0.5}}, 'data': {'shapes': {'files': 3}},
        'evaluation': {'shapes': {'examples': 40, 'groups': 40, 'metrics': {
            'accuracy': {'value': 0.75, 'low': 0.6, 'high': 0.9}}}}}


def decide(problem='', value=0.5):
    decision = decisions.decide([evaluations.evaluation(NEW, value)], True, [], '7')
    compared = unchanged.Comparison({'shapes': problem}, 30, 8)
    decision = forcing.apply(unchanged.add(decision, [GATED, NEW], compared, CARD, '7'), '')
    schema = json.loads((pathlib.Path(schemas.__file__).parent / 'decision.schema.json').read_text())
    jsonschema.validate(json.loads(json.dumps(decision, allow_nan=False)), schema, jsonschema.Draft202012Validator)
    return decision


def test_the_gate_judges_the_new_task_by_its_floor_alone():
    decision = decide()
    assert decision['blessed'] and decision['reasons'] == []
    assert [(t['name'], t['outcome'], t['value'], t['low']) for t in decision['tasks']] == [
        ('shapes', 'unchanged', 0.75, 0.6), ('lights', None, 0.5, 0.5)], 'also below its own floor of 0.9'
    assert decision['remarks'][-1] == ('Unchanged, and so not evaluated: shapes. 30 arrays of weights and 8 answers '
                                       'are those of version 7, bit for bit.')
    assert [(j['task'], j['check'], j['outcome']) for j in decision['judgements']] == [
        ('lights', 'floor', 'met'), ('shapes', 'unchanged', 'met')]
    assert not decide(value=0.3)['blessed']


def test_a_task_that_is_not_the_same_rejects_the_model_and_cannot_be_forced():
    decision = decide('the weights encoder/norm/gamma changed')
    assert decision['reasons'] == ['shapes: it was neither trained nor evaluated, so it must answer as version 7 does, '
                                   'bit for bit, but the weights encoder/norm/gamma changed.']
    assert not decision['blessed'] and not forcing.apply(decision, 'I want it.')['blessed']
    assert decision['tasks'][0]['reason'] == decision['reasons'][0]


def test_the_terminal_and_the_report_say_that_it_is_unchanged():
    decision = decide()
    row = summary.task_rows(decision)[1]
    assert row.split()[:3] == ['shapes', 'accuracy', '0.750'] and 'unchanged' in row
    assert render.verdict(decision) == ('lights meets its floor, version 7 has no such task to compare it with, and '
                                        'the serving check passed. shapes: unchanged, bit for bit.')
    page = ' '.join(re.sub('<[^>]*>', ' ', render.render(decision, {}, {}, [])).split())
    assert 'no earlier model' not in page and 'was measured on the same examples' not in page
    assert 'An unchanged task was not measured again: its numbers are those of the served version.' in page
    assert '0.750 0.600 to 0.900' in page, 'its interval, that of the version being served'
    assert '40 examples' in page


def test_the_card_of_the_new_version_has_what_was_measured_of_the_unchanged_task(tmp_path):
    (tmp_path / 'decision.json').write_text(json.dumps(decide()))
    (tmp_path / 'BLESSED').touch()
    found = pusher.read_decision(str(tmp_path))
    assert found['unchanged'] == ['shapes'] and found['metrics']['shapes'] == CARD['metrics']['shapes']
    assert pusher.carried(Served(7, '', CARD), 'data', found['unchanged']) == {'shapes': {'files': 3}}
    assert pusher.carried(None, 'data', ['shapes']) == {}
