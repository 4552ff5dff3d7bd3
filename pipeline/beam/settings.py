"""Beam: the part of a config that says where Beam pipelines run. Imports nothing heavy."""

import dataclasses
import re
from collections.abc import Iterable
from typing import Literal

from model_code.errors import ConfigError, unknown
from model_code.fields import check_fields, check_least
from pipeline.images import check_image

Runner = Literal['in_process', 'multi_process', 'flink', 'spark', 'portable', 'dataflow']

COMPONENTS = ('MediaExampleGen', 'StatisticsGen', 'Transform', 'TaskEvaluator')
JOB_SERVERS = ('flink', 'spark', 'portable')  # reached through a job server
_ON_GPU = ('TaskEvaluator',)  # of them, what is faster with one: it runs the model
LOOPBACK = 'loopback'

# Beam's default runner depends on its version and on what the network can reach, so it is named.
_DIRECT = ('--runner=DirectRunner', '--direct_running_mode=in_memory')
# Runners with a class of ours over Beam's.
_PROCESSES = '--runner=pipeline.beam.runners.ProcessesDirectRunner'
_PROCESSES_WITHOUT_GPU = '--runner=pipeline.beam.runners.ProcessesWithoutGpuRunner'
_PORTABLE = '--runner=pipeline.beam.runners.PortableRunner'
_DATAFLOW = '--runner=pipeline.beam.runners.DataflowRunner'
# Options that say where remote workers get their packages from. Without any, TFX packs its own sources for every Beam
# component, which takes seconds and leaves 49 MB in the temporary folder. The workers here have the packages: in this
# process, in their image, or where their pool was started.
_PACKAGING = ('--sdk_container_image', '--extra_package', '--setup_file', '--requirements_file')
_NO_PACKAGING = '--sdk_container_image=none'
# Options that a field says.
_FIELDS = {'runner': 'runner', 'direct_running_mode': 'runner', 'direct_num_workers': 'workers',
           'job_endpoint': 'endpoint', 'environment_type': 'worker_pool', 'environment_config': 'worker_pool',
           'parallelism': 'workers', 'max_num_workers': 'workers', 'sdk_container_image': 'image',
           'worker_harness_container_image': 'image'}
_DATAFLOW_NEEDS = ('project', 'region', 'temp_location')


@dataclasses.dataclass(frozen=True)
class Beam:
    """Where the Beam pipelines of ingest, statistics, Transform and evaluation run (docs/beam.md)."""
    runner: Runner = 'in_process'
    """in_process; multi_process: processes of this machine; flink, spark, portable: through a job server; dataflow."""
    workers: int = 0
    """How many: processes for multi_process, the parallelism of flink, the most machines for dataflow. 0 leaves it to
    the runner; for multi_process it means one per core."""
    endpoint: str = ''
    """host:port of the job server, for flink, spark and portable."""
    worker_pool: str = ''
    """Where flink, spark and portable find Python workers: host:port of a worker pool as the cluster reaches it, or
    'loopback' for this process (a cluster on this machine). Or give an image."""
    image: str = ''
    """The image of the workers (kubeflow/Dockerfile), for flink, spark and portable with Docker, and for dataflow."""
    options: tuple[str, ...] = ()
    """Further options of Beam, such as '--region=europe-west4' or '--hdfs_host=name-node'. Those of file systems also
    count where the media are listed."""
    components: tuple[str, ...] = COMPONENTS
    """The components that run there; the others run in process. Small data are faster in process than on a cluster."""

    def __post_init__(self):
        check_fields(self, 'Beam: ')
        check_least(self, 'Beam: ', workers=0)
        for name in self.components:
            if name not in COMPONENTS:
                raise unknown('component on Beam', name, COMPONENTS, 'Beam: ')
        self._check_options()
        self._check_workers()
        if self.runner in JOB_SERVERS:
            self._check_job_server()
        elif self.endpoint or self.worker_pool:
            name = 'endpoint' if self.endpoint else 'worker_pool'
            raise ConfigError(f'Beam: {name} is {getattr(self, name)!r}, which the runner {self.runner} does not use. '
                              f'Leave it out, or choose a runner with a job server: {", ".join(JOB_SERVERS)}.')
        if self.runner == 'dataflow':
            self._check_dataflow()

    def _check_options(self):
        for option in self.options:
            name = re.match(r'--([a-z]\w*)(=|$)', option)
            if not name:
                raise ConfigError(f'Beam: options has {option!r}; an option is written as --name=value.')
            if name[1] in _FIELDS:
                raise ConfigError(f'Beam: options has {option!r}. Set the field {_FIELDS[name[1]]!r} instead: '
                                  f'Beam({_FIELDS[name[1]]}=...).')

    def _check_workers(self):
        if self.workers and self.runner not in ('multi_process', 'flink', 'dataflow'):
            raise ConfigError(f'Beam: workers is {self.workers}, but the runner {self.runner} takes no number of them. '
                              'Leave it out' + (', and set it where Spark is configured.' if self.runner == 'spark'
                                                else ', or choose multi_process, flink or dataflow.'))
        if self.image and self.runner in ('in_process', 'multi_process'):
            raise ConfigError(f'Beam: image is {self.image!r}, but the runner {self.runner} starts no containers. '
                              'Leave it out.')
        if self.image:
            check_image(self.image, 'Beam: image')

    def _check_job_server(self):
        _check_address('endpoint', self.endpoint, f'the job server of {self.runner}')
        if bool(self.worker_pool) == bool(self.image):
            raise ConfigError(f'Beam: the runner {self.runner} needs Python workers. Give either image=..., or '
                              "worker_pool='host:port' or 'loopback'.")
        if self.worker_pool and self.worker_pool != LOOPBACK:
            _check_address('worker_pool', self.worker_pool, "a worker pool, or 'loopback'")

    def _check_dataflow(self):
        missing = [name for name in _DATAFLOW_NEEDS if not any(o.startswith(f'--{name}=') for o in self.options)]
        if missing:
            needed = ', '.join(f'--{name}=...' for name in _DATAFLOW_NEEDS)
            raise ConfigError(f'Beam: Dataflow needs the options {needed}; missing: {", ".join(missing)}.')
        if not self.image and not any(option.startswith(_PACKAGING) for option in self.options):
            raise ConfigError("Beam: Dataflow's workers need this package. Give image=..., built from "
                              'kubeflow/Dockerfile and pushed to a registry.')

    def arguments(self, component: str) -> list[str]:
        """The options of a component's Beam pipeline."""
        runner = self.runner if component in self.components else 'in_process'
        arguments = [*_RUNNER_ARGUMENTS[runner](self, component), *self.options]
        if not any(argument.startswith(_PACKAGING) for argument in arguments):
            arguments.append(_NO_PACKAGING)
        return arguments

    @property
    def is_remote(self) -> bool:
        """Whether any component runs outside this machine's processes."""
        return bool(self.components) and self.runner in (*JOB_SERVERS, 'dataflow')


