"""Resources, environment and volumes of containers, in the forms of Kubeflow Pipelines and Vertex AI.

Only fields that Kubeflow Pipelines has had since its SDK 2.5 are written (but for tolerations, which its backend knows
since 2.2): older backends refuse a specification with a field that they do not know.
"""

import dataclasses

from model_code.errors import ConfigError
from pipeline.kubeflow.resources import Cluster, Resources, memory_bytes, on_kubernetes, on_vertex, toleration
from pipeline.kubeflow.targets import Target

# The object store that Kubeflow Pipelines comes with. With SeaweedFS, too, the service has MinIO's name.
_KFP_ENDPOINT = 'http://minio-service.kubeflow:9000'
_KFP_SECRET = 'mlpipeline-minio-artifact'
_SECRET_KEYS = {'AWS_ACCESS_KEY_ID': 'accesskey', 'AWS_SECRET_ACCESS_KEY': 'secretkey'}
_KUBERNETES_ONLY = ('node_selector', 'tolerations', 'env_from_secret', 'volumes')


def resources_of(component: str, cluster: Cluster, root: str) -> Resources:
    """A component's resources, with the environment by which our own code finds S3."""
    resources = cluster.resources.get(component, Resources())
    endpoint, secret = cluster.s3_endpoint, cluster.s3_secret
    if root.startswith('minio://'):
        endpoint = _KFP_ENDPOINT if endpoint is None else endpoint
        secret = _KFP_SECRET if secret is None else secret
    own = resources.env | resources.env_from_secret
    env = {'AWS_ENDPOINT_URL': endpoint} if endpoint and 'AWS_ENDPOINT_URL' not in own else {}
    keys = {name: f'{secret}/{key}' for name, key in _SECRET_KEYS.items() if name not in own} if secret else {}
    return dataclasses.replace(resources, env=env | resources.env, env_from_secret=keys | resources.env_from_secret)


def check(component: str, resources: Resources, target: Target):
    """Raises ConfigError for what the target does not have."""
    where = f'Cluster: {component}: '
    accelerator = resources.accelerator
    if target == 'vertex':
        for field in _KUBERNETES_ONLY:
            if getattr(resources, field):
                raise ConfigError(f'{where}Vertex AI has no {field}; only Kubernetes has. Leave it out, or compile '
                                  'with --target kfp.')
        if accelerator and not on_vertex(accelerator):
            raise ConfigError(f"{where}accelerator is {accelerator!r}, a resource of Kubernetes. Vertex AI wants a "
                              "type, such as 'NVIDIA_L4', 'NVIDIA_TESLA_A100' or 'TPU_V3'.")
    elif accelerator and not on_kubernetes(accelerator):
        raise ConfigError(f"{where}accelerator is {accelerator!r}, a type of Vertex AI. Kubeflow Pipelines wants a "
                          "resource's name, such as 'nvidia.com/gpu'; node_selector says which GPU it is.")


def container_fields(resources: Resources) -> dict:
    """The fields `image`, `env` and `resources` of a container in a PipelineSpec, without those that are not given.

    Memory is in GB (10^9 bytes). A limit alone is the request, too.
    """
    limits: dict = {}
    if resources.cpu is not None:
        limits['cpuLimit'] = resources.cpu
    if resources.memory:
        limits['memoryLimit'] = memory_bytes(resources.memory) / 1e9
    if resources.accelerator:
        # An int64 is text in the JSON of protobuf.
        limits['accelerator'] = {'type': resources.accelerator, 'count': str(resources.count)}
    fields = {'image': resources.image, 'resources': limits,
              'env': [{'name': name, 'value': value} for name, value in sorted(resources.env.items())]}
    return {name: value for name, value in fields.items() if value}


def kubernetes_config(resources: Resources) -> dict:
    """An executor's entry in the platform spec, as the package kfp-kubernetes writes it; {} if it would be empty."""
    config: dict = {}
    if resources.node_selector:
        config['nodeSelector'] = {'labels': dict(sorted(resources.node_selector.items()))}
    if resources.tolerations:
        config['tolerations'] = [toleration(text) for text in resources.tolerations]
    if resources.env_from_secret:
        config['secretAsEnv'] = _secrets(resources.env_from_secret)
    if resources.volumes:
        config['pvcMount'] = [{'constant': claim, 'mountPath': folder}
                              for claim, folder in sorted(resources.volumes.items())]
    return config


def _secrets(env_from_secret: dict[str, str]) -> list[dict]:
    by_secret: dict[str, list[dict]] = {}
    for variable, source in sorted(env_from_secret.items()):
        secret, key = source.split('/')
        by_secret.setdefault(secret, []).append({'secretKey': key, 'envVar': variable})
    return [{'secretName': secret, 'keyToEnv': keys} for secret, keys in by_secret.items()]
