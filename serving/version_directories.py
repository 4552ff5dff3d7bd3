"""The versions of a served model: directories in its base directory, each named by a number.

For TensorFlow Serving (FileSystemStoragePathSource) every directory is a version if its name parses as an int64, even
with leading zeros and whatever it holds; it retries one that does not load. `list_versions` does the same for names of
digits. `list_models` has only the versions with a saved_model.pb, because a model to load or to compare with must be
there. A new version needs a number above all of `list_versions`: a server may have tried and given up on one without a
model. Base directories may be URLs.
"""

import os

from model_code import file_io, model_directory
from model_code.urls import is_url

MAX_VERSION = 2 ** 63 - 1


def list_versions(base_path: str) -> dict[int, str]:
    """Number -> directory of every version, in ascending order; {} if there is no base directory."""
    versions = {}
    for name in file_io.list_folder(base_path):
        path = os.path.join(base_path, name)
        # An object store has no directories to check for.
        if (name.isascii() and name.isdecimal() and int(name) <= MAX_VERSION
                and (is_url(path) or os.path.isdir(path))):
            versions[int(name)] = path
    return dict(sorted(versions.items()))


def list_models(base_path: str) -> dict[int, str]:
    """Number -> directory of the versions that hold a model, in ascending order."""
    return {number: path for number, path in list_versions(base_path).items() if model_directory.has_model(path)}
