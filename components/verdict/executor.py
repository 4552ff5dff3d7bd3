"""Verdict's executor: reads the gate's decision."""

import os

from tfx.dsl.components.base import base_executor
from tfx.types import artifact_utils

from model_code import file_io
from model_code.errors import PipelineStop
from model_code.logger import logger


class Executor(base_executor.BaseExecutor):
    """See component.Verdict for inputs and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        check(file_io.read_result(os.path.join(artifact_utils.get_single_uri(input_dict['blessing']), 'decision.json')))


def check(decision: dict):
    """Raises PipelineStop with the reasons of a decision (blessing_gate.decision.decide) against the model."""
    if not decision['blessed']:
        raise PipelineStop(f'The gate rejected the model. {" ".join(decision["reasons"])} Nothing was pushed; the '
                           'report of this run says more.')
    logger.info('The model is pushed by force.' if decision['forced'] else 'The gate accepted the model.')
