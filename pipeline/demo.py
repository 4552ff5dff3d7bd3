"""`make demo`: makes the demo media, runs the pipeline, starts a server, and asks it for one file of each modality."""

import dataclasses
import os
import pathlib

from model_code import shell
from model_code.errors import PipelineStop
from model_code.printable import printable
from pipeline import demo_data, elapsed, local_runner, roots, summary, terminal
from pipeline.config import load_config
from pipeline.exit_codes import DONE


def run(root: pathlib.Path, debug: bool = False, argv: tuple[str, ...] = ()) -> int:
    """Makes the media under root/media unless they are there, runs the demo config, serves its model and queries it.

    argv: what was typed after `polyvit`. Returns the run's exit code.
    """
    root = root.absolute()
    roots.check_writable(root)
    media = root / 'media'
    counts = demo_data.make_demo_data(media)
    print(f'Demo media in {shell.short(media)}: {demo_data.describe(counts)}', flush=True)
    os.environ['POLYVIT_DEMO_DATA'] = str(media)
    config = dataclasses.replace(load_config('demo'), root=str(root))
    code = local_runner.run(config, debug, say_next=False, argv=argv, started=elapsed.process_start())
    if code:
        return code
    with terminal.quiet(root / 'logs' / 'serving.log') as screen:
        for line in _serve_and_predict(config):
            print(printable(line), file=screen, flush=True)
    task, path, _ = _eval_files(config)[0]
    print('\n'.join(['', *next_lines(root, task.name, path)]))
    return DONE


def next_lines(root: pathlib.Path, task: str, sample: str) -> list[str]:
    """What to type next, with what each command does. sample: a media file of the task."""
    short = shell.short
    usual = root == pathlib.Path('runs/demo').absolute()
    options = () if usual else ('--root', short(root), '--data', short(root / 'media'))
    lines = ['Next:']
    for what, *command in (
            ('runs it again; nothing changed, so it answers at once', 'run', 'demo', *options),
            ('prints the decision, the table and where the report is', 'report', '--root', short(root)),
            ('serves the model until Ctrl-C', 'serve', short(roots.serving_dir(root))),
            ('asks that server for a file', 'predict', task, short(sample))):
        lines += [f'  {summary.command(*command)}', f'      {what}']
    return [*lines, '  docs/your_data.md says how to use your own folders.']


def _eval_files(config) -> list[tuple]:
    """(task, path, label) of the middle eval file of the first task of each modality."""
    from media import listing
    files = {}
    for task in config.mixture.tasks:
        if task.modality not in files:
            entries = [e for e in listing.list_media(task.source).entries if e.split == 'eval']
            if not entries:
                raise PipelineStop(f'Task {task.name} has no eval file to predict. Delete {task.data.folder}, and the '
                                   'demo makes it anew.')
            entry = entries[len(entries) // 2]
            files[task.modality] = (task, os.path.join(task.data.folder, entry.path), '|'.join(entry.labels))
    return list(files.values())


def _serve_and_predict(config):
    """Yields the lines to print."""
    from serving import client
    from serving.server import ModelServer
    with ModelServer(str(config.serving_dir), port=0) as server:
        yield ''
        yield f'Serving {shell.short(config.serving_dir)} at {server.url}. Its answers over REST:'
        for task, path, label in _eval_files(config):
            result = client.predict(task.name, [path], url=server.url, top=3)[0]
            yield f'  {task.name:<8}{shell.short(path)}, labelled {label}:\n          {_text(result)}'


def _text(result: dict) -> str:
    return ', '.join(f'{label} {score:.3f}' for label, score in zip(result['labels'], result['scores'], strict=True))
