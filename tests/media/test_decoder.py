"""The decoding process: its answers, and what becomes of files that hang, kill it or eat memory."""

import os
import sys
import textwrap
import time

import pytest

from media import decoder
from media.entries import Entry
from model_code.data import Limits
from tests import testing

# A child whose reader does what the file's name says, and else reads it.
STUBBORN = textwrap.dedent('''
    import os, sys, time
    from media import decoder, readers
    true_read = readers.read_with_notes
    def read(modality, file, *rest):
        word = file.read(5)
        file.seek(0)
        if word == b'hang!':
            time.sleep(60)
        if word == b'kill!':
            os.kill(os.getpid(), 11)
        if word == b'exit!':
            os._exit(3)
        if word == b'bomb!':
            bytearray(decoder.MEMORY_BYTES)
        if word == b'chat!':
            print('not an answer', flush=True)
            os.write(1, b'nor this')
            file.seek(5)
            return true_read(modality, file.read(), *rest)
        return true_read(modality, file, *rest)
    readers.read_with_notes = read
    decoder.main()
''')


def _entries(folder, contents):
    entries = []
    for i, content in enumerate(contents):
        testing.write(folder, f'{i:03d}.png', content)
        entries.append(Entry(f'{i:03d}.png', ('a',), 'train'))
    return entries


def _decoder(folder, limits=Limits(), command=decoder.COMMAND):
    return decoder.Decoder(str(folder), 'image', testing.IMAGE_SPEC, limits, command=command)


def test_answers_come_in_order_with_features_and_digest(tmp_path):
    contents = [testing.image_bytes(seed=i % 5) for i in range(300)]
    contents[7], contents[8] = b'', b'no picture'
    entries = _entries(tmp_path, contents) + [Entry('gone.png', ('a',), 'train')]
    with _decoder(tmp_path) as reads:
        answers = list(reads.read(entries))
        child = reads._child._process
    assert child.returncode == 0  # it went when its input was closed
    assert [a.entry for a in answers] == entries
    assert [i for i, a in enumerate(answers) if a.rejection] == [7, 8, 300]
    assert [answers[i].rejection.reason for i in (7, 8, 300)] == ['empty', 'unsupported', 'missing']
    assert answers[0].features == {'image': contents[0], 'height': 16, 'width': 20}
    assert answers[0].digest == answers[5].digest != answers[1].digest and len(answers[0].digest) == 16


def test_a_clip_comes_back_whole(tmp_path):
    testing.write(tmp_path, 'clip.mp4', testing.mp4_bytes())
    with decoder.Decoder(str(tmp_path), 'video', testing.VIDEO_SPEC, Limits()) as reads:
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
def test_a_file_that_ends_the_decoder_is_rejected_and_the_others_are_read(tmp_path, word, reason, detail):
    good = testing.image_bytes()
    entries = _entries(tmp_path, [good, word, good, good, word, good])
    command = (sys.executable, '-c', STUBBORN)
    start = time.monotonic()
    with _decoder(tmp_path, Limits(decode_seconds=0.5), command) as reads:
        answers = list(reads.read(entries))
        more = list(reads.read(entries[:1]))
    assert [a.rejection and a.rejection.reason for a in answers] == [None, reason, None, None, reason, None]
    assert detail in answers[1].rejection.detail
    assert answers[5].features['image'] == more[0].features['image'] == good
    assert time.monotonic() - start < 60


def test_what_a_library_prints_does_not_get_between_the_answers(tmp_path):
    good = testing.image_bytes()
    with _decoder(tmp_path, command=(sys.executable, '-c', STUBBORN)) as reads:
        answers = list(reads.read(_entries(tmp_path, [b'chat!' + good, good])))
    assert [a.features['image'] for a in answers] == [good, good]


def test_a_reading_that_is_left_does_not_answer_the_next(tmp_path):
    entries = _entries(tmp_path, [testing.image_bytes(seed=i) for i in range(4)])
    with _decoder(tmp_path) as reads:
        for answer in reads.read(entries):
            break
        again, = reads.read(entries[3:])
    assert again.features['image'] == (tmp_path / '003.png').read_bytes()


def test_a_child_that_cannot_start_says_why(tmp_path):
    command = (sys.executable, '-c', 'raise SystemExit("no such library")')
    with pytest.raises(RuntimeError, match='does not start.*status 1.*no such library'):
        list(_decoder(tmp_path, command=command).read([Entry('a.png', ('a',), 'train')]))


def test_the_child_does_not_outlive_a_parent_that_is_killed(tmp_path):
    testing.write(tmp_path, 'a.png', testing.image_bytes())
    script = textwrap.dedent(f'''
        import os
        from media import decoder
        from media.entries import Entry
        from model_code.data import Limits
        from tests import testing
        reads = decoder.Decoder({str(tmp_path)!r}, 'image', testing.IMAGE_SPEC, Limits())
        list(reads.read([Entry('a.png', ('a',), 'train')]))
        print(reads._child._process.pid, flush=True)
        os.kill(os.getpid(), 9)
    ''')
    import subprocess
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, timeout=60)
    child = int(done.stdout)
    for _ in range(50):
        if not os.path.exists(f'/proc/{child}') or open(f'/proc/{child}/stat').read().split()[2] == 'Z':
            return
        time.sleep(0.1)
    pytest.fail(f'the decoding process {child} is still there')
