"""The version directories of a push destination, as TensorFlow Serving sees them. No TFX, no TensorFlow."""

import os

MAX_VERSION = 2 ** 63 - 1


def list_versions(serving_dir: str) -> list[int]:
    """The versions in a local folder or (by TFX's file systems) a remote one, ascending; [] where there is no folder.

    A version is a directory with a saved_model.pb whose name is a plain decimal number that fits 64 bits.
    """
    if '://' in serving_dir:
        from tfx.dsl.io import fileio
        exists, listdir = fileio.exists, fileio.listdir
    else:
        exists, listdir = os.path.exists, os.listdir
    if not exists(serving_dir):
        return []
    # Object stores list directories with a slash at the end.
    names = [name.rstrip('/') for name in listdir(serving_dir)]
    return sorted(int(name) for name in names
                  if name.isascii() and name.isdecimal() and name == str(int(name)) and int(name) <= MAX_VERSION
                  and exists(os.path.join(serving_dir, name, 'saved_model.pb')))


def newest_version(serving_dir: str) -> int | None:
    """The version that a server serves by default, None where there is none."""
    return max(list_versions(serving_dir), default=None)
