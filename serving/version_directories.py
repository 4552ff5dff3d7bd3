"""What a version of a served model is: a directory in the model's base directory, named by its number.

TensorFlow Serving takes every name that parses as an int64 (FileSystemStoragePathSource), whatever the directory holds:
leading zeros count for nothing, and what does not load is retried. `list_versions` follows it, for names of digits. A
model that is compared with, or loaded by a client, has to be there: `list_models` are the versions with a
saved_model.pb. A new version's number is greater than all of `list_versions`, for a server may have seen and rejected
one without a model. Base directories may be URLs; no TensorFlow for local ones.
"""

import os

from model_code import file_io, model_directory
from model_code.urls import is_url

MAX_VERSION = 2 ** 63 - 1


def list_versions(base_path: str) -> dict[int, str]:
    """Number -> directory of every version, in ascending order; {} where there is no base directory."""
    versions = {}
    for name in file_io.list_folder(base_path):
        path = os.path.join(base_path, name)
        # An object store has no directories to ask for.
        if (name.isascii() and name.isdecimal() and int(name) <= MAX_VERSION
                and (is_url(path) or os.path.isdir(path))):
            versions[int(name)] = path
    return dict(sorted(versions.items()))


def list_models(base_path: str) -> dict[int, str]:
    """Number -> directory of the versions that hold a model, in ascending order."""
    return {number: path for number, path in list_versions(base_path).items() if model_directory.has_model(path)}
