"""Specs of components that have one input per task, so that their inputs are known only when they are made.

Such an input is named `<name>_<task>`. A single input with a union of channels would not show which artifact belongs to
which task, and Kubeflow cannot compile it.
"""

from tfx.types import channel, component_spec


def task_input(name: str, task: str) -> str:
    """The name of the input for one task."""
    return f'{name}_{task}'


def make_spec(*, parameters: dict[str, str], task_inputs: dict[str, tuple[dict[str, channel.BaseChannel], type]],
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
        PARAMETERS = {name: component_spec.ExecutionParameter(type=str) for name in parameters}
        INPUTS = {name: component_spec.ChannelParameter(type=kind) for name, (_, kind) in channels.items()}
        OUTPUTS = {name: component_spec.ChannelParameter(type=kind) for name, kind in outputs.items()}

    return Spec(**parameters, **{name: value for name, (value, _) in channels.items()},
                **{name: channel.Channel(type=kind) for name, kind in outputs.items()})
