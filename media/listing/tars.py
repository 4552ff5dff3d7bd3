"""Sharded tar files: a media file and its label side by side, `0001.jpg` and `0001.cls`, as WebDataset writes them.

Only headers and labels are read; the media of a member are found again by their place in the file. The headers are
parsed here and not by `tarfile`, which believes the lengths that a long name or a PAX record claims. POSIX.1-2001
(pax, "ustar interchange format") and the GNU tar manual's description of long names.
"""

import dataclasses
import json
import os
import re

from media.entries import Entry
from media.listing import files, paths
from media.listing.collector import SPLITS, Collector
from media.listing.folders import media_endings
from media.listing.manifests import json_extra, json_labels, json_object, make_entry
from media.rejections import Rejection
from model_code.errors import ConfigError

_BLOCK = 512
_COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tbz2', '.tar.xz', '.txz', '.tar.zst', '.tar.lz4')
_MAGIC = {b'\x1f\x8b': 'gzip', b'BZh': 'bzip2', b'\xfd7zXZ\0': 'xz', b'(\xb5/\xfd': 'zstd'}

_MAX_MEMBERS = 5_000_000  # of one file
_MAX_PARTS = 100  # members of one example
_MAX_EXTENDED = 1 << 20  # bytes of a PAX record or a long name
_MAX_LABEL_FILE = 1 << 16  # bytes

_LABEL_ENDINGS = ('json', 'cls', 'txt')


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. rejection: why it can't be taken, or None. offset, size: of its content, in bytes."""
    name: str
    offset: int
    size: int
    rejection: Rejection | None = None


def add_all(collector: Collector):
    """Adds the examples of every .tar below the data folder.

    Raises ConfigError where there is none, or one is compressed: no member of it can be read by its place.
    """
    source = collector.source
    walked = files.walk(source.data.folder, ('.tar', *_COMPRESSED))
    for path, rejection in {**walked.rejected_folders, **walked.rejected_files}.items():
        collector.reject(rejection.at(path))
    if not walked.files:
        raise ConfigError(f'Task {source.name}: {source.data.folder} has no .tar file.')
    for path in walked.files:
        if path.lower().endswith(_COMPRESSED):
            raise ConfigError(f'Task {source.name}: {path} in {source.data.folder} is compressed, so that its members '
                              'cannot be read by their place. Unpack it to a .tar: media are compressed already.')
        with files.open_file(source.data.folder, path) as file:
            _Shard(collector, path, file).add_all()


