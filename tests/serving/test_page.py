"""The page at `/` in headless Chromium: files of every modality through the chooser, and what it says of failures."""

import base64
import io
import json
import os
import shlex
import subprocess
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import Image

from media import readers
from model_code import modalities, model_directory
from serving import foreground
from serving.limits import Limits
from serving.remote_model import RemoteModel
from serving.server import ModelServer
from tests import browser, testing
from tests.serving.models import Brightness, save_affine, save_polyvit

pytestmark = browser.needs_chromium

TASKS = [{'name': 'shade', 'modality': 'image', 'classes': ['low', 'high'], 'label_groups': []},
         {'name': 'tint', 'modality': 'image', 'classes': ['red:no', 'blue:no', 'blue:yes', 'red:yes'],
          'label_groups': ['red', 'blue']},
         {'name': 'volume', 'modality': 'audio', 'classes': ['low', 'high'], 'label_groups': []},
         {'name': 'film', 'modality': 'video', 'classes': ['low', 'high'], 'label_groups': []}]
CARD = {
    'tasks': [{'multi_label': False, 'primary_metric': 'accuracy', **task} for task in TASKS],
    'inputs': {'video': {'frame_rate': 8.0, 'short_side': 48}},
    'encoder_passes': {'image': [['shade', 'tint']], 'audio': [['volume']], 'video': [['film']]},
    'intended_use': 'To tell <b>light</b> from dark.', 'limits': 'Not for dusk.', 'parameters': {'total': 1234567},
    'evaluation': {'shade': {'examples': 1200, 'groups': 40, 'metrics': {
        'loss': {'value': 0.4, 'low': None, 'high': None}, 'accuracy': {'value': 0.91, 'low': 0.88, 'high': 0.9345}}}},
    'metrics': {'volume': {'accuracy': 0.5, 'example_count': 40.0}},
    'trained': {'ended': '2026-11-27T12:00:00+00:00'}, 'push_nonce': 'for the pipeline alone'}
STATUS = "document.querySelector('#status').textContent"
LABELS = """[...document.querySelectorAll('#results h3')].map(title => [title.textContent,
    [...title.nextSibling.children].map(row => [row.children[0].textContent, row.children[2].textContent])])"""
NOTE = "document.querySelector('#converted').hidden ? '' : document.querySelector('#converted').textContent"


class TwoTasks(Brightness):
    """With a second task on images, in groups: how red, and how blue. Without `T_safe`, as models of older releases."""

    def signatures(self):
        signatures = super().signatures()

        def means(image):
            pixels = tf.io.decode_image(image, 3, expand_animations=False)
            return tf.reduce_mean(tf.cast(pixels, tf.float32), (0, 1)) / 255

        def every_task(image):
            colours = tf.map_fn(means, image, fn_output_signature=tf.TensorSpec([3], tf.float32))
            red, blue = colours[:, 0], colours[:, 2]
            return {'shade_scores': self._scores(tf.reduce_mean(colours, axis=1)),
                    'tint_scores': tf.stack([1 - red, 1 - blue, blue, red], axis=1)}
        spec = tf.TensorSpec([None], tf.string, name='image')
        signatures['image_all'] = tf.function(every_task).get_concrete_function(spec)
        return signatures


def save(base, version: int = 4, card: dict = CARD):
    """A version with a card, as a push writes it."""
    module, temporary = TwoTasks(), f'{base}/{version}.copying'
    tf.saved_model.save(module, temporary, signatures=module.signatures())
    model_directory.write_card(temporary, card)
    os.rename(temporary, f'{base}/{version}')


@pytest.fixture(scope='module')
def base(tmp_path_factory):
    folder = tmp_path_factory.mktemp('tiny')
    save(folder)
    return folder


@pytest.fixture(scope='module')
def server(base):
    with ModelServer(base, model_name='tiny', port=0, has_page=True) as server:
        yield server


