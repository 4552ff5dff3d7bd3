"""What every container of a compiled pipeline runs: TFX's entry point, made to work where the pipeline is to run.

Kubeflow Pipelines (target kfp): its launcher has put the inputs at local paths, and takes the outputs from others. The
executor works on these; TensorFlow never sees s3:// or minio://. Vertex AI (target vertex): the paths are a mounted
bucket, which renames no folder and reads badly here and there. The executor works in a scratch folder, and whole files
are copied.

Beam workers on other machines reach neither. If the options of Beam name a remote runner, a Beam component gets the
gs:// URIs themselves, and works there as TFX does.

Exit codes: 0; 1 after an error, or if the step stopped the run on purpose; 2 if something is wrong with the arguments,
the image or the config; 128 + the signal's number if a signal ended it. A stop ends with its sentence, any other error
with a traceback.
"""

import argparse
import contextlib
import hashlib
import json
import os
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator

from components import costs
from model_code import file_io, interruption, remote_files
from model_code.errors import ConfigError
from pipeline import cost_meter
from pipeline.beam import failures
from pipeline.exit_codes import DONE, FAILED, WRONG
from pipeline.kubeflow import containers, executor_io

_OUTPUT = 'executor_output.json'


def main(words=None) -> int:
    """Runs the step; returns the exit code. words: the arguments, by default those of the process."""
    arguments, beam_args = containers.parse_arguments(words)
    with interruption.handled():
        try:
            run(arguments, beam_args)
            return DONE
        except BaseException as error:  # whatever it is: Beam makes a RuntimeError of a KeyboardInterrupt
            number = interruption.requested()
            if number:
                _end_interrupted(number, arguments.node)
            if not isinstance(error, Exception):
                raise
            return _explain(error)


def run(arguments: argparse.Namespace, beam_args: list[str]):
    """Runs the executor and writes ExecutorOutput. Raises ConfigError, PipelineStop, or what the executor raises."""
    executor_input = _parsed(arguments.json_serialized_invocation_args, '--json_serialized_invocation_args')
    inputs_spec = _parsed(arguments.json_serialized_inputs_spec_args, '--json_serialized_inputs_spec_args')
    check_code(arguments.node, executor_io.code_version(executor_input))
    prepared = executor_io.without_ui_outputs(executor_io.with_types(executor_input, inputs_spec))
    _prepare_process()
    with cost_meter.running() as meter:
        if containers.workers_elsewhere(beam_args) and _uses_beam(arguments.executor_class_path):
            executor_output = _executed_at_uris(arguments, prepared, beam_args)
        else:
            with tempfile.TemporaryDirectory(prefix='polyvit-') as scratch:
                with _working_paths(arguments, scratch) as (inputs, outputs):
                    localised, uris = executor_io.at_paths(prepared, inputs, outputs)
                    executor_output = executor_io.at_uris(
                        _execute(arguments, localised, beam_args, os.path.join(scratch, _OUTPUT)), uris)
                    executor_output = _with_ui_outputs(executor_output, executor_input, arguments, outputs)
        cost = meter.cost(arguments.node)
    for_ui = {*arguments.html, *arguments.metrics}
    _write_output(executor_io.with_metadata(executor_output, {costs.PROPERTY: cost.to_json()}, for_ui),
                  executor_input['outputs']['outputFile'])


def _uses_beam(executor_class_path: str) -> bool:
    from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
    from tfx.utils import import_utils
    return issubclass(import_utils.import_class_by_path(executor_class_path), BaseBeamExecutor)


