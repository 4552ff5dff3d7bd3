"""Files of sound: which decoders read one, where its sound is, and whether it is complete. Decodes nothing."""

import dataclasses
import struct
import zlib
from collections.abc import Callable

from media.readers import audio_frames, demuxers, formats
from media.rejections import Rejection
from model_code import words

_FORMATS = 'WAV, FLAC, MP3, Ogg, AIFF, M4A, AAC, MP4, MOV, WebM, MKV, AVI and MPEG'
TARGET = 'WAV, FLAC or MP3'  # what other formats are to be converted to
_MAX_CHUNKS = 10_000

# Programs that write to a pipe do not know the length of the sound. They leave 0, or one of these.
_UNKNOWN = (0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000)
_UNKNOWN_64 = 1 << 62  # from here on, of 64 bits
# Others leave a large number: 2,000,000,000, 0x80000000, or 0x7FFFFF00. From here on it cannot be true, unless a
# good part of it is there: that would be a file of 2 GB of which a download has stopped early.
_PLACEHOLDER, _PART = 0x70000000, 16
_MAX_HEADER = 4096  # bytes; some programs fill a header up to here

# What describes a file that may be an MP3 after all: chance, or zeros before its first frame.
_MAYBE_FRAMES = (None, 'an MP3 sound', 'a file of zeros')


@dataclasses.dataclass(frozen=True)
class Found:
    """What a file is. demuxer: FFmpeg's for it. libsndfile: whether that is asked first.

    constant_rate: of an MP3 whose header declares a constant bit rate, (position of the first frame, bytes per frame).
    spans: the parts of the file that are its sound; empty if it has a container, so that all of it is.
    notes: words of readers.NOTES. least_seconds: how long the sound is at least, where a decoder might not notice that
    it is shorter.
    """
    demuxer: str
    libsndfile: bool = False
    constant_rate: tuple[float, float] | None = None
    spans: tuple[tuple[int, int], ...] = ()
    notes: tuple[str, ...] = ()
    least_seconds: float = 0.0


def identify(file, size: int, whole: bool, check: Callable[[], None]) -> Found:
    """What a file of `size` bytes is. whole: whether all of its sound is to be read. check: called now and then.

    Raises Rejection if the file is truncated or of another format.
    """
    head = _at(file, 0, demuxers.HEAD)
    if head[:4] in (b'RIFF', b'RIFX', b'RF64', b'BW64') and head[8:12] == b'WAVE':
        known, notes = _check_chunks(file, size, '>' if head[:4] == b'RIFX' else '<', b'data')
        # libsndfile reads nothing of a chunk of length 0, and knows no BW64.
        return Found('wav', known and head[:4] != b'BW64', notes=notes)
    if head[:4] == b'FORM' and head[8:12] in (b'AIFF', b'AIFC'):
        return Found('aiff', True, notes=_check_chunks(file, size, '>', b'SSND')[1])
    if head[:4] == b'OggS':
        last = _last_page(file, size)
        _check_ogg(last)
        skipped, joined = _check_pages(file, size, check) if whole else (0, False)
        notes = ('junk',) if skipped else ()
        if _only_stream(file, last) and not joined:
            return Found('ogg', True, notes=notes, least_seconds=_ogg_seconds(file, last))
        return Found('ogg', notes=notes)
    if demuxer := demuxers.demuxer_of(head):
        demuxers.check_whole(demuxer, file, size)
        return Found(demuxer)
    if head[:4] == b'fLaC':
        return Found('flac', True)
    return _identify_frames(file, size, head, whole, check)


def _identify_frames(file, size: int, head: bytes, whole: bool, check: Callable[[], None]) -> Found:
    """`identify` for files without a container, maybe after an ID3 tag: MP3, AAC, and tagged FLAC."""
    begin = 0
    while head[:3] == b'ID3' and len(head) >= 10 and begin < size:
        begin += audio_frames.id3_length(head)
        head = _at(file, begin, 16)
    if begin >= size:
        raise Rejection('truncated', 'It ends within its ID3 tag.')
    if begin and not any(head):  # Some programs add padding after the tag.
        padding = _at(file, begin, audio_frames.SEARCHED)
        begin += len(padding) - len(padding.lstrip(b'\0'))
        head = _at(file, begin, 16)
    if head[:4] == b'fLaC':
        return Found('flac', True)
    # A file of another kind may contain an MP3 (an archive, a page); it is none.
    head = _at(file, begin, formats.HEAD)
    found = audio_frames.find(file, begin) if formats.describe(head) in _MAYBE_FRAMES else None
    if found:
        return _found(file, size, *found, begin, whole, check)
    # Without a chain only a short file, or one of a free bit rate, can be one.
    alone = len(head) >= 4 and head[0] == 0xFF and (size - begin < audio_frames.SHORT or head[2] & 0xF0 == 0)
    if alone and head[1] & 0xF6 == 0xF0:
        return Found('aac')
    if alone and head[1] & 0xE0 == 0xE0 and head[1] & 0x18 != 0x08 \
            and head[1] & 0x06 and head[2] & 0xF0 != 0xF0 and head[2] & 0x0C != 0x0C:
        return Found('mp3')
    if begin:
        raise Rejection('unsupported', f'After its ID3 tag comes no MP3, AAC or FLAC. Convert it to {TARGET}.')
    raise formats.unsupported(head, 'a sound', (' video',), _FORMATS, TARGET)