def _check_address(field: str, value: str, of: str):
    host, _, port = value.rpartition(':')
    if not (host and port.isdigit() and 0 < int(port) < 65536):
        raise ConfigError(f'Beam: {field} is {value!r}; it must be the host:port of {of}.')


def _processes(beam: Beam, component: str) -> list[str]:
    return [_PROCESSES if component in _ON_GPU else _PROCESSES_WITHOUT_GPU,
            '--direct_running_mode=multi_processing', f'--direct_num_workers={beam.workers}']


def _job_server(beam: Beam, _: str) -> list[str]:
    if beam.image:
        workers = ['--environment_type=DOCKER', f'--sdk_container_image={beam.image}']
    elif beam.worker_pool == LOOPBACK:
        workers = ['--environment_type=LOOPBACK']
    else:
        workers = ['--environment_type=EXTERNAL', f'--environment_config={beam.worker_pool}']
    parallelism = [f'--parallelism={beam.workers}'] if beam.workers else []
    return [_PORTABLE, f'--job_endpoint={beam.endpoint}', *workers, *parallelism]


def _dataflow(beam: Beam, _: str) -> list[str]:
    return [_DATAFLOW, *([f'--sdk_container_image={beam.image}'] if beam.image else []),
            *([f'--max_num_workers={beam.workers}'] if beam.workers else [])]


_RUNNER_ARGUMENTS = {
    'in_process': lambda *_: list(_DIRECT),
    'multi_process': _processes,
    **{runner: _job_server for runner in JOB_SERVERS},
    'dataflow': _dataflow,
}


def instead_of(beam_args: Iterable[str]) -> str:
    """The Beam(...) to write for the `beam_args` of version 0.1."""
    given = dict(argument.removeprefix('--').partition('=')[::2] for argument in beam_args)
    runner = given.get('runner', 'DirectRunner').lower().removesuffix('runner')
    several = given.get('direct_running_mode', '').startswith('multi')
    name = {'direct': 'multi_process' if several else 'in_process'}.get(runner, runner)
    fields = [repr(name)]
    if given.get('direct_num_workers', given.get('parallelism', '')).isdigit() and name != 'in_process':
        fields.append(f'workers={given.get("direct_num_workers", given.get("parallelism"))}')
    for field, option in (('endpoint', 'job_endpoint'), ('worker_pool', 'environment_config')):
        if option in given:
            fields.append(f'{field}={given[option]!r}')
    options = tuple(argument for argument in beam_args if argument[2:].partition('=')[0] not in _FIELDS)
    if options:
        fields.append(f'options={options!r}')
    return f'beam=Beam({", ".join(fields)})'
