"""Specs of components that have one input per task, so that their inputs are known only when they are made.

Such an input is named `<name>_<task>`. A single input with a union of channels would not show which artifact belongs to
which task, and Kubeflow cannot compile it.
"""

from tfx.dsl.placeholder import placeholder
from tfx.orchestration import data_types
from tfx.types import channel, component_spec

# The value of a component's property: known when the pipeline is made, or taken from a run's parameter or from the
# output of another component (channel.future()[0].value) when the pipeline runs.
Property = str | int | float | data_types.RuntimeParameter | placeholder.Placeholder


def task_input(name: str, task: str) -> str:
    """The name of the input for one task."""
    return f'{name}_{task}'


def make_spec(*, parameters: dict[str, Property], task_inputs: dict[str, tuple[dict[str, channel.BaseChannel], type]],
              outputs: dict[str, type], inputs: dict[str, tuple[channel.BaseChannel, type]] | None = None
              ) -> component_spec.ComponentSpec:
    """A component's spec, filled in, with an empty channel for each output.

    parameters: name -> value. inputs: name -> (channel, artifact type). task_inputs: name -> ({task: channel}, artifact
    type). outputs: name -> artifact type.
    """
    channels = dict(inputs or {})
    for name, (by_task, kind) in task_inputs.items():
        channels |= {task_input(name, task): (task_channel, kind) for task, task_channel in by_task.items()}

    class Spec(component_spec.ComponentSpec):
        PARAMETERS = {name: component_spec.ExecutionParameter(type=_type(value)) for name, value in parameters.items()}
        INPUTS = {name: component_spec.ChannelParameter(type=kind) for name, (_, kind) in channels.items()}
        OUTPUTS = {name: component_spec.ChannelParameter(type=kind) for name, kind in outputs.items()}

    return Spec(**parameters, **{name: value for name, (value, _) in channels.items()},
                **{name: channel.Channel(type=kind) for name, kind in outputs.items()})


def given(**parameters: Property | None) -> dict[str, Property]:
    """The optional parameters that have a value. (TFX would keep a None among the properties.)"""
    return {name: value for name, value in parameters.items() if value is not None}


def _type(value: Property) -> type:
    if isinstance(value, data_types.RuntimeParameter):
        return value.ptype
    return str if isinstance(value, placeholder.Placeholder) else type(value)
