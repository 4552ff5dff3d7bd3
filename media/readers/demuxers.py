"""Containers of video and sound: which of FFmpeg's demuxers opens a file, and whether the file is complete.

The content decides on the demuxer. FFmpeg itself would try playlists and other formats that open further files. A file
that ends earlier than its container says is truncated, whichever segment of it is read.
"""

import struct

from media.readers import formats
from media.rejections import Rejection
from model_code import words

HEAD = 400  # bytes that tell the demuxer
_MAX_BOXES = 10_000


def demuxer_of(head: bytes) -> str | None:
    """The name of FFmpeg's demuxer for a video file that begins with `head`, or None."""
    if head[4:8] == b'ftyp':  # a HEIC image, too
        return None if (formats.describe(head) or '').endswith(' image') else 'mov'
    if head[4:8] in (b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot'):
        return 'mov'
    if head[:4] == b'\x1aE\xdf\xa3':
        return 'matroska'
    if head[:4] == b'RIFF' and head[8:11] == b'AVI':
        return 'avi'
    if head[:6] in (b'GIF87a', b'GIF89a'):
        return 'gif'
    if head[:4] == b'\0\0\1\xba':
        return 'mpeg'
    return 'mpegts' if _ts_packet(head) else None


def check_whole(demuxer: str, file, size: int):
    """Raises Rejection (truncated) if a file of `size` bytes ends earlier than its container says, if it says so."""
    if demuxer in _CHECKS:
        _CHECKS[demuxer](file, size)


def _truncated(missing: int) -> Rejection:
    return Rejection('truncated', f'It ends {words.count(missing, "byte")} earlier than its header says.')


def _at(file, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _check_mov(file, size: int):
    """Walks the outermost boxes. The file must not end within one, nor without an index."""
    position, has_index = 0, False
    for _ in range(_MAX_BOXES):
        head = _at(file, position, 16)
        if len(head) < 8:
            break
        length, kind = struct.unpack_from('>I4s', head)
        if length == 1 and len(head) == 16:
            length, = struct.unpack_from('>Q', head, 8)
        elif length == 0:  # up to the end of the file
            length = size - position
        if length < 8:
            raise Rejection('undecodable', 'It is damaged: the length of one of its boxes is wrong.')
        has_index = has_index or kind in (b'moov', b'moof')
        position += length
        if position > size:
            raise _truncated(position - size)
    else:
        return
    if not has_index:
        raise Rejection('truncated', 'It ends before its index (the box moov).')


def _check_matroska(file, size: int):
    """Checks the length of the Segment, the element after the EBML header, if it is known."""
    position = 0
    for ident in (b'\x1aE\xdf\xa3', b'\x18S\x80g'):
        head = _at(file, position, 12)
        if position and not head:
            raise Rejection('truncated', 'It ends before its segment.')
        if head[:4] != ident or len(head) < 12:
            return
        width = 9 - head[4].bit_length()  # bytes of the length: one more than the leading zeros of its first byte
        if width > 8:
            return
        length = int.from_bytes(head[4:4 + width], 'big') & ((1 << 7 * width) - 1)
        if length == (1 << 7 * width) - 1:  # unknown, because it was written while it was recorded
            return
        position += 4 + width + length
        if position > size:
            raise _truncated(position - size)


def _check_avi(file, size: int):
    """Checks the lengths of the RIFF chunks; an AVI of more than 1 GB has several."""
    position = 0
    for _ in range(_MAX_BOXES):
        head = _at(file, position, 8)
        if head[:4] != b'RIFF' or len(head) < 8:
            return
        length, = struct.unpack_from('<I', head, 4)
        if length in (0, 0xFFFFFFFF):  # unknown, because it was written to a pipe
            return
        if position + 8 + length > size:
            raise _truncated(position + 8 + length - size)
        position += 8 + length + length % 2


def _check_gif(file, size: int):
    if not _at(file, max(0, size - 16), 16).rstrip(b'\0\r\n').endswith(b';'):
        raise Rejection('truncated', 'The GIF ends without its trailer.')


def _ts_packet(head: bytes) -> int:
    """The bytes per packet, 188 or 192, of an MPEG transport stream that begins with `head`; 0 for other files."""
    return next((length for first, length in ((0, 188), (4, 192)) if head[first::length][:2] == b'GG'), 0)


def _check_mpegts(file, size: int):
    """Checks for whole packets. More cannot be known: a transport stream cut between two packets is a valid one."""
    packet = _ts_packet(_at(file, 0, HEAD))
    if size % packet:
        raise Rejection('truncated', f'It ends within a packet, after {size % packet} of {packet} bytes.')


_CHECKS = {'mov': _check_mov, 'matroska': _check_matroska, 'avi': _check_avi, 'gif': _check_gif,
           'mpegts': _check_mpegts}
