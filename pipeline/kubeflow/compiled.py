"""What a compiled pipeline says: its steps in order, where it pushes."""

import graphlib
import hashlib
import json
import pathlib

from pipeline.kubeflow import targets


def read(path: str) -> dict:
    """The pipeline spec in a compiled file, of whichever target."""
    import yaml
    text = pathlib.Path(path).read_text(encoding='utf-8')
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
