"""A stand-in for Kubeflow Pipelines, which executes a compiled pipeline on this machine. It is the tests' contract.

Each task runs as there: the driver resolves its inputs, makes the URIs of its outputs and asks the cache; the launcher
downloads the inputs from the object store, runs the container's command, uploads the outputs and records them. Here a
container is a child process with a folder of its own for a pod, at most two at a time; on request some are forks of one
process that has imported the libraries. All functions follow the sources of kubeflow/pipelines, in backend/src/v2, as
of the releases 2.0 to 2.15; the docstrings name the files.

Artifacts are in s3:// or minio://, of which endpoint and credentials are in the environment, or in gs://, which is a
folder that all pods share, as Vertex AI mounts a bucket.
"""

import concurrent.futures
import contextlib
import copy
import dataclasses
import functools
import hashlib
import json
import multiprocessing.forkserver
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping

import yaml

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
# Linux's MAX_ARG_STRLEN, with the zero byte at the end.
LONGEST_ARGUMENT = 128 * 1024
_NUMBERS = ('NUMBER_INTEGER', 'NUMBER_DOUBLE')


class BackendError(Exception):
    """The backend rejects what a real one rejects: an input that is not there, an argument that is too long."""


@dataclasses.dataclass
class Execution:
    """What happened to one task. seconds: of the container. outputs: name -> artifact, with its id as `name`."""
    task: str
    state: str  # PENDING, then COMPLETE, CACHED, FAILED, or OMITTED because another failed
    seconds: float = 0.0
    attempts: int = 0
    kills: int = 0
    outputs: dict[str, dict] = dataclasses.field(default_factory=dict)
    parameters: dict[str, object] = dataclasses.field(default_factory=dict)
    log: str = ''
    executor_input: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Run:
    """id: part of all URIs of the run. executions: task -> Execution, of all tasks whose turn it was."""
    id: str
    executions: dict[str, Execution]

    @property
    def failed(self) -> list[str]:
        return sorted(name for name, execution in self.executions.items() if execution.state == 'FAILED')

    def of_state(self, state: str) -> set[str]:
        return {name for name, execution in self.executions.items() if execution.state == state}

    def table(self) -> str:
        """The state and seconds of each task, in the order in which they started, and all seconds."""
        rows = [f'{e.task:<32} {e.state:<9} {e.seconds:6.1f} s' + (f'  killed {e.kills}x' if e.kills else '')
                for e in self.executions.values()]
        total = sum(e.seconds for e in self.executions.values())
        return '\n'.join([*rows, f'{len(rows)} steps, {total:.1f} s'])


