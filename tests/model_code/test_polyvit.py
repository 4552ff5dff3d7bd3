"""The model against one in numpy, its randomness, its precision, and its number of parameters."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from model_code import encoder, initialisation, polyvit, tokenizers
from model_code.errors import ConfigError
from model_code.modalities import AudioInput, ImageInput, get_modality
from model_code.settings import ModelConfig, preset
from model_code.tasks import Mixture
from pipeline import plan
from pipeline.config import PipelineConfig, load_config
from tests import testing
from tests.model_code import reference

pytestmark = pytest.mark.slow

SIZES = dict(layers=2, width=16, heads=2, mlp_width=32, inputs=testing.INPUTS)
TASKS = (testing.task('shapes', 'image', stochastic_depth=0.5),
         testing.task('tones', 'audio', pooling='gap', head_hidden=(8, 6)),
         testing.task('walks', 'video', zero_init_head=True))
CLASSES = {'shapes': 2, 'tones': 3, 'walks': 4}


def make_model(tasks=TASKS, **overrides):
    return polyvit.PolyViT(Mixture(tasks), CLASSES, ModelConfig(**{**SIZES, **overrides}))


def scramble(model) -> dict[str, np.ndarray]:
    """Gives every variable random values, the zeros too; returns them by path."""
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0.1, 0.3, variable.shape))
    return {name: variable.numpy() for name, variable in initialisation.named_variables(model).items()}


def inputs_for(model, modality, count=2):
    return np.random.default_rng(1).normal(size=(count, *model.config.input(modality).shape)).astype(np.float32)


@pytest.mark.parametrize('modality_layers', [0, 1])
def test_forward_pass_against_numpy(modality_layers):
    model = make_model(modality_layers=modality_layers)
    parameters = scramble(model)
    assert len(parameters) == len(model.trainable_variables)
    for task in TASKS:
        inputs = inputs_for(model, task.modality)
        expected = reference.logits(
            parameters, inputs, task.modality, task.name, patch=model.config.input(task.modality).patch, heads=2,
            layers=2, modality_layers=modality_layers, pooling=task.recipe.pooling, hidden=len(task.recipe.head_hidden))
        np.testing.assert_allclose(model.logits(task.name, inputs), expected, atol=1e-5)


def test_a_task_trains_nothing_of_another_modality():
    model = make_model(modality_layers=1)
    paths = {v.ref(): name for name, v in initialisation.named_variables(model).items()}
    trained = {paths[v.ref()] for v in model.task_variables('tones')}
    # Block 0, which only audio has, and block 1, which all share, have 16 variables each.
    assert {name.split('/')[2] for name in trained if 'modality_blocks' in name} == {'audio'}
    assert sum(name.startswith('encoder/') for name in trained) == 16 + 16 + 2
    assert {name.split('/')[1] for name in trained if name.startswith(('tokenizers/', 'heads/'))} == {'audio', 'tones'}


def test_a_zero_initialised_head_starts_with_equal_scores():
    model = make_model()
    np.testing.assert_array_equal(model.logits('walks', inputs_for(model, 'video')), np.zeros((2, 4)))


def test_dropout_sets_its_share_of_numbers_to_zero_and_scales_the_rest():
    seed = tf.constant([1, 2])
    first, other = (encoder.dropout(tf.ones([4000]), 0.25, seed, draw).numpy() for draw in (0, 1))
    np.testing.assert_allclose(np.unique(first), [0, 4 / 3], rtol=1e-6)
    assert np.mean(first == 0) == pytest.approx(0.25, abs=4 * math.sqrt(0.25 * 0.75 / 4000))
    assert np.mean((first == 0) & (other == 0)) == pytest.approx(0.0625, abs=0.02), 'draws are independent'


def test_stochastic_depth_skips_later_blocks_at_the_tasks_rate():
    task = testing.task('shapes', 'image', stochastic_depth=0.6)
    model = make_model((task,), layers=3)
    parameters = scramble(model)
    inputs = np.repeat(inputs_for(model, 'image', 1), 500, axis=0)
    logits = model.logits('shapes', inputs, training=True, seed=tf.constant([0, 7])).numpy()

    def share(blocks):
        """The share of examples that passed these blocks only."""
        kept = {k: v for k, v in parameters.items() if not k.startswith('encoder/blocks/')}
        for place, number in enumerate(blocks):
            kept |= {k.replace(f'blocks/{number}', f'blocks/{place}'): v for k, v in parameters.items()
                     if k.startswith(f'encoder/blocks/{number}/')}
        expected = reference.logits(kept, inputs[:1], 'image', 'shapes', patch=(8, 8), heads=2, layers=len(blocks))
        return np.mean(np.abs(logits - expected).max(axis=1) < 1e-4)

    # Block 0 is always kept, block 1 is skipped at 0.3, block 2 at 0.6. 4 sigma of 500 examples are at most 0.09.
    for blocks, expected in (([0, 1, 2], 0.28), ([0, 1], 0.42), ([0, 2], 0.12), ([0], 0.18)):
        assert share(blocks) == pytest.approx(expected, abs=0.09), blocks
    assert sum(share(blocks) for blocks in ([0, 1, 2], [0, 1], [0, 2], [0])) == pytest.approx(1)


@pytest.mark.parametrize('modality', ['image', 'audio', 'video'])
def test_a_training_step_sees_the_class_token_and_the_kept_patches_alone(modality, monkeypatch):
    """What is drawn reaches the encoder as those tokens that all patches would give, positions included."""
    task = testing.task('t', modality, token_share=0.5)
    model = polyvit.PolyViT(Mixture((task,)), {'t': 2}, ModelConfig(**SIZES))
    scramble(model)
    inputs, seed, drawn, entered = inputs_for(model, modality, 8), tf.constant([3, 4]), [], []
    draw = tokenizers.draw_patches
    monkeypatch.setattr(tokenizers, 'draw_patches', lambda *args: drawn.append(draw(*args)) or drawn[-1])
    monkeypatch.setattr(model.encoder, 'call', lambda tokens, *_, **__: entered.append(tokens) or tokens)
    model.logits('t', inputs)
    model.logits('t', inputs, training=True, seed=seed)
    (whole, dropped), (kept,) = entered, drawn
    assert kept.shape == (8, (whole.shape[1] - 1) // 2) and dropped.shape[1] == 1 + kept.shape[1]
    assert len({tuple(sorted(row)) for row in kept.numpy()}) > 1, 'each example has a draw of its own'
    for i in range(8):
        np.testing.assert_allclose(dropped[i], tf.gather(whole[i], [0, *(kept[i] + 1)]), atol=1e-5)


def test_patches_are_dropped_alone_or_by_whole_rows_and_columns_all_equally_often():
    def shares(modality, spec, share):
        axes = get_modality(modality).kept_patches(spec, share)
        kept = tokenizers.draw_patches(axes, 2000, tf.constant([0, 7])).numpy()
        grids = np.zeros((2000, math.prod(spec.grid)), bool)
        np.put_along_axis(grids, kept, True, axis=1)
        assert (grids.sum(axis=1) == kept.shape[1]).all(), 'no patch is drawn twice'
        np.testing.assert_allclose(grids.mean(axis=0), kept.shape[1] / grids.shape[1], atol=0.06)  # over 5 sigma
        return grids.reshape(-1, *spec.grid)

    grids = shares('image', ImageInput(48, 32, (8, 8)), 0.5)
    assert len(np.unique(grids, axis=0)) > 600, 'each patch by itself'
    grids = shares('audio', AudioInput(160, 128), 0.5)
    rows, columns = grids.any(axis=2), grids.any(axis=1)
    np.testing.assert_array_equal(grids, rows[:, :, None] & columns[:, None])
    assert set(rows.sum(axis=1)) == {7} and set(columns.sum(axis=1)) == {6}  # 42 of 80


@pytest.mark.parametrize('grid', [(50, 8), (2, 2), (1, 4), (7, 1), (13, 4)])
@pytest.mark.parametrize('share', [1.0, 0.9, 0.5, 0.25, 0.1])
def test_the_kept_rows_and_columns_come_close_to_the_share(grid, share):
    spec = AudioInput(16 * grid[0], 16 * grid[1])
    (rows, kept_rows), (columns, kept_columns) = get_modality('audio').kept_patches(spec, share)
    assert (rows, columns) == grid
    assert 1 <= kept_rows <= rows and 1 <= kept_columns <= columns
    assert abs(kept_rows * kept_columns - share * rows * columns) <= max(1.0, kept_columns / 2)
    if share == 1:
        assert (kept_rows, kept_columns) == grid


def test_evaluation_and_serving_see_all_tokens():
    tasks = [testing.task(name, 'image', token_share=share) for name, share in (('a', 1.0), ('a', 0.25))]
    whole, dropping = (make_model_of(task) for task in tasks)
    inputs = inputs_for(whole, 'image')
    np.testing.assert_array_equal(dropping.scores('a', inputs), whole.scores('a', inputs))
    np.testing.assert_array_equal(dropping.encode('image', inputs), whole.encode('image', inputs))
    np.testing.assert_array_equal(dropping.logits('a', inputs), whole.logits('a', inputs))


def make_model_of(task):
    model = polyvit.PolyViT(Mixture((task,)), {task.name: 2}, ModelConfig(**SIZES))
    scramble(model)
    return model


def test_the_position_embedding_learns_only_where_patches_were_kept():
    model = make_model_of(testing.task('a', 'image', token_share=0.25, pooling='gap'))
    inputs, seed = inputs_for(model, 'image', 1), tf.constant([3, 4])
    with tf.GradientTape() as tape:
        loss = model.loss('a', inputs, tf.constant([1], tf.int64), seed)
    gradient = tf.convert_to_tensor(tape.gradient(loss, model.tokenizers['image'].position_embedding))[0]
    moved = np.abs(gradient).max(axis=1) > 0
    assert moved[0] and moved.sum() == 2, 'the class token, and one patch of four'


def test_a_step_is_a_function_of_its_seed():
    model = make_model((testing.task('shapes', 'image', stochastic_depth=0.5),), dropout=0.2)
    scramble(model)
    inputs = inputs_for(model, 'image', 8)
    logits = tf.function(lambda seed: model.logits('shapes', inputs, training=True, seed=seed), autograph=False)
    first, again, other = (logits(tf.constant(seed)).numpy() for seed in ([3, 4], [3, 4], [3, 5]))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    with pytest.raises(ValueError, match='give a seed'):
        model.logits('shapes', inputs, training=True)
    served = model.logits('shapes', inputs)
    np.testing.assert_array_equal(served, model.logits('shapes', inputs, seed=tf.constant([3, 4])))


def test_a_step_compiles_under_xla_with_all_its_randomness():
    task = testing.task('walks', 'video', stochastic_depth=0.3)
    model = make_model((task,), dropout=0.1, modality_layers=1)
    scramble(model)
    inputs, labels = tf.constant(inputs_for(model, 'video')), tf.constant([1, 3], tf.int64)

    @tf.function(jit_compile=True, autograph=False)
    def gradients(inputs, labels, seed):
        with tf.GradientTape() as tape:
            loss = model.loss('walks', inputs, labels, seed)
        return tape.gradient(loss, model.task_variables('walks'))

    once, twice = (gradients(inputs, labels, tf.constant([0, 1])) for _ in range(2))
    for a, b in zip(once, twice, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)
    plain = tf.function(lambda x: model.logits('walks', x), jit_compile=True, autograph=False)
    np.testing.assert_allclose(plain(inputs), model.logits('walks', inputs), atol=1e-4)


@pytest.mark.parametrize('policy, tolerance', [('mixed_bfloat16', 0.05), ('mixed_float16', 0.005)])
def test_mixed_precision_is_close_and_gives_float32_logits_and_gradients(policy, tolerance):
    model = make_model()
    inputs = {task.name: inputs_for(model, task.modality) for task in TASKS}
    scramble(model)
    labels, seed = tf.zeros([2], tf.int64), tf.constant([0, 1])
    exact = {name: model.logits(name, x).numpy() for name, x in inputs.items()}
    tf_keras.mixed_precision.set_global_policy(policy)
    try:
        mixed = make_model(dropout=0.1)
        scramble(mixed)
        for name, x in inputs.items():
            logits = mixed.logits(name, x)
            assert logits.dtype == tf.float32
            assert mixed.encode(mixed.tasks[name].modality, x).dtype == policy.removeprefix('mixed_')
            scale = np.abs(exact[name]).max()
            np.testing.assert_allclose(logits, exact[name], atol=tolerance * scale)
            with tf.GradientTape() as tape:
                loss = mixed.loss(name, x, labels, seed)
            gradients = tape.gradient(loss, mixed.task_variables(name))
            assert all(g.dtype == tf.float32 and np.isfinite(g).all() for g in gradients)
    finally:
        tf_keras.mixed_precision.set_global_policy('float32')


def parameters_of(mixture, classes, config) -> int:
    """The number of parameters of a model. It is built in a graph, which takes no memory for a ViT-L."""
    with tf.Graph().as_default():
        model = tf.autograph.experimental.do_not_convert(polyvit.PolyViT)(mixture, classes, config)
        return sum(v.shape.num_elements() for v in model.trainable_variables)


# As published for 224 pixels, patches of 16 and 1,000 classes (timm's table).
PUBLISHED = {'Ti': 5_717_416, 'S': 22_050_664, 'B': 86_567_656, 'L': 304_326_632}


@pytest.mark.parametrize('name', PUBLISHED)
def test_presets_have_the_published_number_of_parameters(name):
    config, mixture = preset(name, inputs=ImageInput(224, 224)), Mixture((testing.task('t', 'image'),))
    built = parameters_of(mixture, {'t': 1000}, config)
    assert built == PUBLISHED[name]
    width, hidden = config.width, config.mlp_width
    block = 4 * (width * width + width) + 2 * width * hidden + hidden + width + 4 * width
    assert built == (config.layers * block + 2 * width + 16 * 16 * 3 * width + width + 198 * width
                     + 1000 * width + 1000)


def test_the_nine_task_model_has_as_many_parameters_as_the_plan_says():
    config = load_config('nine')
    classes = {t.name: t.data.num_classes for t in config.mixture.tasks}
    assert parameters_of(config.mixture, classes, config.model) == plan.make_plan(config).total_parameters


def test_settings_that_no_model_can_have_are_rejected():
    with pytest.raises(ConfigError, match='modality_layers is 3.*number of layers, 2'):
        ModelConfig(**SIZES, modality_layers=3)
    with pytest.raises(ConfigError, match='no pooling named .max.'):
        testing.task('t', 'image', pooling='max')
    with pytest.raises(ConfigError, match='head_hidden is'):
        testing.task('t', 'image', head_hidden=(0,))
    with pytest.raises(ConfigError, match='stochastic_depth is 1'):
        testing.task('t', 'image', stochastic_depth=1.0)
    for share in (0.0, -0.5, 1.5):
        with pytest.raises(ConfigError, match=f'Task t: token_share is {share}; it must be over 0 and at most 1'):
            testing.task('t', 'image', token_share=share)
    few = testing.task('t', 'image', token_share=0.1)
    with pytest.raises(ConfigError, match='token_share is 0.1, which keeps none of the 4 patches .* at least 1 / 4'):
        PipelineConfig('few', Mixture((few,)), ModelConfig(**SIZES))
