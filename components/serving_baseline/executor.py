"""ServingBaseline's executor: chooses a version and copies it."""

import os

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils
from tfx.utils import path_utils

from model_code import file_io
from model_code.errors import PipelineStop
from model_code.logger import logger
from serving import served, version_directories


class Executor(base_executor.BaseExecutor):
    """See component.ServingBaseline for input, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        model = artifact_utils.get_single_instance(output_dict['model'])
        destination = path_utils.serving_model_dir(model.uri)
        os.makedirs(destination, exist_ok=True)
        serving_dir, version = exec_properties['serving_dir'], exec_properties.get('version')
        if version is None:
            candidate = artifact_utils.get_single_instance(input_dict['candidate'])
            chosen = choose(serving_dir, path_utils.serving_model_path(candidate.uri))
        else:
            chosen = find(serving_dir, version)
        if chosen is None:
            logger.info('There is no baseline, because no other model was served before.')
            return
        version, path = chosen
        file_io.copy_folder(path, destination)
        model.set_string_custom_property('version', str(version))
        logger.info('The baseline is version %s.', version)


def find(serving_dir: str, version: str) -> tuple[int, str] | None:
    """The number and directory of a version; None of served.NO_VERSION. Raises PipelineStop if it is gone."""
    if version == served.NO_VERSION:
        return None
    models = version_directories.list_models(serving_dir)
    if int(version) not in models:
        raise PipelineStop(f'Version {version}, which the model is to be compared with, is no longer in {serving_dir}. '
                           'Run again, and the newest that is left is taken.')
    return int(version), models[int(version)]


def choose(serving_dir: str, candidate: str) -> tuple[int, str] | None:
    """The number and directory of the version to compare a model with; None if there is none.

    candidate: the directory of the model.

    The newest version, unless that is the candidate. A model is not compared with itself: its comparison with the
    version before it is repeated. Only if that is gone, nothing else is left.
    """
    newest = served.newest(serving_dir)
    if newest is None:
        return None
    if newest.digest == served.digest(candidate):
        earlier = str(newest.card.get('baseline_version', ''))
        if not earlier:
            return None
        models = version_directories.list_models(serving_dir)
        if earlier.isdecimal() and int(earlier) in models:
            return int(earlier), models[int(earlier)]
    return newest.number, newest.path
