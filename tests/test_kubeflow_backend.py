"""The stand-in for Kubeflow Pipelines keeps what tests of compiled pipelines rely on. Its containers are tiny here."""

import json

import pytest
import yaml

from tests import kubeflow_backend, object_stores
from tests.kubeflow_backend import Backend, BackendError

DATASET = {'instanceSchema': 'title: kfp.Dataset\ntype: object\n'}
WRITE = '''
import json, os, pathlib, sys
given, path, text = json.loads(sys.argv[1]), pathlib.Path(sys.argv[2]), sys.argv[3]
path.mkdir(exist_ok=True)
(path / f'{len(list(path.iterdir()))}.txt').write_text(text)
output = pathlib.Path(given['outputs']['outputFile'])
output.parent.mkdir(parents=True)
output.write_text(json.dumps({'parameterValues': {'found': 3}, 'artifacts': {'data': {'artifacts': [
    {'metadata': {'count': 1, 'fine': True, 'home': os.environ.get('HOME_OF_TESTS', 'unset')}}]}}}))
'''
READ = '''
import json, os, pathlib, sys
print(json.dumps({'given': json.loads(sys.argv[1]), 'read': [p.name for p in pathlib.Path(sys.argv[2]).iterdir()],
                  'steps': sys.argv[3], 'fork': 'colorsys' in sys.modules, 'here': os.getcwd(), **os.environ}))
'''


def _pipeline(tmp_path, *, root='s3://bucket/root', text='a', retries=0, write=WRITE, cached=True):
    def container(code, *arguments):
        return {'container': {'image': 'image:1', 'command': ['python', '-c', code], 'args': list(arguments)}}

    spec = {
        'pipelineInfo': {'name': 'two'}, 'defaultPipelineRoot': root,
        'root': {
            'inputDefinitions': {'parameters': {'steps': {'parameterType': 'NUMBER_INTEGER', 'defaultValue': 7.0}}},
            'dag': {'tasks': {
                'write': {'taskInfo': {'name': 'write'}, 'componentRef': {'name': 'write'}, 'inputs': {'parameters': {
                    'text': {'runtimeValue': {'constant': text}}}},
                    'cachingOptions': {'enableCache': cached}, 'retryPolicy': {'maxRetryCount': retries}},
                'read': {'taskInfo': {'name': 'read'}, 'componentRef': {'name': 'read'}, 'dependentTasks': ['write'],
                         'inputs': {
                             'artifacts': {'data': {'taskOutputArtifact': {'producerTask': 'write',
                                                                           'outputArtifactKey': 'data'}}},
                             'parameters': {
                                 'steps': {'componentInputParameter': 'steps'},
                                 'found': {'taskOutputParameter': {'producerTask': 'write',
                                                                   'outputParameterKey': 'found'}}}},
                         'cachingOptions': {'enableCache': True}}}}},
        'components': {
            'write': {'executorLabel': 'w',
                      'inputDefinitions': {'parameters': {'text': {'parameterType': 'STRING'}}},
                      'outputDefinitions': {'artifacts': {'data': {'artifactType': DATASET}},
                                            'parameters': {'found': {'parameterType': 'NUMBER_INTEGER'}}}},
            'read': {'executorLabel': 'r', 'inputDefinitions': {
                'artifacts': {'data': {'artifactType': DATASET}},
                'parameters': {'steps': {'parameterType': 'NUMBER_INTEGER'},
                               'found': {'parameterType': 'NUMBER_INTEGER'}}}}},
        'deploymentSpec': {'executors': {
            'w': container(write, '{{$}}', "{{$.outputs.artifacts['data'].path}}", "{{$.inputs.parameters['text']}}"),
            'r': container(READ, '{{$}}', "{{$.inputs.artifacts['data'].path}}",
                           "steps: {{$.inputs.parameters['steps']}}")}}}
    path = tmp_path / 'pipeline.yaml'
    path.write_text(yaml.safe_dump(spec))
    return path


