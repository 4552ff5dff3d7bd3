"""MediaListing: a task's media as they are when the run starts."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.media_listing import executor
from components.specs import Property, given


class MediaListingSpec(component_spec.ComponentSpec):
    """Output `media_fingerprint`; properties: see MediaListing."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'checks': component_spec.ExecutionParameter(type=str),
        'data_version': component_spec.ExecutionParameter(type=str, optional=True),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {'media_fingerprint': component_spec.ChannelParameter(type=standard_artifacts.String)}


class MediaListing(base_beam_component.BaseBeamComponent):
    """Lists a task's media, and stops the run (ConfigError) if their names alone show that it cannot go on.

    It starts the lane of a task on a cluster, where the media are not listed before a run. It must run every time, so
    switch its cache off: nothing in its properties shows that media came or went. The other components of the lane are
    cached by what it found.

    No inputs. Output: `media_fingerprint` (String), which MediaExampleGen takes as its property of that name. There is
    no other output, because an artifact is a new one in every run.

    Properties:
      source, checks: the task's Source and Checks, as JSON.
      data_version: the run's, if the source has a place for it (Source.at_version).
      code_version: by it a container notices that its image has other code (pipeline/fingerprints.py).
    """
    SPEC_CLASS = MediaListingSpec
    # It runs nothing on Beam, but such a component gets Beam's options, and so those of Beam's file systems.
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, source: str, checks: str, data_version: Property | None = None, code_version: str = ''):
        super().__init__(MediaListingSpec(source=source, checks=checks, code_version=code_version,
                                          **given(data_version=data_version),
                                          media_fingerprint=channel.Channel(type=standard_artifacts.String)))
