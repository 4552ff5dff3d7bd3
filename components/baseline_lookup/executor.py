"""BaselineLookup's executor: chooses a version and says its number."""

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.serving_baseline.executor import choose
from model_code.logger import logger
from serving.served import NO_VERSION


class Executor(base_executor.BaseExecutor):
    """See component.BaselineLookup for input, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        candidate = artifact_utils.get_single_instance(input_dict['candidate'])
        chosen = choose(exec_properties['serving_dir'], path_utils.serving_model_path(candidate.uri))
        version = str(chosen[0]) if chosen else NO_VERSION
        artifact_utils.get_single_instance(output_dict['version']).write(version)
        logger.info('The version to compare with: %s', version)
