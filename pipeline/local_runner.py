"""Runs a config on this machine, with BeamDagRunner and SQLite metadata: progress on the screen, the rest in a log."""

import contextlib
import dataclasses
import os
import pathlib
import re
import time
import traceback

from components.data_drift import served_data
from model_code import interruption, shell, words
from model_code.errors import ConfigError, PipelineStop
from pipeline import (
    checks,
    ending,
    environment,
    fingerprints,
    run_record,
    show_run,
    summary,
    terminal,
    tracking,
    unchanged,
)
from pipeline.beam import failures
from pipeline.config import PipelineConfig
from pipeline.exit_codes import DONE, FAILED, REJECTED
from serving import served, version_directories


def baseline(serving_dir, model_key: str) -> tuple[str, str | None]:
    """(served_version, push_nonce) for create_pipeline; the nonce is None if a new one is needed.

    TFX's cache does not look into serving_dir, so the newest version is among the exec properties. But if that version
    came from the same model_key, its card has the properties of the run that pushed it, and they are repeated. Then
    everything that this run shares with that one comes from the cache: all of it, or all but the gate and the report if
    a floor is another one.

    What is compared with what, and whether it is pushed, does not depend on this. ServingBaseline and AtomicPusher
    compare the models themselves.
    """
    newest = served.newest(str(serving_dir))
    if newest is None:
        return '', None
    if newest.card.get('model_key') == model_key and newest.card.get('push_nonce'):
        return newest.card.get('served_version', ''), newest.card['push_nonce']
    return str(newest.number), None


def run(config: PipelineConfig, debug: bool = False, say_next: bool = True, argv: tuple[str, ...] = (),
        verbose: bool = False, started: float | None = None, force: str = '') -> int:
    """Runs the pipeline; returns the exit code: DONE (pushed or unchanged), FAILED, or REJECTED by the gate.

    debug: print tracebacks. say_next: end with the commands to type next. argv: what was typed after `polyvit`.
    verbose: the log keeps the dumps of TFX. started: when the command started (time.monotonic), by default now.
    force: the reason for which a model is pushed even if the gate rejects it (blessing_gate.forcing), '' for none.

    Raises ConfigError, before anything is written, if the config or its data are wrong. SIGINT (Ctrl-C) and SIGTERM end
    a command's process; in a program that calls this in its main thread they raise KeyboardInterrupt and SystemExit.
    """
    with interruption.handled():
        return _checked_run(config, debug, say_next, argv, verbose, time.monotonic() if started is None else started,
                            force)


def _checked_run(config, debug, say_next, argv, verbose, started, force) -> int:
    with ending.telling(lambda number: ending.print_line(ending.sentence(
            number, 'while it listed the data. Nothing was written.'))):
        data = checks.check(config)
    key = fingerprints.run_key(config, data.fingerprints, force)
    with run_record.one_run_at_a_time(config.run_root):
        record = run_record.start(config, key, argv, unchanged.runner_code())
        with terminal.quiet(pathlib.Path(record.log), dumps=verbose) as file:
            with contextlib.closing(terminal.Screen(file)) as screen, terminal.messages_on(screen):
                return _run(config, data, record, screen, started, debug, say_next, force)


