"""Every format of the table in docs/serving.md: raw over REST it is answered as through the client, or refused."""

import base64
import io
import json
import pathlib
import re
import struct
import urllib.request
import zlib

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from media import readers
from media.rejections import Rejection
from model_code import modalities
from model_code.modalities import AudioInput, VideoInput
from serving.errors import ServingError
from serving.local_model import LocalModel
from serving.remote_model import RemoteModel
from serving.server import ModelServer
from tests import testing
from tests.serving.models import save_polyvit

DOCS = pathlib.Path(__file__).resolve().parents[2] / 'docs' / 'serving.md'
TASKS = {'image': 'pets', 'audio': 'calls', 'video': 'moves', 'text': 'notes'}
JPEG, SECONDS = testing.image_bytes('JPEG', size=(40, 30)), 0.7


def _image(kind='PNG', mode='RGB', **options):
    return testing.image_bytes(kind, mode, size=(40, 30), **options)


def _exif(orientation, order='<', tag_type=3):
    value = struct.pack(f'{order}H2x' if tag_type == 3 else f'{order}I', orientation)
    entries = struct.pack(f'{order}HHI4s', 0x0110, 2, 4, b'cam\0') + struct.pack(f'{order}HHI', 0x0112, tag_type, 1)
    return ({'<': b'II*\0', '>': b'MM\0*'}[order] + struct.pack(f'{order}IH', 8, 2) + entries + value + bytes(4))


def _turned(orientation, order='<', tag_type=3, **options):
    return _image('JPEG', exif=b'Exif\0\0' + _exif(orientation, order, tag_type), **options)


def _xmp(orientation):
    return f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()


def _noise(channels=1, seconds=SECONDS, rate=16_000):
    """Channels that differ, with silence in the last of several."""
    wave = np.random.default_rng(0).normal(0, 0.2, (round(seconds * rate), channels)).clip(-0.99, 0.99)
    if channels > 1:
        wave[:, -1] = 0
    return wave


def _wav(subtype='PCM_16', channels=1, rate=16_000, kind='WAV', seconds=SECONDS, endian=None):
    out = io.BytesIO()
    soundfile.write(out, _noise(channels, seconds, rate), rate, subtype, endian, kind)
    return out.getvalue()


def _with_length(length, outer=None):
    wav = bytearray(_wav())
    wav[40:44] = struct.pack('<I', length)
    if outer is not None:
        wav[4:8] = struct.pack('<I', outer)
    return bytes(wav)


def _with_chunk():
    wav, chunk = _wav(), b'LIST' + struct.pack('<I', 5) + b'notes\0'
    return wav[:36] + chunk + wav[36:]


def _gif():
    frames = [Image.open(io.BytesIO(_image(seed=seed))).quantize(40) for seed in range(2)]
    return {'plain': _image('GIF', 'P'), 'animated': _saved(frames[0], 'GIF', save_all=True, append_images=frames[1:]),
            'transparent': _saved(frames[0], 'GIF', transparency=3)}