class Backend:
    """One installation: its records of artifacts, its cache, and the environment of its pods.

    folder: for pods. secrets: those of Kubernetes, name -> key -> value. environment: of all pods; it prevails over
    what the pipeline says, because the names of a cluster's services lead nowhere here.
    keep_types: whether inputs have their types, as on Vertex AI; open-source Kubeflow Pipelines drops them.
    forks: whether each component has one fresh container, and all its others, and those that are to be killed, are
    forks of a process that has imported libraries (`forks_importing`): importing TFX takes longer than most steps.
    """

    def __init__(self, folder: str | os.PathLike, secrets: Mapping[str, Mapping[str, str]] | None = None,
                 environment: Mapping[str, str] | None = None, keep_types: bool = False, workers: int = 2,
                 forks: bool = False):
        self._folder, self._keep_types, self._workers = pathlib.Path(folder), keep_types, workers
        self._secrets, self._environment = secrets or {}, environment or {}
        self._may_fork, self._started_fresh = forks, set[str]()
        self._artifacts: list[dict] = []
        self._cache: dict[tuple[str, str], Execution] = {}
        self._lock = threading.Lock()
        self._processes: list[_Fresh | _Fork] = []

    def run(self, pipeline: str | os.PathLike, parameters: Mapping[str, object] | None = None, root: str = '',
            kill: Collection[str] = ()) -> Run:
        """Executes a compiled pipeline until all tasks have ended, or one has failed and those that ran have ended.

        root: of the artifacts, by default that of the pipeline. kill: tasks whose first attempt is killed when it has
        written something of its outputs.
        """
        spec, platform = read(pipeline)
        name = spec['pipelineInfo']['name']
        run = Run(uuid.uuid4().hex[:8], {})
        # driver/driver.go, RootDAG: the pipeline's name and the run's id are part of the root.
        root = f"{(root or spec['defaultPipelineRoot']).rstrip('/')}/{name}/{run.id}"
        values = root_parameters(spec, parameters or {})
        waiting = {task: set(body.get('dependentTasks', ())) for task, body in spec['root']['dag']['tasks'].items()}
        running = {}
        with concurrent.futures.ThreadPoolExecutor(self._workers) as pool, self._processes_killed():
            while running or waiting and not run.failed:
                done = run.of_state('COMPLETE') | run.of_state('CACHED')
                for task in [t for t, needed in waiting.items() if needed <= done and not run.failed]:
                    del waiting[task]
                    run.executions[task] = Execution(task, 'PENDING')
                    running[pool.submit(self._task, spec, platform, task, root, values, run, task in kill)] = task
                if not running:
                    raise BackendError(f'Tasks wait for others that do not exist: {waiting}')
                for future in concurrent.futures.wait(running, return_when='FIRST_COMPLETED').done:
                    del running[future]
                    future.result()
        return run

    @contextlib.contextmanager
    def _processes_killed(self):
        """A block at whose end no process runs any more, also if it raises."""
        try:
            yield
        finally:
            for process in self._processes:
                process.kill()

    def _task(self, spec: dict, platform: dict, task: str, root: str, values: dict, run: Run, kill: bool):
        """Drives and launches one task (driver/container.go, component/launcher_v2.go)."""
        execution = run.executions[task]
        if run.failed:
            execution.state = 'OMITTED'
            return
        body = spec['root']['dag']['tasks'][task]
        component = spec['components'][body['componentRef']['name']]
        container = spec['deploymentSpec']['executors'][component['executorLabel']]['container']
        pod = Pod(self._folder / 'pods' / f'{task}-{run.id}', {
            **secret_variables(platform.get(component['executorLabel'], {}), self._secrets), **self._environment},
            functools.partial(self._start, task))
        execution.executor_input = executor_input = {
            'inputs': resolve_inputs(body, component, values, run.executions, self._keep_types),
            'outputs': provision_outputs(component, f"{root}/{body['taskInfo']['name']}/{uuid.uuid4()}",
                                         pod.folder / 'tmp')}
        caching = body.get('cachingOptions', {}).get('enableCache', False)
        key = spec['pipelineInfo']['name'], fingerprint(cache_key(executor_input, component, container))
        with self._lock:
            cached = self._cache.get(key) if caching else None
        if cached:
            execution.outputs, execution.parameters = cached.outputs, cached.parameters
            execution.state = 'CACHED'
            return
        attempts = 1 + int(body.get('retryPolicy', {}).get('maxRetryCount', 0))
        pod.launch(execution, component, container, attempts, kill)
        if execution.state == 'COMPLETE':
            with self._lock:
                for name, artifact in execution.outputs.items():
                    self._artifacts.append(artifact)
                    artifact['name'] = str(len(self._artifacts))
                    artifact['metadata'].setdefault('display_name', name)
                if caching:
                    self._cache[key] = execution

    def _start(self, task: str, killed: bool, *how) -> '_Fresh | _Fork':
        """Starts a process of a task. killed: whether it is to be killed."""
        component = task.split('-')[0]
        with self._lock:
            forks = self._may_fork and (killed or component in self._started_fresh)
            if not forks:
                self._started_fresh.add(component)
            process = _Fork(*how, linger=float(killed)) if forks else _Fresh(*how)
            self._processes.append(process)
        return process


class _Fresh:
    """A process that runs a command."""

    def __init__(self, command: list[str], folder: pathlib.Path, environment: dict[str, str], log: pathlib.Path):
        with open(log, 'ab') as output:
            self._process = subprocess.Popen(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL,
                                             stdout=output, stderr=output, start_new_session=True)

    def exit_code(self, seconds: float | None) -> int | None:
        """Waits so long, or without a limit; None if it still runs. After a signal the code is its negative number."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)

    def kill(self):
        """Kills it and its children, if it still runs."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)


@contextlib.contextmanager
def forks_importing(*modules: str) -> Iterator[None]:
    """A block whose forks have imported these modules.

    Python has one server of forks per process, which imports when it starts. The one that other tests have is ended.
    """
    multiprocessing.forkserver._forkserver._stop()
    _FORKS.set_forkserver_preload(list(modules))
    try:
        yield
    finally:
        multiprocessing.forkserver._forkserver._stop()


