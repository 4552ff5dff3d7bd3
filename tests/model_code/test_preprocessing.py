import numpy as np
import pytest
import tensorflow as tf

from model_code.modalities import MODALITIES
from model_code.preprocessing import audio, image, video
from tests import testing

SPECS = {'image': testing.IMAGE_SPEC, 'audio': testing.AUDIO_SPEC, 'video': testing.VIDEO_SPEC}


def test_image_decodes_grey_and_colour_to_the_same_range():
    for mode in ('RGB', 'L'):
        pixels = image.decode(tf.constant(testing.image_bytes(mode=mode)), testing.IMAGE_SPEC).numpy()
        assert pixels.shape == testing.IMAGE_SPEC.shape
        assert -1 <= pixels.min() < pixels.max() <= 1
    np.testing.assert_array_equal(pixels[..., 0], pixels[..., 2])


def test_audio_is_padded_and_cropped_to_the_window():
    samples = testing.AUDIO_SPEC.frames * 160
    short = audio.decode_waveform(tf.constant(testing.wav_bytes(0.1)), testing.AUDIO_SPEC).numpy()
    long = audio.decode_waveform(tf.constant(testing.wav_bytes(3.0)), testing.AUDIO_SPEC).numpy()
    assert short.shape == long.shape == (samples,)
    assert not short[1600:].any() and short[:1600].any() and long[-100:].any()


def test_log_mel_puts_a_tone_into_its_mel_bin_against_numpy():
    spec, rate = testing.AUDIO_SPEC, audio.SAMPLE_RATE
    wave = np.sin(2 * np.pi * 2000 * np.arange(spec.frames * 160) / rate).astype(np.float32)
    mel = audio.log_mel(tf.constant(wave), spec).numpy()[5, :, 0]

    # The same by numpy: Hann window, magnitude, HTK mel triangles, decibels, at most 80 below the loudest.
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs(np.fft.rfft(wave[5 * 160:5 * 160 + 400] * window, 512))
    to_mel = lambda hz: 1127.0 * np.log1p(hz / 700.0)
    edges = np.linspace(to_mel(0.0), to_mel(8000.0), spec.mel_bins + 2)
    bins = to_mel(np.arange(257) * rate / 512)
    weights = np.stack([np.maximum(0, np.minimum((bins - a) / (b - a), (c - bins) / (c - b)))
                        for a, b, c in zip(edges, edges[1:], edges[2:])], axis=1)
    weights[0] = 0  # the constant component belongs to no bin
    expected = 10 * np.log10(np.maximum((magnitude @ weights) ** 2, 1e-10))
    loud = expected > expected.max() - 60
    np.testing.assert_allclose(mel[loud], expected[loud], atol=0.05)


def test_video_takes_frames_evenly_and_ignores_padding():
    assert video.frame_indices(tf.constant(8), testing.VIDEO_SPEC).numpy().tolist() == [1, 3, 5, 7]
    assert video.frame_indices(tf.constant(2), testing.VIDEO_SPEC).numpy().tolist() == [0, 0, 1, 1]
    frames = [testing.image_bytes('JPEG', seed=i) for i in range(3)]
    alone = video.decode(tf.constant(frames), testing.VIDEO_SPEC).numpy()
    padded = video.decode(tf.constant(frames + [b'', b'']), testing.VIDEO_SPEC).numpy()
    assert alone.shape == testing.VIDEO_SPEC.shape
    np.testing.assert_array_equal(alone, padded)


@pytest.mark.parametrize('modality, name', [(m.name, a) for m in MODALITIES.values() for a in m.augmentations])
def test_augmentations_keep_the_shape_eagerly_and_in_tf_data_and_do_change_something(modality, name):
    spec = SPECS[modality]
    function = getattr(MODALITIES[modality].preprocessing, name)
    tf.random.set_seed(1)
    example = tf.random.uniform(spec.shape, -1, 1)
    assert function(example, spec).shape == spec.shape
    dataset = tf.data.Dataset.from_tensors(example).repeat(8).map(lambda x: function(x, spec))
    results = [x.numpy() for x in dataset]
    assert all(r.shape == spec.shape for r in results)
    assert any((r != example.numpy()).any() for r in results)
