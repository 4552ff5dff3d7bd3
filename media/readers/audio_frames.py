"""Where the frames of an MP3 or a raw AAC file are, and what in it is no sound.

Such files have no container: frames follow each other, and the header of each says how long it is. What is recorded
from a radio begins in the middle of a frame; programs put tags, HTTP headers or zeros before the first one, and join
files as they are. The headers are those of ISO/IEC 11172-3 and 13818-3 (MP3) and 14496-3 (ADTS, raw AAC).
"""

import bisect
import dataclasses
import itertools
import struct
from collections.abc import Callable, Sequence

from media.rejections import Rejection
from model_code import words
from model_code.ranges import RangeFile

SEARCHED = 1 << 16  # bytes in which the first frame must begin
# Frames that must follow each other, with the same rate, to be believed. In random bytes a place begins such a chain
# with a probability of about 1e-19; of two frames it would be 1e-9, once in 16,000 files.
_CHAIN = 4
_CHAIN_WITHIN = 3  # within a sound, where its rate is known
_MAX_FRAME = 8191  # bytes, of ADTS; those of MP3 are shorter
SHORT = _CHAIN * 2048  # bytes; a shorter file may have no such chain
_HEAD = 8  # bytes of a frame that tell its length
_WINDOW = 1 << 20
_MAX_SPANS = 10_000

