"""`polyvit predict`: the labels of files on the screen, or those of a whole folder in a file."""

import dataclasses
import json
import sys

from model_code import words
from model_code.errors import ConfigError
from model_code.printable import printable
from pipeline import layout
from pipeline.data_check import ProgressLine
from pipeline.exit_codes import DONE, FAILED, SOME_REJECTED
from serving import batch, client, curl, predictor, sources
from serving.failures import BadInput, PredictionFailed

_LONG_SCRIPT = 1 << 16  # bytes that nobody wants on a terminal


def run(parsed) -> int:
    """Runs the command. parsed: its arguments. Returns the exit code."""
    _check(parsed)
    if parsed.output:
        return _predict_folder(parsed)
    with _open_model(parsed) as model:
        return _print_curl(parsed, model) if parsed.curl else _print_labels(parsed, model)


def _check(parsed):
    if parsed.model:
        for option in ('wait', 'timeout', 'grpc', 'curl'):
            if getattr(parsed, option) not in (None, False):
                raise ConfigError(f'--{option} goes with a server, and --model uses none.')
    if parsed.curl and parsed.grpc:
        raise ConfigError('--curl prints a request over REST. Leave out --grpc.')
    if parsed.output:
        for option, why in (('top', 'the scores of all classes are written'), ('batch', 'the size is chosen there'),
                            ('curl', 'a whole folder is more than one request')):
            if getattr(parsed, option) not in (None, False):
                raise ConfigError(f'--{option} goes without -o: {why}.')
    elif parsed.embedding:
        raise ConfigError('--embedding goes with -o FILE and a folder.')
    if parsed.files.count('-') > 1:
        raise ConfigError('- is standard input, which can be read once.')


def _print_labels(parsed, model: predictor.Predictor) -> int:
    failed = total = 0
    files = sources.expand(parsed.files, model.modality(parsed.task))
    top = 5 if parsed.top is None else parsed.top
    batch_files = predictor.BATCH_FILES if parsed.batch is None else parsed.batch
    try:
        for answer in model.answers(parsed.task, files, top, batch_files):
            total += 1
            failed += isinstance(answer, BadInput)
            _print_answer(answer, parsed.json)
    except PredictionFailed:
        if total:
            _say(f'Stopped after {words.count(total, "file")}, of which {failed:,} {_has(failed)} no prediction.')
        raise
    return _ending(failed, total)


def _print_answer(answer: dict | BadInput, as_json: bool):
    if isinstance(answer, BadInput):
        if as_json:
            print(json.dumps({'path': answer.path, 'error': str(answer)}, ensure_ascii=False), flush=True)
        else:
            _say(f'polyvit: {answer}')
    elif as_json:
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    else:
        lines = (f'  {score:6.3f}  {label}' for label, score in zip(answer['labels'], answer['scores'], strict=True))
        print('\n'.join([answer['path'], *lines]), flush=True)


def _print_curl(parsed, model: predictor.Predictor) -> int:
    """Prints a command for all files together, as one request."""
    assert isinstance(model, client.RemoteModel)
    modality, media, failed = model.modality(parsed.task), [], 0
    for source in sources.expand(parsed.files, modality):
        try:
            if isinstance(source, BadInput):
                raise source
            media.append((source, model.media(parsed.task, modality, source)))
        except BadInput as error:
            failed += 1
            _say(f'polyvit: {error}')
    if media:
        script = curl.command(model.url, parsed.task, media)
        if len(script) > _LONG_SCRIPT and sys.stdout.isatty():
            raise ConfigError(f'The command has {words.count(len(script), "character")}, because it holds the media as '
                              'they are sent. Write it to a file, with > request.sh, or send it, with | sh.')
        print(script)
    return _ending(failed, failed + len(media))


def _ending(failed: int, total: int) -> int:
    if not failed:
        return DONE
    _say(f'{failed:,} of {words.count(total, "file")} {_has(failed)} no prediction.')
    return FAILED


def _has(count: int) -> str:
    return 'has' if count == 1 else 'have'


def _predict_folder(parsed) -> int:
    if len(parsed.files) > 1:
        raise ConfigError(f'-o takes one folder, and there are {len(parsed.files)} paths.')
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
    timeout = 60.0 if parsed.timeout is None else parsed.timeout
    model = client.RemoteModel(parsed.url, parsed.model_name, timeout, parsed.grpc)
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
    print('\n'.join(layout.wrap(printable(text), layout.columns(sys.stderr))), file=sys.stderr, flush=True)
