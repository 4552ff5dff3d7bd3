"""Sharded tar files: a media file and its label side by side, `0001.jpg` and `0001.cls`, as WebDataset writes them.

Only headers and labels are read. An entry holds the offset of its media in the archive. The headers are parsed here and
not by `tarfile`, which trusts the length of a long name or a PAX record. Sources: POSIX.1-2001 (pax, "ustar interchange
format"), and the GNU tar manual for long names.
"""

import dataclasses
import json
import os
import re

from media import paths
from media.entries import Entry
from media.listing import files
from media.listing.annotations import GroupColumn
from media.listing.collector import Collector, split_of_path
from media.listing.folders import media_endings
from media.listing.manifests import (
    json_extra,
    json_group,
    json_labels,
    json_object,
    labels_if_known,
    make_entry,
)
from media.rejections import Rejection
from model_code import words
from model_code.errors import ConfigError

_BLOCK = 512
_COMPRESSED = ('.tar.gz', '.tgz', '.tar.bz2', '.tbz2', '.tar.xz', '.txz', '.tar.zst', '.tar.lz4')
_MAGIC = {b'\x1f\x8b': 'gzip', b'BZh': 'bzip2', b'\xfd7zXZ\0': 'xz', b'(\xb5/\xfd': 'zstd'}

_MAX_MEMBERS = 5_000_000  # of one file
_MAX_PARTS = 100  # members of one example
_MAX_EXTENDED = 1 << 20  # bytes of PAX records or of a long name
_MAX_LABEL_FILE = 1 << 16  # bytes

