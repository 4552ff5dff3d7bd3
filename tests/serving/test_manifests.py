"""The manifests for TensorFlow Serving: valid by what reads them, and hardened as their comments promise."""

import os
import pathlib
import re
import shutil
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml

from pipeline import arguments
from serving.batching_settings import read_settings

SERVING = pathlib.Path(__file__).resolve().parents[2] / 'serving'
REPOSITORY = SERVING.parent
IMAGE = 'tensorflow/serving:2.20.0'
FLAGS = {'--model_name=polyvit', '--num_load_threads=2', '--max_num_load_retries=1',
         '--monitoring_config_file=/etc/serving/monitoring.config'}
KUBERNETES = '1.34'  # the version by whose schemas they are valid

needs_compose = pytest.mark.skipif(not shutil.which('docker-compose'), reason=(
    'There is no docker-compose here (scripts/install_programs.sh).'))


def _documents(path: str) -> dict[str, dict]:
    return {d['kind']: d for d in yaml.safe_load_all((SERVING / path).read_text())}


def _compose(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess:
    """What docker-compose makes of the file, with the words of a documented command, from the repository's folder."""
    words = command.replace('docker compose', 'docker-compose').split()
    assert words[0] == 'docker-compose' and words[-1] == 'up'
    clean = {name: value for name, value in os.environ.items() if not name.startswith(('COMPOSE', 'DOCKER', 'MODEL_'))}
    return subprocess.run([*words[:-1], 'config'], cwd=REPOSITORY, env=clean | environment, capture_output=True,
                          text=True, timeout=120)


def _documented_command() -> tuple[dict[str, str], str]:
    """The variables and the command in the header of the file."""
    found = re.search(r'^#   MODEL_DIR=(\S+) (docker compose .*)$', (SERVING / 'compose.yaml').read_text(), re.M)
    return {'MODEL_DIR': found[1]}, found[2]


@needs_compose
def test_the_documented_command_mounts_the_folder_of_the_versions():
    environment, command = _documented_command()
    done = _compose(command, environment)
    assert done.returncode == 0, done.stderr
    parsed = yaml.safe_load(done.stdout)
    service = parsed['services']['serving']
    assert 'volumes' not in parsed, 'no volume of that name'
    assert service['volumes'][0] == {'type': 'bind', 'source': f'{REPOSITORY}/runs/demo/serving/polyvit',
                                     'target': '/models/polyvit', 'read_only': True}
    for volume in service['volumes'][1:]:
        source, target, mode = volume.split(':')
        assert os.path.isfile(source) and target.startswith('/etc/serving/') and mode == 'ro'
    assert service['ports'] == ['127.0.0.1:8501:8501/tcp'], 'REST only, to this machine only'
    assert 'profiles' not in service


@needs_compose
def test_a_folder_elsewhere_is_mounted_and_none_is_an_error():
    _, command = _documented_command()
    parsed = yaml.safe_load(_compose(command, {'MODEL_ROOT': '/srv', 'MODEL_DIR': 'polyvit'}).stdout)
    assert parsed['services']['serving']['volumes'][0]['source'] == '/srv/polyvit'
    done = _compose(command, {})
    assert done.returncode != 0 and 'the folder of version directories' in done.stderr


@needs_compose
def test_the_proxy_starts_with_its_profile_behind_tls_alone():
    environment, command = _documented_command()
    done = _compose(command.replace(' up', ' --profile proxy up'), environment)
    proxy = yaml.safe_load(done.stdout)['services']['proxy']
    assert proxy['profiles'] == ['proxy'], 'only where it is asked for'
    assert [port['published'] for port in proxy['ports']] == [8443]
    assert proxy['depends_on'] == {'serving': {'condition': 'service_healthy'}}
    sources = [v['source'] if isinstance(v, dict) else v.split(':')[0] for v in proxy['volumes']]
    assert all(os.path.isfile(source) for source in sources[:2]) and sources[2] == f'{SERVING}/proxy/secrets'


def test_compose_is_hardened():
    services = yaml.safe_load((SERVING / 'compose.yaml').read_text())['services']
    for service in services.values():
        assert service['read_only'] and service['cap_drop'] == ['ALL']
        assert service['mem_limit'] and service['pids_limit']
        assert service['security_opt'] == ['no-new-privileges:true']
        assert all(v['read_only'] if isinstance(v, dict) else v.endswith(':ro') for v in service['volumes'])
        assert service['user'].split(':')[0] not in ('0', 'root')
    service = services['serving']
    assert service['image'] == IMAGE and FLAGS <= set(service['command'])
    assert '/metadata' in service['healthcheck']['test'][-1]
    name, = service['networks']['default']['aliases']
    assert f'server {name}:8501;' in (SERVING / 'proxy/nginx.conf').read_text()


@pytest.mark.parametrize('path', ['kubernetes.yaml', 'proxy/kubernetes.yaml'])
def test_kubernetes_takes_the_manifests(path):
    for document in yaml.safe_load_all((SERVING / path).read_text()):
        kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_the_schemas_find_what_is_wrong():
    deployment = _documents('kubernetes.yaml')['Deployment']
    deployment['spec']['template']['spec']['containers'][-1]['readinesProbe'] = {}
    with pytest.raises(jsonschema.ValidationError, match='readinesProbe'):
        kubernetes_validate.validate(deployment, KUBERNETES, strict=True)


def test_kubernetes():
    documents = _documents('kubernetes.yaml')
    pod = documents['Deployment']['spec']['template']['spec']
    container = pod['containers'][-1]
    assert container['image'] == IMAGE and FLAGS <= set(container['args'])
    assert pod['securityContext']['runAsNonRoot'] and container['securityContext']['readOnlyRootFilesystem']
    assert {m['name']: m.get('readOnly') for m in container['volumeMounts']}['models'] is True
    for probe in ('startupProbe', 'readinessProbe'):
        assert container[probe]['httpGet'] == {'path': '/v1/models/polyvit/metadata', 'port': 'rest'}
    assert container['livenessProbe']['tcpSocket'] == {'port': 'rest'}
    assert [p['port'] for p in documents['Service']['spec']['ports']] == [8501]
    for name in ('monitoring.config', 'batching.config'):
        lines = [line for line in (SERVING / name).read_text().splitlines() if not line.startswith('#')]
        assert documents['ConfigMap']['data'][name].splitlines() == lines


def test_kubernetes_scales_keeps_one_pod_and_lets_in_only_the_gateway_and_prometheus():
    documents = _documents('kubernetes.yaml')
    deployment, scaler = documents['Deployment'], documents['HorizontalPodAutoscaler']['spec']
    labels = deployment['spec']['template']['metadata']['labels']
    assert scaler['scaleTargetRef']['name'] == deployment['metadata']['name'] and scaler['minReplicas'] >= 2
    assert 'replicas' not in deployment['spec'], 'the autoscaler sets them'
    names = [container['name'] for container in deployment['spec']['template']['spec']['containers']]
    assert scaler['metrics'][0]['containerResource']['container'] in names
    assert documents['PodDisruptionBudget']['spec']['selector']['matchLabels'] == labels
    policy = documents['NetworkPolicy']['spec']
    assert policy['podSelector']['matchLabels'] == labels and policy['policyTypes'] == ['Ingress']
    (rule,) = policy['ingress']
    gateway, prometheus = rule['from']
    proxy = _documents('proxy/kubernetes.yaml')['Deployment']['spec']['template']['metadata']['labels']
    assert gateway == {'podSelector': {'matchLabels': proxy}}
    assert prometheus['podSelector']['matchLabels'] == {'app.kubernetes.io/name': 'prometheus'}
    assert prometheus['namespaceSelector']['matchLabels'], 'of its own namespace alone'
    assert rule['ports'] == [{'port': 'rest'}], 'and not gRPC'


def test_kubernetes_copies_the_versions_of_an_object_store_for_the_server():
    documents = _documents('kubernetes.yaml')
    pod = documents['Deployment']['spec']['template']['spec']
    first, (sidecar, server) = pod['initContainers'][0], pod['containers']
    url = documents['ConfigMap']['data']['models']
    signed = re.search('`(--require-signature), (.*)`', (SERVING / 'kubernetes.yaml').read_text()).groups()
    for container, every in ((first, None), (sidecar, 10.0)):
        program, *words = [word.replace('$(MODELS)', url) for word in container['command']]
        parsed = arguments.build_parser().parse_args([*words, *signed])
        assert (program, parsed.command, parsed.url, parsed.every) == ('polyvit', 'sync', url, every)
        assert f'--model_base_path={parsed.dir}' in server['args']
        mounts = {mount['name']: mount for mount in container['volumeMounts']}
        assert mounts['models']['mountPath'] == parsed.dir and not mounts['models'].get('readOnly')
        assert os.path.dirname(parsed.require_signature) == mounts['config']['mountPath']
        assert container['securityContext'] == server['securityContext']
        assert {value['name']: value for value in container['env']}['MODELS']['valueFrom']['configMapKeyRef'] == {
            'name': documents['ConfigMap']['metadata']['name'], 'key': 'models'}
    volumes = {volume['name']: volume for volume in pod['volumes']}
    assert volumes['models']['emptyDir']['sizeLimit'], 'a volume of the pod, of bounded size'


# KServe's schema is in no package; these are the fields of its own that its documentation of v1beta1 has.
_OF_KSERVE = {'minReplicas', 'maxReplicas', 'scaleMetric', 'scaleTarget', 'timeout', 'model'}
_OF_MODEL = {'modelFormat', 'protocolVersion', 'runtimeVersion', 'storageUri'}


def test_kserve():
    document = _documents('kserve.yaml')['InferenceService']
    assert document['apiVersion'] == 'serving.kserve.io/v1beta1' and list(document['spec']) == ['predictor']
    predictor = document['spec']['predictor']
    model = predictor['model']
    # What is not KServe's own is Kubernetes'.
    container = {name: value for name, value in model.items() if name not in _OF_MODEL}
    pod = {name: value for name, value in predictor.items() if name not in _OF_KSERVE}
    kubernetes_validate.validate({'apiVersion': 'v1', 'kind': 'Pod', 'metadata': {'name': 'a'}, 'spec': {
        **pod, 'containers': [{'name': 'a', 'image': IMAGE, **container}]}}, KUBERNETES, strict=True)
    assert _OF_KSERVE <= predictor.keys() and _OF_MODEL <= model.keys()
    assert (model['modelFormat']['name'], model['runtimeVersion']) == ('tensorflow', IMAGE.partition(':')[2])
    assert model['readinessProbe']['httpGet']['path'] == f'/v1/models/{document["metadata"]["name"]}/metadata'


def test_the_batching_file_is_what_both_servers_read_and_pads_nothing():
    settings = read_settings(SERVING / 'batching.config')
    assert (settings.max_batch_size, settings.batch_timeout_s) == (32, 0.002)
    # TensorFlow Serving pads with a tensor's first value: a short clip would get its own first frame again.
    assert not settings.pad_variable_length_inputs
    # Filled up, a request for the model card would be one for several.
    assert settings.allowed_batch_sizes == ()