def _executed_at_uris(arguments: argparse.Namespace, executor_input: dict, beam_args: list[str]) -> dict:
    """The ExecutorOutput of an executor that reads and writes the URIs themselves, as Beam's workers elsewhere do.

    Afterwards the objects that TensorFlow leaves in place of folders are removed. The launcher of Kubeflow Pipelines
    would download them as files, in place of the folders.
    """
    parts = executor_input.get('inputs', {}), executor_input['outputs']
    for artifact in (artifact for part in parts for _, artifact in executor_io.artifacts(part)):
        containers.check_reached_by_workers(arguments.node, artifact['uri'])
    uris = [artifact['uri'] for _, artifact in executor_io.artifacts(executor_input['outputs'])]
    for uri in uris:
        file_io.remove_folder(uri)
    folder = os.path.dirname(uris[0])
    try:
        return _execute(arguments, executor_input, beam_args, f'{folder}/{_OUTPUT}')
    finally:
        file_io.remove(f'{folder}/{_OUTPUT}')
        file_io.remove_folder(f'{folder}/.temp')
        remote_files.remove_marks(folder)


def check_code(node: str, compiled: str):
    """Raises ConfigError if the component's code or libraries in this image are not those of the compiled pipeline.

    The cache would take the step's outputs for those of the compiled code. compiled: '' if the step has no version.
    """
    from pipeline import fingerprints
    component = containers.component_of(node)
    if not compiled or component not in fingerprints.COMPONENT_CODE:
        return
    here = fingerprints.component_version(component)
    if here != compiled:
        raise ConfigError(
            f"{node}: this image has other code, or other versions of libraries, than the compiled pipeline ({here} is "
            f'not {compiled}). Build the image from the sources that the pipeline is compiled from, or compile the '
            'pipeline again, where the sources and versions are those of the image.')


@contextlib.contextmanager
def _working_paths(arguments: argparse.Namespace, scratch: str) -> Iterator[tuple[dict[str, str], dict[str, str]]]:
    """The paths at which the executor finds inputs and writes outputs, by artifact name.

    What an earlier try left at the outputs is removed. An input of which nothing was stored is an empty folder: object
    stores keep none.
    """
    inputs, outputs = arguments.input_path, arguments.output_path
    for path in outputs.values():
        remove(path)
        os.makedirs(os.path.dirname(path), exist_ok=True)
    if arguments.target == 'kfp':
        for path in inputs.values():
            if not os.path.exists(path):
                os.makedirs(path)
        yield inputs, outputs
        return
    local_inputs = {name: os.path.join(scratch, 'inputs', name) for name in inputs}
    os.makedirs(os.path.join(scratch, 'inputs'))
    for name, path in inputs.items():
        if not copy(path, local_inputs[name]):
            os.makedirs(local_inputs[name])
    with _output_folder(outputs) as folder:
        local_outputs = {name: os.path.join(folder, name) for name in outputs}
        yield local_inputs, local_outputs
        for name, path in outputs.items():
            copy(local_outputs[name], path)


@contextlib.contextmanager
def _output_folder(outputs: dict[str, str]) -> Iterator[str]:
    """A context that gives an empty folder of this machine, the same in every try of a step.

    By the path of its output AtomicPusher tells its own push in an earlier try from that of another run.
    """
    key = hashlib.sha256(json.dumps(outputs, sort_keys=True).encode()).hexdigest()[:16]
    folder = os.path.join(tempfile.gettempdir(), f'polyvit-outputs-{key}')
    remove(folder)
    os.makedirs(folder)
    try:
        yield folder
    finally:
        remove(folder)


def remove(path: str):
    """Removes a file, or a folder with all that is in it, if it is there."""
    if os.path.isdir(path):
        shutil.rmtree(path)
    elif os.path.exists(path):
        os.remove(path)


def copy(source: str, target: str) -> bool:
    """Copies a file, or the files of a folder, one after the other; returns whether there is anything at `source`.

    It only reads and writes contents: a mounted bucket knows neither modes nor times nor renames.
    """
    if os.path.isfile(source):
        os.makedirs(os.path.dirname(target), exist_ok=True)
        shutil.copyfile(source, target)
        return True
    for folder, folders, names in os.walk(source):
        folders.sort()
        made = os.path.join(target, os.path.relpath(folder, source))
        os.makedirs(made, exist_ok=True)
        for name in sorted(names):
            shutil.copyfile(os.path.join(folder, name), os.path.join(made, name))
    return os.path.isdir(source)


