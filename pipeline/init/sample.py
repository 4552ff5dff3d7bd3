"""Reads some of a task's media, and suggests from them the model's inputs and the recipes."""

import dataclasses
import hashlib
import heapq
import math
import statistics
import time
from collections.abc import Callable, Iterator

from media import reading
from media.entries import Entry
from media.findings import Findings
from media.rejections import Rejection
from media.sandbox.parent import Decoded, Decoder
from model_code import flops
from model_code.modalities import MODALITIES, Input, get_modality
from model_code.settings import PRESETS, ModelConfig, preset
from model_code.tasks import Recipe
from pipeline.init.guess import Guess

FILES = 200  # of each task, and
SECONDS = 20.0  # for each
_FILE_SECONDS = 10.0  # a file that takes longer is not judged
# The reasons for which a file may be of another modality.
_OTHER_KIND = ('no_stream', 'unsupported', 'undecodable')
# Augmentations that change no label, whatever the labels are.
SAFE = ('spec_augment',)


@dataclasses.dataclass
class Sample:
    """What reading some of a task's media has shown. sizes: those features of each that are numbers.

    findings: of these media alone, with the rejected ones. too_slow: how many were not judged.
    """
    sizes: list[dict]
    findings: Findings
    rejected: list[Rejection]
    too_slow: int

    @property
    def read(self) -> int:
        return len(self.sizes) + len(self.rejected)


class Reader:
    """Reads samples of tasks. Media that several tasks have are read once."""

    def __init__(self, progress: Callable[[str, int, int], None]):
        self._progress = progress
        self._known: dict[tuple, Decoded] = {}

    def read(self, guess: Guess, seconds: float) -> Sample:
        """Reads up to FILES of a task's media, chosen by a hash of their ids, within about these seconds."""
        chosen = choose(guess.entries, FILES)
        gathered, sizes, too_slow, end = reading.Gathered(), [], 0, time.monotonic() + seconds
        self._progress(guess.name, 0, len(chosen))
        for number, decoded in enumerate(self._decoded(guess, chosen), 1):
            if decoded.rejection and decoded.rejection.reason == 'too_slow':
                too_slow += 1
            else:
                if decoded.features is not None:
                    sizes.append(decoded.features)
                gathered.add(decoded.without_features())
            self._progress(guess.name, number, len(chosen) if time.monotonic() < end else number)
            if time.monotonic() >= end:
                break
        for rejection in gathered.rejected:
            gathered.findings.add_rejected(rejection)
        gathered.findings.add_copies(gathered.copies)
        return Sample(sizes, gathered.findings, gathered.rejected, too_slow)

    def _decoded(self, guess: Guess, entries: list[Entry]) -> Iterator[Decoded]:
        """Each entry decoded, with only those of its features that are numbers."""
        data, spec = guess.data, get_modality(guess.modality).input_class()
        limits = dataclasses.replace(data.limits.for_modality(guess.modality), decode_seconds=_FILE_SECONDS)
        with Decoder(data.folder, guess.modality, spec, limits) as decoder:
            for entry in entries:
                key = data.folder, guess.modality, entry.id, entry.offset
                if key not in self._known:
                    for decoded in decoder.read([entry]):
                        self._known[key] = dataclasses.replace(decoded, features=_numbers(decoded.features))
                yield dataclasses.replace(self._known[key], entry=entry)


def _numbers(features: dict | None) -> dict | None:
    return None if features is None else {name: value for name, value in features.items()
                                          if isinstance(value, (int, float))}


def choose(entries, count: int) -> list[Entry]:
    """Some entries, by a hash of their ids: the same in each call, and from everywhere in the listing."""
    return heapq.nsmallest(count, entries, key=lambda entry: hashlib.blake2b(
        entry.id.encode('utf-8', 'surrogatepass'), digest_size=8).digest())


def other_modalities(guess: Guess, sample: Sample) -> list[str]:
    """The modalities that the files may have in place of the guessed one, if that cannot read most of them."""
    unread = [rejection for rejection in sample.rejected if rejection.reason in _OTHER_KIND]
    if not unread or len(unread) <= sample.read / 2:
        return []
    path = unread[0].path.partition('#')[0].lower()
    others = [name for name in MODALITIES if name != guess.modality]
    fitting = [name for name in others if path.endswith(_endings(name))]
    # A row of a table that holds its media has no ending that says what they are.
    return fitting if fitting or path.endswith(_endings(guess.modality)) else others


def _endings(modality: str) -> tuple[str, ...]:
    row = MODALITIES[modality]
    return row.endings + row.other_endings


def sizes_in_words(sizes: list[dict], names: tuple[str, ...]) -> str:
    """'height 32 (28 to 40), width 32': the median of each, with the least and the greatest."""
    parts = []
    for name in names:
        values = [size[name] for size in sizes if name in size]
        if values:
            low, high = min(values), max(values)
            parts.append(f'{name} {statistics.median(values):.4g}'
                         + (f' ({low:.4g} to {high:.4g})' if low < high else ''))
    return ', '.join(parts)


# Suggestions.

def suggest_model(samples: list[tuple[Guess, Sample]], train_examples: int, large: bool) -> tuple[str, ModelConfig]:
    """(name of a preset, the model): an input for each modality, and a size for so many train examples.

    large: for training on an accelerator.
    """
    sizes: dict[str, list[dict]] = {}
    for guess, sample in samples:
        sizes.setdefault(guess.modality, []).extend(sample.sizes)
    inputs: list[Input] = [get_modality(name).input_class.suggested(some, large) if some else
                           get_modality(name).input_class() for name, some in sizes.items()]
    names = list(PRESETS)
    name = names[0] if not large else names[1] if train_examples < 10_000 else (
        names[2] if train_examples < 300_000 else names[3])
    return name, preset(name, inputs=tuple(inputs))


def suggest_recipe(guess: Guess, model: ModelConfig, large: bool) -> Recipe:
    """A batch that fits the number of tokens and of examples, and steps for some dozens of epochs, within bounds."""
    train = guess.counts.get('train', 0)
    tokens = flops.tokens(model.input(guess.modality))
    batch = 64 if tokens <= 80 else 32 if tokens <= 300 else 16
    while batch > 4 and 8 * batch > train:
        batch //= 2
    most = 20_000 if large else 3_000
    steps = min(max(50 * math.ceil(30 * train / batch / 50), 200), most)
    augmentations = tuple(name for name in get_modality(guess.modality).augmentations if name in SAFE)
    return Recipe(steps, batch, augmentations=augmentations)
