"""Every optimiser moves the weights and is restored from a checkpoint; three are compared with numpy arithmetic."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from model_code import polyvit, settings, strategy, training
from model_code.checkpoints import Checkpoints
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from tests import testing

pytestmark = pytest.mark.slow

TASK = testing.task('shapes', 'image', steps=4, batch_size=4, pooling='gap')
INPUTS = np.random.default_rng(0).normal(size=(4, *testing.IMAGE_SPEC.shape)).astype(np.float32)
BATCH = tf.constant(INPUTS), tf.constant([0, 1, 1, 0], tf.int64)


class OneTaskTraining:
    """A model of `layers` blocks, its optimiser, and its step."""

    def __init__(self, layers: int, seed: int = 0, **recipe):
        tf_keras.utils.set_random_seed(seed)
        config = TrainingConfig(strategy='one_device', **recipe)
        placed = strategy.make_strategy(config)
        with placed.scope():
            self.model = polyvit.PolyViT(Mixture((TASK,)), {'shapes': 2}, ModelConfig(
                layers=layers, width=8, heads=2, mlp_width=16, inputs=testing.IMAGE_SPEC))
            self.variables = list(self.model.trainable_variables)
            self.optimizer = training.make_optimizer(config)
            self.optimizer.build(self.variables)
        steps = training.TrainSteps(placed, self.model, self.optimizer, config)
        self._step = training.traced(steps.single(TASK))

    def step(self, number: int, rate: float):
        """Returns (loss, gradient norm)."""
        return [float(x) for x in self._step(BATCH, tf.constant(number), tf.constant(rate))]

    def values(self) -> list[np.ndarray]:
        return [v.numpy() for v in self.variables]

    def gradients(self) -> list[np.ndarray]:
        """The gradients of the batch's mean loss, not computed by the step."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(self.model.loss('shapes', *BATCH))
        return [g.numpy() for g in tape.gradient(loss, self.variables)]

    def decayed(self) -> list[bool]:
        """Which variables have weight decay: kernels, but not biases, norms, class tokens and position embeddings."""
        tokenizer = self.model.tokenizers['image']
        return [v.shape.rank > 1 and v is not tokenizer.class_token and v is not tokenizer.position_embedding
                for v in self.variables]


def test_adam_and_adamw_are_the_classes_of_keras():
    for name, cls in (('adam', tf_keras.optimizers.Adam), ('adamw', tf_keras.optimizers.AdamW)):
        assert type(training.make_optimizer(TrainingConfig(optimizer=name))) is cls


@pytest.mark.parametrize('name', [name for name in settings.OPTIMIZERS if name not in ('adam', 'adamw')])
def test_every_optimizer_moves_the_weights_and_resumes_from_a_checkpoint(tmp_path, name):
    recipe = dict(optimizer=name, weight_decay=0.01, layers=1)
    run = OneTaskTraining(**recipe)
    before = run.values()
    run.step(0, 1e-2)
    still = {v.name for v, a, b in zip(run.variables, run.values(), before, strict=True) if np.array_equal(a, b)}
    # The attention does not depend on the bias of the keys, so its gradient is 0 but for rounding.
    assert still <= {'encoder/block_0/attention/key/bias:0'}
    Checkpoints(str(tmp_path), run.model, run.optimizer).save(1)
    run.step(1, 1e-2)

    again = OneTaskTraining(seed=1, **recipe)
    assert Checkpoints(str(tmp_path), again.model, again.optimizer).restore() == 1
    again.step(1, 1e-2)
    for a, b in zip(run.values(), again.values(), strict=True):
        np.testing.assert_array_equal(a, b)


class Momentum:
    """In numpy. The rate of the current step multiplies the whole velocity."""

    def update(self, weights, gradient, rate, number):
        self.velocity = 0.9 * getattr(self, 'velocity', 0.0) + gradient
        return weights - rate * self.velocity


class Adam:
    """In numpy. Epsilon is added to the uncorrected root (Kingma and Ba, end of section 2)."""

    def update(self, weights, gradient, rate, number):
        self.m = 0.9 * getattr(self, 'm', 0.0) + 0.1 * gradient
        self.v = 0.999 * getattr(self, 'v', 0.0) + 0.001 * gradient ** 2
        rate *= np.sqrt(1 - 0.999 ** (number + 1)) / (1 - 0.9 ** (number + 1))
        return weights - rate * self.m / (np.sqrt(self.v) + 1e-7)


@pytest.mark.parametrize('name, independent', [('momentum', Momentum), ('adam', Adam), ('adamw', Adam)])
def test_two_steps_equal_numpys_with_clipping_and_decoupled_weight_decay(name, independent):
    decay, clip = 0.1, 0.5
    run = OneTaskTraining(1, optimizer=name, weight_decay=decay, clip_norm=clip)
    assert any(run.decayed()) and not all(run.decayed())
    rules = [independent() for _ in run.variables]
    for number, rate in enumerate((0.02, 0.01)):  # the rate changes from step to step
        gradients = [g.astype(np.float64) for g in run.gradients()]
        norm = np.sqrt(sum(np.sum(g ** 2) for g in gradients))
        assert norm > clip
        expected = [
            rule.update(weights * (1 - rate * decay * decayed), gradient * clip / norm, rate, number)
            for rule, weights, gradient, decayed in zip(rules, run.values(), gradients, run.decayed(),
                                                        strict=True)]
        _, returned_norm = run.step(number, rate)
        assert returned_norm == pytest.approx(norm, rel=1e-5)
        for variable, value, right in zip(run.variables, run.values(), expected, strict=True):
            # Adam divides a gradient by its own size, so rounding matters if both are near 0.
            np.testing.assert_allclose(value, right, atol=1e-6 if name == 'momentum' else 2e-5, err_msg=variable.name)


def test_a_clip_norm_above_the_norm_clips_nothing():
    run = OneTaskTraining(1, optimizer='SGD', clip_norm=1e3)
    gradients, before = run.gradients(), run.values()
    run.step(0, 0.5)
    for after, value, gradient in zip(run.values(), before, gradients, strict=True):
        np.testing.assert_allclose(after - value, -0.5 * gradient, atol=1e-6)


def test_the_kernels_of_all_modalities_have_weight_decay_and_nothing_else():
    """With a gradient of zero, only weight decay changes a variable."""
    tasks = (testing.task('a', 'image', head_hidden=(4,)), testing.task('b', 'audio'),
             testing.task('c', 'video'))
    model = polyvit.PolyViT(Mixture(tasks), {'a': 2, 'b': 2, 'c': 2}, ModelConfig(
        layers=2, width=8, heads=2, mlp_width=16, modality_layers=1, inputs=testing.INPUTS))
    variables = list(model.trainable_variables)
    optimizer = training.make_optimizer(TrainingConfig(optimizer='SGD', weight_decay=0.5))
    optimizer.build(variables)
    for variable in variables:
        variable.assign(tf.ones_like(variable))
    optimizer.learning_rate = 0.1
    optimizer.apply_gradients([(tf.zeros_like(v), v) for v in variables])
    kept = {id(v) for t in model.tokenizers.values() for v in (t.class_token, t.position_embedding)}
    for variable in variables:
        decayed = variable.shape.rank > 1 and id(variable) not in kept
        np.testing.assert_allclose(variable.numpy(), 0.95 if decayed else 1.0, err_msg=variable.name)
