"""ServingCheck's executor: parses its arguments and calls check.check_model."""

import os

from tfx.dsl.components.base import base_executor
from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.utils import path_utils

from components.serving_check import check
from components.specs import task_input
from model_code import file_io, modalities, serialization
from model_code.logger import logger
from model_code.tasks import Mixture


class Executor(base_executor.BaseExecutor):
    """See ServingCheck in component.py for inputs, output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        mixture = serialization.from_json(Mixture, exec_properties['mixture'])
        model_dir = path_utils.serving_model_path(artifact_utils.get_single_instance(input_dict['model']).uri)
        media = {}
        for task in mixture.tasks:
            examples = artifact_utils.get_single_instance(input_dict[task_input('examples', task.name)])
            splits = [os.path.join(examples.uri, f'Split-{split}') for split in ('eval', 'train')]
            media[task.name] = check.first_media([s for s in splits if fileio.exists(s)],
                                                 modalities.get_modality(task.modality))
        reasons = check.check_model(model_dir, mixture.tasks, media)

        blessing = artifact_utils.get_single_instance(output_dict['infra_blessing'])
        check.write_reasons(reasons, blessing.uri)
        # The file and the property that the stock InfraValidator writes and the stock Pusher reads.
        file_io.write(os.path.join(blessing.uri, 'INFRA_NOT_BLESSED' if reasons else 'INFRA_BLESSED'), '')
        blessing.set_int_custom_property('blessed', 0 if reasons else 1)
        if reasons:
            logger.info('The serving check rejected the model. %s', ' '.join(reasons))
        else:
            logger.info('The serving check passed: a server answered a real example of every task.')
