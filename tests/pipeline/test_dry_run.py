"""`polyvit run --dry-run`: what it says, and that the next run does just that."""

import dataclasses
import json
import os
import pathlib
import shutil

import pytest

from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import cli, differences, dry_run, run_record, unchanged
from pipeline.config import PipelineConfig
from pipeline.dry_run import Execution, Node
from tests import testing


class TestDecide:
    """Reader -> Trainer -> Gate; Gate also takes what the reader made."""
    SLOW, FAST = {'training': '{"learning_rate": 0.1}'}, {'training': '{"learning_rate": 0.2}'}
    NODES = [Node('Reader_a', {'media_fingerprint': 'm'}, {}, ['--runner=B']),
             Node('Trainer', SLOW, {'examples': [('Reader_a', 'examples')]}),
             Node('Gate', {}, {'model': [('Trainer', 'model')], 'examples': [('Reader_a', 'examples')]})]
    PAST = {'Reader_a': [Execution({'media_fingerprint': 'm'}, {}, {'examples': [1]}, ['/reader'])],
            'Trainer': [Execution(SLOW, {'examples': [1]}, {'model': [2]}, ['/trainer'])],
            'Gate': [Execution({}, {'model': [2], 'examples': [1]}, {'blessing': [3]}, ['/gate'])]}

    def test_nothing_changed(self):
        assert dry_run.decide(self.NODES, self.PAST) == {'Reader_a': [], 'Trainer': [], 'Gate': []}

    def test_nothing_has_run(self):
        assert set(map(tuple, dry_run.decide(self.NODES, {}).values())) == {('it has not run yet',)}

    def test_what_depends_on_it_runs_too(self):
        nodes = [self.NODES[0], dataclasses.replace(self.NODES[1], properties=self.FAST), self.NODES[2]]
        assert dry_run.decide(nodes, self.PAST) == {
            'Reader_a': [], 'Trainer': ['training.learning_rate 0.1 -> 0.2'], 'Gate': ['after Trainer']}
        nodes[0] = dataclasses.replace(nodes[0], properties={'media_fingerprint': 'n'})
        assert dry_run.decide(nodes, self.PAST) == {
            'Reader_a': ['its media changed'], 'Trainer': ['training.learning_rate 0.1 -> 0.2', 'after Reader a'],
            'Gate': ['after Reader a, Trainer']}

    def test_an_older_execution_answers_too(self):
        newer = Execution({'media_fingerprint': 'n'}, {}, {'examples': [9]}, ['/newer'])
        past = self.PAST | {'Reader_a': [newer, *self.PAST['Reader_a']]}
        assert not any(dry_run.decide(self.NODES, past).values())

    def test_of_equal_properties_and_other_inputs(self):
        past = self.PAST | {'Trainer': [dataclasses.replace(self.PAST['Trainer'][0], inputs={'examples': [7]})]}
        assert dry_run.decide(self.NODES, past)['Trainer'] == ['its inputs are others than last time']

    def test_what_is_gone_is_made_again(self):
        past = self.PAST | {'Trainer': [dataclasses.replace(self.PAST['Trainer'][0], is_there=False)]}
        assert dry_run.decide(self.NODES, past)['Trainer'] == ['what it had made is gone']

    def test_another_beam_runner_reruns_what_runs_on_beam(self):
        reasons = dry_run.decide(self.NODES, self.PAST, {'/reader': ['--runner=A']})
        assert reasons == {'Reader_a': ['it is to run on another Beam runner, or with other options'],
                           'Trainer': ['after Reader a'], 'Gate': ['after Reader a, Trainer']}
        assert not any(dry_run.decide(self.NODES, self.PAST, {'/reader': ['--runner=B']}).values())


def _task(name, **recipe):
    return {'name': name, 'recipe': {'steps': 4, 'batch_size': 2} | recipe}


