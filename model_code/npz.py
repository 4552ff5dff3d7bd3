"""Files of numpy arrays by name (.npz), of which none is pickled."""

import io
import zipfile
from collections.abc import Mapping

import numpy as np

from model_code import file_io
from model_code.errors import damaged


def read(path: str) -> dict[str, np.ndarray]:
    """Raises FileNotFoundError if there is no file, PipelineStop if it is damaged."""
    content = io.BytesIO(file_io.read_bytes(path))
    try:
        with np.load(content, allow_pickle=False) as arrays:
            return dict(arrays)
    except (zipfile.BadZipFile, EOFError, ValueError) as error:
        raise damaged(path, error) from error


def write(path: str, arrays: Mapping[str, np.ndarray]):
    """Writes the file whole or not at all."""
    with file_io.replacing(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, **arrays)
