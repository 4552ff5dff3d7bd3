"""The manifests for TensorFlow Serving: valid YAML, and hardened as their comments promise."""

import pathlib

import yaml

from pipeline import arguments

SERVING = pathlib.Path(__file__).resolve().parents[2] / 'serving'
FLAGS = {'--model_name=polyvit', '--num_load_threads=2', '--max_num_load_retries=1'}


def test_compose():
    service = yaml.safe_load((SERVING / 'compose.yaml').read_text())['services']['serving']
    assert service['image'] == 'tensorflow/serving:2.16.1'
    assert FLAGS <= set(service['command'])
    assert service['user'].split(':')[0] != '0' and service['read_only'] and service['cap_drop'] == ['ALL']
    assert all(volume.endswith(':ro') for volume in service['volumes'])
    assert service['ports'] == ['127.0.0.1:8501:8501']  # REST only, to this machine only
    assert '/metadata' in service['healthcheck']['test'][-1]


def test_kubernetes():
    documents = {d['kind']: d for d in yaml.safe_load_all((SERVING / 'kubernetes.yaml').read_text())}
    pod = documents['Deployment']['spec']['template']['spec']
    container = pod['containers'][-1]
    assert container['image'] == 'tensorflow/serving:2.16.1'
    assert FLAGS <= set(container['args'])
    assert pod['securityContext']['runAsNonRoot'] and container['securityContext']['readOnlyRootFilesystem']
    assert {m['name']: m.get('readOnly') for m in container['volumeMounts']}['models'] is True
    assert container['readinessProbe']['httpGet']['path'] == '/v1/models/polyvit/metadata'
    assert [p['port'] for p in documents['Service']['spec']['ports']] == [8501]
    assert (SERVING / 'monitoring.config').read_text().strip() == \
        documents['ConfigMap']['data']['monitoring.config'].strip()


def test_kubernetes_copies_the_versions_of_an_object_store_for_the_server():
    documents = {d['kind']: d for d in yaml.safe_load_all((SERVING / 'kubernetes.yaml').read_text())}
    pod = documents['Deployment']['spec']['template']['spec']
    first, (sidecar, server) = pod['initContainers'][0], pod['containers']
    url = documents['ConfigMap']['data']['models']
    for container, every in ((first, None), (sidecar, 10.0)):
        program, *words = [word.replace('$(MODELS)', url) for word in container['command']]
        parsed = arguments.build_parser().parse_args(words)
        assert (program, parsed.command, parsed.url, parsed.every) == ('polyvit', 'sync', url, every)
        assert f'--model_base_path={parsed.dir}' in server['args']
        mounts = {mount['name']: mount for mount in container['volumeMounts']}
        assert mounts['models']['mountPath'] == parsed.dir and not mounts['models'].get('readOnly')
        assert container['securityContext'] == server['securityContext']
        assert {value['name']: value for value in container['env']}['MODELS']['valueFrom']['configMapKeyRef'] == {
            'name': documents['ConfigMap']['metadata']['name'], 'key': 'models'}
    volumes = {volume['name']: volume for volume in pod['volumes']}
    assert volumes['models']['emptyDir']['sizeLimit'], 'a volume of the pod, of bounded size'
