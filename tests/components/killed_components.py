"""Runs each component of a pipeline undisturbed, then again: killed twice, and once more into the same outputs.

`python -m tests.components.killed_components FOLDER` prints one line of JSON per component: {"node"; "written": how
many files; "killed": those that were there, each time; "results": how many things were compared; "differences": which
of them the last run did not make as the undisturbed one}. Executors run in forked children, because importing TFX takes
longer than most of them.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import sys
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')

from tfx.dsl.components.base import base_beam_executor, base_executor, executor_spec
from tfx.dsl.placeholder import placeholder
from tfx.orchestration import data_types
from tfx.types import artifact_utils

from components.co_trainer.component import CoTrainer
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import pipeline as wiring
from pipeline.config import PipelineConfig
from pipeline.kubeflow import entry_point
from tests import testing

SECONDS = 120  # a component that takes longer has lost something
# Files that no two runs write alike: graphs number their functions by what the process did before; the rest has times.
UNLIKE = r'saved_model\.pb|fingerprint\.pb|events\.out|report\.html'
# Values with times and paths.
VALUES = ('seconds', 'speeds', 'trained', 'push', 'pushed_version', 'pushed_destination')


def make_pipelines(folder: pathlib.Path, *names: str) -> list:
    """Equal pipelines for a cluster. Each pushes to folder/<name>/serving, and trains in folder/<name>/unfinished."""
    task = testing.image_task(folder / 'media', max_drop=1.0)
    config = PipelineConfig('killed', Mixture((task,)), ModelConfig(1, 16, 2, 32, inputs=testing.INPUTS),
                            TrainingConfig(warmup_steps=1, checkpoint_every=2), root=str(folder / 'root'))
    return [wiring.create_pipeline(
        config, None, pipeline_root=str(folder / 'root'), serving_dir=str(folder / name / 'serving'),
        unfinished_dir=str(folder / name / 'unfinished'), fail_if_rejected=True) for name in names]


class Attempts:
    """Runs components below a folder, with the outputs of `inputs` (those of an earlier Attempts, or its own)."""

    def __init__(self, folder: pathlib.Path, inputs: 'Attempts | None' = None):
        self._folder, self._inputs = folder, inputs or self

    def outputs(self, component) -> dict[str, list]:
        """New artifacts for the outputs of a component."""
        artifacts = {key: channel.type() for key, channel in component.outputs.items()}
        for number, (key, artifact) in enumerate(sorted(artifacts.items()), 1):
            artifact.uri, artifact.id = str(self._folder / component.id / key), number
        return {key: [artifact] for key, artifact in artifacts.items()}

    def written(self, producer: str, key: str, kind: type):
        """An artifact as the component that has ended left it."""
        artifact = kind()
        artifact.set_mlmd_artifact(artifact.mlmd_artifact.FromString(
            (self._folder / producer / f'{key}.artifact').read_bytes()))
        return artifact

    def files(self, component) -> list[pathlib.Path]:
        """The files in the outputs of the component, so far."""
        return [path for key in component.outputs for path in _files(self._folder / component.id / key)]

    def count(self, component) -> int:
        """The number of these files, and of those that a training leaves elsewhere."""
        return len(self.files(component)) + len(_files(self._folder / 'unfinished'))

    def empty(self, component):
        for key in component.outputs:
            entry_point.remove(str(self._folder / component.id / key))

    def run(self, component, kill_at: int | None = None) -> bool:
        """Runs the component in a child process; kills it when it has written as many files. Returns whether it did."""
        (self._folder / component.id).mkdir(parents=True, exist_ok=True)
        child = os.fork()
        if not child:
            self._run_and_exit(component)
        deadline = time.monotonic() + SECONDS
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                if status:
                    raise SystemExit(f'{component.id} failed:\n{self._log(component).read_text()}')
                return False
            if kill_at is not None and self.count(component) >= kill_at or time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
                os.waitpid(child, 0)
                assert time.monotonic() < deadline, f'{component.id} hangs:\n{self._log(component).read_text()}'
                return True
            time.sleep(0.001)

    def _log(self, component) -> pathlib.Path:
        return self._folder / component.id / 'log'

    def _run_and_exit(self, component):
        code = 1
        try:
            os.setsid()
            with open(self._log(component), 'wb') as log:
                os.dup2(log.fileno(), 1)
                os.dup2(log.fileno(), 2)
            self._execute(component)
            code = 0
        except BaseException:
            import traceback
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _execute(self, component):
        inputs = {key: [self._inputs.written(channel.producer_component_id, channel.output_key, channel.type)]
                  for key, channel in component.inputs.items()}
        outputs = self.outputs(component)
        spec = component.executor_spec
        working = dict(tmp_dir=str(self._folder / component.id / 'working'), unique_id='1')
        context = (base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=spec.beam_pipeline_args, **working)
                   if isinstance(spec, executor_spec.BeamExecutorSpec)
                   else base_executor.BaseExecutor.Context(**working))
        properties = {name: self._value(value) for name, value in component.exec_properties.items()}
        spec.executor_class(context).Do(inputs, outputs, properties)
        for key in outputs:
            artifact = artifact_utils.get_single_instance(outputs[key])
            (self._folder / component.id / f'{key}.artifact').write_bytes(artifact.mlmd_artifact.SerializeToString())

    def _value(self, value):
        """The value of a property: itself, the default of a parameter of the run, or what another component found."""
        if isinstance(value, data_types.RuntimeParameter):
            return value.default
        if not isinstance(value, placeholder.Placeholder):
            return value
        found = next(part for part in value.traverse() if isinstance(part, placeholder.ChannelWrappedPlaceholder))
        channel = found.channel
        return self._inputs.written(channel.producer_component_id, channel.output_key, channel.type).read()

    def result(self, component) -> dict:
        """What the component wrote: name -> content, and the custom properties of its artifacts."""
        result = {}
        for path in self.files(component):
            name = re.sub(r'(?<=events\.out).*', '', str(path.relative_to(self._folder / component.id)))
            result[name] = _content(path, os.path.basename(name))
        for key, channel in component.outputs.items():
            properties = self.written(component.id, key, channel.type).mlmd_artifact.custom_properties
            result[key] = {name: str(value) for name, value in properties.items() if name not in VALUES}
        # Only a resumed training counts its records.
        return {name: value for name, value in result.items() if '/records-' not in name}


def _files(folder: pathlib.Path) -> list[pathlib.Path]:
    """All files below a folder; the path itself if it is a file."""
    if folder.is_file():
        return [folder]
    return [pathlib.Path(parent, name) for parent, _, names in os.walk(folder) for name in names]


def _content(path: pathlib.Path, name: str):
    if re.fullmatch(UNLIKE, name):
        return None
    if path.suffix == '.json':
        value = json.loads(path.read_bytes())
        return {key: part for key, part in value.items() if key not in VALUES}
    return path.read_bytes()


def main(folder: pathlib.Path):
    whole, again = make_pipelines(folder, 'whole', 'again')
    undisturbed = Attempts(folder / 'whole')
    disturbed = Attempts(folder / 'again', undisturbed)
    for component, same in zip(whole.components, again.components, strict=True):
        before, written = disturbed.count(same), -undisturbed.count(component)
        undisturbed.run(component)
        written += undisturbed.count(component)
        if isinstance(component, CoTrainer):
            for name in ('whole', 'again'):  # a version to be compared with
                shutil.copytree(folder / 'whole/CoTrainer/model/Format-Serving', folder / name / 'serving/1')
        killed = []
        for files in sorted({before + 1, before + max(1, written - 1)} if written else ()):
            if disturbed.run(same, kill_at=files):
                killed.append(sorted(str(path.relative_to(folder / 'again')) for path in disturbed.files(same)))
            disturbed.empty(same)
        disturbed.run(same)
        expected, found = undisturbed.result(component), disturbed.result(same)
        print(json.dumps({
            'node': component.id, 'written': written, 'killed': killed, 'results': len(expected), 'differences': sorted(
                name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))}), flush=True)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
