"""Decoding and augmentations against numpy, tensorflow-io and closed forms."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from media import readers
from model_code.modalities import MODALITIES, AudioInput
from model_code.preprocessing import audio, draws, image, mixup, text, video
from model_code.sent_media import image as sent_images
from tests import testing

SPECS = {'image': testing.IMAGE_SPEC, 'audio': testing.AUDIO_SPEC, 'video': testing.VIDEO_SPEC}


def _transparent_images():
    rng = np.random.default_rng(0)
    rgba = Image.fromarray(rng.integers(0, 256, (24, 20, 4), np.uint8))
    palette = Image.new('P', (20, 24), 0)
    palette.putpalette([10, 20, 30, 9, 9, 9, 200, 0, 0])
    palette.paste(1, (0, 0, 9, 9))

    def saved(image, kind='PNG', **options):
        out = io.BytesIO()
        image.save(out, kind, **options)
        return out.getvalue()

    def chunk(kind, body):
        return struct.pack('>I', len(body)) + kind + body + struct.pack('>I', zlib.crc32(kind + body))

    def png(depth, colour, row, key=b''):
        header = chunk(b'IHDR', struct.pack('>IIBBBBB', 2, 1, depth, colour, 0, 0, 0))
        return (b'\x89PNG\r\n\x1a\n' + header + (chunk(b'tRNS', key) if key else b'')
                + chunk(b'IDAT', zlib.compress(b'\0' + row)) + chunk(b'IEND', b''))
    return {
        'rgba': saved(rgba), 'grey-alpha': saved(rgba.convert('LA')), 'palette-alpha': saved(rgba.quantize(20)),
        'palette-key': saved(palette, transparency=0), 'opaque-alpha': saved(rgba.convert('RGB').convert('RGBA')),
        'rgba-16': png(16, 6, b'\x12\x34' * 3 + b'\x80\0' + b'\xff\x34' * 3 + b'\xff\xff'),
        'grey-key-16': png(16, 0, b'\x12\x34\x12\x35', b'\x12\x34'), 'grey-key-1': png(1, 0, b'\x80', b'\0\1'),
        'rgb-key': png(8, 2, b'\1\1\1\2\2\2', b'\0\1' * 3),
        'gif': saved(palette, 'GIF', transparency=0), 'gif-opaque': saved(palette, 'GIF'),
        'gif-comment': saved(palette, 'GIF', transparency=0, comment=b'hello' * 50),
        'gif-frames': saved(rgba, 'GIF', save_all=True, append_images=[rgba.rotate(90)]),
        'jpeg': testing.image_bytes('JPEG'), 'png': testing.image_bytes(), 'png-grey': testing.image_bytes(mode='L'),
    }


def test_a_model_sees_transparent_images_as_training_does():
    """What a client sends to a server, and what ingest stores of the same file, become the same pixels."""
    sent, limits = _transparent_images(), MODALITIES['image'].limits

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)], autograph=False)
    def as_stored(encoded):
        problems, plan = sent_images.check(encoded, testing.IMAGE_SPEC, limits)
        return problems, sent_images.as_stored(encoded, plan, testing.IMAGE_SPEC, {})
    for names in (list(sent), *([name] for name in sent)):
        problems, made = as_stored([sent[name] for name in names])
        assert not any(problems.numpy())
        for name, encoded in zip(names, made.numpy(), strict=True):
            stored = readers.read('image', sent[name], testing.IMAGE_SPEC)['image']
            np.testing.assert_array_equal(image._pixels(encoded), image._pixels(stored), err_msg=name)
            if name in ('jpeg', 'png', 'png-grey', 'gif-opaque'):
                assert encoded == sent[name]
    odd = [b'', b'x', b'GIF89a', b'GIF89a\4\0\4\0\x81', sent['gif'][:50], b'\x89PNG\r\n\x1a\n', sent['gif'][:20]]
    problems, _ = sent_images.check(tf.constant(odd), testing.IMAGE_SPEC, limits)
    assert [name for name, problem in zip(odd, problems.numpy(), strict=True) if not problem] == [sent['gif'][:50]]


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

    # The same in numpy: Hann window, magnitudes, triangles on the HTK mel scale, decibels.
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitude = np.abs(np.fft.rfft(wave[5 * 160:5 * 160 + 400] * window, 512))

    def to_mel(hz):
        return 1127.0 * np.log1p(hz / 700.0)

    edges = np.linspace(to_mel(0.0), to_mel(8000.0), spec.mel_bins + 2)
    bins = to_mel(np.arange(257) * rate / 512)
    weights = np.stack([np.maximum(0, np.minimum((bins - a) / (b - a), (c - bins) / (c - b)))
                        for a, b, c in zip(edges, edges[1:], edges[2:], strict=False)], axis=1)
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


def test_a_text_is_its_bytes_and_zeros_after_its_end():
    spec = testing.TEXT_SPEC
    words = 'Grüße!'.encode()
    inputs = text.decode(tf.constant(words), spec).numpy()
    assert inputs.shape == spec.shape == (32, 256)
    assert inputs.argmax(1).tolist() == [*words, *[0] * (32 - len(words))]
    assert set(np.unique(inputs)) == {0, 16} and (inputs == 16).sum() == 32  # so the mean square is 1
    np.testing.assert_array_equal(text.decode(tf.constant(words * 9), spec).numpy().argmax(1), [*(words * 9)[:32]])


def augmented(modality, names, seed):
    """An example, decoded and augmented."""
    spec, row = SPECS[modality], MODALITIES[modality]
    encoded = {'image': testing.image_bytes('JPEG', size=(40, 30)), 'audio': testing.wav_bytes(0.4),
               'video': [testing.image_bytes('JPEG', size=(40, 30), seed=i) for i in range(9)]}[modality]
    example = row.preprocessing.decode(tf.constant(encoded), spec, names, seed)
    return row.preprocessing.augment(example, spec, names, seed)


@pytest.mark.parametrize('modality, name', [(m.name, a) for m in MODALITIES.values() for a in m.augmentations])
def test_augmentations_are_functions_of_their_seed_eagerly_and_in_tf_data(modality, name):
    seeds = [tf.constant([1, i], tf.int32) for i in range(8)]
    eager = [augmented(modality, (name,), seed).numpy() for seed in seeds]
    dataset = tf.data.Dataset.from_tensor_slices(tf.stack(seeds)).map(lambda seed: augmented(modality, (name,), seed))
    plain = augmented(modality, (), seeds[0]).numpy()
    assert plain.shape == SPECS[modality].shape
    for a, b in zip(eager, dataset.as_numpy_iterator(), strict=True):
        # A spectrogram of the graph differs from the eager one by about 5e-5 of its decibels.
        np.testing.assert_allclose(a, b, atol=2e-4 if modality == 'audio' else 1e-6)
    assert any((a != plain).any() for a in eager)
    assert any((a != eager[0]).any() for a in eager)


def test_spec_augment_equals_tensorflow_ios_masks_for_equal_draws(monkeypatch):
    import tensorflow_io as tfio
    spec = AudioInput(frames=400, mel_bins=64)  # masks of less than 24 frames and 24 bins
    plane = tf.random.stateless_uniform([400, 64], [0, 1], 1.0, 2.0)
    for i in range(8):
        seed, drawn = tf.constant([3, i]), []
        integer = draws.integer
        with monkeypatch.context() as patch:
            patch.setattr(draws, 'integer',
                          lambda *args, drawn=drawn, integer=integer: drawn.append(integer(*args)) or drawn[-1])
            ours = audio.spec_augment(plane[..., tf.newaxis], spec, seed)[..., 0].numpy()
        assert len(drawn) == 10
        with monkeypatch.context() as patch:
            patch.setattr(tf.random, 'uniform',
                          lambda shape, minval, maxval, dtype, drawn=drawn: _inside(drawn.pop(0), maxval))
            theirs = tfio.audio.freq_mask(plane, 24)
            for _ in range(4):
                theirs = tfio.audio.time_mask(theirs, 24)
        np.testing.assert_array_equal(ours, theirs.numpy())
    assert 0 < np.count_nonzero(ours == 0) < ours.size


def _inside(draw, limit):
    assert 0 <= draw < limit
    return draw


def test_mixup_mixes_labels_with_the_share_of_the_inputs():
    inputs, targets = tf.eye(4)[:, :, tf.newaxis], tf.eye(4)
    mixed, labels = mixup.mixup(inputs, targets, 0.3, tf.constant([1, 2]))
    np.testing.assert_array_equal(mixed[..., 0].numpy(), labels.numpy())
    np.testing.assert_allclose(tf.reduce_sum(labels, -1).numpy(), 1.0, atol=1e-6)
    shares = [mixup.mixup(inputs, targets, 0.3, tf.constant([1, i]))[1][0, 0].numpy() for i in range(400)]
    np.testing.assert_allclose(np.mean(shares), 0.5, atol=0.07)
    np.testing.assert_allclose(np.var(shares), 1 / (4 * (2 * 0.3 + 1)), atol=0.03)  # of Beta(0.3, 0.3)


def test_scale_jitter_takes_a_window_inside_the_frame():
    for i in range(20):
        top, left, height, width = video.scale_jitter(tf.constant([30, 40, 3]), testing.VIDEO_SPEC,
                                                      tf.constant([0, i])).numpy()
        # The short side, 30 pixels, is scaled to 16 times 0.9 to 1.33, of which 16 are cut out.
        assert 30 / 1.33 - 1 <= height <= 30 and 0 <= top <= 30 - height
        assert 30 / 1.33 - 1 <= width <= 30 / 0.9 + 1 and 0 <= left <= 40 - width


def test_colour_jitter_equals_numpy_arithmetic_for_its_draws():
    drawn = tf.data.Dataset.range(400).map(lambda i: video.colour_jitter(tf.stack([7, tf.cast(i, tf.int32)])))
    matrices, contrasts, brightnesses = (np.stack(x) for x in zip(*drawn.as_numpy_iterator(), strict=True))
    np.testing.assert_allclose(matrices.sum(axis=1), np.repeat(contrasts[:, None], 3, axis=1), atol=1e-5)
    grey = np.ptp(matrices, axis=2).max(axis=1) < 1e-6
    unchanged = (contrasts == 1) & (brightnesses == 0)
    assert 0.05 < grey.mean() < 0.15 and 0.14 < unchanged.mean() < 0.26
    for matrix in matrices[unchanged & ~grey]:
        np.testing.assert_array_equal(matrix, np.eye(3))
    assert 0.6 <= contrasts.min() < 0.7 and 1.3 < contrasts.max() <= 1.4 and np.abs(brightnesses).max() <= 0.25

    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.float32)
    colours = pixels / 127.5 - 1
    for matrix, contrast, brightness in list(zip(matrices, contrasts, brightnesses, strict=True))[:5]:
        expected = np.clip(colours @ matrix + colours.mean() * (1 - contrast) + brightness, -1, 1)
        recoloured = video.recoloured(tf.constant(pixels), matrix, contrast, brightness).numpy()
        np.testing.assert_allclose(recoloured, expected, atol=1e-5)
