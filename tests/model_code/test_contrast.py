"""The contrastive loss of captions: against numpy, over replicas, and in a model."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from model_code import contrast, evaluation, freezing, input_pipeline, modalities, polyvit, training
from model_code.errors import ConfigError
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from polyvit import Columns
from tests import testing

CONFIG = ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=testing.INPUTS)
TASK = testing.task('sides', 'image', steps=40, batch_size=8, objective='captions', columns=Columns(text='caption'),
                    prompts=('light on the {}', 'see the {}'))
VOCABULARIES = {'sides': ['left', 'right']}
PAIRS, IDS = 8, np.array([0, 1, 2, 3, 1, 5, 6, 1])


def _unit(seed, width=4):
    vectors = np.random.default_rng(seed).normal(size=(PAIRS, width))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _reference(media, captions, ids, scale):
    """In float64, row by row."""
    losses = []
    for i in range(len(ids)):
        kept = [j for j in range(len(ids)) if j == i or ids[j] != ids[i]]
        rows = [scale * a[i].astype(float) @ b[kept].astype(float).T for a, b in ((media, captions), (captions, media))]
        losses.append(np.mean([np.log(np.exp(row).sum()) - row[kept.index(i)] for row in rows]))
    return losses


def test_the_loss_is_the_mean_of_two_cross_entropies_and_equal_captions_are_no_negatives():
    media, captions = _unit(0), _unit(1)
    losses = contrast.losses(*map(tf.constant, (media, captions, np.repeat(IDS[:, None], 3, 1))), tf.constant(7.0))
    np.testing.assert_allclose(losses, _reference(media, captions, IDS, 7.0), atol=1e-5)
    assert not np.allclose(losses, _reference(media, captions, np.arange(PAIRS), 7.0), atol=1e-2)


def test_recall_counts_equal_captions_as_right():
    vectors = tf.constant(np.eye(4, dtype=np.float32))
    ids = tf.constant([[0], [1], [2], [2]])
    assert contrast.recall_at_1(vectors, vectors, ids) == (1, 1)
    assert contrast.recall_at_1(vectors, tf.gather(vectors, [1, 0, 3, 2]), ids) == (0.5, 0.5)


REPLICAS = '''
import json, os
os.environ['TF_USE_LEGACY_KERAS'] = '1'
import numpy as np, tensorflow as tf
cpu, = tf.config.list_physical_devices('CPU')
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
from model_code import contrast
from tests.model_code import test_contrast as test
media, captions, ids = test._unit(2, 5), test._unit(3, 6), np.repeat(test.IDS[:, None], 3, 1)
starts = [np.random.default_rng(4).normal(size=(n, 4)).astype('f') for n in (5, 6)]
results = []
for strategy in (tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(['CPU:0', 'CPU:1'])):
    replicas = strategy.num_replicas_in_sync
    with strategy.scope():
        variables = [tf.Variable(start) for start in starts] + [tf.Variable(1.5)]
    def share(a, b, i):
        with tf.GradientTape() as tape:
            u, v = (tf.math.l2_normalize(x @ w, -1) for x, w in ((a, variables[0]), (b, variables[1])))
            loss = tf.reduce_sum(contrast.losses(u, v, i, tf.exp(variables[2]))) / test.PAIRS
        context = tf.distribute.get_replica_context()
        gradients = tape.gradient(loss, variables)
        return loss, context.all_reduce('SUM', gradients) if replicas > 1 else gradients
    def part(values):
        return strategy.experimental_distribute_values_from_function(
            lambda c: tf.split(values, replicas)[c.replica_id_in_sync_group]) if replicas > 1 else tf.constant(values)
    loss, gradients = strategy.run(tf.function(share), args=tuple(map(part, (media, captions, ids))))
    mean = lambda x: strategy.reduce('MEAN', x, axis=None).numpy().tolist()
    results.append([strategy.reduce('SUM', loss, axis=None).numpy().tolist(), *map(mean, gradients)])
print(json.dumps(results))
'''


def test_two_replicas_have_the_loss_and_the_gradients_of_one():
    """In a process of its own, because logical devices must precede TensorFlow's first operation."""
    done = subprocess.run([sys.executable, '-c', REPLICAS], capture_output=True, text=True, encoding='utf-8',
                          check=True, env={**os.environ, 'TF_CPP_MIN_LOG_LEVEL': '3'})
    one, two = json.loads(done.stdout.strip().splitlines()[-1])
    for alone, together in zip(one, two, strict=True):
        np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-6)
        assert np.any(np.abs(alone) > 1e-3)


