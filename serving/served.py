"""The model that is being served: the newest version of a base directory, and whether it is a given model."""

import dataclasses
import hashlib
import json
import os

from model_code import file_io, model_directory
from model_code.errors import StoreError
from serving import version_directories

NO_VERSION = 'none'  # what a lookup on a cluster says if there is none: a parameter there must not be empty


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
    versions = version_directories.list_versions(base_path)
    number = next((number for number in reversed(versions) if model_directory.has_model(versions[number])), None)
    if number is None:
        return None
    try:
        card = model_directory.read_card(versions[number])
    except StoreError:  # not the card is at fault
        raise
    except (OSError, ValueError):
        card = {}
    return Served(number, versions[number], card if isinstance(card, dict) else {})


def is_whole(model_dir: str) -> bool:
    """Whether the files are those that were pushed: they have the digest in the card, if there is one."""
    try:
        card = model_directory.read_card(model_dir)
        return not card.get('model_digest') or digest(model_dir) == card['model_digest']
    except (ValueError, AttributeError):
        return False


def digest(model_dir: str) -> str:
    """A hash of what a model computes. It is the same for every copy of a model, wherever it is.

    It is made of the weights and all other files but the graph, the card, the list of libraries, and the statistics of
    data and the signature that a push adds.
    TensorFlow numbers a graph's functions by what the process did before, so equal models have unequal graphs. In its
    place counts what it is made from: the tasks, the inputs, the sizes and the code that exported it, which are in the
    card.
    """
    card = model_directory.read_card(model_dir)
    left_out = (model_directory.card_path(''), model_directory.libraries_path(''), model_directory.graph_path(''),
                model_directory.signature_path(''), 'fingerprint.pb')
    statistics = os.path.join(model_directory.statistics_path(''), '')
    hashes = {name: file_io.content_hash(os.path.join(model_dir, name)) for name in file_io.list_files(model_dir)
              if name not in left_out and not name.startswith(statistics)}
    made_from = {name: card.get(name) for name in ('tasks', 'inputs', 'model', 'code_version')}
    return hashlib.sha256(json.dumps([hashes, made_from], sort_keys=True).encode()).hexdigest()