@pytest.fixture(scope='module')
def chromium(tmp_path_factory):
    with browser.opened(tmp_path_factory.mktemp('profile'), '--use-fake-device-for-media-stream',
                        '--use-fake-ui-for-media-stream') as page:
        page.call('Emulation.setFocusEmulationEnabled', enabled=True)  # for the clipboard
        yield page


@pytest.fixture
def page(chromium, server):
    """The page, open, with the model's card. What it logs as an error, and what its policy forbids, fails the test."""
    opened(chromium, server)
    yield chromium
    chromium.value('0')  # what was said until now
    assert chromium.problems == []


def opened(page, server, **window):
    page.problems.clear()
    page.open(f'{server.url}/', **window)
    page.wait("!document.querySelector('#card').hidden")
    return page


def give(page, *files):
    """Chooses files, and returns the labels of the answer: [task, [[label, score], ...]] of each."""
    page.value("document.querySelector('#status').textContent = ''")
    page.choose('#file', *files)
    page.wait(f"{STATUS}.startsWith('Answered in ')")
    return [(task, {label: float(score) for label, score in labels}) for task, labels in page.value(LABELS)]


def refused(page, *files) -> str:
    """Chooses files that get no answer, and returns why."""
    page.value("document.querySelector('#status').className = ''")
    page.choose('#file', *files)
    page.wait("document.querySelector('#status').className === 'bad'")
    assert page.value('document.querySelector("#results").childElementCount') == 0
    return page.value(STATUS)


def command(page, server, folder) -> tuple[dict, dict]:
    """Runs the command that the page gives to copy, in `folder`: (the request in it, the server's reply to it)."""
    page.call('Browser.grantPermissions', origin=server.url,
              permissions=['clipboardReadWrite', 'clipboardSanitizedWrite'])
    page.value("document.querySelector('#request').open = true")
    page.value("document.querySelector('#copy').click()")
    page.wait("document.querySelector('#copy').textContent === 'Copied'")
    text, request = page.value('navigator.clipboard.readText()'), folder / 'request.json'
    if '@request.json' in text:
        page.call('Browser.setDownloadBehavior', behavior='allow', downloadPath=str(folder))
        page.value("document.querySelector('#save').click()")
        end = time.monotonic() + 60
        while not request.is_file() and time.monotonic() < end:
            time.sleep(0.05)
    else:
        words = shlex.split(text)
        request.write_text(words[words.index('--data-binary') + 1])
    ran = subprocess.run(['bash', '-c', text], cwd=folder, capture_output=True, check=True)
    return json.loads(request.read_text()), json.loads(ran.stdout)


def picture(path, colour=(204, 51, 102), kind='PNG', size=(20, 16), **options):
    Image.new('RGBA' if len(colour) == 4 else 'RGB', size, colour).save(path, kind, **options)
    return path


def test_a_picture_is_answered_by_all_of_its_tasks_with_the_very_file(page, server, tmp_path):
    file = picture(tmp_path / 'photo.png')
    mean = (204 + 51 + 102) / 3 / 255
    assert give(page, file) == [('shade', {'low': round(1 - mean, 3), 'high': round(mean, 3)}),
                                ('tint', {'red:yes': 0.8, 'blue:no': 0.6})]
    assert page.value(NOTE) == ''
    request, reply = command(page, server, tmp_path)
    content = base64.b64encode(file.read_bytes()).decode()
    assert request == {'signature_name': 'image_all', 'instances': [{'b64': content}]}
    assert reply['predictions'][0]['tint_scores'] == pytest.approx([0.2, 0.6, 0.4, 0.8])
    assert page.value(STATUS).endswith(' sent. shade: low 0.533. tint: red:yes 0.800, blue:no 0.600.')  # read out
    widths = page.value("[...document.querySelectorAll('.bar span')].map(bar => bar.style.width)")
    assert [float(width[:-1]) for width in widths] == pytest.approx([100 - 100 * mean, 100 * mean, 80, 60], abs=0.01)