def _run(config, data, record: run_record.Record, screen, started, debug, say_next, force) -> int:
    files = sum(sum(counts.values()) for counts in data.counts.values())
    tasks = config.mixture.tasks
    screen.print(f'polyvit run {config.name}: {words.count(len(tasks), "task")}, {words.count(files, "file")}, '
                 f'{words.count(config.trained.total_steps, "training step")}')
    for line in summary.path_lines({'root': str(config.run_root), 'log': record.log}, screen.columns):
        screen.print_whole(line)
    earlier = unchanged.equal_run(config, record.run_key)
    if earlier and earlier.decision:
        nodes = {name: dataclasses.replace(node, cached=True, seconds=0.0, cpu_seconds=None, peak_bytes=None)
                 for name, node in earlier.components.items()}
        screen.print(f'Nothing changed since the run of {earlier.started[:16].replace("T", " ")}. This is its result:')
        print(f'Nothing changed since the run {earlier.id}, so no component was started. Its log: {earlier.log}')
        record = dataclasses.replace(record, repeats=earlier.id)
        return _summarise(config, data, nodes, earlier.decision, screen, record, started, say_next)
    screen.start('Loading the libraries')
    progress = _Progress(screen)
    try:
        with ending.telling(lambda number: _tell_interrupted(number, config, record, progress, screen, started)):
            pipeline = build(config, data, force)
            from pipeline import observed_runner
            screen.finish(words.duration(time.monotonic() - started))
            progress.nodes = [component.id for component in pipeline.components]
            screen.expect(progress.nodes, run_record.seconds(config.run_root), started)
            observed_runner.run(pipeline, progress)
    except Exception as error:
        traceback.print_exc()  # goes to the log
        failure = progress.failure or ('', error)
        screen.finish('stopped' if stop_sentence(failure[1]) else 'failed')
        _explain(failure, screen, record, debug)
        run_record.end(config, record, FAILED, time.monotonic() - started, components=progress.records,
                       reason=_reason(failure), version=_newest(config))
        return FAILED
    decision = run_record.read_decision(progress.records['BlessingGate'].outputs['blessing'][0])
    return _summarise(config, data, progress.records, decision, screen, record, started, say_next)


def build(config, data, force: str = ''):
    """The TFX pipeline. It imports TFX, so call it when all output of the process goes to the log."""
    environment.set_defaults()
    from absl import logging as absl_logging

    from pipeline import lineage
    from pipeline import pipeline as wiring
    absl_logging.set_verbosity('info')
    model_key = fingerprints.model_key(config, data.fingerprints)
    version, nonce = baseline(config.serving_dir, model_key)
    config = checks.with_parent(config, version)
    data_baseline = served_data.choose(str(config.serving_dir), data.fingerprints)
    return wiring.create_pipeline(
        config, data, pipeline_root=str(config.run_root / 'pipeline'), serving_dir=str(config.serving_dir),
        served_version=version, data_baseline=data_baseline, push_nonce=nonce or wiring.new_nonce(),
        model_key=model_key, force=force,
        # TFX's own function for this also creates the folder, but a dry run may write nothing.
        metadata_connection_config=lineage.connection(config.run_root, 'READWRITE_OPENCREATE'))


class _Progress:
    """The observer of a run (observed_runner.Observer): prints to the screen, keeps records and the first failure."""

    def __init__(self, screen: terminal.Screen):
        self._screen = screen
        self.nodes: list[str] = []  # all components of the run
        self.running = ''
        self.records = {}
        self.failure: tuple[str, Exception] | None = None

    def started(self, node):
        self.running = node
        self._screen.start(node)

    def finished(self, node, record):
        self.running = ''
        self.records[node] = record
        self._screen.finish('cached' if record.cached else words.duration(record.seconds), record.cached)

    def failed(self, node, error):
        self.failure = self.failure or (node, error)


def stop_sentence(error: BaseException) -> str | None:
    """The message of the PipelineStop or ConfigError in an exception's chain, or in the text that Beam made of it."""
    cause, text = error, ''
    for _ in range(20):
        if cause is None:
            break
        if isinstance(cause, (PipelineStop, ConfigError)):
            return re.sub(r"( \[while running '[^']*'\])+$", '', str(cause))
        text += f'{type(cause).__name__}: {cause}\n'
        cause = cause.__cause__ or cause.__context__
    # Beam raises a worker's error as a RuntimeError that has the worker's traceback as its text.
    match = re.search(
        r'\b(?:PipelineStop|ConfigError): (.+?)(?: \[while running \'|\n\nDuring handling|\n\nThe above|\n\s*at |\Z)',
        text, re.DOTALL)
    return match.group(1).strip() if match else None


def _title(node: str) -> str:
    """'Transform of digits', of the component Transform_digits."""
    return ' of '.join(node.split('_', 1))


def _reason(failure: tuple[str, BaseException]) -> str:
    """Why the run failed, in one sentence. failure: (node, error); node is '' if no component had started."""
    node, error = failure
    where = _title(node) if node else 'The pipeline'
    sentence = stop_sentence(error)
    if sentence:
        return f'Stopped at {where}: {sentence}' if node else sentence
    return f'{where} failed: {error_sentence(error)}'


