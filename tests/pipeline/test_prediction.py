"""`polyvit predict`: what it prints, writes and returns."""

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import types

import pytest

from pipeline import cli
from serving.server import ModelServer
from tests import http_servers, terminals, testing
from tests.serving import models

CARD = json.dumps({'tasks': [{'name': 'shade', 'classes': ['low', 'high']}]})


@pytest.fixture(scope='module')
def model_dir(tmp_path_factory):
    base = tmp_path_factory.mktemp('brightness')
    models.save_brightness(base / '4')
    testing.write(base / '4', 'assets.extra/model_card.json', CARD)
    return base


@pytest.fixture
def predict(model_dir, tmp_path, capsys):
    """predict(arguments...) -> (exit code, stdout, stderr), with the model, and tmp_path/media/dim.png."""
    testing.write(tmp_path / 'media', 'dim.png', testing.image_bytes())

    def run(*arguments):
        code = cli.main(['predict', *map(str, arguments), '--model', str(model_dir)])
        return code, *capsys.readouterr()
    return run


def test_files_are_printed(predict, tmp_path):
    path = tmp_path / 'media' / 'dim.png'
    code, out, _ = predict('shade', path, '--top', '1')
    assert code == 0 and out.splitlines()[0] == str(path) and out.splitlines()[1].endswith('  low')
    code, out, _ = predict('shade', path, '--json')
    assert code == 0 and json.loads(out)['path'] == str(path) and len(json.loads(out)['labels']) == 2


def test_a_folder_is_written_and_the_exit_code_tells_of_errors(predict, tmp_path):
    output = tmp_path / 'a.csv'
    code, out, err = predict('shade', tmp_path / 'media', '-o', output)
    assert (code, out) == (0, f'{output}: 1 row\n')
    assert err.startswith('Loading the model in ') and 'shade: 1 of 1 file (100%)' in err
    testing.write(tmp_path / 'media', 'bad.png', b'')
    code, out, _ = predict('shade', tmp_path / 'media', '-o', tmp_path / 'b.csv')
    assert (code, out) == (4, f'{tmp_path}/b.csv: 2 rows; 1 of them with an error (1 empty)\n')
    code, out, _ = predict('shade', tmp_path / 'media', '-o', tmp_path / 'c.csv', '--embedding', '--json')
    assert code == 4 and json.loads(out) == {'output': f'{tmp_path}/c.csv', 'rows': 2, 'rejected': {'empty': 1}}


@pytest.mark.parametrize('arguments, sentence', [
    (['{media}/dim.png', '--embedding'], '--embedding goes with -o FILE and a folder.'),
    (['{media}', '{media}/dim.png', '-o', 'a.csv'], '-o takes one folder, and there are 2 paths.'),
    (['{media}', '--wait'], '--wait goes with a server, and --model uses none.'),
    (['{media}', '--timeout', '3'], '--timeout goes with a server, and --model uses none.'),
    (['{media}', '--curl'], '--curl goes with a server, and --model uses none.'),
    (['-', '{media}', '-'], '- is standard input, which can be read once.'),
    (['{media}', '-o', 'a.csv', '--batch', '3'], '--batch goes without -o: the size is chosen there.'),
    (['{media}', '-o', 'a.csv', '--top', '3'], '--top goes without -o: the scores of all classes are written.'),
    (['{media}/dim.png', '-o', 'a.csv'], 'dim.png is not a folder on this machine.'),
    (['{media}', '-o', 'a.txt'], '-o is a.txt; its ending must be one of .csv, .jsonl, .parquet.'),
])
def test_wrong_arguments_are_said_before_the_model_is_loaded(arguments, sentence, predict, tmp_path, monkeypatch):
    from serving import client
    monkeypatch.setattr(client, 'LocalModel', lambda *a: pytest.fail('the model was loaded'))
    media = tmp_path / 'media'
    code, out, err = predict('shade', *(argument.format(media=media) for argument in arguments))
    assert code == 2 and out == '' and sentence.format(media=media) in err


@pytest.fixture(scope='module')
def server(model_dir):
    with ModelServer(model_dir, port=0, grpc_port=0) as running:
        yield running


