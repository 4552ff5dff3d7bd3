"""Starting weights from safetensors: the encoder's output against Hugging Face's ViT in NumPy, and what is rejected.

The forward pass here is written from the papers' formulae (Dosovitskiy et al., ICLR 2021; Vaswani et al., NeurIPS 2017)
in the names and layouts of Hugging Face's files, and shares no code with the model.
"""

import json
import math
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from model_code import initialisation, vit_files
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import AudioInput, ImageInput
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Recipe, Task
from pipeline import checks
from tests.model_code.test_initialisation import HEADS, HIDDEN, SIDE, WIDTH, make_model, vit_arrays, write_vit

IMAGE = [ImageInput(24, 24, (8, 8))]


def tensors(prefix='', layers=2, scale=1.0, dtype=np.float32) -> dict[str, np.ndarray]:
    """Random tensors of a small ViT under Hugging Face's names, with a classifier and a pooler."""
    rng = np.random.default_rng(7)
    shapes = {'embeddings.cls_token': (1, 1, WIDTH), 'embeddings.position_embeddings': (1, 1 + SIDE * SIDE, WIDTH),
              'embeddings.patch_embeddings.projection.weight': (WIDTH, 3, 8, 8),
              'embeddings.patch_embeddings.projection.bias': (WIDTH,),
              'layernorm.weight': (WIDTH,), 'layernorm.bias': (WIDTH,), 'pooler.dense.weight': (WIDTH, WIDTH)}
    for n in range(layers):
        for name, (out, into) in {
                'attention.attention.query': (WIDTH, WIDTH), 'attention.attention.key': (WIDTH, WIDTH),
                'attention.attention.value': (WIDTH, WIDTH), 'attention.output.dense': (WIDTH, WIDTH),
                'intermediate.dense': (HIDDEN, WIDTH), 'output.dense': (WIDTH, HIDDEN)}.items():
            shapes |= {f'encoder.layer.{n}.{name}.weight': (out, into), f'encoder.layer.{n}.{name}.bias': (out,)}
        for name in ('layernorm_before', 'layernorm_after'):
            shapes |= {f'encoder.layer.{n}.{name}.{part}': (WIDTH,) for part in ('weight', 'bias')}
    made = {prefix + name: (scale * rng.normal(size=shape) / math.sqrt(math.prod(shape[1:]) or 1)).astype(dtype)
            for name, shape in shapes.items()}
    return made | {'classifier.weight': np.zeros((10, WIDTH), dtype)}


def forward(t: dict[str, np.ndarray], pixels: np.ndarray, erf: bool, epsilon: float = 1e-12) -> np.ndarray:
    """Pixels [n, 3, height, width] -> the tokens after the last norm, [n, 1 + patches, width], in float64."""
    t = {name: value.astype(np.float64) for name, value in t.items()}

    def dense(x, name):
        return x @ t[f'{name}.weight'].T + t[f'{name}.bias']

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return (centred / np.sqrt((centred ** 2).mean(-1, keepdims=True) + epsilon) * t[f'{name}.weight']
                + t[f'{name}.bias'])

    def gelu(x):
        if erf:
            return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))
        return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x ** 3)))

    kernel = t['embeddings.patch_embeddings.projection.weight']
    size = kernel.shape[-1]
    n, _, height, width = pixels.shape
    patches = [[np.tensordot(pixels[:, :, r:r + size, c:c + size], kernel, ([1, 2, 3], [1, 2, 3]))
                for c in range(0, width, size)] for r in range(0, height, size)]
    x = np.array(patches).transpose(2, 0, 1, 3).reshape(n, -1, WIDTH)
    x = x + t['embeddings.patch_embeddings.projection.bias']
    x = np.concatenate([np.repeat(t['embeddings.cls_token'], n, 0), x], 1) + t['embeddings.position_embeddings']
    layers = sum(name.endswith('layernorm_before.bias') for name in t)
    for layer in range(layers):
        block = f'encoder.layer.{layer}'
        y = norm(x, f'{block}.layernorm_before')
        heads = []
        q, k, v = (dense(y, f'{block}.attention.attention.{part}') for part in ('query', 'key', 'value'))
        for part in np.split(np.arange(WIDTH), HEADS):
            scores = q[..., part] @ k[..., part].transpose(0, 2, 1) / math.sqrt(len(part))
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ v[..., part])
        x = x + dense(np.concatenate(heads, -1), f'{block}.attention.output.dense')
        y = dense(norm(x, f'{block}.layernorm_after'), f'{block}.intermediate.dense')
        x = x + dense(gelu(y), f'{block}.output.dense')
    return norm(x, 'layernorm')


def write(path, arrays, **changes) -> str:
    save_file({**arrays, **changes}, path)
    return str(path)


PIXELS = np.random.default_rng(1).uniform(-1, 1, size=(3, 3, 24, 24))


