"""Only whole checkpoints are loaded, and only finite weights are saved."""

import glob
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf
import tf_keras

from model_code import checkpoints, file_io, loop, summaries
from model_code.checkpoints import Checkpoints, stop_if_disk_full
from model_code.errors import PipelineStop
from tests import testing


class Model(tf.Module):

    def __init__(self):
        super().__init__()
        self.kernel = tf.Variable(tf.zeros([3, 4]), name='kernel')
        self.bias = tf.Variable(tf.zeros([4]), name='bias')


def make(directory) -> tuple[Model, Checkpoints]:
    model, optimizer = Model(), tf_keras.optimizers.Adam()
    optimizer.build(model.trainable_variables)
    return model, Checkpoints(str(directory), model, optimizer)


def save_twice(directory):
    """Saves checkpoints after 1 and 2 steps. Every weight has the number of the step."""
    model, saved = make(directory)
    for step in (1, 2):
        for variable in model.trainable_variables:
            variable.assign(tf.fill(variable.shape, float(step)))
        saved.save(step)


def restored(directory) -> tuple[int, set[float]]:
    """(steps done, the set of values of all weights) after restoring."""
    model, saved = make(directory)
    steps = saved.restore()
    return steps, set(np.concatenate([v.numpy().ravel() for v in model.trainable_variables]))


def data_file(directory, step=2):
    return f'{directory}/ckpt-{step}.data-00000-of-00001'


def flip(path, position, bit=0):
    with open(path, 'r+b') as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def half_written(directory):
    """What a kill leaves before TensorFlow merges the parts of a checkpoint."""
    os.makedirs(f'{directory}/ckpt-2_temp')
    shutil.move(data_file(directory), f'{directory}/ckpt-2_temp/part-00000-of-00001.data-00000-of-00001')
    os.remove(f'{directory}/ckpt-2.index')


