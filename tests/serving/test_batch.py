"""serving.batch: a row for every file of a folder, whatever happens on the way."""

import csv
import json
import os
import shutil

import numpy as np
import pytest
from pyarrow import parquet

from media.rejections import Rejection
from model_code.errors import ConfigError
from serving import batch, client, parts, tables
from serving.errors import ServingError
from serving.server import ModelServer
from tests import testing
from tests.serving import models

CARD = {'tasks': [{'name': name, 'classes': ['low', 'high']} for name in ('shade', 'volume', 'film')]}


@pytest.fixture(scope='module')
def model_dir(tmp_path_factory):
    base = tmp_path_factory.mktemp('brightness')
    for version in ('3', '4'):
        models.save_brightness(base / version, card=json.dumps(CARD))
        testing.write(base / version, 'assets.extra/model_card.json', json.dumps(CARD))
    return base


@pytest.fixture(scope='module')
def model(model_dir):
    with client.LocalModel(model_dir / '4') as loaded:
        yield loaded


@pytest.fixture
def folder(tmp_path):
    """40 images in two folders, of which one is damaged, one of another kind, one empty; and other files."""
    for i in range(40):
        content = testing.plain_image_bytes((6 * i, 6 * i, 6 * i))
        testing.write(tmp_path / 'media', f'{"ab"[i % 2]}/{i:02d}.png', content)
    testing.write(tmp_path / 'media', 'a/04.png', testing.plain_image_bytes()[:60])
    testing.write(tmp_path / 'media', 'a/06.jpg', testing.wav_bytes())
    testing.write(tmp_path / 'media', 'c.tif', b'')
    testing.write(tmp_path / 'media', 'notes.txt', 'not media')
    testing.write(tmp_path / 'media', '.hidden/1.png', testing.plain_image_bytes())
    return tmp_path / 'media'


def _csv(path):
    with open(path, newline='', encoding='utf-8') as file:
        return list(csv.DictReader(file))


def test_csv_jsonl_and_parquet_say_the_same_as_predict(model, folder, tmp_path):
    done = []
    outcome = batch.predict_folder(model, 'shade', folder, tmp_path / 'a.csv', progress=lambda *a: done.append(a))
    assert outcome == batch.Outcome(str(tmp_path / 'a.csv'), 42, {'empty': 1, 'truncated': 1, 'unsupported': 1})
    assert done[0] == ('shade', 0, 42) and done[-1] == ('shade', 42, 42)
    rows = {row['path']: row for row in _csv(tmp_path / 'a.csv')}
    assert list(rows['b/11.png']) == ['path', 'label', 'score', 'error', 'low', 'high'] and len(rows) == 42
    for path, row in rows.items():
        if path in ('a/04.png', 'a/06.jpg', 'c.tif'):
            assert row['label'] == row['score'] == row['low'] == row['high'] == '' and row['error']
            continue
        expected, = model.predict('shade', [folder / path])
        assert row['error'] == '' and row['label'] == expected['labels'][0] and row['score'] == row[row['label']]
        assert float(row['score']) == pytest.approx(expected['scores'][0], abs=1e-6)
        assert float(row['low']) == pytest.approx(dict(zip(expected['labels'], expected['scores'], strict=True))['low'],
                                                  abs=1e-6)
    assert rows['c.tif']['error'] == 'empty: The file has no bytes.'
    batch.predict_folder(model, 'shade', folder, tmp_path / 'a.jsonl')
    lines = [json.loads(line) for line in (tmp_path / 'a.jsonl').read_text().splitlines()]
    batch.predict_folder(model, 'shade', folder, tmp_path / 'a.parquet')
    table = parquet.read_table(tmp_path / 'a.parquet')
    assert table.column_names == ['path', 'label', 'score', 'error', 'low', 'high']
    for line, row in zip(lines, table.to_pylist(), strict=True):
        text = rows[line['path']]
        assert (line['path'], line['label'], line['error']) == (row['path'], row['label'], row['error'])
        assert (line['label'] or '', line['error'] or '') == (text['label'], text['error'])
        if line['error']:
            assert line['scores'] is None and row['low'] is None and row['score'] is None
        else:
            assert line['scores'] == {'low': float(text['low']), 'high': float(text['high'])}
            assert row['high'] == pytest.approx(line['scores']['high'], abs=1e-7)
    assert not list(tmp_path.glob('*.parts'))


@pytest.mark.parametrize('task, name, content', [('volume', 'tone.wav', testing.wav_bytes()),
                                                 ('film', 'clip.mp4', testing.mp4_bytes())])
def test_sounds_and_videos_through_a_server(task, name, content, model_dir, model, tmp_path):
    for i in range(3):
        testing.write(tmp_path / 'media', f'{i}/{name}', content)
    testing.write(tmp_path / 'media', f'bad/{name}', b'<html>')
    with ModelServer(model_dir, port=0) as server:
        remote = client.RemoteModel(server.url)
        outcome = batch.predict_folder(remote, task, tmp_path / 'media', tmp_path / 'remote.csv')
        assert remote.url.endswith('/v1/models/polyvit/versions/4')
    assert (outcome.rows, outcome.rejected) == (4, {'unsupported': 1})
    batch.predict_folder(model, task, tmp_path / 'media', tmp_path / 'local.csv')
    assert (tmp_path / 'remote.csv').read_text() == (tmp_path / 'local.csv').read_text()


