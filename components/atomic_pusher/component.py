"""AtomicPusher: the stock Pusher, but a version directory appears whole or not at all and holds its metrics."""

import json
import typing

from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import channel, component_spec, standard_artifacts

from components.atomic_pusher import executor
from components.data_statistics import DataStatistics


class AtomicPusherSpec(component_spec.ComponentSpec):
    """Inputs `model`, `model_blessing`, `infra_blessing`, `data_statistics`; output `pushed_model`; properties: see
    AtomicPusher."""
    PARAMETERS = {
        'push_destination': component_spec.ExecutionParameter(type=pusher_pb2.PushDestination),
        'custom_config': component_spec.ExecutionParameter(type=str),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {
        'model': component_spec.ChannelParameter(type=standard_artifacts.Model),
        'model_blessing': component_spec.ChannelParameter(type=standard_artifacts.ModelBlessing),
        'infra_blessing': component_spec.ChannelParameter(type=standard_artifacts.InfraBlessing),
        'data_statistics': component_spec.ChannelParameter(type=DataStatistics),
    }
    OUTPUTS = {'pushed_model': component_spec.ChannelParameter(type=standard_artifacts.PushedModel)}


class AtomicPusher(base_component.BaseComponent):
    """Pushes a model as a new version of the destination if both the gate and the serving check blessed it.

    A model that is the newest version already is not pushed again: served.digest tells, which a push writes into the
    card.

    push_destination: must have `filesystem.base_directory`. custom_config: goes into the model card beside the metrics
    (on one machine model_key, push_nonce and served_version, which local_runner.baseline reads). Both blessings are
    required; nothing is pushed unchecked. data_statistics: that of DataDrift, whose statistics are kept with the
    version, for the data of later runs to be compared with.

    Output `pushed_model`, as that of the stock Pusher: custom properties `pushed`, `pushed_destination`,
    `pushed_version`, and a copy of the model.
    """
    SPEC_CLASS = AtomicPusherSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, model: channel.BaseChannel, model_blessing: channel.BaseChannel,
                 infra_blessing: channel.BaseChannel, data_statistics: channel.BaseChannel,
                 push_destination: pusher_pb2.PushDestination,
                 custom_config: dict[str, typing.Any] | None = None, code_version: str = ''):
        super().__init__(AtomicPusherSpec(
            model=model, model_blessing=model_blessing, infra_blessing=infra_blessing, data_statistics=data_statistics,
            push_destination=push_destination, custom_config=json.dumps(custom_config or {}, sort_keys=True),
            code_version=code_version, pushed_model=channel.Channel(type=standard_artifacts.PushedModel)))
