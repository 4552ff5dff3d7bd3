"""`polyvit predict`: the labels of files on the screen, or those of a whole folder in a file."""

import dataclasses
import json
import os
import sys

from model_code import words
from model_code.errors import ConfigError
from pipeline.data_check import ProgressLine
from pipeline.exit_codes import DONE, SOME_REJECTED
from serving import batch, client


def run(parsed) -> int:
    """Runs the command. parsed: its arguments. Returns the exit code."""
    if parsed.wait is not None and parsed.model:
        raise ConfigError('--wait goes with a server, and --model uses none.')
    return _predict_folder(parsed) if parsed.output else _print_labels(parsed)


def _print_labels(parsed) -> int:
    folder = next((path for path in parsed.files if os.path.isdir(path)), None)
    if folder:
        raise ConfigError(f'{folder} is a folder. With -o scores.csv (or .jsonl, .parquet) a row is written for each '
                          'file in it.')
    if parsed.embedding:
        raise ConfigError('--embedding goes with -o FILE and a folder.')
    top = 5 if parsed.top is None else parsed.top
    with _open_model(parsed) as model:
        client.print_predictions(model.predict(parsed.task, parsed.files, top), parsed.json)
    return DONE


def _predict_folder(parsed) -> int:
    if len(parsed.files) > 1:
        raise ConfigError(f'-o takes one folder, and there are {len(parsed.files)} paths.')
    if parsed.top is not None:
        raise ConfigError('--top goes without -o: the scores of all classes are written.')
    folder, = parsed.files
    batch.check_output(folder, parsed.output)  # before the model is loaded
    with _open_model(parsed) as model:
        outcome = batch.predict_folder(model, parsed.task, folder, parsed.output, parsed.embedding, ProgressLine(),
                                       _say)
    print(json.dumps(dataclasses.asdict(outcome)) if parsed.json else _text(outcome))
    return SOME_REJECTED if outcome.rejected else DONE


def _open_model(parsed) -> client.LocalModel | client.RemoteModel:
    if parsed.model:
        if parsed.output:
            _say(f'Loading the model in {parsed.model}')
        return client.LocalModel(parsed.model)
    model = client.RemoteModel(parsed.url or client.DEFAULT_URL, parsed.model_name)
    if parsed.wait is not None:
        model.wait(parsed.wait, _say)
    return model


def _text(outcome: batch.Outcome) -> str:
    text = f'{outcome.output}: {words.count(outcome.rows, "row")}'
    if outcome.rejected:
        counts = ', '.join(f'{count:,} {reason}' for reason, count in outcome.rejected.items())
        text += f'; {sum(outcome.rejected.values()):,} of them with an error ({counts})'
    return text


def _say(text: str):
    print(text, file=sys.stderr, flush=True)