_FORKS = multiprocessing.get_context('forkserver')


class _Fork:
    """The same for a command `python -c CODE ARGUMENTS`, in a process that has imported what CODE will.

    linger: seconds from the end of the code to that of the process, which in a fresh one come by themselves.
    """

    def __init__(self, command: list[str], folder: pathlib.Path, environment: dict[str, str], log: pathlib.Path,
                 linger: float):
        self._process = _FORKS.Process(target=_run_code, args=(command, folder, environment, log, linger))
        self._process.start()

    def exit_code(self, seconds: float | None) -> int | None:
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self):
        if self._process.pid and self._process.exitcode is None:
            os.killpg(self._process.pid, signal.SIGKILL)


def _run_code(command: list[str], folder: pathlib.Path, environment: dict[str, str], log: pathlib.Path, linger: float):
    """What a fork does to be as a process that was started so."""
    os.setsid()
    output = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    _, option, code, *arguments = command
    assert option == '-c'
    sys.argv = ['-c', *arguments]
    try:
        exec(code, {'__name__': '__main__'})
    finally:
        time.sleep(linger)


def read(pipeline: str | os.PathLike) -> tuple[dict, dict]:
    """The PipelineSpec of a compiled pipeline, and of its platform spec the configs of the executors, by label.

    A .yaml has the PipelineSpec and perhaps a platform spec as documents, a .json a PipelineJob.
    """
    documents = list(yaml.safe_load_all(pathlib.Path(pipeline).read_text()))
    spec = documents[0].get('pipelineSpec', documents[0])
    platform = documents[1]['platforms']['kubernetes'] if len(documents) > 1 else {}
    return spec, platform.get('deploymentSpec', {}).get('executors', {})


