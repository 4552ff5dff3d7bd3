"""Compiles the pipeline for Kubeflow Pipelines v2: the create_pipeline of the local runner, with other paths.

Open-source Kubeflow Pipelines implements no TFX resolver nodes and loses artifact types, so the pipeline has no such
nodes and its components do not look at types. The baseline is looked up in the cluster when the pipeline runs.
"""

import dataclasses
import json
import os
import pathlib

from model_code import file_io
from model_code.errors import ConfigError
from pipeline import environment, fingerprints
from pipeline.checks import DataSummary
from pipeline.kubeflow import containers

DEFAULT_ROOT = '/pipeline'
DEFAULT_IMAGE = 'polyvit-pipeline:latest'


def compile_pipeline(config, data: DataSummary, output: str, root: str | None = None, image: str | None = None) -> str:
    """Writes the compiled pipeline to `output` and returns it: a PipelineSpec (.yaml, .yml) or a PipelineJob (.json).

    root: a folder that every step in the cluster can reach (gs://..., s3://..., a mounted volume). Artifacts go to
    <root>/<name>/pipeline, versions to <root>/<name>/serving/polyvit. image: built from kubeflow/Dockerfile.
    """
    path = pathlib.Path(output)
    if path.suffix not in ('.yaml', '.yml', '.json'):
        raise ConfigError(f'{output}: the name of a compiled pipeline must end in .yaml, .yml or .json.')
    if not path.absolute().parent.is_dir():
        raise ConfigError(f'{output}: there is no folder {path.absolute().parent}. Create it first.')
    environment.set_defaults()
    from tfx.orchestration.kubeflow.v2 import kubeflow_v2_dag_runner

    from pipeline import pipeline as wiring
    base = f'{(root or DEFAULT_ROOT).rstrip("/")}/{wiring.pipeline_name(config)}'
    # The cluster's root, because this machine's root must not be part of the result.
    config = dataclasses.replace(config, root=base)
    pipeline = wiring.create_pipeline(
        config, data, pipeline_root=f'{base}/pipeline', serving_dir=f'{base}/serving/polyvit',
        served_version='', push_nonce=wiring.new_nonce(),
        model_key=fingerprints.model_key(config, data.fingerprints))
    with file_io.replacing(str(path.absolute())) as temporary:  # a failed compilation keeps the old file
        runner = kubeflow_v2_dag_runner.KubeflowV2DagRunner(
            config=kubeflow_v2_dag_runner.KubeflowV2DagRunnerConfig(
                default_image=image or DEFAULT_IMAGE, default_commands=list(containers.COMMAND),
                use_pipeline_spec_2_1=True),
            output_dir=os.path.dirname(temporary), output_filename=os.path.basename(temporary))
        runner.run(pipeline)
        _complete(pathlib.Path(temporary))
    return output


def _complete(path: pathlib.Path):
    """Makes our additions to the compiled pipeline in a file: whatever TFX's compiler cannot write."""
    import yaml
    text = path.read_text()
    compiled = json.loads(text) if path.suffix == '.json' else yaml.safe_load(text)
    spec = compiled.get('pipelineSpec', compiled)
    _without_cache(spec, 'ServingBaseline')
    containers.add_arguments(spec, 'kfp')
    path.write_text(json.dumps(compiled, sort_keys=True) if path.suffix == '.json'
                    else yaml.safe_dump(compiled, sort_keys=True))


def _without_cache(spec: dict, component: str):
    """Switches off the cache of one component in a PipelineSpec. (TFX's compiler has only one switch for all.)

    ServingBaseline looks at what is being served when it runs, which its inputs and properties do not show.
    """
    spec['root']['dag']['tasks'][component]['cachingOptions'] = {'enableCache': False}
