"""The fingerprint of an image: a grey thumbnail. Its hashes, and how alike two of them are.

The hash is that of pHash (Zauner 2010; the library imagehash has it, for one image at a time): the signs of the lowest
frequencies of the thumbnail's cosine transform. It hardly changes when an image is re-encoded, resized, brightened or
blurred. For small crops, the hashes of five crops are kept beside that of the whole.

Two images are alike if their edges are: the correlation of the gradients of the thumbnails, at the best of some crops
of one of them. Correlation of gray values would find any two digits alike, of gradients only those with the same
strokes. A thumbnail with few edges, such as of a handwritten 1, may resemble another by chance, so that it must be more
alike, and one with nearly none takes no part.
"""

import functools
import itertools

from PIL import Image

# Tables into which each hash is put: more find more near duplicates, and cost more memory. And the bits of 64 in which
# two hashes of near duplicates may differ.
TABLES, MAX_DIFFERENT = 4, 10
SIDE = 24  # pixels of a thumbnail's rows and columns
_HASHED = 10  # frequencies along each axis, among which are the lowest 64
_FLAT = 12  # grey levels; a thumbnail in which the lightest and the darkest differ by less has no detail
_CROPPED = 0.08  # of height and width, for the hashes of crops
# The places of the crops that are hashed, in _hashed_crops: the whole, the middle, and the four corners.
_ROWS, _COLUMNS = (0, 1, 2, 2, 3, 3), (0, 1, 2, 3, 2, 3)
_CROPS = (0.05, 0.1)  # of height or width, tried when two thumbnails are compared
# The least similarity of near duplicates with much detail and with little, and what much and little are.
# Of edges, the share of the thumbnail; of frequencies, how many. Blurred images, such as enlarged ones, have few.
_SIMILAR, _VERY_SIMILAR = 0.90, 0.985
_LITTLE_EDGES, _MUCH_EDGES, _FEW_FREQUENCIES, _MANY_FREQUENCIES = 0.11, 0.25, 22, 40


def look(image: Image.Image) -> tuple[float, bytes]:
    """(brightness, fingerprint) of an image, whatever its aspect.

    Brightness is the mean luma, from 0 (black) to 1 (white). The fingerprint is the thumbnail, [SIDE, SIDE] uint8, row
    by row: the luma averaged over areas; b'' if it has no detail.
    """
    # Reduced by whole numbers first, so that a large image costs a tenth of its decoding.
    small = image.convert('L').resize((SIDE, SIDE), Image.Resampling.BILINEAR, reducing_gap=2.0)
    thumbnail = small.tobytes()
    darkest, lightest = small.getextrema()
    has_detail = lightest - darkest >= _FLAT  # pyright: ignore[reportOperatorIssue]  (a single band)
    return sum(thumbnail) / (255 * len(thumbnail)), thumbnail if has_detail else b''


# numpy is imported where it is needed, because the process that decodes images does without: it takes half its start.

def hashes(fingerprints: list[bytes]):
    """(hashes, owners, views), each [m]: uint64, places of their fingerprints in the list, and 0 or a crop's number.

    A bit of a hash is the sign of a frequency, the lowest first.
    """
    import numpy as np

    from media.fingerprints import frequencies
    pictures = np.frombuffer(b''.join(fingerprints), np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)
    columns, rows = _hashed_crops()
    # Crops share rows, so that these come first.
    low = (columns @ pictures[:, np.newaxis])[:, _ROWS] @ rows[list(_COLUMNS)]
    packed = frequencies.signs(low.reshape(len(pictures), len(_ROWS), -1)[..., frequencies.lowest(_HASHED, 64)])
    count, number = packed.shape
    return packed.ravel(), np.repeat(np.arange(count), number), np.tile(np.arange(number, dtype=np.uint8), count)


@functools.cache
def _hashed_crops():
    """[places, _HASHED, SIDE] and [places, SIDE, _HASHED], for columns and for rows: matrices that stretch the part at
    each place to the whole, and transform it."""
    import numpy as np

    from media.fingerprints import frequencies
    parts = np.stack([_crop(1, 0), *(_crop(1 - _CROPPED, place) for place in (0.5, 0, 1))])
    matrices = frequencies.cosines(SIDE, _HASHED) @ parts
    return matrices, matrices.swapaxes(1, 2)


def _crop(size: float, place: float):
    """[SIDE, SIDE], a matrix that stretches a part of a column to the whole.

    size: of the part, of 1. place: 0 if it is at the beginning, 1 at the end.
    """
    import numpy as np
    at = np.clip((place * (1 - size) + (np.arange(SIDE) + 0.5) / SIDE * size) * SIDE - 0.5, 0, SIDE - 1)
    below = np.minimum(at.astype(int), SIDE - 2)
    matrix = np.zeros((SIDE, SIDE), np.float32)
    matrix[np.arange(SIDE), below] = 1 - (at - below)
    matrix[np.arange(SIDE), below + 1] = at - below
    return matrix


