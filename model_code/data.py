"""What a task says of its media: how files are found, which columns of a manifest say what, how large one may be.

No TensorFlow here. The listing (media/listing) and the readers do what these words name.
"""

import dataclasses
import re

from model_code.errors import ConfigError

# How a task's files and labels are found below its `data`; '' takes 'folders' without a manifest, else the manifest's
# ending. The published names are those of the data sets' own annotation files.
FORMATS = ('', 'folders', 'csv', 'jsonl', 'tar', 'kinetics', 'moments', 'audioset', 'vggsound', 'imagenet', 'pets',
           'cifar10', 'cifar100')
# Those that are read from the annotation files that `manifest` names, and those that hold one modality.
WITH_MANIFEST = ('csv', 'jsonl', 'kinetics', 'moments', 'audioset', 'vggsound', 'pets')
MODALITIES_OF = {'kinetics': ('video', 'audio'), 'moments': ('video', 'audio'), 'audioset': ('audio', 'video'),
                 'vggsound': ('audio', 'video'), 'imagenet': ('image',), 'pets': ('image',), 'cifar10': ('image',),
                 'cifar100': ('image',)}

# The features that examples have of our own: an extra column may not be called so.
FEATURES = ('id', 'label', 'labels', 'image', 'audio', 'frames', 'height', 'width', 'duration_s', 'log_mel_mean',
            'log_mel_stddev')


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of a manifest's columns (CSV) or keys (JSON lines).

    label: '' takes 'label' or 'labels', whichever is there. start, end: seconds of a longer sound or video; a manifest
    need not have them, nor split. extra: columns kept in the examples as slice features for evaluation, each a feature
    of the column's name (letters, digits and underscores). '' for split, start or end: that column is not looked at.
    """
    path: str = 'path'
    label: str = ''
    split: str = 'split'
    start: str = 'start'
    end: str = 'end'
    extra: tuple[str, ...] = ()

    def __post_init__(self):
        for name in self.extra:
            if not re.fullmatch(r'[A-Za-z][A-Za-z0-9_]*', name) or name in FEATURES:
                raise ConfigError(f'columns: the extra column {name!r} becomes a feature of this name: use letters, '
                                  f'digits and underscores, a letter first, and none of {", ".join(FEATURES)}.')
        named = [name for name in (self.path, self.label, self.split, self.start, self.end, *self.extra) if name]
        for name in named:
            if named.count(name) > 1:
                raise ConfigError(f'columns: {name!r} is named twice; each column says one thing.')
        if not self.path:
            raise ConfigError("columns: path is empty; name the column of the files' paths.")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a file may be at most; 0 takes the modality's own value of `LIMITS`.

    bytes: on disk. pixels: of an image or a frame. seconds: of the sound or video that becomes one example (the
    segment, where one is named). frames: stored of one video. decode_seconds: of the clock, to read one file.
    """
    bytes: int = 0
    pixels: int = 0
    seconds: float = 0.0
    frames: int = 0
    decode_seconds: float = 0.0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise ConfigError(f'limits: {field.name} is {getattr(self, field.name)}; it must be positive, or 0 for '
                                  "the modality's own.")

    def for_modality(self, modality: str) -> 'Limits':
        """These limits with the zeros filled in."""
        defaults = LIMITS[modality]
        return Limits(**{f.name: getattr(self, f.name) or getattr(defaults, f.name)
                         for f in dataclasses.fields(self)})


LIMITS = {
    'image': Limits(bytes=64 << 20, pixels=64_000_000, decode_seconds=20.0),
    'audio': Limits(bytes=1 << 30, seconds=600.0, decode_seconds=60.0),
    'video': Limits(bytes=64 << 30, pixels=16_000_000, seconds=300.0, frames=10_000, decode_seconds=300.0),
}
