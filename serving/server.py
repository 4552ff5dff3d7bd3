"""ModelServer, the embedded server. It answers TensorFlow Serving's REST and gRPC requests from version directories.

Use it within a process (`with ModelServer(base_path, port=0) as server: server.url`), or let `serve` block (`polyvit
serve`). It binds 127.0.0.1 by default and authenticates nobody: put a proxy in front before others can reach it.
"""

import asyncio
import concurrent.futures
import os
import shlex
import signal
import sys
import threading
import typing

from model_code.errors import ConfigError
from model_code.logger import logger
from serving import api, version_directories
from serving.errors import ServingError
from serving.rest import Limits, RestFront
from serving.saved_model import SavedModel, task_names
from serving.versions import ModelVersions, Policy


class ModelServer:
    """Serves models until `stop`. Also a context manager.

    base_path: the folder that holds the version directories of one model, which is served as `model_name`. models:
    several models (see `read_model_config`), in place of base_path and model_name. port, grpc_port: 0 picks a free
    port, and None for grpc_port serves no gRPC. After `start`, `port`, `grpc_port` and `url` are the real ones.
    poll_seconds: the time between two looks at the version directories.

    `start` raises ConfigError if a port is taken.
    """

    def __init__(self, base_path: str | os.PathLike | None = None, models: typing.Sequence[ModelVersions] | None = None,
                 model_name: str = 'polyvit', port: int = 8501, grpc_port: int | None = None, host: str = '127.0.0.1',
                 poll_seconds: float = 1.0, limits: Limits = Limits(), cors: bool = False):
        if models is None:
            assert base_path is not None, 'Give base_path or models.'
            models = [ModelVersions(model_name, os.fspath(base_path), SavedModel)]
        self.models = api.Models(list(models))
        self.host = host
        self.port = port
        self.grpc_port = grpc_port
        self._poll_seconds = poll_seconds
        self._limits = limits
        self._cors = cors
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self._runner = None
        self._grpc_server = None

    @property
    def url(self) -> str:
        host = f'[{self.host}]' if ':' in self.host else self.host
        return f'http://{host}:{self.port}'

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def start(self) -> 'ModelServer':
        """Binds the ports, loads the models, and returns. From then on the server answers and polls the directories.

        A model without a version that can be loaded is no error here: `models.status(name)` has the versions' errors.
        """
        self._pool = pool = concurrent.futures.ThreadPoolExecutor(self._limits.workers, 'predict')
        self._loop = loop = asyncio.new_event_loop()
        try:
            self._start_thread(lambda: _run_loop(loop), 'rest')
            self.port = asyncio.run_coroutine_threadsafe(self._bind(pool), loop).result()
            if self.grpc_port is not None:
                self._bind_grpc(self.grpc_port)
            # The slow part comes last. Meanwhile metadata answers 404, and status says LOADING.
            self._poll()
            self._start_thread(self._keep_polling, 'versions')
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Stops cleanly: takes no new request, lets running ones finish (until their deadline), unloads the models."""
        self._ended.set()
        if self._grpc_server is not None:
            self._grpc_server.stop(self._limits.timeout_s).wait()
        if self._loop is not None and self._loop.is_running():
            if self._runner is not None:
                asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join()
        self._threads = []
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        for model in self.models:
            model.close()

    def _start_thread(self, target, name: str):
        thread = threading.Thread(target=target, name=f'serving-{name}', daemon=True)
        self._threads.append(thread)
        thread.start()

    async def _bind(self, pool: concurrent.futures.Executor) -> int:
        from aiohttp import web
        front = RestFront(self.models, self._limits, pool, self._cors)
        self._runner = front.runner(shutdown_timeout=self._limits.timeout_s)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            raise ConfigError(f'The server cannot listen on port {self.port} of {self.host}: {error.strerror}. '
                              'Choose another --port or --host, or stop what uses it.') from error
        return self._runner.addresses[0][1]

    def _bind_grpc(self, port: int):
        from serving import grpc_front
        try:
            self._grpc_server, self.grpc_port = grpc_front.start(self.models, self.host, port, self._limits)
        except RuntimeError as error:
            raise ConfigError(f'The server cannot listen on gRPC port {port} of {self.host}: {error}. '
                              'Choose another --grpc-port, or stop what uses it.') from error

    def _poll(self):
        for model in self.models:
            try:
                model.poll()
            except Exception as error:  # a directory that cannot be read now may be readable soon
                logger.warning('Cannot look for versions of model %s in %s: %s', model.name, model.base_path, error)

    def _keep_polling(self):
        while not self._ended.wait(self._poll_seconds):
            self._poll()


def _run_loop(loop: asyncio.AbstractEventLoop):
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def read_model_config(path: str | os.PathLike) -> list[ModelVersions]:
    """The models of a TensorFlow Serving model config file (a ModelServerConfig as text). Raises ConfigError."""
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2
    try:
        with open(path, encoding='utf-8') as file:
            config = text_format.Parse(file.read(), model_server_config_pb2.ModelServerConfig())
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'The model config file {path} cannot be read: {error}. Give a text file with a '
                          'model_config_list.') from None
    except text_format.ParseError as error:
        raise ConfigError(f'The model config file {path} is not a valid ModelServerConfig: {error}. See TensorFlow '
                          "Serving's --model_config_file.") from None
    models = []
    for model in config.model_config_list.config:
        if not model.name or not model.base_path:
            raise ConfigError(f'The model config file {path} has a model without name or base_path. Each needs both.')
        if any(model.name == other.name for other in models):
            raise ConfigError(f'The model config file {path} names {model.name!r} twice. Names must differ.')
        _check_directory(model.base_path)
        policy = model.model_version_policy
        choice = policy.WhichOneof('policy_choice')
        models.append(ModelVersions(
            model.name, model.base_path, SavedModel,
            Policy(latest=policy.latest.num_versions or 1 if choice == 'latest' else 1,
                   specific=tuple(policy.specific.versions) if choice == 'specific' else (), every=choice == 'all'),
            dict(model.version_labels)))
    if not models:
        raise ConfigError(f'The model config file {path} has no model. Its model_config_list needs one or more.')
    return models


def _check_directory(path: str):
    if not os.path.isdir(path):
        raise ConfigError(f'There is no directory {path} to serve from. Give the folder of version directories (1, 2, '
                          '...) that `polyvit run` pushes to.')


def serve(directory: str | None, model_name: str = 'polyvit', port: int = 8501, grpc_port: int | None = 8500,
          host: str = '127.0.0.1', model_config: str | None = None, program: str = 'polyvit',
          samples: dict[str, str] | None = None):
    """Serves the versions in `directory`, or the models of `model_config`, until SIGTERM or SIGINT (Ctrl-C).

    Running requests then finish. A second signal ends the process at once, as does the first while models are loaded.

    Says at once what it loads, and once it is ready what it serves, with commands to try. program: how the command line
    is called here. samples: task -> a file to try it with.

    Raises ConfigError if the directory does not exist, the model config is wrong, or a port is taken.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # errors come as exceptions
    if model_config is None:
        if directory is None:
            raise ConfigError('There is nothing to serve. Give the folder of version directories, or --model-config.')
        _check_directory(directory)
        models = None
    else:
        models = read_model_config(model_config)
    ready, ended = threading.Event(), threading.Event()

    def end(number, _):
        if ended.is_set() or not ready.is_set():
            os._exit(128 + number)
        ended.set()

    handlers = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server = ModelServer(directory, models, model_name, port, grpc_port, host)
        for model in server.models:
            print(loading_text(model), flush=True)
        with server:
            ready.set()
            for model in server.models:
                print(ready_text(server, model.name, program, samples or {}), flush=True)
            ended.wait()
            print('Stopping. Running requests finish first.', file=sys.stderr, flush=True)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def loading_text(model: ModelVersions) -> str:
    """What to tell people before the server loads a model, which may take a minute."""
    newest = max(version_directories.list_models(model.base_path), default=None)
    return (f'There is no version of model {model.name} in {model.base_path} yet.' if newest is None else
            f'Loading version {newest} of model {model.name} from {model.base_path}')