@pytest.fixture
def ask(server, tmp_path, capsys, monkeypatch):
    """ask(arguments...) -> (exit code, stdout, stderr), with the server, in tmp_path with media of all kinds."""
    testing.write(tmp_path, 'dim.png', testing.image_bytes())
    testing.write(tmp_path, 'more/bright.png', testing.plain_image_bytes((250, 250, 250)))
    testing.write(tmp_path, 'more/notes.txt', 'not media')
    testing.write(tmp_path, 'bad.png', b'\x89PNG and then nothing')
    testing.write(tmp_path, 'tone.wav', testing.wav_bytes(rate=44100, channels=2))
    testing.write(tmp_path, 'clip.mp4', testing.mp4_bytes())
    testing.write(tmp_path, 'longer.mp4', testing.mp4_bytes(frames=24))
    testing.write(tmp_path, "my 'own' $(photo) %s.png", testing.image_bytes(seed=3))
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.main(['predict', *map(str, arguments), '--url', server.url])
        return code, *capsys.readouterr()
    return run


def test_bad_files_are_named_and_the_others_are_answered(ask):
    code, out, err = ask('shade', 'dim.png', 'bad.png', 'none.png', 'tone.wav', 'more', 'm*/*.gif', '--json')
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1 and [line['path'] for line in lines] == [
        'dim.png', 'bad.png', 'none.png', 'tone.wav', 'more/bright.png', 'm*/*.gif']
    assert [list(line) for line in lines] == [['path', 'labels', 'scores']] + 3 * [['path', 'error']] + [
        ['path', 'labels', 'scores'], ['path', 'error']]
    assert lines[4]['labels'] == ['high', 'low'] and lines[5]['error'] == 'No file matches m*/*.gif.'
    assert err == '4 of 6 files have no prediction.\n'
    code, out, err = ask('shade', 'dim.png', 'bad.png', 'more/bright.png', '--top', '1')
    assert code == 1 and [line.split()[-1] for line in out.splitlines()] == [
        'dim.png', 'low', 'more/bright.png', 'high']
    assert err.startswith('polyvit: bad.png cannot be read (unsupported). ')
    assert err.endswith('\n1 of 3 files has no prediction.\n')


def test_standard_input_and_urls(ask, monkeypatch):
    monkeypatch.setattr('sys.stdin', types.SimpleNamespace(buffer=io.BytesIO(testing.wav_bytes())))
    code, out, _ = ask('volume', '-', '--json')
    assert code == 0 and json.loads(out)['labels'] == ['low', 'high']
    monkeypatch.setattr('sys.stdin', types.SimpleNamespace(buffer=io.BytesIO(b'1234')))
    code, out, err = ask('volume', '-')
    assert code == 1 and out == '' and 'cannot be read (unsupported). ' in err
    with http_servers.serving(lambda handler: handler.reply(*(
            (200, testing.image_bytes()) if handler.path == '/dim' else (404, b'')))) as media:
        code, out, err = ask('shade', f'{media.url}/dim', f'{media.url}/none.png')
        assert code == 1 and out.startswith(f'{media.url}/dim\n') and '(missing). Its server answers HTTP 404' in err
        assert ask('shade', 'dim.png')[1].splitlines()[1:] == out.splitlines()[1:]


def test_grpc_and_batches_answer_the_same(ask, server, capsys):
    _, expected, _ = ask('film', 'clip.mp4', 'longer.mp4', 'clip.mp4')
    assert ask('film', 'clip.mp4', 'longer.mp4', 'clip.mp4', '--batch', '2') == (0, expected, '')
    code = cli.main(['predict', 'film', 'clip.mp4', 'longer.mp4', 'clip.mp4', '--grpc', '--url',
                     f'127.0.0.1:{server.grpc_port}', '--wait', '5', '--timeout', '20'])
    assert code == 0 and capsys.readouterr().out == expected


@pytest.mark.skipif(not shutil.which('curl'), reason='There is no curl here.')
@pytest.mark.parametrize('task, files, is_piped', [
    ('shade', ['dim.png'], True), ('shade', ['dim.png', "my 'own' $(photo) %s.png", 'more'], True),
    ('volume', ['tone.wav'], False), ('film', ['clip.mp4', 'longer.mp4'], False)])
