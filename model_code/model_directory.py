"""The directory of an exported model: a SavedModel with a model card and warm-up requests.

    saved_model.pb                               the graph and its signatures; a push writes it last
    variables/                                   the weights
    assets.extra/model_card.json                 what the model is (`read_card`)
    assets.extra/data_statistics/                statistics of the data that it was trained on; added by a push
    assets.extra/tf_serving_warmup_requests      requests that a server replays when it loads the model

assets.extra is TensorFlow Serving's name for files that do not belong to the graph. The card is a JSON object. `export`
writes the tasks with their classes, the modalities' inputs, the number of parameters, and what the pipeline knows about
config and media. A push adds the metrics and the run. No TensorFlow here.
"""

import json
import os

from model_code import file_io

CARD_FILE = 'model_card.json'


def graph_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'saved_model.pb')


def card_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', CARD_FILE)


def statistics_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', 'data_statistics')


def warmup_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', 'tf_serving_warmup_requests')


def has_model(model_dir: str) -> bool:
    return file_io.exists(graph_path(model_dir))


def read_card(model_dir: str) -> dict:
    """The model card; {} if the model has none. Raises ValueError if it is not JSON."""
    return file_io.read_json(card_path(model_dir)) or {}


def write_card(model_dir: str, card: dict):
    file_io.write(card_path(model_dir), json.dumps(card, indent=1, sort_keys=True))
