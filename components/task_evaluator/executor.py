"""TaskEvaluator's executor: chooses the baseline, runs TFMA, and computes the rest from what the models said."""

import json
import os
import time

import tensorflow_model_analysis as tfma
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import baseline_files
from components.classes import read_classes
from components.evaluation_names import EVALUATION, OUTCOMES, RESAMPLES, SHOWN, SUSPECT_EXAMPLES, SUSPECTS
from components.task_evaluator import baseline as baselines
from components.task_evaluator import evaluation_files, outcome_parts, representation, summary, suspects
from components.task_evaluator.eval_config import signatures
from components.task_evaluator.measuring import measure
from components.task_evaluator.shown_examples import copy_examples
from model_code import file_io, model_directory, npz, outcomes
from model_code.data import Source
from model_code.logger import logger
from model_code.probe import Probe
from model_code.serialization import from_json

# Examples that the model gets at once. TFMA would begin with one and double.
BATCH_SIZE = 64


class Executor(base_beam_executor.BaseBeamExecutor):
    """See component.TaskEvaluator for inputs, outputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        self._log_startup(input_dict, output_dict, exec_properties)
        source = from_json(Source, exec_properties['source'])
        labels = read_classes(artifact_utils.get_single_uri(input_dict['classes'])).labels
        models = {'candidate': model_path(artifact_utils.get_single_instance(input_dict['model']))}
        baseline = (input_dict.get('baseline_model') or [None])[0]
        directory = artifact_utils.get_single_uri(output_dict['evaluation'])
        split_dir, = artifact_utils.get_split_uris(input_dict['examples'], 'eval')
        file_io.remove_folder(directory)  # what an evaluation that was killed has left
        if baseline is not None:
            known, problem = usable(model_path(baseline), source, split_dir)
            baseline_files.write_problem(directory, problem)
            if known and not problem:
                models['baseline'] = model_path(baseline)
        classes = class_names(models, source)
        further = _probe(exec_properties, models['candidate'], source, labels, input_dict['examples'])
        make_tfxio = tfxio_utils.get_tfxio_factory_from_artifact(
            input_dict['examples'], [], raw_record_column_name=tfma.ARROW_INPUT_COLUMN)
        begin = time.monotonic()
        with self._make_beam_pipeline() as pipeline:
            batches = pipeline | 'Examples' >> make_tfxio(io_utils.all_files_pattern(split_dir)).BeamSource(BATCH_SIZE)
            measure(batches, source, len(labels), models, classes, directory)
        predicted = time.monotonic()
        write_evaluation(source, classes, split_dir, directory, further)
        logger.info('%s: predictions and metrics took %.1f s; intervals, slices and lists of examples %.1f s.',
                    source.name, predicted - begin, time.monotonic() - predicted)


def _probe(exec_properties: dict, model_dir: str, source: Source, labels: tuple[str, ...], examples: list) -> dict:
    """The entry `probe` of evaluation.json; {} if the config asks for none."""
    asked = from_json(Probe, exec_properties['probe']) if exec_properties.get('probe') else Probe()
    if not asked.wanted:
        return {}
    split_dirs = {split: artifact_utils.get_split_uris(examples, split)[0] for split in ('train', 'eval')}
    measured = representation.measure(model_dir, source, labels, split_dirs, asked)
    logger.info('%s: the representation was measured in %.1f s.', source.name, measured['seconds'])
    return {'probe': measured}


def write_evaluation(source: Source, classes: dict[str, tuple[str, ...]], split_dir: str, directory: str,
                     further: dict | None = None):
    """Writes what is computed from the parts of outcomes in the directory (evaluation_files), and removes these.

    classes: of outcome_parts.extractor. further: more entries of evaluation.json.
    """
    def path(name: str) -> str:
        return os.path.join(directory, name)

    found = outcome_parts.collect(source, classes, directory)
    outcomes.write(path(OUTCOMES), found)
    file_io.remove_folder(path(evaluation_files.PARTS))
    suspect = suspects.find(found, classes['candidate'], source.data.label_kind)
    file_io.write(path(SUSPECTS), json.dumps(suspect, indent=1))
    evaluation, resamples = summary.summarise(source, classes['candidate'], found)
    copy_examples(split_dir, {
        path(SUSPECT_EXAMPLES): [row['id'] for row in suspect['first']],
        path(SHOWN): [row['id'] for row in evaluation['mistakes'] + evaluation['hits']]})
    npz.write(path(RESAMPLES), resamples)
    file_io.write(path(EVALUATION), json.dumps(evaluation | (further or {}), allow_nan=False))


def class_names(models: dict[str, str], source: Source) -> dict[str, tuple[str, ...]]:
    """'candidate' -> its classes by its card, and 'baseline' -> its own, if there is a baseline whose card names them.

    The scores of one that was pushed by others cannot be compared class by class. TFMA's values need no names: labels
    are by the vocabulary of each model.
    """
    named = {model: card_classes(path, source) for model, path in models.items()}
    if not named['candidate']:
        raise ValueError(f'{source.name}: the model card of the new model, in {models["candidate"]}, does not name the '
                         "task's classes.")
    if not all(named.values()):
        logger.warning('%s: the card of the model being served does not name its classes, so the change has no '
                       'interval.', source.name)
    return {model: names for model, names in named.items() if names}


def card_classes(path: str, source: Source) -> tuple[str, ...]:
    """The classes that a model knows, in the order of its scores, by its card; () if that does not name the task.

    A card that cannot be read names none; BlessingGate says so.
    """
    try:
        named = [task for task in model_directory.read_card(path).get('tasks', ()) if task.get('name') == source.name]
        return tuple(named[0].get('classes', ())) if named else ()
    except (ValueError, AttributeError, TypeError):
        return ()


def model_path(model) -> str:
    """The directory of the SavedModel in a Model artifact."""
    return path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))


def usable(path: str, source: Source, split_dir: str) -> tuple[bool, str]:
    """Whether a baseline knows the task, and why it cannot be measured all the same ('' if it can). Logs it.

    path: the directory of the SavedModel, which may be empty. split_dir: of the eval examples.
    """
    try:
        known = knows_task(path, source.name)
        problem = baselines.problem(path, source, baselines.first_example(split_dir)) if known else ''
    except message.DecodeError:
        known, problem = True, 'its saved_model.pb is no SavedModel'
    if not known and model_directory.has_model(path) and card_classes(path, source):
        problem = 'its model lacks this task, which its model card names'
    if problem:
        logger.warning('%s: a model is being served, but %s.', source.name, problem)
    return known, problem


def knows_task(path: str, task: str) -> bool:
    """Whether the directory has a SavedModel that can be evaluated on the task. Logs why not."""
    if not model_directory.has_model(path):
        logger.info('%s: no model is being served yet, so there is nothing to compare with.', task)
        return False
    saved_model = saved_model_pb2.SavedModel.FromString(file_io.read_bytes(model_directory.graph_path(path)))
    names = {name for graph in saved_model.meta_graphs for name in graph.signature_def}
    missing = [name for name in signatures(task) if name not in names]
    if missing:
        logger.info('%s: the model being served does not know this task (it has no signature %s), so there is nothing '
                    'to compare with.', task, ' and no signature '.join(missing))
    return not missing
