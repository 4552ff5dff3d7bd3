"""Every config compiles for Kubeflow and Vertex AI and knows nothing of its data; what the specification says of tasks
and pods."""

import dataclasses
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import yaml

from components.blessing_gate import executor as blessing_gate
from model_code.errors import ConfigError
from model_code.serialization import to_json
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import arguments, cli
from pipeline.beam.settings import COMPONENTS, Beam
from pipeline.config import PipelineConfig, config_names, load_config
from pipeline.fingerprints import component_version
from pipeline.kubeflow import compiled as compiled_form
from pipeline.kubeflow import compiler, containers, entry_point, folders, names, targets
from pipeline.kubeflow import spec as additions
from pipeline.kubeflow.resources import Cluster, Resources
from tests import kubeflow_backend, testing

LANE = ('MediaListing', 'MediaExampleGen', 'StatisticsGen', 'TaskSchemaGen', 'TaskValidator', 'Transform',
        'TaskEvaluator')
JOIN = ('ServedDataLookup', 'DataDrift', 'CoTrainer', 'BaselineLookup', 'ServingBaseline', 'ServingCheck',
        'BlessingGate', 'AtomicPusher', 'Report')


IMAGE = 'registry/polyvit-pipeline:1'


def _data_in_a_bucket(patch: pytest.MonkeyPatch):
    for name in ('POLYVIT_DATA', 'POLYVIT_DEMO_DATA'):
        patch.setenv(name, 's3://bucket/media')


@pytest.fixture(scope='module')
def compiled(tmp_path_factory):
    """The PipelineSpec of each config, without its data."""
    folder = tmp_path_factory.mktemp('compiled')
    with pytest.MonkeyPatch.context() as patch:
        _data_in_a_bucket(patch)
        specs = {}
        for name in config_names():
            assert cli.main(['compile', name, '-o', str(folder / f'{name}.yaml'), '--root', 'gs://bucket/p',
                             '--image', IMAGE]) == 0
            [specs[name]] = yaml.safe_load_all((folder / f'{name}.yaml').read_text())
        assert sorted(p.name for p in folder.iterdir()) == sorted(f'{name}.yaml' for name in specs)
    return specs


@pytest.mark.parametrize('name', config_names())
def test_all_lanes_and_the_join_are_in_the_spec(compiled, name):
    tasks = [t.name for t in cli._load(arguments.build_parser().parse_args(['plan', name])).mixture.tasks]
    expected = {f'{component}-{task.replace("_", "-")}' for component in LANE for task in tasks} | set(JOIN)
    assert set(compiled[name]['root']['dag']['tasks']) == expected


def test_lanes_depend_on_their_own_task_only(compiled):
    steps = compiled['nine']['root']['dag']['tasks']
    for task in ('cifar10', 'audioset'):
        for component in LANE[:-1]:
            before = steps[f'{component}-{task}'].get('dependentTasks', [])
            assert all(name.endswith(f'-{task}') for name in before)
        assert f'TaskValidator-{task}' in steps[f'Transform-{task}']['dependentTasks']
        assert f'Transform-{task}' in steps['CoTrainer']['dependentTasks']


def test_what_looks_at_the_media_and_at_what_is_served_is_not_cached(compiled):
    steps = compiled['demo']['root']['dag']['tasks']
    uncached = {name for name, step in steps.items() if not step.get('cachingOptions', {}).get('enableCache')}
    assert uncached == {'MediaListing-digits', 'MediaListing-sounds', 'MediaListing-motion', 'ServedDataLookup',
                        'BaselineLookup', 'AtomicPusher'}


@pytest.mark.parametrize('maker, name, taker, its_name', [
    ('MediaListing-digits', 'media_fingerprint', 'MediaExampleGen-digits', 'media_fingerprint'),
    ('ServedDataLookup', 'version', 'DataDrift', 'served_version'),
    ('BaselineLookup', 'version', 'ServingBaseline', 'version')])
