"""serving.client: labels for files, over REST and from a model directory. Every error is a sentence."""

import io
import json
import shlex
import shutil
import socket
import threading

import numpy as np
import pytest

from model_code.errors import ConfigError
from pipeline import cli
from serving import client, foreground, predictor
from serving.failures import BadInput
from serving.saved_model import SavedModel
from serving.server import ModelServer
from serving.versions import ModelVersions
from tests import testing
from tests.serving import models


@pytest.fixture(scope='module')
def model_dir(tmp_path_factory):
    base = tmp_path_factory.mktemp('brightness')
    spec = {'frames': 4, 'height': 16, 'width': 16, 'patch': [2, 8, 8], 'frame_rate': 2.0, 'short_side': 16}
    card = json.dumps({'inputs': {'video': spec}})
    models.save_brightness(base / '4', card=card)
    (base / '5.copying').mkdir()
    extra = base / '4' / 'assets.extra'
    extra.mkdir()
    (extra / 'model_card.json').write_text(card)
    return base


@pytest.fixture(scope='module')
def server(model_dir):
    with ModelServer(model_dir, port=0) as running:
        yield running


@pytest.fixture(scope='module')
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp('media')
    (folder / 'dim.png').write_bytes(testing.image_bytes())
    (folder / 'tone.wav').write_bytes(testing.wav_bytes())
    (folder / 'clip.mp4').write_bytes(testing.mp4_bytes())
    return folder


@pytest.mark.parametrize('task, file', [('shade', 'dim.png'), ('volume', 'tone.wav'), ('film', 'clip.mp4')])
def test_the_server_and_the_directory_agree(task, file, server, model_dir, media):
    remote = client.predict(task, [media / file], url=server.url)
    local = client.predict(task, [media / file], model_dir=model_dir)
    assert [r['path'] for r in remote] == [str(media / file)]
    assert set(remote[0]['labels']) == {'low', 'high'}
    assert remote[0]['scores'] == sorted(remote[0]['scores'], reverse=True)
    assert sum(remote[0]['scores']) == pytest.approx(1)
    assert remote == local


def test_a_model_is_loaded_once_and_asked_many_times(model_dir, media, tmp_path):
    bright = tmp_path / 'bright.png'
    bright.write_bytes(testing.plain_image_bytes((255, 255, 255)))
    files = [bright, media / 'dim.png', str(bright)] * 7  # more than one batch
    with client.LocalModel(model_dir) as model:
        assert model.directory == str(model_dir / '4')
        results = model.predict('shade', files)
        assert [r['path'] for r in results] == [str(file) for file in files]
        assert results == 7 * [model.predict('shade', [file])[0] for file in files[:3]]
        assert model.predict('shade', bright) == model.predict('shade', str(bright)) == results[:1]
        assert results[0]['labels'][0] == 'high' and results[1]['labels'] == ['low', 'high']
        means = model.embed('shade', files)
        assert means.shape == (21, 2) and means.dtype == np.float32
        assert means[0].tolist() == pytest.approx([1.0, 2.0]) and (means == model.embed('image', files)).all()
        with pytest.raises(ConfigError, match='has no signature audio_embedding. Its signatures: audio_all, film, '):
            model.embed('volume', [media / 'tone.wav'])


def test_clips_of_several_lengths_are_one_batch(model_dir, server, media, tmp_path, monkeypatch):
    longer = tmp_path / 'longer.mp4'
    longer.write_bytes(testing.mp4_bytes(frames=24))
    files = [media / 'clip.mp4', longer]
    with client.LocalModel(model_dir) as model:
        one_by_one = [model.predict('film', [file])[0] for file in files]
        sizes, run = [], model.run
        monkeypatch.setattr(model, 'run', lambda *a: sizes.append(len(a[2])) or run(*a))
        assert model.predict('film', files) == one_by_one and sizes == [2]
    assert client.predict('film', files, url=server.url) == one_by_one


@pytest.mark.parametrize('where', ['directory', 'server'])
def test_a_video_is_read_as_the_card_says(where, server, model_dir, media, monkeypatch):
    from media import readers
    seen = []
    read = readers.read
    monkeypatch.setattr(readers, 'read', lambda *a: seen.append(a[2]) or read(*a))
    client.predict('film', [media / 'clip.mp4'],
                   **({'url': server.url} if where == 'server' else {'model_dir': model_dir / '4'}))
    assert (seen[0].frame_rate, seen[0].short_side, seen[0].patch) == (2.0, 16, (2, 8, 8))


def test_at_most_so_many_labels(server, media):
    result = client.predict('shade', [media / 'dim.png'], url=f'{server.url}/v1/models/polyvit/versions/4', top=1)
    assert len(result[0]['labels']) == len(result[0]['scores']) == 1


@pytest.mark.parametrize('task, file, message', [
    ('shades', 'dim.png', r"There is no task named 'shades'. Did you mean shade\? Known: shade, volume, film."),
    ('shade', 'clip.mp4', 'is of modality video. Task shade takes files of modality image'),
    ('film', 'dim.png', 'is of modality image. Task film takes files of modality video'),
    ('shade', 'nowhere.png', 'There is no file '),
    ('shade', 'page.jpg', r'page.jpg cannot be read \(unsupported\)\. It is an HTML page, not an image. Perhaps '),
    ('shade', 'broken.png', r'broken.png cannot be read \(unsupported\)\. Its format is unknown\. .*WebP, TIFF, '
     r'HEIC and AVIF\. '
     r'Task shade takes files of modality image \(.jpg, .jpeg, .png and others\)\.'),
])
def test_wrong_arguments(task, file, message, server, media):
    (media / 'broken.png').write_bytes(b'\x89PNG and then nothing')
    (media / 'page.jpg').write_text('<!DOCTYPE html>')
    with pytest.raises(ConfigError, match=message):
        client.predict(task, [media / file], url=server.url)


