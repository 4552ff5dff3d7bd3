"""serving.sources: what the arguments of a command stand for, and what is fetched within bounds."""

import io
import os
import struct
import sys
import time
import zlib

import pytest

from model_code import modalities
from serving import client, predictor, sources
from serving.failures import BadInput
from tests import http_servers, object_stores, testing

IMAGE = modalities.get_modality('image')
LIMITS = modalities.Limits().for_modality('image')


def _expand(*arguments):
    return [str(one) if isinstance(one, BadInput) else one for one in sources.expand(arguments, IMAGE)]


def test_arguments(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ('b.png', 'a.jpg', 'in/d.PNG', 'in/deep/c.webp', 'in/notes.txt', 'in/.hidden/x.png', 'odd[1].png'):
        testing.write(tmp_path, name, b'x')
    (tmp_path / 'empty').mkdir()
    assert _expand('b.png', 'a.jpg') == ['b.png', 'a.jpg']
    assert _expand('in') == ['in/d.PNG', 'in/deep/c.webp']
    assert _expand('?.png', '**/*.webp', 'in/*') == ['b.png', 'in/deep/c.webp', 'in/d.PNG', 'in/notes.txt']
    assert _expand('i?') == _expand('in')  # a pattern of folders alone
    assert _expand('odd[1].png') == ['odd[1].png']  # a name, not a pattern
    as_they_are = ['s3://b/*.png', 'https://host/a?b=c', 'none.png']
    assert _expand(*as_they_are) == as_they_are
    assert _expand('*.gif', 'empty') == [
        'No file matches *.gif.',
        'There is no file of modality image in empty. It has none of the endings '
        f'{", ".join(IMAGE.endings + IMAGE.other_endings)}.']
    assert list(sources.expand(['-'], IMAGE)) == [sys.stdin.buffer]


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    testing.write(tmp_path, 'shut/a.png', b'x')
    testing.write(tmp_path, 'b.png', b'x')
    scandir = os.scandir

    def forbidding(path):
        if str(path).endswith('shut/'):
            raise PermissionError(13, 'Permission denied')
        return scandir(path)
    monkeypatch.setattr(os, 'scandir', forbidding)
    bad, good = sources.expand([str(tmp_path)], IMAGE)
    assert good == str(tmp_path / 'b.png') and bad.path == str(tmp_path / 'shut')
    assert str(bad).endswith('shut cannot be read (unreadable). It cannot be listed: Permission denied.')


def test_names_and_endings(tmp_path):
    for source, name, ending in [('a/B.PNG', 'a/B.PNG', '.png'), (tmp_path / 'c.wav', str(tmp_path / 'c.wav'), '.wav'),
                                 ('https://host/d.mp4?size=.png', 'https://host/d.mp4?size=.png', '.mp4'),
                                 (b'1234', '4 bytes', ''), (io.BytesIO(), 'a file', '')]:
        assert (sources.name_of(source), sources.ending_of(source)) == (name, ending)


def _read(source, seconds=30.0, limits=LIMITS):
    with sources.opened(source, limits, seconds) as file:
        return file.read()


def test_what_a_url_gives(monkeypatch):
    monkeypatch.setenv('HTTP_PROXY', 'http://127.0.0.1:1')  # which cannot reach this machine
    def answer(handler):
        if handler.path == '/moved':
            return handler.reply(302, Location='/file')
        if handler.path == '/packed':
            return handler.reply(200, b'\x1f\x8b' + bytes(20), Content_Encoding='gzip')
        if handler.path == '/file':
            return handler.reply(200, b'content')
        return handler.reply({'/gone': 410, '/secret': 403}.get(handler.path, 404))
    with http_servers.serving(answer) as running:
        assert _read(f'{running.url}/file') == _read(f'{running.url}/moved') == b'content'
        assert _read(f'{running.url}/packed') == b'\x1f\x8b' + bytes(20)  # nothing is unpacked
        for path, reason in (('none', 'missing: Its server answers HTTP 404 Not Found.'),
                             ('gone', 'missing: Its server answers HTTP 410 Gone.'),
                             ('secret', 'unreadable: Its server answers HTTP 403 Forbidden.')):
            with pytest.raises(Exception, match='answers HTTP') as caught:
                _read(f'{running.url}/{path}')
            assert str(caught.value) == reason
    with pytest.raises(Exception, match='unreadable: It cannot be fetched: Connection refused.'):
        _read('http://127.0.0.1:1/x.png')


def _endless(handler):
    handler.send_response(200)
    handler.end_headers()
    for _ in range(2000):
        handler.wfile.write(bytes(1000))
        time.sleep(0.001)
    handler.close_connection = True


def _slow(handler):
    handler.send_response(200)
    handler.send_header('Content-Length', '1000')
    handler.end_headers()
    for _ in range(60):
        handler.wfile.write(b'x')
        handler.wfile.flush()
        time.sleep(0.05)


def test_an_endless_a_slow_and_a_boasting_server(monkeypatch):
    monkeypatch.setattr(sources, 'MAX_FETCHED_BYTES', 100_000)
    for answer, reason in (
            (_endless, 'too_large: It has more than 100,000 bytes, the most that is fetched.'),
            (lambda handler: handler.reply(200, b'', Content_Length='100001'),
             'too_large: It has more than 100,000 bytes, the most that is fetched.'),
            (_slow, r'too_slow: It was not fetched within 0.5 s, the timeout.')):
        with http_servers.serving(answer) as running, pytest.raises(Exception, match=reason):
            _read(f'{running.url}/a.png', 0.5 if answer is _slow else 30.0)


def test_a_pipe(monkeypatch):
    def pipe(content):
        reading, writing = os.pipe()
        os.write(writing, content)
        os.close(writing)
        return os.fdopen(reading, 'rb')
    with pipe(b'content') as file:
        assert _read(file) == b'content'
    monkeypatch.setattr(sources, 'MAX_FETCHED_BYTES', 5)
    with pipe(b'content') as file, pytest.raises(Exception, match='too_large: It has more than 5 bytes'):
        _read(file)


def test_a_file_in_a_bucket(tmp_path, monkeypatch):
    with object_stores.s3_bucket() as bucket:
        from model_code import remote_files
        remote_files.upload(testing.write(tmp_path, 'a', b'content'), f'{bucket}/a.png')
        assert _read(f'{bucket}/a.png') == b'content'
        with pytest.raises(Exception, match='missing: There is no such file.'):
            _read(f'{bucket}/b.png')
        monkeypatch.setattr(sources, 'MAX_FETCHED_BYTES', 5)
        with pytest.raises(Exception, match='too_large: It has more than 5 bytes'):
            _read(f'{bucket}/a.png')
    with pytest.raises(Exception, match='unreadable: It cannot be fetched: .*no file system for ftp'):
        _read('ftp://host/a.png')


def _huge_png() -> bytes:
    """The beginning of a PNG whose header promises 20000 x 20000 pixels."""
    header = b'IHDR' + struct.pack('>IIBBBBB', 20000, 20000, 8, 2, 0, 0, 0)
    return (b'\x89PNG\r\n\x1a\n' + struct.pack('>I', 13) + header + struct.pack('>I', zlib.crc32(header))
            + struct.pack('>I', 1000) + b'IDAT' + bytes(1000))


class _Fixed(predictor.Predictor):
    """A model of images with seven classes. What is 'bad' to it spoils its batch."""
    card = {'tasks': [{'name': 'seven', 'classes': list('abcdefg')},
                      {'name': 'groups', 'classes': list('abcdefg'), 'label_groups': ['g', 'h']},
                      {'name': 'few', 'classes': ['a', 'b']}]}
    signature_inputs = {name: ['image'] for task in ('seven', 'groups', 'few', 'bare')
                        for name in (task, f'{task}_scores')}

    def __init__(self):
        self.asked = []

    def run(self, signature, feature, media):
        import numpy as np

        from serving.errors import ServingError
        self.asked.append((signature, len(media)))
        if len(media) > 1 and testing.plain_image_bytes((1, 1, 1)) in media:
            raise ServingError('INVALID_ARGUMENT', 'one of them')
        if media == [testing.plain_image_bytes((1, 1, 1))]:
            raise ServingError('INVALID_ARGUMENT', 'this one')
        n = len(media)
        if signature.endswith('_scores'):
            return {'scores': np.array(n * [[0.1, 0.2, 0.1, 0.3, 0.1, 0.2, 0.0]], np.float32)}
        return {'labels': np.array(n * [list('dbfac')], object),
                'scores': np.array(n * [[0.3, 0.2, 0.2, 0.1, 0.1]], np.float32)}

    def pin(self):
        return ''


def test_more_than_five_labels():
    model, image = _Fixed(), testing.image_bytes()
    assert model.predict('seven', image)[0]['labels'] == list('dbfac')
    result, = model.predict('seven', image, top=6)
    assert result['labels'] == list('dbface') and result['scores'] == pytest.approx([0.3, 0.2, 0.2, 0.1, 0.1, 0.1])
    assert len(model.predict('seven', image, top=100)[0]['labels']) == 7
    assert [signature for signature, _ in model.asked] == ['seven', 'seven_scores', 'seven_scores']
    model.predict('groups', image, top=10)  # one label of each group
    model.predict('few', image, top=10)
    assert [signature for signature, _ in model.asked[3:]] == ['groups', 'few']
    with pytest.raises(client.PredictionFailed, match='no card that names the classes of task bare, so it '):
        model.predict('bare', image, top=6)


def test_bad_files_stay_in_their_place(tmp_path):
    good = testing.write(tmp_path, 'good.png', testing.image_bytes())
    bad = testing.write(tmp_path, 'bad.png', testing.plain_image_bytes((1, 1, 1)))
    huge = testing.write(tmp_path, 'huge.png', testing.image_bytes(size=(40, 40)))
    model = _Fixed()
    handed_on = BadInput('No file matches x.', 'x')
    files = [handed_on, good, tmp_path / 'none.png', bad, good, huge, b'%PDF-1.7', open(good, 'rb')]
    answers = list(model.answers('seven', files, top=1, batch=3))
    assert [one.path if isinstance(one, BadInput) else one['path'] for one in answers] == [
        'x', str(good), str(tmp_path / 'none.png'), str(bad), str(good), str(huge), '8 bytes', str(good)]
    assert [isinstance(one, BadInput) for one in answers] == [True, False, True, True, False, False, True, False]
    assert str(answers[3]).endswith('gave no prediction for ' + str(bad) + ': INVALID_ARGUMENT: this one')
    assert model.asked == [('seven', 3), ('seven', 1), ('seven', 1), ('seven', 1), ('seven', 2)]
    for broken, words in (({'top': 0}, 'top is 0'), ({'batch': 0}, 'batch is 0')):
        with pytest.raises(ValueError, match=f'{words}; it must be at least 1'):
            list(model.answers('seven', [good], **broken))
    assert len(model.predict('seven', (path for path in (good, good)))) == 2  # any iterable


@pytest.mark.parametrize('source, words', [
    (_huge_png(), r'\(too_large\)\. It has 400,000,000 pixels; at most 64,000,000 are allowed'),
    (testing.image_bytes(size=(40, 40))[:60], r'\((truncated|undecodable)\)'),
])
def test_pixels_are_bounded_before_anything_is_decoded(source, words):
    model = _Fixed()
    with pytest.raises(BadInput, match=words):
        model.predict('seven', source)
    assert model.asked == []
