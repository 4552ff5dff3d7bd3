"""The trainings of a study, on lanes made on the spot: interrupted ones come to what undisturbed ones come to."""

import dataclasses
import os

import numpy as np
import pytest
import tensorflow as tf

from model_code import loop, outcomes
from model_code.errors import PipelineStop
from model_code.modalities import CAPTION
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline.config import PipelineConfig
from pipeline.ingested import Lane, TrainingLane
from pipeline.study import trainings
from pipeline.study.arms import Training
from polyvit import Columns
from tests import testing
from tests.model_code.tiny_training import feature

LABELS = ['a', 'b']
TASKS = (testing.task('shapes', 'image', steps=6, batch_size=4), testing.task('tones', 'audio', steps=4, batch_size=4))
CONFIG = PipelineConfig('studied', Mixture(TASKS), ModelConfig(layers=1, width=16, heads=2, mlp_width=32, dropout=0.1,
                                                               inputs=testing.INPUTS),
                        TrainingConfig(checkpoint_every=100, strategy='one_device', gradient_diagnosis_every=5))
TOGETHER = Training(('shapes', 'tones'), 1)
# 12 train examples each, in batches of 4: a cap of 9 steps, so 5 of the 10 steps each.
EVEN = dataclasses.replace(CONFIG, mixture=dataclasses.replace(CONFIG.mixture, schedule='unimax', max_epochs=3))
CHANGED = TOGETHER._replace(changes=('mixture.schedule=unimax', 'mixture.max_epochs=3'))


def media(task, number) -> dict:
    if task.modality == 'image':
        return {'image': [testing.image_bytes(seed=number)]}
    return {'audio': [testing.wav_bytes(0.2, frequency=300 + 50 * number)]}


def write(folder, examples: list[dict]):
    os.makedirs(folder)
    with tf.io.TFRecordWriter(f'{folder}/0.gz', 'GZIP') as writer:
        for features in examples:
            writer.write(tf.train.Example(features=tf.train.Features(
                feature={name: feature(value) for name, value in features.items()})).SerializeToString())


def lane(folder, task) -> TrainingLane:
    """A task's examples as MediaExampleGen writes them, in two groups, and as Transform does."""
    statistics = {'log_mel_mean': -20.0, 'log_mel_stddev': 15.0} if task.modality == 'audio' else {}
    for split, count in (('train', 12), ('eval', 6)):
        rows = [(f'{split}/{number}', media(task, number + (split == 'eval') * 100), number % 2)
                for number in reversed(range(count))]
        write(f'{folder}/examples/Split-{split}',
              [{'id': [name.encode()], 'group': [b'g%d' % (label)], 'label': [LABELS[label].encode()], **of}
               for name, of, label in rows])
        captions = [{CAPTION: [f'this is {label}'.encode()]} if task.source.captioned else {} for label in LABELS]
        write(f'{folder}/transformed/Split-{split}',
              [{'label': label, **of, **statistics, **captions[label]} for _, of, label in rows])
    return TrainingLane(Lane(f'{folder}/examples', ''), f'{folder}/transformed', '', False)


@pytest.fixture(scope='module')
def lanes(tmp_path_factory) -> dict[str, TrainingLane]:
    folder = tmp_path_factory.mktemp('lanes')
    return {task.name: lane(f'{folder}/{task.name}', task) for task in TASKS}


def trainer(lanes, folder, config=CONFIG) -> trainings.Trainer:
    return trainings.Trainer(config, lanes, dict.fromkeys(lanes, LABELS), str(folder), by_size=True)


def all_scores(of: trainings.Trainer) -> dict[tuple[str, bool], np.ndarray]:
    return {(task.name, frozen): of.outcomes(TOGETHER, task.name, frozen).scores
            for task in TASKS for frozen in (False, True)}