def encoded(model, pixels=PIXELS) -> np.ndarray:
    return model.encode('image', pixels.transpose(0, 2, 3, 1).astype(np.float32)).numpy()


def without(prefix, arrays):
    return {name.removeprefix(prefix): value for name, value in arrays.items()}


@pytest.mark.parametrize('prefix, dtype, modality_layers', [
    ('', np.float32, 0), ('vit.', np.float32, 1), ('', np.float16, 0), ('vit.', ml_dtypes.bfloat16, 0)])
def test_the_encoder_gives_what_hugging_faces_vit_gives(tmp_path, caplog, prefix, dtype, modality_layers):
    arrays = tensors(prefix, dtype=dtype)
    model = make_model(inputs=IMAGE, modality_layers=modality_layers)
    with caplog.at_level('INFO', 'polyvit'):
        names = initialisation.initialise(model, write(tmp_path / 'model.safetensors', arrays))
    theirs = without(prefix, arrays)
    np.testing.assert_allclose(encoded(model), forward(theirs, PIXELS, erf=False), atol=1e-4)
    # Theirs has the exact GELU, ours its tanh approximation, with which the ViTs that they converted were trained.
    difference = np.abs(encoded(model) - forward(theirs, PIXELS, erf=True)).max()
    assert 1e-6 < difference < 1e-3
    assert 'classifier.weight' in caplog.text and f'{prefix}pooler.dense.weight' in caplog.text
    assert len(names['taken']) + len(names['resized']) + len(names['fresh']) == len(model.trainable_variables)
    assert {name.split('/')[0] for name in names['fresh']} == {'heads'}


def test_safetensors_and_npz_of_the_same_weights_give_the_same_model(tmp_path):
    """Through every tokenizer, with inflation and with resized positions."""
    arrays, theirs = vit_arrays(), {}
    for name, value in arrays.items():
        block = name.split('/')[1].removeprefix('encoderblock_') if 'encoderblock' in name else ''
        if name.endswith('kernel') and value.ndim == 4:
            value = value.transpose(3, 2, 0, 1)
        elif 'Attention' in name:
            value = value.reshape((-1, WIDTH) if name.endswith('out/kernel') else (WIDTH, -1) if name.endswith('kernel')
                                  else -1)
            value = value.T
        elif name.endswith('kernel'):
            value = value.T
        for old, new in {
                f'Transformer/encoderblock_{block}/': f'encoder.layer.{block}.',
                'MultiHeadDotProductAttention_1/out': 'attention.output.dense', 'LayerNorm_0': 'layernorm_before',
                'MultiHeadDotProductAttention_1': 'attention.attention', 'LayerNorm_2': 'layernorm_after',
                'MlpBlock_3/Dense_0': 'intermediate.dense', 'MlpBlock_3/Dense_1': 'output.dense',
                'Transformer/encoder_norm': 'layernorm', 'cls': 'embeddings.cls_token',
                'Transformer/posembed_input/pos_embedding': 'embeddings.position_embeddings',
                'embedding/': 'embeddings.patch_embeddings.projection.', '/': '.', 'kernel': 'weight',
                'scale': 'weight'}.items():
            name = name.replace(old, new)
        theirs[name] = np.ascontiguousarray(value)
    for inflation in ('central_frame', 'average'):
        ours, same = make_model(), make_model()
        one = initialisation.initialise(ours, write_vit(tmp_path, arrays), inflation)
        two = initialisation.initialise(same, write(tmp_path / 'vit.safetensors', theirs), inflation)
        assert one == two and len(one['resized']) == 2
        for name, variable in initialisation.named_variables(ours).items():
            if not name.startswith('heads/'):
                np.testing.assert_array_equal(initialisation.named_variables(same)[name], variable, err_msg=name)


def test_a_folder_with_one_file_and_a_model_in_several_files_are_read(tmp_path):
    arrays, names = tensors(), sorted(tensors())
    whole, parts = tmp_path / 'whole', tmp_path / 'parts'
    whole.mkdir()
    parts.mkdir()
    write(whole / 'model.safetensors', arrays)
    weight_map = {}
    for place in range(2):
        file = f'model-{place + 1:05}-of-00002.safetensors'
        write(parts / file, {name: arrays[name] for name in names[place::2]})
        weight_map |= dict.fromkeys(names[place::2], file)
    index = parts / vit_files.INDEX
    index.write_text(json.dumps({'metadata': {}, 'weight_map': weight_map}))
    model = make_model(inputs=IMAGE)
    expected = forward(arrays, PIXELS, erf=False)
    for path in (whole, parts, index):
        for variable in model.encoder.trainable_variables:
            variable.assign(variable * 0)
        initialisation.initialise(model, str(path))
        np.testing.assert_allclose(encoded(model), expected, atol=1e-4)

    for text, message in (
            ('{}', 'is not an index'), ('[1]', 'is not an index'), ('[' * 100_000, 'is not an index'),
            (json.dumps({'weight_map': {'a': '../model.safetensors'}}), 'which is no safetensors file beside it'),
            (json.dumps({'weight_map': {'a': 'weights.bin'}}), 'which is no safetensors file beside it'),
            (json.dumps({'weight_map': {'a': 'gone.safetensors'}}), 'names gone.safetensors, which is missing')):
        index.write_text(text)
        with pytest.raises(PipelineStop, match=message):
            initialisation.initialise(model, str(parts))


