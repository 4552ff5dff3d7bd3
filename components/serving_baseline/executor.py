"""ServingBaseline's executor."""

import os

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from components.serving_baseline.versions import list_versions
from model_code.errors import PipelineStop
from model_code.logger import logger


class Executor(base_executor.BaseExecutor):
    """See component.ServingBaseline for the output and the properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        model = artifact_utils.get_single_instance(output_dict['model'])
        destination = path_utils.serving_model_dir(model.uri)
        fileio.makedirs(destination)
        version = choose(exec_properties['serving_dir'], exec_properties['version'])
        if version is None:
            logger.info('Baseline: none, nothing is being served yet.')
            return
        io_utils.copy_dir(os.path.join(exec_properties['serving_dir'], version), destination)
        model.set_string_custom_property('version', version)
        logger.info('Baseline: version %s, the model being served.', version)


def choose(serving_dir: str, version: str) -> str | None:
    """The version to compare with: `version`, or the newest for 'newest'; None for '' or where nothing is served.

    Raises PipelineStop where the version asked for is not there: comparing with none instead would bless a model
    that may be worse.
    """
    if not version:
        return None
    versions = [str(v) for v in list_versions(serving_dir)]
    if version == 'newest':
        return versions[-1] if versions else None
    if version not in versions:
        raise PipelineStop(f'The baseline should be version {version}, which is not in {serving_dir} (there: '
                           f'{", ".join(versions) or "none"}). Was it removed during the run? Run again to compare '
                           'with what is served now.')
    return version
