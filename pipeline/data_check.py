"""`polyvit data check`: reads every file as the pipeline will; what would be rejected, and would a run stop.

The same decoders, findings and verdict as MediaExampleGen's, without Beam: a decoding process a core, started here.
"""

import concurrent.futures
import itertools
import os
import sys
import threading
import time

from media import findings, listing
from media.sandbox.parent import Decoder
from media.entries import Entry
from model_code.tasks import Task
from pipeline import checks

_CHUNK = {'image': 256, 'audio': 64, 'video': 8}


def check_media(config, workers: int = 0, progress=None) -> dict:
    """Reads all media of a config.

    workers: decoding processes, 0 takes one a core. progress: called with (task name, files done, of all).
    Returns {'config', 'ok', 'tasks': [{'name', 'modality', 'data', 'ok', 'stops': [sentence], 'remarks': [line],
    'spelling': [[label]], 'few': {label: count}, and the fields of findings.Findings}]}. ok: no run would stop for it.
    Raises ConfigError as the pipeline would.
    """
    checks.use_file_systems(config)
    tasks = [_check_task(task, config.model.input(task.modality), tuple(config.beam_args),
                         workers or os.cpu_count() or 1, progress or (lambda *unused: None))
             for task in config.mixture.tasks]
    return {'config': config.name, 'ok': all(task['ok'] for task in tasks), 'tasks': tasks}


def _check_task(task: Task, spec, beam_args, workers: int, progress) -> dict:
    listed = listing.list_media(task.source)
    read = _read(task, spec, beam_args, listed.entries, workers, progress)
    found, rejected = findings.gather(listed, read)
    stops = findings.stops(task.source, task.checks, found)
    return {'name': task.name, 'modality': task.modality, 'data': task.data.folder, 'ok': not stops, 'stops': stops,
            'remarks': findings.remarks(task.source, task.checks, found),
            'spelling': findings.spelling_variants(found.classes),
            'few': findings.rare_classes(task.source, task.checks, found), **found.to_dict(),
            'rejected_lines': [rejection.to_dict() for rejection in rejected]}


def _read(task: Task, spec, beam_args, entries: list[Entry], workers: int, progress):
    """(entry, notes, digest, Rejection or None) of each entry; the media itself is dropped at once."""
    only_decodable = iter
    if task.modality == 'image':
        # TensorFlow's word counts too: it decodes them in training. Its import takes seconds, so only where needed.
        from media.tf_check import only_decodable
    local, decoders = threading.local(), []

    def read_chunk(chunk):
        if not hasattr(local, 'decoder'):
            local.decoder = Decoder(task.data.folder, task.modality, spec, task.data.limits, beam_args)
            decoders.append(local.decoder)
        return [(decoded.entry, decoded.notes, decoded.digest, decoded.rejection)
                for decoded in only_decodable(local.decoder.read(chunk))]

    size = _CHUNK[task.modality]
    chunks = (entries[i:i + size] for i in range(0, len(entries), size))
    done = 0
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            # A few chunks ahead of the workers: a million entries are not a million futures.
            waiting = [pool.submit(read_chunk, chunk) for chunk in itertools.islice(chunks, 2 * workers)]
            while waiting:
                results = waiting.pop(0).result()
                waiting += [pool.submit(read_chunk, chunk) for chunk in itertools.islice(chunks, 1)]
                yield from results
                done += len(results)
                progress(task.name, done, len(entries))
        finally:
            for future in waiting:
                future.cancel()
            pool.shutdown()
            for decoder in decoders:
                decoder.close()


class Progress:
    """A line on standard error, redrawn on a terminal, else a new one every ten seconds."""

    def __init__(self, stream=None, clock=time.monotonic):
        self._stream, self._clock = stream or sys.stderr, clock
        self._terminal = self._stream.isatty()
        self._task, self._start, self._said = '', 0.0, 0.0

    def __call__(self, task: str, done: int, total: int):
        now = self._clock()
        if task != self._task:
            self._task, self._start, self._said = task, now, now
        if done < total and now - self._said < (0.2 if self._terminal else 10.0):
            return
        self._said = now
        rate = done / max(1e-3, now - self._start)
        left = f', {(total - done) / rate:.0f} s left' if rate and done < total else ''
        line = f'{task}: {done:,} of {total:,} files{left}'
        end = '\n' if done == total or not self._terminal else ''
        print(f'\r{line:<70}{end}' if self._terminal else line, end='' if self._terminal else '\n', file=self._stream,
              flush=True)


def render(result: dict) -> str:
    """The result as text for a terminal."""
    lines = []
    for task in result['tasks']:
        counts = ', '.join(f'{task["examples"].get(split, 0):,} {split}' for split in ('train', 'eval'))
        rejected = sum(some['count'] for some in task['rejected'].values())
        lines += ['', f'{task["name"]} ({task["modality"]}, {task["data"]})',
                  f'  {task["total"]:,} files: {counts} examples, {rejected:,} rejected; '
                  f'{len(task["classes"])} classes{_class_range(task)}']
        for reason, some in sorted(task['rejected'].items(), key=lambda item: -item[1]['count']):
            lines.append(f'  rejected, {reason}: {some["count"]:,}')
            lines += [f'    {path}: {detail}' for path, detail in some['first']]
            if some['count'] > len(some['first']):
                lines.append(f'    and {some["count"] - len(some["first"]):,} more')
        lines += [f'  {remark}' for remark in task['remarks']]
        lines += [f'  a run stops: {reason}' for reason in task['stops']]
        if task['ok']:
            lines.append('  ready to run')
    return '\n'.join(lines[1:])


def _class_range(task: dict) -> str:
    counts = [by_split.get('train', 0) for by_split in task['classes'].values()]
    return f' of {min(counts):,} to {max(counts):,} train examples' if counts else ''
