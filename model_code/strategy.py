"""tf.distribute strategies by name: tpu, mirrored, multi_worker, one_device. auto takes the best available."""

import contextlib
import functools
import json
import os
import re

import tensorflow as tf
import tf_keras

from model_code.errors import PipelineStop
from model_code.settings import TrainingConfig


def make_strategy(config: TrainingConfig) -> tf.distribute.Strategy:
    """The strategy that config.strategy names.

    'auto' takes the first that fits: multi_worker if TF_CONFIG names several workers, tpu if one is attached, mirrored
    if there are several GPUs, else one_device. 'mirrored' without GPUs runs on config.replicas logical CPUs (0: one).

    Each strategy is made once per process: two on the same devices give their collectives equal numbers, and
    TensorFlow confuses them. Logical CPUs and several workers must be set up before TensorFlow's first operation in the
    process. Raises PipelineStop if it is too late.
    """
    name = _choose() if config.strategy == 'auto' else config.strategy
    try:
        return _make(name, config.replicas, config.tpu)
    except RuntimeError as error:
        if not re.search('startup|after being initialized', str(error)):
            raise
        raise PipelineStop(f'The strategy {name} cannot be set up: TensorFlow has run in this process before, as under '
                           '`polyvit run`, where components share a process. Run the trainer in its own process, as '
                           'its container on Kubeflow does, or choose another strategy.') from error


def workers(strategy: tf.distribute.Strategy) -> int:
    """The number of processes that train together. (All hosts of a TPU follow one process.)"""
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 1
    cluster = strategy.cluster_resolver.cluster_spec().as_dict()
    return max(1, len(cluster.get('chief', ())) + len(cluster.get('worker', ())))


def is_chief(strategy: tf.distribute.Strategy) -> bool:
    """Whether this process writes checkpoints, history, event files and the model. Only one does."""
    if workers(strategy) == 1:
        return True
    resolver = strategy.cluster_resolver
    has_chief = bool(resolver.cluster_spec().as_dict().get('chief'))
    return resolver.task_type == 'chief' or not has_chief and resolver.task_type == 'worker' and resolver.task_id == 0


@functools.cache
def _make(name: str, replicas: int, tpu: str) -> tf.distribute.Strategy:
    if name == 'tpu':
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=tpu or 'local')
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
        return tf.distribute.TPUStrategy(resolver)
    if name == 'multi_worker':
        return tf.distribute.MultiWorkerMirroredStrategy()
    if name == 'mirrored':
        if not tf.config.list_physical_devices('GPU') and replicas > 1:
            _split_cpu(replicas)
            return tf.distribute.MirroredStrategy([f'CPU:{i}' for i in range(replicas)])
        return tf.distribute.MirroredStrategy()
    device = 'GPU:0' if tf.config.list_physical_devices('GPU') else 'CPU:0'
    return tf.distribute.OneDeviceStrategy(device)


@contextlib.contextmanager
def precision(config: TrainingConfig):
    """A context: layers made in it compute in config.precision. Their variables are float32.

    Keras's other settings are its defaults there, whatever ~/.keras/keras.json says.
    """
    backend, policies = tf_keras.backend, tf_keras.mixed_precision
    before = backend.floatx(), backend.epsilon(), backend.image_data_format(), policies.global_policy()

    def set_all(floatx, epsilon, image_data_format, policy):
        backend.set_floatx(floatx)
        backend.set_epsilon(epsilon)
        backend.set_image_data_format(image_data_format)
        policies.set_global_policy(policy)
    set_all('float32', 1e-7, 'channels_last',
            'float32' if config.precision == 'float32' else f'mixed_{config.precision}')
    try:
        yield
    finally:
        set_all(*before)


def _choose() -> str:
    cluster = json.loads(os.environ.get('TF_CONFIG') or '{}').get('cluster', {})
    if sum(len(hosts) for hosts in cluster.values()) > 1:
        return 'multi_worker'
    if os.environ.get('TPU_NAME') or os.path.exists('/dev/accel0'):
        return 'tpu'
    return 'mirrored' if len(tf.config.list_physical_devices('GPU')) > 1 else 'one_device'


def _split_cpu(replicas: int):
    """Makes logical CPU devices, which is possible only before TensorFlow's runtime has started."""
    cpu = tf.config.list_physical_devices('CPU')[0]
    devices = [tf.config.LogicalDeviceConfiguration() for _ in range(replicas)]
    if len(tf.config.get_logical_device_configuration(cpu) or ()) != replicas:
        tf.config.set_logical_device_configuration(cpu, devices)
