"""The directory of an exported model: a SavedModel with a model card and warm-up requests.

    saved_model.pb                               the graph and its signatures; a push writes it last
    variables/                                   the weights
    assets.extra/model_card.json                 what the model is (`read_card`)
    assets.extra/libraries.json                  what was installed where it was trained; the card, which a server gives
                                                 to everyone, has the versions of a few
    assets.extra/data_statistics/                statistics of the data that it was trained on; added by a push
    assets.extra/tf_serving_warmup_requests      requests that a server replays when it loads the model
    model.sig                                    who pushed exactly these files; added by a push with a key

assets.extra is TensorFlow Serving's name for files that do not belong to the graph. The card is a JSON object, which
schemas/model_card.schema.json describes. `export` writes the tasks with their classes, the modalities' inputs, the
number of parameters, and what the pipeline knows about config, media and training. A push adds what the model is for,
its data, its metrics and the run. No TensorFlow here.
"""

import json
import os

from model_code import file_io

CARD_FILE = 'model_card.json'
CARD_VERSION = 1  # of the form of the card; that of an older release has none


def graph_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'saved_model.pb')


def card_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', CARD_FILE)


def statistics_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', 'data_statistics')


def data_path(statistics_dir: str) -> str:
    return os.path.join(statistics_dir, 'data.json')


def libraries_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', 'libraries.json')


def warmup_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'assets.extra', 'tf_serving_warmup_requests')


def signature_path(model_dir: str) -> str:
    return os.path.join(model_dir, 'model.sig')


def has_model(model_dir: str) -> bool:
    return file_io.exists(graph_path(model_dir))


def read_card(model_dir: str) -> dict:
    """The model card; {} if the model has none. Raises ValueError if it is not JSON."""
    return file_io.read_json(card_path(model_dir)) or {}


def read_data(statistics_dir: str) -> dict[str, dict] | None:
    """Task -> counts of its data (components.data_drift.statistics.TaskData, without TFDV's); None without a file."""
    return file_io.read_json(data_path(statistics_dir))


def read_libraries(model_dir: str) -> dict[str, str]:
    """Name -> version of what was installed where the model was trained; {} if an older release wrote the model."""
    return file_io.read_json(libraries_path(model_dir)) or {}


def write_card(model_dir: str, card: dict):
    file_io.write(card_path(model_dir), json.dumps(card, indent=1, sort_keys=True))
