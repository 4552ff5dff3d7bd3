"""DataDrift's executor: reads the data of all lanes and of a served version, compares, stops or remarks."""

import dataclasses

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.artifacts import read_findings
from components.blessing_gate import changes
from components.classes import read_classes
from components.data_drift import charted, comparison, served_data, statistics
from components.data_statistics import kept_statistics, write_drift
from components.specs import task_input
from media.entries import SPLITS
from model_code import model_directory
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.serialization import from_json
from model_code.tasks import Mixture
from serving import served, version_directories


class Executor(base_executor.BaseExecutor):
    """See component.DataDrift for inputs, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        mixture = from_json(Mixture, exec_properties['mixture'])

        def uri(name, task):
            return artifact_utils.get_single_uri(input_dict[task_input(name, task.name)])

        data = {task.name: statistics.of_findings(read_findings(uri('rejected', task)), uri('statistics', task))
                for task in mixture.tasks}
        classes = {task.name: read_classes(uri('classes', task)) for task in mixture.tasks}
        directory = artifact_utils.get_single_uri(output_dict['data_statistics'])
        statistics.write(kept_statistics(directory), data)
        result, stops = judge(mixture, data, {name: of.labels for name, of in classes.items()},
                              {name: of.media_fingerprint for name, of in classes.items()},
                              exec_properties['serving_dir'], exec_properties['served_version'])
        write_drift(directory, result)
        if stops:
            raise PipelineStop(' '.join(stops))
        for line in [result['status'], *result['remarks'], *(f['sentence'] for f in result['findings'])]:
            logger.info(line)


def judge(mixture: Mixture, data: dict[str, statistics.TaskData], classes: dict[str, tuple[str, ...]],
          media_fingerprints: dict[str, str], serving_dir: str, version: str) -> tuple[dict, list[str]]:
    """Compares the data with those of a served version. Returns the result, a dict for JSON, and the reasons to stop.

    data, classes, media_fingerprints: by task. version: a number, or '' or NO_VERSION if there is none.

    {"version": number or '', "status": sentence, "remarks": [sentence], "findings": [comparison.Finding], "tasks":
    [{"name", "modality", "split", "examples": {split: [old, new]}, "features", "labels"}]}, the last two as those of
    charted.of_task; tasks that the version does not know are left out.
    """
    version = '' if version == served.NO_VERSION else version
    newest = served.newest(serving_dir)
    same = newest is not None and served_data.trained_on(newest, media_fingerprints)
    old, status, remarks, lost = None, '', [], []
    if not version:
        # True whether nothing is served or a version of these very data is: the cache answers both.
        status = 'There are no earlier data to compare these with: no version of other data is served.'
    else:
        old, status = _read(serving_dir, version, same)
        found = changes.compare(_card(serving_dir, version), version, mixture, classes)
        remarks, lost = ([], []) if same else (found.remarks, found.reasons)
    findings, tasks = [], []
    for task in mixture.tasks:
        new, before = data[task.name], (old or {}).get(task.name)
        if before:
            findings += comparison.compare(task, before, new, version)
            tasks.append({'name': task.name, 'modality': task.modality, 'split': SPLITS[0], 'examples': {
                split: [before.examples.get(split, 0), new.examples.get(split, 0)] for split in SPLITS},
                **charted.of_task(before, new)})
        findings += comparison.compare_splits(task, new)
    if same:  # a model of these data was accepted
        findings = [dataclasses.replace(finding, stops=False) for finding in findings]
    stops = [*lost, *(finding.sentence for finding in findings if finding.stops)]
    if stops:
        stops.append("Nothing was trained. If the change is intended, set drift='remark' in the checks of the task for "
                     'this run.' if not lost else 'Nothing was trained.')
    return {'version': version, 'status': status, 'remarks': remarks,
            'findings': [dataclasses.asdict(finding) for finding in findings], 'tasks': tasks}, stops


def _read(serving_dir: str, version: str, same: bool) -> tuple[dict[str, statistics.TaskData] | None, str]:
    """The data of a version by task, None if they are unknown, and a sentence about that."""
    models = version_directories.list_models(serving_dir)
    if int(version) not in models:
        return None, (f'Version {version}, with whose data these were to be compared, is no longer served. The data '
                      'were compared with none.')
    try:
        old = statistics.read(model_directory.statistics_path(models[int(version)]))
    except (ValueError, OSError) as error:
        return None, (f'The statistics of the data of version {version} cannot be read ({error}), so these data were '
                      'compared with none. The next version that is pushed has its own.')
    if old is None:
        return None, (f'Version {version} keeps no statistics of its data: an older release pushed it. So these data '
                      'were compared with none. The next version that is pushed will keep them.')
    newer = ' A newer version was trained on these same data, so nothing stops.' if same else ''
    return old, f'The data were compared with those of version {version}.{newer}'


def _card(serving_dir: str, version: str) -> dict:
    """The card of a version; {} if it is gone or damaged."""
    path = version_directories.list_models(serving_dir).get(int(version))
    try:
        return model_directory.read_card(path) if path else {}
    except ValueError:
        return {}
