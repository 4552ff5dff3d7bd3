"""What a container gets (ExecutorInput) and writes (ExecutorOutput), as the dicts of their JSON. Plain functions.

An ExecutorInput has `inputs` and `outputs`, each with `artifacts`: name -> {'artifacts': [artifact]}, where an artifact
has a `uri`, a `type`, `metadata`, and as an input a `name`, which is its id. inputs also has `parameterValues`.
"""

import copy
import json
import math
import os
from collections.abc import Collection, Iterator

from model_code.errors import ConfigError
from pipeline.kubeflow import containers


def artifacts(part: dict) -> Iterator[tuple[str, dict]]:
    """The name and the artifact of all `inputs` or `outputs` of an ExecutorInput; of a list of several, each."""
    for name, listed in part.get('artifacts', {}).items():
        for artifact in listed.get('artifacts', ()):
            yield name, artifact


def with_types(executor_input: dict, inputs_spec: dict) -> dict:
    """The ExecutorInput with the types of its inputs, which open-source Kubeflow Pipelines drops.

    Its driver sends {'instanceSchema': ''} (tensorflow/tfx issue 7768). inputs_spec: the ComponentInputsSpec.
    """
    result = copy.deepcopy(executor_input)
    declared = inputs_spec.get('artifacts', {})
    for name, artifact in artifacts(result.get('inputs', {})):
        if not any(artifact.get('type', {}).values()):
            if name not in declared:
                raise ConfigError(f'Input {name} has no type, neither in what the backend sent nor in the compiled '
                                  'pipeline. Compile the pipeline again.')
            artifact['type'] = declared[name]['artifactType']
    return result


def without_ui_outputs(executor_input: dict) -> dict:
    """The ExecutorInput without outputs that only the UI reads: TFX cannot import their types."""
    result = copy.deepcopy(executor_input)
    outputs = result.get('outputs', {})
    ui = {name for name, artifact in artifacts(outputs)
          if artifact.get('type', {}).get('schemaTitle') in containers.UI_TYPES}
    if ui:
        outputs['artifacts'] = {name: listed for name, listed in outputs['artifacts'].items() if name not in ui}
    return result


def at_paths(executor_input: dict, inputs: dict[str, str], outputs: dict[str, str]) -> tuple[dict, dict[str, str]]:
    """The ExecutorInput with local paths in place of URIs, and the URI of each path.

    inputs, outputs: artifact name -> path. Raises ConfigError for an artifact without a path.
    """
    result, uris = copy.deepcopy(executor_input), {}
    for direction, paths in (('inputs', inputs), ('outputs', outputs)):
        for name, artifact in artifacts(result.get(direction, {})):
            if name not in paths:
                raise ConfigError(f'The compiled pipeline gives no path for {name} of the {direction}. Compile it '
                                  'again.')
            uris[paths[name]] = artifact['uri']
            artifact['uri'] = paths[name]
    return result, uris


def at_uris(executor_output: dict, uris: dict[str, str]) -> dict:
    """An ExecutorOutput with URIs in place of the paths of `at_paths`, also in the texts of metadata.

    Values that are null are left out, because Kubeflow Pipelines' metadata have none.
    """
    result = copy.deepcopy(executor_output)
    for _, artifact in artifacts(result):
        artifact['uri'] = _uri(artifact.get('uri', ''), uris)
        if 'metadata' in artifact:
            artifact['metadata'] = {key: _uri(value, uris) for key, value in artifact['metadata'].items()
                                    if value is not None}
    return result


def with_metadata(executor_output: dict, metadata: dict[str, str], but_of: Collection[str]) -> dict:
    """An ExecutorOutput with these metadata of all artifacts, but not of those with the names `but_of`."""
    result = copy.deepcopy(executor_output)
    for name, artifact in artifacts(result):
        if name not in but_of:
            artifact['metadata'] = {**artifact.get('metadata', {}), **metadata}
    return result


def _uri(value, uris: dict[str, str]):
    if isinstance(value, str):
        for path, uri in uris.items():
            if value == path or value.startswith(path + os.sep):
                return uri + value[len(path):]
    return value


def code_version(executor_input: dict) -> str:
    """The step's code version in the compiled pipeline; Transform has it in its custom_config. '' if it has none."""
    values = executor_input.get('inputs', {}).get('parameterValues', {})
    return values.get('code_version') or json.loads(values.get('custom_config') or '{}').get('code_version', '')


def numbers(value, path: str = '') -> dict[str, float]:
    """The finite numbers in a JSON value, by their path (containers.metrics_argument); true and false are 1 and 0."""
    if isinstance(value, (bool, int, float)):
        return {path: float(value)} if math.isfinite(value) else {}
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = {}
    for key, item in items:
        key = item.get('name', key) if isinstance(value, list) and isinstance(item, dict) else key
        found |= numbers(item, f'{path}/{key}' if path else str(key))
    return found
