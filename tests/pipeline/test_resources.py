"""The resources of components in a config: what is wrong is a sentence; what is right is compiled for each target."""

import dataclasses

import pytest
import yaml

from model_code.errors import ConfigError
from pipeline import fingerprints, overrides
from pipeline.config import load_config
from pipeline.kubeflow import compiler, pods
from pipeline.kubeflow.resources import Cluster, Resources, memory_bytes
from tests.pipeline.test_compile import IMAGE, compile_demo

TPU = {'cloud.google.com/gke-tpu-accelerator': 'tpu-v5-lite-podslice', 'cloud.google.com/gke-tpu-topology': '2x4'}
GPU = Resources(cpu=8, memory='32Gi', accelerator='nvidia.com/gpu', count=2, image='registry/polyvit:gpu',
                node_selector={'cloud.google.com/gke-accelerator': 'nvidia-l4'}, tolerations=('gpu=yes:NoSchedule',),
                env={'NCCL_DEBUG': 'INFO'}, env_from_secret={'TOKEN': 'hub/token'}, volumes={'media-claim': '/media'})


@pytest.mark.parametrize('fields, message', [
    (dict(cpu=0), 'cpu is 0.0; it must be more than 0, or None'),
    (dict(cpu='4'), "cpu is '4' (a str); it must be a number"),
    (dict(memory='16GB'), "memory is '16GB'. Write a whole number and one of Mi, Gi"),
    (dict(memory='0Gi'), "memory is '0Gi'"),
    (dict(accelerator='gpu'), "accelerator is 'gpu'. Write a resource's name for Kubernetes, such as 'nvidia.com/gpu'"),
    (dict(count=2), 'count is 2 without an accelerator'),
    (dict(accelerator='nvidia.com/gpu', count=0), 'count is 0; it must be at least 1'),
    (dict(accelerator='google.com/tpu'), 'a TPU needs cloud.google.com/gke-tpu-accelerator in node_selector'),
    (dict(accelerator='google.com/tpu', node_selector=TPU), 'a TPU of topology 2x4 has 8 chips. Write count=8'),
    (dict(accelerator='google.com/tpu', node_selector={**TPU, 'cloud.google.com/gke-tpu-topology': '8'}),
     "the TPU's topology is '8'; it must be like '2x4' or '2x2x1'"),
    (dict(tolerations=('gpu',)), "tolerations has 'gpu'. Write 'key=value:NoSchedule'"),
    (dict(tolerations=('gpu:NoShedule',)), 'Did you mean NoSchedule?'),
    (dict(env={'A': 1}), "env['A'] is 1 (an int); it must be a str"),
    (dict(env=('A', 'b')), "env is ('A', 'b') (a tuple); it must be a dict of str to str"),
    (dict(env_from_secret={'A': 'secret'}), "env_from_secret has 'A': 'secret'. Write 'secret/key'"),
    (dict(env={'A': 'b'}, env_from_secret={'A': 'secret/key'}), 'A is in env and in env_from_secret'),
    (dict(volumes={'claim': 'media'}), "volumes has 'claim': 'media'. The folder must begin with a slash"),
    (dict(volumes={'My_Claim': '/media'}), 'the name of a PersistentVolumeClaim has lower-case letters'),
    (dict(volumes={'a': '/media', 'b': '/media/'}), "'a' and 'b' are both on /media"),
    *((dict(volumes={'a': folder}), 'It would hide /') for folder in (
        '/', '//', '/usr', '/usr/share/media', '/etc', '/tmp', '/opt', '/opt/polyvit/x', '/var', '/home/../etc')),
    (dict(volumes={'a': '/a/../b'}), 'It must have no ":" and no ".."'),
    (dict(image='Registry/polyvit:1'), "Resources: image 'Registry/polyvit:1' is no name of an image"),
    (dict(env={'1A': 'b'}), "env has '1A'; the name of a variable has"),
    (dict(env_from_secret={'a b': 'secret/key'}), "env_from_secret has 'a b'; the name of a variable"),
    (dict(env_from_secret={'A': 'My_Secret/key'}), "env_from_secret has 'A': 'My_Secret/key'. Write 'secret/key'"),
    (dict(env_from_secret={'A': 'secret/a/b'}), "Write 'secret/key'"),
    (dict(node_selector={'a key': 'b'}), "node_selector has 'a key'; a label's key is"),
    (dict(node_selector={'Domain/key': 'b'}), "a label's key is"),
    (dict(node_selector={'key': 'b c'}), "node_selector has 'key': 'b c'; a label's value has"),
    (dict(tolerations=('a key:NoSchedule',)), "a label's key is"),
    *((dict(env={name: 'x'}), f'env has {name}, a secret that everybody could read') for name in (
        'AWS_SECRET_ACCESS_KEY', 'AWS_ACCESS_KEY_ID', 'AWS_SESSION_TOKEN', 'PGPASSWORD', 'HF_TOKEN', 'client_secret',
        'WANDB_API_KEY', 'SECRET_OF_MINE')),
    (dict(env={'HTTP_PROXY': 'http://me:word@proxy'}), "write env_from_secret={'HTTP_PROXY': 'SECRET/KEY'}"),
])
def test_wrong_resources_are_a_sentence(fields, message):
    with pytest.raises(ConfigError) as error:
        Resources(**fields)
    assert message in str(error.value)


