"""MediaExampleGen: a task's media as tf.Examples."""

from tfx.dsl.components.base import base_beam_component, executor_spec
from tfx.types import channel, component_spec, standard_artifacts

from components.artifacts import RejectedMedia
from components.classes import Classes
from components.media_example_gen import executor
from components.specs import Property, given


class MediaExampleGenSpec(component_spec.ComponentSpec):
    """Inputs, outputs and properties: see MediaExampleGen."""
    PARAMETERS = {
        'source': component_spec.ExecutionParameter(type=str),
        'spec': component_spec.ExecutionParameter(type=str),
        'media_fingerprint': component_spec.ExecutionParameter(type=str),
        'data_version': component_spec.ExecutionParameter(type=str, optional=True),
        'code_version': component_spec.ExecutionParameter(type=str),
    }
    INPUTS = {}
    OUTPUTS = {
        'examples': component_spec.ChannelParameter(type=standard_artifacts.Examples),
        'rejected': component_spec.ChannelParameter(type=RejectedMedia),
        'classes': component_spec.ChannelParameter(type=Classes),
    }


class MediaExampleGen(base_beam_component.BaseBeamComponent):
    """Reads a task's files into examples. A file that cannot be read goes to `rejected`, and the run goes on.

    No inputs. Outputs: `examples` (Examples: splits train and eval, gzip TFRecords of tf.Example), `rejected`
    (RejectedMedia: rejected.jsonl and findings.json, which TaskValidator judges) and `classes` (Classes: all labels,
    and media_fingerprint). Stops the run (PipelineStop) only if the media changed since media_fingerprint was made.

    Properties:
      source: the task's Source, as JSON.
      spec: the settings of its modality's input (ModelConfig.input(modality)), as JSON.
      media_fingerprint: listing.media_fingerprint(source), or the output of MediaListing. It makes the cache, which
        compares only properties, notice changed files.
      data_version: on a cluster, the run's, if the source has a place for it (Source.at_version).
      code_version: makes the cache notice changed code (pipeline/fingerprints.py).
    """
    SPEC_CLASS = MediaExampleGenSpec
    EXECUTOR_SPEC = executor_spec.BeamExecutorSpec(executor.Executor)

    def __init__(self, source: str, spec: str, media_fingerprint: Property, data_version: Property | None = None,
                 code_version: str = ''):
        super().__init__(spec=MediaExampleGenSpec(
            source=source, spec=spec, media_fingerprint=media_fingerprint, code_version=code_version,
            **given(data_version=data_version),
            examples=channel.Channel(type=standard_artifacts.Examples),
            rejected=channel.Channel(type=RejectedMedia), classes=channel.Channel(type=Classes)))
