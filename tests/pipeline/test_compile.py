"""Every config compiles for Kubeflow without its data; lanes, the join and code versions are in the spec."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import pytest
import yaml

from model_code.serialization import to_json
from pipeline import arguments, cli
from pipeline.config import config_names, load_config
from pipeline.fingerprints import component_version
from tests import testing

LANE = ('MediaExampleGen', 'StatisticsGen', 'TaskSchemaGen', 'TaskValidator', 'Transform', 'TaskEvaluator')
JOIN = ('CoTrainer', 'ServingBaseline', 'ServingCheck', 'BlessingGate', 'AtomicPusher', 'Report')


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
    """The PipelineSpec of each config, without its data."""
    folder = tmp_path_factory.mktemp('compiled')
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv('POLYVIT_DATA', raising=False)
        patch.setenv('POLYVIT_DEMO_DATA', str(folder / 'none'))
        specs = {}
        for name in config_names():
            assert cli.main(['compile', name, '-o', str(folder / f'{name}.yaml'), '--root', 'gs://bucket/p']) == 0
            specs[name] = yaml.safe_load((folder / f'{name}.yaml').read_text())
        assert sorted(p.name for p in folder.iterdir()) == sorted(f'{name}.yaml' for name in specs)
    return specs


@pytest.mark.parametrize('name', config_names())
def test_all_lanes_and_the_join_are_in_the_spec(compiled, name):
    tasks = [t.name for t in cli._load(arguments.build_parser().parse_args(['plan', name])).mixture.tasks]
    expected = {f'{component}_{task}' for component in LANE for task in tasks} | set(JOIN)
    assert set(compiled[name]['root']['dag']['tasks']) == expected


def test_lanes_depend_on_their_own_task_only(compiled):
    steps = compiled['nine']['root']['dag']['tasks']
    for task in ('cifar10', 'audioset'):
        for component in LANE[:-1]:
            before = steps[f'{component}_{task}'].get('dependentTasks', [])
            assert all(name.endswith(f'_{task}') for name in before)
        assert f'TaskValidator_{task}' in steps[f'Transform_{task}']['dependentTasks']
        assert f'Transform_{task}' in steps['CoTrainer']['dependentTasks']


def test_only_the_lookup_of_the_baseline_is_not_cached(compiled):
    steps = compiled['demo']['root']['dag']['tasks']
    assert [n for n, s in steps.items() if not s.get('cachingOptions', {}).get('enableCache')] == ['ServingBaseline']


def test_executors_are_ours_and_importable_by_name(compiled):
    executors = compiled['demo']['deploymentSpec']['executors']
    arguments = [json.dumps(e) for e in executors.values()]
    for module in ('components.co_trainer.executor', 'components.media_example_gen.executor',
                   'components.blessing_gate.executor', 'components.report.executor'):
        assert any(module in a for a in arguments)


def test_the_version_of_every_component_is_in_its_properties(compiled):
    for name, step in compiled['demo']['root']['dag']['tasks'].items():
        values = {key: value['runtimeValue']['constant'] for key, value in step['inputs']['parameters'].items()}
        assert values['code_version'] == component_version(name.split('_')[0]), name


def test_what_set_changed_is_recorded_by_the_pusher_and_trains_nothing_anew(compiled, tmp_path, monkeypatch):
    monkeypatch.setenv('POLYVIT_DEMO_DATA', str(tmp_path / 'none'))
    settings = ['tasks.digits.gate.floor=0.9', 'tasks.digits.checks.allow_leaks=true']
    path = tmp_path / 'demo.yaml'
    assert cli.main(['compile', 'demo', '-o', str(path), '--root', 'gs://bucket/p',
                     *(word for setting in settings for word in ('--set', setting))]) == 0
    steps = yaml.safe_load(path.read_text())['root']['dag']['tasks']
    parameters = {name: step['inputs']['parameters'] for name, step in steps.items()}
    assert json.loads(parameters['AtomicPusher']['custom_config']['runtimeValue']['constant'])['overrides'] == settings
    before = compiled['demo']['root']['dag']['tasks']
    values = [(steps, json.loads(steps['CoTrainer']['inputs']['parameters']['card']['runtimeValue']['constant']))
              for steps in (before, steps)]
    assert values[0][1] == values[1][1]


def test_a_file_name_of_an_unknown_format_is_an_error(tmp_path, capsys):
    assert cli.main(['compile', 'demo', '-o', str(tmp_path / 'demo.txt')]) == 2
    assert '.yaml' in capsys.readouterr().err and list(tmp_path.iterdir()) == []


def test_the_script_is_the_command_and_no_package_has_its_name(tmp_path):
    """`kubeflow` is the import name of a package that others publish."""
    folder = pathlib.Path(__file__).resolve().parents[2] / 'kubeflow'
    done = subprocess.run([sys.executable, folder / 'kubeflow_v2_runner.py', 'demo', '-o', 'demo.txt'], cwd=tmp_path,
                          env={**os.environ, 'PYTHONPATH': str(folder.parent)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('polyvit: demo.txt: the name of a compiled pipeline must end in')
    assert not (folder / '__init__.py').exists()


class TestWhatALaneDependsOn:
    """Another recipe, threshold or resolution must not change the properties of MediaExampleGen, nor miss its cache."""

    def test_a_task_without_its_recipe_and_thresholds(self):
        task = load_config('demo').mixture['digits']
        other = testing.changed(task, steps=9, batch_size=7, floor=0.1, max_drop=0.5, augmentations=('flip',),
                                learning_rate_coefficient=3.0, max_rejected_share=0.5)
        assert to_json(task.source) == to_json(other.source)
        for changed in (dict(folder='/other'), dict(eval_share=0.5), dict(classes=('a', 'b'))):
            assert to_json(testing.changed(task, **changed).source) != to_json(task.source)

    def test_an_input_without_its_patches(self):
        from pipeline import pipeline as wiring
        spec = load_config('demo').model.input('video')
        assert wiring.reader_spec(dataclasses.replace(spec, height=64, width=64)) == wiring.reader_spec(spec)
        assert wiring.reader_spec(dataclasses.replace(spec, frame_rate=4.0)) != wiring.reader_spec(spec)

    def test_a_mixture_without_its_thresholds(self):
        from pipeline import pipeline as wiring
        mixture = load_config('demo').mixture

        def trained(**changed):
            return wiring.trained_tasks(dataclasses.replace(
                mixture, tasks=tuple(testing.changed(t, **changed) for t in mixture.tasks)))
        assert trained() == trained(floor=0.3, max_drop=0.5, max_rejected_share=0.5, eval_share=0.1,
                                    dropped_classes=('0',))
        assert trained() == wiring.trained_tasks(dataclasses.replace(mixture, dropped_tasks=('old',)))
        assert trained() != trained(batch_size=4)

    def test_other_checks_and_floors_re_run_only_what_judges(self):
        from pipeline import pipeline as wiring
        from pipeline.checks import DataSummary
        config = load_config('demo')
        names = [t.name for t in config.mixture.tasks]
        data = DataSummary({name: ('a', 'b') for name in names}, {name: 'f' for name in names}, {})

        def properties(**changed):
            tasks = tuple(testing.changed(t, **changed) if t.name == 'digits' else t for t in config.mixture.tasks)
            made = wiring.create_pipeline(
                dataclasses.replace(config, mixture=dataclasses.replace(config.mixture, tasks=tasks)), data,
                pipeline_root='/p', serving_dir='/s', served_version='', push_nonce='n', model_key='k')
            return {component.id: component.exec_properties for component in made.components}
        before, after = properties(), properties(max_rejected_share=0.5, allow_leaks=True)
        assert {name for name in before if before[name] != after[name]} == {'TaskValidator_digits', 'Report'}
        after = properties(floor=0.9, max_drop=0.5, dropped_classes=('0',))
        assert {name for name in before if before[name] != after[name]} == {'BlessingGate', 'Report'}

    def test_beam_arguments(self):
        from pipeline import pipeline as wiring
        config = load_config('demo')
        assert wiring.beam_args(config) == [*wiring.LOCAL_BEAM, wiring.NO_PACKAGING]
        flink = dataclasses.replace(config, beam_args=('--runner=FlinkRunner',))
        assert wiring.beam_args(flink) == ['--runner=FlinkRunner']
