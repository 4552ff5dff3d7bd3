"""`polyvit export`: a pushed version as a TensorFlow Lite file."""

import os
import pathlib
import tempfile

from humanize import naturalsize

from pipeline import terminal
from serving.local_model import fetched, find_model


def run(directory: str, path: str) -> list[str]:
    """Converts the newest version in a directory; returns what to print. Raises as serving.lite.convert does."""
    version_dir = find_model(directory)
    print(f'Converting {version_dir} ...', flush=True)
    with tempfile.TemporaryDirectory() as folder, fetched(version_dir) as local:
        # The converter writes to descriptor 2 about every task that it cannot translate.
        with terminal.quiet(pathlib.Path(folder, 'converter.log')):
            from serving import lite
            made = lite.convert(local, path)
    return [f'Wrote {made.path}, {naturalsize(os.path.getsize(made.path))}, with a signature for each of: '
            f'{", ".join(made.tasks)}.',
            f'{made.description_path} has their labels and the shapes of their inputs.',
            *(f'Left out: {task}. {reason}.' for task, reason in made.left_out.items()),
            f'On a real example of every task, no score differs from the served one by more than '
            f'{made.difference:.1e}.']
