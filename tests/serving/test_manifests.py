"""The manifests for TensorFlow Serving: valid YAML, and hardened as their comments promise."""

import pathlib

import yaml

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
    container = pod['containers'][0]
    assert container['image'] == 'tensorflow/serving:2.16.1'
    assert FLAGS <= set(container['args'])
    assert pod['securityContext']['runAsNonRoot'] and container['securityContext']['readOnlyRootFilesystem']
    assert {m['name']: m.get('readOnly') for m in container['volumeMounts']}['models'] is True
    assert container['readinessProbe']['httpGet']['path'] == '/v1/models/polyvit/metadata'
    assert [p['port'] for p in documents['Service']['spec']['ports']] == [8501]
    assert (SERVING / 'monitoring.config').read_text().strip() == \
        documents['ConfigMap']['data']['monitoring.config'].strip()
