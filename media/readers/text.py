"""Texts: UTF-8 bytes, stored without a byte order mark and without ASCII white space at their ends.

The exported graph does the same with texts as clients send them (model_code.sent_media.text).
"""

import re
from typing import BinaryIO

from media.readers import formats
from media.rejections import Rejection
from model_code.modalities import Limits, TextInput

_BYTE_ORDER_MARK = b'\xef\xbb\xbf'
# That of UTF-32 (little-endian) begins as that of UTF-16 does.
_OTHER_MARKS = {b'\xff\xfe\0\0': 'UTF-32', b'\0\0\xfe\xff': 'UTF-32', b'\xff\xfe': 'UTF-16', b'\xfe\xff': 'UTF-16'}
# Programs write none of these into texts. Tabs and line ends are none of them, nor are Unicode's others (U+0085), which
# texts have that were once in another encoding.
_CONTROL = re.compile(rb'[\x00-\x08\x0e-\x1f\x7f]')
# What begins like a text, but is none to read.
_NO_TEXT = 'a Git LFS pointer', 'a PDF document', 'an RTF document', 'a file of zeros'


def read(file: BinaryIO, size: int, spec: TextInput, limits: Limits, start: float | None, end: float | None):
    """({'text': UTF-8 bytes, 'text_bytes': how many}, no notes, no fingerprint)."""
    del spec, limits, start, end
    text = stored(file.read(size))
    return {'text': text, 'text_bytes': len(text)}, (), b''


def stored(content: bytes) -> bytes:
    """What is stored of a text. Raises Rejection for what is no text, or an empty one."""
    text = content.removeprefix(_BYTE_ORDER_MARK).strip()
    if not text:
        raise Rejection('empty', 'The text has nothing but white space.')
    what = formats.describe(content)
    if what in _NO_TEXT:
        raise formats.unsupported(content, 'a text', (), '', '')
    try:
        content.decode('utf-8')
    except UnicodeDecodeError as error:
        for mark, encoding in _OTHER_MARKS.items():
            if content.startswith(mark):
                raise Rejection('undecodable', f'It is in {encoding}. Save it as UTF-8.') from error
        if what:
            raise formats.unsupported(content, 'a text', (), '', '') from error
        raise Rejection('undecodable', f'It is not UTF-8: byte {error.start + 1:,} belongs to no character. Save it as '
                                       'UTF-8.') from error
    control = _CONTROL.search(content)
    if control:
        raise Rejection('undecodable', f'It has an ASCII control character at byte {control.start() + 1:,}. A text '
                                       'has none but tabs and line ends.')
    return text
