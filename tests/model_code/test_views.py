"""Views: windows of a longer clip or sound, over which the exported model averages."""

import dataclasses
import io

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from model_code import export, input_pipeline, served_model
from model_code.errors import ConfigError
from model_code.modalities import AudioInput, VideoInput
from model_code.polyvit import PolyViT
from model_code.preprocessing import audio, video
from model_code.settings import ModelConfig
from model_code.tasks import Mixture, Recipe
from tests import testing

VIDEO, AUDIO = dataclasses.replace(testing.VIDEO_SPEC, views=3), dataclasses.replace(testing.AUDIO_SPEC, views=3)
SAMPLES = testing.AUDIO_SPEC.frames * 160
LABELS = {'walks': ['bright', 'dark', 'none'], 'calls': ['owl', 'wren']}


def jpegs(count: int) -> list[bytes]:
    """Frames of which each has its own noise."""
    frames = []
    for number in range(count):
        out = io.BytesIO()
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (16, 20, 3), np.uint8)).save(out, 'JPEG')
        frames.append(out.getvalue())
    return frames


def wav(samples: np.ndarray) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, 16_000, 'PCM_16', format='WAV')
    return out.getvalue()


def noise(samples: int) -> np.ndarray:
    """[samples] int16, ever louder."""
    loud = np.random.default_rng(samples).integers(-9_000, 9_000, samples)
    return (loud * np.linspace(0, 1, samples)).astype(np.int16)


@pytest.mark.parametrize('count, starts', [(20, (0, 8, 16)), (5, (0, 0, 1)), (4, (0, 0, 0))])
def test_the_views_of_a_clip_lie_evenly_from_its_first_frame_to_its_last(count, starts):
    frames = jpegs(count)
    for view, start in enumerate(starts):
        seen = video.decode_view(tf.constant([*frames, b'', b'']), VIDEO, tf.constant(view))
        np.testing.assert_array_equal(seen, video.decode(tf.constant(frames[start:start + VIDEO.frames]), VIDEO))


@pytest.mark.parametrize('count', [1, 2, 3])
def test_each_view_of_a_clip_shorter_than_the_input_is_the_whole_clip(count):
    frames = tf.constant(jpegs(count))
    for view in range(VIDEO.views):
        np.testing.assert_array_equal(video.decode_view(frames, VIDEO, tf.constant(view)), video.decode(frames, VIDEO))


@pytest.mark.parametrize('length, starts', [(SAMPLES + 1001, (0, 500, 1001)), (SAMPLES, (0, 0, 0)), (900, (0, 0, 0)),
                                            (1, (0, 0, 0))])
def test_the_views_of_a_sound_lie_evenly_from_its_beginning_to_its_end(length, starts):
    sound = noise(length)
    for view, start in enumerate(starts):
        np.testing.assert_array_equal(
            audio.decode_view(tf.constant(wav(sound)), AUDIO, tf.constant(view)),
            audio.decode(tf.constant(wav(sound[start:start + SAMPLES])), AUDIO))


def make_model(*inputs) -> served_model.ServedModel:
    """A model whose weights depend on nothing but the seed."""
    mixture = Mixture((testing.task('walks', 'video'), testing.task('calls', 'audio', label_kind='multi')))
    tf.keras.utils.set_random_seed(1)
    model = PolyViT(mixture, {name: len(labels) for name, labels in LABELS.items()},
                    ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=inputs))
    rng = np.random.default_rng(0)
    for variable in model.trainable_variables:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    return served_model.ServedModel(model, mixture, LABELS, {'calls': (-40.0, 20.0)})


@pytest.fixture(scope='module')
def saved(tmp_path_factory):
    """Number of views -> the exported model, loaded."""
    models = {}
    for views in (1, 3):
        folder = str(tmp_path_factory.mktemp('model') / '1')
        served = make_model(*(dataclasses.replace(spec, views=views) for spec in (VIDEO, AUDIO)))
        export.save(served, folder, {}, {'walks': jpegs(3), 'calls': [wav(noise(900))]})
        models[views] = tf.saved_model.load(folder)
    return models


def answers(model, signature: str, media) -> dict[str, np.ndarray]:
    function = model.signatures[signature]
    (argument, _), = function.structured_input_signature[1].items()
    return {name: value.numpy() for name, value in function(**{argument: tf.constant(media)}).items()}


def examples(feature: str, media: list) -> list[bytes]:
    return [tf.train.Example(features=tf.train.Features(feature={
        feature: tf.train.Feature(bytes_list=tf.train.BytesList(
            value=[one] if isinstance(one, bytes) else [frame for frame in one if frame]))})).SerializeToString()
        for one in media]


def clips_and_crops():
    """(encoded clips of 20 and 2 frames, view -> the same cut by hand)."""
    long, short = jpegs(20), jpegs(2)
    crops = [[long[start:start + 4], short + [b''] * 2] for start in (0, 8, 16)]
    return [long, short + [b''] * 18], crops


