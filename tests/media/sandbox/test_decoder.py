"""The child process that decodes: its answers, and files that hang, kill it or exhaust its memory."""

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import time

import pytest

from media import readers
from media.entries import Entry
from media.rejections import Rejection
from media.sandbox import protocol
from media.sandbox.parent import Decoder
from model_code import isolated, modalities
from model_code.errors import PipelineStop
from model_code.modalities import Limits
from tests import testing

# A child whose reader does what the first five bytes of a file say. Other files it reads.
STUBBORN = textwrap.dedent('''
    import io, os, time
    from media import readers
    from media.sandbox import child
    true_read = readers.read_by
    def read(reader, file, *rest):
        word = file.read(5)
        file.seek(0)
        if word == b'hang!':
            time.sleep(60)
        if word == b'kill!':
            os.kill(os.getpid(), 11)
        if word == b'exit!':
            os._exit(3)
        if word == b'bomb!':
            bytearray(child.MEMORY_BYTES)
        if word == b'chat!':
            print('not an answer', flush=True)
            os.write(1, b'nor this')
            file.seek(5)
            return true_read(reader, io.BytesIO(file.read()), *rest)
        return true_read(reader, file, *rest)
    readers.read_by = read
    child.main()
''')


def _entries(folder, contents):
    entries = []
    for i, content in enumerate(contents):
        testing.write(folder, f'{i:03d}.png', content)
        entries.append(Entry(f'{i:03d}.png', ('a',), 'train'))
    return entries


def _decoder(folder, limits=Limits(), command=()):
    return Decoder(str(folder), 'image', testing.IMAGE_SPEC, limits, command=command)


def test_answers_come_in_order_with_features_and_digest(tmp_path):
    contents = [testing.image_bytes(seed=i % 5) for i in range(300)]
    contents[7], contents[8] = b'', b'no picture'
    entries = _entries(tmp_path, contents) + [Entry('gone.png', ('a',), 'train')]
    with _decoder(tmp_path) as reads:
        answers = list(reads.read(entries))
        child = reads._child._process
    assert child.returncode == 0  # it ended when its input was closed
    assert [answer.entry for answer in answers] == entries
    assert [i for i, answer in enumerate(answers) if answer.rejection] == [7, 8, 300]
    assert [answers[i].rejection.reason for i in (7, 8, 300)] == ['empty', 'unsupported', 'missing']
    assert answers[0].features == readers.read('image', contents[0], testing.IMAGE_SPEC)
    assert answers[0].features['image'] == contents[0]
    assert answers[0].digest == answers[5].digest != answers[1].digest and len(answers[0].digest) == 16


def test_a_video_comes_back_whole(tmp_path):
    testing.write(tmp_path, 'clip.mp4', testing.mp4_bytes())
    with Decoder(str(tmp_path), 'video', testing.VIDEO_SPEC, Limits()) as reads:
        answer, = reads.read([Entry('clip.mp4', ('a',), 'train')])
    assert len(answer.features['frames']) == 8
    assert all(frame.startswith(b'\xff\xd8') and frame.endswith(b'\xff\xd9') for frame in answer.features['frames'])
    assert answer.features['duration_s'] == pytest.approx(1.0)


@pytest.mark.parametrize('word, reason, detail', [
    (b'hang!', 'too_slow', 'within 0.5 seconds'),
    (b'kill!', 'crashed', 'SIGSEGV'),
    (b'exit!', 'crashed', 'status 3'),
    (b'bomb!', 'too_large', 'more than 6 GiB'),
])
def test_a_file_that_kills_the_child_is_rejected_and_the_others_are_read(tmp_path, word, reason, detail):
    good = testing.image_bytes()
    entries = _entries(tmp_path, [good, word, good, good, word, good])
    command = (sys.executable, '-c', STUBBORN)
    start = time.monotonic()
    with _decoder(tmp_path, Limits(decode_seconds=0.5), command) as reads:
        answers = list(reads.read(entries))
        more = list(reads.read(entries[:1]))
    assert [answer.rejection and answer.rejection.reason for answer in answers] == [
        None, reason, None, None, reason, None]
    assert detail in answers[1].rejection.detail
    assert answers[5].features['image'] == more[0].features['image'] == good
    assert time.monotonic() - start < 60


def test_what_a_library_prints_does_not_mix_with_the_answers(tmp_path):
    good = testing.image_bytes()
    with _decoder(tmp_path, command=(sys.executable, '-c', STUBBORN)) as reads:
        answers = list(reads.read(_entries(tmp_path, [b'chat!' + good, good])))
    assert [a.features['image'] for a in answers] == [good, good]


def test_answers_of_an_abandoned_read_do_not_reach_the_next(tmp_path):
    entries = _entries(tmp_path, [testing.image_bytes(seed=i) for i in range(4)])
    with _decoder(tmp_path) as reads:
        next(iter(reads.read(entries)))
        again, = reads.read(entries[3:])
    assert again.features['image'] == (tmp_path / '003.png').read_bytes()