@pytest.mark.parametrize('ending', ['csv', 'jsonl', 'parquet'])
def test_embeddings(ending, model, folder, tmp_path):
    output = tmp_path / f'e.{ending}'
    assert model.predict_folder('shade', folder, output, embedding=True).rows == 42
    if ending == 'csv':
        rows = [{'path': row['path'], 'error': row['error'] or None,
                 'embedding': None if row['error'] else [float(row['e0']), float(row['e1'])]} for row in _csv(output)]
    elif ending == 'jsonl':
        rows = [json.loads(line) for line in output.read_text().splitlines()]
    else:
        rows = parquet.read_table(output).to_pylist()
    assert list(rows[0]) == ['path', 'error', 'embedding']
    good = [row for row in rows if not row['error']]
    expected = model.embed('shade', [folder / row['path'] for row in good])
    assert len(good) == 39 and np.allclose([row['embedding'] for row in good], expected)
    assert all(row['embedding'] is None for row in rows if row['error'])


@pytest.fixture
def interrupted(model, folder, tmp_path, monkeypatch):
    """The path of an output that was interrupted after 20 of 42 rows."""
    def stop(_, done, total):
        if done == 20:
            raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt):
        batch.predict_folder(model, 'shade', folder, tmp_path / 'a.csv', progress=stop)
    assert not (tmp_path / 'a.csv').exists() and (tmp_path / 'a.csv.parts').is_dir()
    return tmp_path / 'a.csv'


def test_an_interrupted_one_goes_on_and_reads_what_changed(model, folder, interrupted, tmp_path):
    (folder / 'a/00.png').write_bytes(testing.plain_image_bytes((255, 255, 255)))
    (folder / 'a/02.png').unlink()
    testing.write(folder, 'a/01.png', testing.plain_image_bytes())
    done, said = [], []
    outcome = batch.predict_folder(model, 'shade', folder, interrupted, progress=lambda *a: done.append(a),
                                   say=said.append)
    assert done[0] == ('shade', 0, 24) and outcome.rows == 42  # 42 files, less 18 that are as they were
    assert said[0] == (f'{interrupted} was interrupted: 18 files of 42 already have a row. Going on. 1 file changed '
                       'since then, and will be read again.')
    rows = {row['path']: row for row in _csv(interrupted)}
    assert len(rows) == len(_csv(interrupted)) == 42 and 'a/02.png' not in rows
    assert float(rows['a/00.png']['high']) == pytest.approx(1) and rows['a/01.png']['error'] == ''
    batch.predict_folder(model, 'shade', folder, tmp_path / 'whole.csv')
    assert sorted(_csv(tmp_path / 'whole.csv'), key=str) == sorted(_csv(interrupted), key=str)


