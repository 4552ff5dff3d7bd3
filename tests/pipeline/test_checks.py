"""Checks before a run: what the names of the media show, how batches divide, which classes would be lost."""

import dataclasses
import json
import logging

import pytest

from model_code import model_directory
from model_code.errors import ConfigError
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import checks
from pipeline.config import PipelineConfig, load_config
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


@pytest.mark.parametrize('name', ['run[1]', 'a*', 'what?'])
def test_a_root_that_is_a_pattern_stops_before_anything_is_written(tmp_path, name):
    task = testing.image_task(tmp_path / 'media')
    config = PipelineConfig('mine', Mixture((task,)), ModelConfig(), root=str(tmp_path / name))
    with pytest.raises(ConfigError, match='takes a path with .* for a pattern'):
        checks.check(config)
    assert not (tmp_path / name).exists()


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


def test_a_plan_looks_at_starting_weights_that_are_here(tmp_path):
    path = tmp_path / 'vit.safetensors'
    path.write_bytes(bytes(8))
    with pytest.raises(ConfigError, match='vit.safetensors is not a whole safetensors file'):
        checks.check_plannable(_config(initial_checkpoint=str(path)))
    # What is elsewhere may be where the run will be.
    checks.check_plannable(_config(initial_checkpoint=str(tmp_path / 'other.safetensors')))
    checks.check_plannable(_config(initial_checkpoint='gs://bucket/vit.bin'))


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


class TestWhatIsServed:
    """A class or task that the served model knows and the data lack is found before anything runs."""

    @pytest.fixture
    def check(self, tmp_path):
        """check(served, **fields of the task): checks a config whose root serves a version 7 with these tasks."""
        def check(served, dropped_tasks=(), **fields):
            task = testing.image_task(tmp_path / 'data', classes=('cats', 'dog', 'cow'), **fields)
            config = PipelineConfig('pets', Mixture((task,), dropped_tasks=dropped_tasks), root=str(tmp_path / 'root'),
                                    model=ModelConfig(inputs=(testing.IMAGE_SPEC,)), training=TrainingConfig())
            version = config.serving_dir / '7'
            model_directory.write_card(str(version), {
                'tasks': [{'name': name, 'classes': labels} for name, labels in served.items()]})
            testing.write(version, 'saved_model.pb', b'')
            return checks.check(config)
        return check

    def test_a_renamed_folder(self, check, tmp_path):
        with pytest.raises(ConfigError) as error:
            check({'shapes': ['cat', 'dog', 'cow']})
        assert str(error.value) == (
            "shapes: its data no longer have the class 'cat', which version 7 knows. 'cats' is new: was 'cat' renamed? "
            "If that is intended, allow it: Gate(..., dropped_classes=('cat',)). "
            f"Version 7 is in {tmp_path / 'root' / 'serving' / 'polyvit'}.")

    def test_what_the_config_allows(self, check):
        data = check({'shapes': ['cat', 'dog', 'cow'], 'old': ['x', 'y']}, dropped_tasks=('old',),
                     dropped_classes=('cat',))
        assert set(data.classes['shapes']) == {'cats', 'dog', 'cow'}

    def test_another_configs_version(self, check):
        with pytest.raises(ConfigError, match='no longer has the task old, .* give this run another --root'):
            check({'old': ['x', 'y']})

    def test_new_classes_are_remarked_on(self, check, caplog):
        check({'shapes': ['dog', 'cow']})
        assert "version 7 does not know the class 'cats' of its data" in caplog.text