_BIT_RATES = {  # kbit/s by (is it MPEG-1, layer)
    (True, 1): tuple(range(32, 449, 32)),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # Hz by the version's bits


def _mp3_lengths() -> dict[int, int]:
    """The second byte without its last bit, and the third without its last -> the bytes of such a frame."""
    lengths = {}
    for version, layer in itertools.product(_RATES, (1, 2, 3)):
        rates = zip(_BIT_RATES[version == 3, layer], range(1, 15), strict=True)
        for (bit_rate, number), (rate_number, rate), padding in itertools.product(rates, enumerate(_RATES[version]),
                                                                                  (0, 1)):
            second, third = 0xE0 | version << 3 | (4 - layer) << 1, number << 4 | rate_number << 2 | padding << 1
            if layer == 1:
                length = (12_000 * bit_rate // rate + padding) * 4
            else:
                length = (144_000 if version == 3 or layer == 2 else 72_000) * bit_rate // rate + padding
            lengths[second << 8 | third] = length
    return lengths


_MP3_LENGTHS = _mp3_lengths()


def _mp3(data: bytes, at: int) -> tuple[int, int] | None:
    """(bytes, what all frames of a sound share: version, layer and rate) of the frame at `at`; None if there is none.

    Frames of a free bit rate, which hardly exist, do not say their length; they count as none.
    """
    if data[at] != 0xFF:
        return None
    length = _MP3_LENGTHS.get((data[at + 1] & 0xFE) << 8 | data[at + 2] & 0xFE)
    return (length, (data[at + 1] & 0xFE) << 8 | data[at + 2] & 0x0C) if length else None


def _aac(data: bytes, at: int) -> tuple[int, int] | None:
    """`_mp3` for ADTS: what the frames share is the version, the profile, the rate and the channels."""
    if data[at] != 0xFF or data[at + 1] & 0xF6 != 0xF0 or data[at + 2] & 0x3C > 0x30:
        return None
    length = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    key = (data[at + 1] & 0xFE) << 16 | (data[at + 2] & 0xFD) << 8 | data[at + 3] & 0xC0
    return (length, key) if length > 7 else None


_KINDS: dict[str, Callable[[bytes, int], tuple[int, int] | None]] = {'mp3': _mp3, 'aac': _aac}


def find(file, start: int) -> tuple[str, int] | None:
    """(FFmpeg's demuxer, position) of the first frame, which begins at most SEARCHED bytes after `start`; or None.

    Only frames that several others follow count, so that no other file is taken for a sound.
    """
    file.seek(start)
    data = file.read(SEARCHED + _CHAIN * _MAX_FRAME)
    at = data.find(0xFF)
    while 0 <= at < SEARCHED:
        for kind, frame_at in _KINDS.items():
            if _chain(data, at, frame_at, _CHAIN):
                return kind, start + at
        at = data.find(0xFF, at + 1)
    return None


def _chain(data: bytes, at: int, frame_at, count: int, known=None, ends: int = -1) -> bool:
    """Whether `count` frames follow each other from `at` on, all with the key `known` if it is given.

    ends: fewer are enough if they end here.
    """
    for number in range(count):
        if at == ends and number:
            return True
        frame = frame_at(data, at) if at + _HEAD <= len(data) else None
        if frame is None or known is not None and frame[1] != known:
            return False
        known, at = frame[1], at + frame[0]
    return True


@dataclasses.dataclass(frozen=True)
class Info:
    """What the frame before the sound says, which LAME and others write: a name and two numbers, but no sound.

    constant: whether all frames have the same bit rate. frames: how many follow. bytes: of all, with this one.
    """
    constant: bool
    frames: int
    bytes: int


def info_of(data: bytes, at: int = 0) -> Info | None:
    """The Info or Xing header in the MP3 frame at `at`, if it says both numbers."""
    mono = data[at + 3] >> 6 == 3
    tag = at + ((21 if mono else 36) if data[at + 1] & 8 else (13 if mono else 21))
    if data[tag:tag + 4] not in (b'Xing', b'Info') or len(data) < tag + 16:
        return None
    flags, frames, length = struct.unpack_from('>III', data, tag + 4)
    return Info(data[tag:tag + 4] == b'Info', frames, length) if flags & 3 == 3 else None


def frame_length(data: bytes) -> int:
    """The bytes of the MP3 frame that `data` begins with; 0 if it is none."""
    frame = _mp3(data, 0)
    return frame[0] if frame else 0


@dataclasses.dataclass(frozen=True)
class Sound:
    """The frames of a file. spans: (first byte, end) of those that follow each other. skipped: what is between them,
    and is no tag, in bytes. infos: of its parts, if files were joined. cut: the bytes that the last frame lacks."""
    spans: list[tuple[int, int]]
    frames: int
    skipped: int
    infos: list[Info]
    cut: int


def walk(file, kind: str, first: int, size: int, check: Callable[[], None]) -> Sound:
    """Follows the frames of a file from the one at `first` to its end. Reads it all, but decodes nothing.

    check: called now and then; may raise, when the time is up. Raises Rejection if most of the file is no frame.
    """
    return _Walk(file, kind, size, check).follow(first)


class _Walk:

    def __init__(self, file, kind: str, size: int, check: Callable[[], None]):
        self._file, self._kind, self._size, self._check = file, kind, size, check
        self._frame_at = _KINDS[kind]
        self._base, self._data = 0, b''

    def _at(self, position: int, count: int) -> int:
        """The index in `_data` of a position, with `count` bytes from there on unless the file ends."""
        index = position - self._base
        if index < 0 or index + count > len(self._data) and self._base + len(self._data) < self._size:
            self._check()
            self._file.seek(position)
            self._base, self._data, index = position, self._file.read(_WINDOW), 0
            if len(self._data) < min(count, self._size - position):
                self._check()
                raise Rejection('truncated', 'The file became shorter while it was read.')
        return index

    def follow(self, first: int) -> Sound:
        spans, infos, frames, skipped, cut = [], [], 0, 0, 0
        key, position, begin = None, first, first
        is_mp3 = self._kind == 'mp3'
        while position < self._size:
            index = self._at(position, 64)
            frame = self._frame_at(self._data, index) if self._size - position >= _HEAD else None
            if frame and (key is None or frame[1] == key):
                length, key = frame
                if position + length > self._size:
                    cut = position + length - self._size
                    break
                info = info_of(self._data, index) if is_mp3 else None
                if info:
                    infos.append(info)
                    if position + info.bytes > self._size:
                        raise truncated(position + info.bytes - self._size)
                    if position > begin:
                        spans.append((begin, position))
                    if position != first:  # that of the first part stays
                        begin = position + length
                else:
                    frames += 1
                position += length
                continue
            following, after_tags = self._next(position, key)
            skipped += (self._size if following is None else following) - after_tags
            if following is None:
                break
            if position > begin:
                spans.append((begin, position))
            position = begin = following
            key = None  # what is joined may have another rate
            if len(spans) > _MAX_SPANS:
                raise Rejection('undecodable', f'It consists of more than {_MAX_SPANS:,} pieces, with other bytes '
                                               'between them.')
        if position > begin:
            spans.append((begin, position))
        sound = sum(end - start for start, end in spans)
        if skipped > sound:
            raise Rejection('undecodable', f'{words.count(skipped, "byte")} of it are no frames of sound, and '
                                           f'{sound:,} are.')
        return Sound(spans, frames, skipped, infos, cut)

    def _next(self, position: int, key) -> tuple[int | None, int]:
        """(the next frame after `position`, where there is none, or None; the end of the tags before it)."""
        while position < self._size and (length := self._tag(position)):
            position += length
        after_tags = position = min(position, self._size)
        while position < self._size:
            index = self._at(position, _CHAIN * _MAX_FRAME)
            found = self._data.find(0xFF, index)
            if found < 0:
                position = self._base + len(self._data)
                continue
            position = self._base + found
            index = self._at(position, _CHAIN * _MAX_FRAME)
            if _chain(self._data, index, self._frame_at, _CHAIN) or _chain(
                    self._data, index, self._frame_at, _CHAIN_WITHIN, key, self._size - self._base):
                return position, after_tags
            position += 1
        return None, after_tags

    def _tag(self, position: int) -> int:
        """The bytes of the tag, or of the zeros, at a position; 0 if there is none."""
        index = self._at(position, 1 << 16)
        data = self._data
        head = data[index:index + 32]
        if head[:3] == b'TAG':
            return 128
        if head[:3] == b'ID3' and len(head) >= 10:
            return id3_length(head)
        if head[:8] == b'APETAGEX' and len(head) == 32:
            length, _, flags = struct.unpack_from('<III', head, 12)
            return 32 + length if flags & 1 << 29 else 32
        if head[:11] == b'LYRICSBEGIN':
            end = max(data.find(b'LYRICS200', index), data.find(b'LYRICSEND', index))
            return end + 9 - index if end >= 0 else 0
        zeros = data[index:index + (1 << 16)]
        return len(zeros) - len(zeros.lstrip(b'\0'))


def id3_length(head: bytes) -> int:
    """The bytes of the ID3v2 tag that begins with `head`, of at least 10 bytes."""
    a, b, c, d = (byte & 0x7F for byte in head[6:10])
    return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[5] & 0x10 else 0)


def truncated(missing: int) -> Rejection:
    return Rejection('truncated', f'It ends {words.count(missing, "byte")} earlier than its header says.')


class Spans(RangeFile):
    """The spans of a file, as a file of their own. Closing it leaves the file open."""

    def __init__(self, file, spans: Sequence[tuple[int, int]]):
        self._file, self._spans = file, spans
        self._starts = list(itertools.accumulate((end - start for start, end in spans), initial=0))
        super().__init__(self._starts[-1], self._read)

    def _read(self, start: int, end: int) -> bytes:
        parts, number = [], bisect.bisect_right(self._starts, start) - 1
        while start < end:
            first, last = self._spans[number]
            at = first + start - self._starts[number]
            self._file.seek(at)
            part = self._file.read(min(last - at, end - start))
            if not part:
                break
            parts.append(part)
            start, number = start + len(part), number + (at + len(part) == last)
        return b''.join(parts)
