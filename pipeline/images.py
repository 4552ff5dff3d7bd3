"""Names of container images."""

import re

from model_code.errors import ConfigError

# The grammar of github.com/distribution/reference (reference.go): [host[:port]/]path[:tag][@digest]. It takes
# upper-case letters in a host, too. No registry has any, but the REGISTRY of an example has.
_HOST = r'[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?(?::\d+)?'
_PART = r'[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*'
_TAG, _DIGEST = r':\w[\w.-]{0,127}', '@[a-z0-9]+:[0-9a-f]{32,}'
_REFERENCE = re.compile(rf'(?:{_HOST}/)?{_PART}(?:/{_PART})*(?:{_TAG})?(?:{_DIGEST})?', re.ASCII)


def check_image(image: str, what: str):
    """Raises ConfigError if it is no reference of an image. what: who names it, such as '--image'."""
    if len(image) > 255 or not _REFERENCE.fullmatch(image):
        raise ConfigError(f'{what} {image!r} is no name of an image. It has the registry, parts of lower-case letters, '
                          'digits and . _ -, and a tag, such as registry.example.com/polyvit-pipeline:1.')