def test_what_they_find_is_a_parameter_by_which_the_next_component_is_cached(compiled, maker, name, taker, its_name):
    spec = compiled['demo']
    steps = spec['root']['dag']['tasks']
    assert spec['components'][maker]['outputDefinitions']['parameters'] == {name: {'parameterType': 'STRING'}}
    assert steps[taker]['inputs']['parameters'][its_name] == {
        'taskOutputParameter': {'producerTask': maker, 'outputParameterKey': name}}
    # As an artifact, which has another id in every run, it would defeat the cache.
    assert its_name not in steps[taker]['inputs'].get('artifacts', {}) and maker in steps[taker]['dependentTasks']


def test_nothing_is_trained_before_the_data_were_compared_and_the_comparison_is_no_input_of_the_training(compiled):
    steps = compiled['demo']['root']['dag']['tasks']
    assert 'DataDrift' in steps['CoTrainer']['dependentTasks']
    assert not any('DataDrift' in json.dumps(source) for source in steps['CoTrainer']['inputs']['artifacts'].values())
    assert {f'TaskValidator-{task}' for task in ('digits', 'sounds', 'motion')} <= set(
        steps['DataDrift']['dependentTasks'])


def test_a_spec_knows_nothing_of_the_data(tmp_path, monkeypatch):
    """It is the same whether they are in reach or not, byte for byte."""
    task = testing.image_task(tmp_path / 'media', classes=('left-hand', 'right-hand'))
    monkeypatch.setattr(names, '_SYSTEM', ())  # temporary files may be in any folder
    mounted = Resources(volumes={'media': str(tmp_path)})
    config = PipelineConfig('mine', Mixture((task,)), ModelConfig(),
                            cluster=Cluster({'MediaListing': mounted, 'MediaExampleGen': mounted}))

    def compiled() -> str:
        compiler.compile_pipeline(config, str(tmp_path / 'mine.yaml'), root='gs://bucket/p', image=IMAGE)
        return (tmp_path / 'mine.yaml').read_text()
    in_reach = compiled()
    shutil.rmtree(tmp_path / 'media')
    assert compiled() == in_reach and 'left-hand' not in in_reach


UNCACHED = {'MediaListing-digits', 'MediaListing-sounds', 'ServedDataLookup', 'BaselineLookup', 'AtomicPusher'}


def _run(spec, cache: dict[str, str], parameters=None, found=None) -> set[str]:
    """The tasks that Kubeflow would execute, by its cache key; an artifact's id is made of its task and a counter.

    cache: key -> id of the outputs, which the run adds to. found: what the tasks say that look around, else 'same'.
    """
    values, executions, executed = kubeflow_backend.root_parameters(spec, parameters or {}), {}, set()
    for name in compiled_form.steps(spec):
        task, component = spec['root']['dag']['tasks'][name], spec['components'][name]
        container = spec['deploymentSpec']['executors'][component['executorLabel']]['container']
        executor_input = {'inputs': kubeflow_backend.resolve_inputs(task, component, values, executions, False),
                          'outputs': kubeflow_backend.provision_outputs(component, 's3://b/x', pathlib.Path('/tmp'))}
        key = kubeflow_backend.fingerprint(kubeflow_backend.cache_key(executor_input, component, container))
        if not task['cachingOptions'].get('enableCache') or key not in cache:
            cache[key] = f'{name} {len(cache)} {len(executed)}'
            executed.add(name)
        outputs = {output: {'name': f'{cache[key]} {output}', 'uri': '', 'metadata': {}}
                   for output in component.get('outputDefinitions', {}).get('artifacts', {})}
        said = {output: (found or {}).get(name, 'same')
                for output in component.get('outputDefinitions', {}).get('parameters', {})}
        executions[name] = kubeflow_backend.Execution(name, 'COMPLETE', outputs=outputs, parameters=said)
    return executed


