"""The versions of what is installed, from the packages' metadata: nothing is imported."""

import platform

from pipeline import __version__, fingerprints


def version_text() -> str:
    """What `polyvit --version` prints."""
    others = ', '.join(f'{name} {fingerprints.library_version(package) or "(not installed)"}'
                       for name, package in (('TensorFlow', 'tensorflow'), ('TFX', 'tfx')))
    return f'polyvit {__version__}\nPython {platform.python_version()}, {others}'
