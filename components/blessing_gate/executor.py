"""BlessingGate's executor: reads the results, decides, writes the blessing and decision.json."""

import json
import os

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components import baseline_files, run_parameters
from components.blessing_gate import changes, forcing, results, unchanged, unknown_baseline
from components.blessing_gate.decision import decide
from components.specs import task_input
from model_code import file_io, model_directory
from model_code.logger import logger
from model_code.serialization import from_json
from model_code.tasks import Mixture


class Executor(base_executor.BaseExecutor):
    """See component.BlessingGate for inputs, outputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        mixture = from_json(Mixture, run_parameters.apply(exec_properties)['mixture'])
        model, baseline, infra = (artifact_utils.get_single_instance(input_dict[name])
                                  for name in ('model', 'baseline_model', 'infra_blessing'))
        uris = {task.name: artifact_utils.get_single_uri(input_dict[task_input('evaluation', task.name)])
                for task in mixture.tasks if input_dict.get(task_input('evaluation', task.name))}
        evaluations = [results.read_evaluation(mixture[name], uri) for name, uri in uris.items()]
        version = baseline.get_string_custom_property('version')
        card, card_problem = _baseline_card(baseline)
        changed = _changes(card, version, _card(model), mixture)
        decision = decide(evaluations, infra.get_int_custom_property('blessed') == 1, results.read_reasons(infra.uri),
                          version, changed)
        not_trained = [task for task in mixture.tasks if task.name not in uris]
        if not_trained:
            paths = (path_utils.serving_model_path(artifact.uri) for artifact in (model, baseline))
            compared = unchanged.compare(*paths, not_trained)
            decision = unchanged.add(decision, mixture.tasks, compared, card, version)
        problems = {name: baseline_files.read_problem(uri) for name, uri in uris.items()}
        decision = unknown_baseline.reject(decision, version, problems, card_problem)
        decision = forcing.apply(decision, exec_properties.get(run_parameters.FORCE, ''), changed.lost_classes)

        blessing = artifact_utils.get_single_instance(output_dict['blessing'])
        write(decision, blessing.uri)
        blessing.set_int_custom_property('blessed', int(decision['blessed']))
        blessing.set_string_custom_property('current_model', model.uri)
        blessing.set_int_custom_property('current_model_id', model.id)
        for remark in decision['remarks']:
            logger.info(remark)
        if accepted(decision):
            logger.info('The gate accepted the model.')
        else:
            logger.info('The gate rejected the model. %s', ' '.join(decision['reasons']))
        if decision['forced']:
            logger.warning('The model is pushed by force: %s', decision['forced'])


def _card(model) -> dict:
    """The card of a Model artifact; {} if its directory is empty."""
    return model_directory.read_card(path_utils.serving_model_path(model.uri))


def _baseline_card(model) -> tuple[dict, str]:
    """The card of the served model, and why it cannot be read ('' if it can)."""
    try:
        card = _card(model)
    except ValueError as error:
        return {}, f'it is not JSON ({error})'
    if not isinstance(card, dict) or not all(isinstance(task, dict) and 'name' in task
                                             for task in card.get('tasks', ())):
        return {}, 'it is not of the form that a push writes'
    return card, ''


def _changes(card: dict, version: str, new_card: dict, mixture: Mixture) -> changes.Changes:
    result = changes.compare(card, version, mixture, changes.classes_of(new_card))
    result.remarks.extend(changes.order_remarks(card, version, new_card))
    return result


def write(decision: dict, directory: str):
    """Writes decision.json and metrics.json, then the empty file BLESSED or NOT_BLESSED."""
    file_io.write(os.path.join(directory, 'decision.json'), json.dumps(decision, indent=2, allow_nan=False))
    file_io.write(os.path.join(directory, 'metrics.json'), json.dumps(shown_metrics(decision), indent=2))
    file_io.write(os.path.join(directory, 'BLESSED' if decision['blessed'] else 'NOT_BLESSED'), '')


def accepted(decision: dict) -> bool:
    """Whether the gate accepted the model of its own accord."""
    return decision['blessed'] and not decision['forced']


def shown_metrics(decision: dict) -> dict[str, float]:
    """The numbers that Kubeflow's user interface shows: `accepted` (1 or 0) and each `<task>_<primary metric>`."""
    measured = {f'{task["name"]}_{task["primary_metric"]}': task['value'] for task in decision['tasks']}
    return {'accepted': float(accepted(decision)), **{n: value for n, value in measured.items() if value is not None}}
