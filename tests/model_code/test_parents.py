"""Which models a training with train_only can start from, and in which words it rejects others. No TensorFlow."""

import dataclasses
import json

import pytest

from model_code import freezing, model_directory, parents
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import ImageInput
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from polyvit import Columns
from tests import testing

SHAPES, TONES, LIGHTS = (testing.task(*of) for of in (('shapes', 'image'), ('tones', 'audio'), ('lights', 'image')))
MODEL = ModelConfig(layers=2, width=16, heads=2, mlp_width=32, inputs=testing.INPUTS)
TRAINING = TrainingConfig(train_only=('lights',), initial_checkpoint='/serving/7')
CLASSES = {'shapes': ('a', 'b'), 'tones': ('a', 'b'), 'lights': ('on', 'off')}


def card(model=MODEL, tasks=(SHAPES, TONES)):
    entries = [{'name': t.name, 'modality': t.modality, 'multi_label': t.data.kind.several,
                'label_groups': list(t.data.label_groups), 'classes': ['b', 'a']} for t in tasks]
    return json.loads(json.dumps({'tasks': entries, 'model': dataclasses.asdict(model), 'inputs': {
        t.modality: dataclasses.asdict(model.input(t.modality)) for t in tasks}}))


def problems(served, tasks=(SHAPES, TONES, LIGHTS), model=MODEL, classes=CLASSES, training=TRAINING):
    return parents.problems(served, 'version 7', training, Mixture(tasks), model, classes)


def test_a_model_of_the_same_sizes_and_labels_fits():
    assert problems(card()) == []
    assert problems(card(dataclasses.replace(MODEL, dropout=0.3))) == [], 'it serves without dropout'
    assert problems(card(), (SHAPES, LIGHTS)) == [], 'a task may be dropped: Mixture.dropped_tasks allows it'
    assert problems(card(tasks=(SHAPES, TONES, LIGHTS))) == [], 'it may be trained on'
    walks = testing.task('walks', 'video')
    assert problems(card(), (SHAPES, TONES, walks), training=dataclasses.replace(TRAINING, train_only=('walks',))) == []


def test_the_input_of_captions_stays_too():
    captions = testing.changed(SHAPES, batch_size=2, objective='captions', columns=Columns(text='caption'),
                               prompts=('a {}',))
    served = card(tasks=(captions, TONES))
    served['inputs']['text'] = {'length': 7}
    found, = problems(served, (captions, TONES, LIGHTS))
    assert 'length of the text input is' in found and 'in version 7 7.' in found
    assert problems(served) == [], 'without captions nothing has that input'


@pytest.mark.parametrize('served, changed, words', [
    (card(dataclasses.replace(MODEL, width=8)), {}, 'The width of the model is 16, and in version 7 8.'),
    (card(), {'model': dataclasses.replace(MODEL, inputs=(ImageInput(32, 32, (8, 8)), *testing.INPUTS[1:]))},
     'height of the image input is 32, and in version 7 16.'),
    (card(tasks=(SHAPES,)), {}, 'Task tones is not in version 7.'),
    (card(), {'classes': {**CLASSES, 'tones': ('a', 'c', 'd')}},
     "Task tones: its labels are not those of version 7: without 'b'; new are 'c', 'd'. Its head cannot stay as it is: "
     'name tones in train_only too'),
    (card(), {'tasks': (SHAPES, testing.changed(TONES, label_kind='multi'), LIGHTS)},
     'Task tones: several labels of an example is True, and in version 7 False.'),
    (card(), {'tasks': (LIGHTS, SHAPES, TONES)},
     'Task lights comes before shapes, which is the first in version 7 and answers as serving_default. Write lights '
     'behind shapes.'),
    (card(tasks=(TONES, SHAPES)), {'tasks': (TONES, LIGHTS, SHAPES)},
     'Task lights comes before shapes, which is the first in version 7 and gives image_embedding its form.')])
def test_what_does_not_fit_is_named_with_both_values(served, changed, words):
    assert any(sentence.startswith(words) for sentence in problems(served, **changed)), problems(served, **changed)
    with pytest.raises(PipelineStop) as error:
        parents.check(served, '/serving/7/', TRAINING, Mixture(changed.get('tasks', (SHAPES, TONES, LIGHTS))),
                      changed.get('model', MODEL), changed.get('classes', CLASSES))
    assert words in str(error.value)


def test_a_model_without_a_readable_card_is_named(tmp_path):
    with pytest.raises(PipelineStop, match='has no model card, so train_only cannot tell its tasks'):
        parents.read_card(str(tmp_path))
    testing.write(tmp_path, 'assets.extra/model_card.json', 'no JSON')
    with pytest.raises(PipelineStop, match='is not JSON'):
        parents.read_card(str(tmp_path))
    model_directory.write_card(str(tmp_path), card())
    assert parents.read_card(str(tmp_path))['tasks'][0]['name'] == 'shapes'


def test_labels_of_kept_tasks_alone_are_those_of_the_model():
    served = card(tasks=(SHAPES, TONES, LIGHTS))
    assert parents.kept(served, 'classes', TRAINING, Mixture((SHAPES, LIGHTS))) == {'shapes': ['b', 'a']}
    assert parents.kept(served, 'statistics', TRAINING, Mixture((SHAPES, LIGHTS))) == {}, 'an older card has none'


@pytest.mark.parametrize('names, words', [
    (('lihgts',), "lights"), (('lights', 'lights'), 'a task is named twice in train_only'),
    (('shapes', 'tones', 'lights'), 'train_only names all tasks')])
def test_train_only_names_some_tasks_of_the_mixture(names, words):
    with pytest.raises(ConfigError, match=words):
        TrainingConfig(train_only=names).check_train_only(Mixture((SHAPES, TONES, LIGHTS)))


def test_a_vit_has_no_heads_to_keep():
    with pytest.raises(ConfigError, match='initial_checkpoint is /vit.npz, which has none'):
        TrainingConfig(train_only=('lights',), initial_checkpoint='/vit.npz')


def test_a_head_is_trained_alone_where_others_of_its_modality_stay():
    tasks = SHAPES, TONES, LIGHTS
    assert [freezing.is_frozen(t, tasks, ('lights', 'tones')) for t in (LIGHTS, TONES)] == [True, False]
    assert not freezing.is_frozen(LIGHTS, tasks, ())


def test_examples_are_encoded_once_if_nothing_is_drawn_and_they_fit():
    assert freezing.is_encoded_once(LIGHTS, 1_000_000, 128)
    assert not freezing.is_encoded_once(LIGHTS, 1_100_000, 128)
    assert not freezing.is_encoded_once(testing.changed(LIGHTS, augmentations=('flip',)), 10, 128)
    assert not freezing.is_encoded_once(testing.changed(TONES, mixup_alpha=0.3), 10, 128)
