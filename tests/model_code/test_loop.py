"""What the loop does between steps: checkpoints by time and by SIGTERM, evaluation, TensorBoard, history."""

import collections
import dataclasses
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow as tf

from model_code import evaluation, file_io, loop, polyvit, schedules, selection, summaries
from model_code.checkpoints import Checkpoints
from model_code.errors import PipelineStop
from model_code.preprocessing import image, video
from model_code.tasks import Mixture
from tests import testing
from tests.model_code import tiny_training

pytestmark = pytest.mark.slow

TASKS = tuple(testing.changed(task, steps=steps) for task, steps in zip(tiny_training.TASKS, (8, 5, 5), strict=True))
IMAGES = (testing.changed(tiny_training.TASKS[0], steps=600),)


def train_images(folder, checkpoints, tasks=IMAGES, **recipe):
    """(history, digest of the weights) of a training of one task."""
    config = dataclasses.replace(tiny_training.CONFIG, **{'checkpoint_every': 200, **recipe})
    history, weights = tiny_training.train(folder, checkpoints, config, tasks)
    return history, tiny_training.digest(weights)


@pytest.fixture(scope='module')
def whole(folder):
    return train_images(folder, 'whole')


def events(directory) -> dict[str, dict[int, np.ndarray]]:
    """tag -> step -> value, from the event files. Checks that no step is there twice."""
    values = collections.defaultdict(dict)
    for path in glob.glob(os.path.join(directory, 'tensorboard', 'events.*')):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            for value in event.summary.value:
                assert event.step not in values[value.tag]
                values[value.tag][event.step] = tf.make_ndarray(value.tensor)
    return values


def test_sigterm_saves_and_the_next_run_ends_with_the_same_weights(folder, whole):
    code = """import dataclasses, sys; from tests import testing
from tests.model_code import tiny_training as tiny; tiny.train(
        sys.argv[1], 'asked', dataclasses.replace(tiny.CONFIG, checkpoint_every=200),
        [testing.changed(tiny.TASKS[0], steps=600)])"""  # as train_images, whose module takes long to import
    process = subprocess.Popen([sys.executable, '-c', code, folder], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 240
        while not glob.glob(f'{folder}/asked/ckpt-*.index'):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.001)
        time.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        errors = process.communicate(timeout=120)[1]
    finally:
        process.kill()
    message = re.search(r'PipelineStop: Training was stopped by SIGTERM after (\d+) of 600 steps. They are saved. '
                         'Run the same command again to resume from there.', errors)
    assert process.returncode == 1 and message, errors
    done = int(message[1])
    assert 200 < done < 600
    assert os.path.exists(f'{folder}/asked/ckpt-{done}.index') and not os.path.exists(f'{folder}/asked/ckpt-600.index')

    history, digest = train_images(folder, 'asked')
    assert history['steps'] == whole[0]['steps']
    assert digest == whole[1]


class CountingSteps:
    """Replaces training.TrainSteps. It does not train, and is traced quickly. The loss of a step is its number plus a
    half, the norm its learning rate."""

    def __init__(self, *_):
        pass

    def single(self, task):
        return lambda batch, number, rate: (tf.cast(number, tf.float32) + 0.5, rate)


def test_checkpoints_are_written_by_steps_and_by_time(folder, monkeypatch):
    saved, save = [], Checkpoints.save
    monkeypatch.setattr(Checkpoints, 'save', lambda self, done, *keep: saved.append(done) or save(self, done, *keep))
    monkeypatch.setattr(loop.training, 'TrainSteps', CountingSteps)
    monkeypatch.setattr(loop, 'STEPS_PER_CALL', 1)
    tasks = (testing.changed(IMAGES[0], steps=7),)
    train_images(folder, 'by_steps', tasks, checkpoint_every=3)
    assert saved == [3, 6, 7]

    saved.clear()
    clock = iter(range(0, 100_000, 350))  # every reading is 350 s after the one before
    monkeypatch.setattr(loop, 'time', type('Clock', (), {'monotonic': staticmethod(lambda: next(clock))}))
    monkeypatch.setattr(loop, 'StepProgress', NoProgress)
    train_images(folder, 'by_time', tasks, checkpoint_every=1_000)
    assert saved == [2, 4, 6, 7]


class NoProgress:
    """A loop.StepProgress that does not read the clock."""

    def __init__(self, *_):
        self.step_seconds = {}

    def update(self, *_):
        pass

    def pause(self):
        pass

    def finish(self):
        pass


