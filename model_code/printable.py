"""Names that come from elsewhere (of files, labels, servers), as a terminal may get them."""

import re

# Control characters, those that turn the direction of text, and surrogates, in which Python keeps bytes of file names
# that are not UTF-8.
_UNPRINTABLE = re.compile('[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')


def printable(text: str, keep: str = '\t\n') -> str:
    """The text with \\x1b, \\u202e and the like in place of what would do more than show a character.

    keep: characters that are left as they are.
    """
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0] in keep else _escaped(match[0]), text)


def _escaped(character: str) -> str:
    if '\udc80' <= character <= '\udcff':
        return f'\\x{ord(character) - 0xdc00:02x}'
    return character.encode('unicode_escape', 'surrogatepass').decode()
