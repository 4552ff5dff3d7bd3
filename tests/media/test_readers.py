"""Readers of every modality: what is opened and what is not, limits, segments, messages."""

import io
import os
import socket
import subprocess
import sys

import pytest

from media import readers
from media.rejections import REASONS, Rejection
from model_code.errors import ConfigError
from model_code.modalities import MODALITIES, AudioInput, ImageInput, Limits, TextInput, VideoInput
from tests import testing

SPECS = {'image': ImageInput(), 'audio': AudioInput(), 'video': VideoInput(frame_rate=8.0, short_side=16),
         'text': TextInput()}
MEDIA = {'image': testing.image_bytes, 'audio': testing.wav_bytes, 'video': testing.mp4_bytes,
         'text': lambda: b'A text.'}
FEATURES = {'image': {'image', 'height', 'width', 'brightness'}, 'audio': {'audio', 'duration_s', 'loudness_dbfs'},
            'video': {'frames', 'height', 'width', 'duration_s', 'brightness'}, 'text': {'text', 'text_bytes'}}


def _read(modality, source, *arguments):
    return readers.read(modality, source, SPECS[modality], *arguments)


def _reason(modality, source, *arguments):
    with pytest.raises(Rejection) as caught:
        _read(modality, source, *arguments)
    assert caught.value.reason in REASONS
    assert caught.value.detail and '\n' not in caught.value.detail
    return caught.value.reason


@pytest.fixture(params=MEDIA)
def modality(request):
    return request.param


def test_a_path_bytes_and_a_file_give_the_same(modality, tmp_path):
    content = MEDIA[modality]()
    features = _read(modality, content)
    assert set(features) == FEATURES[modality]
    path = testing.write(tmp_path, 'media', content)
    with open(path, 'rb') as file:
        for source in (path, os.fspath(path), io.BytesIO(content), file):
            assert _read(modality, source) == features
    assert readers.read_with_notes(modality, content, SPECS[modality])[0] == features


def test_the_name_of_a_file_does_not_matter(modality, tmp_path):
    content = MEDIA[modality]()
    features = _read(modality, content)
    not_utf8 = os.fsdecode(b'caf\xe9 \xff\n.bin')  # as Python names it
    for name in ('media.jpg', 'media.wav', 'media.mp4', 'media.txt', 'media', not_utf8):
        assert _read(modality, testing.write(tmp_path, name, content)) == features


def test_media_of_another_kind_are_unsupported(modality):
    other = 'audio' if modality == 'image' else 'image'
    texts = () if modality == 'text' else (b'x', b'#EXTM3U\n/etc/passwd\n')
    for content in (*texts, bytes(1000), MEDIA[other]()):
        assert _reason(modality, content) == 'unsupported'


def test_paths_that_are_not_files(modality, tmp_path):
    (tmp_path / 'folder.jpg').mkdir()
    os.mkfifo(tmp_path / 'pipe.jpg')
    testing.write(tmp_path, 'file', b'')
    (tmp_path / 'loop.jpg').symlink_to(tmp_path / 'loop.jpg')
    (tmp_path / 'dangling.jpg').symlink_to(tmp_path / 'none')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.fspath(tmp_path / 'socket.jpg'))
        for path, reason in {
                tmp_path / 'none.jpg': 'missing', tmp_path / 'file' / 'below.jpg': 'missing',
                tmp_path / 'dangling.jpg': 'missing', f'{tmp_path}/nu\0l.jpg': 'missing',
                tmp_path / 'file': 'empty', tmp_path / 'folder.jpg': 'not_a_file', tmp_path / 'pipe.jpg': 'not_a_file',
                tmp_path / 'socket.jpg': 'not_a_file', '/dev/zero': 'not_a_file', '/dev/null': 'not_a_file',
                tmp_path / 'loop.jpg': 'unreadable', tmp_path / ('x' * 300): 'unreadable'}.items():
            assert _reason(modality, path) == reason, path
    assert _reason(modality, b'') == 'empty'


def test_a_file_that_may_not_be_opened(modality, tmp_path):
    if os.geteuid() == 0:
        pytest.skip('root may open every file')
    path = testing.write(tmp_path, 'media', MEDIA[modality]())
    path.chmod(0)
    assert _reason(modality, path) == 'unreadable'