class _Shard:
    """One archive: its members grouped into examples."""

    def __init__(self, collector: Collector, path: str, file):
        self._collector, self._path, self._file = collector, path, file
        self._endings = media_endings(collector.source.modality)
        self._split = _split_of_path(path)

    def add_all(self):
        key, parts, done = None, {}, set()
        count = 0
        try:
            for member in members(self._file):
                count += 1
                if member.rejection:
                    self._reject(member.name, member.rejection)
                    continue
                try:
                    name = paths.safe_path(member.name)
                except Rejection as rejection:
                    self._reject(member.name, rejection)
                    continue
                folder, slash, base = name.rpartition('/')
                stem, _, ending = base.partition('.')
                if not stem:
                    continue  # hidden, as in folders
                if f'{folder}{slash}{stem}' != key:
                    self._add_example(key, parts)
                    done.add(key)
                    key, parts = f'{folder}{slash}{stem}', {}
                if key in done:
                    self._reject(name, Rejection('bad_row', f'Other members of {key} lie elsewhere in the archive; '
                                                            'pack them side by side (tar --sort=name).'))
                elif ending.lower() in parts or len(parts) >= _MAX_PARTS:
                    self._reject(name, Rejection('duplicate', f'{key} has more than one .{paths.shown(ending, 40)}, or '
                                                              f'more than {_MAX_PARTS} members.'))
                else:
                    parts[ending.lower()] = (name, member, self._content(ending.lower(), member))
        except Rejection as rejection:
            detail = f'{rejection.detail} The {count:,} members before that are taken.'
            self._collector.reject(Rejection(rejection.reason, detail, self._path))
        self._add_example(key, parts)

    def _reject(self, name: str, rejection: Rejection):
        self._collector.reject(rejection.at(f'{self._path}!{name}'))

    def _content(self, ending: str, member: Member):
        """The text of a member that is a label, None of any other, a Rejection where it is none."""
        if ending not in _LABEL_ENDINGS:
            return None
        if member.size > _MAX_LABEL_FILE:
            return Rejection('bad_label', f'Its .{ending} has {member.size:,} bytes; at most {_MAX_LABEL_FILE:,}.')
        self._file.seek(member.offset)
        return self._file.read(member.size).decode('utf-8-sig', 'surrogateescape')

    def _add_example(self, key, parts: dict):
        """Adds what members with one key make: {ending: (name, Member, content)}."""
        media = [part for ending, part in parts.items() if ('.' + ending).endswith(self._endings)]
        labels = [ending for ending in _LABEL_ENDINGS if ending in parts]
        if not media:
            if labels:
                modality = self._collector.source.modality
                self._reject(key, Rejection('missing', f'It has a label and no {modality} beside it.'))
            return
        try:
            if len(media) > 1:
                raise Rejection('bad_row', f'{" and ".join(part[0] for part in media[:3])} are media of one example.')
            entry = self._entry(media[0][0], media[0][1], parts)
        except Rejection as rejection:
            self._reject(media[0][0], rejection)
        else:
            self._collector.add(entry, '')

    def _entry(self, name: str, member: Member, parts: dict) -> Entry:
        collector, names = self._collector, self._collector.data.columns
        text = {}
        for ending in _LABEL_ENDINGS:
            if ending in parts:
                if isinstance(parts[ending][2], Rejection):
                    raise parts[ending][2]
                text[ending] = parts[ending][2]
        row = json_object(text['json']) if 'json' in text else {}
        keys = [names.label] if names.label else ['label', 'labels']
        if collector.data.label_groups or any(key in row for key in keys):
            labels = json_labels(collector, row)
        elif 'cls' in text or 'txt' in text:
            labels = collector.labels(text['cls' if 'cls' in text else 'txt'].strip())
        else:
            raise Rejection('bad_label', 'It has no label beside it: a .cls, .txt or .json with "label" or "labels".')
        split = row.get(names.split) if names.split else None
        if split is not None and not isinstance(split, str):
            raise Rejection('bad_row', f'Its {names.split} {paths.shown(json.dumps(split), 40)} is no text.')
        return make_entry(collector, self._path, labels, split or self._split, row.get(names.start), row.get(names.end),
                          json_extra(collector, row), offset=member.offset, length=member.size, member=name)


def _split_of_path(path: str) -> str | None:
    """The name of a split that is a word of the file's name, or else of a folder's; None where there is none."""
    for part in reversed(path.lower().split('/')):
        for word in re.split('[^a-z]+', part):
            if word in SPLITS:
                return word
    return None


# The format.