def test_evaluation_during_training_changes_no_weight_and_history_is_limited(folder, monkeypatch):
    tasks = (testing.changed(IMAGES[0], steps=9),)
    _, evaluated = train_images(folder, 'evaluated', tasks, eval_every=4)
    monkeypatch.setattr(loop, 'HISTORY_LENGTH', 5)
    history, plain = train_images(folder, 'plain', tasks)
    assert evaluated == plain

    values = events(f'{folder}/evaluated')
    assert sorted(values['eval/shapes/accuracy']) == sorted(values['eval/shapes/loss']) == [3, 7]
    assert values['eval/shapes/loss'][3] != values['eval/shapes/loss'][7]
    assert sorted(values['loss/shapes']) == list(range(9))

    monkeypatch.setattr(loop.training, 'TrainSteps', CountingSteps)
    monkeypatch.setattr(selection, 'SHARE', 100.0)  # so that even this short training is evaluated
    by_cost, _ = train_images(folder, 'by_cost', (testing.changed(IMAGES[0], steps=40),), eval_every=-1)
    evaluated = [record['step'] for record in by_cost['evaluations']]
    assert evaluated and evaluated == sorted(events(f'{folder}/by_cost')['eval/shapes/accuracy'])

    values = events(f'{folder}/plain')
    assert not [tag for tag in values if tag.startswith('eval/')]
    assert [s['step'] for s in history['steps']] == sorted(values['loss/shapes']) == [0, 3, 6]


def scripted(*means):
    """A function that gives an evaluation with each of these means in turn; a signal is sent, an exception raised."""
    left = iter(means)

    def evaluate():
        mean = next(left)
        if isinstance(mean, signal.Signals):
            return signal.raise_signal(mean)
        if isinstance(mean, type):
            raise mean
        return {'eval/shapes/accuracy': mean}
    return evaluate