_LABEL_ENDINGS = ('json', 'cls', 'txt')


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A file in an archive. offset, size: of its content, in bytes. rejection: why it cannot be used, or None."""
    name: str
    offset: int
    size: int
    rejection: Rejection | None = None


def add_all(collector: Collector):
    """Adds the examples of every .tar file below the data folder.

    Raises ConfigError if there is none, or if one is compressed: its members cannot be read by their offsets.
    """
    source = collector.source
    walked = files.walk(source.data.folder, ('.tar', *_COMPRESSED))
    collector.left_out = walked.left_out
    for path, rejection in {**walked.rejected_folders, **walked.rejected_files}.items():
        collector.reject(rejection.at(path))
    for path, rejection in walked.rejected_folders.items():
        collector.lose(path, rejection.detail)
    if not walked.files:
        raise ConfigError(f'Task {source.name}: {source.data.folder} has no .tar file.')
    group_column = GroupColumn(source.data.group_column)
    for path in walked.files:
        if path.lower().endswith(_COMPRESSED):
            raise ConfigError(f'Task {source.name}: {path} in {source.data.folder} is compressed, so its members '
                              'cannot be read by their offsets. Decompress it to a .tar file; media are compressed '
                              'already.')
        with files.open_file(source.data.folder, path) as file:
            _Shard(collector, path, file, group_column).add_all()
    group_column.check(f'Task {source.name}: the .json files in the archives of {source.data.folder}')


class _Shard:
    """One archive: its members grouped into examples."""

    def __init__(self, collector: Collector, path: str, file, group_column: GroupColumn):
        self._collector, self._path, self._file, self._group_column = collector, path, file, group_column
        self._endings = media_endings(collector.source.modality)
        self._label_endings = [ending for ending in _LABEL_ENDINGS if f'.{ending}' not in self._endings]
        self._split = split_of_path(path)

    def add_all(self):
        key, parts, done = None, {}, set()
        count = 0
        try:
            for member in members(self._file):
                count += 1
                try:
                    if member.rejection:
                        raise member.rejection
                    name = paths.safe_path(member.name)
                except Rejection as rejection:
                    self._reject(member.name, rejection)
                    continue
                folder, slash, base = name.rpartition('/')
                stem, _, ending = base.partition('.')
                if not stem:
                    continue  # hidden files are left out, as in folders
                if f'{folder}{slash}{stem}' != key:
                    self._add_example(key, parts)
                    done.add(key)
                    key, parts = f'{folder}{slash}{stem}', {}
                if key in done:
                    self._reject(name, Rejection('bad_row', f'Other members of {key} are elsewhere in the archive. '
                                                            'Pack them side by side (tar --sort=name).'))
                elif ending.lower() in parts or len(parts) >= _MAX_PARTS:
                    self._reject(name, Rejection('duplicate', f'{key} has more than one .{paths.shown(ending, 40)}, or '
                                                              f'more than {_MAX_PARTS} members.'))
                else:
                    parts[ending.lower()] = (name, member, self._content(ending.lower(), member))
        except Rejection as rejection:
            detail = f'{rejection.detail} Kept: the {words.count(count, "member")} before that.'
            self._collector.reject(Rejection(rejection.reason, detail, self._path))
        self._add_example(key, parts)

    def _reject(self, name: str, rejection: Rejection, labels: tuple[str, ...] = ()):
        self._collector.reject(rejection.at(f'{self._path}!{name}'), labels=labels)

    def _content(self, ending: str, member: Member):
        """The text of a member that is a label; a Rejection if it is too long; None for other members."""
        if ending not in self._label_endings:
            return None
        if member.size > _MAX_LABEL_FILE:
            return Rejection('bad_label', f'Its .{ending} has {member.size:,} bytes; at most {_MAX_LABEL_FILE:,} '
                                          'are allowed.')
        self._file.seek(member.offset)
        return self._file.read(member.size).decode('utf-8-sig', 'surrogateescape')

    def _add_example(self, key, parts: dict):
        """Adds the example of the members with one key. parts: {ending: (name, Member, content)}."""
        media = [part for ending, part in parts.items() if ('.' + ending).endswith(self._endings)]
        labels = [ending for ending in self._label_endings if ending in parts]
        if not media:
            if labels:
                modality = self._collector.source.modality
                others = sorted(f'.{ending}' for ending in parts.keys() - set(self._label_endings))
                beside = f', only {paths.shown(", ".join(others))}' if others else ''
                self._reject(key, Rejection('missing', f'It has a label, but no {modality} file beside it{beside}.'),
                             labels_if_known(lambda: self._labels(parts)))
            elif parts:
                for name, _, _ in parts.values():
                    files.leave_out(self._collector.left_out, f'{self._path}!{name}')
            return
        try:
            if len(media) > 1:
                raise Rejection('bad_row', f'{" and ".join(part[0] for part in media[:3])} are in one example, '
                                           'which has one media file.')
            entry = self._entry(media[0][0], media[0][1], parts)
        except Rejection as rejection:
            self._reject(media[0][0], rejection, labels_if_known(lambda: self._labels(parts)))
        else:
            self._collector.add(entry, '')

    def _texts(self, parts: dict) -> dict[str, str]:
        """The contents of the members that hold labels. Raises Rejection for one that is too long."""
        texts = {ending: parts[ending][2] for ending in self._label_endings if ending in parts}
        for text in texts.values():
            if isinstance(text, Rejection):
                raise text
        return texts

    def _labels(self, parts: dict) -> tuple[str, ...]:
        collector, texts = self._collector, self._texts(parts)
        row = json_object(texts['json']) if 'json' in texts else {}
        label = collector.data.columns.label
        if collector.data.label_groups or any(key in row for key in ([label] if label else ['label', 'labels'])):
            return json_labels(collector, row)
        if 'cls' in texts or 'txt' in texts:
            return collector.labels(texts['cls' if 'cls' in texts else 'txt'].strip())
        if collector.data.allow_unlabelled:
            return ()
        raise Rejection('bad_label', 'It has no label beside it: a .cls, .txt or .json with "label" or "labels".'
                        + collector.cure_of_no_label)

    def _entry(self, name: str, member: Member, parts: dict) -> Entry:
        collector, names, texts = self._collector, self._collector.data.columns, self._texts(parts)
        labels = self._labels(parts)
        row = json_object(texts['json']) if 'json' in texts else {}
        split = row.get(names.split) if names.split else None
        if split is not None and not isinstance(split, str):
            raise Rejection('bad_row', f'Its {names.split} {paths.shown(json.dumps(split), 40)} is not text.')
        self._group_column.see(row)
        return make_entry(collector, self._path, labels, (split or '').strip() or self._split, row.get(names.start),
                          row.get(names.end), json_extra(collector, row), json_group(collector, row),
                          offset=member.offset, length=member.size, member=name)


# The format.

def members(file):
    """Yields a Member for each file of an archive. Seeks over contents; leaves out folders.

    file: seekable, binary. Raises Rejection if the archive is damaged or exceeds a limit; the members before that are
    right.
    """
    end = file.seek(0, os.SEEK_END)
    position, extended, count = 0, {}, 0
    while position < end:
        block = _read(file, position, _BLOCK)
        if len(block) < _BLOCK:
            raise Rejection('truncated', f'The archive ends within a header, at byte {position:,}.')
        if not any(block):
            _check_end(file, position, end)
            return
        count += 1
        if count > _MAX_MEMBERS:
            raise Rejection('too_large', f'The archive has more than {_MAX_MEMBERS:,} members. Split it into several.')
        header = _header(block, position)
        kind, size, offset = header['kind'], header['size'], position + _BLOCK
        if kind in b'xgLK':
            extended.update(_extended(file, kind, offset, size))
            position = offset + _padded(size)
            continue
        if 'size' in extended:
            size = _decimal(extended['size'], offset)
        sparse = kind in b'S' or any(key.startswith('GNU.sparse.') for key in extended)
        name = extended.get('path', header['name']).decode('utf-8', 'surrogateescape')
        extended = {}
        if kind in b'123456':  # links, devices, folders, pipes: only a header
            if kind not in b'5':
                yield Member(name, offset, 0, Rejection('not_a_file', 'It is a link, a device or a pipe.'))
            position = offset
            continue
        position = offset + _padded(size)
        if offset + size > end:
            detail = f'The archive ends before the end of its {size:,} bytes.'
            yield Member(name, offset, size, Rejection('truncated', detail))
            raise Rejection('truncated', f'The archive is cut after {end:,} bytes.')
        if sparse:
            detail = 'It is packed as a sparse file. Pack it without --sparse.'
            yield Member(name, offset, size, Rejection('unsupported', detail))
        elif kind in b'\x007' or kind in b'0':
            if not name.endswith('/'):  # a folder in old archives
                yield Member(name, offset, size)
        else:
            yield Member(name, offset, size, Rejection('unsupported', f'It is a member of the unknown type {kind!r}.'))


def _extended(file, kind: bytes, offset: int, size: int) -> dict:
    """What the content of an extended header says of the next member: 'path', 'size', 'GNU.sparse...'; or {}.

    kind: b'x' for PAX records, b'L' for a long name; others say nothing of the next member.
    """
    if size > _MAX_EXTENDED:
        raise Rejection('too_large', f'The header before byte {offset:,} announces a name or record of {size:,} bytes; '
                                     f'at most {_MAX_EXTENDED:,} are allowed.')
    content = _read(file, offset, size)
    if len(content) < size:
        raise Rejection('truncated', f'The archive ends within a record, at byte {offset:,}.')
    if kind == b'x':
        return _pax(content, offset)
    return {'path': content.rstrip(b'\0')} if kind == b'L' else {}


def _read(file, position: int, size: int) -> bytes:
    file.seek(position)
    return file.read(size)


def _header(block: bytes, position: int) -> dict:
    """The 'name', 'size' and 'kind' in a header. Raises Rejection if it is not a header."""
    unsigned = sum(block) - sum(block[148:156]) + 8 * ord(' ')  # the checksum itself counts as spaces
    try:
        checksum, size = _number(block[148:156]), _number(block[124:136])
        # Old tars summed signed bytes.
        signed = unsigned - 256 * sum(byte > 127 for byte in block[:148] + block[156:])
        valid = checksum in (unsigned, signed)
    except ValueError:
        valid = False
    if not valid:
        program = next((name for magic, name in _MAGIC.items() if position == 0 and block.startswith(magic)), None)
        raise Rejection('undecodable', f'It is compressed by {program}. Decompress it to a .tar file.' if program else
                        f'There is no header of a tar file at byte {position:,}.')
    name = block[:100].split(b'\0', 1)[0]
    if block[257:263] == b'ustar\0':  # GNU's own format has other fields there
        prefix = block[345:500].split(b'\0', 1)[0]
        name = prefix + b'/' + name if prefix else name
    return {'name': name, 'size': size, 'kind': block[156:157]}


def _number(field: bytes) -> int:
    """A number in a header: octal digits or, if its first bit is set, binary. Raises ValueError for anything else."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], 'big')
    digits = field.split(b'\0', 1)[0].strip()
    if digits and not digits.isdigit():
        raise ValueError(field)
    return int(digits or b'0', 8)


def _pax(content: bytes, position: int) -> dict:
    """The records 'length key=value' of a PAX header that matter here."""
    records, start = {}, 0
    while start < len(content):
        match = re.match(rb'(\d{1,7}) ([^=\0]{1,200})=', content[start:start + 220])
        length = int(match[1]) if match else 0
        if not match or length <= match.end() or start + length > len(content):
            raise Rejection('undecodable', f'The PAX record at byte {position:,} is not valid.')
        key = match[2].decode('utf-8', 'replace')
        if key in ('path', 'size') or key.startswith('GNU.sparse.'):
            records[key] = content[start + match.end():start + length - 1]
        start += length
    return records


def _decimal(text: bytes, position: int) -> int:
    if not re.fullmatch(rb'\d{1,18}', text):
        raise Rejection('undecodable', f'The size before byte {position:,} is not a number.')
    return int(text)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _check_end(file, position: int, end: int):
    """Raises Rejection if anything follows the zeros that end an archive, as when archives are joined."""
    while position < end:
        block = _read(file, position, min(1 << 20, end - position))
        if not block:
            return
        if any(block):
            raise Rejection('undecodable', f'More follows its end mark, before byte {position + len(block):,}. If '
                                           'archives were joined, keep them apart.')
        position += len(block)