class _Notes(predictor.Predictor):
    """A model of texts whose scores are their lengths."""
    signature_inputs, card = {'notes': ['text']}, {}

    def run(self, signature, feature, media):
        return {'labels': np.array([['long']] * len(media)), 'scores': np.array([[len(text)] for text in media], 'f4')}

    def pin(self):
        return ''


@pytest.mark.parametrize('name', ['all.csv', 'ALL.CSV', 'all.jsonl', 'all.parquet'])
def test_a_table_is_not_one_text(name, tmp_path):
    path = testing.write(tmp_path, name, 'text,label\ncold soup,bad\n')
    with pytest.raises(BadInput, match=f'{name} is a table, and would be read as one text. Give '):
        _Notes().predict('notes', path)
    # As the sentence says.
    assert _Notes().predict('notes', [b'cold soup', io.BytesIO(b'text,label')])[1]['scores'] == [10.0]


def test_the_servers_own_message_is_shown(server, media):
    with pytest.raises(client.PredictionFailed, match=r'has no model ready: Servable not found for request: '
                                                      r'Latest\(other\) \(HTTP 404\)'):
        client.predict('shade', [media / 'dim.png'], url=server.url, model_name='other')


def test_waiting_for_a_server_that_starts_and_loads(model_dir, media, tmp_path, monkeypatch):
    """It is not there, has no model, loads one, and answers."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    loading, go_on = threading.Event(), threading.Event()

    def load(directory):
        loading.set()
        assert go_on.wait(30)
        return SavedModel(directory)
    base = tmp_path / 'serving'
    base.mkdir()
    server = ModelServer(models=[ModelVersions('polyvit', str(base), load)], port=port, poll_seconds=0.05)
    said = []

    def say(text):
        said.append(text)
        if 'does not answer' in text:
            server.start()
        elif 'has no model ready' in text:
            shutil.copytree(model_dir / '4', base / '4')
            assert loading.wait(30)
        else:
            with pytest.raises(client.PredictionFailed, match='is loading version 4. Wait for it '):
                client.predict('shade', [media / 'dim.png'], url=server.url)
            go_on.set()
    try:
        remote = client.RemoteModel(f'127.0.0.1:{port}')
        remote.wait(60.0, say)
        assert remote.predict('shade', [media / 'dim.png'])[0]['labels'] == ['low', 'high']
        at = f'The server at http://127.0.0.1:{port}/v1/models/polyvit'
        assert said == [f'{at} does not answer. Waiting for it, at most 1 minute.',
                        f'{at} has no model ready: Could not find any versions of model polyvit (HTTP 404). Waiting '
                        'for it, at most 1 minute.',
                        f'{at} is loading version 4. Waiting for it, at most 1 minute.']
    finally:
        go_on.set()
        server.stop()
    with pytest.raises(client.PredictionFailed, match='does not answer, after a wait of 0.3 seconds.'):
        remote.wait(0.3)


def test_waiting_ends_at_once_for_a_model_that_cannot_be_loaded(tmp_path):
    testing.write(tmp_path / '3', 'saved_model.pb', b'not a graph')
    with ModelServer(tmp_path, port=0) as server:
        with pytest.raises(client.PredictionFailed, match='cannot load version 3: '):
            client.RemoteModel(server.url).wait(60.0)


@pytest.mark.parametrize('samples', [{}, {'shade': 'my photos/dim.png'}])
def test_a_server_says_what_to_try(samples, server, media, tmp_path, capsys, monkeypatch):
    text = foreground.ready_text(server, 'polyvit', 'polyvit', samples).splitlines()
    assert text[0] == (f'Model polyvit, version 4, is served at {server.url}/v1/models/polyvit. Tasks: film, shade, '
                       'volume.')
    assert text[1] == 'Try:' and len(text) == 6
    shade, = (line for line in text if 'predict shade' in line)
    file = "'my photos/dim.png'" if samples else 'FILE'
    assert shade == f'  polyvit predict shade {file} --url {server.url}'
    assert text[-1] == f'  curl {server.url}/v1/models/polyvit'
    if samples:  # it runs when it is pasted
        (tmp_path / 'my photos').mkdir()
        shutil.copy(media / 'dim.png', tmp_path / 'my photos')
        monkeypatch.chdir(tmp_path)
        assert cli.main(shlex.split(shade)[1:]) == 0
        assert capsys.readouterr().out.startswith('my photos/dim.png\n')


def test_no_server(media, tmp_path):
    with pytest.raises(client.PredictionFailed, match='cannot be reached: Connection refused. .*wait if it is '):
        client.predict('shade', [media / 'dim.png'], url='http://127.0.0.1:1')
    with pytest.raises(ConfigError, match='is not the URL of a server'):
        client.predict('shade', [media / 'dim.png'], url='ftp://x')
    with pytest.raises(ConfigError, match='There is no model in'):
        client.predict('shade', [media / 'dim.png'], model_dir=tmp_path)
