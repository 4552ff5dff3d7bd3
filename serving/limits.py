"""The bounds on requests, connections and time, each with its default. `polyvit serve` has a flag for each.

docs/serving.md, "Bounds", has a table of them.
"""

import dataclasses
import functools

from model_code import modalities
from model_code.errors import ConfigError
from serving import metrics
from serving.errors import ServingError

_MEBIBYTE = 2**20


def _bound(default, text: str):
    return dataclasses.field(default=default, metadata={'help': text})


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on one request, and on all of them together. Raises ConfigError for a value that makes no sense."""
    max_body_bytes: int = _bound(32 * _MEBIBYTE, 'bytes of a request, both compressed and decompressed')
    max_json_depth: int = _bound(64, 'levels of nested lists and objects in a request')
    max_elements: int = _bound(500_000, 'numbers and strings in the tensors of a request')
    max_instances: int = _bound(4096, 'instances of a request: the first dimension of its tensors')
    max_pixels: int = _bound(0, 'pixels of an image, or of a frame of a video; 0: as many as ingest takes')
    max_seconds: float = _bound(0.0, 'seconds of a sound; 0: as many as ingest takes')
    max_frames: int = _bound(0, 'frames of a clip; 0: as many as ingest takes')
    max_decoded_bytes: int = _bound(256 * _MEBIBYTE, 'bytes of memory to decode the media of a request')
    max_total_decoded_bytes: int = _bound(8 * 1024 * _MEBIBYTE, 'bytes of all media of a request once decoded, '
                                          'one after the other')
    max_reply_bytes: int = _bound(32 * _MEBIBYTE, 'bytes of a reply')
    max_buffered_bytes: int = _bound(128 * _MEBIBYTE, 'bytes of all requests in memory')
    max_requests: int = _bound(64, 'predictions in progress, including those that wait for a worker')
    max_connections: int = _bound(256, 'connections of each protocol; over REST the one idle for longest makes room')
    workers: int = _bound(2, 'predictions that run at the same time')
    timeout_s: float = _bound(30.0, 'seconds for a request, including the time to read its body')
    header_timeout_s: float = _bound(10.0, 'seconds for the headers of a request')
    body_timeout_s: float = _bound(10.0, 'seconds without a further byte of a body, or without one taken of the reply')
    idle_timeout_s: float = _bound(60.0, 'seconds that a connection without a request stays open')
    shutdown_timeout_s: float = _bound(20.0, 'seconds for requests in progress when the server is told to stop')
    max_log_lines: int = _bound(60, 'lines a minute on standard error about what clients do wrong')

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value, of_ingest = getattr(self, field.name), field.name in ('max_pixels', 'max_seconds', 'max_frames')
            if not (value > 0 or of_ingest and value == 0):
                raise ConfigError(f'{flag(field.name)} is {value:g}; it must be more than 0.')

    def of_media(self, modality: str) -> modalities.Limits:
        """The bounds on one of a modality's media: ingest's own, where none is set here."""
        return _of_media(modality, self.max_pixels, self.max_seconds, self.max_frames)


@functools.cache  # each request asks, and making one checks its fields
def _of_media(modality: str, pixels: int, seconds: float, frames: int) -> modalities.Limits:
    return modalities.Limits(pixels=pixels, seconds=seconds, frames=frames).for_modality(modality)


def exceeded(what: str, value: float, bound: str, limit: float, instead: str,
             http_status: int | None = None) -> ServingError:
    """The error of a request over a bound, which is counted. what: what has a number, as the start of a sentence.

    bound: the field of Limits. limit: its value. instead: what to send, as a sentence.
    """
    metrics.refused(bound)
    return ServingError('INVALID_ARGUMENT', f'{what}: {value:,.10g}. This server takes at most {limit:,.10g} '
                                            f'({flag(bound)}). {instead}', http_status)


def overloaded(what: str, bound: str) -> ServingError:
    """The error of a request that finds the server full, which is counted. It may be sent again a little later."""
    metrics.refused(bound)
    return ServingError('UNAVAILABLE', f'The server is overloaded: {what} ({flag(bound)}). Try again later')


def flag(field: str) -> str:
    return '--' + field.replace('_', '-')
