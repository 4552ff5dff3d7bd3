"""What a config says about a cluster: the resources of each component, retries, the object store."""

import dataclasses
import math
import re

from model_code.errors import ConfigError, unknown
from model_code.fields import check_fields, check_least
from pipeline.fingerprints import COMPONENT_CODE
from pipeline.images import check_image
from pipeline.kubeflow import names

TPU = 'google.com/tpu'
TPU_KIND, TPU_TOPOLOGY = 'cloud.google.com/gke-tpu-accelerator', 'cloud.google.com/gke-tpu-topology'
# Kubernetes' units of memory, in bytes.
_MEMORY_UNITS = {'Mi': 2 ** 20, 'Gi': 2 ** 30, 'Ti': 2 ** 40, 'M': 10 ** 6, 'G': 10 ** 9, 'T': 10 ** 12}
_EFFECTS = ('NoSchedule', 'NoExecute', 'PreferNoSchedule')


@dataclasses.dataclass(frozen=True)
class Resources:
    """What a component's containers get on a cluster. On one machine it has no meaning.

    Vertex AI takes cpu, memory, accelerator, count, image and env, and chooses the machine type by them.
    """
    cpu: float | None = None
    """Cores, such as 4 or 0.5: request and limit. None leaves it to the cluster."""
    memory: str = ''
    """Memory, such as '16Gi' or '512Mi': request and limit. '' leaves it to the cluster."""
    accelerator: str = ''
    """On Kubernetes a resource's name, such as 'nvidia.com/gpu' or 'google.com/tpu'; on Vertex AI a type, such as
    'NVIDIA_L4'."""
    count: int = 1
    """How many accelerators each container gets. For a TPU: the chips of its topology."""
    image: str = ''
    """Another image for this component, such as the one for GPUs. '' is that of `--image`."""
    node_selector: dict[str, str] = dataclasses.field(default_factory=dict)
    """Labels of the nodes that may run it, such as {'cloud.google.com/gke-accelerator': 'nvidia-l4'}. A TPU of GKE
    needs cloud.google.com/gke-tpu-accelerator and cloud.google.com/gke-tpu-topology."""
    tolerations: tuple[str, ...] = ()
    """Taints of nodes that it tolerates, as kubectl writes them: 'key=value:NoSchedule' or 'key:NoSchedule'. They need
    Kubeflow Pipelines 2.2 or newer."""
    env: dict[str, str] = dataclasses.field(default_factory=dict)
    """Environment variables. Not for secrets: the compiled pipeline shows them."""
    env_from_secret: dict[str, str] = dataclasses.field(default_factory=dict)
    """Environment variables from Kubernetes secrets: {'VARIABLE': 'secret/key'}."""
    volumes: dict[str, str] = dataclasses.field(default_factory=dict)
    """Volumes with media, for example: the name of a PersistentVolumeClaim -> the folder where it is mounted."""

    def __post_init__(self):
        where = 'Resources: '
        check_fields(self, where)
        check_least(self, where, count=1)
        if self.cpu is not None and self.cpu <= 0:
            raise ConfigError(f'{where}cpu is {self.cpu}; it must be more than 0, or None.')
        if self.memory:
            memory_bytes(self.memory)
        if self.accelerator and not (on_kubernetes(self.accelerator) or on_vertex(self.accelerator)):
            raise ConfigError(f"{where}accelerator is {self.accelerator!r}. Write a resource's name for Kubernetes, "
                              "such as 'nvidia.com/gpu' or 'google.com/tpu', or a type of Vertex AI, 'NVIDIA_L4'.")
        if not self.accelerator and self.count != 1:
            raise ConfigError(f'{where}count is {self.count} without an accelerator. Name one, or leave out count.')
        if self.accelerator == TPU:
            _check_tpu(self, where)
        if self.image:
            check_image(self.image, f'{where}image')
        for key, value in self.node_selector.items():
            names.check_label(key, value, f'{where}node_selector')
        for text in self.tolerations:
            toleration(text)
        for variable, value in self.env.items():
            names.check_variable(variable, f'{where}env')
            names.check_plain(variable, value, f'{where}env')
        for variable, source in self.env_from_secret.items():
            names.check_variable(variable, f'{where}env_from_secret')
            names.check_secret(source, f'{where}env_from_secret has {variable!r}')
            if variable in self.env:
                raise ConfigError(f'{where}{variable} is in env and in env_from_secret. Keep one of them.')
        names.check_volumes(self.volumes, f'{where}volumes')


def memory_bytes(text: str) -> int:
    """The bytes of '16Gi'. Raises ConfigError."""
    match = re.fullmatch(r'([1-9]\d*)(Mi|Gi|Ti|M|G|T)', text)
    if not match:
        raise ConfigError(f"Resources: memory is {text!r}. Write a whole number and one of "
                          f"{', '.join(_MEMORY_UNITS)}, such as '16Gi'.")
    return int(match[1]) * _MEMORY_UNITS[match[2]]


