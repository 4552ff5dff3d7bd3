"""What a file is, told by its first bytes, in words: for files that a reader does not read.

The signatures are those that the formats' publishers give. Each description ends with the kind of media, if it is any.
"""

from media.rejections import Rejection

HEAD = 4096  # bytes that are looked at

# (position, bytes, what it is). The first that fits counts.
_SIGNATURES = (
    (0, b'\x89PNG\r\n\x1a\n', 'a PNG image'),
    (0, b'\xff\xd8\xff', 'a JPEG image'),
    (0, b'GIF87a', 'a GIF image'),
    (0, b'GIF89a', 'a GIF image'),
    (8, b'WEBP', 'a WebP image'),
    (0, b'8BPS', 'a Photoshop image'),
    (0, b'gimp xcf', 'a GIMP image'),
    (0, b'#?RADIANCE', 'a Radiance HDR image'),
    (0, b'P5\n', 'a PNM image'),
    (0, b'P6\n', 'a PNM image'),
    (0, b'SIMPLE  =', 'a FITS image'),
    (0, b'\0\0\1\0', 'an ICO image'),
    (0, b'\0\0\2\0', 'a CUR image'),
    (0, b'icns', 'an ICNS image'),
    (0, b'\xff\x0a', 'a JPEG XL image'),
    (0, b'\0\0\0\x0cJXL \r\n\x87\n', 'a JPEG XL image'),
    (0, b'\0\0\0\x0cjP  \r\n\x87\n', 'a JPEG 2000 image'),
    (0, b'\xff\x4f\xff\x51', 'a JPEG 2000 image'),
    (0, b'\x76\x2f\x31\x01', 'an OpenEXR image'),
    (0, b'DDS ', 'a DDS image'),
    (0, b'AT&TFORM', 'a DjVu document'),
    (128, b'DICM', 'a DICOM image'),
    (0, b'II*\0\x10\0\0\0CR', 'a camera RAW (CR2) image'),
    (0, b'IIRO', 'a camera RAW (ORF) image'),
    (0, b'IIRS', 'a camera RAW (ORF) image'),
    (0, b'MMOR', 'a camera RAW (ORF) image'),
    (0, b'IIU\0', 'a camera RAW (RW2) image'),
    (0, b'FUJIFILMCCD-RAW', 'a camera RAW (RAF) image'),
    (0, b'FOVb', 'a camera RAW (X3F) image'),
    (0, b'II*\0', 'a TIFF image'),
    (0, b'MM\0*', 'a TIFF image'),
    (0, b'II+\0', 'a TIFF image'),
    (0, b'MM\0+', 'a TIFF image'),
    (0, b'\xd7\xcd\xc6\x9a', 'a Windows metafile (WMF) drawing'),
    (40, b' EMF', 'a Windows metafile (EMF) drawing'),
    (0, b'\xc5\xd0\xd3\xc6', 'a PostScript document'),
    (0, b'%!PS', 'a PostScript document'),

    (8, b'WAVE', 'a WAV sound'),
    (8, b'AIFF', 'an AIFF sound'),
    (8, b'AIFC', 'an AIFF sound'),
    (0, b'fLaC', 'a FLAC sound'),
    (0, b'OggS', 'an Ogg sound'),
    (0, b'ID3', 'an MP3 sound'),
    (0, b'#!AMR', 'an AMR sound'),
    (0, b'caff', 'a CAF sound'),
    (0, b'.snd', 'an AU sound'),
    (0, b'riff.\x91\xcf\x11', 'a Wave64 sound'),
    (0, b'MAC ', "a Monkey's Audio sound"),
    (0, b'wvpk', 'a WavPack sound'),
    (0, b'MPCK', 'a Musepack sound'),
    (0, b'MP+', 'a Musepack sound'),
    (0, b'TTA1', 'a True Audio sound'),
    (0, b'DSD ', 'a DSD sound'),
    (0, b'Creative Voice File', 'a VOC sound'),
    (0, b'\x7f\xfe\x80\x01', 'a DTS sound'),
    (0, b'\x0bw', 'an AC-3 sound'),
    (0, b'.ra\xfd', 'a RealAudio sound'),
    (0, b'MThd', 'a MIDI file (notes)'),

    (8, b'AVI ', 'an AVI video'),
    (0, b'\x1aE\xdf\xa3', 'a Matroska or WebM video'),
    (0, b'0&\xb2u\x8ef\xcf\x11', 'a Windows Media (WMA or WMV) sound or video'),
    (0, b'.RMF', 'a RealMedia video'),
    (0, b'FLV\1', 'a Flash (FLV) video'),
    (0, b'FWS', 'a Flash (SWF) program'),
    (0, b'CWS', 'a Flash (SWF) program'),
    (0, b'\x06\x0e+4\2\5\1\1', 'an MXF video'),
    (0, b'\0\0\1\xba', 'an MPEG video'),
    (0, b'\0\0\1\xb3', 'a raw MPEG video'),
    (0, b'\0\0\0\1\x67', 'a raw H.264 video'),
    (0, b'\0\0\0\1\x40\1', 'a raw H.265 video'),
    (0, b'DKIF', 'an IVF video'),

    (0, b'\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1', 'an old Office document (Word, Excel, PowerPoint)'),
    (0, b'%PDF', 'a PDF document'),
    (0, b'\x1f\x8b', 'a gzip archive'),
    (0, b'BZh', 'a bzip2 archive'),
    (0, b'\xfd7zXZ\0', 'an xz archive'),
    (0, b'7z\xbc\xaf\x27\x1c', 'a 7z archive'),
    (0, b'Rar!\x1a\7', 'a RAR archive'),
    (0, b'(\xb5/\xfd', 'a Zstandard archive'),
    (257, b'ustar', 'a tar archive'),
    (0, b'SQLite format 3\0', 'an SQLite database'),
    (0, b'\x89HDF\r\n\x1a\n', 'an HDF5 file'),
    (0, b'\x93NUMPY', 'a NumPy array'),
    (0, b'PAR1', 'a Parquet table'),
    (0, b'\x7fELF', 'a program'),
    (0, b'MZ', 'a program'),
    (0, b'OTTO', 'a font'),
    (0, b'\0\1\0\0\0', 'a font'),
    (0, b'wOF', 'a font'),
    (0, b'\0\5\x16\7', 'metadata that macOS keeps beside a file'),
    (0, b'L\0\0\0\1\x14\2\0', 'a Windows shortcut'),
)

