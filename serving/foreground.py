"""`polyvit serve`: a ModelServer until a signal, for a folder of version directories, its URL, or several models."""

import contextlib
import os
import shlex
import shutil
import signal
import sys
import threading
import typing

from model_code import file_io, signature_names
from model_code.errors import ConfigError
from model_code.urls import is_url
from serving import logs, signed_versions, sync, version_directories
from serving.addresses import REST_URL
from serving.batching_settings import Settings
from serving.errors import ServingError
from serving.limits import Limits
from serving.logs import AccessLog
from serving.saved_model import SavedModel, task_names
from serving.server import ModelServer
from serving.versions import ModelVersions, Policy

_LOOK_SECONDS = 1.0  # between two looks at what is served


def read_model_config(path: str | os.PathLike,
                      load: typing.Callable[[str], typing.Any] = SavedModel) -> list[ModelVersions]:
    """The models of a TensorFlow Serving model config file (a ModelServerConfig as text). Raises ConfigError.

    load: as in ModelVersions.
    """
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
            model.name, model.base_path, load,
            Policy(latest=policy.latest.num_versions or 1 if choice == 'latest' else 1,
                   specific=tuple(policy.specific.versions) if choice == 'specific' else (), every=choice == 'all'),
            dict(model.version_labels)))
    if not models:
        raise ConfigError(f'The model config file {path} has no model. Its model_config_list needs one or more.')
    return models


def _check_directory(path: str):
    if is_url(path):
        raise ConfigError(f'{path} is a URL; a model config names folders of this machine. `polyvit sync {path} DIR '
                          '--every 10` keeps one up to date.')
    file_io.check_no_pattern(path, 'Rename the folder, or copy it elsewhere.')
    if not os.path.isdir(path):
        raise ConfigError(f'There is no directory {path} to serve from. Give the folder of version directories (1, 2, '
                          '...) that `polyvit run` pushes to.')


def serve(directory: str | None, model_name: str = 'polyvit', port: int = 8501, grpc_port: int | None = 8500,
          host: str = '127.0.0.1', model_config: str | None = None, program: str = 'polyvit',
          samples: dict[str, str] | None = None, cors: bool = False, limits: Limits = Limits(),
          access_log: str = '', batching: Settings | None = Settings(), public_keys: str = '',
          has_page: bool = True):
    """Serves the versions in `directory`, or the models of `model_config`, until SIGTERM or SIGINT (Ctrl-C).

    Requests in progress then finish, for at most limits.shutdown_timeout_s; if one does not, the process ends anyway. A
    second signal ends it at once, as does the first while models are loaded.
    directory: may be behind a URL; then it is copied to a temporary folder, which follows it (see sync.py).

    cors: pages of other origins may ask it from a browser.

    Says at once what it loads, and once it is ready what it serves, with commands to try. program: how the command line
    is called here. samples: task -> a file to try it with. access_log: a file; '-' is standard output, and '' none.
    batching: how requests share runs of a model; None for a run per request. public_keys: a PEM file; a version that
    none of its keys signed is not served. has_page: whether `/` is a page to try the models.

    Raises ConfigError if the directory does not exist, the model config or the file of keys is wrong, or a port is
    taken.
    """
    os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')  # errors come as exceptions
    os.environ.setdefault('GRPC_VERBOSITY', 'NONE')  # its C++ core logs without a limit
    copied, source = '', ''
    models: list[ModelVersions] | None = None
    keys = signed_versions.read_public_keys(public_keys) if public_keys else None
    load = signed_versions.verified(SavedModel, keys) if keys else SavedModel
    if model_config is not None:
        models = read_model_config(model_config, load)
    elif directory is None:
        raise ConfigError('There is nothing to serve. Give the folder of version directories, or --model-config.')
    elif is_url(directory):
        source = directory
    else:
        _check_directory(directory)
    copying = bool(source)
    ready, ended, copies = threading.Event(), threading.Event(), contextlib.ExitStack()

    def end(number, _):
        if copying:
            sys.exit(128 + number)  # which removes the copy
        if ended.is_set() or not ready.is_set():
            shutil.rmtree(copied, ignore_errors=True)
            os._exit(128 + number)
        ended.set()

    handlers = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if copying:
            _say(f'Copying the newest versions from {source}')
            directory = copied = copies.enter_context(sync.mirrored(source, _say, keys))
            copying = False
        if models is None:
            assert directory is not None
            # What was copied has been verified.
            models = [ModelVersions(model_name, os.fspath(directory), SavedModel if source else load)]
        requests_log = AccessLog(access_log) if access_log else None
        server = ModelServer(models=models, port=port, grpc_port=grpc_port, host=host, limits=limits, cors=cors,
                             access_log=requests_log, batching=batching, has_page=has_page)
        with logs.limited_standard_error(limits.max_log_lines), logs.one_line_per_incident(limits.max_log_lines):
            _serve_until(ended, server, ready, program, samples or {}, source)
        if server.unfinished:
            copies.close()
            print(f'Stopped without {server.unfinished}.', file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)
    finally:
        copies.close()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _serve_until(ended: threading.Event, server: ModelServer, ready: threading.Event, program: str,
                 samples: dict[str, str], source: str):
    """Sets `ready` once the models are loaded, and says so. source: the URL of which the base path is a copy, or ''."""
    for model in server.models:
        _say(loading_text(model, source))
    with server:
        ready.set()
        said = {}
        for model in server.models:
            said[model.name] = serving_text(model, source)
            _say(ready_text(server, model.name, program, samples, source))
        while not ended.wait(_LOOK_SECONDS):
            for model in server.models:
                text = serving_text(model, source)
                if text != said[model.name]:
                    said[model.name] = text
                    _say(text)
        print('Stopping. Requests in progress finish first.', file=sys.stderr, flush=True)


