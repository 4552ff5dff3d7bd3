"""Starting weights against closed forms, and the messages for files that do not fit."""

import dataclasses
import json
import os

import numpy as np
import pytest
import tensorflow as tf

from components.co_trainer import executor
from model_code import export, file_io, initialisation, modalities, model_directory, polyvit, training
from model_code.checkpoints import Checkpoints
from model_code.errors import PipelineStop
from model_code.modalities import AudioInput, ImageInput, VideoInput
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from tests import testing

WIDTH, HEADS, HIDDEN, SIDE = 16, 2, 32, 3
CONFIG = ModelConfig(
    layers=2, width=WIDTH, heads=HEADS, mlp_width=HIDDEN, inputs=(
        ImageInput(24, 24, (8, 8)), AudioInput(frames=40, mel_bins=16, patch=(8, 8)), VideoInput(8, 16, 16, (4, 8, 8))))
TASKS = (testing.task('shapes', 'image'), testing.task('tones', 'audio'), testing.task('walks', 'video'))
VOCABULARIES = {'shapes': ['left', 'right'], 'tones': ['low', 'high', 'none'], 'walks': ['bright', 'dark']}


def make_model(tasks=TASKS, vocabularies=None, inputs=(), **overrides):
    """A model of CONFIG with some values replaced. inputs: those that replace CONFIG's."""
    inputs = {value.modality: value for value in (*CONFIG.inputs, *inputs)}.values()
    classes = {name: len(labels) for name, labels in (vocabularies or VOCABULARIES).items()}
    config = dataclasses.replace(CONFIG, inputs=tuple(inputs), **overrides)
    return polyvit.PolyViT(Mixture(tasks), classes, config)


def scramble(model):
    rng = np.random.default_rng(5)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(size=variable.shape))
    return model