class TestDifferences:
    """Properties as components get them, JSON in JSON included."""

    @pytest.mark.parametrize('component, old, new, reasons', [
        ('CoTrainer', {'mixture': {'schedule': 'weighted', 'tasks': [_task('a'), _task('b')]}},
         {'mixture': {'schedule': 'uniform', 'tasks': [_task('a'), _task('b', steps=8)]}},
         ['mixture.schedule weighted -> uniform', 'tasks.b.recipe.steps 4 -> 8']),
        ('CoTrainer', {'mixture': {'tasks': [_task('a'), _task('b')]}},
         {'mixture': {'tasks': [_task('b'), _task('c')]}}, ['task c is new', 'task a is gone']),
        ('CoTrainer', {'model_config': {'width': 16, 'inputs': [{'modality': 'image', 'patch': [8, 8]}]}},
         {'model_config': {'width': 16, 'inputs': [{'modality': 'image', 'patch': [4, 8]}]}},
         ['model.inputs.image.patch 8,8 -> 4,8']),
        ('Transform_a', {'spec': {'modality': 'audio', 'frames': 96}}, {'spec': {'modality': 'audio', 'frames': 48}},
         ['model.inputs.audio.frames 96 -> 48']),
        ('MediaExampleGen_a', {'source': {'name': 'a', 'data': {'eval_share': 0.2}}, 'media_fingerprint': 'm'},
         {'source': {'name': 'a', 'data': {'eval_share': 0.5}}, 'media_fingerprint': 'n'},
         ['its media changed', 'tasks.a.data.eval_share 0.2 -> 0.5']),
        ('TaskValidator_a', {'checks': {'allow_leaks': False}}, {'checks': {'allow_leaks': True}},
         ['tasks.a.checks.allow_leaks False -> True']),
        ('TaskEvaluator_a', {'probe': {'linear': False}}, {'probe': {'linear': True}},
         ['tasks.a.probe.linear False -> True']),
        ('ServingBaseline', {'served_version': ''}, {'served_version': '7'}, ['version 7 is being served']),
        ('AtomicPusher', {'custom_config': {'push_nonce': 'p', 'served_version': '7'}},
         {'custom_config': {'push_nonce': 'q', 'served_version': '8'}}, ['version 8 is being served, not 7']),
        ('AtomicPusher', {'custom_config': {'push_nonce': 'p', 'served_version': '7'}},
         {'custom_config': {'push_nonce': 'q', 'served_version': '7'}},
         ['the version that is being served came from another run']),
        ('AtomicPusher', {'custom_config': {'served_version': '7'}},
         {'custom_config': {'served_version': '7', 'overrides': ['training.seed=1']}},
         ['other settings were typed (--set)']),
        # Changed code may take other properties; only what both have tells of the config.
        ('Report', {'mixture': {'schedule': 'a'}, 'old': '1', 'code_version': 'x'},
         {'mixture': {'schedule': 'b'}, 'new': '2', 'code_version': 'y'},
         ['its code or a library changed', 'mixture.schedule a -> b']),
    ])
    def test_in_the_words_of_the_config(self, component, old, new, reasons):
        old, new = ({name: json.dumps(value) if isinstance(value, (dict, list)) else value
                     for name, value in properties.items()} for properties in (old, new))
        assert differences.describe(component, old, new) == reasons
        assert differences.describe(component, old, old) == []


