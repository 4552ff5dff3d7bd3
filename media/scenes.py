"""Finds clips of the same scene: those with the same background, whoever walks through it.

    scenes = Scenes()
    for each clip: scenes.add(entry, views(frames))
    for scene in scenes.find(): ...    # a list of entries

A clip's background is the median of some of its frames, pixel by pixel: what moves is seldom in more than half of them.
Backgrounds are compared in cells of 4 x 4 pixels, each with its own brightness and contrast taken out, so that a lamp,
a caption or a person changes only a few cells. Cells without texture say nothing.

All pairs are compared, as products of matrices: up to MAX_CLIPS by less work than decoding. What is kept of a clip,
7 kB, is in a temporary file. numpy and Pillow only.
"""

import io
import tempfile
from collections.abc import Iterable

import numpy as np
from PIL import Image

from media.entries import Entry
from model_code.errors import ConfigError
from model_code.modalities import get_modality

MAX_CLIPS = 100_000  # of one task: 0.7 GB in a temporary file

# The likeness from which on two clips are of one scene. Of 240 real clips, no two of different scenes reach 0.39.
SAME_SCENE = 0.40

_FRAMES = 7  # of a clip, evenly
_WIDTH, _HEIGHT, _CELL = 32, 24, 4  # pixels of a background, and of the side of a cell
_CELLS, _CELL_VALUES = _WIDTH * _HEIGHT // _CELL ** 2, _CELL ** 2 * 3
_NOISE = 2.0  # added to the deviation of a cell, in grey levels of 255: faint texture counts less
_TEXTURE = 3.0  # a cell with a smaller deviation has none
_MIN_CELLS = _CELLS // 2  # plainer clips cannot be told apart: what moves in them would count as their background
_SCALE = 200  # of values in int8: those beyond 0.63 are cut
_BLOCK = 1024  # clips compared at once

# The views of a clip that are compared: all of it with all of it, and one's end with the other's beginning, because
# clips are often cut one after the other from a recording whose camera moves.
_WHOLE, _BEGIN, _END = range(3)
_COMPARED = ((_WHOLE, _WHOLE), (_BEGIN, _END), (_END, _BEGIN))


def has_scenes(modality: str) -> bool:
    """Whether the media of the modality have a background that stands still: they are pictures over time."""
    row = get_modality(modality)
    return row.timed and row.repeated


