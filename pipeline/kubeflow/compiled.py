"""What a compiled pipeline says: its steps in order, its parameters, where it pushes."""

import graphlib
import hashlib
import json
import pathlib

from model_code.errors import ConfigError, unknown
from pipeline.kubeflow import targets

_INTEGERS, _NUMBERS = ('NUMBER_INTEGER', 'INT'), ('NUMBER_DOUBLE', 'DOUBLE')


def read(path: str) -> dict:
    """The pipeline spec in a compiled file, of whichever target."""
    import yaml
    text = pathlib.Path(path).read_text()
    return inner(json.loads(text) if path.endswith('.json') else next(yaml.safe_load_all(text)))


def inner(spec: dict) -> dict:
    """The pipeline spec alone, without what may be around it: a PipelineJob, or the spec of a platform beside it."""
    return spec.get('pipelineSpec') or spec.get('pipeline_spec') or spec


def digest(path: str) -> str:
    """A short hash of a compiled file: the name of the pipeline's version."""
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()[:12]


def steps(spec: dict) -> list[str]:
    """The names of the steps, each after those that it depends on; equals in the order of their names."""
    tasks = inner(spec)['root']['dag']['tasks']
    order = graphlib.TopologicalSorter({name: sorted(tasks[name].get('dependentTasks', ())) for name in sorted(tasks)})
    return list(order.static_order())


def root(spec: dict) -> str:
    """The folder of the artifacts of its runs; '' if the spec does not say it."""
    return inner(spec).get('defaultPipelineRoot', '')


def serving_folder(spec: dict) -> str:
    """The folder that a pipeline pushes versions to; '' if the spec does not say its root."""
    return targets.store_url(f'{root(spec).removesuffix("/pipeline")}/serving/polyvit') if root(spec) else ''


def parameter_values(words, spec: dict) -> dict[str, object]:
    """The values of run parameters, of 'NAME=VALUE' as they are typed. Raises ConfigError for what the spec lacks."""
    declared = inner(spec)['root'].get('inputDefinitions', {}).get('parameters', {})
    values = {}
    for word in words:
        name, equals, text = word.partition('=')
        if not equals:
            raise ConfigError(f'--parameter {word}: write NAME=VALUE, such as --parameter seed=1.')
        if name not in declared:
            if not declared:
                raise ConfigError(f'--parameter {word}: this pipeline has no parameters.')
            raise unknown('parameter', name, declared, f'--parameter {word}: ')
        values[name] = _value(text, declared[name], f'--parameter {word}: ')
    return values


def _value(text: str, declared: dict, where: str) -> object:
    kind = declared.get('parameterType') or declared.get('type')
    try:
        return int(text) if kind in _INTEGERS else float(text) if kind in _NUMBERS else text
    except ValueError:
        raise ConfigError(f'{where}it must be a {"whole " if kind in _INTEGERS else ""}number.') from None
