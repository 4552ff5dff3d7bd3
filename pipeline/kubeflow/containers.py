"""The commands of the containers of a compiled pipeline, and the arguments that they have in common with entry_point.

TFX writes a container's arguments for its own entry point, which reads artifacts by their URIs and needs their types.
Open-source Kubeflow Pipelines drops the types, and its URIs (s3://, minio://) are no file systems of TensorFlow. So
ours gets the local paths as well, at which the backend has put the inputs and from which it takes the outputs.
"""

import argparse
from collections.abc import Iterator, Sequence

from model_code.errors import ConfigError
from pipeline.beam.checks import is_here
from pipeline.beam.settings import LOOPBACK, Beam
from pipeline.kubeflow.targets import TARGETS

# `python -m` would look into the current folder first (model_code/isolated.py, whose path only the image knows).
COMMAND = ('python', '-c', 'import sys; sys.path = [folder for folder in sys.path if folder]; '
           'from pipeline.kubeflow.entry_point import main; sys.exit(main())')
# Types of artifacts that only the backend's UI reads. TFX knows no such types.
HTML, METRICS = 'system.HTML', 'system.Metrics'
UI_TYPES = (HTML, METRICS)


def tasks(spec: dict) -> dict[str, dict]:
    return spec['root']['dag']['tasks']


def containers_of(spec: dict) -> Iterator[tuple[str, str, dict]]:
    """(task, label of its executor, container) of each task; the container may be changed."""
    for name in tasks(spec):
        label = spec['components'][name]['executorLabel']
        yield name, label, spec['deploymentSpec']['executors'][label]['container']


def add_arguments(spec: dict, target: str):
    """Adds our arguments to every container of a compiled PipelineSpec. Call it once, when all outputs are declared.

    Artifacts of a UI type are declared in the spec by others: {'artifactType': {'schemaTitle': HTML}} among a
    component's output definitions, and `html_argument` or `metrics_argument` among its container's arguments.
    """
    for node, _, container in containers_of(spec):
        container['args'] += [f'--node={node}', f'--target={target}', *_path_arguments(spec['components'][node])]


def check_beam(beam: Beam):
    """Raises ConfigError if Beam is to be on one machine with the step, which is a pod of its own."""
    if not beam.is_remote:
        return
    instead = 'Let Beam run in the process of the step, Beam(), or name a cluster elsewhere, with a root in gs://.'
    if beam.worker_pool == LOOPBACK:
        raise ConfigError("Beam: worker_pool is 'loopback', threads of the step, which a cluster on another machine "
                          f'does not reach. {instead}')
    if is_here(beam.endpoint):
        raise ConfigError(f'Beam: endpoint is {beam.endpoint!r}, which is the pod of a step itself in a compiled '
                          f'pipeline. {instead}')


def check_beam_workers(spec: dict):
    """Raises ConfigError if Beam's workers are on other machines and cannot reach the root."""
    root = spec['defaultPipelineRoot']
    for node, _, container in containers_of(spec):
        if workers_elsewhere(container['args']):
            check_reached_by_workers(node, root)


def workers_elsewhere(words: Sequence[str]) -> bool:
    """Whether the options of Beam among `words` name a runner whose workers do not see the files of the container."""
    options = dict(word.removeprefix('--').partition('=')[::2] for word in words)
    return not (options.get('runner', 'DirectRunner').endswith('DirectRunner')
                or options.get('environment_type') == 'LOOPBACK')


def check_reached_by_workers(node: str, uri: str):
    """Raises ConfigError for a URI that Beam's workers on other machines cannot read and write."""
    if not uri.startswith('gs://'):
        raise ConfigError(
            f"{node}: Beam's workers are on other machines, where TensorFlow reads and writes gs:// but not {uri}. "
            'Choose a root in gs://, or let Beam run in the process of the step: Beam().')


def component_of(node: str) -> str:
    """The component of a step of a compiled pipeline: 'MediaExampleGen' of 'MediaExampleGen-digits'."""
    return node.partition('-')[0]


def html_argument(file: str, name: str) -> str:
    """Makes the artifact `name`, of type HTML, from one file of another output: 'report/report.html'."""
    return f'--html={file}={name}'


def metrics_argument(file: str, name: str) -> str:
    """Fills the metadata of the artifact `name`, of type METRICS, with the numbers in a JSON file of another output.

    Nested values are named by their path, such as 'tasks/digits/metrics/accuracy'; an item of a list by its `name`.
    """
    return f'--metrics={file}={name}'


def _path_arguments(component: dict) -> Iterator[str]:
    for direction in ('input', 'output'):
        for name in sorted(component.get(f'{direction}Definitions', {}).get('artifacts', {})):
            yield f"--{direction}-path={name}={{{{$.{direction}s.artifacts['{name}'].path}}}}"


def parse_arguments(words: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    """What a container is called with, and the options of Beam, which are all other words. Exits with 2 if they are
    wrong.

    input_path, output_path: artifact name -> local path. html, metrics: name -> file of another output.
    """
    parser = argparse.ArgumentParser(prog='entry_point', allow_abbrev=False,
                                     description='Runs one step of a compiled pipeline in its container.')
    parser.add_argument('--executor_class_path', required=True, help='the executor, such as package.module.Executor')
    parser.add_argument('--json_serialized_invocation_args', required=True, help="KFP's ExecutorInput as JSON")
    parser.add_argument('--json_serialized_inputs_spec_args', default='{}', help="KFP's ComponentInputsSpec as JSON")
    parser.add_argument('--node', required=True, help='the name of the step, such as Transform-digits')
    parser.add_argument('--target', required=True, choices=TARGETS)
    for option in ('--input-path', '--output-path', '--html', '--metrics'):
        parser.add_argument(option, action='append', default=[], type=_pair)
    arguments, others = parser.parse_known_args(words)
    arguments.input_path, arguments.output_path = dict(arguments.input_path), dict(arguments.output_path)
    arguments.html, arguments.metrics = (
        {name: file for file, name in pairs} for pairs in (arguments.html, arguments.metrics))
    return arguments, others


def _pair(word: str) -> tuple[str, str]:
    first, separator, second = word.partition('=')
    if not (first and separator and second):
        raise argparse.ArgumentTypeError(f'{word!r} is not of the form NAME=VALUE')
    return first, second
