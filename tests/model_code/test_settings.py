import pytest

from model_code.errors import ConfigError
from model_code.modalities import AudioInput, ImageInput, VideoInput
from model_code.serialization import from_json, to_json
from model_code.settings import ModelConfig, TrainingConfig, check_batches, preset
from model_code.tasks import Mixture, Task

TASK = Task('tags', 'audio', steps=3, batch_size=6, multi_label=True, classes=('a', 'b'),
            augmentations=('spec_augment',))


def test_json_round_trips_keep_nested_dataclasses_and_tuples():
    for value in (Mixture((TASK,), 'uniform', 3), TrainingConfig(strategy='mirrored', replicas=2),
                  preset('S', video=VideoInput(frames=8, patch=(2, 16, 16)))):
        assert from_json(type(value), to_json(value)) == value


def test_presets_are_the_vit_sizes():
    assert [(preset(n).width, preset(n).layers, preset(n).heads) for n in ('Ti', 'S', 'B', 'L')] == [
        (192, 12, 3), (384, 12, 6), (768, 12, 12), (1024, 24, 16)]


@pytest.mark.parametrize('make, words', [
    (lambda: Task('x', 'smell', 1, 1), ["modality named 'smell'", 'image, audio, video'.split(', ')[0]]),
    (lambda: Task('Bad Name', 'image', 1, 1), ["'Bad Name'", 'lower-case']),
    (lambda: Task('x', 'image', 0, 1), ['steps is 0', 'at least 1']),
    (lambda: Task('x', 'image', 1, 1, augmentations=('spec_augment',)), ["'spec_augment'", 'flip']),
    (lambda: Mixture((TASK, TASK)), ["named 'tags'"]),
    (lambda: Mixture((TASK,), 'random'), ["'random'", 'weighted']),
    (lambda: ImageInput(height=30, patch=(16, 16)), ['height is 30', 'patch of 16']),
    (lambda: AudioInput(frames=100, patch=(16, 16)), ['frames is 100', '16']),
    (lambda: VideoInput(frames=7, patch=(2, 16, 16)), ['frames is 7', 'patch of 2']),
    (lambda: ModelConfig(width=64, heads=5), ['width is 64', '5 heads']),
    (lambda: preset('XL'), ["'XL'", 'Ti']),
    (lambda: TrainingConfig(strategy='gpu'), ["'gpu'", 'mirrored']),
    (lambda: check_batches([TASK], 4), ['batch_size is 6', '4 replicas']),
])
def test_wrong_settings_are_sentences_that_name_both_values(make, words):
    with pytest.raises(ConfigError) as error:
        make()
    for word in words:
        assert word in str(error.value)