def _saved(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def _rgb_16():
    rows = np.random.default_rng(0).integers(0, 1 << 16, (6, 5, 3)).astype('>u2')
    chunks = [(b'IHDR', struct.pack('>IIBBBBB', 5, 6, 16, 2, 0, 0, 0)),
              (b'IDAT', zlib.compress(b''.join(b'\0' + row.tobytes() for row in rows))), (b'IEND', b'')]
    png = b'\x89PNG\r\n\x1a\n'
    for name, body in chunks:
        png += struct.pack('>I', len(body)) + name + body + struct.pack('>I', zlib.crc32(name + body))
    return png


# The rows of the table: modality -> format -> examples of it, by name.
FORMATS = {
    'image': {
        'JPEG, grey or RGB': {'rgb': JPEG, 'grey': _image('JPEG', 'L'),
                              'progressive': _image('JPEG', progressive=True)},
        'JPEG that EXIF or XMP turns': {
            **{f'exif-{o}': _turned(o, '<>'[o % 2]) for o in range(1, 9)}, 'long': _turned(6, '>', 4),
            'grey': _turned(6, mode='L'), 'odd': _turned(9), 'none': _image('JPEG', exif=b'Exif\0\0II'),
            'xmp': _image('JPEG', xmp=_xmp(8)), 'exif before xmp': _turned(3, xmp=_xmp(8))},
        'PNG, 1 to 16 bits, grey, RGB or palette': {
            'rgb': _image(), 'grey': _image(mode='L'), 'palette': _image(mode='P'), 'bit': _image(mode='1'),
            'grey-16': _image(mode='I;16'), 'rgb-16': _rgb_16()},
        'PNG with transparency': {
            'rgba': _image(mode='RGBA'),
            'grey': _saved(Image.open(io.BytesIO(_image(mode='RGBA'))).convert('LA'), 'PNG'),
            'colour': _saved(Image.open(io.BytesIO(_image())).quantize(20), 'PNG', transparency=3)},
        'PNG that EXIF turns': {'rgb': _image(exif=_exif(6)), 'rgba': _image(mode='RGBA', exif=_exif(5, '>'))},
        'GIF, its first picture': _gif(),
        'JPEG in CMYK': {'cmyk': _image('JPEG', 'CMYK')},
        'BMP, WebP, TIFF, HEIC, AVIF': {kind: _image(kind) for kind in ('BMP', 'WEBP', 'TIFF')},
    },
    'audio': {
        'WAV, 16 kHz, mono, 16 bits': {'whole': _wav(), 'chunks': _with_chunk()},
        'WAV of 8, 24 or 32 bits, or of floats': {
            subtype: _wav(subtype, channels) for channels, subtype in enumerate(
                ('PCM_U8', 'PCM_24', 'PCM_32', 'FLOAT', 'DOUBLE'), 1)},
        'WAV with the extensible header': {'pcm': _wav(kind='WAVEX'), 'float': _wav('FLOAT', 2, kind='WAVEX')},
        'WAV with 2 to 8 channels': {str(channels): _wav(channels=channels) for channels in (2, 3, 6, 8)},
        'WAV of 8, 11.025, 12, 22.05, 24, 32, 44.1 or 48 kHz': {
            str(rate): _wav('PCM_24', 1 + rate % 3, rate) for rate in (8_000, 11_025, 12_000, 22_050, 24_000, 32_000,
                                                                      44_100, 48_000)} | {'long': _wav(rate=44_100,
                                                                                                      seconds=3.1)},
        'WAV written to a pipe, without its length': {'ones': _with_length(0xFFFFFFFF),
                                                     'right outside': _with_length(1 << 20, len(_wav()) - 8)},
        'WAV of other rates': {'37.8 kHz': _wav(rate=37_800), '96 kHz': _wav(rate=96_000)},
        'WAV that is compressed or big-endian': {'alaw': _wav('ALAW'), 'adpcm': _wav('IMA_ADPCM'),
                                                 'rifx': _wav(endian='BIG')},
        'FLAC, MP3, Ogg, M4A and others': {'flac': _wav(kind='FLAC'), 'ogg': _wav('VORBIS', kind='OGG')},
    },
    'video': {
        'JPEG frames': {'three': [JPEG, _image('JPEG', seed=1), _image('JPEG', seed=2)]},
        'JPEG frames that EXIF turns': {'six': [JPEG, _turned(6)]},
        'frames as PNG or others': {'png': [JPEG, _image()], 'gif': [_image('GIF', 'P')]},
        'MP4 and other videos': {'mp4': testing.mp4_bytes()},
    },
    'text': {
        'UTF-8, with or without a byte order mark': {'words': ' Où est-il ?\n'.encode(), 'mark': b'\xef\xbb\xbfHere.',
                                                     'long': b'and so on ' * 9},
        'other encodings, ASCII control characters, nothing but ASCII white space': {
            'latin-1': 'Où est-il ?'.encode('latin-1'), 'utf-16': 'here'.encode('utf-16'), 'bell': b'here\a',
            'white': b' \n'},
    },
}
CASES = [(modality, name, kind, content) for modality, formats in FORMATS.items() for kind, contents in formats.items()
         for name, content in contents.items()]


@pytest.fixture(scope='module')
def served(tmp_path_factory):
    """(a client of the server, the same model without one)."""
    folder = tmp_path_factory.mktemp('model')
    save_polyvit(folder / '1')
    with ModelServer(str(folder), model_name='m', port=0) as server, LocalModel(str(folder)) as local:
        yield RemoteModel(f'http://127.0.0.1:{server.port}', 'm'), local


def _table():
    """(modality, format) -> (over REST, through the client)."""
    lines = DOCS.read_text().split('| you send | format |', 1)[1].split('\n\n')[0].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]
    return {(modality, kind): answers for modality, kind, *answers in rows}


def test_the_table_has_these_formats():
    assert _table().keys() == {(modality, kind) for modality, formats in FORMATS.items() for kind in formats}


