"""What is added to the PipelineSpec that TFX compiles: plain functions over the parsed specification."""

import json
from collections.abc import Collection

from model_code.errors import ConfigError
from pipeline.kubeflow import containers, pods
from pipeline.kubeflow.containers import component_of, containers_of, tasks
from pipeline.kubeflow.resources import Cluster
from pipeline.kubeflow.targets import Target
from pipeline.run_parameters import Parameter

# Linux takes at most 128 KiB in one argument, its last zero byte included.
LONGEST_ARGUMENT = 128 * 1024 - 1
# What an artifact with its URI, type and metadata takes in the ExecutorInput, generously.
_ARTIFACT_BYTES = 1024
# The first retry is after a minute, the second after two more. Argo takes the longest duration for the time from the
# first start, the work itself included: it must be longer than a training, and without one nothing is retried. It also
# wants a whole factor. Vertex AI takes it for the longest pause.
_BACKOFF = {'backoffDuration': '60s', 'backoffFactor': 2.0}
_LONGEST = {'kfp': '2592000s', 'vertex': '3600s'}
# Component -> an output that the user interface shows, its type, and the argument by which the entry point makes it.
SHOWN = {
    'Report': ('page', containers.HTML, containers.html_argument('report/report.html', 'page')),
    'BlessingGate': ('metrics', containers.METRICS, containers.metrics_argument('blessing/metrics.json', 'metrics')),
}


def rename_tasks(spec: dict):
    """Gives tasks names that Argo takes, which runs Kubeflow Pipelines: 'MediaExampleGen-digits', without underscores.

    Also repairs the producers of parameters, which TFX writes with '_task' at their end though it names no task so.
    """
    names = {name: name.replace('_', '-') for name in tasks(spec)}
    spec['components'] = {names[name]: component for name, component in spec['components'].items()}
    for task in tasks(spec).values():
        task['taskInfo']['name'] = names[task['taskInfo']['name']]
        task['componentRef']['name'] = names[task['componentRef']['name']]
        if 'dependentTasks' in task:
            task['dependentTasks'] = [names[name] for name in task['dependentTasks']]
        inputs = task.get('inputs', {})
        for source in inputs.get('artifacts', {}).values():
            output = source['taskOutputArtifact']
            output['producerTask'] = names[output['producerTask']]
        for source in inputs.get('parameters', {}).values():
            if 'taskOutputParameter' in source:
                output = source['taskOutputParameter']
                output['producerTask'] = names[output['producerTask'].removesuffix('_task')]
    spec['root']['dag']['tasks'] = {names[name]: task for name, task in tasks(spec).items()}


def set_defaults(spec: dict, parameters: dict[str, Parameter]):
    """Gives the run's parameters their defaults and descriptions, which TFX leaves out."""
    declared = spec['root']['inputDefinitions']['parameters']
    for name, parameter in parameters.items():
        declared[name] |= {'defaultValue': parameter.default, 'description': parameter.description}


def set_caching(spec: dict, uncached: Collection[str]):
    """Switches off the cache of some components. (TFX's compiler has only one switch for all.)"""
    for name, task in tasks(spec).items():
        if component_of(name) in uncached:
            task['cachingOptions'] = {'enableCache': False}


def set_retries(spec: dict, retries: int, target: Target):
    """Lets each task run again when it fails, but for Verdict, which fails on purpose."""
    for name, task in tasks(spec).items():
        if retries and component_of(name) != 'Verdict':
            task['retryPolicy'] = {'maxRetryCount': retries, **_BACKOFF, 'backoffMaxDuration': _LONGEST[target]}


def add_shown_outputs(spec: dict):
    """Adds the outputs that the user interface shows: the report as a page, the gate's numbers as metrics."""
    for name, _, container in containers_of(spec):
        if name in SHOWN:
            output, schema, argument = SHOWN[name]
            outputs = spec['components'][name]['outputDefinitions']['artifacts']
            outputs[output] = {'artifactType': {'schemaTitle': schema, 'schemaVersion': '0.0.1'}}
            container['args'].append(argument)


def set_resources(spec: dict, cluster: Cluster, root: str, target: Target) -> dict:
    """Gives the containers their resources and returns the platform spec; {} if Kubernetes need not know more.

    Raises ConfigError for what the target does not have.
    """
    executors = {}
    for name, label, container in containers_of(spec):
        component = component_of(name)
        resources = pods.resources_of(component, cluster, root)
        pods.check(component, resources, target)
        container.update(pods.container_fields(resources))
        config = pods.kubernetes_config(resources)
        if config:
            executors[label] = config
    return {'platforms': {'kubernetes': {'deploymentSpec': {'executors': executors}}}} if executors else {}


def check_lengths(spec: dict):
    """Raises ConfigError if a container's argument would be longer than Linux takes.

    Kubeflow Pipelines hands each of these over as one argument: the task, the component and the container as JSON, the
    ExecutorInput (the constants, and the artifacts), and each argument of the container itself.
    """
    for name, _, container in containers_of(spec):
        task = tasks(spec)[name]
        inputs, component = task.get('inputs', {}), spec['components'][name]
        constants = {key: source.get('runtimeValue', {}).get('constant', '')
                     for key, source in inputs.get('parameters', {}).items()}
        artifacts = len(inputs.get('artifacts', {})) + len(component.get('outputDefinitions', {}).get('artifacts', {}))
        sizes = {'its inputs': _size(constants) + _ARTIFACT_BYTES * artifacts, 'its task': _size(task),
                 'its container': _size(container), 'its component': _size(component)}
        what, size = max(sizes.items(), key=lambda item: item[1])
        if size > LONGEST_ARGUMENT:
            longest = max(constants, key=lambda key: _size(constants[key]), default='')
            largest = (f' The largest field is {longest}, with {_size(constants[longest]) / 1024:,.0f} KiB.' if longest
                       else '')
            raise ConfigError(f'{name}: {what} would take {size / 1024:,.0f} KiB in one argument of a container; Linux '
                              f'takes at most 128 KiB.{largest} Make it smaller, for example by fewer tasks or by a '
                              "manifest's labels in place of a list of classes.")


def _size(value) -> int:
    """The bytes of a value as JSON."""
    return len(json.dumps(value, ensure_ascii=False).encode())