def _found(file, size: int, demuxer: str, first: int, begin: int, whole: bool, check: Callable[[], None]) -> Found:
    """A file of frames, of which the first is at `first` and could have been at `begin`."""
    info = audio_frames.info_of(_at(file, first, 64)) if demuxer == 'mp3' else None
    if info and first + info.bytes > size:
        raise audio_frames.truncated(first + info.bytes - size)
    notes = ('junk',) if first > begin else ()
    if info and first + info.bytes == size and not whole:  # as far as one knows without reading it all
        return Found(demuxer, False, _constant_rate(info), ((first, size),), notes)
    sound = audio_frames.walk(file, demuxer, first, size, check)
    if sound.cut and not notes:  # what begins in the middle of a frame may end so
        raise Rejection('truncated', f'Its last frame lacks {words.count(sound.cut, "byte")}.')
    if sound.skipped or len(sound.spans) > 1 or sound.cut:
        notes = ('junk',)
    spans = sound.spans
    if info and sound.frames > info.frames + 1:  # joined files: what the first says of itself is not true of all
        info_end = first + audio_frames.frame_length(_at(file, first, 8))
        spans, info = [(max(start, info_end), end) for start, end in spans], None
    return Found(demuxer, False, _constant_rate(info), tuple(spans), notes)


def _constant_rate(info: audio_frames.Info | None) -> tuple[float, float] | None:
    """The Info header fills a frame of its own."""
    if info is None or not info.constant:
        return None
    frame_bytes = info.bytes / (info.frames + 1)
    return frame_bytes, frame_bytes


def _at(file, position: int, count: int) -> bytes:
    file.seek(position)
    return file.read(count)


def _check_chunks(file, size: int, order: str, wanted: bytes) -> tuple[bool, tuple[str, ...]]:
    """(whether the chunk of the sound says its length, notes). Raises Rejection if the file was cut."""
    position, align, long_sizes, header = 12, 1, None, 0
    outer, = struct.unpack_from(f'{order}I', _at(file, 4, 4))
    for _ in range(_MAX_CHUNKS):
        head = _at(file, position, 24)
        if len(head) < 8:
            raise Rejection('truncated', 'It ends before its sound.')
        kind, length = struct.unpack_from(f'{order}4sI', head)
        if kind == b'ds64' and len(head) == 24:  # RF64: the sizes of the file and of the sound in 64 bits
            long_sizes = struct.unpack_from('<QQ', head, 8)
        if kind == b'fmt ' and len(head) == 24:
            align, = struct.unpack_from(f'{order}20xH', head)
        if kind == b'COMM' and len(head) == 24:
            channels, _, bits = struct.unpack_from('>HIH', head, 8)
            align = channels * (bits + 7) // 8
        if kind == wanted:
            header = position + 8
            if long_sizes and length == 0xFFFFFFFF:  # programs that write 64 bits know what they count
                header = 0
                outer, length = long_sizes
                length = 0 if length >= _UNKNOWN_64 else length
            elif length in _UNKNOWN:
                length = 0
            available = size - position - 8
            if length and length <= available:
                return True, ()
            if length:
                _check_cut(length, available, header, size, outer, max(1, align))
                return True, ('wrong_length',)
            # A chunk that really is empty may be followed by another chunk.
            following, = struct.unpack_from(f'{order}4xI', head[8:16].ljust(8))
            is_empty = available <= 0 or position + 16 + following in (size, size - 1)
            # All ones are more than the file has, so decoders read it to its end.
            known = is_empty or struct.unpack_from(f'{order}4xI', head)[0] != 0
            return known, () if is_empty else ('wrong_length',)
        position += 8 + length + length % 2
    raise Rejection('undecodable', f'It has more than {_MAX_CHUNKS:,} chunks before its sound.')


