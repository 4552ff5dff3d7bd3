"""The entry point of containers: what it makes of the backend's input, where executors work, how steps end."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from tfx.dsl.components.base import base_beam_executor, base_executor
from tfx.types import artifact_utils

from components import costs
from model_code import file_io
from model_code.errors import ConfigError, PipelineStop
from pipeline import fingerprints
from pipeline.kubeflow import containers, entry_point, executor_io
from tests import object_stores

EXAMPLES = 'title: tfx.Examples\ntype: object\nproperties:\n  span:\n    type: integer\n    description: Span.\n'
MODEL, BLESSING, STRING = (f'title: tfx.{name}\ntype: object\n' for name in ('Model', 'ModelBlessing', 'String'))


class Reader(base_executor.BaseExecutor):
    """Writes what it was given into the output `model`, and a blessing that names the model."""

    def Do(self, input_dict, output_dict, exec_properties):
        examples = artifact_utils.get_single_instance(input_dict['examples'])
        model = artifact_utils.get_single_instance(output_dict['model'])
        found = pathlib.Path(examples.uri)
        seen = {'cost': [cost.seconds for cost, _ in costs.known(input_dict)], 'span': examples.span,
                'blessed': examples.get_int_custom_property('blessed'),
                'steps': exec_properties['steps'], 'files': sorted(p.name for p in found.rglob('*')),
                'left': os.path.exists(model.uri), 'uri': examples.uri}
        folder = pathlib.Path(model.uri, 'Format-Serving', 'assets')
        folder.mkdir(parents=True)
        (folder / 'seen.json').write_text(json.dumps(seen, allow_nan=False))
        (folder.parent / 'report.html').write_text('<html>')
        (folder.parent / 'metrics.json').write_text('{"tasks": [{"name": "digits", "accuracy": 0.5}]}')
        model.set_string_custom_property('source', os.path.join(examples.uri, 'Split-train'))
        model.set_int_custom_property('blessed', 1)
        artifact_utils.get_single_instance(output_dict['found']).value = 'this much'


class OnBeam(base_beam_executor.BaseBeamExecutor):
    """Its pipeline would run on other machines."""


class Stopping(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        raise {'stop': PipelineStop('Too many files.'), 'config': ConfigError('No such folder.'),
               'bug': ZeroDivisionError('oh')}[exec_properties['how']]


class Sleeping(base_executor.BaseExecutor):
    def Do(self, input_dict, output_dict, exec_properties):
        pathlib.Path(exec_properties['how']).write_text('running')
        time.sleep(120)


def _invocation(tmp_path, root='s3://bucket/run/x', **parameters):
    return {
        'inputs': {
            'parameterValues': {'steps': 7.0, **parameters},
            'artifacts': {'examples': {'artifacts': [{
                'name': '12', 'uri': f'{root}/examples', 'type': {'instanceSchema': ''},
                'metadata': {'span': 3.0, 'blessed': 1.0, 'display_name': 'examples',
                             'cost': costs.Cost('MediaExampleGen-a', 4.5, 6.0, 7).to_json()}}]}}},
        'outputs': {
            'parameters': {'found': {'outputFile': str(tmp_path / 'found')}},
            'artifacts': {
                'model': {'artifacts': [{'uri': f'{root}/model', 'type': {'instanceSchema': MODEL}}]},
                'found': {'artifacts': [{'uri': f'{root}/found', 'type': {'instanceSchema': STRING}}]},
                'page': {'artifacts': [{'uri': f'{root}/page', 'type': {'schemaTitle': 'system.HTML'}}]},
                'shown': {'artifacts': [{'uri': f'{root}/shown', 'type': {'schemaTitle': 'system.Metrics'}}]}},
            'outputFile': str(tmp_path / 'out' / 'output_metadata.json')}}


def _words(tmp_path, executor, invocation, *more, target='kfp', node='Reader'):
    mount = tmp_path / 'mount'
    return ['--executor_class_path', f'{__name__}.{executor}', '--json_serialized_invocation_args',
            json.dumps(invocation), '--json_serialized_inputs_spec_args', json.dumps({
                'artifacts': {'examples': {'artifactType': {'instanceSchema': EXAMPLES}}},
                'parameters': {'steps': {'parameterType': 'NUMBER_INTEGER'}}}),
            '--direct_running_mode=in_memory', f'--node={node}', f'--target={target}',
            f'--input-path=examples={mount}/examples', *more,
            *(f'--output-path={name}={mount}/{name}' for name in ('model', 'found', 'page', 'shown'))]


def _files(folder: pathlib.Path):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob('*') if p.is_file())


class TestArguments:
    def test_ours_and_those_of_beam(self):
        arguments, beam = containers.parse_arguments([
            '--executor_class_path', 'a.B', '--json_serialized_invocation_args', '{}', '--node=n', '--target=kfp',
            '--runner=DirectRunner', '--input-path=x=/a=b', containers.html_argument('report/report.html', 'page')])
        assert arguments.input_path == {'x': '/a=b'} and arguments.html == {'page': 'report/report.html'}
        assert beam == ['--runner=DirectRunner']

    def test_wrong_ones_end_it_at_once(self):
        done = subprocess.run([sys.executable, '-X', 'importtime', '-m', 'pipeline.kubeflow.entry_point', '--node=n'],
                              capture_output=True, text=True)
        assert done.returncode == 2 and '--executor_class_path' in done.stderr
        assert 'tensorflow' not in done.stderr and ' tfx' not in done.stderr

    def test_every_path_of_a_component_is_passed(self):
        component = {'executorLabel': 'e', 'outputDefinitions': {'artifacts': {'model': {}, 'page': {}}}}
        spec = {'root': {'dag': {'tasks': {'Node_a': {'componentRef': {'name': 'Node_a'}}}}},
                'components': {'Node_a': component},
                'deploymentSpec': {'executors': {'e': {'container': {'args': ['--x']}}}}}
        containers.add_arguments(spec, 'vertex')
        assert spec['deploymentSpec']['executors']['e']['container']['args'] == [
            '--x', '--node=Node_a', '--target=vertex', "--output-path=model={{$.outputs.artifacts['model'].path}}",
            "--output-path=page={{$.outputs.artifacts['page'].path}}"]

    @pytest.mark.parametrize('text', ['{{$}}', '[]'])
    def test_an_invocation_that_no_backend_filled_in(self, tmp_path, text, capsys):
        words = _words(tmp_path, 'Reader', {})
        words[3] = text
        assert entry_point.main(words) == 2
        assert '--json_serialized_invocation_args' in capsys.readouterr().err


class TestPlainFunctions:
    def test_a_type_that_is_there_is_kept(self, tmp_path):
        invocation = _invocation(tmp_path)
        invocation['inputs']['artifacts']['examples']['artifacts'][0]['type'] = {'schemaTitle': 'tfx.Model'}
        assert executor_io.with_types(invocation, {}) == invocation

    def test_a_type_that_nobody_knows(self, tmp_path):
        with pytest.raises(ConfigError, match='Input examples has no type'):
            executor_io.with_types(_invocation(tmp_path), {})

    def test_numbers(self):
        assert executor_io.numbers({'tasks': [{'name': 'a', 'metrics': {'x': 1, 'y': float('nan')}}, {'b': 2.5}],
                                    'blessed': True, 'reason': 'none'}) == {
            'tasks/a/metrics/x': 1.0, 'tasks/1/b': 2.5, 'blessed': 1.0}

    def test_the_code_version_of_transform_is_in_its_custom_config(self):
        assert executor_io.code_version({'inputs': {'parameterValues': {
            'custom_config': '{"code_version": "abc"}'}}}) == 'abc'
        assert executor_io.code_version({'inputs': {}}) == ''

    def test_other_code_than_the_compiled_one(self):
        entry_point.check_code('CoTrainer', fingerprints.component_version('CoTrainer'))
        with pytest.raises(ConfigError, match='TaskSchemaGen-digits: this image has other code.* Build the image'):
            entry_point.check_code('TaskSchemaGen-digits', 'of yesterday')


class TestRunning:
    @pytest.mark.parametrize('target', containers.TARGETS)
    def test_a_step(self, tmp_path, target, monkeypatch):
        mount = tmp_path / 'mount'
        (mount / 'examples/Split-train').mkdir(parents=True)
        (mount / 'examples/Split-train/a.gz').write_text('a')
        (mount / 'model/of').mkdir(parents=True)  # an earlier try was killed
        (mount / 'model/of/yesterday').write_text('half')
        for name in ('rename', 'replace', 'link', 'symlink', 'chmod', 'utime'):  # a mounted bucket has none of these
            monkeypatch.setattr(os, name, None)
        assert entry_point.main(_words(
            tmp_path, 'Reader', _invocation(tmp_path), '--html=model/Format-Serving/report.html=page',
            '--metrics=model/Format-Serving/metrics.json=shown', target=target)) == 0
        assert _files(mount / 'model') == [f'Format-Serving/{n}' for n in ('assets/seen.json', 'metrics.json',
                                                                           'report.html')]
        seen = json.loads((mount / 'model/Format-Serving/assets/seen.json').read_text())
        assert (seen.pop('uri') == str(mount / 'examples')) == (target == 'kfp')
        # Integers are integers again, though they came as 7.0 and 3.0.
        assert json.dumps(seen, sort_keys=True) == json.dumps({
            'blessed': 1, 'cost': [4.5], 'files': ['Split-train', 'a.gz'], 'left': False, 'span': 3, 'steps': 7})
        assert (mount / 'page').read_text() == '<html>' and (mount / 'found').read_text() == 'this much'
        output = json.loads((tmp_path / 'out/output_metadata.json').read_text())
        assert output['parameterValues'] == {'found': 'this much'}
        artifacts = {name: listed['artifacts'][0] for name, listed in output['artifacts'].items()}
        assert {name: artifact['uri'] for name, artifact in artifacts.items()} == {
            name: f's3://bucket/run/x/{name}' for name in ('model', 'found', 'page', 'shown')}
        assert artifacts['model']['metadata']['source'] == 's3://bucket/run/x/examples/Split-train'
        assert artifacts['model']['metadata']['blessed'] == 1.0
        taken = costs.from_json(artifacts['model']['metadata']['cost'])
        assert taken.component == 'Reader' and taken.peak_bytes > 0 and 'metadata' not in artifacts['page']
        assert costs.from_json(artifacts['found']['metadata']['cost']) == taken
        assert artifacts['shown']['metadata'] == {'tasks/digits/accuracy': 0.5}

    @pytest.mark.parametrize('target', containers.TARGETS)
    def test_an_input_of_which_nothing_was_stored_is_an_empty_folder(self, tmp_path, target):
        assert entry_point.main(_words(tmp_path, 'Reader', _invocation(tmp_path), target=target)) == 0
        seen = json.loads((tmp_path / 'mount/model/Format-Serving/assets/seen.json').read_text())
        assert seen['files'] == []

    @pytest.mark.parametrize('how, code, words', [
        ('stop', 1, 'Too many files.\n'), ('config', 2, 'No such folder.\n'), ('bug', 1, 'ZeroDivisionError: oh\n')])
    def test_how_a_step_ends(self, tmp_path, capsys, how, code, words):
        assert entry_point.main(_words(tmp_path, 'Stopping', _invocation(tmp_path, how=how))) == code
        printed = capsys.readouterr().err
        assert printed.endswith(words) and ('Traceback' in printed) == (how == 'bug')
        assert not (tmp_path / 'out').exists()

    @pytest.mark.slow
    def test_a_signal_ends_a_step_with_a_sentence(self, tmp_path):
        marker = tmp_path / 'marker'
        process = subprocess.Popen(
            [sys.executable, '-m', 'pipeline.kubeflow.entry_point',
             *_words(tmp_path, 'Sleeping', _invocation(tmp_path, how=str(marker)), node='Sleeping_a')],
            stderr=subprocess.PIPE, text=True)
        while not marker.exists() and process.poll() is None:
            time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=60)[1].endswith('Ended by SIGTERM while Sleeping_a was running.\n')
        assert process.returncode == 143


class TestBeamWorkersElsewhere:
    """They read and write the URIs themselves. (TensorFlow cannot be led to another server of Google Cloud Storage, so
    TFX's entry point is left out here.)
    """

    @pytest.mark.parametrize('words, elsewhere', [
        ([], False), (['--runner=DirectRunner', '--direct_running_mode=multi_processing'], False),
        (['--runner=pipeline.beam.runners.PortableRunner', '--environment_type=LOOPBACK'], False),
        (['--runner=pipeline.beam.runners.PortableRunner', '--environment_type=EXTERNAL'], True),
        (['--runner=DataflowRunner'], True)])
    def test_which_they_are(self, words, elsewhere):
        assert containers.workers_elsewhere(words) == elsewhere

    def test_a_root_that_they_do_not_reach_is_not_compiled(self):
        spec = {'defaultPipelineRoot': 's3://bucket/x', 'components': {'Transform-a': {'executorLabel': 'e'}},
                'root': {'dag': {'tasks': {'Transform-a': {'componentRef': {'name': 'Transform-a'}}}}},
                'deploymentSpec': {'executors': {'e': {'container': {'args': ['--x', '--runner=DataflowRunner']}}}}}
        with pytest.raises(ConfigError, match="Transform-a: Beam's workers are on other machines.* s3://bucket/x"):
            containers.check_beam_workers(spec)
        containers.check_beam_workers({**spec, 'defaultPipelineRoot': 'gs://bucket/x'})

    def _run(self, tmp_path, root, monkeypatch):
        def execute(arguments, executor_input, beam_args, output_file):
            assert executor_input['outputs']['artifacts']['model']['artifacts'][0]['uri'] == f'{root}/model'
            assert object_stores.object_names(f'{root}/model') == []  # what an earlier try left is gone
            for name in ('model/', 'model/a/', 'model/a/b', '.temp/', '.temp/x'):  # as TensorFlow does
                object_stores.put_object(f'{root}/{name}')
            file_io.write(output_file, '{"artifacts": {"model": {"artifacts": [{"uri": "there"}]}}}')
            return file_io.read_json(output_file)
        monkeypatch.setattr(entry_point, '_execute', execute)
        invocation = _invocation(tmp_path, root)
        invocation['outputs']['artifacts'] = {'model': invocation['outputs']['artifacts']['model']}
        return entry_point.main([*_words(tmp_path, 'OnBeam', invocation), '--runner=DataflowRunner'])

    def test_no_object_stands_for_a_folder_afterwards(self, tmp_path, gcs, monkeypatch):
        object_stores.put_object(f'{gcs}/x/model/half')
        assert self._run(tmp_path, f'{gcs}/x', monkeypatch) == 0
        assert object_stores.object_names(gcs) == ['x/model/a/b']
        written = json.loads((tmp_path / 'out/output_metadata.json').read_text())
        artifact, = written['artifacts']['model']['artifacts']
        assert artifact['uri'] == 'there' and list(artifact['metadata']) == ['cost']

    def test_another_store_is_an_error(self, tmp_path, monkeypatch, capsys):
        assert self._run(tmp_path, 's3://bucket/x', monkeypatch) == 2
        assert 'not s3://bucket/x/examples. Choose a root in gs://' in capsys.readouterr().err
