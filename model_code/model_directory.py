"""The directory of an exported model: a SavedModel with a model card and warm-up requests.

    saved_model.pb                               the graph and its signatures; written last where a server may look on
    variables/                                   the weights
    assets.extra/model_card.json                 what the model is (`read_card`)
    assets.extra/tf_serving_warmup_requests      requests that a server replays when it loads the model

assets.extra is TensorFlow Serving's name for files that are no part of the graph. The card is a JSON object: `export`
writes the tasks with their classes, the modalities' inputs, the number of parameters, and what the pipeline knows of
config and media; a push adds the metrics and the run that it came from. No TensorFlow for local paths.
"""

import json
import os

from model_code import file_io

CARD_FILE = 'model_card.json'


def graph_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'saved_model.pb')


def card_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', CARD_FILE)


def warmup_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', 'tf_serving_warmup_requests')


def has_model(model_dir: str) -> bool:
    return file_io.exists(graph_path(model_dir))


def read_card(model_dir: str) -> dict:
    """The model card; {} where the model has none. Raises ValueError where it is not JSON."""
    return file_io.read_json(card_path(model_dir)) or {}


def write_card(model_dir: str, card: dict):
    file_io.write(card_path(model_dir), json.dumps(card, indent=1, sort_keys=True))
