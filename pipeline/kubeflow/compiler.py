"""Compiles the pipeline for Kubeflow Pipelines v2 and Vertex AI: the create_pipeline of one machine, with other paths.

Open-source Kubeflow Pipelines implements no TFX resolver nodes and loses artifact types, so the pipeline has no such
nodes and its components do not look at types. The media and the baseline are looked up when the pipeline runs.
"""

import dataclasses
import json
import pathlib

from model_code import file_io
from model_code.errors import ConfigError
from pipeline import environment, run_parameters
from pipeline.images import check_image
from pipeline.kubeflow import containers, folders, targets
from pipeline.kubeflow import spec as additions

# Components that look at the media, or at what is being served, which their inputs and properties do not show.
UNCACHED = ('MediaListing', 'ServedDataLookup', 'BaselineLookup', 'AtomicPusher')


def compile_pipeline(config, output: str, root: str | None = None, image: str | None = None,
                     target: str | None = None, fail_if_rejected: bool = False) -> str:
    """Writes the compiled pipeline to `output` and returns it.

    For Kubeflow Pipelines (.yaml, .yml) a PipelineSpec and, where pods need more than that can say, a platform spec as
    a second document; for Vertex AI (.json) a PipelineJob.

    root: a bucket, or a folder in one (targets.check_root). Artifacts go to <root>/<name>/pipeline, versions to
    <root>/<name>/serving/polyvit. image: built from kubeflow/Dockerfile. target: 'kfp' or 'vertex'; by default as the
    ending says. fail_if_rejected: a last step fails the run if the gate rejects the model.

    Raises ConfigError for an output, a name, a root, an image or resources that the target does not take, for data that
    containers do not see, and for what Beam's workers do not reach.
    """
    path = pathlib.Path(output)
    target = targets.find(output, target)
    root = targets.check_root(root, target)
    if not image:
        raise ConfigError('A compiled pipeline needs --image: the image of its steps, built from kubeflow/Dockerfile '
                          'and pushed to a registry that the cluster can pull from.')
    check_image(image, '--image')
    file_io.check_output(output)
    _check_name(config.name)
    folders.check(config, target)
    if config.data_version:
        config.with_data()  # a version that no run would take
    containers.check_beam(config.beam)
    if config.training.train_only and not config.training.initial_checkpoint:
        raise ConfigError('train_only keeps the weights of a model, and a compiled pipeline must know which: set '
                          'initial_checkpoint to the version that is being served there.')
    from pipeline import pipeline as wiring
    base = f'{root}/{wiring.pipeline_name(config)}'
    job = _compile(config, base, image, fail_if_rejected)
    spec = job['pipelineSpec']
    spec['defaultPipelineRoot'] = job['runtimeConfig']['gcsOutputDirectory']
    additions.rename_tasks(spec)
    containers.check_beam_workers(spec)
    additions.set_defaults(spec, run_parameters.of_config(config))
    additions.set_caching(spec, UNCACHED)
    additions.set_retries(spec, config.cluster.retries, target)
    additions.add_shown_outputs(spec)
    containers.add_arguments(spec, target)
    platform = additions.set_resources(spec, config.cluster, root, target)
    additions.check_lengths(spec)
    file_io.write(str(path.absolute()), _text(job, platform, target))
    return output


def _check_name(name: str):
    """Raises ConfigError unless the name of the config is that of its pipeline: two names must not become one."""
    right = name.lower().replace('_', '-')
    if name != right:
        raise ConfigError(f'Config name {name!r}: on a cluster a name has lower-case letters, digits and hyphens only. '
                          f'Name it {right!r}, in the config or by --set name={right}.')


def _compile(config, base: str, image: str, fail_if_rejected: bool) -> dict:
    """The PipelineJob as TFX compiles it, with everything under the URL `base`."""
    environment.set_defaults()
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline import pipeline as wiring

    # The cluster's root, because this machine's root must not be part of the result.
    config = dataclasses.replace(config, root=base)
    pipeline = wiring.create_pipeline(
        config, None, pipeline_root=f'{base}/pipeline', serving_dir=targets.store_url(f'{base}/serving/polyvit'),
        unfinished_dir=targets.store_url(f'{base}/unfinished'), fail_if_rejected=fail_if_rejected)
    runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
        default_image=image, default_commands=list(containers.COMMAND), use_pipeline_spec_2_1=True))
    return runner.run(pipeline, write_out=False)


def _text(job: dict, platform: dict, target: targets.Target) -> str:
    if target == 'vertex':
        return json.dumps(job, sort_keys=True)
    import yaml
    return yaml.safe_dump_all([job['pipelineSpec'], *([platform] if platform else [])], sort_keys=True)