def error_sentence(error: BaseException) -> str:
    """What an error that is no stop means, in one line: in words if it is a known one of Beam's workers."""
    text = str(error).strip()
    if re.search('No space left on device|database or disk is full|Disk quota exceeded', text):
        return ('there is no space left on the disk. Free some (`polyvit clean` frees that of old runs), or give '
                'another --root.')
    first_line = (text.splitlines() or [''])[0]
    return failures.reason(text) or f'{type(error).__name__}: {first_line[:400]}'


def _explain(failure: tuple[str, BaseException], screen: terminal.Screen, record: run_record.Record, debug: bool):
    """Prints why the run failed. failure: as in `_reason`."""
    node, error = failure
    screen.print()
    screen.print(_reason(failure))
    if not stop_sentence(error):
        screen.print(f'The traceback is at the end of {shell.short(record.log)}; --debug prints it here.')
    if node:
        screen.print('What had finished is kept: the next run takes it from the cache.' +
                     (' To run again:' if record.argv else ''))
        for line in summary.again_lines(record.argv):
            screen.print_whole(line)
    if debug:
        screen.print_whole(''.join(traceback.format_exception(error)))


def _tell_interrupted(number, config, record, progress: _Progress, screen: terminal.Screen, started):
    """Records and prints what a signal interrupted, what is kept, and how to go on."""
    where = f'while {_title(progress.running)} was running.' if progress.running else 'between two components.'
    if not progress.nodes:
        where = 'while it loaded the libraries.'
    reason = ending.sentence(number, where)
    run_record.end(config, record, 128 + number, time.monotonic() - started, components=progress.records,
                   reason=reason, version=_newest(config))
    screen.finish('interrupted')
    screen.print()
    screen.print(reason)
    if interruption.cancel_elsewhere():
        screen.print(interruption.cancel_elsewhere())
    if progress.nodes:
        training = interruption.kept() or ('the steps that it had saved' if progress.running == 'CoTrainer' else '')
        screen.print(f'Kept: {len(progress.records)} of {words.count(len(progress.nodes), "component")}'
                     f'{"; " if training else ""}{training}.')
    screen.print('To go on:' if record.argv else 'To go on, run it again.')
    for line in summary.again_lines(record.argv):
        screen.print_whole(line)
    screen.close()


def _newest(config) -> str:
    """The version that is being served, '' for none."""
    return str(max(version_directories.list_models(str(config.serving_dir)), default=''))


def _summarise(config, data, records, decision: dict, screen, record: run_record.Record, started, say_next) -> int:
    """Prints what a run came to, writes the end of its record, and returns the exit code.

    decision: the gate's. Of a run that repeats another it is in that one's record: files may have changed since.
    """
    report = os.path.join(records['Report'].outputs['report'][0], 'report.html')
    code = DONE if decision['blessed'] else REJECTED
    pusher = records['AtomicPusher']
    pushed_now = not pusher.cached and bool(pusher.version)
    version = pusher.version if pushed_now else _newest(config)
    cached = sum(r.cached for r in records.values())
    work = ('no component was started' if record.repeats else
            f'{cached} of {len(records)} components came from the cache')
    columns = screen.columns
    screen.print()
    for line in summary.task_rows(decision, columns):
        screen.print_whole(line)
    for line in ['', *summary.decision_lines(decision, version, pushed_now),
                 *summary.data_lines(run_record.data_lines(records)), '']:
        screen.print(line)
    model = str(config.serving_dir / version) if version else ''
    for line in [
            *show_run.path_lines(records, report, record.log, columns, model),
            f'time    {words.duration(time.monotonic() - started)}; {work}', *summary.cost_lines(records, columns),
            *(['', *summary.next_lines(config, version, decision['blessed'], report, data.samples, record.argv)]
              if say_next or code else [])]:
        screen.print_whole(line)
    record = run_record.end(config, record, code, time.monotonic() - started, components=records, decision=decision,
                            report=report, version=version, pushed=pushed_now, samples=data.samples)
    said = '' if record.repeats else tracking.track(config, record)
    if said:
        screen.print(said)
    return code