def _execute(arguments: argparse.Namespace, executor_input: dict, beam_args: list[str], output_file: str) -> dict:
    """The ExecutorOutput of the executor, which TFX's entry point runs. It writes that to `output_file`."""
    from tfx.orchestration.kubeflow.v2.container import kubeflow_v2_run_executor

    # Beam and absl read their options from sys.argv too, where ours would be mistaken for theirs.
    words, sys.argv = sys.argv, sys.argv[:1]
    try:
        kubeflow_v2_run_executor.main((argparse.Namespace(
            executor_class_path=arguments.executor_class_path,
            json_serialized_invocation_args=json.dumps(
                {**executor_input, 'outputs': {**executor_input['outputs'], 'outputFile': output_file}}),
            json_serialized_inputs_spec_args=arguments.json_serialized_inputs_spec_args), beam_args))
    finally:
        sys.argv = words
    return file_io.read_json(output_file)


def _with_ui_outputs(executor_output: dict, executor_input: dict, arguments: argparse.Namespace,
                     outputs: dict[str, str]) -> dict:
    """The ExecutorOutput with the artifacts for the UI, which are made of files of other outputs."""
    uris = {name: artifact['uri'] for name, artifact in executor_io.artifacts(executor_input['outputs'])}
    made = {}
    for name, file in arguments.html.items():
        copy(_file(file, outputs), outputs[name])
        made[name] = {'uri': uris[name]}
    for name, file in arguments.metrics.items():
        with open(_file(file, outputs), encoding='utf-8') as opened:
            made[name] = {'uri': uris[name], 'metadata': executor_io.numbers(json.load(opened))}
    listed = {name: {'artifacts': [artifact]} for name, artifact in made.items()}
    return {**executor_output, 'artifacts': {**executor_output.get('artifacts', {}), **listed}}


def _file(name: str, outputs: dict[str, str]) -> str:
    """The path of 'report/report.html', a file of the output `report`."""
    output, _, file = name.partition('/')
    return os.path.join(outputs[output], file)


def _write_output(executor_output: dict, path: str):
    """Writes ExecutorOutput to where the backend reads it. It does so after the process has ended well, so the file
    need not appear at once; a mounted bucket could not do that.
    """
    path = '/gcs/' + path.removeprefix('gs://') if path.startswith('gs://') else path
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'w', encoding='utf-8') as file:
        json.dump(executor_output, file)


def _parsed(text: str, option: str) -> dict:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ConfigError(f'{option} is not JSON ({error}): {text[:80]}. The backend fills it in; run the compiled '
                          'pipeline there.') from None
    if not isinstance(value, dict):
        raise ConfigError(f'{option} must be a JSON object, not {text[:80]}.')
    return value


def _prepare_process():
    """Call it before TensorFlow is imported. Messages of the project, of TFX and of Beam appear in the pod's log."""
    import logging

    from absl import logging as absl_logging

    from pipeline import environment, terminal
    environment.set_defaults()
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(terminal.LogFormatter(hint=''))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    absl_logging.set_verbosity('info')


def _explain(error: Exception) -> int:
    """Prints why the step failed; returns the exit code."""
    from pipeline.local_runner import stop_sentence
    sentence = stop_sentence(error)
    if sentence is None:
        traceback.print_exception(error)
        reason = failures.reason(str(error))
        if reason:
            print(reason, file=sys.stderr, flush=True)
        return FAILED
    print(sentence, file=sys.stderr, flush=True)
    return WRONG if isinstance(error, ConfigError) else FAILED


def _end_interrupted(number, node: str):
    """Ends the process at once: Beam's threads do not notice an interruption."""
    from pipeline import ending
    kept = interruption.kept()
    print(ending.sentence(number, f'while {node} was running.') + (f' Kept: {kept}.' if kept else ''),
          file=sys.stderr, flush=True)
    ending.leave(number)


if __name__ == '__main__':
    sys.exit(main())