def test_a_task_that_is_chosen_answers_alone(page, server, tmp_path):
    file = picture(tmp_path / 'photo.jpg', (200, 200, 200), 'JPEG')
    page.value("document.querySelector('#tasks').value = 'shade'")
    (task, labels), = give(page, file)
    assert task == 'shade' and labels['high'] == pytest.approx(200 / 255, abs=0.002)
    assert command(page, server, tmp_path)[0]['signature_name'] == 'shade'
    page.value("document.querySelector('#tasks').value = ''; document.querySelector('#status').textContent = ''; "
               "document.querySelector('#tasks').dispatchEvent(new Event('change'))")
    page.wait(f"{STATUS}.startsWith('Answered in ')")  # the same file again
    assert [task for task, _ in page.value(LABELS)] == ['shade', 'tint']


@pytest.mark.parametrize('kind, colour, wanted', [('WEBP', (0, 0, 255, 51), (204, 204, 255)),
                                                  ('AVIF', (40, 120, 200), (40, 120, 200))])
def test_a_picture_of_another_format_is_sent_as_a_png_over_white(kind, colour, wanted, page, server, tmp_path):
    file = picture(tmp_path / f'photo.{kind.lower()}', colour, kind, lossless=True, quality=100)
    give(page, file)
    assert 'sent as a PNG' in page.value(NOTE) and 'may differ' in page.value(NOTE)
    request, _ = command(page, server, tmp_path)
    sent = Image.open(io.BytesIO(base64.b64decode(request['instances'][0]['b64'])))
    assert (sent.format, sent.mode, sent.size) == ('PNG', 'RGB', (20, 16))
    assert np.abs(np.asarray(sent).astype(int) - wanted).max() <= 3


def test_a_wav_that_the_model_takes_is_sent_as_it_is(page, server, tmp_path):
    file = testing.write(tmp_path, 'tone.wav', testing.wav_bytes())
    (task, labels), = give(page, file)
    assert task == 'volume' and labels['high'] == pytest.approx(0.25, abs=0.002)
    assert page.value(NOTE) == ''
    assert base64.b64decode(command(page, server, tmp_path)[0]['instances'][0]['b64']) == file.read_bytes()


@pytest.mark.parametrize('name, options', [
    ('tone.flac', {'kind': 'FLAC'}), ('tone.wav', {'subtype': 'PCM_24'}),
    ('tone.ogg', {'kind': 'OGG', 'subtype': 'OPUS'})])
def test_a_sound_of_another_format_is_decoded_by_the_browser(name, options, page, server, tmp_path):
    file = testing.write(tmp_path, name, testing.wav_bytes(1.0, 48_000, 2, **options))
    (task, labels), = give(page, file)
    assert task == 'volume' and labels['high'] == pytest.approx(0.25, abs=0.01)
    assert 'resampled it to a WAV of 16 kHz' in page.value(NOTE) and 'slightly' not in page.value(NOTE)
    request, reply = command(page, server, tmp_path)
    sent = tmp_path / 'sent.wav'
    sent.write_bytes(base64.b64decode(request['instances'][0]['b64']))
    heard, wanted = (tf.audio.decode_wav(content).audio.numpy()[:, 0] for content in (
        sent.read_bytes(), readers.read('audio', str(file), modalities.AudioInput())['audio']))
    assert abs(len(heard) - len(wanted)) <= 320  # the padding of Opus
    middle = slice(2_000, 14_000)
    assert np.abs(heard[middle] - wanted[middle]).max() < (0.05 if name.endswith('ogg') else 0.002)
    assert reply['predictions'][0]['labels'] == ['low', 'high']


@pytest.fixture(scope='module')
def polyvit(tmp_path_factory):
    """A server of a real model, though an untrained one."""
    folder = tmp_path_factory.mktemp('polyvit')
    save_polyvit(folder / '1')
    with ModelServer(folder, port=0, has_page=True) as server:
        yield server


