"""The versions of what is installed, from the packages' metadata: nothing is imported."""

import platform
from importlib import metadata

from pipeline import __version__


def installed(package: str) -> str:
    """The version of an installed package; '' if it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ''


def version_text() -> str:
    """What `polyvit --version` prints."""
    others = ', '.join(f'{name} {installed(package) or "(not installed)"}'
                       for name, package in (('TensorFlow', 'tensorflow'), ('TFX', 'tfx')))
    return f'polyvit {__version__}\nPython {platform.python_version()}, {others}'
