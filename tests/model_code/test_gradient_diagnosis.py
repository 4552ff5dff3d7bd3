"""The diagnosis of the tasks' gradients against gradients computed one by one, and against training without it."""

import dataclasses
import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from model_code import gradient_diagnosis, input_pipeline, loop
from model_code.errors import PipelineStop
from tests import testing
from tests.model_code import tiny_training
from tests.model_code.test_loop import events

TASKS = tuple(testing.changed(task, steps=steps) for task, steps in zip(tiny_training.TASKS, (8, 5, 5), strict=True))
CONFIG = dataclasses.replace(tiny_training.CONFIG, warmup_steps=5, gradient_diagnosis_every=4)


def without_times(records: list[dict]) -> list[dict]:
    return [{name: value for name, value in record.items() if name != 'seconds'} for record in records]


def test_a_record_is_the_cosine_and_the_norm_of_whole_batches_by_block_and_in_total():
    rng = np.random.default_rng(0)
    rows = [[[rng.normal(size=(3, 2)).astype(np.float32), rng.normal(size=4).astype(np.float32)] for _ in range(5)]
            for _ in range(2)]  # [block][row][variable]
    products = np.array([gradient_diagnosis.dot_products(block) for block in rows])
    record = gradient_diagnosis.record(11, 3, ['a', 'a', 'b', 'c', 'c'], products, 1.5)
    flat = np.array([[np.concatenate([v.ravel() for v in row]) for row in block] for block in rows])
    flat = [np.concatenate(flat, axis=1), *flat]  # in total, then by block: [row, size]
    whole = {'a': [f[0] + f[1] for f in flat], 'b': [f[2] for f in flat], 'c': [f[3] + f[4] for f in flat]}

    def cosine(x, y):
        return pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), rel=1e-3)

    assert (record['step'], record['first_block'], record['seconds']) == (11, 3, 1.5)
    for entry, (name, vectors) in zip(record['tasks'], whole.items(), strict=True):
        assert entry['task'] == name
        assert [entry['norm'], *entry['norms']] == [pytest.approx(np.linalg.norm(v), rel=1e-3) for v in vectors]
    assert [entry['halves'] for entry in record['tasks']] == [
        cosine(flat[0][0], flat[0][1]), None, cosine(flat[0][3], flat[0][4])]
    for pair, (a, b) in zip(record['pairs'], itertools.combinations(whole, 2), strict=True):
        assert pair['tasks'] == [a, b]
        assert [pair['cosine'], *pair['cosines']] == [cosine(x, y) for x, y in zip(whole[a], whole[b], strict=True)]


def test_gradients_that_are_zero_or_not_finite_have_no_cosine():
    products = np.array([[[0.0, 0.0, 0.0], [0.0, 4.0, np.inf], [0.0, np.inf, np.inf]]])
    record = gradient_diagnosis.record(0, 0, ['zero', 'good', 'bad'], products, 0.0)
    assert [task['norm'] for task in record['tasks']] == [0.0, 2.0, None]
    assert [pair['cosine'] for pair in record['pairs']] == [None, None, None]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert gradient_diagnosis.scalars(record) == {'shared_gradient_norm/zero': 0.0, 'shared_gradient_norm/good': 2.0}


def test_blocks_are_measured_in_groups_that_fit_into_the_memory():
    assert gradient_diagnosis.passes([3, 3, 3, 3, 3], 7) == [[0, 1], [2, 3], [4]]
    assert gradient_diagnosis.passes([9, 9], 7) == [[0], [1]]
    assert gradient_diagnosis.passes([3, 3], 6) == [[0, 1]]


def test_the_history_stays_small():
    assert gradient_diagnosis.kept_every(300, 5, 12) == 1
    every = gradient_diagnosis.kept_every(300, 30, 12)
    measurement = gradient_diagnosis.record(0, 0, [str(i) for i in range(30)], np.ones([12, 30, 30]), 0.0)
    assert 300 // every > 10 and 300 // every * len(json.dumps(measurement)) < 4_000_000