def _sound(rate: int, kind: str, subtype: str, channels: int = 2) -> bytes:
    """Quiet noise with a tone: what lies between the partials is heard, too."""
    out, seconds = io.BytesIO(), np.arange(rate) / rate
    tone = 0.3 * np.sin(2 * np.pi * 700 * seconds) + np.random.default_rng(0).normal(0, 0.003, rate)
    soundfile.write(out, np.stack([tone] * channels, axis=1), rate, subtype, format=kind)
    return out.getvalue()


@pytest.mark.parametrize('name, content, note, tolerance', [
    ('photo.jpg', lambda: testing.image_bytes('JPEG', size=(40, 30)), '', 0.0006),
    ('photo.webp', lambda: testing.image_bytes('WEBP', size=(40, 30), lossless=True), 'PNG', 0.0006),
    ('44100.wav', lambda: _sound(44_100, 'WAV', 'PCM_24'), '', 0.0006),
    ('96000.wav', lambda: _sound(96_000, 'WAV', 'PCM_16'), 'WAV of 48 kHz', 0.01),
    ('16000.flac', lambda: _sound(16_000, 'FLAC', 'PCM_16'), 'WAV of 16 kHz', 0.0006),
    ('44100.flac', lambda: _sound(44_100, 'FLAC', 'PCM_16'), 'WAV of 44.1 kHz', 0.01),
    ('44100.ogg', lambda: _sound(44_100, 'OGG', 'VORBIS'), 'WAV of 44.1 kHz', 0.01),
    ('44100.mp3', lambda: _sound(44_100, 'MP3', 'MPEG_LAYER_III'), 'WAV of 48 kHz', 0.01),
    ('clip.mp4', lambda: testing.numbered_clip(size=(128, 96)), 'JPEG frames', 0.02),
    ('clip.webm', lambda: testing.numbered_clip('webm', 'libvpx', size=(128, 96)), 'JPEG frames', 0.02)])
def test_a_real_model_answers_as_for_polyvit_predict(name, content, note, tolerance, chromium, polyvit, tmp_path):
    page, file = opened(chromium, polyvit), testing.write(tmp_path, name, content())
    (task, labels), = give(page, file)
    result, = RemoteModel(polyvit.url).predict(task, file)
    assert labels == pytest.approx(dict(zip(result['labels'], result['scores'], strict=True)), abs=tolerance)
    assert note in page.value(NOTE) and bool(page.value(NOTE)) == bool(note)


@pytest.mark.parametrize('container, codec', [('mp4', 'libx264'), ('webm', 'libvpx')])
def test_a_clip_is_sent_as_the_frames_that_ingest_would_store(container, codec, page, server, tmp_path):
    clip = testing.numbered_clip(container, codec, numbers=range(20), rate=16, size=(128, 96))
    file = testing.write(tmp_path, f'clip.{container}', clip)
    (task, labels), = give(page, file)
    assert 'JPEG frames' in page.value(NOTE)
    request, reply = command(page, server, tmp_path)
    sent = [base64.b64decode(frame['b64']) for frame in request['instances'][0]]
    stored = readers.read('video', str(file), modalities.VideoInput(frame_rate=8.0, short_side=48))['frames']
    assert len(sent) == len(stored) == 10
    for number, pair in zip(range(0, 20, 2), zip(sent, stored, strict=True), strict=True):
        ours, theirs = (np.asarray(Image.open(io.BytesIO(frame)).convert('RGB')).astype(int) for frame in pair)
        assert ours.shape == theirs.shape == (48, 64, 3)
        assert np.abs(ours[28:44, 36:60] - (16 + 12 * number)).max() < 10  # the frame's number
        assert np.abs(ours - theirs).mean() < 6
    assert task == 'film' and labels['high'] == pytest.approx(reply['predictions'][0]['scores'][
        reply['predictions'][0]['labels'].index('high')], abs=0.0006)


