"""ServedDataLookup: with which served version's data the new data are compared, as it is when the component runs."""

from tfx.dsl.components.base import base_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components import specs
from components.classes import Classes
from components.served_data_lookup import executor


class ServedDataLookup(base_component.BaseComponent):
    """Chooses the version with whose data the new data are compared (data_drift.served_data.choose).

    It is for a cluster, where nobody looks at what is being served before a run. It must run every time, so switch its
    cache off; DataDrift, which compares, is cached by what it found.

    classes: task name -> channel of MediaExampleGen, which has the media's fingerprint. serving_dir: the folder of the
    version directories. code_version: by it a container notices that its image has other code
    (pipeline/fingerprints.py).

    Output: `version` (String), which DataDrift takes as its served_version: a number, or 'none'.
    """
    SPEC_CLASS = component_spec.ComponentSpec
    EXECUTOR_SPEC = executor_spec.ExecutorClassSpec(executor.Executor)

    def __init__(self, classes: dict[str, channel.BaseChannel], serving_dir: str, code_version: str = ''):
        super().__init__(specs.make_spec(
            parameters={'serving_dir': serving_dir, 'code_version': code_version},
            task_inputs={'classes': (classes, Classes)}, outputs={'version': standard_artifacts.String}))