def _say(text: str):
    print(text, flush=True)


def loading_text(model: ModelVersions, source: str = '') -> str:
    """What to tell people before the server loads a model, which may take a minute. source: as in _serve_until."""
    newest = max(version_directories.list_models(model.base_path), default=None)
    where = source or model.base_path
    return (f'There is no version of model {model.name} in {where} yet.' if newest is None else
            f'Loading version {newest} of model {model.name} from {where}')


def serving_text(model: ModelVersions, source: str = '') -> str:
    """Which version is served, for people who wait for another one. source: as in _serve_until."""
    try:
        with model.acquire() as (version, _):
            pass
    except ServingError:
        return f'No version of model {model.name} is served.'
    if version_directories.list_versions(model.base_path):
        return f'Serving version {version} of model {model.name}.'
    return (f'There is no version of model {model.name} in {source or model.base_path} any more. Version {version} is '
            'still served until the server ends.')


def ready_text(server: ModelServer, name: str, program: str = 'polyvit', samples: dict[str, str] | None = None,
               source: str = '') -> str:
    """What to tell people once the server runs: a model's URL, version and tasks, and commands to try.

    program, samples: as in `serve`. source: as in _serve_until.
    """
    url = f'{server.url}/v1/models/{name}'
    try:
        with server.models.acquire(name) as (version, model):
            signatures = model.signatures
    except ServingError:
        looks = f'in {source} every {sync.EVERY_SECONDS:g} seconds' if source else 'every second'
        return f'Model {name} has no version to serve yet. The server looks for one {looks}; {url} shows why.'
    tasks = task_names(signatures)
    grpc_part = f' (gRPC {server.host}:{server.grpc_port})' if server.grpc_port is not None else ''
    lines = [f'Model {name}, version {version}, is served at {url}{grpc_part}. Tasks: {", ".join(tasks)}.', 'Try:']
    options = ([] if server.url == REST_URL else ['--url', server.url]) + (
        [] if name == 'polyvit' else ['--model-name', name])
    tried = {}  # the inputs of a task, which tell its modality -> the first task that has them, one with a file if any
    for task in sorted(tasks, key=lambda task: task not in (samples or {})):
        if signature_names.scores(task) in signatures:
            tried.setdefault(tuple(signatures[task].inputs), task)
    for task in tried.values():
        lines.append(f'  {program} {shlex.join(["predict", task, (samples or {}).get(task, "FILE"), *options])}')
    page = [f'  {server.url}/ in a browser'] if server.has_page else []
    return '\n'.join([*lines, f'  curl {url}', *page])
