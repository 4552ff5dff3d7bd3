"""What a task says of its media: how files are found, which columns of a manifest say what, how large one may be.

No TensorFlow here. The listing (components/media_example_gen/listing) and the readers do what these words name.
"""

import dataclasses

from model_code.errors import ConfigError

# How a task's files and labels are found below its `data`; '' takes 'folders' without a manifest, else the manifest's
# ending. The published names are those of the data sets' own annotation files.
FORMATS = ('', 'folders', 'csv', 'jsonl', 'tar', 'kinetics', 'moments', 'audioset', 'vggsound', 'imagenet', 'pets',
           'cifar10', 'cifar100')


@dataclasses.dataclass(frozen=True)
class Columns:
    """The names of a manifest's columns (CSV) or keys (JSON lines).

    label: '' takes 'label' or 'labels', whichever is there. start, end: seconds of a longer sound or video; a manifest
    need not have them, nor split. extra: columns kept in the examples as slice features for evaluation.
    """
    path: str = 'path'
    label: str = ''
    split: str = 'split'
    start: str = 'start'
    end: str = 'end'
    extra: tuple[str, ...] = ()


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
