"""TaskEvaluator's executor: chooses the baseline, runs TFMA, and computes the rest from what the models said."""

import json
import os
import time

import numpy as np
import tensorflow_model_analysis as tfma
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_model_analysis.extractors.unbatch_extractor import UNBATCH_EXTRACTOR_STAGE_NAME
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import baseline_files
from components.classes import read_classes
from components.evaluation_names import SUSPECT_EXAMPLES, SUSPECTS
from components.task_evaluator import baseline as baselines
from components.task_evaluator import evaluation_files, outcome_parts, summary, suspects
from components.task_evaluator.eval_config import eval_config, signatures
from components.task_evaluator.shown_examples import copy_examples
from model_code import file_io, model_directory, outcomes
from model_code.data import Source
from model_code.logger import logger
from model_code.serialization import from_json

# Examples that the model gets at once. TFMA would begin with one and double.
BATCH_SIZE = 64


class Executor(base_beam_executor.BaseBeamExecutor):
    """See component.TaskEvaluator for inputs, outputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        self._log_startup(input_dict, output_dict, exec_properties)
        source = from_json(Source, exec_properties['source'])
        classes = read_classes(artifact_utils.get_single_uri(input_dict['classes']))
        models = {'candidate': model_path(artifact_utils.get_single_instance(input_dict['model']))}
        baseline = (input_dict.get('baseline_model') or [None])[0]
        directory = artifact_utils.get_single_uri(output_dict['evaluation'])
        split_dir, = artifact_utils.get_split_uris(input_dict['examples'], 'eval')
        evaluation_files.remove_all(directory)
        if baseline is not None:
            known, problem = usable(model_path(baseline), source, split_dir)
            baseline_files.write_problem(directory, problem)
            if known and not problem:
                models['baseline'] = model_path(baseline)
        config = tfma.utils.update_eval_config_with_defaults(
            eval_config(source, len(classes.labels), 'baseline' in models), has_baseline='baseline' in models)
        # TFMA takes away the name of a model that is the only one.
        shared = [tfma.default_eval_shared_model(models['baseline' if spec.is_baseline else 'candidate'],
                                                 model_name=spec.name, eval_config=config)
                  for spec in config.model_specs]
        shared = shared if len(shared) > 1 else shared[0]
        extractors = tfma.default_extractors(eval_shared_model=shared, eval_config=config)
        names = _class_names(models, source)
        if names:
            # Before the batches are taken apart.
            stages = [extractor.stage_name for extractor in extractors]
            extractors.insert(stages.index(UNBATCH_EXTRACTOR_STAGE_NAME),
                              outcome_parts.extractor(source, names, directory))
        make_tfxio = tfxio_utils.get_tfxio_factory_from_artifact(
            input_dict['examples'], [], raw_record_column_name=tfma.ARROW_INPUT_COLUMN)
        begin = time.monotonic()
        with self._make_beam_pipeline() as pipeline:
            (pipeline | 'Examples' >> make_tfxio(io_utils.all_files_pattern(split_dir)).BeamSource(BATCH_SIZE)
             | 'Evaluate' >> tfma.ExtractEvaluateAndWriteResults(
                 eval_shared_model=shared, eval_config=config, extractors=extractors, output_path=directory))
        predicted = time.monotonic()
        if names:
            write_evaluation(source, names, split_dir, directory)
        logger.info('%s: predictions and metrics took %.1f s; intervals, slices and lists of examples %.1f s.',
                    source.name, predicted - begin, time.monotonic() - predicted)


def write_evaluation(source: Source, classes: dict[str, tuple[str, ...]], split_dir: str, directory: str):
    """Writes what is computed from the parts of outcomes in the directory (evaluation_files), and removes these.

    classes: of outcome_parts.extractor.
    """
    def path(name: str) -> str:
        return os.path.join(directory, name)

    found = outcome_parts.collect(source, classes, directory)
    outcomes.write(path(evaluation_files.OUTCOMES), found)
    file_io.remove_folder(path(evaluation_files.PARTS))
    suspect = suspects.find(found, classes['candidate'], source.data.label_kind)
    file_io.write(path(SUSPECTS), json.dumps(suspect, indent=1))
    evaluation, resamples = summary.summarise(source, classes['candidate'], found)
    copy_examples(split_dir, {
        path(SUSPECT_EXAMPLES): [row['id'] for row in suspect['first']],
        path(evaluation_files.SHOWN): [row['id'] for row in evaluation['mistakes'] + evaluation['hits']]})
    with file_io.replacing(path(evaluation_files.RESAMPLES)) as temporary, open(temporary, 'wb') as file:
        np.savez(file, **resamples)
    file_io.write(path(evaluation_files.EVALUATION), json.dumps(evaluation, allow_nan=False))


def _class_names(models: dict[str, str], source: Source) -> dict[str, tuple[str, ...]]:
    """'candidate' and 'baseline' -> their classes by their cards; {} if one has none, as a baseline by others may.

    Then scores cannot be compared class by class. The gate decides by TFMA's values, which need no names.
    """
    named = {model: card_classes(path, source) for model, path in models.items()}
    for model, names in named.items():
        if not names:
            logger.warning('%s: the card of the %s model does not name its classes, so there are no intervals, slices '
                           'and suspect labels.', source.name, model)
    return named if all(named.values()) else {}


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
