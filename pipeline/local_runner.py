"""Runs a config on this machine: BeamDagRunner, SQLite metadata, progress on the screen, noise in a log file."""

import contextlib
import dataclasses
import datetime
import fcntl
import json
import logging
import os
import pathlib
import re
import sys
import threading
import time
import traceback

from rich.console import Console
from rich.text import Text

from components.serving_baseline.versions import list_versions, newest_version
from model_code.errors import ConfigError, PipelineStop
from model_code.logger import logger
from pipeline import checks, environment, fingerprints, summary
from pipeline.config import PipelineConfig

PUSHED, FAILED, REFUSED = 0, 1, 3


class Screen:
    """Lines for a person: a component's name when it starts, its time when it ends, messages between.

    On a terminal the running component is a spinner with its time; elsewhere it is a line, and a sign of life follows
    every 30 seconds without news. Called from several threads.
    """
    QUIET_SECONDS = 30

    def __init__(self, file, total: int = 0):
        self._console = Console(file=file, width=None if file.isatty() else 120, highlight=False, markup=False,
                                soft_wrap=True, emoji=False)
        self._total, self._count, self._file = total, 0, file
        self._lock = threading.RLock()
        self._status = None
        self._open_line = False
        self._running, self._since, self._news = '', 0.0, 0.0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._heartbeat, daemon=True)
        self._thread.start()

    def set_total(self, total: int):
        self._total, self._count = total, 0

    def print(self, text: str = ''):
        with self._lock:
            self._close_line()
            self._console.print(text)
            self._news = time.monotonic()

    def start(self, node: str):
        with self._lock:
            self._count += 1
            self._running, self._since = self._title(node), time.monotonic()
            self._news = self._since
            if self._console.is_terminal:
                self._status = self._console.status(Text(self._running))  # a plain string would be read as markup
                self._status.start()
            else:
                self._console.print(self._running, end='')
                self._open_line = True
                self._file.flush()

    def finish(self, result: str):
        with self._lock:
            if self._status:
                self._status.stop()
                self._status = None
            title, self._running = self._running, ''
            self._console.print(result if self._open_line else f'{title}{result}')
            self._open_line = False
            self._file.flush()

    def close(self):
        self._end.set()
        self._thread.join()
        with self._lock:
            if self._status:
                self._status.stop()
                self._status = None
            self._close_line()

    def _title(self, node: str) -> str:
        if not self._total:
            return f'{"":8}{node:<40}'
        component, _, task = node.partition('_')
        return f'[{self._count:>2}/{self._total}] {component:<16}{task:<24}'

    def _close_line(self):
        if self._open_line:
            self._console.print()
            self._open_line = False

    def _heartbeat(self):
        while not self._end.wait(1):
            with self._lock:
                if not self._running:
                    continue
                seconds = time.monotonic() - self._since
                if self._status:
                    self._status.update(Text(f'{self._running}{summary.duration(seconds)}'))
                elif time.monotonic() - self._news >= self.QUIET_SECONDS:
                    self.print(f'        still running, {summary.duration(seconds)}')


class _ScreenHandler(logging.Handler):
    """The messages of model_code.logger on the screen, indented below their component.

    Paths below the current directory are shown relative to it, as everywhere on the screen.
    """

    def __init__(self, screen: Screen):
        super().__init__(logging.INFO)
        self._screen = screen

    def emit(self, record):
        for line in record.getMessage().replace(os.getcwd() + os.sep, '').splitlines():
            self._screen.print(f'        {line}')


