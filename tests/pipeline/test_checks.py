"""Checks before a run: what the names of the media alone show, and how batches divide."""

import dataclasses
import json
import logging

import pytest

from model_code.errors import ConfigError
from pipeline import checks
from pipeline.config import load_config
from tests import testing


def _check(task) -> checks.DataSummary:
    data = checks.DataSummary({}, {}, {})
    checks._add_task(data, task)
    return data


def test_too_many_unusable_rows_stop_before_anything_is_read(tmp_path):
    task = testing.audio_task(tmp_path)
    with open(tmp_path / 'manifest.csv', 'a') as manifest:
        manifest.writelines(f'../../{i:02d}.wav,low,train\n' for i in range(12))
    message = r'12 of 24 files .*The first 10: .*bad_path: .*/00\.wav may lead out'
    with pytest.raises(ConfigError, match=message) as error:
        _check(task)
    assert '/09.wav' in str(error.value) and '/10.wav' not in str(error.value)


def test_labels_spelled_in_two_ways_and_small_classes_are_reported_at_once(tmp_path, caplog):
    task = testing.image_task(tmp_path, min_class_examples=2)
    testing.write(tmp_path, 'train/Left/0.png', testing.image_bytes(seed=99))
    with caplog.at_level(logging.WARNING, 'polyvit'):
        data = _check(task)
    assert data.classes == {'shapes': ('Left', 'left', 'right')} and data.counts == {'shapes': {'train': 9, 'eval': 4}}
    assert "'Left', 'left'" in caplog.text
    assert '1 class with fewer than 2 train examples: Left (1)' in caplog.text


def _config(**training):
    config = load_config('nine')
    return dataclasses.replace(config, training=dataclasses.replace(config.training, **training))


def test_batches_divide_over_the_replicas():
    with pytest.raises(ConfigError, match='batch_size is .*, which does not divide over 7 replicas'):
        _config(strategy='mirrored', replicas=7)


@pytest.mark.parametrize('cluster', [{'worker': 7 * ['host:1']}, {'chief': ['host:1'], 'worker': 6 * ['host:1']}])
def test_batches_divide_over_the_workers(cluster, monkeypatch):
    config = _config(strategy='multi_worker')
    checks.check_workers(config)
    monkeypatch.setenv('TF_CONFIG', json.dumps({'cluster': cluster}))
    with pytest.raises(ConfigError, match='batch_size is .*, which does not divide over 7 replicas'):
        checks.check_workers(config)


@pytest.mark.parametrize('text', ['{', '[]', '{"cluster": []}', '{"cluster": {"worker": 2}}'])
def test_a_wrong_tf_config(text, monkeypatch):
    monkeypatch.setenv('TF_CONFIG', text)
    with pytest.raises(ConfigError, match='TF_CONFIG is not the JSON that TensorFlow expects'):
        checks.check_workers(_config(strategy='multi_worker'))
