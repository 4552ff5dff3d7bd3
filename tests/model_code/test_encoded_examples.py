"""A frozen encoder's training: its kept representations give the same steps as its inputs do, and move a head alone."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from model_code import encoded_examples, input_pipeline, polyvit, strategy, training
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from tests import testing
from tests.model_code import tiny_training

MODEL = ModelConfig(layers=2, width=16, heads=2, mlp_width=32, modality_layers=1, dropout=0.2, inputs=testing.INPUTS)
SHAPES, WALKS = testing.task('shapes', 'image'), testing.task('walks', 'video', batch_size=2)
CONFIG = TrainingConfig(optimizer='adamw', weight_decay=0.1)
EXAMPLES = 15


def make(task, encoded=()):
    tf_keras.utils.set_random_seed(0)
    model = polyvit.PolyViT(Mixture((SHAPES, task)), {'shapes': 2, task.name: 2}, MODEL, train_only=(task.name,))
    optimizer = training.make_optimizer(CONFIG)
    optimizer.build(model.trained_variables())
    steps = training.TrainSteps(strategy.make_strategy(TrainingConfig(strategy='one_device')), model, optimizer, CONFIG,
                                encoded=encoded)
    return model, training.traced(steps.single(task))


def batches_of(model, task, folder, done=0):
    """The batches of the kept representations, and the files that they are made of."""
    files = tiny_training.files_of(folder, SHAPES)
    made = encoded_examples.train_dataset(model, task, 2, files, EXAMPLES, seed=3)
    return made(done, input_pipeline.ONE_HOST), files


@pytest.mark.parametrize('pooling', ['token', 'gap'])
def test_a_step_on_a_representation_is_one_on_the_inputs(folder, pooling):
    lights = testing.task('lights', 'image', batch_size=EXAMPLES, pooling=pooling, stochastic_depth=0.5)
    model, step = make(lights)
    kept_model, kept_step = make(lights, ('lights',))
    before = [v.numpy() for v in model.variables]
    batches, files = batches_of(kept_model, lights, folder)
    tokens, labels = next(iter(batches))
    assert tokens.shape == (EXAMPLES, 1, 16)
    inputs, in_order = next(iter(input_pipeline.eval_dataset(lights, 2, MODEL, files, EXAMPLES)))
    assert sorted(labels.numpy()) == sorted(in_order.numpy())
    arguments = tf.constant(0), tf.constant(0.01)
    loss, kept_loss = step((inputs, in_order), *arguments)[0], kept_step((tokens, labels), *arguments)[0]
    np.testing.assert_allclose(kept_loss, loss, rtol=1e-5)
    for one, other in zip(model.heads['lights'].weights, kept_model.heads['lights'].weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    moved = {v.ref() for v, old in zip(model.variables, before, strict=True) if (v.numpy() != old).any()}
    assert moved == {v.ref() for v in model.heads['lights'].weights}


def test_an_epoch_has_every_example_once_and_a_resumed_stream_goes_on_where_it_was(folder):
    lights = testing.task('lights', 'image', batch_size=5)
    model, _ = make(lights)
    stream = [tokens.numpy() for tokens, _ in batches_of(model, lights, folder)[0].take(6)]
    first, second = np.concatenate(stream[:3]), np.concatenate(stream[3:])
    assert len(np.unique(first, axis=0)) == EXAMPLES and (first != second).any()
    np.testing.assert_array_equal(np.sort(first, axis=0), np.sort(second, axis=0))
    resumed, _ = next(iter(batches_of(model, lights, folder, done=4)[0]))
    np.testing.assert_array_equal(resumed, stream[4])


def test_a_new_modality_trains_its_tokenizer_and_own_blocks_through_the_frozen_encoder():
    model, step = make(WALKS)
    before = [v.numpy() for v in model.variables]
    step((tf.random.stateless_uniform([2, 4, 16, 16, 3], [1, 2]), tf.constant([0, 1], tf.int64)), tf.constant(0),
         tf.constant(0.01))
    moved = {v.ref() for v, old in zip(model.variables, before, strict=True) if (v.numpy() != old).any()}
    may_move = {v.ref() for v in model.trained_variables()}
    assert len(may_move) == 4 + 16 + 2 and moved <= may_move
    assert model.tokenizers['video'].embedding.kernel.ref() in moved
    assert not {v.ref() for v in model.encoder.blocks[0].weights} & may_move
