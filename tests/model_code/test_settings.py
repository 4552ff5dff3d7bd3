"""Settings: JSON round trips, presets, and messages about wrong values."""

import re

import pytest

from model_code.errors import ConfigError
from model_code.modalities import AudioInput, ImageInput, VideoInput
from model_code.serialization import from_json, to_json
from model_code.settings import ModelConfig, TrainingConfig, check_batches, preset
from model_code.tasks import Checks, Data, Gate, Mixture, Recipe, Task  # noqa: F401  for eval
from tests import testing

TASK = testing.task('tags', 'audio', steps=3, batch_size=6, label_kind='multi', classes=('a', 'b'),
            augmentations=('spec_augment',))


def test_json_round_trips_keep_nested_dataclasses_and_tuples():
    for value in (Mixture((TASK,), 'uniform', 3), TrainingConfig(strategy='mirrored', replicas=2),
                  preset('S', inputs=VideoInput(frames=8, patch=(2, 16, 16)))):
        assert from_json(type(value), to_json(value)) == value


def test_a_models_inputs_are_one_per_modality_whatever_is_given():
    image, video = ImageInput(32, 32), VideoInput(frames=8)
    config = ModelConfig(inputs=(video, image))
    assert config == ModelConfig(inputs=[image, AudioInput(), video])
    assert to_json(config) == to_json(from_json(ModelConfig, to_json(config)))
    assert [config.input(name) for name in ('image', 'audio', 'video')] == [image, AudioInput(), video]
    assert ModelConfig(inputs=image) == ModelConfig(inputs=(image,)) != ModelConfig()
    assert (image.grid, AudioInput().grid, video.grid) == ((2, 2), (50, 8), (2, 14, 14))


def test_presets_are_the_vit_sizes():
    assert [(preset(n).width, preset(n).layers, preset(n).heads) for n in ('Ti', 'S', 'B', 'L')] == [
        (192, 12, 3), (384, 12, 6), (768, 12, 12), (1024, 24, 16)]


@pytest.mark.parametrize('make, words', [
    (lambda: testing.task('x', 'smell'), ["modality named 'smell'", 'image, audio, video'.split(', ')[0]]),
    (lambda: testing.task('Bad Name', 'image'), ["'Bad Name'", 'lower-case']),
    (lambda: testing.task('x', 'image', 0, 1), ['steps is 0', 'at least 1']),
    (lambda: testing.task('x', 'image', augmentations=('spec_augment',)), ["'spec_augment'", 'flip']),
    (lambda: Mixture((TASK, TASK)), ["named 'tags'"]),
    (lambda: Mixture((TASK,), 'random'), ["'random'", 'weighted']),
    (lambda: ImageInput(height=30, patch=(16, 16)), ['height is 30', 'patch of 16']),
    (lambda: AudioInput(frames=100, patch=(16, 16)), ['frames is 100', '16']),
    (lambda: VideoInput(frames=7, patch=(2, 16, 16)), ['frames is 7', 'patch of 2']),
    (lambda: ModelConfig(width=64, heads=5), ['width is 64', '5 heads']),
    (lambda: preset('XL'), ["'XL'", 'Ti']),
    (lambda: ModelConfig(inputs=('image',)), ["'image'", 'ImageInput, AudioInput']),
    (lambda: ModelConfig(inputs=(ImageInput(), ImageInput(32, 32))), ['two for image', 'height=32']),
    (lambda: preset('Ti', video=VideoInput(frames=8), image=ImageInput(32, 32)),
     ['Write inputs=(VideoInput(frames=8,', 'ImageInput(height=32, width=32, patch=(16, 16))).']),
    (lambda: TrainingConfig(strategy='gpu'), ["'gpu'", 'mirrored']),
    (lambda: check_batches([TASK], 4), ['batch_size is 6', '4 replicas']),
])
def test_messages_about_wrong_settings_name_both_values(make, words):
    with pytest.raises(ConfigError) as error:
        make()
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize('flat, parts', [
    (lambda: Task('pets', 'image', data='/pets', steps=10, batch_size=4, floor=0.5, max_rejected_share=0.1),
     "Write Task('pets', 'image', data=Data(folder='/pets'), recipe=Recipe(steps=10, batch_size=4), "
     'checks=Checks(max_rejected_share=0.1), gate=Gate(floor=0.5)).'),
    (lambda: Task('tags', 'audio', 10, 4, multi_label=True, manifest='tags.csv'),
     "data=Data(manifest='tags.csv', label_kind='multi'), recipe=Recipe(steps=10, batch_size=4))."),
    (lambda: Task('meals', 'image', steps=1, batch_size=1, label_groups=('verb', 'noun')),
     "data=Data(label_groups=('verb', 'noun'), label_kind='groups')"),
])
def test_a_flat_task_is_shown_its_new_form(flat, parts):
    with pytest.raises(ConfigError) as error:
        flat()
    assert parts in str(error.value)


def test_the_new_form_that_is_shown_works():
    with pytest.raises(ConfigError) as error:
        Task('pets', 'image', data='/pets', steps=10, batch_size=4, floor=0.5, min_class_examples=3)
    written = re.search(r'Write (Task\(.*\))\.$', str(error.value))[1]
    assert eval(written) == testing.task('pets', 'image', 10, 4, folder='/pets', floor=0.5, min_class_examples=3)


def test_the_message_about_an_unknown_choice_names_the_task():
    with pytest.raises(ConfigError, match="Task t: There is no label kind named 'several'. Known: .*multi"):
        testing.task('t', 'image', label_kind='several')
    with pytest.raises(ConfigError, match='Task t: There is no pooling'):
        testing.task('t', 'image', pooling='max')