def differences(pairs: list[tuple[bytes, bytes]]) -> list[float | None]:
    """For each pair of near duplicates: from 0, the same, to 1, just alike enough for these two; None for other pairs.

    All at once, with some 100 kB for each picture.
    """
    import numpy as np
    if not pairs:
        return []
    number = {picture: place for place, picture in enumerate(dict.fromkeys(itertools.chain.from_iterable(pairs)))}
    pictures = np.frombuffer(b''.join(number), np.uint8).reshape(-1, SIDE, SIDE).astype(np.float32)
    ones, others = (np.array([number[pair[side]] for pair in pairs], int) for side in (0, 1))
    whole, least = _gradients(pictures), _least(pictures)
    least = np.maximum(least[ones], least[others])
    best = np.einsum('ij,ij->i', whole[ones], whole[others])
    # First crops at half the resolution, for a quarter of the work: most candidates end here.
    halved, halved_crops = _gradients(_halved(pictures)), _gradients(_halved_crops(pictures))
    for cropped, other in ((ones, others), (others, ones)):
        coarse = (halved_crops[cropped] @ halved[other][..., np.newaxis])[..., 0]
        near = np.flatnonzero((best < 0.99) & (coarse.max(axis=1) >= least - 0.1))
        likely = _crops(pictures[cropped[near]], np.argpartition(coarse[near], -3, axis=1)[:, -3:])
        fine = (_gradients(likely) @ whole[other[near]][..., np.newaxis])[..., 0]
        best[near] = np.maximum(best[near], fine.max(axis=1))
    found = np.maximum(0, 1 - best) / (1 - least)
    return [float(difference) if difference <= 1 else None for difference in found]


def _crops(pictures, numbers):
    """[n, SIDE, SIDE], and [n, k] numbers of crops, in the order of _halved_crops -> [n, k, SIDE, SIDE]."""
    axis = _axis_crops()
    return axis[numbers // len(axis)] @ pictures[:, None] @ axis[numbers % len(axis)].swapaxes(-2, -1)


def _halved_crops(pictures):
    """[n, SIDE, SIDE] -> [n, crops, SIDE / 2, SIDE / 2]: all crops, at half the resolution."""
    half = SIDE // 2
    axis = _axis_crops().reshape(-1, half, 2, SIDE).mean(axis=2).reshape(-1, SIDE)
    crops = (axis @ pictures @ axis.T).reshape(len(pictures), -1, half, len(axis) // half, half)
    return crops.swapaxes(2, 3).reshape(len(pictures), -1, half, half)


@functools.cache
def _axis_crops():
    import numpy as np
    return np.stack([_crop(1, 0)] + [_crop(1 - cropped, place) for cropped in _CROPS for place in (0, 0.5, 1)])


def _halved(pictures):
    """[..., SIDE, SIDE] -> [..., SIDE / 2, SIDE / 2], means."""
    return pictures.reshape(*pictures.shape[:-2], SIDE // 2, 2, SIDE // 2, 2).mean(axis=(-3, -1))


def _steps(pictures):
    """The differences of neighbours, to the right and downwards: each [..., SIDE - 1, SIDE - 1]."""
    import numpy as np
    return np.diff(pictures, axis=-1)[..., :-1, :], np.diff(pictures, axis=-2)[..., :-1]


def _gradients(pictures):
    """[..., SIDE, SIDE] -> [..., 2 (SIDE - 1)^2], of length 1."""
    import numpy as np
    steps = np.stack(_steps(pictures), axis=-3).reshape(*pictures.shape[:-2], 2 * (pictures.shape[-1] - 1) ** 2)
    return steps / np.maximum(np.linalg.norm(steps, axis=-1, keepdims=True), 1e-6)


def _least(pictures):
    """[n, SIDE, SIDE] thumbnails -> [n], the least similarity of a near duplicate of each."""
    import numpy as np

    from media.fingerprints.frequencies import cosines
    right, down = _steps(pictures)
    edges = right ** 2 + down ** 2
    frequencies = (cosines(SIDE, SIDE) @ pictures @ cosines(SIDE, SIDE).T) ** 2 * _squares()
    return np.maximum(
        np.interp(_effective(edges) / edges[0].size, (_LITTLE_EDGES, _MUCH_EDGES), (_VERY_SIMILAR, _SIMILAR)),
        np.interp(_effective(frequencies), (_FEW_FREQUENCIES, _MANY_FREQUENCIES), (_VERY_SIMILAR, _SIMILAR)))


@functools.cache
def _squares():
    """[SIDE, SIDE]: the squares of frequencies, by which a gradient weighs them."""
    import numpy as np
    step = np.arange(SIDE, dtype=np.float32)
    return step[:, np.newaxis] ** 2 + step ** 2


def _effective(energies):
    """How many of each [n, ...] energies are large: their participation ratios [n], from 1 to their number."""
    import numpy as np
    return energies.sum(axis=(1, 2)) ** 2 / np.maximum((energies ** 2).sum(axis=(1, 2)), 1e-6)