@pytest.mark.parametrize('modality, name, kind, content', CASES, ids=[f'{c[0]}-{c[2]}-{c[1]}' for c in CASES])
def test_raw_requests_are_answered_as_files_are_or_refused(modality, name, kind, content, served):
    remote, local = served
    row, signature = modalities.get_modality(modality), f'{TASKS[modality]}_scores'
    over_rest, through_the_client = _table()[modality, kind]
    sent = content if modality != 'video' or isinstance(content, list) else [content]
    if over_rest == 'the same':
        stored = content if isinstance(content, list) else readers.read(modality, content, local.input_spec(row))[
            row.feature]
        through_client = local.run(signature, row.feature, [stored])['scores']
        raw = remote.run(signature, row.feature, [sent])['scores']
        np.testing.assert_allclose(raw, through_client, atol=1e-5, rtol=0)
        return
    with pytest.raises(ServingError) as refused:
        remote.run(signature, row.feature, [sent])
    assert refused.value.http_status == 400
    assert re.search(r'assertion failed: \[item 1 of 1: .*(send|use `polyvit predict`)', refused.value.message)
    if through_the_client == 'refused':
        with pytest.raises(Rejection):
            readers.read(modality, content, local.input_spec(row))
    elif not isinstance(content, list):
        assert len(readers.read(modality, content, local.input_spec(row))[row.feature])


def test_scores_tell_a_turned_picture_and_a_wrong_rate(served):
    """So the comparison above, to 1e-5, can fail."""
    _, local = served
    pictures = local.run('pets_scores', 'image', [_turned(1), _turned(6)])['scores']
    sounds = local.run('calls_scores', 'audio', [_wav(), _wav(rate=8_000)])['scores']
    assert np.abs(pictures[0] - pictures[1]).max() > 1e-3 and np.abs(sounds[0] - sounds[1]).max() > 1e-3


def test_a_sound_that_is_resampled_has_the_samples_of_ingest():
    """Those of 32 kHz may differ in their last bit, where the filter's smallest values are left out."""
    from model_code.sent_media import audio
    spec, limits = AudioInput(frames=320), modalities.MODALITIES['audio'].limits
    tables = {key: tf.Variable(values) for key, values in audio.tables().items()}
    for name, content in FORMATS['audio']['WAV of 8, 11.025, 12, 22.05, 24, 32, 44.1 or 48 kHz'].items():
        problems, plan = audio.check(tf.constant([content]), spec, limits)
        assert problems.numpy().tolist() == [b'']
        ours = audio.as_stored(tf.constant([content]), plan, spec, tables).numpy()[0]
        stored = readers.read('audio', content, spec)['audio']
        ours, stored = (np.frombuffer(wav[44:], np.int16).astype(int) for wav in (ours, stored))
        assert len(ours) == min(len(stored), 51_200)
        assert np.abs(ours - stored[:len(ours)]).max() <= (name == '32000')


@pytest.mark.parametrize('modality, content, sentence', [
    ('audio', _image(), 'it is a PNG image, which an audio task does not take: send a WAV file'),
    ('audio', _wav()[:30], 'it is a WAV that ends before its sound: send the whole file'),
    ('audio', _wav()[:-100], 'it is a WAV that ends before its header says: send the whole file'),
    ('audio', _with_length(0), 'it has no samples: send a WAV with sound'),
    ('audio', _wav('FLOAT')[:-4] + struct.pack('<f', np.nan), 'it has samples that are not finite'),
    ('audio', _wav(channels=9), 'it is a WAV with 9 channels of 16 bits'),
    ('image', _wav(), 'it is a WAV sound, which an image task does not take: send a JPEG or PNG image'),
    ('image', b'', 'it is empty'), ('image', b'hello', 'it is in a format that is not known here'),
    ('image', _image()[:16] + struct.pack('>II', 20_000, 20_000) + _image()[24:],
     r'it has 20000 x 20000 pixels; at most 64,000,000 are allowed: send a smaller image'),
    ('image', JPEG[:4], 'its header is damaged'),
    ('video', [b'', b''], 'it has no frames'), ('video', [b'', JPEG], 'it has an empty frame before others'),
    ('video', [JPEG, _wav()], r'frame 2 is a WAV sound: send the frames as JPEG'),
    ('video', [JPEG, _image('JPEG', 'CMYK')], 'frame 2 is a JPEG in CMYK: send RGB'),
])
def test_what_is_wrong_is_said_with_its_place_and_to_its_own_row_alone(modality, content, sentence, served):
    remote, _ = served
    task, feature = TASKS[modality], modalities.get_modality(modality).feature
    good = {'image': JPEG, 'audio': _wav(), 'video': [JPEG, JPEG]}[modality]
    with pytest.raises(ServingError, match=rf'assertion failed: \[item 2 of 3: {sentence}'):
        remote.run(task, feature, [good, content, good])
    plain, safe = remote.run(task, feature, [good] * 3), remote.run(f'{task}_safe', feature, [good, content, good])
    assert safe['error'][[0, 2]].tolist() == ['', ''] and re.match(sentence, safe['error'][1])
    assert set(safe['labels'][1]) == {''} and not safe['scores'][1].any()
    assert safe['labels'][2].tolist() == plain['labels'][2].tolist()
    np.testing.assert_allclose(safe['scores'][2], plain['scores'][2], atol=1e-6)


