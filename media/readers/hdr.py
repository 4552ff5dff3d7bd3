"""Pictures with a high dynamic range (PQ or HLG) -> the standard range and colours of BT.709, as a screen shows them.

Phones record HLG and PQ. Their codes, taken for those of a standard picture, look grey and flat. The curves are those
of ITU-R BT.2100. Luminance above that of a standard screen, whose white is the reference white of 203 cd/m2 (BT.2408),
is compressed by the EETF of BT.2390, which leaves the darker half as it is; by the largest of red, green and blue, so
that hues stay. Colours outside of BT.709 are clipped.

Limits: the brightest white is taken to be 1,000 cd/m2, whatever the file's metadata say, and what is brighter becomes
white; dynamic metadata (HDR10+, Dolby Vision) and maps of gain are not used.
"""

import functools

import numpy as np

PQ, HLG = 16, 18  # transfer characteristics of ITU-T H.273; all others are of a standard range
_WHITE, _PEAK = 203.0, 1000.0  # cd/m2
_BLOCK = 1 << 16  # pixels at a time, so that they stay in the processor's cache
_LEVELS = 65_536  # of 16 bits, which index the tables
_P3 = 12  # colour primaries of ITU-T H.273: P3 with the white of D65; all others that come with PQ or HLG are BT.2020

# Linear RGB with these primaries -> with those of BT.709: BT.2020 by BT.2087, inverted; P3 by SMPTE EG 432-1.
_TO_709 = {
    False: ((1.6605, -0.5876, -0.0728), (-0.1246, 1.1329, -0.0083), (-0.0182, -0.1006, 1.1187)),
    True: ((1.2249, -0.2247, 0.0), (-0.0420, 1.0419, 0.0), (-0.0197, -0.0786, 1.0979)),
}
_LUMA_2020 = (0.2627, 0.6780, 0.0593)
_M1, _M2, _C1, _C2, _C3 = 2610 / 16384, 2523 / 4096 * 128, 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32


def is_hdr(transfer: int) -> bool:
    """Whether these transfer characteristics (ITU-T H.273) are those of PQ or HLG."""
    return transfer in (PQ, HLG)


def to_sdr(codes: np.ndarray, transfer: int, primaries: int = 9) -> np.ndarray:
    """[height, width, 3] uint16 of full range, with these characteristics -> [height, width, 3] uint8 of BT.709."""
    pixels, result = codes.reshape(-1, 3), np.empty((codes.size // 3, 3), np.uint8)
    matrix = (np.array(_TO_709[primaries == _P3], np.float32) / _WHITE * (_LEVELS - 1)).T
    for start in range(0, len(pixels), _BLOCK):
        mapped = _mapped(pixels[start:start + _BLOCK], transfer) @ matrix
        result[start:start + _BLOCK] = _codes_of_709().take(np.clip(mapped, 0, _LEVELS - 1).astype(np.uint16))
    return result.reshape(codes.shape)


def _mapped(codes: np.ndarray, transfer: int) -> np.ndarray:
    """[n, 3] uint16 -> cd/m2 in [0, _WHITE], float32, before colours are clipped."""
    if transfer == PQ:  # the brightest light is that of the largest code
        light, scale = _pq_tables()
        return light.take(codes) * scale.take(codes.max(axis=1))[:, np.newaxis]
    scene = _hlg_scene().take(codes)
    luma = scene @ np.array(_LUMA_2020, np.float32)
    light = scene * (_PEAK * luma ** np.float32(0.2))[:, np.newaxis]  # the OOTF, whose gamma is 1.2
    level = np.minimum(light.max(axis=1), _PEAK) * np.float32((_LEVELS - 1) / _PEAK)
    return light * _scale_of_light().take(level.astype(np.uint16))[:, np.newaxis]


@functools.cache
def _codes_of_709() -> np.ndarray:
    """[65536] uint8: linear light -> the code for which a screen shows it (BT.1886)."""
    return np.rint(255 * np.linspace(0, 1, _LEVELS) ** (1 / 2.4)).astype(np.uint8)


@functools.cache
def _pq_tables() -> tuple[np.ndarray, np.ndarray]:
    """[65536] float32 each: a PQ code -> cd/m2, and the factor by which its compression changes that."""
    light = _pq_to_light(np.linspace(0, 1, _LEVELS))
    return light.astype(np.float32), (_compressed(light) / np.maximum(light, 1e-9)).astype(np.float32)


@functools.cache
def _scale_of_light() -> np.ndarray:
    """[65536] float32: the factors for cd/m2 from 0 to _PEAK."""
    light = np.linspace(0, _PEAK, _LEVELS)
    light[0] = light[1]
    return (_compressed(light) / light).astype(np.float32)


@functools.cache
def _hlg_scene() -> np.ndarray:
    """[65536] float32: an HLG code -> the light of the scene in [0, 1], by the inverse OETF of BT.2100."""
    codes = np.linspace(0, 1, _LEVELS)
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes ** 2 / 3, (np.exp((codes - c) / a) + b) / 12).astype(np.float32)


def _pq_to_light(codes: np.ndarray) -> np.ndarray:
    """PQ codes -> cd/m2: the EOTF of BT.2100."""
    power = codes ** (1 / _M2)
    return 10_000 * (np.maximum(power - _C1, 0) / (_C2 - _C3 * power)) ** (1 / _M1)


def _light_to_pq(light: np.ndarray | float) -> np.ndarray:
    power = (np.asarray(light) / 10_000) ** _M1
    return ((_C1 + _C2 * power) / (1 + _C3 * power)) ** _M2


def _compressed(light: np.ndarray) -> np.ndarray:
    """cd/m2 up to _PEAK -> up to _WHITE: the EETF of BT.2390, for a black of 0."""
    code = np.minimum(_light_to_pq(light) / _light_to_pq(_PEAK), 1)
    most = _light_to_pq(_WHITE) / _light_to_pq(_PEAK)
    knee = 1.5 * most - 0.5
    t = np.maximum(code - knee, 0) / (1 - knee)
    spline = ((2 * t ** 3 - 3 * t ** 2 + 1) * knee + (t ** 3 - 2 * t ** 2 + t) * (1 - knee)
              + (-2 * t ** 3 + 3 * t ** 2) * most)
    return np.where(code < knee, light, _pq_to_light(spline * _light_to_pq(_PEAK)))
