"""The fingerprint of a sound, and its loudness. Its hashes, and how alike two fingerprints are.

A fingerprint has stretches of half a second around the loudest moments, which trimming leaves where they are. Of each
it keeps, as Haitsma and Kalker 2002, a bit per frame and band: whether the difference between the energies of two
neighbouring bands grows or shrinks. Frames are shorter than theirs and bands are narrower, because sounds of a second
or less are common in data sets: who says a word twice gives other bits, a codec, another rate, gain and slight noise
hardly any. The hash of a stretch is of the lowest frequencies of its spectrogram's cosine transform.
"""

import functools
import itertools
import math
import struct

import numpy as np

from media.fingerprints import frequencies

TABLES, MAX_DIFFERENT = 10, 16  # as for images
_RATE = 16_000  # Hz, of the samples that readers give
_WINDOW, _HOP = 1_024, 256  # samples: 64 and 16 ms
_BANDS, _LOWEST, _HIGHEST = 33, 200.0, 3_600.0  # Hz; below 4 kHz, as sounds of 8 kHz have no more
_FRAMES = 32  # of a stretch
_HASHED = 12  # frequencies of time and of pitch, among which are the lowest 64
_STRETCHES = 3
_FAINT = 1e-3  # -60 dBFS, the RMS of a stretch: fainter takes no part
_HEAD = struct.Struct('<BQ')  # the frames and the hash of a stretch; the bits follow, four bytes per frame
_LEAST_FRAMES, _MOST_SHIFT = 8, 6
# The largest shares of different bits of near duplicates: of long stretches, and of the shortest.
_DIFFERENT, _DIFFERENT_SHORT = 0.23, 0.18
_DIFFERENT_COARSE = 0.36  # the largest share in some of the frames, of which more than that in all is hardly ever less


def loudness_dbfs(samples: np.ndarray) -> float:
    """The RMS of int16 [samples] in dBFS, where a square wave at full scale has 0 dBFS, and a sine -3 dBFS.

    At least -100, which stands for digital silence: the least sound that 16 bits hold has -90 dBFS.
    """
    # einsum converts a buffer at a time, and so needs no second copy of a long sound.
    mean_square = float(np.einsum('i,i', samples, samples, dtype=np.float64)) / max(1, len(samples))
    return max(-100.0, 10 * math.log10(mean_square / 32768 ** 2)) if mean_square else -100.0