def test_the_best_weights_and_an_early_end_survive_a_kill_and_a_run_after_the_end(folder, caplog):
    """The best of five evaluations is the first. Three are not better, so training ends after 16 of 40 steps."""
    config = dataclasses.replace(tiny_training.CONFIG, eval_every=4, keep_best=True, patience=3)
    tasks = (testing.changed(IMAGES[0], steps=40),)

    def train(name, *means, checkpoint_every=1_000):
        chosen = dataclasses.replace(config, checkpoint_every=checkpoint_every)
        return tiny_training.train(folder, name, chosen, tasks, evaluate=scripted(*means))

    def saved(name):
        return sorted(int(re.search(r'ckpt-(\d+)', path)[1]) for path in glob.glob(f'{folder}/{name}/ckpt-*.index'))

    with caplog.at_level('INFO', 'polyvit'):
        history, best = train('best', 0.7, 0.5, 0.6, 0.7, checkpoint_every=4)
    assert saved('best') == [4, 12, 16]
    assert history['exported'] == {'steps': 4, 'trained_steps': 16, 'mean': 0.7} and history['total_steps'] == 40
    assert [r['step'] for r in history['evaluations']] == [3, 7, 11, 15] and len(history['steps']) == 16
    assert ('training: ends early, after 16 of 40 steps: in 3 evaluations the mean of the primary metrics was not '
            'better than the 0.7 after 4 steps.') in caplog.messages
    assert any(message.startswith('training: 16 of 16 steps (100%)') for message in caplog.messages)
    kernel = tf.train.load_checkpoint(f'{folder}/best/ckpt-4').get_tensor(
        'model/encoder/norm/gamma/.ATTRIBUTES/VARIABLE_VALUE')
    assert any(np.array_equal(kernel, weight) for weight in best)

    with pytest.raises(PipelineStop, match='by SIGTERM after 8 of 40 steps'):
        train('killed', 0.7, signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        train('killed', 0.5, KeyboardInterrupt)
    assert saved('killed') == [4, 8]
    resumed, weights = train('killed', 0.5, 0.6, 0.7)
    assert tiny_training.digest(weights) == tiny_training.digest(best)
    assert resumed['steps'] == history['steps'] and resumed['exported'] == history['exported']
    assert saved('killed') == [4, 8, 16]

    again, weights = train('killed')  # no evaluation is left, so any training would fail
    assert tiny_training.digest(weights) == tiny_training.digest(best) and again['exported'] == history['exported']

    os.truncate(f'{folder}/killed/ckpt-4.index', 7)
    again, _ = train('killed')
    assert again['exported'] == {'steps': 16, 'trained_steps': 16, 'mean': 0.7}
    assert f'the checkpoint {folder}/killed/ckpt-4 is not whole' in caplog.text


def test_tensorboard_and_history_hold_every_task(folder, monkeypatch):
    monkeypatch.setattr(loop.training, 'TrainSteps', CountingSteps)
    config = dataclasses.replace(tiny_training.CONFIG, warmup_steps=5, checkpoint_every=10)
    mixture = Mixture(TASKS, 'alternating')
    history, _ = tiny_training.train(folder, 'all', config, TASKS, 'alternating')
    with open(f'{folder}/all/history.json') as file:
        assert json.load(file)['steps'] == history['steps']
    assert history['total_steps'] == 18 and history['seconds'] > 0
    expected = [mixture.tasks[i] for i in schedules.task_sequence(mixture)]
    rates = [task.recipe.learning_rate_coefficient * schedules.learning_rate(config, 18, step)
             for step, task in enumerate(expected)]
    assert history['steps'] == [
        {'step': step, 'task': task.name, 'loss': step + 0.5, 'learning_rate': pytest.approx(rates[step]),
         'gradient_norm': pytest.approx(rates[step])} for step, task in enumerate(expected)]

    sizes = {task.name: task.recipe.batch_size for task in TASKS}
    timed = [(speed['step'], speed['task'], speed['examples']) for speed in history['speeds']]
    assert timed == [(step, task.name, sizes[task.name]) for step, task in enumerate(expected) if step >= len(TASKS)]
    assert all(speed['seconds'] > 0 for speed in history['speeds']), 'but the first steps, which are traced'

    values = events(f'{folder}/all')
    assert set(values) == {f'{figure}/{t.name}' for t in TASKS for figure in (
        'loss', 'learning_rate', 'gradient_norm', 'examples_per_second', 'inputs')}
    for task in TASKS:
        steps = [step for step, trained in enumerate(expected) if trained is task]
        assert values[f'loss/{task.name}'] == {step: step + 0.5 for step in steps}
        for figure in ('learning_rate', 'gradient_norm'):
            assert values[f'{figure}/{task.name}'] == {step: pytest.approx(rates[step]) for step in steps}
        speeds = values[f'examples_per_second/{task.name}']  # none for the first step, which is traced
        assert speeds and set(speeds) < set(steps) and all(v > 0 for v in speeds.values())

    # Images of 16x16; spectrograms of 32 frames and 32 bins; four frames of 16x16 side by side.
    for name, size in (('shapes', (16, 16)), ('tones', (32, 32)), ('walks', (64, 16))):
        width, height, *pictures = values[f'inputs/{name}'][0]
        assert (int(width), int(height)) == size and len(pictures) == 4
        decoded = [tf.io.decode_png(picture).numpy() for picture in pictures]
        assert {d.shape[:2] for d in decoded} == {size[::-1]}
        assert all(d.std() > 5 for d in decoded)


@pytest.mark.parametrize('damage', ['{"steps": [', '{"sleps": []}', '[]', '\udcff'])
def test_a_damaged_history_starts_empty_with_a_warning(tmp_path, caplog, damage):
    (tmp_path / 'history.json').write_bytes(damage.encode('utf-8', 'surrogateescape'))
    assert loop._read_history(str(tmp_path), 7) == {
        'steps': [], 'evaluations': [], 'gradients': [], 'speeds': [], 'seconds': 0.0}
    assert 'history.json cannot be read' in caplog.text and 'starts at step 7' in caplog.text


def test_event_files_are_whole_after_a_kill_while_they_were_rewritten(tmp_path, monkeypatch):
    def write(first, steps):
        writer = summaries.Summaries(f'{tmp_path}/tensorboard', first)
        for step in steps:
            writer.scalars(step, {'loss': float(step)})
        writer.close()

    write(0, range(4))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(os, 'replace', _interrupted)
        patch.setattr(file_io, 'remove', lambda path: None)  # a killed process does not clean up
        write(2, ())
    assert glob.glob(f'{tmp_path}/tensorboard/{file_io.TEMPORARY}*')
    write(2, range(2, 5))
    assert sorted(events(tmp_path)['loss']) == [0, 1, 2, 3, 4]
    [path] = [p for p in glob.glob(f'{tmp_path}/tensorboard/*') if os.path.getsize(p) > 200][:1]
    os.truncate(path, os.path.getsize(path) - 3)
    write(9, range(9, 10))
    assert 9 in events(tmp_path)['loss']
    assert not glob.glob(f'{tmp_path}/tensorboard/{file_io.TEMPORARY}*')


def _interrupted(*_, **__):
    raise KeyboardInterrupt


def write_labels(path, task, labels):
    with tf.io.TFRecordWriter(str(path), 'GZIP') as writer:
        for i, label in enumerate(labels):
            writer.write(tiny_training.example(task, i, label).SerializeToString())
    return [str(path)]


def set_constant_logits(model, task, probabilities):
    """Makes the head of the task give the same logits for every input: the logarithms of `probabilities`."""
    head = model.heads[task].output_layer
    head.kernel.assign(tf.zeros_like(head.kernel))
    head.bias.assign(np.log(probabilities))


def test_evaluate_equals_values_computed_by_hand(tmp_path):
    one = testing.task('one', 'image', steps=1, batch_size=2)
    tags = testing.task('tags', 'audio', steps=1, batch_size=2, label_kind='multi')
    pairs = testing.task('pairs', 'image', steps=1, batch_size=2, label_kind='groups', label_groups=('verb', 'noun'))
    unseen = testing.task('unseen', 'image', steps=1, batch_size=2)
    classes = {'one': 3, 'tags': 3, 'pairs': 5, 'unseen': 2}
    model = polyvit.PolyViT(Mixture((one, tags, pairs, unseen)), classes,
                            dataclasses.replace(tiny_training.MODEL, layers=1), {'pairs': ((0, 2), (1, 3, 4))})
    files = {
        'one': write_labels(tmp_path / 'one.gz', one, [0, 1, 1, 2, 1]),
        'tags': write_labels(tmp_path / 'tags.gz', tags, np.float32([[1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 0, 0]])),
        'pairs': write_labels(tmp_path / 'pairs.gz', pairs, np.float32(
            [[1, 0, 0, 1, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0], [1, 0, 0, 1, 0], [1, 0, 0, 0, 1], [1, 0, 0, 1, 0]])),
        'unseen': []}
    evaluate = evaluation.make_evaluate(model, model.config, classes, files, batch_size=2)

    set_constant_logits(model, 'one', [0.25, 0.5, 0.25])
    set_constant_logits(model, 'tags', [3.0, 1.0, 1.0])  # odds, so the sigmoids are 3/4, 1/2 and 1/2
    set_constant_logits(model, 'pairs', [0.75, 0.25, 0.25, 0.5, 0.25])
    values = evaluate()
    assert set(values) == {f'eval/{name}' for name in (
        'one/accuracy', 'one/loss', 'tags/mean_average_precision', 'tags/loss', 'pairs/joint_accuracy', 'pairs/loss')}
    log = np.log
    expected = {
        'eval/one/accuracy': 3 / 5,
        'eval/one/loss': (3 * log(2) + 2 * log(4)) / 5,
        # All scores of a class are equal, so its precision is its share: 3/4 and 2/4. The class without examples is
        # left out.
        'eval/tags/mean_average_precision': (3 / 4 + 2 / 4) / 2,
        'eval/tags/loss': (3 * log(4 / 3) + log(4)) / 4 + 2 * log(2),
        # Verb 0 (of 0, 2) and noun 3 (of 1, 3, 4) have the best scores. Both are right for three of the six.
        'eval/pairs/joint_accuracy': 3 / 6,
        'eval/pairs/loss': ((5 * log(4 / 3) + log(4)) / 6 + (4 * log(2) + 2 * log(4)) / 6) / 2}
    for name, right in expected.items():
        assert values[name] == pytest.approx(right, rel=1e-5), name

    # Every call uses the current weights.
    set_constant_logits(model, 'one', [0.5, 0.25, 0.25])
    assert evaluate()['eval/one/accuracy'] == pytest.approx(1 / 5)


def test_evaluate_pairs_each_input_with_its_label_and_reads_eight_batches(tmp_path, monkeypatch):
    task = testing.task('one', 'image', steps=1, batch_size=2)
    model = polyvit.PolyViT(Mixture((task,)), {'one': 2}, dataclasses.replace(tiny_training.MODEL, layers=1))
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 21).tolist()
    files = {'one': write_labels(tmp_path / 'one.gz', task, labels)}
    model.heads['one'].output_layer.kernel.assign(rng.normal(size=[16, 2]))
    evaluate = evaluation.make_evaluate(model, model.config, {'one': 2}, files, batch_size=2)

    losses, right = [], []
    for i, label in enumerate(labels[:16]):
        media = tiny_training.example(task, i, label).features.feature['image'].bytes_list.value[0]
        pixels = image.decode(tf.constant(media), model.config.input('image'))
        logits = model.logits('one', pixels[tf.newaxis]).numpy()[0]
        losses.append(np.log(np.exp(logits).sum()) - logits[label])
        right.append(logits[label] > logits[1 - label])
    assert 0 < np.mean(right) < 1
    expected = {'eval/one/accuracy': pytest.approx(np.mean(right)),
                'eval/one/loss': pytest.approx(np.mean(losses), rel=1e-5)}
    assert evaluate() == expected

    with monkeypatch.context() as patch:
        patch.setattr(evaluation.interruption, 'requested', lambda: signal.SIGTERM)
        assert evaluate() is None
    assert evaluate() == expected, 'what was cut short is not kept'


def test_a_long_clip_of_large_frames_is_shown_as_a_short_strip():
    clip = tf.ones([2, 20, 224, 336, 3]) * tf.reshape(tf.range(20.0) / 10 - 1, [1, 20, 1, 1, 1])
    strips = video.pictures(clip).numpy()
    assert strips.shape == (2, 112, 8 * 168, 3)
    np.testing.assert_allclose(strips[0, 5, 84::168, 0], np.array([0, 2, 5, 7, 10, 12, 15, 17]) / 20, atol=1e-6)
