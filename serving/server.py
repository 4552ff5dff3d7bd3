"""ModelServer, the embedded server. It answers TensorFlow Serving's REST and gRPC requests from version directories.

Use it within a process (`with ModelServer(base_path, port=0) as server: server.url`), or let foreground.serve block
(`polyvit serve`). It binds 127.0.0.1 by default and authenticates nobody: put a proxy in front before others can reach
it.
"""

import asyncio
import concurrent.futures
import os
import threading
import time
import typing

from model_code import words
from model_code.errors import ConfigError
from model_code.logger import logger
from serving import api
from serving.batching import Scheduler
from serving.batching_settings import Settings
from serving.limits import Limits
from serving.logs import AccessLog
from serving.rest import RestFront
from serving.saved_model import SavedModel, give_back_free_memory
from serving.versions import ModelVersions

_GROWTH_BYTES = 32 << 20  # after which freed memory is given back
_LOOK_SECONDS = 1.0  # between two looks at it
_LAST_SECONDS = 1.0  # for each thread, once the time for requests is over


class ModelServer:
    """Serves models until `stop`. Also a context manager.

    base_path: the folder that holds the version directories of one model, which is served as `model_name`. models:
    several models (see foreground.read_model_config), in place of base_path and model_name. port, grpc_port: 0 picks a
    free port, and None for grpc_port serves no gRPC. After `start`, `port`, `grpc_port` and `url` are the real ones.
    poll_seconds: the time between two looks at the version directories. batching: how requests share runs; None for a
    run per request. has_page: whether `/` is a page to try the models (serving/page.py).

    `start` raises ConfigError if a port is taken, or none.
    """

    def __init__(self, base_path: str | os.PathLike | None = None, models: typing.Sequence[ModelVersions] | None = None,
                 model_name: str = 'polyvit', port: int = 8501, grpc_port: int | None = None, host: str = '127.0.0.1',
                 poll_seconds: float = 1.0, limits: Limits = Limits(), cors: bool = False,
                 batching: Settings | None = Settings(), access_log: AccessLog | None = None, has_page: bool = False):
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
        self._access_log = access_log
        self.has_page = has_page
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._batching = batching
        self._scheduler: Scheduler | None = None
        self._pool: concurrent.futures.ThreadPoolExecutor | None = None
        self.unfinished = ''
        self._front: RestFront | None = None
        self._runner = None
        self._grpc_front = None

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
        for port in (self.port, self.grpc_port or 0):
            if not 0 <= port <= 65535:
                raise ConfigError(f'There is no port {port:,}. Ports are from 1 to 65535; 0 takes a free one.')
        self._scheduler = Scheduler(self._batching, self._limits.workers, self._limits.max_decoded_bytes)
        for model in self.models:
            model.scheduler = self._scheduler
        # Threads that wait for the scheduler, whose threads do the work.
        self._pool = pool = concurrent.futures.ThreadPoolExecutor(self._limits.max_requests, 'predict')
        self._loop = loop = asyncio.new_event_loop()
        loop.set_exception_handler(_on_loop_error)
        try:
            self._start_thread(lambda: _run_loop(loop), 'rest')
            self.port = asyncio.run_coroutine_threadsafe(self._bind(pool), loop).result()
            if self.grpc_port is not None:
                from serving import grpc_front  # in this thread: TensorFlow's import would keep REST from answering
                self.grpc_port = self._in_loop(self._bind_grpc(grpc_front.GrpcFront, self.grpc_port))
            # The slow part comes last. Meanwhile metadata answers 404, and status says LOADING.
            self._poll()
            self._start_thread(self._keep_polling, 'versions')
            self._start_thread(self._keep_memory_low, 'memory')
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        """Refuses new requests at once, lets those in progress finish, unloads the models.

        It takes at most limits.shutdown_timeout_s, and a few seconds. A graph that runs, and a version that is being
        loaded, cannot be interrupted: afterwards `unfinished` says in words what goes on in threads, which hold a
        process that does not end by os._exit.
        """
        until = time.monotonic() + self._limits.shutdown_timeout_s
        self._ended.set()
        self.models.stopping = True
        grpc_ended, left = None, 0
        if self._loop is not None and self._loop.is_running():
            if self._grpc_front is not None:
                grpc_ended = asyncio.run_coroutine_threadsafe(
                    self._grpc_front.stop(self._limits.shutdown_timeout_s), self._loop)
            if self._front is not None:
                left = self._in_loop(self._front.drain(max(0.0, until - time.monotonic())))
            if self._runner is not None:
                self._in_loop(self._runner.cleanup())
            if grpc_ended is not None:
                try:
                    left += grpc_ended.result(max(0.0, until - time.monotonic()) + _LAST_SECONDS)
                except concurrent.futures.TimeoutError:
                    left += 1
            self._loop.call_soon_threadsafe(self._loop.stop)
        for thread in self._threads:
            thread.join(_LAST_SECONDS)  # no request waits for the version that one of them may be loading
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if self._pool is not None:
            self._pool.shutdown(wait=not left, cancel_futures=True)
        if self._scheduler is not None:
            self._scheduler.close()
        for model in self.models:
            model.close()
        loading = 'a version that is being loaded' if self._threads else ''
        self.unfinished = words.count(left, 'request') if left else loading

    def _in_loop(self, coroutine):
        assert self._loop is not None
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _start_thread(self, target, name: str):
        thread = threading.Thread(target=target, name=f'serving-{name}', daemon=True)
        self._threads.append(thread)
        thread.start()

    async def _bind(self, pool: concurrent.futures.Executor) -> int:
        from aiohttp import web
        self._front = RestFront(self.models, self._limits, pool, self._cors, self._access_log,
                                self.has_page)
        self._runner = self._front.runner()
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port).start()
        except OSError as error:
            raise ConfigError(f'The server cannot listen on port {self.port} of {self.host}: {error.strerror}. '
                              'Choose another --port or --host, or stop what uses it.') from error
        return self._runner.addresses[0][1]

    async def _bind_grpc(self, make_front, port: int) -> int:
        self._grpc_front = make_front(self.models, self._limits, self._access_log)
        try:
            return await self._grpc_front.start(self.host, port)
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

    def _keep_memory_low(self):
        """In a thread of its own: a poll may load a version, for minutes on a busy machine."""
        held, until = _resident_bytes(), 0.0
        while not self._ended.wait(_LOOK_SECONDS):
            if _resident_bytes() > held + _GROWTH_BYTES:  # what large requests leave behind, once they have ended
                until = time.monotonic() + self._limits.timeout_s + _LOOK_SECONDS
            if time.monotonic() < until:
                give_back_free_memory()
                held = _resident_bytes()


def _resident_bytes() -> int:
    """The memory of this process; 0 where /proc does not say."""
    try:
        with open('/proc/self/statm', encoding='ascii') as file:
            return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')
    except (OSError, ValueError, IndexError):
        return 0


def _on_loop_error(loop: asyncio.AbstractEventLoop, context: dict):
    """Logs what went wrong in the loop, as it would without this function.

    But not that another server of this process was faster to read that gRPC has news: it has taken them for both.
    """
    if not (isinstance(context.get('exception'), BlockingIOError)
            and 'PollerCompletionQueue' in context.get('message', '')):
        loop.default_exception_handler(context)


def _run_loop(loop: asyncio.AbstractEventLoop):
    asyncio.set_event_loop(loop)
    loop.run_forever()
    left = asyncio.all_tasks(loop)  # requests whose graph did not end in time
    for task in left:
        task.cancel()
    loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
    loop.close()