def members(file):
    """Yields a Member for each file of an archive, seeking over contents; folders are left out.

    file: seekable, binary. Raises Rejection where the archive is damaged or goes beyond a bound: what was yielded
    before is right.
    """
    end = file.seek(0, os.SEEK_END)
    place, extended, count = 0, {}, 0
    while place < end:
        block = _read(file, place, _BLOCK)
        if len(block) < _BLOCK:
            raise Rejection('truncated', f'The archive ends within a header, at byte {place:,}.')
        if not any(block):
            _check_end(file, place, end)
            return
        count += 1
        if count > _MAX_MEMBERS:
            raise Rejection('too_large', f'The archive has more than {_MAX_MEMBERS:,} members; split it over several.')
        header = _header(block, place)
        kind, size, offset = header['kind'], header['size'], place + _BLOCK
        if kind in b'xgLK':
            if size > _MAX_EXTENDED:
                raise Rejection('too_large', f'The header at byte {place:,} says that a name or record of {size:,} '
                                             f'bytes follows; at most {_MAX_EXTENDED:,} are taken.')
            content = _read(file, offset, size)
            if len(content) < size:
                raise Rejection('truncated', f'The archive ends within a record, at byte {offset:,}.')
            if kind in b'x':
                extended.update(_pax(content, offset))
            elif kind in b'L':
                extended['path'] = content.rstrip(b'\0')
            place = offset + _padded(size)
            continue
        name = extended.get('path', header['name'])
        if 'size' in extended:
            size = _decimal(extended['size'], offset)
        sparse = kind in b'S' or any(key.startswith('GNU.sparse.') for key in extended)
        extended = {}
        text = name.decode('utf-8', 'surrogateescape')
        if kind in b'123456':  # links, devices, folders, pipes: a header only
            if kind not in b'5':
                yield Member(text, offset, 0, Rejection('not_a_file', 'It is a link, a device or a pipe.'))
            place = offset
            continue
        place = offset + _padded(size)
        if offset + size > end:
            detail = f'The archive ends before the {size:,} bytes of it.'
            yield Member(text, offset, size, Rejection('truncated', detail))
            raise Rejection('truncated', f'The archive has {end:,} bytes, and is cut.')
        if sparse:
            yield Member(text, offset, size, Rejection('unsupported', 'It is packed as a sparse file; pack it without '
                                                                      '--sparse.'))
        elif kind in b'\x007' or kind in b'0':
            if not text.endswith('/'):  # so old archives write folders
                yield Member(text, offset, size)
        else:
            yield Member(text, offset, size, Rejection('unsupported', f'It is a member of the unknown type {kind!r}.'))


def _read(file, place: int, size: int) -> bytes:
    file.seek(place)
    return file.read(size)


def _header(block: bytes, place: int) -> dict:
    """The fields of a header that count; Rejection where it is none."""
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(' ')  # the checksum itself counts as spaces
    try:
        checksum, size = _number(block[148:156]), _number(block[124:136])
        # Old tars summed signed bytes.
        right = checksum == unsigned or checksum == unsigned - 256 * sum(b > 127 for b in block[:148] + block[156:])
    except ValueError:
        right = False
    if not right:
        kind = next((kind for magic, kind in _MAGIC.items() if block.startswith(magic)), None) if place == 0 else None
        raise Rejection('undecodable', f'It is compressed by {kind}; unpack it to a .tar.' if kind else
                        f'There is no header of a tar file at byte {place:,}.')
    name = block[:100].split(b'\0', 1)[0]
    if block[257:263] == b'ustar\0':  # GNU's own format has other fields there
        prefix = block[345:500].split(b'\0', 1)[0]
        name = prefix + b'/' + name if prefix else name
    return {'name': name, 'size': size, 'kind': block[156:157]}


def _number(field: bytes) -> int:
    """A number of a header, octal digits or, with the first bit set, binary. ValueError where it is none."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], 'big')
    digits = field.split(b'\0', 1)[0].strip()
    if digits and not digits.isdigit():
        raise ValueError(field)
    return int(digits or b'0', 8)


def _pax(content: bytes, place: int) -> dict:
    """The records 'length key=value' of a PAX header that count here."""
    records, start = {}, 0
    while start < len(content):
        match = re.match(rb'(\d{1,7}) ([^=\0]{1,200})=', content[start:start + 220])
        length = int(match[1]) if match else 0
        if not match or length <= match.end() or start + length > len(content):
            raise Rejection('undecodable', f'The PAX record at byte {place:,} is not as POSIX says.')
        key = match[2].decode('utf-8', 'replace')
        if key in ('path', 'size') or key.startswith('GNU.sparse.'):
            records[key] = content[start + match.end():start + length - 1]
        start += length
    return records


def _decimal(text: bytes, place: int) -> int:
    if not re.fullmatch(rb'\d{1,18}', text):
        raise Rejection('undecodable', f'The size before byte {place:,} is no number.')
    return int(text)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _check_end(file, place: int, end: int):
    """Rejection where something follows the zeros that end an archive: archives that were joined, say."""
    while place < end:
        block = _read(file, place, min(1 << 20, end - place))
        if not block:
            return
        if any(block):
            raise Rejection('undecodable', f'More follows the mark of its end, before byte {place + len(block):,}: '
                                           'were archives joined? Keep them apart.')
        place += len(block)
