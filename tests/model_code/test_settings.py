"""Settings: JSON round trips, presets, and messages about wrong values."""

import pathlib
import re

import numpy as np
import pytest

from model_code.data import Columns, Limits
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
    assert [(preset(n).width, preset(n).layers, preset(n).heads) for n in ('Nano', 'Ti', 'S', 'B', 'L')] == [
        (128, 4, 4), (192, 12, 3), (384, 12, 6), (768, 12, 12), (1024, 24, 16)]


@pytest.mark.parametrize('make, words', [
    (lambda: testing.task('x', 'smell'), ["modality named 'smell'", 'image, audio, video'.split(', ')[0]]),
    (lambda: testing.task('Bad Name', 'image'), ["'Bad Name'", 'lower-case']),
    (lambda: testing.task('x', 'image', 0, 1), ['steps is 0', 'at least 1']),
    (lambda: testing.task('x', 'image', augmentations=('spec_augment',)), ["'spec_augment'", 'flip']),
    (lambda: Mixture((TASK, TASK)), ["named 'tags'"]),
    (lambda: Mixture((TASK,), 'random'), ["'random'", 'weighted']),
    (lambda: ImageInput(height=30, patch=(16, 16)), ['height is 30', 'patch of 16']),
    (lambda: ImageInput(height=0), ['image: height is 0; it must be at least 1.']),
    (lambda: VideoInput(patch=(2, 0, 16)), ['video: patch is (2, 0, 16); each of its sizes must be at least 1.']),
    (lambda: TrainingConfig(warmup_steps=-1), ['Training: warmup_steps is -1', 'at least 0']),
    (lambda: testing.task('x' * 101, 'image'), ['Task name', 'at most 100']),
    (lambda: AudioInput(frames=100, patch=(16, 16)), ['frames is 100', '16']),
    (lambda: VideoInput(frames=7, patch=(2, 16, 16)), ['frames is 7', 'patch of 2']),
    (lambda: ModelConfig(width=64, heads=5), ['width is 64', '5 heads']),
    (lambda: preset('XL'), ["'XL'", 'Ti']),
    (lambda: ModelConfig(inputs=('image',)), ["'image'", 'ImageInput, AudioInput']),
    (lambda: ModelConfig(inputs=(ImageInput(), ImageInput(32, 32))), ['two for image', 'height=32']),
    (lambda: preset('Ti', video=VideoInput(frames=8), image=ImageInput(32, 32)),
     ['Write inputs=(VideoInput(frames=8,', 'ImageInput(height=32, width=32, patch=(16, 16))).']),
    (lambda: TrainingConfig(strategy='gpu'), ["'gpu'", 'mirrored']),
    (lambda: TrainingConfig(patience=-1, eval_every=1), ['Training: patience is -1', 'at least 0']),
    (lambda: TrainingConfig(eval_every=-2), ['Training: eval_every is -2', 'at least -1']),
    (lambda: TrainingConfig(keep_best=True), ['Training: keep_best is True, but eval_every is -1', 'number of steps']),
    (lambda: TrainingConfig(patience=2, eval_every=0), ['Training: patience is 2, but eval_every is 0']),
    (lambda: check_batches([TASK], 4), ['batch_size is 6', '4 replicas']),
    (lambda: ModelConfig(layers=0), ['Model: layers is 0', 'at least 1']),
    (lambda: ModelConfig(heads=0), ['Model: heads is 0', 'at least 1']),
    (lambda: ModelConfig(width=-8), ['Model: width is -8', 'at least 1']),
    (lambda: TrainingConfig(seed=-1), ['Training: seed is -1', 'at least 0']),
    (lambda: AudioInput(channels=2), ['audio: channels is 2', '1 or 3']),
    (lambda: AudioInput(hop_s=0), ['audio: hop_s is 0', 'more than 0']),
    (lambda: VideoInput(frame_rate=-1.0), ['video: frame_rate is -1.0', 'more than 0']),
    (lambda: testing.task('x', 'image', max_drop=-1), ['Task x: max_drop is -1', 'at least 0']),
    (lambda: testing.task('x', 'image', floor_by='mean'), ["'mean'", 'value', 'low', 'high']),
    (lambda: testing.task('x', 'image', cannot_tell='pass'), ["'pass'", 'by_value', 'reject', 'remark']),
    (lambda: testing.task('x', 'image', slices=('scene',)), ["Task x: slices of the gate has 'scene'", 'extra', '()']),
    (lambda: testing.task('x', 'image', num_classes=-2), ['Task x: num_classes is -2', 'at least 0']),
    (lambda: testing.task('x', 'image', min_class_examples=-1), ['Task x: min_class_examples is -1', 'at least 0']),
    (lambda: testing.task('x', 'image', learning_rate_coefficient=-1), ['Task x: learning_rate_coefficient is -1']),
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
    (lambda: Task('x', 'image', data=pathlib.Path('/x'), recipe=Recipe(1, 1)),
     "Write Task('x', 'image', data=Data(folder='/x'), recipe=Recipe(steps=1, batch_size=1))."),
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


@pytest.mark.parametrize('make, sentence', [
    (lambda: testing.task('x', 'image', steps='3'), "Task x: steps is '3' (a str); it must be a whole number."),
    (lambda: testing.task('x', 'image', batch_size=True),
     'Task x: batch_size is True (a bool); it must be a whole number.'),
    (lambda: testing.task('x', 'image', mixup_alpha='a'), "Task x: mixup_alpha is 'a' (a str); it must be a number."),
    (lambda: testing.task('x', 'image', floor=None), 'Task x: floor is None; it must be a number.'),
    (lambda: testing.task('x', 'image', allow_leaks=1), 'Task x: allow_leaks is 1 (an int); it must be True or False.'),
    (lambda: testing.task('x', 'image', augmentations='flip'),
     "Task x: augmentations is 'flip' (a str); it must be a tuple of str: write ('flip',)."),
    (lambda: testing.task('x', 'image', head_hidden=(8, 'b')),
     "Task x: head_hidden[1] is 'b' (a str); it must be a whole number."),
    (lambda: testing.task('x', 'image', columns='label'),
     "Task x: columns is 'label' (a str); it must be a Columns(...)."),
    (lambda: testing.task('x', 'image', folder=pathlib.Path('/x\udcff')),
     "Task x: folder is '/x\\udcff', which is not UTF-8. Rename it."),
    (lambda: testing.task('x', 'image', folder=b'/x'), "Task x: folder is b'/x' (a bytes); it must be a str."),
    (lambda: Task('x', ['image'], recipe=Recipe(1, 1)), "Task x: modality is ['image'] (a list); it must be a str."),
    (lambda: Task(3, 'image', recipe=Recipe(1, 1)), 'Task 3: name is 3 (an int); it must be a str.'),
    (lambda: Task('x', 'image', recipe=None), 'Task x: recipe is None; it must be a Recipe(...).'),
    (lambda: Task('x', 'image', recipe={'steps': 3}),
     "Task x: recipe is {'steps': 3} (a dict); it must be a Recipe(...)."),
    (lambda: Task('x', 'image', data=None, recipe=Recipe(1, 1)), 'Task x: data is None; it must be a Data(...).'),
    (lambda: Mixture(TASK), "Mixture: tasks is Task('tags', ...) (a Task); it must be a tuple of Task: "
                            "write (Task('tags', ...),)."),
    (lambda: Mixture(('x',)), "Mixture: tasks[0] is 'x' (a str); it must be a Task(...)."),
    (lambda: Columns(extra='a'), "columns: extra is 'a' (a str); it must be a tuple of str: write ('a',)."),
    (lambda: Limits(bytes='1 GB'), "limits: bytes is '1 GB' (a str); it must be a whole number."),
    (lambda: ImageInput(patch=(8, 8, 8)), 'image: patch is (8, 8, 8) (a tuple); it must be a tuple of 2: (int, int).'),
    (lambda: VideoInput(patch=4), 'video: patch is 4 (an int); it must be a tuple of 3: (int, int, int).'),
    (lambda: ModelConfig(inputs=None), 'Model: inputs has None; it takes ImageInput, AudioInput, VideoInput, '
     'TextInput.'),
    (lambda: ModelConfig(width='192'), "Model: width is '192' (a str); it must be a whole number."),
    (lambda: TrainingConfig(learning_rate=float('nan')),
     'Training: learning_rate is nan (a float); it must be a finite number.'),
    (lambda: TrainingConfig(learning_rate=float('inf')),
     'Training: learning_rate is inf (a float); it must be a finite number.'),
    (lambda: TrainingConfig(clip_norm=float('-inf')),
     'Training: clip_norm is -inf (a float); it must be a finite number.'),
    (lambda: TrainingConfig(warmup_steps=0.1),
     'Training: warmup_steps is 0.1 (a float); it must be a whole number.'),
    (lambda: TrainingConfig(precision=None),
     'Training: There is no precision named None. Known: float32, float16, bfloat16.'),
])
def test_a_value_of_the_wrong_type_is_a_sentence(make, sentence):
    with pytest.raises(ConfigError) as error:
        make()
    assert str(error.value) == sentence


def test_lists_paths_and_ints_are_taken_as_tuples_strings_and_numbers():
    task = testing.task('x', 'image', folder=pathlib.Path('/x'), manifest=pathlib.Path('a.csv'), classes=['a', 'b'],
                        augmentations=['flip'], mixup_alpha=0)
    assert task == testing.task('x', 'image', folder='/x', manifest='a.csv', classes=('a', 'b'),
                                augmentations=('flip',))
    assert hash(task) and from_json(Mixture, to_json(Mixture([task]))) == Mixture((task,))
    assert ImageInput(patch=[8, 8]) == ImageInput(patch=(8, 8))
    assert to_json(TrainingConfig(learning_rate=1)) == to_json(TrainingConfig(learning_rate=1.0))
    numbers = TrainingConfig(seed=np.int64(3), learning_rate=np.float32(0.5))
    assert to_json(numbers) == to_json(TrainingConfig(seed=3, learning_rate=0.5))


def test_paths_are_made_absolute_and_urls_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('HOME', '/home/someone')
    for given, path in (('~/photos', '/home/someone/photos'), ('photos', f'{tmp_path}/photos'), ('', ''),
                        (pathlib.Path('../photos'), f'{tmp_path.parent}/photos'), ('gs://~/photos', 'gs://~/photos')):
        task = Task('x', 'image', data=Data(given), recipe=Recipe(1, 1))
        assert task.data.folder == TrainingConfig(initial_checkpoint=given).initial_checkpoint == path


def test_the_warm_up_is_a_tenth_of_a_short_training():
    assert [TrainingConfig().warmup(steps) for steps in (3, 400, 5000)] == [0, 40, 100]
    assert TrainingConfig(warmup_steps=7).warmup(3) == 7


def test_the_new_form_of_a_task_keeps_the_parts_that_were_given():
    with pytest.raises(ConfigError) as error:
        Task('x', 'image', data=Data('/x', label_kind='multi'), gate=Gate(0.5), steps=3, batch_size=4, max_drop=0.1)
    assert str(error.value).endswith("Write Task('x', 'image', data=Data(folder='/x', label_kind='multi'), "
                                     'recipe=Recipe(steps=3, batch_size=4), gate=Gate(floor=0.5, max_drop=0.1)).')
    with pytest.raises(ConfigError) as error:
        Task('x', 'image', Data('/x'), Recipe(3, 4))
    assert str(error.value).endswith("Write Task('x', 'image', data=Data(folder='/x'), "
                                     'recipe=Recipe(steps=3, batch_size=4)).')
