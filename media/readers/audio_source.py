"""What the decoders of sounds share: the file as they see it, and the checks of what they give."""

import time

import numpy as np

from media.rejections import Rejection, too_large
from model_code import words
from model_code.modalities import Limits

# Beyond these limits a header is wrong.
_RATES, _MAX_CHANNELS = (1_000, 384_000), 64
BLOCK = 1 << 16  # frames, about as many as are resampled at once
MISSING = 0.5  # seconds that a file may be shorter than its header says, which may round or count a pause
DAMAGED = 'Its sound cannot be decoded: it is damaged, or of a rare kind.'


class Source:
    """A file as the decoders see it: without a name to guess from, and ending when the time is up.

    Decoders call it from C, where an exception would be printed and lost. So `check` raises it afterwards.
    """

    def __init__(self, file, seconds: float):
        self._file, self._seconds, self._deadline, self._error = file, seconds, time.monotonic() + seconds, None
        self.tell, self.ended = file.tell, False

    def seek(self, position: int, whence: int = 0) -> int:
        try:
            return self._file.seek(position, whence)
        except Exception:  # Damaged headers make libsndfile seek to before the file; it sees that it did not move.
            return self._file.tell()

    def read(self, count: int = -1) -> bytes:
        if time.monotonic() < self._deadline:
            try:
                content = self._file.read(count)
                self.ended = self.ended or len(content) < count
                return content
            except Exception as error:  # Remote file systems raise errors of any type.
                self._error = Rejection('unreadable', f'{type(error).__name__}: {error}')
        return b''

    def check(self):
        if self._error:
            raise self._error
        if time.monotonic() >= self._deadline:
            raise Rejection('too_slow', f'Decoding it takes longer than {self._seconds:g} s.')


def average(channels: np.ndarray) -> np.ndarray:
    """[channels, samples] -> [samples], the mean. Four times as fast as mean() if the channels are interleaved."""
    if len(channels) == 1:
        return channels[0]
    total = channels[0] + channels[1]
    for channel in channels[2:]:
        total += channel
    total *= np.float32(1 / len(channels))
    return total


def check_rate_and_channels(rate: int, channels: int):
    if not _RATES[0] <= rate <= _RATES[1] or not 1 <= channels <= _MAX_CHANNELS:
        raise Rejection('unsupported', f'It has {words.count(channels, "channel")} at {rate:,} Hz; 1 to '
                                       f'{_MAX_CHANNELS} channels at {_RATES[0]:,} to {_RATES[1]:,} Hz are supported.')


def check_seconds(seconds: float, limits: Limits):
    if seconds > limits.seconds:
        raise too_large('seconds', round(seconds, 1), limits.seconds)
