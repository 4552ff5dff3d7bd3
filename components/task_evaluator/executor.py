"""TaskEvaluator's executor: chooses the baseline, builds the EvalConfig, and runs TFMA."""

import tensorflow_model_analysis as tfma
from google.protobuf import message
from tensorflow.core.protobuf import saved_model_pb2
from tfx.components.util import tfxio_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components import baseline_files
from components.classes import read_classes
from components.task_evaluator import baseline as baselines
from components.task_evaluator import suspects
from components.task_evaluator.eval_config import eval_config, signatures
from model_code import file_io, model_directory
from model_code.data import Source
from model_code.logger import logger
from model_code.serialization import from_json


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
        names = card_classes(models['candidate'], source)
        if names:
            extractors.append(suspects.extractor(source, names, config, config.model_specs[0].name, directory))
        make_tfxio = tfxio_utils.get_tfxio_factory_from_artifact(
            input_dict['examples'], [], raw_record_column_name=tfma.ARROW_INPUT_COLUMN)
        with self._make_beam_pipeline() as pipeline:
            (pipeline | 'Examples' >> make_tfxio(io_utils.all_files_pattern(split_dir)).BeamSource()
             | 'Evaluate' >> tfma.ExtractEvaluateAndWriteResults(
                 eval_shared_model=shared, eval_config=config, extractors=extractors, output_path=directory))
        suspects.write_examples(split_dir, directory)


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
