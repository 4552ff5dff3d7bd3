"""Why a model gave no prediction: one family of errors, each a sentence, for clients of servers and of directories."""

from model_code.errors import ConfigError, PipelineStop
from serving.errors import ServingError


class PredictionFailed(PipelineStop):
    """There is no prediction; the message says why. The base of the others. Exit code 1."""


class BadInput(PredictionFailed, ConfigError):
    """A file that cannot be read, is of another modality, or that the model rejects. `path`: its name."""

    def __init__(self, message: str, path: str = ''):
        super().__init__(message)
        self.path = path


class NotFound(PredictionFailed, ConfigError):
    """There is no such task, model or version."""


class Denied(PredictionFailed):
    """The server, or the proxy before it, asks for other credentials."""


class Overloaded(PredictionFailed):
    """The server has too much to do, also after the retries."""


class DeadlineExceeded(PredictionFailed):
    """There was no answer in time."""


class Unavailable(PredictionFailed):
    """There is no server at this address, or not yet."""


_KINDS = {400: BadInput, 413: BadInput, 404: NotFound, 401: Denied, 403: Denied, 429: Overloaded, 503: Overloaded,
          504: DeadlineExceeded}


def failure(message: str, error: ServingError, path: str) -> PredictionFailed:
    """The error of the family for what a model answered. path: of the file that was asked for."""
    kind = _KINDS.get(error.http_status, PredictionFailed)
    return BadInput(message, path) if kind is BadInput else kind(message)
