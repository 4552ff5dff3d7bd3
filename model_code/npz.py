"""Files of numpy arrays by name (.npz), of which none is pickled."""

import io
from collections.abc import Mapping

import numpy as np

from model_code import file_io


def read(path: str) -> dict[str, np.ndarray]:
    """Raises FileNotFoundError if there is no file."""
    with np.load(io.BytesIO(file_io.read_bytes(path)), allow_pickle=False) as arrays:
        return dict(arrays)


def write(path: str, arrays: Mapping[str, np.ndarray]):
    """Writes the file whole or not at all."""
    with file_io.replacing(path) as temporary, open(temporary, 'wb') as file:
        np.savez(file, **arrays)