@pytest.mark.parametrize('fields, message', [
    (dict(resources={'Trainer': Resources()}), 'There is no component named'),
    (dict(resources={'Trainer': Resources()}), 'Did you mean CoTrainer?'),
    (dict(resources={'CoTrainer': {'cpu': 4}}), "is {'cpu': 4} (a dict); it must be a Resources(...)"),
    (dict(retries=-1), 'retries is -1; it must be at least 0'),
    (dict(retries=11), 'retries is 11; it must be at most 10'),
    (dict(s3_endpoint='minio:9000'), 's3_endpoint is'),
    (dict(s3_endpoint='http://me:word@minio:9000'), 's3_endpoint has a password in it'),
    (dict(s3_secret='my secret'), "s3_secret is 'my secret'"),
])
def test_a_wrong_cluster_is_a_sentence(fields, message):
    with pytest.raises(ConfigError) as error:
        Cluster(**fields)
    assert message in str(error.value)


def test_what_only_looks_like_a_secret_is_taken():
    names = ('GOOGLE_APPLICATION_CREDENTIALS', 'AWS_WEB_IDENTITY_TOKEN_FILE', 'TOKENIZERS_PARALLELISM', 'KEYS',
             'DB_SECRET_NAME', 'AWS_ENDPOINT_URL')
    env = dict.fromkeys(names, 'http://minio:9000/a@b')
    assert Resources(env=env).env == env


def test_memory_is_read_as_kubernetes_reads_it():
    assert [memory_bytes(text) for text in ('512Mi', '16Gi', '2Ti', '3M', '1G')] == [
        512 * 2 ** 20, 16 * 2 ** 30, 2 ** 41, 3_000_000, 1_000_000_000]


def _compiled(tmp_path, cluster: Cluster, root='gs://bucket/p', output='demo.yaml') -> list[dict]:
    config = dataclasses.replace(load_config('demo'), cluster=cluster)
    compiler.compile_pipeline(config, str(tmp_path / output), root=root, image=IMAGE)
    return list(yaml.safe_load_all((tmp_path / output).read_text()))


