"""`polyvit doctor --beam CONFIG`: sends one element through the config's runner, and says what a run would lack there.

The element comes to a worker as those of a run do. The worker says what it is and what it sees by the names of
counters, which every runner brings back; files may be just what it does not share with this machine.

    python -m pipeline.beam.trial CONFIG

is a process of its own, which can be ended in time. It prints the findings as JSON.
"""

import dataclasses
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
import uuid

from model_code import file_io, interruption, isolated
from model_code.errors import ConfigError
from model_code.urls import is_url
from pipeline import fingerprints
from pipeline.beam import checks, failures
from pipeline.beam.settings import COMPONENTS, LOOPBACK, Beam
from pipeline.doctor_checks import OK, PROBLEM, WARNING, Finding

SECONDS = 50.0  # for the element; then the job is cancelled, which takes seconds more
_CANCEL_SECONDS = 10.0
_NAMESPACE = 'polyvit.trial'
# Whatever decides what the components on Beam write, and what Beam itself needs to be equal.
LIBRARIES = tuple(sorted({'apache-beam', *(name for component in COMPONENTS
                                           for name in fingerprints.COMPONENT_LIBRARIES[component])}))


def findings(name: str, config) -> list[Finding]:
    """What one element shows. name: the config's, as it was given."""
    beam = config.beam
    try:
        checks.check(beam)
    except ConfigError as error:
        return [_problem('endpoint', str(error).removeprefix('Beam: '))]
    answers = [Finding('endpoint', OK, beam.endpoint)] if beam.endpoint else []
    started = time.monotonic()
    process = subprocess.Popen(isolated.python('-m', 'pipeline.beam.trial', name), stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, encoding='utf-8', errors='replace')
    try:
        printed, log = process.communicate(timeout=SECONDS)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)  # it cancels its job
        try:
            process.communicate(timeout=_CANCEL_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        return [*answers, Finding('workers', PROBLEM, f'no worker did one element within {SECONDS:g} seconds',
                                  _why_no_worker(beam))]
    if process.returncode:
        last = (log.strip().splitlines() or ['no message'])[-1]
        return [*answers, _problem('workers', last[:400])]
    found = [Finding(**finding) for finding in json.loads(printed.splitlines()[-1])]
    took = f'{time.monotonic() - started:.0f} seconds for one element'
    return [*answers, *(dataclasses.replace(f, text=f'{f.text}; {took}') if f.name == 'workers' and f.state == OK else f
                        for f in found)]


def _problem(name: str, text: str) -> Finding:
    return Finding(name, PROBLEM, text, '' if 'docs/beam.md' in text else 'See docs/beam.md.')


def _why(error: Exception) -> str:
    """Why the element did not come through, in one line."""
    rejected = str(error).partition('Pipeline has validations errors:')[2].split()  # Dataflow looks at its options
    if rejected:
        return f'Beam rejects options of the config: {" ".join(rejected)}'
    return failures.reason(str(error)) or f'{type(error).__name__}: {" ".join(str(error).split())}'


def _why_no_worker(beam: Beam) -> str:
    if beam.image:
        return f'Look at the logs of the cluster: it may not be able to pull or start the image {beam.image}.'
    if beam.worker_pool == LOOPBACK:
        return 'Run the cluster on this machine, or give it an image or a worker pool: its workers are in this process.'
    if beam.worker_pool:
        return (f'Look at the log of the worker pool at {beam.worker_pool}: often its `python` cannot import '
                'apache_beam, or it cannot reach the job server.')
    return 'Try again when the machine is idle, or look at the log of the runner.'


def look(element: dict):
    """In a worker: says by the names of counters what it is, and what it sees of the element's files and folders.

    element: 'token', a file of the root, beside which the worker writes another one; 'folders', those of media.
    """
    from apache_beam.metrics import Metrics

    def say(key: str, value):
        Metrics.counter(_NAMESPACE, f'{key}={value}').inc()
    say('host', socket.gethostname())
    for key, value in _versions().items():
        say(key, value)
    try:
        file_io.write(f'{element["token"]}.answer', file_io.read_bytes(element['token']))
    except Exception as error:  # of whatever file system
        say('root', f'{type(error).__name__}: {error}')
    for folder in element['folders']:
        if not (is_url(folder) or os.path.isdir(folder)):
            say('unseen', folder)


def _versions() -> dict[str, str]:
    """Of Python, of the libraries and of the code of the components."""
    return {'Python': '.'.join(platform.python_version_tuple()[:2]),
            **{name: fingerprints.library_version(name) or 'missing' for name in LIBRARIES},
            'code': ' '.join(fingerprints.component_version(name) for name in COMPONENTS)}


def send(config) -> list[Finding]:
    """Sends the element and judges what the worker said."""
    import apache_beam
    component = next(iter(config.beam.components), COMPONENTS[0])
    folder = _folder(config)
    name = f'{file_io.TEMPORARY}{uuid.uuid4().hex}'
    token = f'{folder}/{name}'
    element = {'token': token, 'folders': sorted({task.data.folder for task in config.mixture.tasks} - {''})}
    file_io.write(token, name)
    try:
        pipeline = apache_beam.Pipeline(argv=config.beam.arguments(component))
        _ = pipeline | apache_beam.Create([element]) | apache_beam.Map(look)
        result = pipeline.run()
        result.wait_until_finish()
        answered = file_io.exists(f'{token}.answer') and file_io.read_text(f'{token}.answer') == name
    except Exception as error:
        return [_problem('workers', _why(error))]
    finally:
        for path in (token, f'{token}.answer'):
            file_io.remove(path)
    counters = result.metrics().query(apache_beam.metrics.MetricsFilter().with_namespace(_NAMESPACE))['counters']
    said = [counter.key.metric.name.partition('=')[::2] for counter in counters]
    return judge(said, answered, folder)


def _folder(config) -> str:
    """The root, or the nearest folder above it that exists: a trial makes none."""
    if is_url(config.root):
        return config.root.rstrip('/')
    folder = config.run_root
    while not folder.is_dir():
        folder = folder.parent
    return str(folder)


def judge(said: list[tuple[str, str]], answered: bool, folder: str) -> list[Finding]:
    """The findings of what a worker said, as (key, value). answered: whether its file came into the root's `folder`."""
    facts = dict(said)
    if 'host' not in facts:
        return [Finding('workers', WARNING, 'the job ran, but its runner brings back no counters',
                        'Compare the versions of the workers with those here by hand (requirements.lock).')]
    found = [Finding('workers', OK, f'a worker on {facts["host"]}')]
    here = _versions()
    code = here.pop('code')
    other = [f'{name} {facts.get(name)} (here: {version})' for name, version in here.items()
             if facts.get(name) != version]
    if other:
        found.append(Finding('packages', PROBLEM, f'the workers have {", ".join(other)}',
                             'Install requirements.lock there, or build their image anew.'))
    elif facts.get('code') != code:
        found.append(Finding('packages', PROBLEM, 'the workers have other code of this project',
                             'Build their image anew, or start their pool with these sources.'))
    else:
        found.append(Finding('packages', OK, 'the workers have the same packages and the same code'))
    if answered:
        found.append(Finding('root', OK, f'the workers write to {folder}'))
    else:
        why = f' ({facts["root"][:200]})' if 'root' in facts else ', but to another folder of this name'
        found.append(Finding('root', PROBLEM, f'the workers do not write to {folder}{why}',
                             'Give a --root on storage that this machine and the workers share, under the same path.'))
    unseen = [folder for key, folder in said if key == 'unseen']
    if unseen:
        found.append(Finding('media', PROBLEM, f'the workers do not see {", ".join(unseen)}',
                             'Put the media on storage that the workers share, under the same path, or behind a URL.'))
    return found


def main():
    from pipeline import environment
    from pipeline.config import load_config
    environment.set_defaults()
    with interruption.handled():
        found = send(load_config(sys.argv[1]))
    print(json.dumps([dataclasses.asdict(finding) for finding in found]))


if __name__ == '__main__':
    from pipeline.beam import trial  # the worker must find `look` by this name, not in __main__
    trial.main()
