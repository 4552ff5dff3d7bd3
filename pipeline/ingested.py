"""The examples that earlier runs of a config have ingested, for commands that read no media again."""

import dataclasses
import json
import os
import typing

from model_code import modalities
from model_code.errors import ConfigError
from model_code.serialization import to_json
from model_code.tasks import Task
from pipeline import checks


class Lane(typing.NamedTuple):
    """What MediaExampleGen made of a task's media: the folders of its Examples and of its Classes."""
    examples: str
    classes: str

    def split_dir(self, split: str) -> str:
        return os.path.join(self.examples, f'Split-{split}')


def lanes(config, tasks: tuple[Task, ...]) -> dict[str, Lane]:
    """Task name -> its newest examples under the config's root, of the media as they are now.

    Raises ConfigError for a task without: it was not run, or its media or their settings have changed since.
    """
    from pipeline import history
    from pipeline.pipeline import node_id, pipeline_name
    nodes = {task.name: node_id('MediaExampleGen', task.name) for task in tasks}
    past = history.executions(config.run_root, pipeline_name(config), list(nodes.values()))
    mixture = dataclasses.replace(config.mixture, tasks=tasks, dropped_tasks=())
    fingerprints = checks.check_without_data(dataclasses.replace(config, mixture=mixture)).fingerprints
    found = {}
    for task in tasks:
        spec = config.model.input(task.modality)
        read_by = {name: getattr(spec, name) for name in modalities.get_modality(task.modality).reader_fields}
        wanted = {'source': to_json(task.source), 'media_fingerprint': fingerprints.get(task.name)}
        made = [execution for execution in past.get(nodes[task.name], []) if execution.is_there]
        # Other fields of the input, such as those of newer versions, do not change what is read.
        equal = [execution for execution in made if wanted.items() <= execution.properties.items()
                 and read_by.items() <= json.loads(execution.properties['spec']).items()]
        if not equal:
            why = (f'no run under {config.run_root} has ingested it' if not made else
                   f'its media, or how they are read, have changed since a run under {config.run_root} ingested it')
            raise ConfigError(f'Task {task.name}: {why}. Run the config first (polyvit run), or give the --root of a '
                              'run that did.')
        paths = {os.path.basename(os.path.dirname(path)): path for path in equal[0].paths}
        found[task.name] = Lane(paths['examples'], paths['classes'])
    return found