def _said(run):
    with open(run.executions['read'].log) as log:
        return json.load(log)


@pytest.fixture
def bucket():
    with object_stores.s3_bucket() as url:
        yield url


def test_what_a_container_gets(tmp_path, bucket, monkeypatch):
    monkeypatch.setenv('HOME_OF_TESTS', 'here')
    run = Backend(tmp_path / 'cluster').run(_pipeline(tmp_path, root=bucket), {'steps': 8})
    assert run.of_state('COMPLETE') == {'write', 'read'}
    said = _said(run)
    artifact, = said['given']['inputs']['artifacts']['data']['artifacts']
    assert artifact.pop('uri').startswith(f'{bucket}/two/{run.id}/write/')
    # The type is lost, numbers are doubles, and the environment of this process is not that of a pod.
    assert json.dumps(artifact, sort_keys=True) == json.dumps({
        'metadata': {'count': 1.0, 'display_name': 'data', 'fine': 1.0, 'home': 'unset'}, 'name': '1',
        'type': {'instanceSchema': ''}})
    assert json.dumps(said['given']['inputs']['parameterValues'], sort_keys=True) == '{"found": 3.0, "steps": 8.0}'
    assert said['steps'] == 'steps: 8' and said['read'] == ['0.txt']


def test_the_cache(tmp_path, bucket):
    backend = Backend(tmp_path / 'cluster')
    first = backend.run(_pipeline(tmp_path, root=bucket))
    again = backend.run(_pipeline(tmp_path, root=bucket))
    assert again.of_state('CACHED') == {'write', 'read'}
    assert again.executions['write'].outputs == first.executions['write'].outputs
    # The artifact of a task that ran again is another one, whatever is in it.
    assert backend.run(_pipeline(tmp_path, root=bucket, cached=False)).of_state('COMPLETE') == {'write', 'read'}
    assert backend.run(_pipeline(tmp_path, root=bucket, text='b')).of_state('COMPLETE') == {'write', 'read'}
    assert backend.run(_pipeline(tmp_path, root=bucket), {'steps': 9}).of_state('COMPLETE') == {'read'}


def test_a_killed_container_runs_again_where_it_was(tmp_path, bucket):
    write = WRITE + "\nimport time; time.sleep(0 if (path / '1.txt').exists() else 60)"
    write = write.replace('parents=True)', 'parents=True, exist_ok=True)')
    run = Backend(tmp_path / 'cluster').run(_pipeline(tmp_path, root=bucket, retries=1, write=write), kill={'write'})
    assert run.executions['write'].attempts == 2 and sorted(_said(run)['read']) == ['0.txt', '1.txt']
    again = Backend(tmp_path / 'other').run(_pipeline(tmp_path, root=bucket, write=write), kill={'write'})
    assert again.failed == ['write'] and set(again.executions) == {'write'}


def test_a_fork_gets_what_a_fresh_container_gets(tmp_path, bucket, monkeypatch):
    monkeypatch.setenv('HOME_OF_TESTS', 'here')
    backend, said = Backend(tmp_path / 'cluster', environment={'LIKE': 'this'}, forks=True), []
    for steps in (7, 8):
        with kubeflow_backend.forks_importing('colorsys'):
            run = backend.run(_pipeline(tmp_path, root=bucket), {'steps': steps})
        said.append({name: value.replace(run.id, 'RUN') if isinstance(value, str) else value
                     for name, value in _said(run).items() if name not in ('given', 'LC_CTYPE')})  # Python sets this
    fresh, fork = said
    assert (fresh.pop('steps'), fresh.pop('fork')) == ('steps: 7', False)
    assert (fork.pop('steps'), fork.pop('fork')) == ('steps: 8', True)
    assert fork == fresh and fork['LIKE'] == 'this' and 'HOME_OF_TESTS' not in fork