DAMAGES = {
    'truncated data': lambda d: os.truncate(data_file(d), os.path.getsize(data_file(d)) // 2),
    'empty data': lambda d: os.truncate(data_file(d), 0),
    'flipped bit in the data': lambda d: flip(data_file(d), os.path.getsize(data_file(d)) // 2),
    'missing data': lambda d: os.remove(data_file(d)),
    'missing index': lambda d: os.remove(f'{d}/ckpt-2.index'),
    'truncated index': lambda d: os.truncate(f'{d}/ckpt-2.index', os.path.getsize(f'{d}/ckpt-2.index') // 2),
    'empty index': lambda d: os.truncate(f'{d}/ckpt-2.index', 0),
    'half-written': half_written,
}


@pytest.mark.parametrize('damage', DAMAGES)
def test_a_damaged_checkpoint_is_not_loaded_but_the_one_before_it_is(tmp_path, caplog, damage):
    save_twice(tmp_path)
    assert restored(tmp_path) == (2, {2.0})
    DAMAGES[damage](tmp_path)
    model, saved = make(tmp_path)
    assert saved.restore() == 1 and saved.latest == f'{tmp_path}/ckpt-1'
    assert {*model.kernel.numpy().ravel(), *model.bias.numpy()} == {1.0}
    if damage != 'half-written':  # then no file has the name of a checkpoint
        assert f'the checkpoint {tmp_path}/ckpt-2 is not whole (' in caplog.text


def test_no_flipped_bit_is_loaded_whatever_its_position(tmp_path):
    save_twice(tmp_path)
    rejected = 0
    for path in (data_file(tmp_path), f'{tmp_path}/ckpt-2.index'):
        for position in range(os.path.getsize(path)):
            flip(path, position, position % 8)
            if checkpoints._problem(f'{tmp_path}/ckpt-2'):
                rejected += 1
            else:  # the bit has no meaning
                assert restored(tmp_path) == (2, {2.0}), (path, position)
            flip(path, position, position % 8)
    assert restored(tmp_path) == (2, {2.0})
    assert rejected > 100


def test_if_no_checkpoint_is_whole_training_starts_from_step_0_and_the_log_says_so(tmp_path, caplog):
    assert restored(tmp_path) == (0, {0.0})
    assert not caplog.messages
    save_twice(tmp_path)
    for step in (1, 2):
        os.truncate(data_file(tmp_path, step), 7)
    assert restored(tmp_path) == (0, {0.0})
    assert f'no checkpoint in {tmp_path} is whole; training starts from step 0' in caplog.text
    save_twice(tmp_path)
    assert restored(tmp_path) == (2, {2.0})


def test_a_checkpoint_of_another_model_or_optimizer_is_not_loaded_in_part(tmp_path):
    save_twice(tmp_path)
    for change in ('optimizer', 'shape'):
        model = Model()
        if change == 'shape':
            model.bias = tf.Variable(tf.zeros([5]), name='bias')
        optimizer = tf_keras.optimizers.Adam() if change == 'shape' else tf_keras.optimizers.Adagrad()
        optimizer.build(model.trainable_variables)
        with pytest.raises(PipelineStop, match='ckpt-2 belongs to another model or optimiser'):
            Checkpoints(str(tmp_path), model, optimizer).restore()


def test_a_checkpoint_that_tensorflows_own_list_does_not_name_counts(tmp_path):
    """A kill between writing a checkpoint and updating the list of checkpoints."""
    model, saved = make(tmp_path)
    saved.save(1)
    before = (tmp_path / 'checkpoint').read_bytes()
    model.kernel.assign_add(tf.ones([3, 4]))
    saved.save(2)
    (tmp_path / 'checkpoint').write_bytes(before)
    assert restored(tmp_path) == (2, {0.0, 1.0})


def test_leftovers_of_killed_saves_are_removed_and_nothing_else(tmp_path):
    save_twice(tmp_path)
    kept = sorted(os.listdir(tmp_path))
    os.makedirs(tmp_path / 'ckpt-3_temp')
    (tmp_path / 'ckpt-3_temp/part-00000-of-00001.data-00000-of-00001.tempstate12').write_bytes(b'half')
    (tmp_path / 'checkpoint.tmp0123456789abcdef').write_bytes(b'half')
    (tmp_path / f'{file_io.TEMPORARY}0123456789abcdef.json').write_bytes(b'half')
    make(tmp_path)[1].remove_leftovers()
    assert sorted(os.listdir(tmp_path)) == kept
    assert restored(tmp_path) == (2, {2.0})


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_weights_that_are_not_finite_are_not_saved(tmp_path, bad):
    save_twice(tmp_path)
    model, saved = make(tmp_path)
    saved.restore()
    model.bias.assign([0, 0, bad, 0])
    with pytest.raises(PipelineStop, match='after step 4: the weights in bias:0 are not finite, and were not saved. '
                                           f'The last good checkpoint is {tmp_path}/ckpt-2. '):
        saved.save(5)
    assert sorted(p.name for p in tmp_path.glob('ckpt-*.index')) == ['ckpt-1.index', 'ckpt-2.index']


def test_a_full_disk_while_a_checkpoint_is_written(small_disk):
    model, saved = make(small_disk)
    saved.save(1)
    testing.fill_disk(small_disk)
    model.kernel.assign_add(tf.ones([3, 4]))
    with pytest.raises(PipelineStop, match=f'no space left to write to {small_disk}. .*resumes from its newest'):
        with stop_if_disk_full(small_disk):
            saved.save(2)
    assert restored(small_disk) == (1, {0.0})

    os.remove(f'{small_disk}/ballast')
    again = make(small_disk)[1]
    assert again.restore() == 1
    again.remove_leftovers()
    again.save(2)
    assert not glob.glob(f'{small_disk}/*_temp')
    assert restored(small_disk)[0] == 2


def test_a_full_disk_while_history_is_written(small_disk):
    loop.write_history(small_disk, {'steps': [], 'evaluations': [], 'gradients': [], 'speeds': [], 'seconds': 1.0})
    testing.fill_disk(small_disk)
    with pytest.raises(PipelineStop, match='no space left'):
        with stop_if_disk_full(small_disk):
            loop.write_history(small_disk, {'steps': [], 'seconds': 2.0})
    os.remove(f'{small_disk}/ballast')
    assert loop._read_history(small_disk, 1)['seconds'] == 1.0


def test_a_full_disk_while_event_files_are_written(small_disk):
    writer = summaries.Summaries(f'{small_disk}/tensorboard', 0)
    writer.scalars(0, {'loss': 1.0})
    writer.flush()
    testing.fill_disk(small_disk)
    with pytest.raises(PipelineStop, match='no space left'):
        with stop_if_disk_full(small_disk):
            for step in range(1, 400):
                writer.scalars(step, {'loss': 1.0})
            writer.flush()

    # A start before there is space again: it rewrites the event files of the earlier run without their later points.
    with pytest.raises(PipelineStop, match='no space left'):
        with stop_if_disk_full(small_disk):
            summaries.Summaries(f'{small_disk}/tensorboard', 200)