class TestRunParameters:
    """What a run may be given: where it goes, and what it is without."""

    @pytest.fixture(scope='class')
    @classmethod
    def spec(cls, tmp_path_factory):
        """Of a config with the data of one task in versions."""
        folder = tmp_path_factory.mktemp('parameters')
        tasks = (testing.task('digits', 'image', steps=600, floor=0.8, folder='s3://bucket/{data_version}/digits'),
                 testing.task('sounds', 'audio', steps=300, folder='s3://bucket/sounds'))
        config = PipelineConfig('mine', Mixture(tasks), ModelConfig(), TrainingConfig(seed=3), data_version='monday')
        compiler.compile_pipeline(config, str(folder / 'mine.yaml'), root='gs://bucket/p', image=IMAGE)
        return yaml.safe_load((folder / 'mine.yaml').read_text())

    def test_their_defaults_are_the_values_of_the_config(self, spec):
        declared = spec['root']['inputDefinitions']['parameters']
        assert {name: (p['parameterType'], p['defaultValue']) for name, p in declared.items()} == {
            'data_version': ('STRING', 'monday'), 'seed': ('NUMBER_INTEGER', 3),
            'steps_digits': ('NUMBER_INTEGER', 600), 'steps_sounds': ('NUMBER_INTEGER', 300),
            'floor_digits': ('NUMBER_DOUBLE', 0.8), 'floor_sounds': ('NUMBER_DOUBLE', 0.0), 'force': ('STRING', '')}
        assert declared['floor_digits']['description'] == (
            'The least accuracy of task digits that the gate accepts.')

    def test_each_goes_only_to_the_components_that_use_it(self, spec):
        """So the cache runs nothing else again: no training for another floor."""
        takers: dict[str, set[str]] = {}
        for name, step in spec['root']['dag']['tasks'].items():
            for key, source in step['inputs'].get('parameters', {}).items():
                if 'componentInputParameter' in source:
                    assert source['componentInputParameter'] == key
                    takers.setdefault(key, set()).add(name)
        assert takers == {
            'data_version': {'MediaListing-digits', 'MediaExampleGen-digits'},
            'seed': {'CoTrainer'}, 'steps_digits': {'CoTrainer'}, 'steps_sounds': {'CoTrainer'},
            'floor_digits': {'BlessingGate'}, 'floor_sounds': {'BlessingGate'}, 'force': {'BlessingGate'}}

    def test_the_warm_up_is_left_to_the_run(self, spec):
        trainer = spec['root']['dag']['tasks']['CoTrainer']['inputs']['parameters']
        assert json.loads(trainer['training']['runtimeValue']['constant'])['warmup_steps'] is None

    def test_without_a_place_for_it_there_is_no_data_version(self, compiled):
        declared = compiled['demo']['root']['inputDefinitions']['parameters']
        assert 'seed' in declared and 'data_version' not in declared

    @pytest.mark.parametrize('changes, expected', [
        ({}, set()),
        ({'floor_digits': 0.9}, {'BlessingGate', 'Report'}),
        ({'force': 'The new camera is worth it.'}, {'BlessingGate', 'Report'}),
        ({'seed': 4}, {'CoTrainer', 'TaskEvaluator-digits', 'TaskEvaluator-sounds', 'ServingCheck', 'BlessingGate',
                       'Report'}),
        ({'steps_digits': 600, 'floor_digits': 0.8, 'seed': 3, 'data_version': 'monday'}, set()),
    ])
    def test_the_cache_runs_again_what_a_parameter_changes(self, spec, changes, expected):
        cache: dict[str, str] = {}
        everything = _run(spec, cache)
        assert everything == set(spec['root']['dag']['tasks'])
        assert _run(spec, cache, changes) == expected | UNCACHED

    def test_the_cache_runs_again_what_new_media_or_another_baseline_change(self, spec):
        join = {'DataDrift', 'CoTrainer', 'TaskEvaluator-digits', 'TaskEvaluator-sounds', 'ServingCheck',
                'BlessingGate', 'Report'}
        cache: dict[str, str] = {}
        _run(spec, cache)
        after = _run(spec, cache, found={'MediaListing-digits': 'new media'})
        assert after == UNCACHED | join | {f'{component}-digits' for component in LANE}
        after = _run(spec, cache, found={'MediaListing-digits': 'new media', 'ServedDataLookup': '7'})
        assert after == UNCACHED | {'DataDrift', 'Report'}
        after = _run(spec, cache, found={'MediaListing-digits': 'new media', 'BaselineLookup': '7'})
        assert after == UNCACHED | {'ServingBaseline', 'TaskEvaluator-digits', 'TaskEvaluator-sounds', 'BlessingGate',
                                    'Report'}

    def test_a_component_has_their_types(self, spec):
        declared = spec['components']['CoTrainer']['inputDefinitions']['parameters']
        assert declared['steps_digits'] == {'parameterType': 'NUMBER_INTEGER'}


