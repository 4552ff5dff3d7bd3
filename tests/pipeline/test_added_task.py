"""A config with train_only: its parent, its plan, its components, and what ends it before a run."""

import dataclasses
import json

import pytest

from model_code import flops, model_directory
from model_code.errors import ConfigError
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import checks, plan
from pipeline.config import PipelineConfig
from pipeline.study import arms
from tests import testing

MODEL = ModelConfig(layers=2, width=16, heads=2, mlp_width=32, inputs=testing.INPUTS)


@pytest.fixture
def config(tmp_path):
    tasks = (testing.image_task(tmp_path / 'shapes', steps=50), testing.audio_task(tmp_path / 'tones', steps=40),
             testing.image_task(tmp_path / 'lights', name='lights', classes=('on', 'off'), steps=30))
    return PipelineConfig('mine', Mixture(tasks), MODEL, TrainingConfig(train_only=('lights',)),
                          root=str(tmp_path / 'root'))


def serve(config, number: int, names=('shapes', 'tones')):
    """A version directory with a card of these tasks, and no model that could be loaded."""
    path = config.serving_dir / str(number)
    testing.write(path, 'saved_model.pb', b'')
    labels = {'shapes': ['left', 'right'], 'tones': ['high', 'low'], 'lights': ['off', 'on']}
    model_directory.write_card(str(path), {
        'model': json.loads(json.dumps(dataclasses.asdict(MODEL))), 'tasks': [
            {'name': name, 'modality': config.mixture[name].modality, 'classes': labels[name]} for name in names]})
    return str(path)


def test_nothing_served_ends_a_run_before_it_starts(config):
    with pytest.raises(ConfigError, match='train_only keeps the other tasks as they are being served, but there is no '
                                          'version in .* Run the config without train_only first'):
        checks.check(config)


def test_the_weights_are_those_of_the_version_that_the_model_is_compared_with(config):
    first, second = serve(config, 7), serve(config, 9, ('shapes', 'tones', 'lights'))
    assert checks.with_parent(config).training.initial_checkpoint == second
    assert checks.with_parent(config, '7').training.initial_checkpoint == first
    assert checks.with_parent(config, '8').training.initial_checkpoint == second, 'that version was removed'
    given = dataclasses.replace(config, training=dataclasses.replace(config.training, initial_checkpoint=first))
    assert checks.with_parent(given, '9') is given
    assert checks.check(config).classes['lights'] == ('off', 'on')


@pytest.mark.parametrize('change, words', [
    (dict(model=dataclasses.replace(MODEL, heads=4)), 'The heads of the model is 4, and in version 7 2'),
    (dict(mixture=('lights', 'shapes', 'tones')), 'Task lights comes before shapes')])
def test_a_model_that_cannot_stay_as_it_is_ends_a_run_before_it_starts(config, change, words):
    serve(config, 7)
    if 'mixture' in change:
        change = dict(mixture=Mixture(tuple(config.mixture[name] for name in change['mixture'])))
    with pytest.raises(ConfigError, match=words):
        checks.check(dataclasses.replace(config, **change))


def test_a_label_that_a_kept_task_has_gained_ends_a_run_before_it_starts(config, tmp_path):
    serve(config, 7)
    testing.write(tmp_path, 'shapes/train/middle/0.png', testing.image_bytes(seed=5))
    with pytest.raises(ConfigError, match="Task shapes: its labels are not those of version 7: new are 'middle'"):
        checks.check(config)


def test_the_plan_counts_what_is_trained(config):
    data = checks.check_without_data(config)
    planned = plan.make_plan(config, data)
    lights = planned.tasks[2]
    assert [(t.steps, t.total_flops) for t in planned.tasks[:2]] == [(0, 0.0), (0, 0.0)]
    assert planned.total_steps == lights.steps == 30 and planned.trained_parameters == 16 * 2 + 2
    # 8 examples go through the model once; a full run takes three passes of each example of each step.
    assert lights.total_flops == 8 * flops.forward_flops(MODEL, config.mixture['lights'], 2)
    everything = plan.make_plan(dataclasses.replace(config, training=TrainingConfig()), data)
    assert planned.full_flops == everything.total_flops == everything.full_flops
    assert everything.trained_parameters == everything.total_parameters == planned.total_parameters
    assert 'Trained           34 of these parameters (train_only)' in plan.render(planned)
    assert 'train_only' not in plan.render(everything)


