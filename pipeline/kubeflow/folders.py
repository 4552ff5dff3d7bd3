"""Whether the containers of a compiled pipeline can read what a config names: they see no files of this machine."""

import posixpath

from model_code.errors import ConfigError
from model_code.urls import is_url
from pipeline.kubeflow.names import is_in
from pipeline.kubeflow.resources import Cluster, Resources
from pipeline.kubeflow.targets import Target

_MEDIA = ('MediaListing', 'MediaExampleGen')


def check(config, target: Target):
    """Raises ConfigError if a PipelineConfig has tasks without data, or names files that only this machine has."""
    for task in config.mixture.tasks:
        where, folder = f'Task {task.name}: ', task.data.folder
        if not folder:
            raise ConfigError(f'{where}it has no data folder, so there is nothing to run. Give it one, Data(...), such '
                              'as s3://BUCKET/FOLDER, or --data if the config takes that.')
        for path in (folder, *(posixpath.join(folder, name) for name in task.data.files)):
            _check(path, f'{where}its data are in', _MEDIA, config.cluster, target)
    start = config.training.initial_checkpoint
    if start:
        _check(start, 'training.initial_checkpoint is', ('CoTrainer',), config.cluster, target)


def _check(path: str, what: str, components: tuple[str, ...], cluster: Cluster, target: Target):
    """what: the beginning of the sentence, before the path. components: those that read it."""
    if path.startswith('minio://'):
        raise ConfigError(f'{what} {path}. Write s3://: only roots have minio://, a word of Kubeflow Pipelines.')
    if is_url(path) and not path.startswith('file://'):
        return
    if target == 'vertex':
        if is_in(path, '/gcs') and path.strip('/') != 'gcs':
            return
        instead = 'gs://BUCKET/FOLDER (or /gcs/BUCKET/FOLDER)'
    else:
        mounts = [set(cluster.resources.get(name, Resources()).volumes.items()) for name in components]
        if any(is_in(path, folder) for _, folder in set.intersection(*mounts)):
            return
        instead = (f'gs:// or s3://BUCKET/FOLDER; or mount a volume that has it: volumes={{CLAIM: FOLDER}} in '
                   f'Cluster.resources of {" and ".join(components)}')
    raise ConfigError(f'{what} {path}, on this machine, which the containers of a compiled pipeline do not see. Copy '
                      f'it to an object store and name it there: {instead}.')