def test_executors_are_ours_and_importable_by_name(compiled):
    executors = compiled['demo']['deploymentSpec']['executors']
    arguments = [json.dumps(e) for e in executors.values()]
    for module in ('components.co_trainer.executor', 'components.media_example_gen.executor',
                   'components.blessing_gate.executor', 'components.report.executor'):
        assert any(module in a for a in arguments)


def test_the_version_of_every_component_is_in_its_properties(compiled):
    for name, step in compiled['demo']['root']['dag']['tasks'].items():
        values = {key: value.get('runtimeValue', {}).get('constant')
                  for key, value in step['inputs']['parameters'].items()}
        assert values['code_version'] == component_version(containers.component_of(name)), name


def test_what_set_changed_is_recorded_by_the_pusher_and_trains_nothing_anew(compiled, tmp_path, monkeypatch):
    _data_in_a_bucket(monkeypatch)
    settings = ['tasks.digits.gate.floor=0.9', 'tasks.digits.checks.allow_leaks=true']
    path = tmp_path / 'demo.yaml'
    assert cli.main(['compile', 'demo', '-o', str(path), '--root', 'gs://bucket/p', '--image', IMAGE,
                     *(word for setting in settings for word in ('--set', setting))]) == 0
    steps = yaml.safe_load(path.read_text())['root']['dag']['tasks']
    parameters = {name: step['inputs']['parameters'] for name, step in steps.items()}
    assert json.loads(parameters['AtomicPusher']['custom_config']['runtimeValue']['constant'])['overrides'] == settings
    assert parameters['CoTrainer'] == compiled['demo']['root']['dag']['tasks']['CoTrainer']['inputs']['parameters']


