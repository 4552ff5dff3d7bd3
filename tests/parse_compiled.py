"""Parses compiled pipelines with the kfp of whatever Python runs this; needs nothing of this project.

    python tests/parse_compiled.py FOLDER

Reads every .yaml (a PipelineSpec, perhaps a platform spec) and .json (a PipelineJob) of the folder. A field that this
kfp does not know is an error. Prints the version of kfp and the names of the files.
"""

import json
import pathlib
import sys
import warnings

warnings.simplefilter('ignore')

import kfp  # noqa: E402
import yaml  # noqa: E402
from google.protobuf import json_format  # noqa: E402
from kfp import components  # noqa: E402
from kfp.kubernetes import kubernetes_executor_config_pb2 as kubernetes  # noqa: E402
from kfp.pipeline_spec import pipeline_spec_pb2 as pipelines  # noqa: E402


def parse(path: pathlib.Path):
    if path.suffix == '.json':
        job = json.loads(path.read_text())
        json_format.ParseDict(job, pipelines.PipelineJob())
        _parse_spec(job['pipelineSpec'])
        return
    components.load_component_from_file(str(path))
    spec, *platforms = yaml.safe_load_all(path.read_text())
    _parse_spec(spec)
    for platform in platforms:
        json_format.ParseDict(platform, pipelines.PlatformSpec())
        for config in platform['platforms']['kubernetes']['deploymentSpec']['executors'].values():
            json_format.ParseDict(config, kubernetes.KubernetesExecutorConfig())


def _parse_spec(spec: dict):
    json_format.ParseDict(spec, pipelines.PipelineSpec())
    # The field is a Struct, which takes anything; backends parse it as this.
    json_format.ParseDict(spec['deploymentSpec'], pipelines.PipelineDeploymentConfig())


if __name__ == '__main__':
    files = sorted(pathlib.Path(sys.argv[1]).iterdir())
    for file in files:
        parse(file)
    json.dump({'kfp': kfp.__version__, 'files': [file.name for file in files]}, sys.stdout)