@contextlib.contextmanager
def quiet(log_path: pathlib.Path):
    """Sends all that is written to the file descriptors 1 and 2 to a log file; yields the real standard output.

    The descriptors, not sys.stdout: TensorFlow, gRPC and absl's C++ halves write to them past Python.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    log = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # A Python stream of its own, because sys.stdout may be a test's, or block-buffered.
    stream = open(log_path, 'a', buffering=1, errors='replace')
    streams = sys.stdout, sys.stderr
    sys.stdout = sys.stderr = stream
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter('%(asctime)s %(levelname).1s %(name)s: %(message)s'))
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)
    screen_file = os.fdopen(os.dup(saved[0]), 'w', errors='replace')
    try:
        yield screen_file
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        sys.stdout, sys.stderr = streams
        for descriptor, copy in zip((1, 2), saved):
            os.dup2(copy, descriptor)
            os.close(copy)
        screen_file.close()


@contextlib.contextmanager
def _one_run_at_a_time(root: pathlib.Path):
    """Two runs under one root would write one metadata file and push over each other."""
    root.mkdir(parents=True, exist_ok=True)
    with open(root / '.lock', 'w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(f'Another run is under way in {root}. Wait for it, or give this one another --root.')
        yield


def baseline(serving_dir, run_key: str) -> tuple[str, str | None]:
    """(baseline_version, push_nonce) for a run; the nonce is None where a new one is needed.

    The baseline is what is being served: the newest version. But where that very version came from an equal run (its
    card has the same run_key), then the run's own baseline and nonce are taken from the card: all exec properties
    equal that run's, so the cache answers for everything and nothing is compared with itself or pushed twice.
    """
    versions = list_versions(str(serving_dir))
    if not versions:
        return '', None
    newest = str(versions[-1])
    card = summary.read_card(serving_dir, newest)
    if card.get('run_key') == run_key and card.get('push_nonce'):
        earlier = str(card.get('baseline_version', ''))
        if not earlier or earlier in map(str, versions):
            return earlier, card['push_nonce']
    return newest, None


def run(config: PipelineConfig, debug: bool = False, say_next: bool = True) -> int:
    """Runs the pipeline; returns the exit code: 0 pushed or unchanged, 1 failed, 3 refused by the gate.

    debug: print tracebacks. say_next: end with what to type next.

    Raises ConfigError, before anything is written, where the config or its data are wrong.
    """
    facts = checks.check(config)
    key = fingerprints.run_key(config, facts.fingerprints)
    started = time.monotonic()
    with _one_run_at_a_time(config.run_root):
        log_path = config.run_root / 'logs' / f'run-{datetime.datetime.now():%Y%m%d-%H%M%S}.log'
        with quiet(log_path) as file:
            screen = Screen(file)
            handler = _ScreenHandler(screen)
            level = logger.level
            logger.addHandler(handler)
            logger.setLevel(logging.INFO)
            try:
                return _run(config, facts, key, screen, log_path, started, debug, say_next)
            finally:
                logger.removeHandler(handler)
                logger.setLevel(level)
                screen.close()


def _run(config, facts, key, screen, log_path, started, debug, say_next) -> int:
    files = sum(sum(c.values()) for c in facts.counts.values())
    tasks = config.mixture.tasks
    screen.print(f'polyvit run {config.name}: {len(tasks)} task{"s"[:len(tasks) != 1]}, {files:,} files, '
                 f'{config.mixture.total_steps:,} training steps')
    screen.print(f'Everything goes to {summary.short(config.run_root)}; the log of this run is '
                 f'{summary.short(log_path)}')
    screen.start('Loading the libraries')
    progress = _Progress(screen)
    try:
        pipeline = _build(config, facts, key)
        from pipeline import observed_runner
        screen.finish(summary.duration(time.monotonic() - started))
        screen.set_total(len(pipeline.components))
        observed_runner.run(pipeline, progress)
    except Exception as error:
        traceback.print_exc()  # to the log
        screen.finish('failed')
        _explain(progress.failure or ('', error), screen, log_path, debug)
        _write_last_run(config, progress.records, FAILED, log_path)
        return FAILED
    return _summarise(config, progress.records, screen, log_path, started, say_next)


def _build(config, facts, key):
    """The TFX pipeline. Imports TFX, so it is called with the noise switched off."""
    environment.set_defaults()
    from absl import logging as absl_logging
    from tfx.orchestration import metadata

    from pipeline import pipeline as wiring
    absl_logging.set_verbosity('info')
    version, nonce = baseline(config.serving_dir, key)
    return wiring.create_pipeline(
        config, facts, pipeline_root=str(config.run_root / 'pipeline'), serving_dir=str(config.serving_dir),
        baseline_version=version, push_nonce=nonce or wiring.new_nonce(), run_key=key,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(config.run_root / 'metadata.db')))


class _Progress:
    """The observer of a run (observed_runner.Observer): to the screen, and into records and failure."""

    def __init__(self, screen: Screen):
        self._screen = screen
        self.records = {}
        self.failure: tuple[str, Exception] | None = None

    def started(self, node):
        self._screen.start(node)

    def finished(self, node, record):
        self.records[node] = record
        self._screen.finish('cached' if record.cached else summary.duration(record.seconds))

    def failed(self, node, error):
        self.failure = self.failure or (node, error)


def stop_sentence(error: BaseException) -> str | None:
    """The sentence of the PipelineStop or ConfigError in an exception's chain, or in the text that Beam made of it."""
    seen, text = error, ''
    for _ in range(20):
        if seen is None:
            break
        if isinstance(seen, (PipelineStop, ConfigError)):
            return re.sub(r"( \[while running '[^']*'\])+$", '', str(seen))
        text += f'{type(seen).__name__}: {seen}\n'
        seen = seen.__cause__ or seen.__context__
    # Beam raises an error of a worker as RuntimeError with the worker's traceback as text.
    found = re.search(
        r'\b(?:PipelineStop|ConfigError): (.+?)(?: \[while running \'|\n\nDuring handling|\n\nThe above|\Z)',
        text, re.DOTALL)
    return found.group(1).strip() if found else None


