"""TensorFlow Lite: the same scores as the served model, for the modalities that can be converted."""

import io
import json

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from model_code import export
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import AudioInput, ImageInput, VideoInput
from model_code.polyvit import PolyViT
from model_code.settings import ModelConfig
from model_code.tasks import Mixture
from serving import lite
from tests import testing


def _png(generator, size) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (*size, 3), np.uint8)).save(stream, 'PNG')
    return stream.getvalue()


def _wav(generator) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, generator.uniform(-0.5, 0.5, 16_000).astype(np.float32), 16_000, 'PCM_16', format='WAV')
    return stream.getvalue()


@pytest.fixture(scope='module')
def version(tmp_path_factory):
    """A pushed version with tasks on images, sounds and videos, of random weights."""
    generator = np.random.default_rng(0)
    mixture = Mixture((testing.task('pets', 'image'), testing.task('scenes', 'image'), testing.task('calls', 'audio'),
                       testing.task('moves', 'video')))
    config = ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=(
        ImageInput(16, 16, (8, 8)), AudioInput(frames=32, mel_bins=16, views=2), VideoInput(2, 16, 16, (2, 8, 8))))
    labels = {'pets': ['cat', 'dog', 'rat'], 'scenes': ['in', 'out'], 'calls': ['owl', 'wren'], 'moves': ['up', 'down']}
    tf.random.set_seed(0)
    model = PolyViT(mixture, {name: len(words) for name, words in labels.items()}, config)
    folder = tmp_path_factory.mktemp('serving') / '1'
    samples = {'pets': [_png(generator, (20, 24))], 'scenes': [_png(generator, (9, 9))], 'calls': [_wav(generator)],
               'moves': [testing.image_bytes('JPEG')] * 2}
    export.save(export.ServedModel(model, mixture, labels, {'calls': (-5.0, 2.0)}), str(folder), {}, samples)
    return folder


@pytest.mark.slow
def test_the_scores_are_the_served_ones(version, tmp_path):
    made = lite.convert(str(version), str(tmp_path / 'model.tflite'))
    assert made.tasks == ('pets', 'scenes', 'calls') and made.difference < 1e-5
    assert list(made.left_out) == ['moves'] and 'Transpose' in made.left_out['moves']
    described = json.loads((tmp_path / 'model.json').read_text())
    assert described['pets'] == {'modality': 'image', 'labels': ['cat', 'dog', 'rat'], 'views': 1,
                                 'input_shape': [None, 16, 16, 3]}
    assert described['calls']['views'] == 2
    # With other inputs than those that it was checked with, and another number of them.
    inputs = np.random.default_rng(1).uniform(-1, 1, (3, 16, 16, 3)).astype(np.float32)
    interpreter = tf.lite.Interpreter(model_path=made.path)
    scores = interpreter.get_signature_runner('pets')(inputs=inputs)['scores']
    model = tf.saved_model.load(str(version))
    served = model.scores_of['pets'](inputs).numpy()
    np.testing.assert_allclose(scores, served, atol=1e-5)
    assert scores.shape == (3, 3) and np.ptp(scores) > 0


@pytest.mark.slow
def test_other_scores_are_not_written(version, tmp_path, monkeypatch):
    monkeypatch.setattr(lite, '_convert_what_can_be', lambda *_: (b'', {}))
    monkeypatch.setattr(lite, '_difference', lambda *_: float('nan'))
    with pytest.raises(PipelineStop, match='differ from the served ones by nan'):
        lite.convert(str(version), str(tmp_path / 'model.tflite'))
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / 'model.json').write_text('mine')
    with pytest.raises(ConfigError, match='model.json exists already'):
        lite.convert(str(tmp_path), str(tmp_path / 'model.tflite'))
    assert (tmp_path / 'model.json').read_text() == 'mine'


@pytest.mark.parametrize('folder, name, sentence', [
    ('none', 'model.tflite', 'There is no model in'),
    ('none', 'model.bin', 'must end in .tflite'),
])
def test_wrong_arguments(tmp_path, folder, name, sentence):
    with pytest.raises(ConfigError, match=sentence):
        lite.convert(str(tmp_path / folder), str(tmp_path / name))