def vit_arrays(prefix='', attention='MultiHeadDotProductAttention_1', mlp='MlpBlock_3', norm='LayerNorm_2', layers=2):
    """Random arrays of a small ViT with a head, under the names in its file."""
    rng, head = np.random.default_rng(3), WIDTH // HEADS
    shapes = {'cls': (1, 1, WIDTH), 'embedding/kernel': (8, 8, 3, WIDTH), 'embedding/bias': (WIDTH,),
              'Transformer/posembed_input/pos_embedding': (1, 1 + SIDE * SIDE, WIDTH),
              'Transformer/encoder_norm/scale': (WIDTH,), 'Transformer/encoder_norm/bias': (WIDTH,),
              'head/kernel': (WIDTH, 1000), 'head/bias': (1000,), 'pre_logits/kernel': (WIDTH, WIDTH)}
    for number in range(layers):
        block = f'Transformer/encoderblock_{number}'
        shapes |= {f'{block}/{n}/{part}': (WIDTH,) for n in ('LayerNorm_0', norm) for part in ('scale', 'bias')}
        for part in ('query', 'key', 'value'):
            shapes |= {f'{block}/{attention}/{part}/kernel': (WIDTH, HEADS, head),
                       f'{block}/{attention}/{part}/bias': (HEADS, head)}
        shapes |= {f'{block}/{attention}/out/kernel': (HEADS, head, WIDTH), f'{block}/{attention}/out/bias': (WIDTH,),
                   f'{block}/{mlp}/Dense_0/kernel': (WIDTH, HIDDEN), f'{block}/{mlp}/Dense_0/bias': (HIDDEN,),
                   f'{block}/{mlp}/Dense_1/kernel': (HIDDEN, WIDTH), f'{block}/{mlp}/Dense_1/bias': (WIDTH,)}
    return {prefix + name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def write_vit(directory, arrays) -> str:
    path = os.path.join(directory, 'vit.npz')
    np.savez(path, **arrays)
    return path


def ramp(*grid):
    """[*grid, 2]: a number that grows evenly along each of the last two axes, from 0 to 1."""
    axes = np.meshgrid(*(np.linspace(0, 1, n) for n in grid), indexing='ij')
    return np.stack(axes[-2:], axis=-1)


@pytest.mark.parametrize('old, new', [((3, 3), (7, 5)), ((24, 24), (14, 14)), ((14, 14), (50, 8)), ((3, 3), (3, 3))])
def test_a_ramp_resizes_to_the_ramp(old, new):
    np.testing.assert_allclose(initialisation.resize_grid(ramp(*old), new), ramp(*new), atol=1e-12)


def test_positions_keep_the_class_token_and_are_tiled_in_time():
    first = np.full((1, 1, 2), 9.0)
    embedding = np.concatenate([first, ramp(3, 3).reshape(1, 9, 2)], axis=1)
    resized = initialisation.resize_positions(embedding, (3, 3), (4, 5, 2))
    np.testing.assert_array_equal(resized[:, :1], first)
    np.testing.assert_allclose(resized[0, 1:].reshape(4, 5, 2, 2), np.broadcast_to(ramp(5, 2), (4, 5, 2, 2)), atol=1e-6)
    longer = np.concatenate([first, np.repeat(np.arange(3.0), 4)[None, :, None] * [1, 1]], axis=1)
    resized = initialisation.resize_positions(longer, (3, 2, 2), (5, 2, 2))[0, 1:].reshape(5, 2, 2, 2)
    np.testing.assert_allclose(resized[:, 0, 1, 0], [0, 0.5, 1, 1.5, 2], atol=1e-6)


@pytest.mark.parametrize('style', [
    dict(), dict(prefix='params/', attention='MultiHeadDotProductAttention', mlp='MlpBlock'),
    dict(prefix='opt/target/', attention='MultiHeadDotProductAttention_0', mlp='MlpBlock_0', norm='LayerNorm_1')])
@pytest.mark.parametrize('modality_layers', [0, 1])
def test_every_array_of_a_vit_goes_to_its_variable(tmp_path, caplog, style, modality_layers):
    arrays = vit_arrays(**style)
    model = make_model(modality_layers=modality_layers)
    heads = {name: head.output_layer.kernel.numpy() for name, head in model.heads.items()}
    with caplog.at_level('INFO', 'polyvit'):
        names = initialisation.initialise(model, write_vit(tmp_path, arrays))
    plain = {name.removeprefix(style.get('prefix', '')): value for name, value in arrays.items()}
    for name in ('image', 'audio', 'video'):
        for number, block in enumerate(model.encoder.path(name)):
            theirs = {n.split('/', 2)[2]: v for n, v in plain.items() if f'encoderblock_{number}/' in n}
            attention = style.get('attention', 'MultiHeadDotProductAttention_1')
            np.testing.assert_array_equal(block.norm_mlp.gamma, theirs[f'{style.get("norm", "LayerNorm_2")}/scale'])
            np.testing.assert_array_equal(block.mlp_in.bias, theirs[f'{style.get("mlp", "MlpBlock_3")}/Dense_0/bias'])
            # The query of head h starts at column h * width / heads.
            ours = block.attention
            np.testing.assert_array_equal(ours.query.kernel[:, 8:], theirs[f'{attention}/query/kernel'][:, 1])
            np.testing.assert_array_equal(ours.out.kernel[8:], theirs[f'{attention}/out/kernel'][1])
    np.testing.assert_array_equal(model.encoder.norm.beta, plain['Transformer/encoder_norm/bias'])
    image = model.tokenizers['image']
    np.testing.assert_array_equal(image.embedding.kernel, plain['embedding/kernel'])
    np.testing.assert_array_equal(image.position_embedding, plain['Transformer/posembed_input/pos_embedding'])
    np.testing.assert_array_equal(model.tokenizers['video'].class_token, plain['cls'])
    for name, kernel in heads.items():
        np.testing.assert_array_equal(model.heads[name].output_layer.kernel, kernel)
    assert sorted(n for n in names['fresh'] if n.endswith('kernel')) == [
        f'heads/{n}/output_layer/kernel' for n in ('shapes', 'tones', 'walks')]
    assert names['resized'] == [f'tokenizers/{n}/position_embedding' for n in ('audio', 'video')]
    assert len(names['taken']) + len(names['resized']) + len(names['fresh']) == len(model.trainable_variables)
    assert f'not used from {tmp_path}/vit.npz: ' in caplog.text and 'pre_logits/kernel' in caplog.text


def test_average_inflation_gives_a_still_clip_the_images_tokens_and_central_frame_the_middle_frames(tmp_path):
    path = write_vit(tmp_path, vit_arrays())
    model = make_model(inputs=[ImageInput(16, 16, (8, 8))])
    frame = np.random.default_rng(0).normal(size=(1, 16, 16, 3)).astype(np.float32)
    others = np.random.default_rng(1).normal(size=(1, 8, 16, 16, 3)).astype(np.float32)
    for inflation in ('average', 'central_frame'):
        initialisation.initialise(model, path, inflation)
        clip = np.repeat(frame[:, None], 8, axis=1)
        if inflation == 'central_frame':
            clip = np.where(np.isin(np.arange(8), [2, 6])[None, :, None, None, None], clip, others)
        image, video = model.tokenizers['image'](frame).numpy(), model.tokenizers['video'](clip).numpy()
        np.testing.assert_allclose(video[0, 1:5], image[0, 1:], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(video[0, 5:], image[0, 1:], rtol=1e-5, atol=1e-5)


def test_one_channel_gives_the_same_tokens_as_three_equal_channels(tmp_path):
    path = write_vit(tmp_path, vit_arrays())
    sound = np.random.default_rng(0).normal(size=(1, 40, 16, 1)).astype(np.float32)
    tokens = []
    for channels in (1, 3):
        model = make_model(inputs=[AudioInput(frames=40, mel_bins=16, patch=(8, 8), channels=channels)])
        initialisation.initialise(model, path)
        tokens.append(model.tokenizers['audio'](np.repeat(sound, channels, axis=-1)).numpy())
    np.testing.assert_allclose(tokens[0], tokens[1], rtol=1e-5, atol=1e-5)


def test_a_tokenizer_that_cannot_start_from_a_vit_starts_at_random(tmp_path, monkeypatch):
    monkeypatch.setitem(modalities.MODALITIES, 'video',
                        dataclasses.replace(modalities.MODALITIES['video'], starts_from_vit=False))
    model = make_model()
    kernel = model.tokenizers['video'].embedding.kernel.numpy()
    names = initialisation.initialise(model, write_vit(tmp_path, vit_arrays()))
    fresh = [name for name in names['fresh'] if not name.startswith('heads/')]
    assert fresh == [f'tokenizers/video/{name}' for name in (
        'class_token', 'embedding/bias', 'embedding/kernel', 'position_embedding')]
    np.testing.assert_array_equal(model.tokenizers['video'].embedding.kernel, kernel)
    assert 'tokenizers/image/embedding/kernel' in names['taken']


def test_a_grid_with_one_axis_is_resized_along_it():
    embedding = np.array([9.0, 0, 1, 2, 3])[None, :, None]  # the class token, then four places
    resized = initialisation.resize_positions(embedding, (4,), (7,))
    np.testing.assert_allclose(resized[0, :, 0], [9, 0, 0.5, 1, 1.5, 2, 2.5, 3])


def test_every_array_that_does_not_fit_is_named(tmp_path):
    arrays = vit_arrays()
    del arrays['Transformer/encoder_norm/bias'], arrays['Transformer/encoderblock_1/MlpBlock_3/Dense_0/kernel']
    arrays['embedding/kernel'] = np.zeros((8, 8, 1, WIDTH), np.float32)
    arrays['cls'] = np.array([[[object()] * WIDTH]], object)
    arrays['embedding/bias'] = np.arange(WIDTH)
    arrays['Transformer/encoderblock_0/LayerNorm_0/scale'] = np.full(WIDTH, np.nan, np.float32)
    model = make_model()
    before = [v.numpy() for v in model.trainable_variables]
    with pytest.raises(PipelineStop) as error:
        initialisation.initialise(model, write_vit(tmp_path, arrays))
    text = str(error.value)
    for part in ('Transformer/encoder_norm/bias is missing (expected [16])',
                 'Transformer/encoderblock_1/MlpBlock_3/Dense_0/kernel is missing (expected [16, 32])',
                 'embedding/kernel has shape [8, 8, 1, 16] (expected [8, 8, 3, 16] for image)',
                 'cls has the type object, not floating-point', 'embedding/bias has the type int64',
                 'LayerNorm_0/scale has numbers that are not finite'):
        assert part in text, text
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize('change, message', [
    (lambda a: vit_arrays(layers=3), 'encoderblock_2 is there, but the model has 2 layers'),
    (lambda a: a | {'Transformer/posembed_input/pos_embedding': np.zeros((1, 12, WIDTH), np.float32)},
     r'shape \[1, 12, 16\], which is not a class token and a square grid'),
    (lambda a: a | {'Transformer/posembed_input/pos_embedding': np.zeros((1, 20_000, WIDTH), np.float32)},
     r'shape \[1, 20000, 16\] \(expected \[1, any, 16\]\)')])
def test_a_vit_of_another_shape_is_rejected(tmp_path, change, message):
    with pytest.raises(PipelineStop, match=message):
        initialisation.initialise(make_model(), write_vit(tmp_path, change(vit_arrays())))


def test_files_that_are_not_a_vit_are_rejected(tmp_path):
    model = make_model()
    (tmp_path / 'text.npz').write_text('not an archive')
    np.save(tmp_path / 'one.npy', np.zeros(3))
    os.rename(tmp_path / 'one.npy', tmp_path / 'one.npz')
    cut = tmp_path / 'cut.npz'
    np.savez(cut, **vit_arrays())
    cut.write_bytes(cut.read_bytes()[:-200])
    for name, message in (('text', 'is not a NumPy .npz'), ('one', 'a single NumPy array'),
                          ('cut', 'is not a NumPy .npz'), ('absent', 'does not exist')):
        with pytest.raises(PipelineStop, match=message):
            initialisation.initialise(model, str(tmp_path / f'{name}.npz'))
    with pytest.raises(PipelineStop, match='neither a SavedModel nor a checkpoint'):
        initialisation.initialise(model, str(tmp_path))


def test_damaged_files_give_a_readable_message(tmp_path):
    model = make_model(TASKS[:1])
    path = write_vit(tmp_path, vit_arrays())
    with open(path, 'rb') as file:
        whole = file.read()
    rng = np.random.default_rng(0)
    rejected = 0
    for _ in range(60):
        damaged = bytearray(whole[:rng.integers(len(whole) // 2, len(whole))] if rng.random() < 0.2 else whole)
        for place in rng.integers(0, len(damaged), 3 + rng.integers(200)):
            damaged[place] = rng.integers(256)
        with open(path, 'wb') as file:
            file.write(damaged)
        try:
            initialisation.initialise(model, path)
        except PipelineStop as error:
            rejected += str(error).endswith('.')
    assert rejected > 50


def save_model(directory, model) -> str:
    """Writes a model_run as CoTrainer does, with its card."""
    optimizer = training.make_optimizer(TrainingConfig())
    optimizer.build(list(model.trainable_variables))
    Checkpoints(os.path.join(directory, 'checkpoints'), model, optimizer).save(1)
    served = export.ServedModel(model, Mixture(tuple(model.tasks.values())), VOCABULARIES, {'tones': (0.0, 1.0)})
    (directory / model_directory.CARD_FILE).write_text(json.dumps(export.model_card_entries(served)))
    return os.fspath(directory)


def test_a_task_is_added_another_removed_and_an_input_changed(tmp_path):
    old = scramble(make_model())
    path = save_model(tmp_path, old)
    tasks = (TASKS[0], TASKS[2], testing.task('more', 'image'))
    new = make_model(tasks, VOCABULARIES | {'more': list('abcd')}, inputs=[ImageInput(40, 32, (8, 8))])
    fresh = new.heads['more'].output_layer.kernel.numpy()
    names = initialisation.initialise(new, path)
    assert names['resized'] == ['tokenizers/image/position_embedding']
    assert names['fresh'] == ['heads/more/output_layer/bias', 'heads/more/output_layer/kernel']
    np.testing.assert_array_equal(new.heads['more'].output_layer.kernel, fresh)
    for name in ('walks', 'shapes'):
        np.testing.assert_array_equal(new.heads[name].output_layer.kernel, old.heads[name].output_layer.kernel)
    np.testing.assert_array_equal(new.encoder.blocks[1].mlp_in.kernel, old.encoder.blocks[1].mlp_in.kernel)
    np.testing.assert_allclose(
        new.tokenizers['image'].position_embedding,
        initialisation.resize_positions(old.tokenizers['image'].position_embedding.numpy(), (3, 3), (5, 4)), atol=1e-6)
    clip = np.random.default_rng(0).normal(size=(1, *CONFIG.input('video').shape)).astype(np.float32)
    np.testing.assert_array_equal(new.logits('walks', clip), old.logits('walks', clip))
    os.remove(tmp_path / model_directory.CARD_FILE)
    with pytest.raises(PipelineStop, match='has 10 positions, the model 21, and there is no model_card.json'):
        initialisation.initialise(new, path)


def test_the_classes_of_a_head_are_matched_by_label(tmp_path):
    old = scramble(make_model(TASKS[1:2]))
    path = save_model(tmp_path, old)
    vocabularies = {'tones': ['high', 'new', 'low', 'none']}
    new = make_model(TASKS[1:2], vocabularies)
    fresh = new.heads['tones'].output_layer.kernel.numpy()
    initialisation.initialise(new, path, vocabularies=vocabularies)
    kernel, stored = new.heads['tones'].output_layer.kernel.numpy(), old.heads['tones'].output_layer.kernel.numpy()
    np.testing.assert_array_equal(kernel, np.stack([stored[:, 1], fresh[:, 1], stored[:, 0], stored[:, 2]], axis=1))


def test_modality_layers_start_from_shared_layers_but_not_the_reverse(tmp_path):
    old = scramble(make_model())
    path = save_model(tmp_path, old)
    new = make_model(modality_layers=1)
    initialisation.initialise(new, path)
    for name, task in (('image', 'shapes'), ('audio', 'tones')):
        inputs = np.random.default_rng(0).normal(size=(1, *CONFIG.input(name).shape)).astype(np.float32)
        np.testing.assert_array_equal(new.logits(task, inputs), old.logits(task, inputs))
    (tmp_path / 'apart').mkdir()
    apart = save_model(tmp_path / 'apart', new)
    with pytest.raises(PipelineStop, match='encoder/blocks/0/.* is missing'):
        initialisation.initialise(make_model(), apart)
    with pytest.raises(PipelineStop, match=r'encoder/norm/gamma has shape \[16\] \(expected \[32\]\)'):
        initialisation.initialise(make_model(width=32), path)


def test_a_model_starts_from_a_pushed_version(tmp_path):
    old = scramble(make_model(TASKS[:1]))
    served = export.ServedModel(old, Mixture(TASKS[:1]), VOCABULARIES, {})
    card = json.dumps(export.model_card_entries(served))
    embedding = served.signatures(card)['image_embedding']
    tf.saved_model.save(served, str(tmp_path), signatures={'image_embedding': embedding})
    new = make_model(TASKS[:1])
    names = initialisation.initialise(new, str(tmp_path))
    assert not names['fresh'] and not names['resized']
    inputs = np.random.default_rng(0).normal(size=(1, *CONFIG.input('image').shape)).astype(np.float32)
    np.testing.assert_array_equal(new.logits('shapes', inputs), old.logits('shapes', inputs))


def test_co_training_starts_from_the_checkpoint_that_its_config_names(tmp_path, monkeypatch):
    class Reached(Exception):
        pass

    def train(*args, **kwargs):
        raise Reached(next(a for a in args if isinstance(a, polyvit.PolyViT)))

    monkeypatch.setattr(executor.loop, 'train', train)
    monkeypatch.setattr(executor.input_pipeline, 'first_example', lambda *_: {})
    arrays = vit_arrays()
    config = TrainingConfig(initial_checkpoint=write_vit(tmp_path, arrays), inflation='average')
    with pytest.raises(Reached) as reached:
        executor.co_train(
            mixture=Mixture(TASKS[2:]), model_config=CONFIG, config=config, train_files={'walks': []}, eval_files={},
            vocabularies=VOCABULARIES, checkpoint_dir=str(tmp_path / 'c'), model_run_dir=str(tmp_path / 'r'),
            export_dir=str(tmp_path / 'e'), card={})
    kernel = reached.value.args[0].tokenizers['video'].embedding.kernel.numpy()
    np.testing.assert_allclose(kernel, np.repeat(arrays['embedding/kernel'][None] / 4, 4, axis=0), rtol=1e-6)


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_a_model_starts_from_what_is_in_an_object_store(tmp_path, store, request):
    url, model = request.getfixturevalue(store), scramble(make_model())
    file_io.copy_folder(save_model(tmp_path, model), f'{url}/model')
    new = make_model()
    initialisation.initialise(new, f'{url}/model')
    for name, variable in initialisation.named_variables(new).items():
        np.testing.assert_array_equal(variable, initialisation.named_variables(model)[name])
    with pytest.raises(PipelineStop, match=f'initial_checkpoint is {url}/nothing, which does not exist'):
        initialisation.initialise(new, f'{url}/nothing')
    file_io.write(f'{url}/vit.npz', 'no archive')
    with pytest.raises(PipelineStop, match=f'^{url}/vit.npz is not a NumPy .npz file'):
        initialisation.initialise(new, f'{url}/vit.npz')
