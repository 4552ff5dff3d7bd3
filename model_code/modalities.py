"""The table of modalities: the input of each, and the modules that read, decode and tokenize it.

A new modality is a reader (media/readers), a module in model_code/preprocessing, a tokenizer, a schema, an input class,
and a row of `MODALITIES` here. Nothing else knows modalities by name. No TensorFlow here, so configs can be checked and
costs planned without it.
"""

import abc
import dataclasses
import functools
import importlib
import math
import statistics
import typing

from model_code.errors import ConfigError, unknown
from model_code.fields import check_fields, check_least

MOST_VIEWS = 64  # of an example: each takes as long as the whole example without views


SOUND_RATE = 16_000  # Hz, of all sounds that are stored
# Hz, of the sounds that the exported graph resamples. Ingest does so from any rate.
COMMON_SOUND_RATES = (8_000, 11_025, 12_000, 22_050, 24_000, 32_000, 44_100, 48_000)


@dataclasses.dataclass(frozen=True)
class Input(abc.ABC):
    """The input of a modality's tokenizer: a tensor of `shape` (the last axis is channels), cut into patches.

    A subclass gives `modality` its name as the default, and defines `shape` and `patch` (the sizes of a patch along
    each axis but the last). All its fields have defaults.
    """
    modality: str = dataclasses.field(init=False, repr=False)

    def __post_init__(self):
        check_fields(self, f'{self.modality}: ')

    @property
    @abc.abstractmethod
    def patch(self) -> tuple[int, ...]: ...

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]: ...

    @property
    def views(self) -> int:
        """How many windows of one example the exported model averages over; a modality in time has a field for it."""
        return 1

    @property
    def grid(self) -> tuple[int, ...]:
        """The number of patches along each axis."""
        return tuple(size // patch for size, patch in zip(self.shape, self.patch, strict=False))

    @classmethod
    def suggested(cls, sizes: list[dict], large: bool) -> 'Input':
        """An input for media of these sizes, which a new config starts with.

        sizes: of each of some examples, the features in `Modality.sizes`. large: for training on an accelerator, rather
        than on a CPU in minutes.
        """
        del sizes, large
        return cls()

    def check_views(self):
        """Raises ConfigError if there are fewer views than 1 or more than MOST_VIEWS."""
        if not 1 <= self.views <= MOST_VIEWS:
            raise ConfigError(f'{self.modality}: views is {self.views}; it must be from 1 to {MOST_VIEWS}.')

    def check_divides(self, field: str, patch: int):
        """Raises ConfigError if the patch does not divide the size that the field gives, or one is not positive."""
        check_least(self, f'{self.modality}: ', **{field: 1})
        size = getattr(self, field)
        if patch < 1:
            raise ConfigError(f'{self.modality}: patch is {self.patch}; each of its sizes must be at least 1.')
        if size % patch:
            raise ConfigError(f'{self.modality}: {field} is {size}, which the patch of {patch} does not divide. '
                              f'Choose a {field} that is a multiple of {patch}, or another patch.')


def _side_and_patch(sizes: list[dict], table: tuple[tuple[float, int, int], ...]) -> tuple[int, int]:
    """(side, patch) of the first row of (the largest side that it is for, side, patch) that fits the median side."""
    median = statistics.median(min(size['height'], size['width']) for size in sizes)
    return next((side, patch) for largest, side, patch in table if median <= largest)


@dataclasses.dataclass(frozen=True)
class ImageInput(Input):
    """Pixels [height, width, 3], float32 in [-1, 1], cut into patches."""
    modality: str = dataclasses.field(default='image', init=False, repr=False)
    height: int = 224
    """Rows of the model's input; a multiple of the patch's rows."""
    width: int = 224
    """Columns of the model's input; a multiple of the patch's columns."""
    patch: tuple[int, int] = (16, 16)
    """Rows and columns of a patch, which becomes one token."""

    def __post_init__(self):
        super().__post_init__()
        self.check_divides('height', self.patch[0])
        self.check_divides('width', self.patch[1])

    @classmethod
    def suggested(cls, sizes: list[dict], large: bool) -> 'ImageInput':
        """A square about as large as the median short side, within what the machine trains soon."""
        side, patch = _side_and_patch(sizes, ((40, 32, 8), (80, 64, 8), (math.inf, 96, 16)) if not large else
                                      ((40, 32, 4), (80, 64, 8), (160, 128, 16), (math.inf, 224, 16)))
        return cls(side, side, (patch, patch))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.height, self.width, 3)