def test_a_large_request_is_saved_beside_its_command(page, server, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    file = tmp_path / 'noise.png'
    Image.fromarray(noise).save(file)
    give(page, file)
    assert 'request.json' in page.value("document.querySelector('#curl').textContent")
    request, reply = command(page, server, tmp_path)
    assert base64.b64decode(request['instances'][0]['b64']) == file.read_bytes()
    assert reply['predictions'][0]['shade_scores'][1] == pytest.approx(noise.mean() / 255, abs=1e-5)


def test_the_sound_of_a_clip_is_answered_by_a_task_on_sounds(page, tmp_path):
    file = testing.write(tmp_path, 'clip.mp4', testing.mp4_bytes(sound=True))
    page.value("document.querySelector('#tasks').value = 'volume'")
    (task, labels), = give(page, file)
    assert task == 'volume' and labels == {'low': 1.0, 'high': 0.0}
    assert 'Only the sound of the clip was used' in page.value(NOTE)


def test_a_file_may_be_dropped(page, tmp_path):
    file = picture(tmp_path / 'photo.png')
    data = {'items': [], 'files': [str(file)], 'dragOperationsMask': 1}
    for kind in ('dragEnter', 'dragOver', 'drop'):
        page.call('Input.dispatchDragEvent', type=kind, x=300, y=200, data=data)
    page.wait(f"{STATUS}.startsWith('Answered in ')")
    assert [task for task, _ in page.value(LABELS)] == ['shade', 'tint']


def test_what_does_not_fit_is_told_in_words(page, tmp_path):
    page.value("document.querySelector('#tasks').value = 'volume'")
    assert refused(page, picture(tmp_path / 'photo.png')) == 'Task volume takes sounds, and this is a picture.'
    page.value("document.querySelector('#tasks').value = ''")
    assert 'no picture, sound, clip or text' in refused(page, testing.write(tmp_path, 'notes.bin', 'words'))
    assert 'no task on texts' in refused(page, testing.write(tmp_path, 'notes.txt', 'words'))
    for name, noun in (('broken.webp', 'picture'), ('broken.mp3', 'sound'), ('broken.mp4', 'clip')):
        assert f'cannot decode the {noun}' in refused(page, testing.write(tmp_path, name, b'no media' * 50))
    page.problems.clear()  # Chromium says so too


def test_the_servers_error_is_told_in_words(chromium, server, tmp_path):
    page = opened(chromium, server)
    damaged = testing.write(tmp_path, 'photo.png', picture(tmp_path / 'whole.png').read_bytes()[:-30])
    said = refused(page, damaged)
    assert said.startswith('The server refused the request: ') and said.endswith('(HTTP 400).')
    assert '\n' not in said and page.value("document.querySelector('#request').hidden") is False
    for error, words in (
            ('assertion failed: [item 1 of 1: it is [BMP]: send a PNG]\n\t [[{{node cond/Assert}}]]',
             'item 1 of 1: it is [BMP]: send a PNG'),
            ('{{function_node __a_<lambda>_4}} {{function_node __b_5}} Invalid PNG data\n\t [[', 'Invalid PNG data'),
            ('Too large', 'Too large')):
        assert page.value(f'inWords({json.dumps(error)})') == words


def test_a_server_that_is_gone_is_told_in_words(chromium, base, tmp_path):
    with ModelServer(base, model_name='tiny', port=0, has_page=True) as gone:
        page = opened(chromium, gone)
    assert 'The server does not answer' in refused(page, picture(tmp_path / 'photo.png'))


def test_what_is_too_large_is_not_sent(chromium, base, tmp_path):
    limits = Limits(max_body_bytes=60_000, max_seconds=2.0, max_frames=5, max_pixels=1000)
    noise = tmp_path / 'noise.png'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)).save(noise)
    with ModelServer(base, model_name='tiny', port=0, has_page=True, limits=limits) as small:
        page = opened(chromium, small)
        assert 'the server takes at most 45 kB' in refused(page, noise)
        assert 'at most 1,000' in refused(page, picture(tmp_path / 'photo.webp', kind='WEBP', size=(64, 64)))
        long = testing.write(tmp_path, 'tone.flac', testing.wav_bytes(3.0, kind='FLAC'))
        assert '3 seconds; the server takes at most 2' in refused(page, long)
        clip = testing.write(tmp_path, 'clip.mp4', testing.numbered_clip(size=(32, 24)))
        assert '8 frames; the server takes at most 5' in refused(page, clip)
        page.value('0')
        assert page.problems == []  # a request that is refused would be one