# The brand of an ISO base media file, in bytes 8 to 12, after 'ftyp'. All others are videos.
_BRANDS = {
    **dict.fromkeys((b'heic', b'heix', b'heim', b'heis', b'hevc', b'hevx', b'mif1', b'msf1'), 'a HEIC image'),
    **dict.fromkeys((b'avif', b'avis'), 'an AVIF image'),
    b'crx ': 'a camera RAW (CR3) image',
    **dict.fromkeys((b'M4A ', b'M4B '), 'an M4A sound'),
    b'qt  ': 'a MOV video',
}
_BOXES = (b'moov', b'mdat', b'free', b'skip', b'wide', b'pnot')

# In an archive of the ZIP format, by what its first part names.
_ZIPPED = ((b'word/', 'a Word document'), (b'xl/', 'an Excel document'), (b'ppt/', 'a PowerPoint document'),
           (b'[Content_Types].xml', 'an Office document (Word, Excel, PowerPoint)'),
           (b'application/epub', 'an EPUB document'), (b'opendocument', 'an OpenDocument document'),
           (b'AndroidManifest', 'an Android app'))

# The beginning of a text, in lower case, after spaces.
_TEXTS = (
    ('%pdf', 'a PDF document'),
    ('%!ps', 'a PostScript document'),
    ('{\\rtf', 'an RTF document'),
    ('#?radiance', 'a Radiance HDR image'),
    ('simple  =', 'a FITS image'),
    ('version https://git-lfs', 'a Git LFS pointer'),
    ('#extm3u', 'a playlist'),
    ('<svg', 'an SVG drawing'),
    ('<!doctype svg', 'an SVG drawing'),
    ('<!doctype html', 'an HTML page'),
    ('<html', 'an HTML page'),
    ('<', 'an XML document'),
    ('{', 'a JSON file'),
    ('[', 'a JSON file'),
)
_HINTS = {
    'an HTML page': ' Perhaps an error page was saved under this name.',
    'a Git LFS pointer': ' Run `git lfs pull` to get the file itself.',
    'a file of zeros': ' Perhaps its copy was interrupted.',
}


def unsupported(head: bytes, kind: str, also: tuple[str, ...], formats: str, target: str) -> Rejection:
    """The rejection of a file that is of no format that the reader reads.

    head: at least its first HEAD bytes. kind: what the reader takes, with its article: 'an image'. also: other words at
    the end of the description of a file that can be converted. formats: those that are read. target: what to convert
    others to.
    """
    what = describe(head)
    if what is None:
        detail = f'Its format is unknown. It must be one of {formats}.'
    elif what.endswith((kind.split()[-1], *also)):
        detail = f'It is {what}. Convert it to {target}.'
    else:
        detail = f'It is {what}, not {kind}.{_HINTS.get(what, "")}'
    return Rejection('unsupported', detail)


def describe(head: bytes) -> str | None:
    """What a file is that begins with `head`, with its article; None if that is unknown."""
    head = head[:HEAD]
    text = _decoded(head)
    if text is not None:  # first, because words may begin like the signatures of some formats
        return _describe_text(text.lstrip('\ufeff \t\r\n').lower())
    if head[4:8] == b'ftyp':
        return _BRANDS.get(head[8:12], 'a 3GP video' if head[8:11] == b'3gp' else 'an MP4 video')
    if head[:4] in (b'PK\3\4', b'PK\5\6'):
        return next((what for part, what in _ZIPPED if part in head), 'a ZIP archive')
    for position, signature, what in _SIGNATURES:
        if head.startswith(signature, position):
            return what
    if head[4:8] in _BOXES:
        return 'a MOV video'
    if any(head[first:first + 1] == head[first + 188:first + 189] == b'G' for first in (0, 4)):
        return 'an MPEG transport stream video'
    if head[:2] == b'BM' and head[6:10] == b'\0\0\0\0':
        return 'a BMP image'
    if len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 in (0xE2, 0xE4, 0xE6):
        return 'an MP3 sound'
    return 'a file of zeros' if head and not head.strip(b'\0') else None


def _describe_text(text: str) -> str:
    """As `describe`, for the beginning of a text in lower case."""
    if text.startswith(('<?xml', '<!--')):  # what comes after that?
        text = next((text[at:] for at in map(text.find, ('<svg', '<html')) if at >= 0), text)
    if text[:1] == 'p' and text[1:2] in tuple('123456') and text[2:3].isspace():
        return 'a PNM image'
    return next((what for start, what in _TEXTS if text.startswith(start)), 'a text file')


def _decoded(head: bytes) -> str | None:
    """The text that the bytes are, up to a character that is cut off; None if they are no text."""
    encoding = 'utf-16' if head[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8'
    try:
        text = head.decode(encoding)
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < len(head) - 4:
            return None
        text = head[:error.start].decode(encoding)
    is_text = text and all(character.isprintable() or character in '\t\r\n\f\ufeff' for character in text)
    return text if is_text else None