# A model of captions. A picture is bright on one side, which its caption names.

def _batch(seed, count=8):
    rng = np.random.default_rng(seed)
    sides = rng.integers(0, 2, count)
    pictures = rng.normal(-0.5, 0.1, (count, *testing.IMAGE_SPEC.shape)).astype(np.float32)
    for picture, side in zip(pictures, sides, strict=True):
        picture[:, 8 * side:8 * side + 8] += 1
    texts = [f'{rng.choice(["light on the", "see the"])} {VOCABULARIES["sides"][side]}' for side in sides]
    return tf.constant(pictures), input_pipeline.captions(tf.constant(texts), CONFIG), sides


@pytest.fixture(scope='module')
def trained():
    """A model after a few steps."""
    tf.keras.utils.set_random_seed(0)
    model = polyvit.PolyViT(Mixture((TASK,)), {'sides': 2}, CONFIG, vocabularies=VOCABULARIES)
    config = TrainingConfig(optimizer='adamw', learning_rate=3e-3)
    optimizer = training.make_optimizer(config)
    optimizer.build(list(model.trainable_variables))
    strategy = tf.distribute.get_strategy()
    step = tf.function(training.TrainSteps(strategy, model, optimizer, config).single(TASK), autograph=False)
    before = {v.ref(): v.numpy() for v in model.trainable_variables}
    for number in range(5):
        step(_batch(number)[:2], tf.constant(number), tf.constant(3e-3))
    assert all(np.any(v.numpy() != before[v.ref()]) for v in model.trainable_variables if 'query/bias' not in v.name
               and 'key/bias' not in v.name)
    return model


def test_the_scores_are_those_of_the_cosines_with_the_classes(trained):
    inputs, _, _ = _batch(1_000, 64)
    trained.heads['sides'].class_vectors.assign(tf.zeros([2, 16]))
    assert np.allclose(trained.scores('sides', inputs), 0.5)
    trained.update_classes()
    head = trained.heads['sides']
    np.testing.assert_allclose(np.linalg.norm(head.class_vectors, axis=1), 1, atol=1e-5)
    media = head.media_vectors(trained.encode('image', inputs)).numpy()
    np.testing.assert_allclose(np.linalg.norm(media, axis=1), 1, atol=1e-5)
    powers = np.exp(head.scale.numpy() * media @ head.class_vectors.numpy().T)
    np.testing.assert_allclose(trained.scores('sides', inputs), powers / powers.sum(1, keepdims=True), atol=1e-4)


def test_the_class_vector_is_the_mean_of_its_prompts(trained):
    trained.update_classes()
    head = trained.heads['sides']
    texts = input_pipeline.captions(tf.constant(['light on the right', 'see the right']), CONFIG)
    vectors = head.caption_vectors(trained.encode(modalities.CAPTION_MODALITY, texts)).numpy()
    mean = vectors.mean(0) / np.linalg.norm(vectors.mean(0))
    np.testing.assert_allclose(head.class_vectors[1], mean, atol=1e-5)


def test_the_scale_is_bounded(trained):
    head, config = trained.heads['sides'], TrainingConfig(optimizer='adamw', weight_decay=0.1)
    before = head.log_scale.numpy()
    optimizer = training.make_optimizer(config)
    optimizer.build([head.log_scale])
    optimizer.learning_rate = 10.0
    optimizer.apply_gradients([(tf.constant(-1.0), head.log_scale)])
    assert head.scale.numpy() == pytest.approx(100, rel=1e-5)
    head.log_scale.assign(before)


def test_a_step_trains_both_tokenizers_and_each_variable_once(trained):
    names = [variable.name for variable in trained.task_variables('sides')]
    assert len(names) == len({v.ref() for v in trained.task_variables('sides')}) == len(trained.trainable_variables)
    own = ModelConfig(layers=2, width=16, heads=2, mlp_width=32, modality_layers=1, inputs=testing.INPUTS)
    model = polyvit.PolyViT(Mixture((TASK, testing.task('other', 'image'))), {'sides': 2, 'other': 2}, own)
    other = {v.ref() for v in model.heads['other'].trainable_variables}
    assert {v.ref() for v in model.task_variables('sides')} == {v.ref() for v in model.trainable_variables} - other