def test_the_model_card_is_shown(page):
    facts = page.value("document.querySelector('#facts').innerText")
    for text in ('To tell <b>light</b> from dark.', 'Not for dusk.', '1,234,567', 'November 27, 2026'):
        assert text in facts
    rows = page.value("""[...document.querySelectorAll('#judged tr')].map(
        row => [...row.cells].map(cell => cell.innerText))""")
    assert rows == [['shade', 'pictures', '2', '1,200', 'accuracy', '0.910', '0.880 to 0.934'],
                    ['', '', '', '', 'loss', '0.400', '–'],
                    ['tint', 'pictures', '4', '', 'not measured', '–', '–'],
                    ['volume', 'sounds', '2', '', 'accuracy', '0.500', '–'],
                    ['film', 'clips', '2', '', 'not measured', '–', '–']]
    page.value("document.querySelectorAll('#judged details')[1].open = true")
    assert 'red:no, blue:no, blue:yes, red:yes' in page.value("document.querySelector('#judged').innerText")


def test_a_new_version_is_noticed_with_the_next_file(chromium, tmp_path):
    save(tmp_path, 1)
    with ModelServer(tmp_path, model_name='tiny', port=0, has_page=True, poll_seconds=0.1) as server:
        page = opened(chromium, server)
        assert page.value("document.querySelector('#version').textContent") == 'version 1'
        save(tmp_path, 2, {**CARD, 'limits': 'Not for dawn.'})
        end = time.monotonic() + 60
        while get(f'{server.url}/page/tiny')['version'] != '2' and time.monotonic() < end:
            time.sleep(0.1)
        give(page, picture(tmp_path / 'photo.png'))
        assert page.value("document.querySelector('#version').textContent") == 'version 2'
        assert 'Not for dawn.' in page.value("document.querySelector('#facts').innerText")


def test_a_file_that_comes_before_the_model_is_answered_once_it_is_there(chromium, tmp_path):
    base = tmp_path / 'tiny'
    base.mkdir()
    with ModelServer(base, model_name='tiny', port=0, has_page=True, poll_seconds=0.1) as server:
        chromium.open(f'{server.url}/')
        chromium.wait(f"{STATUS}.includes('Model tiny has no version ready')")
        chromium.choose('#file', picture(tmp_path / 'photo.png'))
        save(base, 1)
        chromium.wait(f"{STATUS}.startsWith('Answered in ')")
        assert [task for task, _ in chromium.value(LABELS)] == ['shade', 'tint']


def test_several_models_are_chosen_from(chromium, base, tmp_path):
    (tmp_path / 'affine').mkdir()
    save_affine(tmp_path / 'affine' / '1')
    config = tmp_path / 'models.config'
    models = ' '.join(f'config {{ name: "{name}" base_path: "{folder}" }}'
                      for name, folder in (('tiny', base), ('half & two', tmp_path / 'affine')))
    config.write_text(f'model_config_list {{ {models} }}')
    with ModelServer(models=foreground.read_model_config(config), port=0, has_page=True) as several:
        page = opened(chromium, several)
        choose = ("document.querySelector('#models').value = '{}'; "
                  "document.querySelector('#models').dispatchEvent(new Event('change'))")
        page.value(choose.format('half & two'))
        page.wait(f"{STATUS}.includes('has no model card')")
        assert page.value("document.querySelector('#card').hidden && document.querySelector('#file').disabled")
        page.value(choose.format('tiny'))
        page.wait("!document.querySelector('#card').hidden")
        assert len(give(page, picture(tmp_path / 'photo.png'))) == 2
        page.value(choose.format('half & two'))
        page.wait(f"{STATUS}.includes('has no model card')")
        assert page.value('document.querySelector("#results").childElementCount') == 0


