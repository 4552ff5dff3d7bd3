"""Transform: one task's examples as training reads them."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.transform import executor


class TransformSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties: see Transform."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'spec': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
        'schema': component_spec.ChannelParameter(type=standard_artifacts.Schema),
    }
    OUTPUTS = {
        'transform_graph': component_spec.ChannelParameter(type=standard_artifacts.TransformGraph),
        'transformed_examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
    }


class Transform(base_beam_component.BaseBeamComponent):
    """TensorFlow Transform with components.preprocessing_fns. (TFX's component writes records in another order, and in
    another number of files, on each Beam runner, and so a training would differ by runner.)

    Inputs: `examples`, and the `schema`, which has the task's labels. Outputs: `transform_graph`, and
    `transformed_examples`: for each file of the examples one of the same name, with its examples in the same order.

    Properties:
      source: the task's Source, as JSON.
      spec: the settings of its modality's input (ModelConfig.input(modality)), as JSON.
      code_version: makes the cache notice changed code (pipeline/fingerprints.py).
    """
    SPEC_CLASS = TransformSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, examples: channel.BaseChannel, schema: channel.BaseChannel, source: str, spec: str,
                 code_version: str = ''):
        super().__init__(spec=TransformSpec(
            examples=examples, schema=schema, source=source, spec=spec, code_version=code_version,
            transform_graph=channel.Channel(type=standard_artifacts.TransformGraph),
            transformed_examples=channel.Channel(type=standard_artifacts.Examples)))
