"""CoTrainer: what the card says of a model's origin, what names a training, and going on on another machine."""

import glob
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components import run_parameters
from components.classes import Classes, TaskClasses, write_classes
from components.co_trainer import executor
from components.specs import task_input
from model_code import input_pipeline, snapshots
from model_code.serialization import to_json
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from tests import object_stores, testing
from tests.model_code import tiny_training


def _properties(**parameters):
    mixture = Mixture((testing.task('digits', 'image', steps=600),))
    return run_parameters.apply({
        'mixture': to_json(mixture), 'training': to_json(TrainingConfig()), 'model_config': to_json(ModelConfig()),
        'name': 'mine', 'code_version': 'c', **parameters})


def test_the_card_says_which_media_and_with_what_the_run_trained():
    card = executor.model_card(_properties(seed=7, steps_digits=40), {'digits': 'f'})
    assert (card['name'], card['media_fingerprints'], card['code_version']) == ('mine', {'digits': 'f'}, 'c')
    assert (card['training']['seed'], card['training']['warmup_steps']) == (7, 4)
    assert card['model']['width'] == ModelConfig().width
    assert card['versions']['tensorflow'] == tf.__version__ and 'pytest' not in card['versions']
    assert card['config_digest'] != executor.model_card(_properties(steps_digits=41), {})['config_digest']
    assert card['config_digest'] == executor.model_card(_properties(seed=7, steps_digits=40), {})['config_digest']


def test_other_parameters_are_another_training_and_equal_ones_the_same():
    keys = {executor.work_key(_properties(**parameters), {}, {}, {}) for parameters in (
        {}, {'steps_digits': 40}, {'seed': 7})}
    assert len(keys) == 3
    assert executor.work_key(_properties(steps_digits=600, seed=0), {}, {}, {}) in keys


@pytest.mark.parametrize('elsewhere', [False, True])
def test_a_run_says_how_to_see_its_curves_while_it_trains(tmp_path, monkeypatch, caplog, elsewhere):
    def artifact(name, kind):
        made = kind()
        made.uri = os.fspath(tmp_path / name)
        return [made]

    examples = artifact('examples', standard_artifacts.Examples)
    examples[0].split_names = '["train", "eval"]'
    write_classes(str(tmp_path / 'classes'), TaskClasses((), 'f'))
    trained = []
    monkeypatch.setattr(executor, 'read_vocabulary', lambda task, uri: ['a', 'b'])
    monkeypatch.setattr(executor, 'co_train', lambda **arguments: trained.append(arguments))
    monkeypatch.setattr(shutil, 'which', lambda name: None)
    monkeypatch.setattr(sys, 'executable', '/env/bin/python')
    caplog.set_level('INFO', 'polyvit')
    executor.Executor().Do(
        {task_input('examples', 'digits'): examples,
         task_input('transform_graph', 'digits'): artifact('graph', standard_artifacts.TransformGraph),
         task_input('classes', 'digits'): artifact('classes', Classes)},
        {'model': artifact('model', standard_artifacts.Model),
         'model_run': artifact('run/1', standard_artifacts.ModelRun)},
        _properties(unfinished_dir=str(tmp_path / 'shared') if elsewhere else ''))
    folder = trained[0]['snapshots'].folder or trained[0]['checkpoint_dir']
    assert folder.startswith(f'{tmp_path}/{"shared" if elsewhere else "run/unfinished"}/')
    [line] = [record.getMessage() for record in caplog.records if 'curves' in record.getMessage()]
    command = line.removeprefix('training: curves while it runs: ').split()
    assert command[1:4] == ['-m', 'tensorboard.main', '--logdir']
    assert [os.path.abspath(command[0]), os.path.abspath(command[4])] == ['/env/bin/python', f'{folder}/tensorboard']


@pytest.fixture(scope='module')
def examples(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp('examples')
    tiny_training.write_examples(str(folder))
    return str(folder)


def key_of(folder, labels=('a', 'b'), evaluated=0) -> str:
    files = {task.name: tiny_training.files_of(folder, task) for task in tiny_training.TASKS}
    return executor.work_key(_properties(), files, {name: paths[:evaluated] for name, paths in files.items()},
                             {name: list(labels) for name in files})


def test_the_key_tells_trainings_apart_but_not_where_their_examples_lie(examples, tmp_path):
    key = key_of(examples)
    shutil.copytree(examples, tmp_path / 'elsewhere')
    assert key_of(tmp_path / 'elsewhere') == key
    assert len({key, key_of(examples, labels=('a', 'c')), key_of(examples, evaluated=1)}) == 3


def write(path, records):
    with tf.io.TFRecordWriter(str(path), 'GZIP') as writer:
        for record in records:
            writer.write(record)


def test_one_other_label_or_another_order_is_another_fingerprint(tmp_path):
    record = tiny_training.example(tiny_training.TASKS[0], 0, 0).SerializeToString()
    other = tiny_training.example(tiny_training.TASKS[0], 0, 1).SerializeToString()
    for name, records in {'a': [record, other], 'b': [other, record], 'c': [record, record]}.items():
        os.makedirs(tmp_path / name)
        write(tmp_path / name / 'x.gz', records)
    assert len({input_pipeline.fingerprint([str(tmp_path / name / 'x.gz')]) for name in 'abc'}) == 3


def test_the_fingerprint_does_not_read_the_records(tmp_path, monkeypatch):
    path = tmp_path / 'x.gz'
    write(path, [os.urandom(1_000_000)])
    before = input_pipeline.fingerprint([str(path)])
    content = bytearray(path.read_bytes())
    content[500_000] ^= 1
    path.write_bytes(content)
    assert input_pipeline.fingerprint([str(path)]) == before


def weights(output) -> dict[str, bytes]:
    """The files of the last checkpoint of a model run, by name."""
    return {os.path.basename(path): open(path, 'rb').read()
            for path in glob.glob(f'{output}/model_run/checkpoints/ckpt-600.*')}


@pytest.mark.slow
def test_a_training_that_gets_sigterm_goes_on_on_another_machine_to_the_same_weights(examples, tmp_path, s3):
    whole = tiny_training.co_train(examples, str(tmp_path / 'whole'), '')
    unfinished = f'{s3}/unfinished'
    process = subprocess.Popen([sys.executable, '-m', 'tests.model_code.tiny_training', examples,
                                str(tmp_path / 'first'), unfinished], stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 240
        while not any(name.endswith(snapshots.MARKER) for name in object_stores.object_names(unfinished)):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)[1]
    finally:
        process.kill()
        process.wait()
    assert 'Training was stopped by SIGTERM after ' in output and 'They are saved.' in output
    assert process.returncode and os.listdir(tmp_path / 'first') == [], 'nothing is left on the first machine'

    shutil.copytree(f'{examples}/data', tmp_path / 'other/data')  # the next run has its examples elsewhere
    resumed = tiny_training.co_train(str(tmp_path / 'other'), str(tmp_path / 'second'), unfinished)
    assert sorted(os.listdir(tmp_path / 'second')) == ['model', 'model_run']
    assert len(weights(tmp_path / 'whole')) == 2 and weights(tmp_path / 'second') == weights(tmp_path / 'whole')
    assert resumed['steps'] == whole['steps']
    assert snapshots.unfinished(unfinished) == []
