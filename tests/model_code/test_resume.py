"""An interrupted training ends as if it had not been interrupted."""

import dataclasses
import glob
import os
import random
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf

from tests.model_code import tiny_training

pytestmark = pytest.mark.slow


def points(directory):
    """(tag, step) of every scalar in the event files."""
    tags_and_steps = []
    for path in glob.glob(os.path.join(directory, 'tensorboard', 'events.*')):
        for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
            event = tf.compat.v1.Event.FromString(record)
            tags_and_steps += [(value.tag, event.step) for value in event.summary.value
                               if 'per_second' not in value.tag]
    return tags_and_steps


def test_a_killed_training_resumes_to_the_same_weights_bit_for_bit(folder):
    # It is also evaluated, the one that is killed is not: evaluation changes no weight.
    config = dataclasses.replace(tiny_training.CONFIG, eval_every=90)
    whole_history, whole = tiny_training.train(folder, 'whole', config)
    assert [record['step'] for record in whole_history['evaluations']] == [89, 179]

    process = subprocess.Popen([sys.executable, '-m', 'tests.model_code.tiny_training', folder])
    try:
        deadline = time.monotonic() + 240
        while not glob.glob(f'{folder}/checkpoints/ckpt-*.index'):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert not glob.glob(f'{folder}/checkpoints/ckpt-240*')

    history, resumed = tiny_training.train(folder)
    assert tiny_training.digest(resumed) == tiny_training.digest(whole)
    assert history['steps'] == whole_history['steps']
    assert sorted(points(f'{folder}/checkpoints')) == sorted(
        point for point in points(f'{folder}/whole') if not point[0].startswith('eval/'))
