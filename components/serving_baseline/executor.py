"""ServingBaseline's executor: chooses a version and copies it."""

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import io_utils, path_utils

from model_code.errors import PipelineStop
from model_code.logger import logger
from serving import version_directories


class Executor(base_executor.BaseExecutor):
    """See component.ServingBaseline for the output and the properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        model = artifact_utils.get_single_instance(output_dict['model'])
        destination = path_utils.serving_model_dir(model.uri)
        fileio.makedirs(destination)
        chosen = choose(exec_properties['serving_dir'], exec_properties['version'])
        if chosen is None:
            logger.info('There is no baseline, because no model is being served yet.')
            return
        version, path = chosen
        io_utils.copy_dir(path, destination)
        model.set_string_custom_property('version', str(version))
        logger.info('The baseline is version %s, the model being served.', version)


def choose(serving_dir: str, version: str) -> tuple[int, str] | None:
    """The number and directory of the version to compare with: `version`, or the newest for 'newest'.

    None for '', and for 'newest' if there is no version. Raises PipelineStop if the given version is not there, because
    without a comparison a worse model might be blessed.
    """
    if not version:
        return None
    models = version_directories.list_models(serving_dir)
    if version == 'newest':
        return max(models.items(), default=None)
    if int(version) not in models:
        present = ', '.join(map(str, models)) or 'none'
        raise PipelineStop(f'The baseline should be version {version}, which is not in {serving_dir} (versions there: '
                           f'{present}). Was it removed during the run? Run again to compare with what is served now.')
    return int(version), models[int(version)]