def _check_cut(length: int, available: int, header: int, size: int, outer: int, align: int):
    """Raises Rejection if a sound of `length` bytes, of which `available` are there, was cut: if that may be true.

    header: the bytes before the sound, if they may be in `length`; else 0. size: of the file; outer: what its header
    says of it, less 8. align: bytes of the samples of one moment.
    """
    says_it_is_whole = outer + 8 in (size - 1, size)
    counts_the_header = length - available <= min(header, _MAX_HEADER) and available % align == 0
    is_placeholder = length >= _PLACEHOLDER and length <= 0xFFFFFFFF and available < length // _PART
    if not (says_it_is_whole or counts_the_header or is_placeholder):
        raise audio_frames.truncated(length - available)


def _check_ogg(page: bytes):
    segments = page[26] if len(page) > 26 else 0
    missing = 27 + segments + sum(page[27:27 + segments]) - len(page)
    if missing > 0:
        raise Rejection('truncated', f'Its last page lacks {words.count(missing, "byte")} or more.')


def _only_stream(file, last_page: bytes) -> bool:
    """Whether an Ogg file has a single stream, with a codec that libsndfile reads: of several it reads the first."""
    first, second = _at(file, 0, 128), b''
    if len(first) > 27:
        segments = first[26]
        second = _at(file, 27 + segments + sum(first[27:27 + segments]), 6)
        return (first[27 + segments:].startswith((b'\x01vorbis', b'OpusHead'))
                and not (len(second) > 5 and second[5] & 2)  # all streams begin together
                and last_page[14:18] == first[14:18])  # unless files were joined
    return False


def _last_page(file, size: int) -> bytes:
    tail = _at(file, max(0, size - (1 << 16)), 1 << 16)  # a page has fewer bytes
    return tail[max(0, tail.rfind(b'OggS')):]


def _check_pages(file, size: int, check: Callable[[], None]) -> tuple[int, bool]:
    """(the bytes of an Ogg file that are no page, whether it was joined from several files).

    Raises Rejection if a page is damaged or missing.

    libogg leaves out damaged pages without a word: the sound would be shorter, and what follows too early.
    """
    position, skipped, joined, numbers = 0, 0, False, {}
    while position < size:
        head = _at(file, position, 27 + 255)
        if head[:4] != b'OggS' or len(head) < 27:
            following = _at(file, position, 1 << 16).find(b'OggS', 1)
            following = following if following > 0 else min(1 << 16, size - position)
            skipped, position = skipped + following, position + following
            check()
            continue
        length = 27 + head[26] + sum(head[27:27 + head[26]])
        page = _at(file, position, length)
        begins = page[5] & 2
        if begins and any(count > 1 for count in numbers.values()):
            joined, numbers = True, {}
        serial, number, checksum = struct.unpack_from('<III', page, 14)
        if _ogg_checksum(page[:22] + bytes(4) + page[26:]) != checksum or number != numbers.get(serial, number):
            raise Rejection('undecodable', f'It is damaged: the page at byte {position:,} is not the one that was '
                                           'written there.')
        numbers[serial] = number + 1
        position += length
        check()
    return skipped, joined


_REVERSED = bytes(int(f'{byte:08b}'[::-1], 2) for byte in range(256))  # each byte with its bits in reverse order


def _ogg_checksum(page: bytes) -> int:
    """The CRC-32 of Ogg: that of zlib with the bits in reverse order, and without the ones at its begin and end."""
    return int(f'{zlib.crc32(page.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}'[::-1], 2)


def _ogg_seconds(file, last_page: bytes) -> float:
    """The seconds from the end of the first page with sound to the end of the last, of a Vorbis or Opus file.

    libvorbis takes the last page that it finds for the end.
    """
    head = _at(file, 0, 128)
    packet = head[27 + head[26]:]
    rate = struct.unpack_from('<I', packet.ljust(16), 12)[0] if packet[:1] == b'\x01' else 48_000
    last, = struct.unpack_from('<q', last_page.ljust(14), 6)
    position, first = 0, 0
    for _ in range(_MAX_CHUNKS):
        page = _at(file, position, 27 + 255)
        if page[:4] != b'OggS' or len(page) < 27 or first > 0:
            break
        first, = struct.unpack_from('<q', page, 6)
        position += 27 + page[26] + sum(page[27:27 + page[26]])
    return (last - first) / rate if 0 < first < last and rate else 0.0