@dataclasses.dataclass(frozen=True)
class AudioInput(Input):
    """A log-mel spectrogram [frames, mel_bins, channels], float32, cut into patches. The sound is 16 kHz mono."""
    modality: str = dataclasses.field(default='audio', init=False, repr=False)
    frames: int = 800
    """Frames of the spectrogram. A shorter sound is padded with silence, a longer one is cropped."""
    mel_bins: int = 128
    """Bins of the mel scale."""
    patch: tuple[int, int] = (16, 16)
    """Frames and bins of a patch, which becomes one token."""
    channels: int = 1
    """1, or 3 to repeat the spectrogram for a tokenizer that starts from the weights of a ViT."""
    window_s: float = 0.025
    """Seconds of sound in one frame."""
    hop_s: float = 0.010
    """Seconds from one frame to the next."""
    views: int = 1  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType]
    """Windows of a longer sound, evenly from its beginning to its end, over which the exported model averages scores
    and embeddings: in the evaluation and in serving alike, never in training. 1 takes the beginning. The paper has
    4."""

    def __post_init__(self):
        super().__post_init__()
        self.check_divides('frames', self.patch[0])
        self.check_divides('mel_bins', self.patch[1])
        if self.channels not in (1, 3):
            raise ConfigError(f'audio: channels is {self.channels}; it must be 1 or 3.')
        for field in ('window_s', 'hop_s'):
            if getattr(self, field) <= 0:
                raise ConfigError(f'audio: {field} is {getattr(self, field)}; it must be more than 0.')
        self.check_views()

    @classmethod
    def suggested(cls, sizes: list[dict], large: bool) -> 'AudioInput':
        """As long as nine tenths of the sounds, up to 8 seconds, or 4 on a CPU."""
        seconds = sorted(size['duration_s'] for size in sizes)
        frames = 16 * math.ceil(seconds[int(0.9 * (len(seconds) - 1))] / cls.hop_s / 16)
        return cls(min(max(frames, 32), 800 if large else 400), 128 if large else 64)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, self.mel_bins, self.channels)