def secret_variables(config: dict, secrets: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """The environment that a pod has from secrets (driver/k8s.go, extendPodSpecPatch, secretAsEnv)."""
    return {variable['envVar']: secrets[secret['secretName']][variable['secretKey']]
            for secret in config.get('secretAsEnv', ()) for variable in secret['keyToEnv']}


def root_parameters(spec: dict, given: Mapping[str, object]) -> dict[str, object]:
    """The values of the pipeline's parameters: those given for the run, else the defaults of the spec.

    Raises BackendError for a name that the pipeline does not have, and for a value that is missing.
    """
    declared = spec['root'].get('inputDefinitions', {}).get('parameters', {})
    if unknown := set(given) - set(declared):
        raise BackendError(f'The pipeline has no parameter {sorted(unknown)}.')
    values = {name: body['defaultValue'] for name, body in declared.items() if 'defaultValue' in body} | dict(given)
    if missing := set(declared) - set(values):
        raise BackendError(f'The parameters {sorted(missing)} have neither a value nor a default.')
    return {name: _typed(name, value, declared[name]['parameterType']) for name, value in values.items()}


def resolve_inputs(task: dict, component: dict, root_values: Mapping[str, object],
                   executions: Mapping[str, Execution], keep_types: bool) -> dict:
    """The inputs of a task (driver/resolve.go, resolveInputs; metadata/converter.go, toRuntimeArtifact).

    An artifact has its id as `name`, and an empty type: what ML Metadata gives back has none.
    """
    declared = component.get('inputDefinitions', {})
    values = {}
    for name, source in task.get('inputs', {}).get('parameters', {}).items():
        if 'runtimeValue' in source:
            value = source['runtimeValue']['constant']
        elif 'componentInputParameter' in source:
            value = root_values[source['componentInputParameter']]
        else:
            output = source['taskOutputParameter']
            value = _producer(task, output, executions).parameters[output['outputParameterKey']]
        values[name] = _typed(name, value, declared['parameters'][name]['parameterType'])
    artifacts = {}
    for name, source in task.get('inputs', {}).get('artifacts', {}).items():
        output = source['taskOutputArtifact']
        artifact = copy.deepcopy(_producer(task, output, executions).outputs[output['outputArtifactKey']])
        artifact['type'] = declared['artifacts'][name]['artifactType'] if keep_types else {'instanceSchema': ''}
        artifacts[name] = {'artifacts': [artifact]}
    return {'parameterValues': values, 'artifacts': artifacts}


def _producer(task: dict, output: dict, executions: Mapping[str, Execution]) -> Execution:
    """The execution of a producer. Argo starts tasks by dependentTasks alone, so it must be one of those."""
    producer = output['producerTask']
    if producer not in task.get('dependentTasks', ()) or producer not in executions:
        raise BackendError(f'producer task, {producer}, not in tasks')
    return executions[producer]


def _typed(name: str, value, kind: str):
    """A parameter's value as its type demands (driver/resolve.go, handleParamTypeValidationAndConversion).

    All numbers are doubles. Anything becomes text where text is declared, and nothing else is converted.
    """
    if kind == 'STRING':
        return _text(value)
    right = {'BOOLEAN': isinstance(value, bool), 'LIST': isinstance(value, list), 'STRUCT': isinstance(value, dict)}
    if not (_is_number(value) if kind in _NUMBERS else right[kind]):
        raise BackendError(f'input parameter {name} type mismatch: expect {kind}, got {value!r}')
    return float(value) if kind in _NUMBERS else value


def _text(value) -> str:
    """A value as text (metadata/converter.go, PbValueToText): 7.0 is '7'."""
    return value if isinstance(value, str) else f'{value:.15g}' if _is_number(value) else json.dumps(value)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def provision_outputs(component: dict, uri: str, tmp: pathlib.Path) -> dict:
    """The outputs of a task (driver/driver.go, provisionOutputs): new URIs in every run, with the types of the spec.

    tmp: the pod's /tmp.
    """
    declared = component.get('outputDefinitions', {})
    return {
        'artifacts': {name: {'artifacts': [{'uri': f'{uri}/{name}', 'type': body['artifactType'],
                                            **({'metadata': body['metadata']} if 'metadata' in body else {})}]}
                      for name, body in declared.get('artifacts', {}).items()},
        'parameters': {name: {'outputFile': f'{tmp}/kfp/outputs/{name}'} for name in declared.get('parameters', {})},
        'outputFile': f'{tmp}/kfp_outputs/output_metadata.json'}


def cache_key(executor_input: dict, component: dict, container: dict) -> dict:
    """What decides whether a task is taken from the cache (cacheutils/cache.go, GenerateCacheKey; driver/cache.go).

    Of input artifacts the ids, of parameters the values, of outputs all but the URIs; the image, command and arguments
    before anything is put in for placeholders, and the environment. Resources and retries do not count.
    """
    inputs, outputs = executor_input['inputs'], executor_input['outputs']
    parameters = component.get('outputDefinitions', {}).get('parameters', {})
    return {
        'inputArtifactNames': {name: {'artifactNames': [a['name'] for a in listed['artifacts']]}
                               for name, listed in inputs['artifacts'].items()},
        'inputParameterValues': inputs['parameterValues'],
        'outputArtifactsSpec': {name: {k: v for k, v in listed['artifacts'][0].items() if k != 'uri'}
                                for name, listed in outputs['artifacts'].items()},
        'outputParametersSpec': {name: parameters[name]['parameterType'] for name in outputs['parameters']},
        'containerSpec': {'image': container['image'],
                          'cmdArgs': [*container.get('command', ()), *container.get('args', ())],
                          'env': container.get('env')}}


def fingerprint(key: dict) -> str:
    """The hash of a cache key (cacheutils/cache.go, GenerateFingerPrint): of its JSON as Go writes it."""
    text = json.dumps(_as_go(key), sort_keys=True, separators=(',', ':'), ensure_ascii=False)
    for character in '<>&\u2028\u2029':
        text = text.replace(character, f'\\u{ord(character):04x}')
    return hashlib.sha256(text.encode()).hexdigest()


def _as_go(value):
    """A JSON value without fields that are empty, and whole numbers without a point."""
    if isinstance(value, dict):
        return {key: _as_go(item) for key, item in value.items() if item not in (None, {}, [])}
    if isinstance(value, list):
        return [_as_go(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


class Pod:
    """Runs the container of one task. Retries find what an earlier attempt has left, as a mounted bucket keeps it.

    start: starts its processes (Backend._start, of the task).
    """

    def __init__(self, folder: pathlib.Path, environment: Mapping[str, str], start: Callable[..., '_Fresh | _Fork']):
        self.folder, self._environment, self._start = folder, environment, start

    def launch(self, execution: Execution, component: dict, container: dict, attempts: int, kill: bool):
        """Downloads, runs, uploads and fills in the execution (component/launcher_v2.go, executeV2)."""
        executor_input = execution.executor_input
        for name, path in self._paths(executor_input['inputs']).items():
            store(executor_input['inputs']['artifacts'][name]['artifacts'][0]['uri']).download(path)
        outputs = self._paths(executor_input['outputs'])
        for path in [*outputs.values(),
                     *(pathlib.Path(p['outputFile']) for p in executor_input['outputs']['parameters'].values())]:
            path.parent.mkdir(parents=True, exist_ok=True)
        command = self._command(executor_input, container)
        check_arguments([json.dumps(executor_input), json.dumps(component), *command])
        (self.folder / 'work').mkdir(parents=True, exist_ok=True)
        execution.log = str(self.folder / 'log')
        begin, code = time.monotonic(), 1
        while code and execution.attempts < attempts:
            execution.attempts += 1
            kills = kill and not execution.kills
            code = self._execute(command, container, outputs if kills else {})
            execution.kills += kills
        execution.seconds = time.monotonic() - begin
        if code:
            execution.state = 'FAILED'
            return
        self._collect(execution, outputs)
        execution.state = 'COMPLETE'

    def _paths(self, part: dict) -> dict[str, pathlib.Path]:
        """The local path of each artifact, in this pod (component/launcher_v2.go, LocalPathForURI)."""
        return {name: store(listed['artifacts'][0]['uri']).local_path(self.folder)
                for name, listed in part['artifacts'].items()}

    def _command(self, executor_input: dict, container: dict) -> list[str]:
        """The command with values in place of placeholders (component/launcher_v2.go, getPlaceholders)."""
        values = {'{{$}}': json.dumps(executor_input)}
        for direction in ('inputs', 'outputs'):
            paths = self._paths(executor_input[direction])
            for name, listed in executor_input[direction]['artifacts'].items():
                values[f"{{{{$.{direction}.artifacts['{name}'].uri}}}}"] = listed['artifacts'][0]['uri']
                values[f"{{{{$.{direction}.artifacts['{name}'].path}}}}"] = str(paths[name])
        for name, value in executor_input['inputs']['parameterValues'].items():
            values[f"{{{{$.inputs.parameters['{name}']}}}}"] = _text(value)
        for name, body in executor_input['outputs']['parameters'].items():
            values[f"{{{{$.outputs.parameters['{name}'].output_file}}}}"] = body['outputFile']
        words = [*container.get('command', ()), *container.get('args', ())]
        for placeholder, value in values.items():
            words = [word.replace(placeholder, value) for word in words]
        return words

    def _execute(self, command: list[str], container: dict, kill_at: Mapping[str, pathlib.Path]) -> int:
        """Runs the command in an image's environment; returns its exit code.

        kill_at: paths of outputs. When one of them has been written to, the process and its children are killed.
        """
        for name in ('tmp', 'home'):
            (self.folder / name).mkdir(exist_ok=True)
        environment = {
            'PATH': os.pathsep.join([os.path.dirname(sys.executable), '/usr/bin', '/bin']),
            'PYTHONPATH': str(REPOSITORY), 'PYTHONDONTWRITEBYTECODE': '1',  # the package is installed in the image
            'HOME': str(self.folder / 'home'), 'TMPDIR': str(self.folder / 'tmp'),
            **{variable['name']: variable['value'] for variable in container.get('env', ())}, **self._environment}
        process = self._start(bool(kill_at), command, self.folder / 'work', environment, self.folder / 'log')
        while kill_at and process.exit_code(0.005) is None:
            if any(map(_has_content, kill_at.values())):
                process.kill()
        code = process.exit_code(None)
        assert code is not None  # there was no limit
        if kill_at and code != -signal.SIGKILL:
            raise BackendError(f'{command} ended with {code} before it could be killed: see {self.folder}/log')
        return code

    def _collect(self, execution: Execution, paths: Mapping[str, pathlib.Path]):
        """Takes parameters and metadata from the output file, and uploads (launcher_v2.go, uploadOutputArtifacts).

        Of an artifact the URI and each entry of the metadata are replaced by what the output file says. A path that is
        not there is not uploaded. Raises BackendError for metadata that ML Metadata cannot hold.
        """
        outputs = execution.executor_input['outputs']
        file = pathlib.Path(outputs['outputFile'])
        written = json.loads(file.read_text()) if file.exists() else {}
        execution.parameters = written.get('parameterValues', {})
        for name in set(outputs['parameters']) - set(execution.parameters):
            execution.parameters[name] = pathlib.Path(outputs['parameters'][name]['outputFile']).read_text()
        for name, listed in outputs['artifacts'].items():
            artifact = listed['artifacts'][0]
            said = (written.get('artifacts', {}).get(name, {}).get('artifacts') or [{}])[0]
            merged = {'uri': said.get('uri') or artifact['uri'],
                      'metadata': {**artifact.get('metadata', {}), **said.get('metadata', {})}}
            store(merged['uri']).upload(paths[name])
            merged['metadata'] = {key: _recorded(key, value) for key, value in merged['metadata'].items()}
            execution.outputs[name] = merged


def _recorded(key: str, value):
    """A value of metadata as it comes back (metadata/converter.go): numbers are doubles, true is 1.0, no null."""
    if isinstance(value, (bool, int, float)):
        return float(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (list, dict)):
        return {'list' if isinstance(value, list) else 'struct': value}
    raise BackendError(f'unknown/unsupported value type of {key}: {value!r}')


def check_arguments(words: list[str]):
    """Raises BackendError for an argument that Linux does not take; the launcher has two of its own (driver.go)."""
    for word in words:
        if len(word.encode()) >= LONGEST_ARGUMENT:
            raise BackendError(f'argument list too long: {len(word.encode())} bytes: {word[:80]}...')


def _has_content(path: pathlib.Path) -> bool:
    """Whether there is a file at a path or anywhere below it."""
    return path.is_file() or any(names for _, _, names in os.walk(path))


def store(uri: str) -> 'ObjectStore | MountedBucket':
    """The store of a URI. On KFP the endpoint and credentials of a store come from a secret; here, the environment."""
    scheme = uri.split('://')[0]
    if scheme not in ('s3', 'minio', 'gs'):
        raise BackendError(f'failed to generate local path for URI {uri}: unsupported storage scheme')
    return MountedBucket(uri) if scheme == 'gs' else ObjectStore(uri)


class ObjectStore:
    """A URI of an S3 server (objectstore/object_store.go)."""

    def __init__(self, uri: str):
        self._scheme, _, rest = uri.partition('://')
        self._bucket, _, self._key = rest.partition('/')

    def local_path(self, pod: pathlib.Path) -> pathlib.Path:
        return pod / self._scheme / self._bucket / self._key

    def download(self, path: pathlib.Path):
        """Downloads the object of this name, or those below it, markers of folders too (DownloadBlob)."""
        for key in self._keys():
            target = pathlib.Path(os.path.normpath(path / os.path.relpath(key, self._key)))
            target.parent.mkdir(parents=True, exist_ok=True)
            _client().download_file(self._bucket, key, str(target))

    def upload(self, path: pathlib.Path):
        """Uploads a file, or all files of a folder; nothing if there is nothing (UploadBlob)."""
        if path.is_file():
            _client().upload_file(str(path), self._bucket, self._key)
        for file in sorted(p for p in path.rglob('*') if p.is_file()):
            _client().upload_file(str(file), self._bucket, f'{self._key}/{file.relative_to(path)}')

    def _keys(self) -> Iterator[str]:
        for page in _client().get_paginator('list_objects_v2').paginate(Bucket=self._bucket, Prefix=self._key):
            for item in page.get('Contents', ()):
                if item['Key'] == self._key or item['Key'].startswith(f'{self._key}/'):
                    yield item['Key']


class MountedBucket:
    """A gs:// URI as Vertex AI shows it to all containers: a folder. Nothing is downloaded or uploaded."""

    def __init__(self, uri: str):
        self._path = uri.removeprefix('gs://')

    def local_path(self, pod: pathlib.Path) -> pathlib.Path:
        return pod.parent.parent / 'gcs' / self._path

    def download(self, path: pathlib.Path):
        pass

    def upload(self, path: pathlib.Path):
        pass


_clients = threading.local()


def _client():
    """The thread's client, with endpoint and credentials of the environment."""
    import boto3
    if getattr(_clients, 'endpoint', None) != os.environ.get('AWS_ENDPOINT_URL'):
        _clients.endpoint = os.environ.get('AWS_ENDPOINT_URL')
        _clients.s3 = boto3.session.Session().client('s3')
    return _clients.s3