def views(frames: list[bytes]) -> np.ndarray:
    """[3, 48, 48] int8: a clip's background in all of it, in its first frames, and in its last ones.

    Each row is a cell: 16 pixels in red, green and blue, with mean 0 and a norm below 1, times 200; or zeros if the
    cell has no texture. frames: encoded pictures, as a reader returns them.
    """
    numbers = np.linspace(0, len(frames) - 1, min(_FRAMES, len(frames))).round().astype(int)
    pictures = np.stack([_small(frames[i]) for i in numbers])
    part = -(-3 * len(pictures) // _FRAMES)
    return np.stack([_cells(np.median(some, axis=0)) for some in (pictures, pictures[:part], pictures[-part:])])


def _small(encoded: bytes) -> np.ndarray:
    """An encoded picture -> [24, 32, 3] uint8."""
    image = Image.open(io.BytesIO(encoded), formats=('JPEG', 'PNG'))
    return np.asarray(image.convert('RGB').resize((_WIDTH, _HEIGHT), Image.Resampling.BOX))


def _cells(picture: np.ndarray) -> np.ndarray:
    """[24, 32, 3] -> [48, 48] int8, as in `views`."""
    cells = picture.reshape(_HEIGHT // _CELL, _CELL, _WIDTH // _CELL, _CELL, 3).transpose(0, 2, 1, 3, 4)
    cells = cells.reshape(_CELLS, _CELL_VALUES)
    cells = cells - cells.mean(axis=1, keepdims=True)
    deviation = cells.std(axis=1, keepdims=True)
    unit = np.where(deviation > _TEXTURE, cells / (deviation + _NOISE) / np.sqrt(_CELL_VALUES), 0)
    return np.clip(np.round(_SCALE * unit), -127, 127).astype(np.int8)


class Scenes:
    """The clips of a task, and which of them are of one scene."""

    def __init__(self):
        self._entries: list[Entry] = []
        self._views = tempfile.TemporaryFile()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry, clip_views: np.ndarray):
        """clip_views: from `views`. Raises ConfigError if there are too many clips."""
        if len(self._entries) >= MAX_CLIPS:
            raise ConfigError(f'Scenes are looked for in at most {MAX_CLIPS:,} clips of a task. Look at a part of '
                              'them, such as a folder.')
        self._entries.append(entry)
        self._views.write(clip_views.tobytes())

    def find(self) -> list[list[Entry]]:
        """All clips by scene, in the order of their first clips. A scene that no other clip shares has one.

        Likeness goes on from clip to clip: a scene holds all that are like any of it. Segments of one file are always
        one scene.
        """
        leader = np.arange(len(self._entries))  # of each clip: the first one of its scene
        first_of_file: dict[str, int] = {}
        for number, entry in enumerate(self._entries):
            leader[number] = first_of_file.setdefault(f'{entry.path}!{entry.member}', number)
        for begin in range(0, len(leader), _BLOCK):
            one = self._block(begin)
            for other_begin in range(0, begin + 1, _BLOCK):
                other = self._block(other_begin)
                alike = np.maximum.reduce([_likeness(one[i], other[j]) for i, j in _COMPARED]) >= SAME_SCENE
                rows, columns = np.nonzero(alike)
                _join(leader, rows + begin, columns + other_begin)
        found: dict[int, list[Entry]] = {}
        for number, entry in enumerate(self._entries):
            found.setdefault(int(leader[number]), []).append(entry)
        return list(found.values())

    def _block(self, begin: int) -> list[tuple[np.ndarray, np.ndarray]]:
        """For each view, the values of up to _BLOCK clips and which of their cells have texture, both float32."""
        count = min(_BLOCK, len(self._entries) - begin)
        size = 3 * _CELLS * _CELL_VALUES
        self._views.seek(begin * size)
        stored = np.frombuffer(self._views.read(count * size), np.int8).reshape(count, 3, _CELLS, _CELL_VALUES)
        return [(stored[:, i].reshape(count, -1).astype(np.float32) / _SCALE,
                 stored[:, i].any(axis=-1).astype(np.float32)) for i in range(3)]


def _likeness(one, other) -> np.ndarray:
    """[clips, other clips]: the mean correlation of the cells that have texture in at least one of both."""
    (values, texture), (other_values, other_texture) = one, other
    cells = texture.sum(axis=1)[:, np.newaxis] + other_texture.sum(axis=1) - texture @ other_texture.T
    return values @ other_values.T / np.maximum(cells, _MIN_CELLS)


def _join(leader: np.ndarray, some: np.ndarray, others: np.ndarray):
    """Joins the scenes of clip some[i] and clip others[i], for all i. leader: that of each clip; it is changed."""
    while True:
        pairs = np.unique(np.stack([leader[some], leader[others]]), axis=1)
        pairs = pairs[:, pairs[0] != pairs[1]]
        if not pairs.size:
            return
        lower, upper = pairs.min(axis=0), pairs.max(axis=0)
        # Each leader follows the lowest one that it is joined with; the next round joins what these lead to.
        np.minimum.at(leader, upper, lower)
        while (leader[leader] != leader).any():
            leader[:] = leader[leader]


def shared_with_train(groups: Iterable[list[Entry]]) -> int:
    """How many examples of eval are in a group that has examples of train, too."""
    return sum(sum(entry.split == 'eval' for entry in group) for group in groups
               if any(entry.split == 'train' for entry in group))


def remark(task: str, found: list[list[Entry]]) -> str:
    """What `found` (from Scenes.find) means, as a line of `polyvit data check`."""
    in_eval = sum(entry.split == 'eval' for scene in found for entry in scene)
    return (f'by their backgrounds, the clips are of {len(found):,} scenes, and {shared_with_train(found):,} of '
            f'{in_eval:,} eval clips share theirs with train, so the evaluation says little about new scenes: '
            f'`polyvit data scenes CONFIG {task} -o scenes.csv` writes the scenes to a file for `groups`')
