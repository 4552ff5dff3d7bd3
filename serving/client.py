"""Gets labels and scores for files, from a server or from a model directory.

`predict` asks once. LocalModel is a model that is loaded once and asked many times. serving.batch predicts folders.
"""

import os
from collections.abc import Sequence

from serving.failures import PredictionFailed
from serving.local_model import LocalModel
from serving.remote_model import RemoteModel

__all__ = ['LocalModel', 'PredictionFailed', 'RemoteModel', 'predict']


def predict(task: str, files: Sequence[str | os.PathLike], url: str | None = None,
            model_dir: str | os.PathLike | None = None, top: int = 5, timeout: float = 60.0,
            model_name: str = 'polyvit') -> list[dict]:
    """{'path', 'labels', 'scores'} for each file: at most `top` labels, best first.

    url: a server's root, or a model's URL (.../v1/models/NAME[/versions/V]); by default the local server's root.
    model_dir: a version directory, or the folder that holds the version directories; used in place of a server.
    timeout: seconds for each request to a server.

    Raises ConfigError for a task that the model does not have, and for a file that cannot be read or is of another
    modality. Raises PredictionFailed if the server cannot be reached or answers with an error.
    """
    model = RemoteModel(url, model_name, timeout) if model_dir is None else LocalModel(model_dir)
    with model:
        return model.predict(task, files, top)
