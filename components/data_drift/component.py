"""DataDrift: the new data of all tasks against those of the model being served, before anything is trained."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.artifacts import RejectedMedia
from components.classes import Classes
from components.data_drift import executor
from components.data_statistics import DataStatistics


class DataDrift(base_component.BaseComponent):
    """Compares the statistics of a run's data with those that are kept in a served version.

    It stops the run (PipelineStop) if the version knows a task or a class that the data lack, as BlessingGate would
    after the training, and if a task's data drifted whose checks say `drift='stop'`. Other drift is remarked on. Where
    the newest version was trained on the same media nothing stops.

    mixture: the Mixture as JSON; of a task only the checks of drift, the label groups and dropped_classes count.
    serving_dir: the folder of the version directories. served_version: the version to compare with, '' or 'none' if
    there is none (served_data.choose); on a cluster the output of ServedDataLookup. statistics, rejected, classes:
    task name -> channel of StatisticsGen and of MediaExampleGen.

    Output: `data_statistics` (DataStatistics), of which a push keeps a part with the version.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, mixture: str, serving_dir: str, served_version: specs.Property,
                 statistics: dict[str, channel.BaseChannel], rejected: dict[str, channel.BaseChannel],
                 classes: dict[str, channel.BaseChannel], code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'mixture': mixture, 'serving_dir': serving_dir, 'served_version': served_version,
                        'code_version': code_version},
            task_inputs={'statistics': (statistics, standard_artifacts.ExampleStatistics),
                         'rejected': (rejected, RejectedMedia), 'classes': (classes, Classes)},
            outputs={'data_statistics': DataStatistics}))