def test_a_child_that_cannot_start_says_why(tmp_path):
    command = (sys.executable, '-c', 'raise SystemExit("no such library")')
    with pytest.raises(RuntimeError, match='does not start.*status 1.*no such library'):
        list(_decoder(tmp_path, command=command).read([Entry('a.png', ('a',), 'train')]))


def test_a_module_that_the_child_lacks_is_named_with_what_to_do(tmp_path, monkeypatch):
    row = dataclasses.replace(modalities.get_modality('image'), reader_module='readers_of_mine.thermal')
    monkeypatch.setitem(modalities.MODALITIES, 'image', row)
    with pytest.raises(PipelineStop, match='cannot import readers_of_mine.*holds it into PYTHONPATH'):
        list(_decoder(tmp_path).read([Entry('a.png', ('a',), 'train')]))


def test_the_child_does_not_outlive_a_parent_that_is_killed(tmp_path):
    testing.write(tmp_path, 'a.png', testing.image_bytes())
    script = textwrap.dedent(f'''
        import os
        from media.entries import Entry
        from media.sandbox.parent import Decoder
        from model_code.modalities import Limits
        from tests import testing
        reads = Decoder({str(tmp_path)!r}, 'image', testing.IMAGE_SPEC, Limits())
        list(reads.read([Entry('a.png', ('a',), 'train')]))
        print(reads._child._process.pid, flush=True)
        os.kill(os.getpid(), 9)
    ''')
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    child = int(done.stdout)
    for _ in range(50):
        if not os.path.exists(f'/proc/{child}') or open(f'/proc/{child}/stat').read().split()[2] == 'Z':
            return
        time.sleep(0.1)
    pytest.fail(f'The decoding process {child} is still running.')


@dataclasses.dataclass(frozen=True)
class NumbersInput:
    factor: float = 1.0
    names: tuple[str, ...] = ()


def read(file, size, spec, limits, start, end):
    """A reader of text files with lines 'name number': the numbers whose names are in the input settings."""
    numbers = dict(line.split() for line in file.read(size).decode().splitlines() if line)
    if not numbers:
        raise Rejection('empty', f'It has none of at most {limits.bytes} bytes.')
    return {name: spec.factor * float(numbers[name]) for name in spec.names}, ('silent',), b'1'


def test_the_child_gets_the_reader_by_name_and_needs_no_table(tmp_path, monkeypatch):
    row = dataclasses.replace(modalities.get_modality('audio'), name='numbers', input_class=NumbersInput,
                              reader_module=__name__, limits=Limits(bytes=100, decode_seconds=10.0))
    monkeypatch.setitem(modalities.MODALITIES, 'numbers', row)  # here, not in the child
    monkeypatch.setenv('PYTHONPATH', str(isolated.PROJECT))  # where the child finds this file
    for name, text in (('a.txt', 'height 2\nwidth 3\n'), ('b.txt', '\n'), ('c.txt', 'height 2\n' * 50), ('d.txt', 'x')):
        testing.write(tmp_path, name, text.encode())
    with Decoder(str(tmp_path), 'numbers', NumbersInput(0.5, ('width',)), Limits()) as reads:
        answers = list(reads.read([Entry(f'{name}.txt', ('a',), 'train') for name in 'abcd']))
    assert (answers[0].features, answers[0].notes) == ({'width': 1.5}, ('silent',))
    assert [answer.rejection for answer in answers[1:3]] == [
        Rejection('empty', 'It has none of at most 100 bytes.'),
        Rejection('too_large', 'It has 450 bytes; at most 100 are allowed.')]
    assert answers[3].rejection.reason == 'undecodable'


def test_messages_survive_encoding():
    entries = [Entry('a/b.tar', ('x',), 'train', 1.5, None, 512, 20, 'm.jpg', 'cifar10'),
               Entry('caf\u00e9', (), 'eval')]
    message = _message(protocol.entries_frame(entries))
    assert list(protocol.entries_of(message)) == [
        dataclasses.replace(entry, labels=(), split='', member='') for entry in entries]
    header, body = _answer(b''.join(protocol.features_frame(
        {'image': b'abc', 'height': 2, 'frames': [b'', b'de'], 'duration_s': 0.5}, ('black',), b'\1\2')))
    assert protocol.body_length(header) == len(body) == 7 and protocol.rejection_of(header) is None
    features, notes, digest, fingerprint = protocol.features_of(header, body)
    assert features == {'image': b'abc', 'height': 2, 'frames': [b'', b'de'], 'duration_s': 0.5}
    assert notes == ('black',) and len(digest) == 16 and fingerprint == b'\1\2'
    rejection = Rejection('truncated', 'It ends.')
    header, body = _answer(protocol.rejection_frame(rejection))
    assert protocol.rejection_of(header) == rejection and body == b'' and protocol.body_length(header) == 0


def _answer(data):
    end = protocol.LENGTH.size + protocol.LENGTH.unpack_from(data)[0]
    return _message(data[:end]), data[end:]


def _message(data):
    assert protocol.LENGTH.unpack_from(data)[0] == len(data) - protocol.LENGTH.size
    return json.loads(data[protocol.LENGTH.size:])