def test_a_fork_can_be_killed_and_its_exit_code_counts(tmp_path, bucket):
    backend = Backend(tmp_path / 'cluster', forks=True)
    write = WRITE.replace('parents=True)', 'parents=True, exist_ok=True)')
    write += "\nimport time; time.sleep(0 if (path / '1.txt').exists() else 60)"
    run = backend.run(_pipeline(tmp_path, root=bucket, retries=1, write=write), kill={'write'})
    assert run.executions['write'].attempts == 2 and sorted(_said(run)['read']) == ['0.txt', '1.txt']
    again = backend.run(_pipeline(tmp_path, root=bucket, write=WRITE + '\nsys.exit(3)'))
    assert again.failed == ['write']


def test_a_mounted_bucket(tmp_path):
    run = Backend(tmp_path / 'cluster', keep_types=True).run(_pipeline(tmp_path, root='gs://bucket/root'))
    assert _said(run)['given']['inputs']['artifacts']['data']['artifacts'][0]['type'] == DATASET
    assert len(list((tmp_path / 'cluster/gcs/bucket/root').rglob('*.txt'))) == 1


def test_what_it_rejects(tmp_path):
    backend = Backend(tmp_path / 'cluster')
    for parameters, words in (({'stesp': 1}, 'no parameter'), ({'steps': 'many'}, 'type mismatch')):
        with pytest.raises(BackendError, match=words):
            backend.run(_pipeline(tmp_path), parameters)
    with pytest.raises(BackendError, match='argument list too long'):
        backend.run(_pipeline(tmp_path, text=128 * 1024 * 'a', root='gs://bucket'))
    with pytest.raises(BackendError, match='unsupported storage scheme'):
        backend.run(_pipeline(tmp_path, root='/mnt'))
    spec = yaml.safe_load(_pipeline(tmp_path, root='gs://bucket').read_text())
    spec['root']['dag']['tasks']['read']['dependentTasks'] = []
    (tmp_path / 'pipeline.yaml').write_text(yaml.safe_dump(spec))
    with pytest.raises(BackendError, match='producer task, write, not in tasks'):
        backend.run(tmp_path / 'pipeline.yaml')


def test_the_hash_of_a_cache_key_is_that_of_the_backend():
    """The figures of cache_test.go."""
    image = 'python:3.9'
    schema = 'title: kfp.Model\ntype: object\nproperties:\n  framework:\n    type: string\n  framework_version:\n' \
             '    type: string\n'
    assert kubeflow_backend.fingerprint({
        'inputArtifactNames': {'dataset_one': {'artifactNames': ['1']}, 'dataset_two': {'artifactNames': ['2']}},
        'inputParameterValues': {'message': 'Some string value', 'num_steps': 5.0},
        'outputArtifactsSpec': {
            'model': {'name': 'model', 'type': {'instanceSchema': schema}, 'metadata': {'name': 'model'}},
            'metrics': {'name': 'metrics', 'type': {'schemaTitle': 'kfp.Metrics'}, 'metadata': {'name': 'metrics'}}},
        'outputParametersSpec': {'output_parameter_one': 'STRING', 'output_parameter_two': 'INT'},
        'containerSpec': {'cmdArgs': ['sh', 'ec', 'test'], 'image': image}}) == (
            '4e8a5d7d70997b0a35429fcd481af8fcd5b9f58ef4391bdb6ad900fd1c63622b')
    assert kubeflow_backend.fingerprint({
        'inputArtifactNames': {'dataset': {'artifactNames': ['10']}}, 'inputParameterValues': {},
        'outputParametersSpec': {'output_parameter': 'DOUBLE'},
        'containerSpec': {'cmdArgs': ['sh', 'ec', 'run'], 'image': image}}) == (
            '0a4cc1f15cdfad5170e1358518f7128c5278500a670db1b9a3f3d83b93db396e')