def test_evaluation_tells_recall_beside_zero_shot_accuracy(trained, monkeypatch):
    inputs, captions, sides = _batch(2_000, 32)
    batches = tf.data.Dataset.from_tensors((inputs, tf.constant(sides, tf.int64), captions))
    monkeypatch.setattr(input_pipeline, 'eval_dataset', lambda *arguments: batches)
    values = evaluation.make_evaluate(trained, CONFIG, {'sides': 2}, {'sides': ['a file']}, 32)()
    right = np.argmax(trained.scores('sides', inputs), axis=1) == sides
    assert values['eval/sides/accuracy'] == pytest.approx(right.mean())
    assert 'eval/sides/loss' not in values, 'that of the classes is not the loss that is trained'
    assert 0 < values['eval/sides/caption_recall'] <= 1 and 0 < values['eval/sides/example_recall'] <= 1


def _steps(model, **fields):
    """The steps of a model that are not trained with."""
    return training.TrainSteps(tf.distribute.get_strategy(), model, None, TrainingConfig(**fields))


def test_the_gradients_that_are_compared_with_other_tasks_are_those_of_the_whole_batch(trained):
    """Two halves would have other negatives."""
    inputs, captions, _ = _batch(3_000)
    gradients, = _steps(trained).shared_gradients(TASK)((inputs, captions), tf.constant(7))
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(trained.loss('sides', inputs, captions))
    variables = trained.encoder.shared_variables
    assert len(gradients) == len(variables) > 0
    for found, expected in zip(gradients, tape.gradient(loss, variables), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_token_share_drops_tokens_of_the_media_and_none_of_the_captions(trained, monkeypatch):
    dropping, seen, encode = testing.changed(TASK, token_share=0.5), {}, trained.encoder.call

    def watched(tokens, modality, *arguments, **named):
        seen[modality] = tokens.shape[1]
        return encode(tokens, modality, *arguments, **named)
    monkeypatch.setattr(trained.encoder, 'call', watched)
    inputs, captions, _ = _batch(4_000)
    loss, gradients = _steps(trained)._gradients(dropping, inputs, captions, tf.constant([1, 2]))
    whole = {name: np.prod(CONFIG.input(name).grid) for name in ('image', modalities.CAPTION_MODALITY)}
    assert seen == {'image': whole['image'] // 2 + 1, modalities.CAPTION_MODALITY: whole['text'] + 1}
    assert np.isfinite(loss) and all(gradient is not None for gradient in gradients)


def test_a_task_that_is_added_leaves_the_captions_and_their_classes_as_they_are(trained):
    reviews, lights = testing.task('reviews', 'text'), testing.task('lights', 'image')
    mixture = Mixture((TASK, reviews, lights))
    for name in ('reviews', 'lights'):
        assert freezing.is_frozen(mixture[name], mixture.tasks, ('reviews', 'lights'))
    assert not freezing.is_frozen(reviews, (reviews, lights), ('reviews',))
    model = polyvit.PolyViT(mixture, dict.fromkeys(('sides', 'reviews', 'lights'), 2), CONFIG,
                            train_only=('reviews', 'lights'), vocabularies=VOCABULARIES)
    assert [v.ref() for v in model.task_variables('reviews')] == [
        v.ref() for v in model.heads['reviews'].trainable_variables]
    vectors = trained.heads['sides'].class_vectors.numpy() + 1
    model.heads['sides'].class_vectors.assign(vectors)
    model.update_classes()
    np.testing.assert_array_equal(model.heads['sides'].class_vectors, vectors)
    with pytest.raises(ConfigError, match="train_only names sides, whose objective is 'captions'"):
        TrainingConfig(train_only=('sides', 'lights')).check_train_only(mixture)


@pytest.mark.parametrize('fields, message', [
    (dict(columns=Columns()), 'name their column, Columns'), (dict(prompts=('a photo',)), 'with {} in place of the'),
    (dict(label_smoothing=0.1), "label_smoothing is 0.1, but a task with objective='captions'"),
    (dict(batch_size=1), "Task sides: batch_size is 1; it must be at least 2 with objective='captions'"),
    (dict(label_kind='multi'), "label_kind='single', not 'multi'"),
    (dict(objective='labels', prompts=('{}',)), 'but its recipe learns from labels'),
    (dict(objective='labels', columns=Columns()), "only objective='captions' looks at it")])
def test_a_task_that_cannot_learn_from_captions_is_an_error(fields, message):
    with pytest.raises(ConfigError, match=message):
        testing.changed(TASK, **fields)
    with pytest.raises(ConfigError, match='a task on texts has none'):
        testing.task('reviews', 'text', batch_size=2, objective='captions')
