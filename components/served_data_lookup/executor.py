"""ServedDataLookup's executor: chooses a version and says its number."""

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from components.classes import read_classes
from components.data_drift.served_data import choose
from components.specs import task_input
from model_code.logger import logger
from serving.served import NO_VERSION


class Executor(base_executor.BaseExecutor):
    """See component.ServedDataLookup for inputs, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        start = task_input('classes', '')
        classes = {name.removeprefix(start): read_classes(artifact_utils.get_single_uri(artifacts))
                   for name, artifacts in input_dict.items()}
        fingerprints = {task: of_task.media_fingerprint for task, of_task in classes.items()}
        version = choose(exec_properties['serving_dir'], fingerprints) or NO_VERSION
        artifact_utils.get_single_instance(output_dict['version']).write(version)
        logger.info('The version with whose data these are compared: %s', version)