def test_the_script_is_the_command_and_no_package_has_its_name(tmp_path):
    """`kubeflow` is the import name of a package that others publish."""
    folder = pathlib.Path(__file__).resolve().parents[2] / 'kubeflow'
    done = subprocess.run([sys.executable, folder / 'kubeflow_v2_runner.py', 'demo', '-o', 'demo.txt'], cwd=tmp_path,
                          env={**os.environ, 'PYTHONPATH': str(folder.parent)}, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith('polyvit: demo.txt: the name of a compiled pipeline must end in')
    assert not (folder / '__init__.py').exists()


def compile_demo(folder: pathlib.Path, *words: str, root: str = 'gs://bucket/p') -> list[dict]:
    """The documents of the demo, compiled with more arguments; without its data."""
    name = 'demo.json' if 'vertex' in words else 'demo.yaml'
    with pytest.MonkeyPatch.context() as patch:
        _data_in_a_bucket(patch)
        assert cli.main(['compile', 'demo', '-o', str(folder / name), '--root', root, '--image', IMAGE, *words]) == 0
    return list(yaml.safe_load_all((folder / name).read_text()))


class TestTargets:
    def test_kubeflow_gets_a_pipeline_spec_with_its_root(self, compiled):
        assert compiled['demo']['defaultPipelineRoot'] == 'gs://bucket/p/polyvit-demo/pipeline'
        assert compiled['demo']['schemaVersion'] == '2.1.0'

    def test_vertex_gets_a_job_with_its_root(self, compiled, tmp_path):
        [job] = compile_demo(tmp_path, '--target', 'vertex')
        assert job['runtimeConfig']['gcsOutputDirectory'] == 'gs://bucket/p/polyvit-demo/pipeline'
        assert job['pipelineSpec']['defaultPipelineRoot'] == 'gs://bucket/p/polyvit-demo/pipeline'
        assert set(job['pipelineSpec']['root']['dag']['tasks']) == set(compiled['demo']['root']['dag']['tasks'])

    @pytest.mark.parametrize('words, message', [
        (['-o', 'demo.txt', '--root', 'gs://bucket/p'], 'must end in .yaml or .yml for Kubeflow Pipelines or in .json'),
        (['-o', 'demo.yaml', '--root', 'gs://bucket/p', '--target', 'vertex'], 'what Vertex AI runs must end in .json'),
        (['-o', 'demo.json', '--root', 'gs://bucket/p', '--target', 'kfp'], 'must end in .yaml or .yml'),
        (['-o', 'demo.yaml'], 'needs --root'),
        (['-o', 'demo.yaml', '--root', '/mnt/volume'], 'only under gs://, s3://, minio://'),
        (['-o', 'demo.yaml', '--root', 'gs://'], 'the name of a bucket'),
        (['-o', 'demo.yaml', '--root', 's3://bucket/p?endpoint=x'], 'the name of a bucket'),
        (['-o', 'demo.json', '--root', 's3://bucket/p'], 'Vertex AI keeps artifacts only under gs://'),
        (['-o', 'demo.json', '--root', 'gs://BUCKET/p'], 'no bucket can be named BUCKET.'),
        (['-o', 'demo.yaml', '--root', 's3://my_bucket/p'], 'no bucket can be named my_bucket.'),
        (['-o', 'demo.yaml', '--root', 'minio://b'], '3 to 63 lower-case letters'),
        (['-o', 'demo.yaml', '--root', 'gs://bucket/../p'], 'none of them empty, "." or ".."'),
        (['-o', 'demo.yaml', '--root', 'gs://bucket//p'], 'none of them empty'),
        (['-o', 'demo.yaml', '--root', 'gs://bucket/a folder'], 'each of letters, digits and . _ -'),
        (['-o', 'none/demo.yaml', '--root', 'gs://bucket/p'], 'there is no folder'),
        (['-o', 'demo.yaml', '--root', 'gs://bucket/p', '--image', ''], 'needs --image'),
        (['-o', 'demo.yaml', '--root', 'gs://bucket/p', '--image', 'registry/a b:1'], 'no name of an image'),
        (['-o', 'demo.yaml', '--root', 'gs://bucket/p', '--set', 'name=My_Config'], 'by --set name=my-config.'),
    ])
    def test_what_a_target_does_not_take_is_a_sentence(self, words, message, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        _data_in_a_bucket(monkeypatch)
        assert cli.main(['compile', 'demo', '--image', IMAGE, *words]) == 2
        assert message in ' '.join(capsys.readouterr().err.split())
        assert list(tmp_path.iterdir()) == []

    def test_the_root_of_minio_is_s3_for_our_own_code(self, tmp_path):
        spec, _ = compile_demo(tmp_path, root='minio://mlpipeline/p/')
        assert spec['defaultPipelineRoot'] == 'minio://mlpipeline/p/polyvit-demo/pipeline'
        baseline = spec['root']['dag']['tasks']['ServingBaseline']['inputs']['parameters']
        assert baseline['serving_dir']['runtimeValue']['constant'] == 's3://mlpipeline/p/polyvit-demo/serving/polyvit'
        assert targets.store_url('gs://bucket/minio://x') == 'gs://bucket/minio://x'


def _config(folder: str = 's3://bucket/a', manifest=(), volumes=None, **fields) -> PipelineConfig:
    """With one task, and these volumes where the media are read."""
    mounted = Resources(volumes=volumes or {})
    task = testing.task('a', 'image', folder=folder, manifest=manifest)
    return PipelineConfig('mine', Mixture((task,)), ModelConfig(),
                          **{'cluster': Cluster({'MediaListing': mounted, 'MediaExampleGen': mounted}), **fields})


class TestWhatContainersSee:
    """Not the files of the machine that compiles."""

    @pytest.mark.parametrize('config, target', [
        (_config(), 'kfp'), (_config('gs://bucket/a', 'b.csv'), 'vertex'), (_config('/gcs/bucket/a'), 'vertex'),
        (_config('/media/a', volumes={'claim': '/media'}), 'kfp'),
        (_config('/media', 'b.csv', volumes={'claim': '/media/'}), 'kfp'),
        (_config(training=TrainingConfig(initial_checkpoint='gs://bucket/vit.npz')), 'kfp'),
        (_config(training=TrainingConfig(initial_checkpoint='/start/vit.npz'),
                 cluster=Cluster({'CoTrainer': Resources(volumes={'claim': '/start'})})), 'kfp'),
    ])
    def test_urls_and_volumes(self, config, target):
        folders.check(config, target)

    @pytest.mark.parametrize('config, target, message', [
        (_config('/data/a'), 'kfp', 'Task a: its data are in /data/a, on this machine'),
        (_config('/data/a'), 'vertex', 'name it there: gs://BUCKET/FOLDER (or /gcs/BUCKET/FOLDER).'),
        (_config('file:///data/a'), 'kfp', 'Task a: its data are in file:///data/a, on this machine'),
        (_config('/gcs/bucket/a'), 'kfp', 'Cluster.resources of MediaListing and MediaExampleGen.'),
        (_config('/gcs'), 'vertex', 'in /gcs, on'),
        (_config('/media2/a', volumes={'claim': '/media'}), 'kfp', 'in /media2/a, on'),
        (_config('/media/../a', volumes={'claim': '/media'}), 'kfp', 'in /a, on'),
        (_config('s3://bucket/a', '/lists/b.csv'), 'kfp', 'in /lists/b.csv, on'),
        (_config('/media/a', cluster=Cluster({'MediaListing': Resources(volumes={'claim': '/media'})})), 'kfp',
         'in /media/a, on'),
        (_config('minio://bucket/a'), 'kfp', 'Write s3://'),
        (_config(''), 'kfp', 'Task a: it has no data folder'),
        (_config(training=TrainingConfig(initial_checkpoint='/start/vit.npz')), 'kfp',
         'training.initial_checkpoint is /start/vit.npz, on this machine'),
    ])
    def test_folders_of_this_machine_are_a_sentence(self, config, target, message):
        with pytest.raises(ConfigError) as error:
            folders.check(config, target)
        assert message in str(error.value)

    @pytest.mark.parametrize('config, message', [
        (_config('/data/a'), 'on this machine'),
        (_config('s3://bucket/{data_version}', data_version='../..'), "data_version is '../..'"),
        (_config(beam=Beam('flink', endpoint='flink:8099', worker_pool='loopback')), "worker_pool is 'loopback'"),
        (_config(beam=Beam('flink', endpoint='localhost:8099', worker_pool='pool:1')), "endpoint is 'localhost:8099'"),
    ])
    def test_nothing_is_written_for_them(self, config, message, tmp_path):
        with pytest.raises(ConfigError, match=message):
            compiler.compile_pipeline(config, str(tmp_path / 'x.yaml'), root='gs://bucket/p', image=IMAGE)
        assert list(tmp_path.iterdir()) == []


class TestTasks:
    def test_names_are_those_that_argo_takes(self, compiled):
        for spec in compiled.values():
            tasks = spec['root']['dag']['tasks']
            assert all(re.fullmatch(r'[a-zA-Z][-a-zA-Z0-9]*', name) and len(f'{name}-driver') <= 128 for name in tasks)
            for name, task in tasks.items():
                assert task['taskInfo']['name'] == task['componentRef']['name'] == name
                assert set(task.get('dependentTasks', [])) <= tasks.keys()
                for source in task['inputs'].get('artifacts', {}).values():
                    output = source['taskOutputArtifact']
                    artifacts = spec['components'][output['producerTask']]['outputDefinitions']['artifacts']
                    assert output['outputArtifactKey'] in artifacts

    def test_the_producers_of_parameters_are_tasks(self):
        def task(name, **inputs):
            return {'taskInfo': {'name': name}, 'componentRef': {'name': name}, 'inputs': inputs}
        spec = {'components': {'List_a_b': {}, 'Gen_a_b': {}}, 'root': {'dag': {'tasks': {
            'List_a_b': task('List_a_b'),
            'Gen_a_b': task('Gen_a_b', parameters={'found': {'taskOutputParameter': {
                'producerTask': 'List_a_b_task', 'outputParameterKey': 'found'}}})}}}}
        additions.rename_tasks(spec)
        found = additions.tasks(spec)['Gen-a-b']['inputs']['parameters']['found']
        assert found['taskOutputParameter']['producerTask'] == 'List-a-b'

    def test_every_task_but_the_verdict_is_tried_again(self, tmp_path):
        spec = compile_demo(tmp_path, '--set', 'cluster.retries=3', '--fail-if-rejected')[0]
        policies = {name: task.get('retryPolicy') for name, task in spec['root']['dag']['tasks'].items()}
        assert policies.pop('Verdict') is None
        # Argo counts the longest duration from the first start of the step, and takes whole factors only.
        assert {json.dumps(policy, sort_keys=True) for policy in policies.values()} == {json.dumps({
            'backoffDuration': '60s', 'backoffFactor': 2.0, 'backoffMaxDuration': '2592000s', 'maxRetryCount': 3})}
        spec = compile_demo(tmp_path, '--set', 'cluster.retries=0')[0]
        assert not any('retryPolicy' in task for task in spec['root']['dag']['tasks'].values())
        [job] = compile_demo(tmp_path, '--target', 'vertex')
        policy = job['pipelineSpec']['root']['dag']['tasks']['CoTrainer']['retryPolicy']
        assert policy['backoffMaxDuration'] == '3600s'  # the most that Vertex AI takes

    def test_an_argument_that_linux_would_not_take_is_found(self, tmp_path, monkeypatch, capsys):
        config = tmp_path / 'many.py'
        config.write_text("""
from polyvit import Data, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task

def get_config():
    classes = tuple(f'class number {i:05d} of a long list' for i in range(4000))
    return PipelineConfig('many', Mixture((Task(
        'birds', 'image', data=Data('s3://bucket/birds', classes=classes, num_train_examples=9),
        recipe=Recipe(steps=1, batch_size=1)),)), ModelConfig(inputs=(ImageInput(32, 32, patch=(16, 16)),)))
""")
        assert cli.main(['compile', str(config), '-o', str(tmp_path / 'many.yaml'), '--root', 'gs://bucket/p',
                         '--image', IMAGE]) == 2
        error = ' '.join(capsys.readouterr().err.split())
        assert re.search(r'polyvit: \w+(-birds)?: its \w+ would take \d+ KiB in one argument', error)
        assert 'Linux takes at most 128 KiB' in error
        assert re.search(r'The largest field is (source|classes|mixture)', error)
        assert not (tmp_path / 'many.yaml').exists()


class TestWhatTheUserInterfaceShows:
    def test_the_report_and_the_numbers_of_the_gate_are_outputs(self, compiled):
        for task, argument, output, schema in (('Report', '--html=report/report.html=page', 'page', 'system.HTML'),
                                               ('BlessingGate', '--metrics=blessing/metrics.json=metrics', 'metrics',
                                                'system.Metrics')):
            component = compiled['demo']['components'][task]
            assert component['outputDefinitions']['artifacts'][output]['artifactType'] == {
                'schemaTitle': schema, 'schemaVersion': '0.0.1'}
            container = compiled['demo']['deploymentSpec']['executors'][component['executorLabel']]['container']
            assert argument in container['args']
            assert f"--output-path={output}={{{{$.outputs.artifacts['{output}'].path}}}}" in container['args']

    def test_the_run_fails_after_the_report_only_if_asked_for(self, compiled, tmp_path):
        assert 'Verdict' not in compiled['demo']['root']['dag']['tasks']
        [spec] = compile_demo(tmp_path, '--fail-if-rejected')
        assert {'Report', 'BlessingGate'} <= set(spec['root']['dag']['tasks']['Verdict']['dependentTasks'])

    @pytest.mark.parametrize('reasons, code, said', [
        ([], 0, ''), (['digits: too low.'], 1, 'The gate rejected the model. digits: too low. Nothing was pushed')])
    def test_the_container_of_the_verdict_fails_with_the_reasons(self, tmp_path, capsys, reasons, code, said):
        """It has no output, and its input comes without a type."""
        [spec] = compile_demo(tmp_path, '--fail-if-rejected')
        blessing_gate.write({'blessed': not reasons, 'forced': None, 'reasons': reasons, 'tasks': []},
                            str(tmp_path / 'blessing'))
        executor_input = {
            'inputs': {'parameterValues': {'code_version': component_version('Verdict')}, 'artifacts': {'blessing': {
                'artifacts': [{'name': '7', 'uri': 's3://bucket/blessing', 'type': {'instanceSchema': ''}}]}}},
            'outputs': {'outputFile': str(tmp_path / 'out' / 'output_metadata.json')}}
        filled_in = {'{{$}}': json.dumps(executor_input),
                     "{{$.inputs.artifacts['blessing'].path}}": str(tmp_path / 'blessing')}
        words = spec['deploymentSpec']['executors']['Verdict_executor']['container']['args']
        for placeholder, value in filled_in.items():
            words = [word.replace(placeholder, value) for word in words]
        assert entry_point.main(words) == code
        assert said in capsys.readouterr().err


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
        after = properties(floor=0.9, max_drop=0.5)
        assert {name for name in before if before[name] != after[name]} == {'BlessingGate', 'Report'}
        after = properties(dropped_classes=('0',))
        assert {name for name in before if before[name] != after[name]} == {'DataDrift', 'BlessingGate', 'Report'}
        after = properties(drift='stop', max_drift=0.3, max_label_drift=0.3)
        assert {name for name in before if before[name] != after[name]} == {'DataDrift', 'Report'}

    @pytest.mark.parametrize('beam', [
        Beam(), Beam('multi_process'), Beam('flink', endpoint='h:1', worker_pool='h:2'),
        Beam('portable', endpoint='h:1', worker_pool='loopback'), Beam('spark', endpoint='h:1', image='r/polyvit:1')])
    def test_tfx_does_not_pack_itself_for_the_workers(self, beam, monkeypatch):
        from tfx.utils import dependency_utils
        monkeypatch.setattr(dependency_utils, 'build_ephemeral_package', lambda: pytest.fail('it packs itself'))
        arguments = beam.arguments('Transform')
        assert dependency_utils.make_beam_dependency_flags(arguments) == arguments

    def test_each_component_runs_where_the_config_says(self):
        from pipeline import pipeline as wiring
        config = dataclasses.replace(load_config('demo'), beam=Beam('multi_process', 3, components=('Transform',)))
        made = wiring.create_pipeline(config, None, pipeline_root='/p', serving_dir='/s')
        given = {c.id: c.executor_spec.beam_pipeline_args for c in made.components
                 if hasattr(c.executor_spec, 'beam_pipeline_args')}
        # The listing runs no pipeline, but takes the options of file systems.
        assert {name.split('_')[0] for name in given} == {*COMPONENTS, 'MediaListing'}
        several = {name for name, arguments in given.items() if '--direct_num_workers=3' in arguments}
        assert several == {f'Transform_{task.name}' for task in config.mixture.tasks}


class TestNames:
    """What a config and its tasks may be named, compiles, and gives names that both backends take."""

    @pytest.mark.parametrize('name', ['a', '0', '9' * 55, 'a-', 'a--b'])
    @pytest.mark.parametrize('ending', ['yaml', 'json'])
    def test_of_a_config(self, name, ending, tmp_path):
        path = tmp_path / f'x.{ending}'
        compiler.compile_pipeline(self._config(name, 'a'), str(path), root='gs://bucket/p', image=IMAGE)
        job = yaml.safe_load(path.read_text())
        named = job.get('pipelineSpec', job)['pipelineInfo']['name']
        assert named == f'polyvit-{name}' and re.fullmatch('[a-z][a-z0-9-]{0,127}', named)
        assert f'gs://bucket/p/polyvit-{name}/pipeline' in path.read_text()

    def test_of_tasks(self, tmp_path):
        tasks = ('a', 'a_b', 'a__b', 'a_b_', 'a_', 'b', 'z' * 100)
        path = tmp_path / 'x.yaml'
        compiler.compile_pipeline(self._config('x', *tasks), str(path), root='gs://bucket/p', image=IMAGE)
        spec = yaml.safe_load(path.read_text())
        nodes = containers.tasks(spec)
        assert nodes.keys() >= {f'{component}-{task.replace("_", "-")}' for component in LANE for task in tasks}
        assert len(nodes) == len(LANE) * len(tasks) + len(JOIN)
        # Argo's names of templates. Kubeflow Pipelines appends the word.
        assert all(re.fullmatch('[a-zA-Z0-9][a-zA-Z0-9-]{0,127}', f'{node}-driver') for node in nodes)

    def _config(self, name: str, *tasks: str) -> PipelineConfig:
        return PipelineConfig(name, Mixture([testing.task(task, 'image', folder='gs://bucket/media', num_classes=2)
                                             for task in tasks]), ModelConfig(inputs=testing.IMAGE_SPEC))
