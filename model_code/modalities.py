"""The table of modalities: what each takes in, how it is decoded, and which tokenizer reads it.

A new modality is one reader (media/readers), one module in model_code/preprocessing, one
tokenizer, one input class and one row of `MODALITIES` here. This module imports no TensorFlow: configs are checked and
costs are planned without it.
"""

import dataclasses
import importlib
import typing

from model_code.errors import ConfigError, unknown


def _check_divides(modality: str, what: str, size: int, patch: int):
    if patch < 1 or size < 1 or size % patch:
        raise ConfigError(f'{modality}: {what} is {size}, which the patch of {patch} does not divide. '
                          f'Choose a {what} that is a multiple of {patch}, or another patch.')


@dataclasses.dataclass(frozen=True)
class ImageInput:
    """Pixels [height, width, 3], float32 in [-1, 1], cut into patches."""
    height: int = 224
    """Rows of the model's input, a multiple of the patch's."""
    width: int = 224
    """Columns, likewise."""
    patch: tuple[int, int] = (16, 16)
    """Rows and columns of a patch, which becomes one token."""

    def __post_init__(self):
        _check_divides('image', 'height', self.height, self.patch[0])
        _check_divides('image', 'width', self.width, self.patch[1])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.height, self.width, 3)

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.height // self.patch[0], self.width // self.patch[1])


@dataclasses.dataclass(frozen=True)
class AudioInput:
    """A log-mel spectrogram [frames, mel_bins, channels], float32, cut into patches, of a sound at 16 kHz, mono."""
    frames: int = 800
    """Spectrogram frames; a shorter sound is padded with silence, a longer one cropped."""
    mel_bins: int = 128
    """Bins of the mel scale."""
    patch: tuple[int, int] = (16, 16)
    """Frames and bins of a patch, which becomes one token."""
    channels: int = 1
    """3 repeats the spectrogram, for a tokenizer that starts from a ViT's weights."""
    window_s: float = 0.025
    """Seconds of sound in one frame."""
    hop_s: float = 0.010
    """Seconds from one frame to the next."""

    def __post_init__(self):
        _check_divides('audio', 'frames', self.frames, self.patch[0])
        _check_divides('audio', 'mel_bins', self.mel_bins, self.patch[1])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, self.mel_bins, self.channels)

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.frames // self.patch[0], self.mel_bins // self.patch[1])


@dataclasses.dataclass(frozen=True)
class VideoInput:
    """Frames [frames, height, width, 3], float32 in [-1, 1], cut into tubelets."""
    frames: int = 32
    """Frames of the model's input, evenly spread over the clip."""
    height: int = 224
    """Rows of a frame, a multiple of the tubelet's."""
    width: int = 224
    """Columns, likewise."""
    patch: tuple[int, int, int] = (4, 16, 16)
    """Frames, rows and columns of a tubelet, which becomes one token."""
    frame_rate: float = 12.5
    """Frames per second that ingest stores."""
    short_side: int = 256
    """The most pixels that the short side of a stored frame has."""

    def __post_init__(self):
        _check_divides('video', 'frames', self.frames, self.patch[0])
        _check_divides('video', 'height', self.height, self.patch[1])
        _check_divides('video', 'width', self.width, self.patch[2])

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, self.height, self.width, 3)

    @property
    def grid(self) -> tuple[int, ...]:
        return (self.frames // self.patch[0], self.height // self.patch[1], self.width // self.patch[2])


@dataclasses.dataclass(frozen=True)
class Modality:
    """A row of the table.

    feature: the tf.Example feature, and serving input, that holds the encoded media.
    repeated: the feature is a list (a video's JPEG frames) rather than one value.
    reader_module: has `read(file, size, spec, limits, start, end) -> (features, notes)` (media.readers.read_by).
    preprocessing_module: has `decode(encoded, spec) -> tensor`, which also takes a training example's augmentations
      and seed, and `augment(tensor, spec, augmentations, seed)`.
    tokenizer: the class in model_code.tokenizers.
    extensions: file name endings listed in class folders, lower case.
    augmentations: what a task may name; `decode` or `augment` does it.
    """
    name: str
    input_class: type
    feature: str
    repeated: bool
    reader_module: str
    preprocessing_module: str
    tokenizer: str
    extensions: tuple[str, ...]
    augmentations: tuple[str, ...]

    @property
    def preprocessing(self) -> typing.Any:
        return importlib.import_module(self.preprocessing_module)


MODALITIES = {m.name: m for m in (
    Modality('image', ImageInput, 'image', False, 'media.readers.image', 'model_code.preprocessing.image',
             'ImageTokenizer', ('.jpg', '.jpeg', '.png'), ('flip', 'shift', 'inception_crop')),
    Modality('audio', AudioInput, 'audio', False, 'media.readers.audio', 'model_code.preprocessing.audio',
             'AudioTokenizer', ('.wav',), ('spec_augment', 'time_shift')),
    Modality('video', VideoInput, 'frames', True, 'media.readers.video', 'model_code.preprocessing.video',
             'VideoTokenizer', ('.mp4',),
             ('flip', 'shift', 'scale_jitter', 'colour_jitter', 'temporal_crop')),
)}


def get_modality(name: str) -> Modality:
    """The row named `name`; ConfigError lists the valid names."""
    if name not in MODALITIES:
        raise unknown('modality', name, MODALITIES)
    return MODALITIES[name]