def test_augmented_examples_go_through_the_encoder_in_every_step(config):
    data = checks.check_without_data(config)
    lights = testing.changed(config.mixture['lights'], augmentations=('flip',))
    config = dataclasses.replace(config, mixture=Mixture((*config.mixture.tasks[:2], lights)))
    assert plan.make_plan(config, data).total_flops == 30 * 4 * flops.forward_flops(MODEL, lights, 2)


def test_there_is_no_study_of_new_heads_and_the_plan_recommends_none(config):
    from pipeline.study import command
    with pytest.raises(ConfigError, match='train_only is lights, so the config mine trains new heads on a model that '
                                          'is kept, .* Leave train_only out for a study.'):
        command.run(config, 3, False, True)
    with pytest.raises(ConfigError, match='train_only is tones'):
        command.run(dataclasses.replace(config, training=TrainingConfig()), 3, False, True,
                    changes=('training.train_only=tones',))
    data = checks.check_without_data(config)
    assert arms.price(config, 3, data) is None
    assert arms.price(dataclasses.replace(config, training=TrainingConfig()), 3, data)


@pytest.mark.parametrize('fields', [dict(schedule='unimax', max_epochs=1.0), dict(schedule='temperature')])
def test_tasks_that_are_not_trained_need_no_steps_of_a_schedule_by_size(config, fields):
    mixture = Mixture(config.mixture.tasks, **fields)
    planned = plan.make_plan(dataclasses.replace(config, mixture=mixture))  # which knows no number of examples
    assert [task.steps for task in planned.tasks] == [0, 0, 30] and planned.full_flops > planned.total_flops
    with pytest.raises(ConfigError, match='goes by the train examples of each task'):
        plan.make_plan(dataclasses.replace(config, mixture=mixture, training=TrainingConfig()))


def test_the_stages_of_tasks_that_are_not_all_trained_are_an_error(config):
    staged = Mixture(config.mixture.tasks, 'staged', first_tasks=('shapes',))
    with pytest.raises(ConfigError, match="the schedule 'staged' begins with shapes, but train_only trains lights "
                                          'alone. Leave one of them out.'):
        dataclasses.replace(config, mixture=staged)
    assert dataclasses.replace(config, mixture=staged, training=TrainingConfig()).mixture == staged


def test_only_the_trained_task_is_evaluated_and_the_trainer_knows_the_parent(config):
    from pipeline import local_runner
    parent = serve(config, 7)
    pipeline = local_runner.build(config, checks.check(config))
    components = {component.id: component for component in pipeline.components}
    assert [name for name in components if name.startswith('TaskEvaluator')] == ['TaskEvaluator_lights']
    assert [n for n in components['BlessingGate'].inputs if n.startswith('evaluation')] == ['evaluation_lights']
    training = json.loads(components['CoTrainer'].exec_properties['training'])
    assert training['initial_checkpoint'] == parent and training['warmup_steps'] == 3
    assert components['ServingBaseline'].exec_properties['served_version'] == '7'


def test_a_compiled_pipeline_must_be_told_the_parent(config, tmp_path):
    from pipeline.kubeflow import compiler
    tasks = tuple(testing.changed(t, folder='gs://bucket/media') for t in config.mixture.tasks)
    with pytest.raises(ConfigError, match='set initial_checkpoint to the version that is being served there'):
        compiler.compile_pipeline(dataclasses.replace(config, mixture=Mixture(tasks), root=''),
                                  str(tmp_path / 'a.yaml'), root='gs://bucket/polyvit', image='example.org/polyvit:1')