def on_kubernetes(accelerator: str) -> bool:
    """Whether it is the name of a Kubernetes resource, such as 'nvidia.com/gpu'."""
    return bool(re.fullmatch(r'[a-z0-9.-]+/[a-zA-Z0-9._-]+', accelerator))


def on_vertex(accelerator: str) -> bool:
    """Whether it is a type of Vertex AI, such as 'NVIDIA_L4'."""
    return bool(re.fullmatch(r'[A-Z][A-Z0-9]*(_[A-Z0-9]+)+', accelerator))


def toleration(text: str) -> dict[str, str]:
    """'key=value:NoSchedule' or 'key:NoSchedule' as the fields of a Kubernetes toleration. Raises ConfigError."""
    match = re.fullmatch(r'([^=:]+)(?:=([^=:]*))?:(\w+)', text)
    if not match:
        raise ConfigError(f"Resources: tolerations has {text!r}. Write 'key=value:NoSchedule' or 'key:NoSchedule'.")
    key, value, effect = match.groups()
    if effect not in _EFFECTS:
        raise unknown('effect', effect, _EFFECTS, f'Resources: tolerations has {text!r}. ')
    names.check_label(key, value or '', f'Resources: tolerations: {text!r}')
    if value is None:
        return {'key': key, 'operator': 'Exists', 'effect': effect}
    return {'key': key, 'operator': 'Equal', 'value': value, 'effect': effect}


def _check_tpu(resources: Resources, where: str):
    """GKE finds the nodes of a TPU by two labels. A component runs in one pod, so its slice is that of one host."""
    for label, example in ((TPU_KIND, 'tpu-v5-lite-podslice'), (TPU_TOPOLOGY, '2x4')):
        if label not in resources.node_selector:
            raise ConfigError(f'{where}a TPU needs {label} in node_selector, such as {{{label!r}: {example!r}}}.')
    topology = resources.node_selector[TPU_TOPOLOGY]
    if not re.fullmatch(r'[1-9]\d*(x[1-9]\d*){1,2}', topology):
        raise ConfigError(f"{where}the TPU's topology is {topology!r}; it must be like '2x4' or '2x2x1'.")
    chips = math.prod(map(int, topology.split('x')))
    if resources.count != chips:
        raise ConfigError(f'{where}count is {resources.count}, but a TPU of topology {topology} has {chips} chips. '
                          f'Write count={chips}. (A component runs in one pod, so its TPU is that of one host.)')


@dataclasses.dataclass(frozen=True)
class Cluster:
    """How the compiled pipeline runs on Kubeflow Pipelines or Vertex AI. On one machine it has no meaning, and it is in
    no cache key."""
    resources: dict[str, Resources] = dataclasses.field(default_factory=dict)
    """A component's name, such as 'CoTrainer' or 'MediaExampleGen' -> its resources, for the lanes of all tasks."""
    retries: int = 2
    """How often a component that failed runs again before the run fails; at most 10."""
    s3_endpoint: str | None = None
    """Where the S3 of roots and media is, such as 'http://minio.storage:9000'. '' is AWS. None is AWS for a root s3://...,
    and for minio://... the service that Kubeflow Pipelines comes with, http://minio-service.kubeflow:9000."""
    s3_secret: str | None = None
    """The Kubernetes secret with the keys `accesskey` and `secretkey` for S3. '' is none: the pods have an identity of
    their own. None is none for a root s3://..., and for minio://... that of Kubeflow Pipelines,
    mlpipeline-minio-artifact."""

    def __post_init__(self):
        check_fields(self, 'Cluster: ')
        check_least(self, 'Cluster: ', retries=0)
        if self.retries > 10:
            raise ConfigError(f'Cluster: retries is {self.retries}; it must be at most 10. Each waits twice as long.')
        for name in self.resources:
            if name not in COMPONENT_CODE:
                raise unknown('component', name, COMPONENT_CODE, 'Cluster: resources: ')
        if names.has_password(self.s3_endpoint or ''):
            raise ConfigError('Cluster: s3_endpoint has a password in it, which everybody could read in the compiled '
                              'pipeline. Put the keys into a secret of Kubernetes and name it in s3_secret.')
        if self.s3_secret and not names.is_subdomain(self.s3_secret):
            raise ConfigError(f'Cluster: s3_secret is {self.s3_secret!r}; the name of a secret has lower-case letters, '
                              'digits, hyphens and dots.')
        if self.s3_endpoint and not re.match(r'https?://.', self.s3_endpoint):
            raise ConfigError(f'Cluster: s3_endpoint is {self.s3_endpoint!r}; it must begin with http:// or https://.')