@pytest.mark.slow
def test_what_was_interrupted_comes_to_the_same(lanes, tmp_path, monkeypatch):
    sequences, task_sequence = [], loop.schedules.task_sequence

    def recorded(*args):
        sequences.append(task_sequence(*args).tolist())
        return np.array(sequences[-1], np.int32)
    monkeypatch.setattr(loop.schedules, 'task_sequence', recorded)
    undisturbed = trainer(lanes, tmp_path / 'undisturbed', EVEN)
    assert undisturbed.result(TOGETHER) is None
    result = undisturbed.run(TOGETHER)
    assert undisturbed.result(TOGETHER) == result
    assert sorted(sequences[0]) == [0] * 5 + [1] * 5
    assert (result.tasks, result.seed, result.steps) == (('shapes', 'tones'), 1, 10)
    assert result.frozen['tones']['train_examples'] == 12 and result.flops > 0 < result.parameters
    assert [record['step'] for record in result.gradients] == [4, 9]
    said = undisturbed.outcomes(TOGETHER, 'shapes')
    assert said.ids.tolist() == [f'eval/{number}' for number in range(6)]
    assert said.labels.tolist() == [0, 1] * 3 and said.groups.tolist() == ['g0', 'g1'] * 3
    assert sorted(os.listdir(undisturbed.path(TOGETHER))) == [
        'frozen_shapes.npz', 'frozen_tones.npz', 'result.json', 'shapes.npz', 'tones.npz']

    disturbed = trainer(lanes, tmp_path / 'disturbed', EVEN)
    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, '_interrupted', lambda self: True)
        with pytest.raises(PipelineStop, match='after [1-9] of 10 steps. They are saved'):
            disturbed.run(TOGETHER)
    with monkeypatch.context() as patch:
        write_outcomes = outcomes.write

        def fail(path, said):
            if path.endswith('tones.npz'):
                raise KeyboardInterrupt
            write_outcomes(path, said)
        patch.setattr(outcomes, 'write', fail)
        with pytest.raises(KeyboardInterrupt):
            disturbed.run(TOGETHER)
    assert disturbed.result(TOGETHER) is None
    assert sequences == sequences[:1] * 3
    with monkeypatch.context() as patch:  # it is trained already
        patch.setattr(trainings.executor, 'co_train', None)
        disturbed.run(TOGETHER)
    pairs = [[record['pairs'] for record in of.result(TOGETHER).gradients] for of in (disturbed, undisturbed)]
    assert pairs[0] == pairs[1]
    for name, scores in all_scores(disturbed).items():
        np.testing.assert_array_equal(scores, all_scores(undisturbed)[name], err_msg=str(name))


@pytest.mark.slow
def test_a_change_has_no_new_heads_because_nobody_compares_them(lanes, tmp_path, caplog):
    caplog.set_level('INFO', 'polyvit')
    of = trainer(lanes, tmp_path)
    assert of.run(CHANGED).frozen == {}
    assert sorted(os.listdir(of.path(CHANGED))) == ['result.json', 'shapes.npz', 'tones.npz']
    assert 'training: ' in caplog.text and '--logdir' not in caplog.text, 'that folder is not kept'


@pytest.mark.slow
def test_captions_are_trained_asked_and_measured_as_other_tasks_are(lanes, tmp_path):
    """Beside the trained model's answers there is a new head on the frozen encoder, which learns from the labels."""
    pairs = testing.task('pairs', 'image', steps=6, batch_size=4, objective='captions', columns=Columns(text='caption'),
                         prompts=('a {}', 'see {}'))
    config = dataclasses.replace(CONFIG, mixture=Mixture((pairs, TASKS[1])))
    lanes = {'pairs': lane(f'{tmp_path}/pairs', pairs), 'tones': lanes['tones']}
    of, training = trainer(lanes, tmp_path / 'study', config), Training(('pairs', 'tones'), 0)
    result = of.run(training)
    assert result.frozen['pairs']['train_examples'] == 12
    for frozen in (False, True):
        scores = of.outcomes(training, 'pairs', frozen).scores
        np.testing.assert_allclose(scores.sum(axis=1), 1, atol=1e-4)
        assert np.ptp(scores, axis=0).min() > 1e-6
    halves = [{task['task']: task['halves'] for task in record['tasks']} for record in result.gradients]
    assert len(halves) == 2 and all(of['pairs'] is None and of['tones'] is not None for of in halves)
    assert -1 <= result.gradients[0]['pairs'][0]['cosine'] <= 1


def test_another_seed_other_tasks_and_other_settings_are_other_trainings(lanes, tmp_path):
    one = trainer(lanes, tmp_path)
    other = trainer(lanes, tmp_path, PipelineConfig(
        'studied', CONFIG.mixture, CONFIG.model, TrainingConfig(
            learning_rate=0.5, strategy='one_device', gradient_diagnosis_every=5)))
    paths = [one.path(TOGETHER), one.path(Training(TOGETHER.tasks, 0)), one.path(Training(('shapes',), 1)),
             other.path(TOGETHER), one.path(CHANGED)]
    assert len(set(paths)) == 5
    assert one.path(Training(TOGETHER.tasks, 1, ('training.learning_rate=0.5', 'training.checkpoint_every=500'))
                    ) == other.path(TOGETHER), 'a change that was kept is trained already'
    assert trainer(lanes, tmp_path).path(TOGETHER) == paths[0]