def test_the_camera_and_the_microphone_are_answered(page):
    def click(name):
        page.wait(f"!document.querySelector('#{name}').hidden")
        page.value(f"document.querySelector('#status').textContent = ''; document.querySelector('#{name}').click()")
    click('camera')
    page.wait("document.querySelector('#preview video')?.videoWidth > 0")
    click('picture')
    page.wait(f"{STATUS}.startsWith('Answered in ')")
    assert [task for task, _ in page.value(LABELS)] == ['shade', 'tint']
    click('camera')
    for name, wanted in (('clip', 'film'), ('microphone', 'volume')):
        click(name)
        page.wait(f"{STATUS}.startsWith('Recording')")
        page.value('new Promise(done => setTimeout(done, 1000))')
        assert page.value(f"document.querySelector('#{name}').textContent") == 'Stop'
        click(name)
        page.wait(f"{STATUS}.startsWith('Answered in ')")
        assert [task for task, _ in page.value(LABELS)] == [wanted]
    assert page.value("document.querySelector('#close').hidden")


def test_the_keyboard_reaches_all(page):
    reached = []
    for _ in range(5):
        page.press('Tab', 9)
        reached.append(page.value("""[document.activeElement.id || document.activeElement.tagName,
            getComputedStyle(document.querySelector('.drop')).outlineStyle]"""))
    assert reached == [['tasks', 'none'], ['file', 'solid'], ['camera', 'none'], ['microphone', 'none'],
                       ['SUMMARY', 'none']]


@pytest.mark.parametrize('width, scheme', [(1280, 'light'), (390, 'dark')])
def test_nobody_is_locked_out(width, scheme, chromium, server, tmp_path):
    page = opened(chromium, server, width=width, scheme=scheme)
    assert page.violations(browser.axe()) == {}
    give(page, testing.write(tmp_path, 'tone.flac', testing.wav_bytes(kind='FLAC')))
    page.value("document.querySelector('#request').open = true")
    assert page.violations(browser.axe()) == {}
    assert page.value('document.documentElement.scrollWidth') == width


def test_the_policy_lets_nothing_else_run_or_be_reached(chromium, server, base):
    page = opened(chromium, server)
    page.value("""document.body.append(Object.assign(document.createElement('script'),
        {textContent: 'document.title = 1'}))""")
    assert page.value('document.title') == 'Try tiny'
    with ModelServer(base, model_name='tiny', port=0, cors=True) as other:
        reached = f"fetch('{other.url}/v1/models/tiny').then(() => 'reached', () => 'forbidden')"
        assert page.value(reached) == 'forbidden'
    page.value('0')
    assert sum('Content Security Policy' in problem for problem in page.problems) >= 2


def get(url: str) -> dict:
    with urllib.request.urlopen(url) as response:
        return json.load(response)


def test_it_tells_no_more_of_the_card_than_it_shows(server):
    card = get(f'{server.url}/page/tiny')['card']
    assert card['limits'] == 'Not for dusk.' and 'push_nonce' not in card


def test_a_damaged_card_is_none(tmp_path):
    save(tmp_path, 1)
    (tmp_path / '1' / 'assets.extra' / 'model_card.json').write_text('{"tasks":')
    with ModelServer(tmp_path, model_name='tiny', port=0, has_page=True) as server:
        assert get(f'{server.url}/page/tiny') == {'version': '1', 'card': {}, 'wav_rates': []}


@pytest.mark.parametrize('path', ['/', '/page.json', '/page/tiny'])
def test_it_may_be_left_out(path, base, server):
    with ModelServer(base, model_name='tiny', port=0) as without:
        with pytest.raises(urllib.error.HTTPError, match='404'):
            urllib.request.urlopen(without.url + path)
    assert urllib.request.urlopen(server.url + path).status == 200
    with pytest.raises(urllib.error.HTTPError, match='404'):  # as in TensorFlow Serving
        urllib.request.urlopen(urllib.request.Request(server.url + path, data=b'', method='POST'))