@pytest.mark.slow
class TestTheNextRun:
    """Real runs of a tiny task. What runs is compared with what the dry run before it said."""

    def _config(self, home: pathlib.Path, steps=4, max_drop=1.0) -> PipelineConfig:
        task = testing.changed(testing.task('shapes', 'image', folder=str(home / 'shapes')), steps=steps, batch_size=4,
                               max_drop=max_drop)
        return PipelineConfig(
            'dry', Mixture((task,)),
            ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=(testing.IMAGE_SPEC,)),
            TrainingConfig(warmup_steps=2, checkpoint_every=100), root=str(home / 'root'))

    def _check(self, config) -> dict[str, list[str]]:
        """The dry run's reasons, after a run has done just what it said."""
        from pipeline import checks, local_runner
        said = dry_run._reasons(config, checks.check(config))
        before = _files(config.run_root)
        assert dry_run.run(config) == 0 and _files(config.run_root) == before
        assert local_runner.run(config) == 0
        components = run_record.read(str(config.run_root)).components
        assert {name for name, why in said.items() if why} == {n for n, c in components.items() if not c.cached}
        assert set(said) == set(components)
        return {name: why for name, why in said.items() if why}

    def test_does_what_the_dry_run_said(self, tmp_path, capfd, monkeypatch):
        # Every run asks TFX's cache, also one whose equal has run before.
        monkeypatch.setattr(unchanged, 'equal_run', lambda config, run_key: None)
        testing.image_task(tmp_path / 'shapes', per_class=8, eval_per_class=4)
        config = self._config(tmp_path)
        assert set(map(tuple, self._check(config).values())) == {('it has not run yet',)}
        assert self._check(config) == {}

        said = self._check(self._config(tmp_path, max_drop=0.9))
        assert said['BlessingGate'] == ['tasks.shapes.gate.max_drop 1.0 -> 0.9']
        assert 'CoTrainer' not in said and 'TaskEvaluator_shapes' not in said

        capfd.readouterr()
        config = self._config(tmp_path, steps=6)
        testing.write(tmp_path / 'shapes', 'train/left/new.png', testing.image_bytes(size=(16, 16), seed=99))
        said = self._check(config)
        assert said['MediaExampleGen_shapes'] == ['its media changed']
        assert said['TaskSchemaGen_shapes'] == ['after MediaExampleGen shapes']
        assert said['CoTrainer'] == ['tasks.shapes.recipe.steps 4 -> 6',
                                     'after MediaExampleGen shapes, Transform shapes']
        text = capfd.readouterr().out
        assert 'Training  6 steps; by the plan under a second' in text and 'when they last ran' in text

        newest = max(config.serving_dir.iterdir(), key=lambda path: int(path.name))
        shutil.rmtree(newest)
        assert set(self._check(config)) == {'AtomicPusher'}


def _files(root: pathlib.Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob('*'))


def test_a_wrong_config_ends_as_a_run_does(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(['run', 'demo', '--dry-run']) == 2
    assert 'there is no folder' in capsys.readouterr().err and os.listdir(tmp_path) == []


@pytest.mark.parametrize('typed, first', [
    (('run',), 'polyvit demo` makes them and runs'), (('plan',), 'polyvit demo` makes them and runs'),
    (('data', 'check'), 'polyvit demo` makes them and runs'), (('data', 'show'), 'polyvit demo` makes them and runs'),
    (('run', '--root', 'r'), 'polyvit data demo runs/demo/media` makes them.'),
    (('run', '--root', 'r', '--data', 'r/media'), 'polyvit demo --root r` makes them and runs')])
def test_before_the_demo_has_made_its_media_it_is_named(tmp_path, capsys, monkeypatch, typed, first):
    monkeypatch.chdir(tmp_path)
    for name in ('POLYVIT_DATA', 'POLYVIT_DEMO_DATA'):  # --data sets them for the whole process
        monkeypatch.setenv(name, 'runs/demo/media')
    assert cli.main([*typed, 'demo']) == 2
    error = ' '.join(capsys.readouterr().err.split())
    assert 'The media of the demo are not there yet: there is no folder ' in error and first in error
    assert os.listdir(tmp_path) == []


def test_media_of_another_config_are_not_those_of_the_demo(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    testing.write(tmp_path, 'mine.py', "from polyvit import *\ndef get_config():\n    return PipelineConfig('demo', "
                  "Mixture((Task('t', 'image', data=Data('none'), recipe=Recipe(4, 4)),)), ModelConfig())\n")
    assert cli.main(['run', 'mine.py']) == 2
    error = capsys.readouterr().err
    assert 'Task t: there is no folder' in error and 'The media of the demo' not in error