def test_a_file_over_the_limit_is_not_read(modality, tmp_path):
    path = tmp_path / 'huge'
    with open(path, 'wb') as file:
        file.truncate(MODALITIES[modality].limits.bytes + 1)
    assert _reason(modality, path) == 'too_large'
    content = MEDIA[modality]()
    assert _reason(modality, content, Limits(bytes=len(content) - 1)) == 'too_large'
    assert _reason(modality, io.BytesIO(content), Limits(bytes=len(content) - 1)) == 'too_large'
    assert _read(modality, content, Limits(bytes=len(content))) == _read(modality, content)


def test_a_segment_without_length(modality):
    for start, end in ((0.2, 0.2), (0.2, 0.1), (-1.0, 0.1)):
        assert _reason(modality, MEDIA[modality](), None, start, end) == 'out_of_range'


@pytest.mark.parametrize('size', [100, 1 << 19])  # small enough to be read at once, and not
def test_a_range_of_a_file_is_read_like_a_file(size, tmp_path):
    content = bytes(range(256)) * (size // 256 + 1)
    path = testing.write(tmp_path, 'archive', b'before' + content + b'after')
    with readers.open_media(path, Limits(), 6, len(content)) as file:
        assert file.seekable() and file.read() == content and file.read() == b''
        assert file.seek(-5, os.SEEK_END) == len(content) - 5 and file.read(9) == content[-5:]
        assert file.seek(3) == 3 and file.read(4) == content[3:7] and file.tell() == 7
        assert file.seek(len(content) + 5) and file.read(1) == b''
        with pytest.raises((OSError, ValueError)):
            file.seek(-1)
    with readers.open_media(path, Limits(), 6) as file:
        assert file.read() == content + b'after'
    for offset, length, limits, reason in ((6, len(content) + 6, Limits(), 'truncated'), (-1, 3, Limits(), 'truncated'),
                                           (3, 0, Limits(), 'empty'), (1 << 40, -1, Limits(), 'truncated'),
                                           (0, 9, Limits(bytes=8), 'too_large')):
        with pytest.raises(Rejection) as caught:
            readers.open_media(path, limits, offset, length)
        assert caught.value.reason == reason


def test_no_file_is_left_open(modality, tmp_path):
    path = testing.write(tmp_path, 'media', MEDIA[modality]() + bytes(1 << 19))  # too large to be read at once
    _outcome(modality, path)
    before = os.listdir('/proc/self/fd')
    for _ in range(5):
        _outcome(modality, path)
        for bad in (tmp_path, testing.write(tmp_path, 'bad', b'x' * (1 << 19))):
            assert _outcome(modality, bad)
    assert os.listdir('/proc/self/fd') == before


def _outcome(modality, path):
    try:
        return _read(modality, path)
    except Rejection as error:
        return error.reason


def test_a_detail_is_one_line_of_limited_length():
    error = Rejection('undecodable', 'a\n  b\t' + 'x' * 10_000)
    assert error.detail.startswith('a b x') and len(error.detail) == 300
    assert str(error) == f'undecodable: {error.detail}'
    with pytest.raises(ValueError, match='is not one of the reasons'):
        Rejection('broken', 'It is.')
    with pytest.raises(ConfigError, match='smell'):
        readers.read('smell', b'x', None)


def test_any_exception_of_a_decoder_becomes_a_rejection(modality, monkeypatch):
    def strange(*arguments):
        raise RecursionError('too deep')
    monkeypatch.setattr(readers, 'load', lambda module: strange)
    with pytest.raises(Rejection, match='^undecodable: It cannot be decoded: it is damaged, or of a rare kind.$'):
        _read(modality, b'x')


def test_a_memory_error_passes_through(monkeypatch):
    def hungry(*arguments):
        raise MemoryError
    monkeypatch.setattr(readers, 'load', lambda module: hungry)
    with pytest.raises(MemoryError):
        _read('image', b'x')


def test_reading_imports_neither_tensorflow_nor_beam():
    code = ('import sys; from media import listing, readers; '
            'from media.readers import audio, audio_ffmpeg, image, video; '
            'print([m for m in ("tensorflow", "tfx", "apache_beam") if m in sys.modules])')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert result.stdout.strip() == '[]', result.stderr
