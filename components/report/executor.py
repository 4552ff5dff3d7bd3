"""Report's executor: reads the artifacts, renders the page, writes report.html."""

import datetime
import os

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import artifacts, costs
from components.atomic_pusher import card as pushed_card
from components.data_statistics import kept_statistics, read_drift
from components.report import cost, label_counts, near_duplicates, sources, suspect_labels
from components.report.render import Evaluated, render
from components.specs import task_input
from model_code import file_io, model_directory
from model_code.logger import logger
from model_code.serialization import from_json
from model_code.tasks import Mixture


class Executor(base_executor.BaseExecutor):
    """See component.Report for inputs, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        mixture = from_json(Mixture, exec_properties['mixture'])

        def uri(key):
            return artifact_utils.get_single_uri(input_dict[key])

        data, suspects, near, evaluations = [], [], [], {}
        for task in mixture.tasks:
            splits, labels = label_counts.read_statistics(uri(task_input('statistics', task.name)))
            data.append({'name': task.name, 'modality': task.modality, 'splits': splits, 'labels': labels,
                         'rejected': artifacts.read_rejected(uri(task_input('rejected', task.name))),
                         **sources.read_findings(task, uri(task_input('rejected', task.name)))})
            near.append(near_duplicates.section(
                task.name, task.modality, *sources.read_near_duplicates(uri(task_input('rejected', task.name)))))
            if input_dict.get(task_input('evaluation', task.name)):  # else the task was not trained
                evaluation = uri(task_input('evaluation', task.name))
                suspects.append(suspect_labels.section(task.name, task.modality, *sources.read_suspects(evaluation)))
                evaluations[task.name] = Evaluated(*sources.read_evaluation(evaluation))
        card = sources.read_card(path_utils.serving_model_path(uri('model')))
        card['written'] = datetime.datetime.now(datetime.timezone.utc).strftime('%Y-%m-%d %H:%M UTC')
        history = file_io.read_result(os.path.join(uri('model_run'), 'history.json')) or {}
        page = render(file_io.read_result(os.path.join(uri('blessing'), 'decision.json')),
                      history, card, data, read_drift(uri('data_statistics')), list(filter(None, suspects)),
                      list(filter(None, near)), evaluations,
                      {'components': cost.components(costs.known(input_dict), costs.whole()),
                       'elsewhere': cost.elsewhere(card, history, mixture)},
                      {**pushed_card.stated(exec_properties), 'data': pushed_card.data_entry(
                          model_directory.read_data(kept_statistics(uri('data_statistics'))) or {})})
        path = write(page, artifact_utils.get_single_uri(output_dict['report']))
        logger.info('Report: %s', path)


def write(page: str, directory: str) -> str:
    """Writes report.html; returns its path."""
    path = os.path.join(directory, 'report.html')
    # Bytes of a path that are not valid text are lone surrogates here, which UTF-8 cannot encode.
    file_io.write(path, page.encode('utf-8', 'backslashreplace'))
    return path