@pytest.mark.slow
def test_it_changes_no_weight_resumes_exactly_and_fits_into_little_memory(folder, monkeypatch):
    never = dataclasses.replace(CONFIG, gradient_diagnosis_every=0)
    plain, weights = tiny_training.train(folder, 'plain', never, TASKS)
    history, diagnosed = tiny_training.train(folder, 'diagnosed', CONFIG, TASKS)
    assert tiny_training.digest(diagnosed) == tiny_training.digest(weights)
    assert history['steps'] == plain['steps'] and plain['gradients'] == []
    records = history['gradients']
    assert [record['step'] for record in records] == [3, 7, 11, 15]
    for record in records:
        assert [pair['tasks'] for pair in record['pairs']] == [
            ['shapes', 'tones'], ['shapes', 'walks'], ['tones', 'walks']]
        assert all(len(pair['cosines']) == 2 and -1 <= pair['cosine'] <= 1 for pair in record['pairs'])
        assert all(task['norm'] > 0 and -1 <= task['halves'] <= 1 for task in record['tasks'])
    with open(f'{folder}/diagnosed/history.json') as file:
        assert json.load(file)['gradients'] == records

    values = events(f'{folder}/diagnosed')
    assert values['gradient_cosine/tones/walks'] == {
        record['step']: pytest.approx(record['pairs'][2]['cosine']) for record in records}
    assert set(values['shared_gradient_norm/shapes']) == {3, 7, 11, 15}
    assert set(values['gradient_cosine_of_halves/walks']) == {3, 7, 11, 15}

    # One block at a time, stopped after 7 of 18 steps: the same measurements.
    monkeypatch.setattr(gradient_diagnosis, 'MEMORY', 1)
    with monkeypatch.context() as patch:
        patch.setattr(loop._Training, '_interrupted', lambda self: self._progress._progress.done == 7)
        patch.setattr(loop.schedules, 'run_length', lambda *_: 1)
        with pytest.raises(PipelineStop, match='after 7 of 18 steps'):
            tiny_training.train(folder, 'stopped', CONFIG, TASKS)
    resumed, again = tiny_training.train(folder, 'stopped', CONFIG, TASKS)
    assert without_times(resumed['gradients']) == without_times(records)
    assert tiny_training.digest(again) == tiny_training.digest(weights)


@pytest.mark.slow
def test_the_gradients_are_those_of_the_shared_blocks_alone(folder, monkeypatch):
    """Of the untrained model on the first batches, with a learning rate of 0, against tf.GradientTape."""
    seen = {}

    class Watched(gradient_diagnosis.GradientDiagnosis):
        def __init__(self, strategy, model, steps, tasks, datasets, done, chief=True):
            super().__init__(strategy, model, steps, tasks, datasets, done, chief)
            seen.update(model=model, datasets=datasets)

    monkeypatch.setattr(loop.gradient_diagnosis, 'GradientDiagnosis', Watched)
    config = dataclasses.replace(CONFIG, learning_rate=0.0, weight_decay=0.0, gradient_diagnosis_every=1)
    tasks = [testing.changed(task, steps=1, stochastic_depth=0.0, token_share=1.0) for task in TASKS[:2]]
    model_config = dataclasses.replace(tiny_training.MODEL, layers=3, modality_layers=1, dropout=0.0)
    history, _ = tiny_training.train(folder, 'alone', config, tasks, 'alternating', model_config)
    model, flat = seen['model'], {}
    for task in tasks:
        inputs, labels = next(iter(seen['datasets'][task.name](0, input_pipeline.ONE_HOST)))
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(model.loss(task.name, inputs, labels))
        gradients = tape.gradient(loss, [block.trainable_variables for block in model.encoder.blocks])
        flat[task.name] = [np.concatenate([g.numpy().ravel() for g in block]) for block in gradients]
    measured = history['gradients'][0]
    assert measured['first_block'] == 1
    (a, b) = flat.values()
    products = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    assert measured['pairs'][0]['cosines'] == pytest.approx(products, abs=1e-4)
    for entry in measured['tasks']:
        assert entry['norms'] == pytest.approx([np.linalg.norm(v) for v in flat[entry['task']]], rel=1e-3)