def _explain(failure: tuple[str, BaseException], screen: Screen, log_path, debug: bool):
    node, error = failure
    where = ' of '.join(node.split('_', 1)) if node else 'The pipeline'
    sentence = stop_sentence(error)
    screen.print()
    if sentence:
        screen.print(f'Stopped at {where}: {sentence}' if node else sentence)
    else:
        first = (str(error).strip().splitlines() or [''])[0][:400]
        screen.print(f'{where} failed: {type(error).__name__}: {first}')
        screen.print(f'The traceback is at the end of {summary.short(log_path)}; --debug prints it here.')
    if node:
        screen.print('What finished before is kept: the next run takes it from the cache.')
    if debug:
        screen.print(''.join(traceback.format_exception(error)))


def _summarise(config, records, screen, log_path, started, say_next) -> int:
    decision = json.loads(pathlib.Path(records['BlessingGate'].outputs['blessing'][0], 'decision.json').read_text())
    report = os.path.join(records['Report'].outputs['report'][0], 'report.html')
    version = str(newest_version(str(config.serving_dir)) or '')
    code = PUSHED if decision['blessed'] else REFUSED
    pushed_now = decision['blessed'] and not records['AtomicPusher'].cached
    cached = sum(r.cached for r in records.values())
    screen.print()
    for line in [
            *summary.task_rows(decision), '',
            *summary.decision_lines(decision, version, pushed_now), '',
            *summary.place_lines({
                'model': str(config.serving_dir / version) if version else '', 'report': report,
                'log': str(log_path)}),
            f'time    {summary.duration(time.monotonic() - started)}, {cached} of {len(records)} steps from the cache',
            *(['', *summary.next_lines(config, version, decision['blessed'], report)] if say_next or code else [])]:
        screen.print(line)
    _write_last_run(config, records, code, log_path, report=report, version=version)
    return code


def _write_last_run(config, records, code: int, log_path, **more):
    """<root>/last_run.json: what `polyvit report` and scripts read. Written aside, then renamed."""
    path = config.run_root / 'last_run.json'
    aside = path.with_name(f'.{path.name}.{os.getpid()}')
    aside.write_text(json.dumps({
        'config': config.name, 'exit_code': code, 'log': str(log_path), **more,
        'components': {name: dataclasses.asdict(record) for name, record in records.items()},
    }, indent=1))
    os.replace(aside, path)