class TestKubeflow:
    def test_a_container_and_its_pod_get_what_the_config_says(self, tmp_path, monkeypatch):
        monkeypatch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/media')
        spec, platform = _compiled(tmp_path, Cluster({'CoTrainer': GPU}))
        containers = {label: executor['container'] for label, executor in spec['deploymentSpec']['executors'].items()}
        trainer = containers.pop('CoTrainer_executor')
        assert trainer['resources'] == {'cpuLimit': 8.0, 'memoryLimit': 32 * 2 ** 30 / 1e9,
                                        'accelerator': {'type': 'nvidia.com/gpu', 'count': '2'}}
        assert trainer['env'] == [{'name': 'NCCL_DEBUG', 'value': 'INFO'}]
        assert trainer['image'] == 'registry/polyvit:gpu'
        assert not any('resources' in container or 'env' in container for container in containers.values())
        assert {container['image'] for container in containers.values()} == {IMAGE}
        assert platform == {'platforms': {'kubernetes': {'deploymentSpec': {'executors': {'CoTrainer_executor': {
            'nodeSelector': {'labels': {'cloud.google.com/gke-accelerator': 'nvidia-l4'}},
            'tolerations': [{'key': 'gpu', 'operator': 'Equal', 'value': 'yes', 'effect': 'NoSchedule'}],
            'secretAsEnv': [{'secretName': 'hub', 'keyToEnv': [{'secretKey': 'token', 'envVar': 'TOKEN'}]}],
            'pvcMount': [{'constant': 'media-claim', 'mountPath': '/media'}]}}}}}}

    def test_the_lanes_of_all_tasks_share_their_entry(self, tmp_path, monkeypatch):
        monkeypatch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/media')
        [spec] = _compiled(tmp_path, Cluster({'MediaExampleGen': Resources(cpu=2)}))
        limited = {label for label, executor in spec['deploymentSpec']['executors'].items()
                   if executor['container'].get('resources') == {'cpuLimit': 2.0}}
        assert limited == {f'MediaExampleGen_{task}_executor' for task in ('digits', 'motion', 'sounds')}

    def test_a_tpu(self):
        tpu = Resources(accelerator='google.com/tpu', count=8, node_selector=TPU)
        assert pods.container_fields(tpu)['resources'] == {'accelerator': {'type': 'google.com/tpu', 'count': '8'}}
        assert pods.kubernetes_config(tpu) == {'nodeSelector': {'labels': TPU}}

    def test_a_type_of_vertex_is_a_sentence(self, tmp_path, monkeypatch):
        monkeypatch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/media')
        with pytest.raises(ConfigError, match="CoTrainer: accelerator is 'NVIDIA_L4', a type of Vertex AI"):
            _compiled(tmp_path, Cluster({'CoTrainer': Resources(accelerator='NVIDIA_L4')}))
        assert not (tmp_path / 'demo.yaml').exists()

    @pytest.mark.parametrize('root, cluster, endpoint, secret', [
        ('minio://b', Cluster(), 'http://minio-service.kubeflow:9000', 'mlpipeline-minio-artifact'),
        ('minio://b', Cluster(s3_endpoint='http://s3.store', s3_secret='mine'), 'http://s3.store', 'mine'),
        ('s3://b', Cluster(), None, None),
        ('s3://b', Cluster(s3_secret='mine'), None, 'mine'),
        ('gs://b', Cluster(), None, None),
        ('gs://b', Cluster(s3_endpoint='http://s3.store', s3_secret='mine'), 'http://s3.store', 'mine'),
    ])
    def test_where_s3_is(self, root, cluster, endpoint, secret):
        resources = pods.resources_of('Report', cluster, root)
        assert resources.env.get('AWS_ENDPOINT_URL') == endpoint
        assert resources.env_from_secret == ({} if secret is None else {
            'AWS_ACCESS_KEY_ID': f'{secret}/accesskey', 'AWS_SECRET_ACCESS_KEY': f'{secret}/secretkey'})

    def test_every_pod_gets_the_keys_of_the_store_of_kubeflow(self, tmp_path):
        spec, platform = compile_demo(tmp_path, root='minio://mlpipeline/p')
        executors = platform['platforms']['kubernetes']['deploymentSpec']['executors']
        assert executors.keys() == spec['deploymentSpec']['executors'].keys()
        secrets = {config['secretAsEnv'][0]['secretName'] for config in executors.values()}
        assert secrets == {'mlpipeline-minio-artifact'}

    def test_what_a_component_says_of_s3_counts_more(self):
        own = Resources(env={'AWS_ENDPOINT_URL': 'http://own'}, env_from_secret={'AWS_ACCESS_KEY_ID': 'mine/id'})
        resources = pods.resources_of('Report', Cluster({'Report': own}), 'minio://b')
        assert resources.env == own.env
        assert resources.env_from_secret == {
            'AWS_ACCESS_KEY_ID': 'mine/id', 'AWS_SECRET_ACCESS_KEY': 'mlpipeline-minio-artifact/secretkey'}


