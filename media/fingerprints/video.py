"""The fingerprint of a clip: thumbnails of its frames at a steady pace. Its hash, and how alike two clips are.

The hash is of what trimming hardly changes: the mean of all frames, and where they move (the standard deviation of each
pixel over time), by the signs of the lowest frequencies of their cosine transforms.

Two clips of one camera share their background, and are no near duplicates. So what is compared is the motion: the
differences of the frames from their mean, at the best shift in time. A clip in which hardly anything moves takes no
part.
"""

import struct

import numpy as np
from PIL import Image

from media.fingerprints import frequencies

TABLES, MAX_DIFFERENT = 12, 20  # as for images
SIDE = 8  # pixels of a thumbnail's rows and columns
_STEP = 0.25  # seconds between two thumbnails, or twice as many, and so on: at most _MOST thumbnails
_MOST = 48
_HEAD = struct.Struct('<f')  # seconds between two thumbnails
_LEAST_SECONDS, _LEAST_SHARE = 0.9, 0.6  # of the shorter clip, that must be in the other
_MOVES = 1.5  # grey levels, the standard deviation of a pixel over time, of the mean pixel: less is no motion
_SIMILAR = 0.85


def thumbnail(image: Image.Image) -> bytes:
    """[SIDE, SIDE] uint8, row by row: the luma of a whole RGB frame, averaged over areas."""
    return image.resize((SIDE, SIDE), Image.Resampling.BOX).convert('L').tobytes()


def brightness(thumbnails: list[bytes]) -> float:
    """The mean luma of the thumbnails of all frames, from 0 (black) to 1 (white)."""
    return float(_array(thumbnails).mean()) / 255


def fingerprint(thumbnails: list[bytes], frame_rate: float) -> bytes:
    """thumbnails: of all frames, at frame_rate Hz. b'' if hardly anything moves, or the clip is too short."""
    step = _STEP
    while len(thumbnails) / frame_rate / step > _MOST:
        step *= 2
    every = max(1, round(step * frame_rate))
    kept = thumbnails[::every]
    if (len(kept) - 1) * every / frame_rate < _LEAST_SECONDS or _motion(_array(kept)) < _MOVES:
        return b''
    return _HEAD.pack(every / frame_rate) + b''.join(kept)


def _array(thumbnails: list[bytes]) -> np.ndarray:
    return np.frombuffer(b''.join(thumbnails), np.uint8).reshape(-1, SIDE * SIDE).astype(np.float32)


def _motion(frames: np.ndarray) -> float:
    return float(np.sqrt(frames.var(axis=0).mean()))


def _frames(fingerprint: bytes) -> tuple[float, np.ndarray]:
    """(seconds between two, [frames, pixels] float32)."""
    return _HEAD.unpack_from(fingerprint)[0], _array([fingerprint[_HEAD.size:]])


def hashes(fingerprints: list[bytes]):
    """As fingerprints.image.hashes; one hash per clip."""
    packed, cosines = [], frequencies.cosines(SIDE, SIDE)
    for fingerprint in fingerprints:
        _, frames = _frames(fingerprint)
        maps = np.stack([frames.mean(axis=0), frames.std(axis=0)]).reshape(2, SIDE, SIDE)
        low = (cosines @ maps @ cosines.T).reshape(2, -1)[:, frequencies.lowest(SIDE, 32)]
        packed.append(frequencies.signs(low.T.ravel()))
    return np.array(packed, np.uint64), np.arange(len(packed)), np.zeros(len(packed), np.uint8)


def differences(pairs: list[tuple[bytes, bytes]]) -> list[float | None]:
    """As fingerprints.image.differences."""
    return [_difference(one, other) for one, other in pairs]


def _difference(one: bytes, other: bytes) -> float | None:
    (step, frames), (other_step, others) = _frames(one), _frames(other)
    seconds, other_seconds = (len(frames) - 1) * step, (len(others) - 1) * other_step
    shorter = min(seconds, other_seconds)
    pace = max(step, other_step)
    best = 0.0
    least = max(_LEAST_SECONDS, _LEAST_SHARE * shorter)
    # A shift is the time in `other` at which `one` begins, by fifths of a step: its thumbnails lie between those of it.
    for number in range(int(-5 * seconds / pace), int(5 * other_seconds / pace) + 1):
        shift = number * pace / 5
        begin, end = max(0.0, -shift), min(seconds, other_seconds - shift)
        if end - begin < least:
            continue
        times = np.arange(begin, end + 1e-6, pace)
        best = max(best, _correlation(_at(frames, times / step), _at(others, (times + shift) / other_step)))
    return max(0.0, 1 - best) / (1 - _SIMILAR) if best >= _SIMILAR else None


def _at(frames: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The frames at places between them, linearly."""
    places = np.clip(places, 0, len(frames) - 1)
    below = np.minimum(places.astype(int), len(frames) - 2)
    share = (places - below)[:, np.newaxis].astype(np.float32)
    return frames[below] * (1 - share) + frames[below + 1] * share


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of the differences from the mean frame; at most that of the mean frames. 0 if hardly anything moves."""
    means = [frames.mean(axis=0) for frames in (one, other)]
    moves = [frames - mean for frames, mean in zip((one, other), means, strict=True)]
    if min(float(np.sqrt(np.square(move).mean())) for move in moves) < _MOVES:
        return 0.0
    still = [mean - mean.mean() for mean in means]
    return min(_cosine(*moves), _cosine(*still) + 0.05)


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float((one * other).sum() / max(float(np.linalg.norm(one) * np.linalg.norm(other)), 1e-6))
