"""AtomicPusher: the stock Pusher, but a version directory appears whole or not at all and holds its metrics."""

import json
import typing

from tfx.dsl.components.base import base_component, executor_spec
from tfx.proto import pusher_pb2
from tfx.types import channel, component_spec, standard_artifacts
from tfx.utils import proto_utils

from components import specs
from components.atomic_pusher import executor
from components.data_statistics import DataStatistics


class AtomicPusher(base_component.BaseComponent):
    """Pushes a model as a new version of the destination if both the gate and the serving check blessed it.

    A model that is the newest version already is not pushed again: served.digest tells, which a push writes into the
    card. If the newest version is not the one that the gate's decision compares with, because another run pushed one
    meanwhile, the run stops: run again, and it is.

    push_destination: must have `filesystem.base_directory`. custom_config: goes into the model card beside the metrics
    (on one machine model_key, push_nonce and served_version, which local_runner.baseline reads; intended_use and
    limits, which have defaults). Both blessings are required; nothing is pushed unchecked. data_statistics: that of
    DataDrift, whose statistics are kept with the version, for the data of later runs to be compared with. evaluations:
    task name -> that of its TaskEvaluator, for the card; as inputs they are named `evaluation_<task>`
    (components.specs).

    Output `pushed_model`, as that of the stock Pusher: custom properties `pushed`, `pushed_destination`,
    `pushed_version`, and a copy of the model.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, model: channel.BaseChannel, model_blessing: channel.BaseChannel,
                 infra_blessing: channel.BaseChannel, data_statistics: channel.BaseChannel,
                 evaluations: dict[str, channel.BaseChannel], push_destination: pusher_pb2.PushDestination,
                 custom_config: dict[str, typing.Any] | None = None, code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'push_destination': proto_utils.proto_to_json(push_destination),
                        'custom_config': json.dumps(custom_config or {}, sort_keys=True), 'code_version': code_version},
            inputs={'model': (model, standard_artifacts.Model),
                    'model_blessing': (model_blessing, standard_artifacts.ModelBlessing),
                    'infra_blessing': (infra_blessing, standard_artifacts.InfraBlessing),
                    'data_statistics': (data_statistics, DataStatistics)},
            task_inputs={'evaluation': (evaluations, standard_artifacts.ModelEvaluation)},
            outputs={'pushed_model': standard_artifacts.PushedModel}))
