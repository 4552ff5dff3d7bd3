"""The messages between parent and child, on the child's standard input and output.

A frame is its length in four bytes (big-endian), then JSON. The parent's first frame is a Start; the child answers with
any frame once it is ready. Each further frame of the parent is a list of entries. The child answers each entry, in
order, with one frame: a rejection, or features, whose bytes follow the JSON. Nothing is pickled.
"""

import dataclasses
import hashlib
import importlib
import json
import struct
from collections.abc import Iterable, Iterator

from media.entries import Entry
from media.rejections import Rejection
from model_code.modalities import Limits
from model_code.serialization import from_dict

LENGTH = struct.Struct('>I')
# Only what is needed to open and decode; the parent keeps the labels.
_ENTRY_FIELDS = ('path', 'start', 'end', 'offset', 'length', 'record', 'text')


def frame(message) -> bytes:
    """A frame of any JSON value."""
    text = json.dumps(message).encode()
    return LENGTH.pack(len(text)) + text


@dataclasses.dataclass(frozen=True)
class Start:
    """All that the child needs to know of the task. It looks up no tables, only names.

    root: the task's data folder. reader: the module whose `read` reads the media. input_class: 'module:Class' of the
    modality's input settings. spec, limits: these settings and the complete Limits, as dicts. beam_args: options of
    remote file systems.
    """
    root: str
    reader: str
    input_class: str
    spec: dict
    limits: dict
    beam_args: tuple[str, ...]

    @classmethod
    def of(cls, root: str, reader: str, spec, limits: Limits, beam_args: tuple[str, ...]) -> 'Start':
        input_class = f'{type(spec).__module__}:{type(spec).__qualname__}'
        return cls(root, reader, input_class, dataclasses.asdict(spec), dataclasses.asdict(limits), beam_args)

    def frame(self) -> bytes:
        return frame(dataclasses.asdict(self))

    def load_spec(self):
        """The modality's input settings, an instance of input_class."""
        module, _, name = self.input_class.partition(':')
        return from_dict(getattr(importlib.import_module(module), name), self.spec)

    def load_limits(self) -> Limits:
        return from_dict(Limits, self.limits)


def entries_frame(entries: Iterable[Entry]) -> bytes:
    return frame([[getattr(entry, name) for name in _ENTRY_FIELDS] for entry in entries])


def entries_of(message: list) -> Iterator[Entry]:
    """The entries in the JSON of an entries_frame, without their labels."""
    for values in message:
        yield Entry(labels=(), split='', **dict(zip(_ENTRY_FIELDS, values, strict=True)))


def rejection_frame(rejection: Rejection) -> bytes:
    return frame({'reason': rejection.reason, 'detail': rejection.detail})


def features_frame(features: dict, notes: tuple[str, ...], fingerprint: bytes) -> Iterator[bytes]:
    """The parts of the answer with what a reader returns: the frame, and the bytes after it."""
    numbers = {name: value for name, value in features.items() if isinstance(value, (int, float))}
    blobs = {name: value if isinstance(value, list) else [value] for name, value in features.items()
             if name not in numbers}
    digest = hashlib.blake2b(digest_size=16)
    for parts in blobs.values():
        for part in parts:
            digest.update(part)
    yield frame({'values': numbers, 'notes': notes, 'digest': digest.hexdigest(),
                 'fingerprint': len(fingerprint),
                 'blobs': [[name, isinstance(features[name], list), [len(part) for part in parts]]
                           for name, parts in blobs.items()]})
    for parts in blobs.values():
        yield from parts
    yield fingerprint


def body_length(header: dict) -> int:
    """The number of bytes after an answer's JSON."""
    return sum(sum(lengths) for _, _, lengths in header.get('blobs', ())) + header.get('fingerprint', 0)


def rejection_of(header: dict) -> Rejection | None:
    """The rejection in an answer's JSON; None if the answer has features."""
    return Rejection(header['reason'], header['detail']) if 'reason' in header else None


def features_of(header: dict, body: bytes) -> tuple[dict, tuple[str, ...], bytes, bytes]:
    """(features, notes, digest, fingerprint) of an answer."""
    features, position = dict(header['values']), 0
    for name, is_list, lengths in header['blobs']:
        parts = []
        for length in lengths:
            parts.append(body[position:position + length])
            position += length
        features[name] = parts if is_list else parts[0]
    return features, tuple(header['notes']), bytes.fromhex(header['digest']), body[position:]