def ready_text(server: ModelServer, name: str, program: str = 'polyvit', samples: dict[str, str] | None = None) -> str:
    """What to tell people once the server runs: a model's URL, version and tasks, and commands to try.

    program, samples: as in `serve`.
    """
    url = f'{server.url}/v1/models/{name}'
    try:
        with server.models.acquire(name) as (version, model):
            signatures = model.signatures
    except ServingError:
        return (f'Model {name}, at {url}, has no version to serve yet. The server looks for one every second; this '
                'URL shows why.')
    tasks = task_names(signatures)
    grpc_part = f' (gRPC {server.host}:{server.grpc_port})' if server.grpc_port is not None else ''
    lines = [f'Model {name}, version {version}, is served at {url}{grpc_part}. Tasks: {", ".join(tasks)}.', 'Try:']
    options = ([] if server.url == api.DEFAULT_URL else ['--url', server.url]) + (
        [] if name == 'polyvit' else ['--model-name', name])
    tried = {}  # the inputs of a task, which tell its modality -> the first task that has them, one with a file if any
    for task in sorted(tasks, key=lambda task: task not in (samples or {})):
        if f'{task}_scores' in signatures:
            tried.setdefault(tuple(signatures[task].inputs), task)
    for task in tried.values():
        lines.append(f'  {program} {shlex.join(["predict", task, (samples or {}).get(task, "FILE"), *options])}')
    return '\n'.join([*lines, f'  curl {url}'])