def test_rows_are_kept_when_the_process_is_killed(model, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(parts, '_PART_ROWS', 10)
    seen = []

    def look(_, done, total):
        if done == 25:
            shutil.copytree(tmp_path / 'a.csv.parts', tmp_path / 'b.csv.parts')
    batch.predict_folder(model, 'shade', folder, tmp_path / 'a.csv', progress=look)
    testing.write(tmp_path / 'b.csv.parts', '.tmp-123', 'half a part')
    batch.predict_folder(model, 'shade', folder, tmp_path / 'b.csv', progress=lambda *a: seen.append(a))
    assert seen[0] == ('shade', 0, 22)
    assert (tmp_path / 'b.csv').read_bytes() == (tmp_path / 'a.csv').read_bytes()


def test_rows_of_another_model_or_task_are_not_continued(model_dir, folder, interrupted):
    with client.LocalModel(model_dir / '3') as other:
        with pytest.raises(ConfigError, match=r'a.csv.parts holds the rows of an interrupted prediction of model .*/4, '
                                              r'not model .*/3\. Finish that first, remove the folder to start over, '):
            batch.predict_folder(other, 'shade', folder, interrupted)
    with client.LocalModel(model_dir / '4') as same:
        with pytest.raises(ConfigError, match='an interrupted prediction of other columns. Finish'):
            batch.predict_folder(same, 'shade', folder, interrupted, embedding=True)
        testing.write(folder, 'tone.wav', testing.wav_bytes())
        with pytest.raises(ConfigError, match='an interrupted prediction of task shade, not task volume'):
            batch.predict_folder(same, 'volume', folder, interrupted)


def test_two_processes_do_not_write_the_same_output(tmp_path):
    with parts.open_parts(str(tmp_path / 'a.csv'), {'task': 'shade'}):
        with pytest.raises(ConfigError, match='Another process is writing .*a.csv. Wait for it'):
            with parts.open_parts(str(tmp_path / 'a.csv'), {'task': 'shade'}):
                pass


def test_damaged_parts_are_said(model, folder, interrupted):
    part, = (interrupted.parent / 'a.csv.parts').glob('part-*')
    part.write_bytes(b'PAR1 and no more')
    with pytest.raises(ConfigError, match=r'part-000000.parquet is damaged \(.*Remove .*a.csv.parts to start over'):
        batch.predict_folder(model, 'shade', folder, interrupted)


def test_a_file_that_the_model_does_not_take_spoils_no_other(model, folder, tmp_path, monkeypatch):
    run, sizes = model.run, []

    def picky(signature, feature, media):
        sizes.append(len(media))
        if any(one == testing.plain_image_bytes((60, 60, 60)) for one in media):
            raise ServingError('INVALID_ARGUMENT', 'Unknown image file format.')
        return run(signature, feature, media)
    monkeypatch.setattr(model, 'run', picky)
    outcome = batch.predict_folder(model, 'shade', folder, tmp_path / 'a.csv')
    errors = {row['path']: row['error'] for row in _csv(tmp_path / 'a.csv') if row['error']}
    assert errors['a/10.png'] == 'undecodable: TensorFlow, which decodes it in the model, cannot.'
    assert outcome.rejected == {'truncated': 1, 'unsupported': 1, 'undecodable': 1, 'empty': 1} and max(sizes) > 8

    def gone(*_):
        raise ServingError('NOT_FOUND', 'Servable not found')
    monkeypatch.setattr(model, 'run', gone)
    with pytest.raises(client.PredictionFailed, match=r'NOT_FOUND: Servable not found\. The rows so far are kept'):
        batch.predict_folder(model, 'shade', folder, tmp_path / 'b.csv')


@pytest.mark.parametrize('output, message', [
    ('scores.txt', r'-o is .*scores.txt; its ending must be one of .csv, .jsonl, .parquet.'),
    ('there.csv', 'there.csv exists already. Remove it, or give another -o.'),
    ('none/scores.csv', 'cannot be written: there is no folder .*none'),
])
def test_a_wrong_output_is_said_before_anything_is_read(output, message, model, folder, tmp_path):
    (tmp_path / 'there.csv').write_text('mine')
    with pytest.raises(ConfigError, match=message):
        batch.predict_folder(model, 'shade', folder, tmp_path / output)
    assert (tmp_path / 'there.csv').read_text() == 'mine' and not list(tmp_path.glob('*.parts'))


def test_wrong_folders_and_models(model, model_dir, folder, tmp_path):
    with pytest.raises(ConfigError, match=r'c.tif is not a folder on this machine. -o takes one folder'):
        batch.predict_folder(model, 'shade', folder / 'c.tif', tmp_path / 'a.csv')
    with pytest.raises(ConfigError, match=r'There is no file of modality audio in .* none of the endings .wav, '):
        batch.predict_folder(model, 'volume', folder, tmp_path / 'a.csv')
    with client.LocalModel(model_dir / '4') as bare:
        bare.card = {}
        with pytest.raises(ConfigError, match='no card that names the classes of task shade'):
            batch.predict_folder(bare, 'shade', folder, tmp_path / 'a.csv')
    assert not list(tmp_path.glob('*.parts'))


def test_what_cannot_be_listed_has_a_row(model, folder, tmp_path):
    os.symlink('/etc/passwd', folder / 'link.png')
    os.mkdir(folder / 'folder.png')
    batch.predict_folder(model, 'shade', folder, tmp_path / 'a.csv')
    errors = {row['path']: row['error'] for row in _csv(tmp_path / 'a.csv')}
    assert errors['link.png'].startswith('bad_path: link.png is behind a link out of the data folder')
    assert errors['folder.png'] == "not_a_file: It is a folder with a media file's name." and len(errors) == 44


def test_label_groups_have_a_best_label_each_and_names_do_not_collide(tmp_path):
    layout = tables.Layout(('verb:cut', 'noun:egg', 'verb:stir', 'error'),
                           {'verb': (0, 2), 'noun': (1, 3)})
    rows = [parts.Row('a.mp4', np.array([0.25, 0.125, 0.75, 0.875], np.float32), None),
            parts.Row('b.mp4', None, 'x: y')]
    rejected = {'c\udcff': Rejection('bad_path', 'No.')}
    assert tables.write(str(tmp_path / 'g.csv'), layout, rows, 4, rejected) == (3, {'x': 1, 'bad_path': 1})
    assert (tmp_path / 'g.csv').read_text().splitlines() == [
        'path,label_verb,score_verb,label_noun,score_noun,error,verb:cut,noun:egg,verb:stir,error (class)',
        'a.mp4,verb:stir,0.75,error,0.875,,0.25,0.125,0.75,0.875', 'b.mp4,,,,,x: y,,,,', 'c\\xff,,,,,bad_path: No.,,,,']
    tables.write(str(tmp_path / 'g.parquet'), layout, rows, 4, rejected)
    assert parquet.read_table(tmp_path / 'g.parquet').to_pylist()[0] == {
        'path': 'a.mp4', 'label_verb': 'verb:stir', 'score_verb': 0.75, 'label_noun': 'error', 'score_noun': 0.875,
        'error': None, 'verb:cut': 0.25, 'noun:egg': 0.125, 'verb:stir': 0.75, 'error (class)': 0.875}