def sounds_and_crops():
    long, short = noise(SAMPLES + 9_999), wav(noise(900))
    return [wav(long), short], [[wav(long[start:start + SAMPLES]), short] for start in (0, 4_999, 9_999)]


@pytest.mark.parametrize('task, feature, make', [('walks', 'frames', clips_and_crops),
                                                 ('calls', 'audio', sounds_and_crops)])
def test_every_signature_gives_the_mean_over_single_crops(saved, task, feature, make):
    media, crops = make()
    modality = {'walks': 'video', 'calls': 'audio'}[task]
    for signature, output in ((f'{task}_scores', 'scores'), (f'{modality}_embedding', 'embedding')):
        single = np.stack([answers(saved[1], signature, crop)[output] for crop in crops])
        seen = answers(saved[3], signature, media)[output]
        np.testing.assert_allclose(seen, single.mean(0), atol=1e-6)
        assert np.ptp(single[:, 0], axis=0).max() > 1e-3, 'the crops differ'
        np.testing.assert_allclose(seen[1], single[0][1], atol=1e-6)  # of what is too short for several views
    scores = answers(saved[3], f'{task}_scores', media)['scores']
    np.testing.assert_array_equal(answers(saved[3], f'{task}_examples', examples(feature, media))['scores'], scores)
    np.testing.assert_array_equal(answers(saved[3], task, media)['scores'], -np.sort(-scores, axis=1))


def test_one_view_is_what_the_evaluation_in_training_sees(saved):
    served = make_model(testing.VIDEO_SPEC, testing.AUDIO_SPEC)
    for task, feature, media in (('walks', 'frames', jpegs(20)), ('calls', 'audio', wav(noise(9_000)))):
        chosen = served.mixture_tasks[task]
        statistics = {'log_mel_mean': -40.0, 'log_mel_stddev': 20.0}
        inputs = input_pipeline.model_input(chosen.modality, (), served.model.config.input(chosen.modality),
                                            {feature: tf.constant(media), **statistics})
        by_hand = served.scores_of[task](inputs[tf.newaxis])
        # The exported encoder is optimised, which may round otherwise.
        np.testing.assert_allclose(answers(saved[1], f'{task}_scores', [media])['scores'], by_hand, atol=1e-6)


def test_training_does_not_know_views():
    for spec, media, feature in ((VIDEO, jpegs(20), 'frames'), (AUDIO, wav(noise(9_000)), 'audio')):
        features = {feature: tf.constant(media), 'log_mel_mean': -40.0, 'log_mel_stddev': 20.0}
        seed = tf.constant([3, 4])
        for augmentations in ((), ('temporal_crop',)):
            seen = [input_pipeline.model_input(spec.modality, augmentations, dataclasses.replace(spec, views=views),
                                               features, seed) for views in (1, 3)]
            np.testing.assert_array_equal(*seen)


def test_successive_frames_are_those_of_a_window_of_the_clip():
    frames = jpegs(9)
    windows = [video.decode(tf.constant(frames[start:start + 4]), testing.VIDEO_SPEC).numpy() for start in range(6)]
    starts = set()
    for seed in range(60):
        seen = video.decode(tf.constant([*frames, b'']), testing.VIDEO_SPEC, ('successive_frames',),
                            tf.constant([0, seed])).numpy()
        starts |= {start for start, window in enumerate(windows) if np.array_equal(seen, window)}
    assert starts == set(range(6))
    short = tf.constant(frames[:3])
    np.testing.assert_array_equal(
        video.decode(short, testing.VIDEO_SPEC, ('successive_frames',), tf.constant([0, 1])),
        video.decode(short, testing.VIDEO_SPEC))


def test_temporal_crop_takes_a_sound_from_anywhere():
    sound = noise(SAMPLES + 3)
    windows = [sound[start:start + SAMPLES] / 2 ** 15 for start in range(4)]
    starts = [next(start for start, window in enumerate(windows) if np.array_equal(
        window, audio.temporal_crop(tf.constant(wav(sound)), testing.AUDIO_SPEC, tf.constant([0, seed]))))
        for seed in range(40)]
    assert set(starts) == set(range(4))
    short = tf.constant(wav(noise(900)))
    np.testing.assert_array_equal(audio.temporal_crop(short, testing.AUDIO_SPEC, tf.constant([0, 1])),
                                  audio.decode_waveform(short, testing.AUDIO_SPEC))


def test_views_that_cannot_be_are_errors_of_the_config():
    for kind in (AudioInput, VideoInput):
        for views in (0, -1, 65):
            with pytest.raises(ConfigError, match=f'views is {views}; it must be from 1 to 64'):
                kind(views=views)
    with pytest.raises(ConfigError, match="'temporal_crop' and 'successive_frames', which exclude each other"):
        Recipe(1, 1, augmentations=('temporal_crop', 'flip', 'successive_frames')).check('Task t: ', 'video')
