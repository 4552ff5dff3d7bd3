"""Runs a config on this machine: BeamDagRunner, SQLite metadata, progress on the screen, noise in a log file."""

import contextlib
import datetime
import json
import os
import pathlib
import re
import time
import traceback

from model_code import model_directory, words
from model_code.errors import ConfigError, PipelineStop
from pipeline import checks, environment, fingerprints, run_record, summary, terminal
from pipeline.config import PipelineConfig
from pipeline.exit_codes import DONE, FAILED, REJECTED
from serving import version_directories


def baseline(serving_dir, run_key: str) -> tuple[str, str | None]:
    """(baseline_version, push_nonce) for a run; the nonce is None where a new one is needed.

    The baseline is what is being served: the newest version. But where that very version came from an equal run (its
    card has the same run_key), then the run's own baseline and nonce are taken from the card: all exec properties
    equal that run's, so the cache answers for everything and nothing is compared with itself or pushed twice.
    """
    models = version_directories.list_models(str(serving_dir))
    if not models:
        return '', None
    newest = max(models)
    card = _read_card(models[newest])
    if card.get('run_key') == run_key and card.get('push_nonce'):
        earlier = str(card.get('baseline_version', ''))
        if not earlier or earlier in map(str, models):
            return earlier, card['push_nonce']
    return str(newest), None


def _read_card(model_dir: str) -> dict:
    """The model card; {} where there is none that can be read: then the version is no equal run's."""
    try:
        card = model_directory.read_card(model_dir)
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def run(config: PipelineConfig, debug: bool = False, say_next: bool = True) -> int:
    """Runs the pipeline; returns the exit code: 0 pushed or unchanged, 1 failed, 3 refused by the gate.

    debug: print tracebacks. say_next: end with what to type next.

    Raises ConfigError, before anything is written, where the config or its data are wrong.
    """
    facts = checks.check(config)
    key = fingerprints.run_key(config, facts.fingerprints)
    started = time.monotonic()
    with run_record.one_run_at_a_time(config.run_root):
        log_path = config.run_root / 'logs' / f'run-{datetime.datetime.now():%Y%m%d-%H%M%S}.log'
        with terminal.quiet(log_path) as file, contextlib.closing(terminal.Screen(file)) as screen:
            with terminal.messages_on(screen):
                return _run(config, facts, key, screen, log_path, started, debug, say_next)


def _run(config, facts, key, screen, log_path, started, debug, say_next) -> int:
    files = sum(sum(c.values()) for c in facts.counts.values())
    tasks = config.mixture.tasks
    screen.print(f'polyvit run {config.name}: {words.count(len(tasks), "task")}, {words.count(files, "file")}, '
                 f'{words.count(config.mixture.total_steps, "training step")}')
    screen.print(f'Everything goes to {summary.short(config.run_root)}; the log of this run is '
                 f'{summary.short(log_path)}')
    screen.start('Loading the libraries')
    progress = _Progress(screen)
    try:
        pipeline = _build(config, facts, key)
        from pipeline import observed_runner
        screen.finish(words.duration(time.monotonic() - started))
        screen.set_total(len(pipeline.components))
        observed_runner.run(pipeline, progress)
    except Exception as error:
        traceback.print_exc()  # to the log
        screen.finish('failed')
        _explain(progress.failure or ('', error), screen, log_path, debug)
        run_record.write(config, progress.records, FAILED, log_path)
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

    def __init__(self, screen: terminal.Screen):
        self._screen = screen
        self.records = {}
        self.failure: tuple[str, Exception] | None = None

    def started(self, node):
        self._screen.start(node)

    def finished(self, node, record):
        self.records[node] = record
        self._screen.finish('cached' if record.cached else words.duration(record.seconds))

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


def _explain(failure: tuple[str, BaseException], screen: terminal.Screen, log_path, debug: bool):
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
    version = str(max(version_directories.list_models(str(config.serving_dir)), default=''))
    code = DONE if decision['blessed'] else REJECTED
    pushed_now = decision['blessed'] and not records['AtomicPusher'].cached
    cached = sum(r.cached for r in records.values())
    screen.print()
    for line in [
            *summary.task_rows(decision), '',
            *summary.decision_lines(decision, version, pushed_now), '',
            *summary.place_lines({
                'model': str(config.serving_dir / version) if version else '', 'report': report,
                'log': str(log_path)}),
            f'time    {words.duration(time.monotonic() - started)}, {cached} of {len(records)} steps from the cache',
            *(['', *summary.next_lines(config, version, decision['blessed'], report)] if say_next or code else [])]:
        screen.print(line)
    run_record.write(config, records, code, log_path, report=report, version=version)
    return code