def test_the_printed_curl_command_works(task, files, is_piped, ask):
    code, script, err = ask(task, *files, '--curl')
    assert (code, err) == (0, '') and ('base64 <' in script) == is_piped
    done = subprocess.run(['sh'], input=script, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    _, out, _ = ask(task, *files, '--json')
    assert json.loads(done.stdout)['predictions'] == [
        {name: json.loads(line)[name] for name in ('labels', 'scores')} for line in out.splitlines()]


def test_a_curl_command_for_a_large_file_that_is_bad_in_part(ask, tmp_path, monkeypatch):
    large = os.urandom(3_000_000)  # a comment that makes the file as large as a photo
    content = testing.image_bytes(kind='JPEG')
    comments = b''.join(b'\xff\xfe' + (len(large[i:i + 60000]) + 2).to_bytes(2, 'big') + large[i:i + 60000]
                        for i in range(0, len(large), 60000))
    testing.write(tmp_path, 'large.jpg', content[:2] + comments + content[2:])
    monkeypatch.setenv('POLYVIT_TOKEN', 'secret')
    code, script, err = ask('shade', 'large.jpg', 'bad.png', '--curl')
    assert code == 1 and err.endswith('1 of 2 files has no prediction.\n')
    assert 'secret' not in script and '-H "Authorization: Bearer $POLYVIT_TOKEN"' in script
    if shutil.which('curl'):
        done = subprocess.run(['sh'], input=script, capture_output=True, text=True, timeout=60)
        assert json.loads(done.stdout)['predictions'][0]['labels'] == ['low', 'high'], done.stderr


def test_a_server_that_goes_away_ends_it_with_a_count(ask, capsys, monkeypatch):
    from serving import remote_model
    from serving.failures import Unavailable
    run, calls = remote_model.RemoteModel.run, []

    def once(self, *arguments):
        calls.append(1)
        if len(calls) > 1:
            raise Unavailable('It is gone.')
        return run(self, *arguments)
    monkeypatch.setattr(remote_model.RemoteModel, 'run', once)
    code, out, err = ask('shade', 'bad.png', 'dim.png', 'more', '--batch', '1')
    assert code == 1 and out.startswith('dim.png\n') and out.count('\n') == 3
    assert err.endswith('Stopped after 2 files, of which 1 has no prediction.\npolyvit: It is gone.\n')


@pytest.mark.parametrize('arguments, sentence', [
    (['shades', 'dim.png'], "There is no task named 'shades'. Did you mean shade?"),
    (['shade', 'dim.png', '--top', '0'], 'top is 0; it must be at least 1.'),
    (['shade', 'dim.png', '--batch', '0'], 'batch is 0; it must be at least 1.'),
    (['shade', 'dim.png', '--timeout', '-1'], 'timeout is -1; it must be more than 0 seconds.'),
    (['shade', 'dim.png', '--timeout', 'x'], "--timeout is 'x'; it must be a number."),
    (['shade', 'dim.png', '--curl', '--grpc'], '--curl prints a request over REST. Leave out --grpc.'),
])
def test_wrong_arguments_to_a_server(arguments, sentence, ask):
    code, out, err = ask(*arguments)
    assert code == 2 and out == '' and sentence in err


def test_on_a_terminal(ask, server, tmp_path):
    """What a person sees, of good and bad files, and of a request too long to be looked at."""
    program = shlex.split(f'{sys.executable} -m polyvit predict')
    done = terminals.run([*program, 'shade', 'dim.png', 'bad.png', '--url', server.url], cwd=tmp_path,
                         env={'PYTHONPATH': os.path.dirname(os.path.dirname(cli.__file__))})
    assert done.exit_code == 1 and done.lines[0] == 'dim.png' and done.lines[1].endswith('  low')
    assert done.lines[-1] == '1 of 2 files has no prediction.'
    testing.write(tmp_path, 'long.wav', testing.wav_bytes(seconds=5, rate=8000))
    done = terminals.run([*program, 'volume', 'long.wav', '--curl', '--url', server.url], cwd=tmp_path,
                         env={'PYTHONPATH': os.path.dirname(os.path.dirname(cli.__file__))})
    assert done.exit_code == 2 and 'Write it to a file, with > request.sh' in ' '.join(done.lines)
