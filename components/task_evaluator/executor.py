"""TaskEvaluator's executor: chooses the baseline, builds the EvalConfig, and lets TFX's Evaluator do the rest."""

from tensorflow.core.protobuf import saved_model_pb2
from tfx.components.evaluator import executor as tfx_evaluator
from tfx.types import artifact_utils
from tfx.utils import path_utils, proto_utils

from components.classes import read_classes
from components.task_evaluator.eval_config import eval_config, signatures
from model_code import file_io, model_directory
from model_code.data import Source
from model_code.logger import logger
from model_code.serialization import from_json


class Executor(tfx_evaluator.Executor):
    """See component.TaskEvaluator for inputs, outputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        source = from_json(Source, exec_properties['source'])
        input_dict = dict(input_dict)
        classes = read_classes(artifact_utils.get_single_uri(input_dict.pop('classes')))
        baseline = (input_dict.pop('baseline_model', None) or [None])[0]
        has_baseline = baseline is not None and knows_task(model_path(baseline), source.name)
        if has_baseline:
            input_dict['baseline_model'] = [baseline]
        config = eval_config(source, len(classes.labels), has_baseline)
        super().Do(input_dict, output_dict,
                   {**exec_properties, 'eval_config': proto_utils.proto_to_json(config), 'example_splits': '["eval"]'})


def model_path(model) -> str:
    """The directory of the SavedModel in a Model artifact."""
    return path_utils.serving_model_path(model.uri, path_utils.is_old_model_artifact(model))


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