@dataclasses.dataclass(frozen=True)
class VideoInput(Input):
    """Frames [frames, height, width, 3], float32 in [-1, 1], cut into tubelets."""
    modality: str = dataclasses.field(default='video', init=False, repr=False)
    frames: int = 32
    """Frames of the model's input, taken evenly from the clip."""
    height: int = 224
    """Rows of a frame; a multiple of the tubelet's rows."""
    width: int = 224
    """Columns of a frame; a multiple of the tubelet's columns."""
    patch: tuple[int, int, int] = (4, 16, 16)
    """Frames, rows and columns of a tubelet, which becomes one token."""
    frame_rate: float = 12.5
    """Frames per second that are stored in the examples."""
    short_side: int = 256
    """The largest number of pixels along the short side of a stored frame."""
    views: int = 1  # pyright: ignore[reportIncompatibleVariableOverride, reportAssignmentType]
    """Windows of the clip over which the exported model averages scores and embeddings: in the evaluation and in
    serving alike, never in training. 1 takes `frames` evenly from the whole clip. Several are windows of `frames`
    successive stored frames, evenly from the beginning to the end, as the augmentation 'successive_frames' has them in
    training. The paper has 8."""

    def __post_init__(self):
        super().__post_init__()
        self.check_divides('frames', self.patch[0])
        self.check_divides('height', self.patch[1])
        self.check_divides('width', self.patch[2])
        check_least(self, 'video: ', short_side=1)
        if self.frame_rate <= 0:
            raise ConfigError(f'video: frame_rate is {self.frame_rate}; it must be more than 0.')
        self.check_views()

    @classmethod
    def suggested(cls, sizes: list[dict], large: bool) -> 'VideoInput':
        """Frames as large as an image's input would be, and stored at a rate that gives twice as many as it takes."""
        side, patch = _side_and_patch(sizes, ((40, 32, 8), (math.inf, 64, 16)) if not large else
                                      ((40, 32, 8), (80, 64, 8), (160, 128, 16), (math.inf, 224, 16)))
        frames, tubelet = (32, 4) if large else (8, 2)
        rate = 2 * frames / max(statistics.median(size['duration_s'] for size in sizes), 0.1)
        return cls(frames, side, side, (tubelet, patch, patch), min(max(round(rate, 1), 1.0), cls.frame_rate),
                   side + side // 8)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.frames, self.height, self.width, 3)


@dataclasses.dataclass(frozen=True)
class TextInput(Input):
    """The bytes of a text in UTF-8, one-hot [length, 256], float32, cut into stretches. Byte 0 follows its end."""
    modality: str = dataclasses.field(default='text', init=False, repr=False)
    length: int = 256
    """Bytes of the model's input; a multiple of the patch. A shorter text is padded, a longer one is cut off."""
    patch: tuple[int] = (4,)
    """Bytes of a stretch, which becomes one token."""

    def __post_init__(self):
        super().__post_init__()
        self.check_divides('length', self.patch[0])

    @classmethod
    def suggested(cls, sizes: list[dict], large: bool) -> 'TextInput':
        """As long as nine tenths of the texts, up to 1,024 bytes, or 256 on a CPU."""
        lengths = sorted(size['text_bytes'] for size in sizes)
        length = 16 * math.ceil(lengths[int(0.9 * (len(lengths) - 1))] / 16)
        return cls(min(max(length, 16), 1024 if large else 256))

    @property
    def shape(self) -> tuple[int, ...]:
        return (self.length, 256)


@dataclasses.dataclass(frozen=True)
class Limits:
    """How large a file may be. 0 takes the modality's own value (model_code/modalities.py)."""
    bytes: int = 0
    """Bytes on disk."""
    pixels: int = 0
    """Pixels of an image, or of one frame of a video."""
    seconds: float = 0.0
    """Seconds of the sound or video that becomes one example: of the segment, if the manifest names one."""
    frames: int = 0
    """Frames of one video that are stored."""
    decode_seconds: float = 0.0
    """Seconds to read one file, by the clock."""

    def __post_init__(self):
        check_fields(self, 'limits: ')
        for field in dataclasses.fields(self):
            if getattr(self, field.name) < 0:
                raise ConfigError(f'limits: {field.name} is {getattr(self, field.name)}; it must be positive, or 0 for '
                                  "the modality's own value.")

    def for_modality(self, modality: str) -> 'Limits':
        """These limits with the modality's own values in place of zeros."""
        defaults = get_modality(modality).limits
        return Limits(**{f.name: getattr(self, f.name) or getattr(defaults, f.name)
                         for f in dataclasses.fields(self)})


@dataclasses.dataclass(frozen=True)
class Modality:
    """A row of the table: the properties of a modality, and the names of the modules that do its work."""
    name: str
    input_class: type[Input]
    """The settings of the model's input."""
    feature: str
    """The tf.Example feature, and serving input, that holds the encoded media."""
    reader_module: str
    """Has `read(file, size, spec, limits, start, end) -> (features, notes)` (media.readers.read_by)."""
    preprocessing_module: str
    """Has these pure functions of core TensorFlow operations:
    `decode(encoded, spec, augmentations=(), seed=None) -> tensor` of one example;
    `augment(tensor, spec, augmentations, seed)`, the augmentations that `decode` does not do;
    if `statistics` names k numbers: `moments(encoded, spec) -> [k] float64` of one example, `statistics(moments)`,
    which makes the k numbers from the mean of the moments over the train split, and
    `normalize(tensor, *statistics, spec)`;
    if the input has a field `views`: `decode_view(encoded, spec, view) -> tensor`, as `decode`, of the window number
    `view` (int32 scalar, from 0) of spec.views > 1;
    if it can be drawn: `pictures(tensors) -> [batch, height, width, 1 or 3]` in [0, 1], for TensorBoard."""
    tokenizer: str
    """The dotted name of the class of a Keras layer (or of a function that makes one), called with
    (width, spec, name=...). The layer: [batch, *spec.shape] float32 -> [batch, tokens, width], the class token
    first."""
    schema: str
    """The file in schemas/ that describes the examples."""
    limits: Limits
    """How large a file may be if the task sets no limits. Every field that the reader looks at has a value."""
    repeated: bool = False
    """Whether the feature is a list (the JPEG frames of a video) rather than one value."""
    sizes: tuple[str, ...] = ()
    """The features that the reader gives of how large or long the media are."""
    levels: tuple[str, ...] = ()
    """The features that the reader gives of how bright or loud the media are."""
    endings: tuple[str, ...] = ()
    """The usual endings of file names, in lower case."""
    other_endings: tuple[str, ...] = ()
    """Endings of other files of the formats that the reader reads. It goes by the content, whatever the ending."""
    unread_endings: tuple[str, ...] = ()
    """Endings of files of this modality that the reader does not read: in class folders they are rejected, not left
    out as those of other kinds are (notes.txt, Thumbs.db)."""
    describes: bool = False
    """Whether files with these endings often describe other media, so that they are taken for media of this modality
    only where there are no others, or a config says so."""
    in_rows: bool = False
    """Whether a row of a manifest may have the media itself, as text, in place of a path."""
    starts_from_vit: bool = False
    """Whether the tokenizer can start from the weights of a ViT; else it starts at random. It then has a method
    `kernel_from_vit` (tokenizers.ImageTokenizer)."""
    timed: bool = False
    """Whether an example may be a segment of a file, from one second to another."""
    reader_fields: tuple[str, ...] = ()
    """The fields of the input that the reader looks at. A change of any other does not read the media again."""
    fingerprint_module: str = ''
    """Has `hashes` and `differences` of the reader's fingerprints (media.fingerprints.image), by which near duplicates
    are found; '' if they are not looked for."""
    tf_check_module: str = ''
    """Has `only_decodable(read)` (see below), if TensorFlow may fail on media that the reader accepts; else ''."""
    decoded_size: str = ''
    """A function (content, limits) -> bytes of memory that decoding takes, by the header alone (media.readers.headers).
    It raises Rejection for what is over the limits. '' if servers are not to look."""
    sent_media_module: str = ''
    """Has what the exported graph does with media as clients send them, of N examples, in core TensorFlow operations:
    `check(encoded, spec, limits) -> (problems [N] string, plan [N, k] int32)`, a sentence for what is to be refused,
    else ''; `as_stored(encoded, plan, spec, tables) -> encoded`, what the reader would store; `tables()`, the arrays
    that this needs, by name. '' if clients send what the reader gives, and nothing else."""
    augmentations: tuple[str, ...] = ()
    """The augmentations that a task may name. `decode` or `augment` does them."""
    exclusive_augmentations: tuple[str, ...] = ()
    """Those of the augmentations of which a task may name only one."""
    mixup: bool = False
    """Whether a task may use mixup."""
    token_dropping: typing.Literal['', 'patches', 'rows'] = ''
    """What a task with a token_share drops in training: patches, each by itself, or whole rows and columns of a grid of
    two axes. The tokenizer then takes an argument `kept` (tokenizers.PatchTokenizer). '' if tasks may not drop any."""
    statistics: tuple[str, ...] = ()
    """Statistics of the train split that examples are normalised by. Each is a feature of the transformed examples."""
    shard_entries: int = 1_024
    """The most examples in one file of MediaExampleGen's output."""
    shuffle_buffer: int = 2_048
    """Encoded examples in the memory of the training's shuffle buffer."""

    @property
    def fingerprints(self) -> typing.Any:
        return importlib.import_module(self.fingerprint_module)

    @property
    def preprocessing(self) -> typing.Any:
        return importlib.import_module(self.preprocessing_module)

    @property
    def sent_media(self) -> typing.Any:
        return importlib.import_module(self.sent_media_module or 'model_code.sent_media.unchanged')

    def make_tokenizer(self, width: int, spec, name: str) -> typing.Any:
        """The layer that `tokenizer` names, for tokens of `width`. spec: an instance of input_class."""
        return _named(self.tokenizer)(width, spec, name=name)

    def kept_patches(self, spec: Input, share: float) -> tuple[tuple[int, int], ...]:
        """((size, kept), ...): what training keeps of each axis along which this modality drops tokens.

        The kept patches are those whose place is kept on every axis, as many as come closest to this share of all.
        spec: an instance of input_class. Each number is at least 1. With 'patches' all of the grid is one axis.
        """
        count = math.prod(spec.grid)
        if self.token_dropping != 'rows':
            return ((count, max(1, round(share * count))),)
        rows, columns = spec.grid
        # The same share of both axes, as far as whole columns allow it. The rows then make up for the rounding.
        kept = max(round(columns * math.sqrt(share)), math.ceil(columns * share))
        return (rows, max(1, round(share * count / kept))), (columns, kept)

    def decoded_bytes(self, content: bytes, limits: Limits) -> int:
        """What `decoded_size` says of one file, or of one frame; 0 if it names no function."""
        return _named(self.decoded_size)(content, limits) if self.decoded_size else 0

    def only_decodable(self, read: typing.Iterator) -> typing.Iterator:
        """The results of a sandbox Decoder, in order. What TensorFlow cannot decode becomes a rejection."""
        return importlib.import_module(self.tf_check_module).only_decodable(read) if self.tf_check_module else read


_VIDEO_ENDINGS = ('.mp4',)
_OTHER_VIDEO_ENDINGS = ('.mov', '.qt', '.m4v', '.f4v', '.3gp', '.3g2', '.avi', '.mkv', '.webm', '.mpg', '.mpeg', '.mpe',
                        '.vob', '.ts', '.mts', '.m2ts', '.m2t')

MODALITIES = {m.name: m for m in (
    Modality(
        name='image', input_class=ImageInput, feature='image', sizes=('height', 'width'), levels=('brightness',),
        reader_module='media.readers.image', fingerprint_module='media.fingerprints.image',
        preprocessing_module='model_code.preprocessing.image', sent_media_module='model_code.sent_media.image',
        decoded_size='media.readers.headers.picture_bytes',
        tokenizer='model_code.tokenizers.ImageTokenizer', schema='image.pbtxt', starts_from_vit=True,
        limits=Limits(bytes=64 << 20, pixels=64_000_000, decode_seconds=20.0),
        endings=('.jpg', '.jpeg', '.png'),
        other_endings=('.jpe', '.jfif', '.mpo', '.apng', '.gif', '.bmp', '.dib', '.webp', '.tif', '.tiff', '.heic',
                       '.heif', '.hif', '.avif'),
        unread_endings=('.ppm', '.pgm', '.pbm', '.pnm', '.jp2', '.j2k', '.jxl', '.psd', '.tga', '.exr', '.svg', '.dcm',
                        '.dng', '.cr2', '.cr3', '.nef', '.arw', '.raf', '.orf', '.rw2'),
        # Pillow accepts damaged images that TensorFlow, which decodes them in training and serving, does not.
        tf_check_module='media.tf_check',
        augmentations=('flip', 'shift', 'inception_crop'), token_dropping='patches'),
    Modality(
        name='audio', input_class=AudioInput, feature='audio', sizes=('duration_s',), levels=('loudness_dbfs',),
        reader_module='media.readers.audio', fingerprint_module='media.fingerprints.audio',
        preprocessing_module='model_code.preprocessing.audio', sent_media_module='model_code.sent_media.audio',
        decoded_size='media.readers.headers.wav_bytes',
        tokenizer='model_code.tokenizers.AudioTokenizer', schema='audio.pbtxt', starts_from_vit=True,
        limits=Limits(bytes=1 << 30, seconds=600.0, decode_seconds=60.0),
        endings=('.wav',),
        other_endings=('.flac', '.mp3', '.mp2', '.ogg', '.oga', '.ogv', '.opus', '.m4a', '.m4b', '.mka', '.weba',
                       '.aac', '.aif', '.aiff', '.aifc',
                       *_VIDEO_ENDINGS, *_OTHER_VIDEO_ENDINGS),  # the sound of a video
        unread_endings=('.wma', '.caf', '.amr', '.au', '.ape', '.wv', '.mpc', '.ac3', '.dts', '.ra', '.mid', '.midi',
                        '.wmv', '.flv', '.mxf'),
        timed=True,
        augmentations=('spec_augment', 'time_shift', 'temporal_crop'), mixup=True, token_dropping='rows',
        statistics=('log_mel_mean', 'log_mel_stddev'),
        shard_entries=512, shuffle_buffer=512),  # an example has about 256 kB (8 s)
    Modality(
        name='video', input_class=VideoInput, feature='frames', repeated=True,
        sizes=('height', 'width', 'duration_s'), levels=('brightness',),
        reader_module='media.readers.video', fingerprint_module='media.fingerprints.video',
        preprocessing_module='model_code.preprocessing.video', sent_media_module='model_code.sent_media.video',
        decoded_size='media.readers.headers.frame_bytes',
        tokenizer='model_code.tokenizers.VideoTokenizer', schema='video.pbtxt', starts_from_vit=True,
        limits=Limits(bytes=64 << 30, pixels=16_000_000, seconds=300.0, frames=10_000, decode_seconds=300.0),
        endings=_VIDEO_ENDINGS, other_endings=(*_OTHER_VIDEO_ENDINGS, '.gif'),
        unread_endings=('.wmv', '.asf', '.flv', '.rm', '.rmvb', '.mxf', '.ogv', '.m2v', '.h264', '.h265', '.ivf'),
        timed=True, reader_fields=('frame_rate', 'short_side'),
        augmentations=('flip', 'shift', 'scale_jitter', 'colour_jitter', 'temporal_crop', 'successive_frames'),
        exclusive_augmentations=('temporal_crop', 'successive_frames'), token_dropping='patches',
        shard_entries=32, shuffle_buffer=128),  # an example has about 1 MB (10 s)
    Modality(
        name='text', input_class=TextInput, feature='text', sizes=('text_bytes',),
        reader_module='media.readers.text', preprocessing_module='model_code.preprocessing.text',
        sent_media_module='model_code.sent_media.text',
        tokenizer='model_code.tokenizers.TextTokenizer', schema='text.pbtxt',
        limits=Limits(bytes=1 << 20, decode_seconds=5.0),
        endings=('.txt',), unread_endings=('.doc', '.docx', '.odt', '.rtf', '.pdf', '.epub'), describes=True,
        in_rows=True,
        shard_entries=8_192, shuffle_buffer=16_384),  # an example has about 500 bytes
)}


# The modality of captions, and the feature of the examples that holds them.
CAPTION_MODALITY, CAPTION = 'text', 'caption'


@functools.cache
def _named(path: str) -> typing.Callable[..., typing.Any]:
    """What 'package.module.name' names. Kept, because a server asks for each request."""
    module, _, name = path.rpartition('.')
    return getattr(importlib.import_module(module), name)


def example_features() -> tuple[str, ...]:
    """The features that examples have anyway. An extra column may not have their names."""
    return tuple(dict.fromkeys(('id', 'label', 'labels', 'group', CAPTION, *(
        name for row in MODALITIES.values() for name in (row.feature, *row.sizes, *row.levels, *row.statistics)))))


def get_modality(name: str) -> Modality:
    """The row named `name`. Raises ConfigError, which lists the valid names."""
    if name not in MODALITIES:
        raise unknown('modality', name, MODALITIES)
    return MODALITIES[name]
