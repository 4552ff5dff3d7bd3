"""`polyvit predict`: what it prints, writes and returns."""

import json

import pytest

from pipeline import cli
from tests import testing
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
