"""The model that is being served: the newest version of a base directory, and whether it is a given model."""

import dataclasses
import hashlib
import json
import os

from model_code import file_io, model_directory
from serving import version_directories


@dataclasses.dataclass(frozen=True)
class Served:
    """A version: its number, its directory, and its model card, which is {} if it cannot be read."""
    number: int
    path: str
    card: dict

    @property
    def digest(self) -> str:
        """`digest` of the model that was pushed as this version; '' if its card does not tell."""
        return str(self.card.get('model_digest', ''))


def newest(base_path: str) -> Served | None:
    """The newest version that holds a model; None if there is none."""
    models = version_directories.list_models(base_path)
    if not models:
        return None
    number = max(models)
    try:
        card = model_directory.read_card(models[number])
    except (OSError, ValueError):
        card = {}
    return Served(number, models[number], card if isinstance(card, dict) else {})


def digest(model_dir: str) -> str:
    """A hash of the names and contents of a model's files, without its card, to which a push adds.

    It is the same for every copy of a model, wherever it is. A model that was trained again has another one, even from
    the same config, unless every file is equal.
    """
    card = model_directory.card_path('')
    hashes = {name: file_io.content_hash(os.path.join(model_dir, name))
              for name in file_io.list_files(model_dir) if name != card}
    return hashlib.sha256(json.dumps(hashes).encode()).hexdigest()