def fingerprint(samples: np.ndarray) -> bytes:
    """samples: int16 [n] at 16 kHz. b'' if the sound is too faint or too short."""
    samples = _without_silence(samples)
    if len(samples) < _WINDOW + _LEAST_FRAMES * _HOP:
        return b''
    length, parts = (_FRAMES - 1) * _HOP + _WINDOW, []
    for middle in _loudest(samples):
        begin = middle - length // 2
        inside = samples[max(0, begin):begin + length].astype(np.float32)
        inside *= np.sqrt(len(inside) / (inside @ inside))
        before = max(0, -begin)
        first, last = -(-before // _HOP), (before + len(inside) - _WINDOW) // _HOP
        if last - first < _LEAST_FRAMES:
            continue
        energies = _energies(inside, before)
        grows = np.diff(np.diff(energies[first:last + 1], axis=1), axis=0) > 0  # [frames - 1, 32]
        parts.append(_HEAD.pack(len(grows), _hash(energies)) + np.packbits(grows).tobytes())
    return b''.join(parts)


def _without_silence(samples: np.ndarray) -> np.ndarray:
    """samples: int16 [n]. From the first that is not silence, 60 dB below the peak, to about the last one: a view.

    So frames begin at the same places whatever silence is added, and none of it counts as equal bits.
    """
    blocks = samples[:len(samples) // _HOP * _HOP].reshape(-1, _HOP)
    peaks = np.maximum(blocks.max(axis=1).astype(np.int32), -blocks.min(axis=1).astype(np.int32))
    limit = peaks.max(initial=0) // 1_000
    sounding = np.flatnonzero(peaks > limit)
    if not len(sounding):
        return samples[:0]
    begin = int(sounding[0]) * _HOP
    begin += int(np.argmax(np.abs(samples[begin:begin + _HOP].astype(np.int32)) > limit))
    silent_end = sounding[-1] < len(blocks) - 1
    return samples[begin:(int(sounding[-1]) + 1) * _HOP if silent_end else len(samples)]


def _loudest(samples: np.ndarray) -> list[int]:
    """samples: int16 [n]. The places of the loudest moments, half a second apart or more, the loudest first."""
    blocks = samples[:len(samples) // _HOP * _HOP].reshape(-1, _HOP)
    squares = np.einsum('ij,ij->i', blocks, blocks, dtype=np.float64) / (_HOP * 32768.0 ** 2)
    loud = np.convolve(squares, _smooth(), 'same')
    found: list[int] = []
    for _ in range(_STRETCHES):
        peak = int(loud.argmax())
        if loud[peak] < _FAINT ** 2:
            break
        found.append(peak * _HOP + _HOP // 2)
        loud[max(0, peak - _FRAMES):peak + _FRAMES] = 0
    return found


def _energies(sound: np.ndarray, before: int) -> np.ndarray:
    """[_FRAMES, _BANDS]: logarithms of the bands' energies of a stretch that begins `before` samples before the sound.

    Silence is around the sound, so that one that is padded with silence has the same hash.
    """
    begin, end = max(0, before - _WINDOW) // _HOP, min(_FRAMES, -(-(before + len(sound)) // _HOP))  # frames with sound
    stretch = np.zeros((end - begin - 1) * _HOP + _WINDOW, np.float32)
    at = before - begin * _HOP
    stretch[at:at + len(sound)] = sound
    frames = np.ndarray((end - begin, _WINDOW), stretch.dtype, stretch, 0, (_HOP * stretch.itemsize, stretch.itemsize))
    spectrum = np.fft.rfft(frames * _hann())[:, :len(_bands())].astype(np.complex64)  # only the bins of the bands
    energies = np.zeros((_FRAMES, _BANDS), np.float32)
    energies[begin:end] = (spectrum.real ** 2 + spectrum.imag ** 2) @ _bands()
    return np.log(energies + np.float32(1e-2))


@functools.cache
def _hann() -> np.ndarray:
    """float64, which is what the FFT computes with."""
    return np.hanning(_WINDOW)


@functools.cache
def _smooth() -> np.ndarray:
    return np.hanning(11)[1:-1] / 5


@functools.cache
def _bands() -> np.ndarray:
    """[bins, _BANDS]: triangles, equally wide on a logarithmic scale. No higher bin has a share in one."""
    edges = np.geomspace(_LOWEST, _HIGHEST, _BANDS + 2)
    at = np.fft.rfftfreq(_WINDOW, 1 / _RATE)[:, np.newaxis]
    width = _RATE / _WINDOW  # at the low end bands are narrower than a bin
    rising = (at - edges[:-2]) / np.maximum(edges[1:-1] - edges[:-2], width)
    falling = (edges[2:] - at) / np.maximum(edges[2:] - edges[1:-1], width)
    shares = np.clip(np.minimum(rising, falling), 0, 1).astype(np.float32)
    return shares[:np.flatnonzero(shares.any(axis=1))[-1] + 1]


def _hash(energies: np.ndarray) -> int:
    low = frequencies.cosines(len(energies), _HASHED) @ energies @ frequencies.cosines(_BANDS, _HASHED).T
    return int(frequencies.signs(low.ravel()[frequencies.lowest(_HASHED, 64)]))


def _parts(fingerprint: bytes) -> list[tuple[int, np.ndarray]]:
    """(hash, uint32 [frames], a bit for each band) of each stretch."""
    parts, at = [], 0
    while at < len(fingerprint):
        frames, number = _HEAD.unpack_from(fingerprint, at)
        at += _HEAD.size
        parts.append((number, np.frombuffer(fingerprint, '<u4', frames, at)))
        at += 4 * frames
    return parts


def hashes(fingerprints: list[bytes]):
    """As fingerprints.image.hashes; a hash per stretch. All are views of 0, because any may match any other."""
    found = [(number, owner) for owner, fingerprint in enumerate(fingerprints) for number, _ in _parts(fingerprint)]
    numbers, owners = zip(*found, strict=True)
    return np.array(numbers, np.uint64), np.array(owners), np.zeros(len(found), np.uint8)


def differences(pairs: list[tuple[bytes, bytes]]) -> list[float | None]:
    """As fingerprints.image.differences: of the bits at the best shift of a stretch of one along one of the other."""
    stretches, places = [], {}  # of each fingerprint its stretches' places
    for fingerprint in dict.fromkeys(itertools.chain.from_iterable(pairs)):
        its = [stretch for _, stretch in _parts(fingerprint)]
        places[fingerprint] = range(len(stretches), len(stretches) + len(its))
        stretches += its
    compared = [(pair, one, other) for pair, prints in enumerate(pairs)
                for one, other in itertools.product(*map(places.__getitem__, prints))]
    owners, one_places, other_places = np.array(compared, int).reshape(-1, 3).T
    bits, lengths = _padded(stretches)
    ones, others = (bits[one_places], lengths[one_places]), (bits[other_places], lengths[other_places])
    # First by every fourth frame: most candidates end here.
    near = np.zeros(len(owners), bool)
    for _, different in _shifted(ones, others, every=4):
        near |= different <= _DIFFERENT_COARSE
    owners, (ones, others) = owners[near], [(bits[near], lengths[near]) for bits, lengths in (ones, others)]
    least = np.full(len(owners), np.inf)
    for frames, different in _shifted(ones, others):
        most = np.interp(frames, (_LEAST_FRAMES, _FRAMES), (_DIFFERENT_SHORT, _DIFFERENT))
        least = np.minimum(least, different / most)
    found = np.full(len(pairs), np.inf)
    np.minimum.at(found, owners, least)
    return [float(difference) if difference <= 1 else None for difference in found]


def _shifted(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], every: int = 1):
    """Of n pairs of stretches, for each shift of one along the other: the frames that they share, [n], and the share of
    different bits in them, [n]; 1 if the frames are too few.

    one, other: from _padded. every: so many frames apart are those that are compared.
    """
    (ones, lengths), (others, other_lengths) = one, other
    least = np.maximum(_LEAST_FRAMES - 1, 0.6 * np.minimum(lengths, other_lengths))
    for shift in range(-_MOST_SHIFT, _MOST_SHIFT + 1):
        begin, other_begin = max(0, shift), max(0, -shift)
        frames = np.minimum(lengths - begin, other_lengths - other_begin)
        width = _FRAMES - max(begin, other_begin)
        compared = ones[:, begin:begin + width:every] ^ others[:, other_begin:other_begin + width:every]
        bits = _ONES[compared.view(np.uint8)]
        inside = np.arange(0, width, every) < frames[:, np.newaxis]
        count = 32 * np.maximum(1, -(-frames // every))
        different = (bits * np.repeat(inside, 4, axis=1)).sum(axis=1) / count
        yield frames, np.where(frames >= least, different, 1.0)


# The number of bits that are 1 in each byte.
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, np.newaxis], axis=1).sum(axis=1).astype(np.uint8)


def _padded(stretches: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """uint32 [n, _FRAMES], and the lengths [n] before they were filled with zeros."""
    padded = np.zeros((len(stretches), _FRAMES), np.uint32)
    for row, stretch in zip(padded, stretches, strict=True):
        row[:len(stretch)] = stretch
    return padded, np.array([len(stretch) for stretch in stretches], int)
