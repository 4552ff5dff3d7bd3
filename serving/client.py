"""Gets labels and scores for files, from a server or from a model directory.

`predict` asks once. LocalModel is a model that is loaded once and asked many times. serving.batch predicts folders.
"""

import json
import os
import sys
import typing
from collections.abc import Sequence

from serving.local_model import LocalModel
from serving.predictor import PredictionFailed
from serving.remote_model import DEFAULT_URL, RemoteModel

__all__ = ['DEFAULT_URL', 'LocalModel', 'PredictionFailed', 'RemoteModel', 'predict', 'print_predictions']


def predict(task: str, files: Sequence[str | os.PathLike], url: str | None = None,
            model_dir: str | os.PathLike | None = None, top: int = 5, timeout: float = 60.0,
            model_name: str = 'polyvit') -> list[dict]:
    """{'path', 'labels', 'scores'} for each file: at most `top` labels, best first (a model gives at most 5).

    url: a server's root, or a model's URL (.../v1/models/NAME[/versions/V]); by default the local server's root.
    model_dir: a version directory, or the folder that holds the version directories; used in place of a server.
    timeout: seconds for each request to a server.

    Raises ConfigError for a task that the model does not have, and for a file that cannot be read or is of another
    modality. Raises PredictionFailed if the server cannot be reached or answers with an error.
    """
    model = RemoteModel(url or DEFAULT_URL, model_name, timeout) if model_dir is None else LocalModel(model_dir)
    with model:
        return model.predict(task, files, top)


def print_predictions(results: list[dict], as_json: bool = False, stream: typing.TextIO | None = None):
    """Prints the results of `predict` as text, one label per line, or as one JSON list."""
    stream = stream or sys.stdout
    if as_json:
        print(json.dumps(results, indent=1, ensure_ascii=False), file=stream)
        return
    for result in results:
        print(result['path'], file=stream)
        for label, score in zip(result['labels'], result['scores'], strict=True):
            print(f'  {score:6.3f}  {label}', file=stream)
