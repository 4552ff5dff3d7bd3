"""The examples that earlier runs of a config have ingested, for commands that read no media again."""

import dataclasses
import json
import os
import typing

from model_code import file_io, modalities
from model_code.errors import ConfigError
from model_code.serialization import to_json
from model_code.settings import TrainingConfig
from model_code.tasks import Task
from pipeline import checks

_PLACES = ('folder', 'groups')  # fields of data that say where files lie


class Lane(typing.NamedTuple):
    """What MediaExampleGen made of a task's media: the folders of its Examples and of its Classes."""
    examples: str
    classes: str

    def split_dir(self, split: str) -> str:
        return os.path.join(self.examples, f'Split-{split}')


class TrainingLane(typing.NamedTuple):
    """A Lane with what Transform made of it: the folders of its transformed examples and of its graph.

    older: whether other code than this made them.
    """
    lane: Lane
    transformed: str
    graph: str
    older: bool

    def files(self, split: str) -> list[str]:
        """The files of transformed examples, gzip TFRecords."""
        folder = os.path.join(self.transformed, f'Split-{split}')
        return sorted(os.path.join(folder, name) for name in file_io.list_folder(folder) if name.endswith('.gz'))


def lanes(config, tasks: tuple[Task, ...]) -> dict[str, Lane]:
    """Task name -> its newest examples under the config's root, of the media as they are now.

    Raises ConfigError for a task without: it was not run, or its media or their settings have changed since.
    """
    return {name: _lane(executions[0]) for name, executions in _generated(config, tasks).items()}


def training_lanes(config, tasks: tuple[Task, ...]) -> dict[str, TrainingLane]:
    """Task name -> its newest transformed examples, of the media as they are now. Raises ConfigError as `lanes`."""
    from pipeline import history
    from pipeline.fingerprints import component_version
    from pipeline.pipeline import node_id, pipeline_name, transform_spec
    generated = _generated(config, tasks)
    past = history.executions(config.run_root, pipeline_name(config),
                              [node_id('Transform', task.name) for task in tasks])
    found = {}
    for task in tasks:
        made_of = {execution.outputs['examples'][0]: execution for execution in generated[task.name]}
        spec = json.loads(to_json(transform_spec(config.model.input(task.modality))))
        # As above: a field that the spec did not have then had no other effect than its default has now.
        equal = [execution for execution in past.get(node_id('Transform', task.name), [])
                 if execution.is_there and execution.inputs['examples'][0] in made_of
                 and _same_source(execution.properties['source'], task)
                 and json.loads(execution.properties['spec']).items() <= spec.items()]
        if not equal:
            raise ConfigError(f'Task {task.name}: no run under {config.run_root} has transformed its examples for the '
                              f'inputs that the config now has for {task.modality}. Run the config first (polyvit '
                              'run), or give the --root of a run that did.')
        paths = _paths(equal[0])
        found[task.name] = TrainingLane(
            _lane(made_of[equal[0].inputs['examples'][0]]), paths['transformed_examples'], paths['transform_graph'],
            equal[0].properties.get('code_version') != component_version('Transform'))
    return found


def others_needed(config, other) -> list[str]:
    """The tasks of which `other`, a config with as many tasks in the same order, needs other examples than `config`."""
    from pipeline.pipeline import reader_spec, transform_spec
    found = []
    for task, changed in zip(config.mixture.tasks, other.mixture.tasks, strict=True):
        specs = config.model.input(task.modality), other.model.input(task.modality)
        # Without statistics, Transform does the same whatever the input is.
        read = transform_spec if modalities.get_modality(task.modality).statistics else reader_spec
        if task.source != changed.source or read(specs[0]) != read(specs[1]):
            found.append(task.name)
    return found


def _generated(config, tasks: tuple[Task, ...]) -> dict:
    """Task name -> the executions of its MediaExampleGen that read the media as they are now, the newest first."""
    from pipeline import history
    from pipeline.pipeline import node_id, pipeline_name
    nodes = {task.name: node_id('MediaExampleGen', task.name) for task in tasks}
    past = history.executions(config.run_root, pipeline_name(config), list(nodes.values()))
    mixture = config.mixture.only([task.name for task in tasks])
    # What is set for the training of all tasks, such as the warm-up, need not fit the training of some.
    training = TrainingConfig(strategy=config.training.strategy)
    fingerprints = checks.check_without_data(
        dataclasses.replace(config, mixture=mixture, training=training)).fingerprints
    found = {}
    for task in tasks:
        spec = config.model.input(task.modality)
        read_by = {name: getattr(spec, name) for name in modalities.get_modality(task.modality).reader_fields}
        made = [execution for execution in past.get(nodes[task.name], []) if execution.is_there]
        # Other fields of the input, such as those of newer versions, do not change what is read.
        equal = [execution for execution in made
                 if execution.properties['media_fingerprint'] == fingerprints.get(task.name)
                 and _same_source(execution.properties['source'], task)
                 and read_by.items() <= json.loads(execution.properties['spec']).items()]
        if not equal:
            why = (f'no run under {config.run_root} has ingested it' if not made else
                   f'its media, or how they are read, have changed since a run under {config.run_root} ingested it')
            raise ConfigError(f'Task {task.name}: {why}. Run the config first (polyvit run), or give the --root of a '
                              'run that did.')
        found[task.name] = equal
    return found


def _same_source(made: str, task: Task) -> bool:
    """Whether examples were made of the task's source as it is now, if their media have the same fingerprint.

    made: the source at that time, as JSON. Where the media and the list of their groups lie does not matter: the
    fingerprint has the names of the media in their folder, and their groups.
    """
    then, now = ({name: value for name, value in source['data'].items() if name not in _PLACES} | {
        'modality': source['modality']} for source in (json.loads(made), json.loads(to_json(task.source))))
    return then.items() <= now.items()


def _paths(execution) -> dict[str, str]:
    """Output name -> the path of its artifact."""
    return {os.path.basename(os.path.dirname(path)): path for path in execution.paths}


def _lane(execution) -> Lane:
    paths = _paths(execution)
    return Lane(paths['examples'], paths['classes'])