@pytest.mark.parametrize('content', [JPEG[:len(JPEG) // 2], _image()[:60] + bytes(20) + _image()[80:]])
def test_what_only_the_decoder_finds_has_its_place_and_spoils_its_own_row_alone(content, served):
    remote, _ = served
    for signature in ('pets', 'pets_scores', 'image_embedding', 'image_all'):
        with pytest.raises(ServingError, match=r'\[item 2 of 3: it cannot be decoded: it is damaged. Send a file that'):
            remote.run(signature, 'image', [JPEG, content, content])
    safe = remote.run('pets_safe', 'image', [content, JPEG, content])
    assert safe['error'].tolist()[1] == '' and all('it is damaged. Send a file' in safe['error'][i] for i in (0, 2))
    assert safe['labels'][1].tolist() == remote.run('pets', 'image', [JPEG])['labels'][0].tolist()


def test_a_clip_without_any_frame_is_a_row_with_an_error(served):
    remote, _ = served
    safe = remote.run(f'{TASKS["video"]}_safe', 'frames', [[], []])
    assert all(error.startswith('it has no frames: send the frames as JPEG') for error in safe['error'])
    assert {*safe['labels'].ravel()} == {''} and not safe['scores'].any()
    with pytest.raises(ServingError, match='item 1 of 2: it has no frames'):
        remote.run(TASKS['video'], 'frames', [[], []])


def test_safe_answers_in_both_forms_of_json(served):
    remote, _ = served
    media = [{'b64': ''}, {'b64': base64.b64encode(JPEG).decode()}]

    def ask(body):
        request = urllib.request.Request(f'{remote.url}:predict', json.dumps(
            {'signature_name': 'pets_safe', **body}).encode())
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())
    rows, columns = ask({'instances': media})['predictions'], ask({'inputs': media})['outputs']
    assert rows[0] == {'labels': ['', '', ''], 'scores': [0.0, 0.0, 0.0], 'error': rows[0]['error']}
    assert rows[0]['error'].startswith('it is empty') and rows[1]['error'] == ''
    assert columns == {name: [row[name] for row in rows] for name in rows[0]}


def test_the_card_is_given_once(served):
    remote, _ = served
    with pytest.raises(ServingError, match='model_card takes one string, of any content, and not 1000'):
        remote.run('model_card', 'request', [b''] * 1000)
    assert remote.card['inputs'].keys() == TASKS.keys()


def test_a_clip_has_a_most_number_of_frames():
    from model_code.sent_media import video
    problems, _ = video.check(tf.constant([[JPEG] * 4]), VideoInput(), modalities.Limits(pixels=10_000, frames=3))
    assert problems.numpy()[0].startswith(b'it has more than 3 frames: send fewer')


def test_a_sound_has_a_most_number_of_seconds():
    from model_code.sent_media import audio
    contents = tf.constant([_wav(), _wav(rate=8_000), _wav(seconds=0.2)])
    problems, _ = audio.check(contents, AudioInput(), modalities.Limits(seconds=0.5))
    assert [b'at most 0.5 are allowed: send a shorter sound' in problem for problem in problems.numpy()] == [
        True, True, False]


def test_what_is_stored_is_passed_on_byte_for_byte():
    """Training, serving and `T_examples` see the same bytes."""
    stored = {'image': [JPEG, _image(), _image(mode='L'), _image(mode='P')], 'audio': [_wav(), testing.wav_bytes()]}
    for name, contents in stored.items():
        row = modalities.get_modality(name)
        spec = row.input_class()
        problems, plan = row.sent_media.check(tf.constant(contents), spec, row.limits)
        assert not any(problems.numpy())
        assert row.sent_media.as_stored(tf.constant(contents), plan, spec, {}).numpy().tolist() == contents