class TestVertex:
    def test_a_container_gets_what_chooses_the_machine_type(self, tmp_path, monkeypatch):
        monkeypatch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/media')
        trainer = Resources(cpu=8, memory='32G', accelerator='NVIDIA_L4', env={'A': 'b'})
        [job] = _compiled(tmp_path, Cluster({'CoTrainer': trainer}), output='demo.json')
        container = job['pipelineSpec']['deploymentSpec']['executors']['CoTrainer_executor']['container']
        assert container['resources'] == {'cpuLimit': 8.0, 'memoryLimit': 32.0,
                                          'accelerator': {'type': 'NVIDIA_L4', 'count': '1'}}
        assert container['env'] == [{'name': 'A', 'value': 'b'}]

    @pytest.mark.parametrize('resources, message', [
        (Resources(accelerator='nvidia.com/gpu'), "accelerator is 'nvidia.com/gpu', a resource of Kubernetes."),
        (Resources(node_selector={'a': 'b'}), 'Vertex AI has no node_selector'),
        (Resources(tolerations=('a:NoSchedule',)), 'Vertex AI has no tolerations'),
        (Resources(env_from_secret={'A': 'b/c'}), 'Vertex AI has no env_from_secret'),
        (Resources(volumes={'a': '/b'}), 'Vertex AI has no volumes'),
    ])
    def test_what_it_does_not_have_is_a_sentence(self, resources, message):
        with pytest.raises(ConfigError) as error:
            pods.check('CoTrainer', resources, 'vertex')
        assert message in str(error.value) and str(error.value).startswith('Cluster: CoTrainer: ')


class TestTheConfig:
    def test_a_cluster_is_in_no_cache_key(self):
        config = load_config('demo')
        media = {task.name: 'f' for task in config.mixture.tasks}
        other = dataclasses.replace(config, cluster=Cluster({'CoTrainer': GPU}, retries=5))
        assert fingerprints.run_key(other, media) == fingerprints.run_key(config, media)
        assert fingerprints.model_key(other, media) == fingerprints.model_key(config, media)

    def test_set_gives_a_field_of_an_entry(self):
        config = dataclasses.replace(load_config('demo'), cluster=Cluster({'CoTrainer': GPU, 'Report': Resources()}))
        changed = overrides.apply(config, ['cluster.resources.CoTrainer.memory=64Gi', 'cluster.retries=0',
                                           'cluster.resources.CoTrainer.env.NCCL_DEBUG=WARN'])
        assert changed.cluster == Cluster({'CoTrainer': dataclasses.replace(
            GPU, memory='64Gi', env={'NCCL_DEBUG': 'WARN'}), 'Report': Resources()}, retries=0)
        with pytest.raises(ConfigError, match='no entry of the config named .Trainer.. Did you mean CoTrainer?'):
            overrides.apply(config, ['cluster.resources.Trainer.memory=64Gi'])
        for setting in ('cluster.resources.CoTrainer.cpu=4', 'cluster.resources=4'):
            with pytest.raises(ConfigError, match='the config has no entry there. Write it into the config'):
                overrides.apply(load_config('demo'), [setting])