def test_every_tensor_that_does_not_fit_is_named_in_its_own_layout(tmp_path):
    arrays = tensors('vit.')
    del arrays['vit.layernorm.bias'], arrays['vit.encoder.layer.1.intermediate.dense.weight']
    path = write(tmp_path / 'model.safetensors', arrays, **{
        'vit.embeddings.patch_embeddings.projection.weight': np.zeros((WIDTH, 1, 8, 8), np.float32),
        'vit.encoder.layer.0.attention.attention.query.weight': np.zeros((WIDTH, WIDTH), np.int64),
        'vit.encoder.layer.0.attention.attention.key.bias': np.zeros((HEADS, WIDTH // HEADS), np.float32),
        'vit.encoder.layer.0.layernorm_before.weight': np.full(WIDTH, np.inf, np.float32)})
    model = make_model()
    before = [v.numpy() for v in model.trainable_variables]
    with pytest.raises(PipelineStop) as error:
        initialisation.initialise(model, path)
    text = str(error.value)
    for part in (f'{path} does not fit the model: ', 'vit.layernorm.bias is missing (expected [16])',
                 'vit.encoder.layer.1.intermediate.dense.weight is missing (expected [32, 16])',
                 'projection.weight has shape [16, 1, 8, 8] (expected [16, 3, 8, 8] for image)',
                 'query.weight has the type I64, not floating-point', 'key.bias has shape [2, 8] (expected [16])',
                 'layernorm_before.weight has numbers that are not finite'):
        assert part in text, text
    for variable, value in zip(model.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)


@pytest.mark.parametrize('arrays, message', [
    (tensors(layers=3), 'encoder.layer.2 is there, but the model has 2 layers'),
    (tensors() | {'encoder.layer.0.lambda_1': np.ones(WIDTH, np.float32)},
     "is no plain ViT: its embeddings or encoder have 1 array that a ViT does not have, such as "
     "'encoder.layer.0.lambda_1'"),
    ({'text_model.embeddings.token': np.ones(2, np.float32)},
     "it has no embeddings.cls_token, .* It has, for example, 'text_model.embeddings.token'.")])
def test_another_architecture_is_rejected(tmp_path, arrays, message):
    with pytest.raises(PipelineStop, match=message):
        initialisation.initialise(make_model(), write(tmp_path / 'model.safetensors', arrays))


def test_a_mask_token_is_no_other_architecture(tmp_path):
    arrays = tensors() | {'embeddings.mask_token': np.zeros((1, 1, WIDTH), np.float32)}
    model = make_model(inputs=IMAGE)
    initialisation.initialise(model, write(tmp_path / 'model.safetensors', arrays))
    np.testing.assert_allclose(encoded(model), forward(arrays, PIXELS, erf=False), atol=1e-4)


def header(length=None, **entries) -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack('<Q', len(text) if length is None else length) + text


def entry(shape, begin, end, dtype='F32') -> dict:
    return {'dtype': dtype, 'shape': shape, 'data_offsets': [begin, end]}


@pytest.mark.parametrize('content', [
    b'', b'\0' * 7, header(length=2 ** 62), header(length=10 ** 9), struct.pack('<Q', 5) + b'{"a":',
    header(a=entry([4], 0, 16)), header(a=entry([4], 0, 8)) + bytes(8), header(a=entry([2], 8, 16)) + bytes(8),
    header(a=entry([2], 0, 2 ** 63)) + bytes(8), header(a=entry([2 ** 40, 2 ** 40], 0, 8)) + bytes(8),
    header(a=entry([-2], 0, 8)) + bytes(8), header(a=entry([2], 0, 8, 'object')) + bytes(8),
    header(a=entry([2], 0, 8), b=entry([2], 4, 12)) + bytes(12), header(a=entry([2], 0, 8)) + bytes(9),
    b'\x80\x04]\x94.' * 9])
def test_hostile_and_damaged_files_are_rejected_in_a_sentence(tmp_path, content):
    path = tmp_path / 'model.safetensors'
    path.write_bytes(content)
    with pytest.raises(PipelineStop, match=r'is not a whole safetensors file \(.*\)\.$'):
        initialisation.initialise(make_model(), str(path))


class Config:
    def __init__(self, path, inputs=IMAGE, **model):
        self.training = TrainingConfig(initial_checkpoint=str(path))
        self.model = ModelConfig(**{'layers': 2, 'width': WIDTH, 'heads': HEADS, 'mlp_width': HIDDEN, 'inputs': inputs,
                                    **model})
        self.mixture = Mixture(tuple(Task(spec.modality, spec.modality, recipe=Recipe(steps=1, batch_size=1))
                                     for spec in inputs))


@pytest.mark.parametrize('prefix', ['', 'vit.'])
def test_what_does_not_fit_is_found_before_a_run(tmp_path, prefix):
    arrays = tensors(prefix)
    path = write(tmp_path / 'model.safetensors', arrays)
    checks.check_initial_checkpoint(Config(path))
    checks.check_initial_checkpoint(Config(tmp_path))
    checks.check_initial_checkpoint(Config(write_vit(tmp_path, vit_arrays())))
    for model, message in (({'layers': 1}, 'layer.1 is there, but the model has 1 layers'),
                           ({'layers': 3}, 'encoder.layer.2.layernorm_before.weight is missing'),
                           ({'width': 2 * WIDTH}, r'cls_token has shape \[1, 1, 16\] \(expected \[1, 1, 32\]\)'),
                           ({'inputs': (ImageInput(16, 16, (4, 4)),)}, r'expected \[16, 3, 4, 4\] for image\)'),
                           ({'inputs': (*IMAGE, AudioInput(frames=32, mel_bins=32, patch=(8, 4)))},
                            r'has shape \[16, 3, 8, 8\] \(expected \[16, 3, 8, 4\] for audio\)')):
        with pytest.raises(ConfigError, match=f'^initial_checkpoint: .* does not fit the model: .*{message}'):
            checks.check_initial_checkpoint(Config(path, **model))
    for changes, message in (
            ({f'{prefix}layernorm.bias': None}, 'layernorm.bias is missing'),
            ({f'{prefix}layernorm.bias': np.zeros(WIDTH, np.int64)}, 'type I64'),
            ({f'{prefix}embeddings.patch_embeddings.projection.weight': np.zeros((WIDTH, 1, 8, 8), np.float32)},
             r'\[16, 1, 8, 8\] \(expected \[16, 3, 8, 8\] for image\)'),
            ({f'{prefix}embeddings.position_embeddings': np.zeros((1, 6, WIDTH), np.float32)},
             r'position_embeddings has shape \[1, 6, 16\], which is not a class token and a square grid'),
            ({f'{prefix}encoder.layer.0.lambda_1': np.ones(WIDTH, np.float32)}, 'is no plain ViT')):
        other = {name: value for name, value in {**arrays, **changes}.items() if value is not None}
        with pytest.raises(ConfigError, match=message):
            checks.check_initial_checkpoint(Config(write(tmp_path / 'other.safetensors', other)))
    bad = tmp_path / 'bad.safetensors'
    bad.write_bytes(header(a=entry([4], -16, 0)) + bytes(16))
    with pytest.raises(ConfigError, match=r'^initial_checkpoint: .*bad.safetensors is not a whole safetensors file'):
        checks.check_initial_checkpoint(Config(bad))


def test_the_check_before_a_run_reads_no_array(tmp_path, monkeypatch):
    def read(*_):
        raise AssertionError('an array was read')
    monkeypatch.setattr(vit_files.SafetensorsVit, '_array', read)
    monkeypatch.setattr(vit_files.NpzVit, '_array', read)
    checks.check_initial_checkpoint(Config(write(tmp_path / 'model.safetensors', tensors())))
    checks.check_initial_checkpoint(Config(write_vit(tmp_path, vit_arrays())))


def test_a_folder_of_torch_weights_is_refused_in_the_sentence_about_them(tmp_path):
    (tmp_path / 'pytorch_model.bin').write_bytes(b'PK')
    (tmp_path / 'config.json').write_text('{}')
    message = 'a folder with pytorch_model.bin. Weights of torch, Keras or Flax are not read'
    with pytest.raises(ConfigError, match=message):
        checks.check_initial_checkpoint(Config(tmp_path))
    with pytest.raises(PipelineStop, match=message):
        initialisation.initialise(make_model(), str(tmp_path))
    write(tmp_path / 'model.safetensors', tensors())
    checks.check_initial_checkpoint(Config(tmp_path))


@pytest.mark.parametrize('name', ['pytorch_model.bin', 'vit.PT', 'vit.pth', 'tf_model.h5'])
def test_pickled_weights_are_refused_before_anything_runs(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b'\x80\x04.')
    message = 'Give the model.safetensors of the same model'
    with pytest.raises(PipelineStop, match=message):
        initialisation.initialise(make_model(), str(path))

    with pytest.raises(ConfigError, match=message):
        checks.check_initial_checkpoint(Config(path))
