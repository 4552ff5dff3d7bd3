"""Snapshots of a folder in another place: whole or not there, whatever breaks off, also if two processes take them."""

import json
import os
import threading
import time

import pytest

from model_code import file_io, snapshots
from model_code.snapshots import MARKER, Snapshots


@pytest.fixture(params=['folder', 's3'])
def place(request, tmp_path):
    store = str(tmp_path / 'shared') if request.param == 'folder' else request.getfixturevalue(request.param)
    return f'{store}/unfinished/key'


def train(folder, steps: int):
    """What a training leaves in its folder after a checkpoint: the newest two, and a history of all steps."""
    os.makedirs(folder, exist_ok=True)
    for name in os.listdir(folder):
        if name not in ('history.json', f'ckpt-{steps - 1}'):
            os.remove(f'{folder}/{name}')
    file_io.write(f'{folder}/history.json', str(steps))
    file_io.write(f'{folder}/ckpt-{steps}', f'weights after {steps}')


def keep(taken: Snapshots, folder, steps: int):
    train(folder, steps)
    taken.keep(str(folder), steps)
    taken.wait()


def fetched(place, folder) -> tuple[int, dict[str, str]]:
    """(steps, name -> content) of what a new process finds."""
    found = Snapshots(place)
    found.fetch(str(folder))
    return found.steps, {name: file_io.read_text(f'{folder}/{name}') for name in file_io.list_files(str(folder))}


def of_steps(steps: int) -> tuple[int, dict[str, str]]:
    earlier = {f'ckpt-{steps - 1}': f'weights after {steps - 1}'} if steps > 1 else {}
    return steps, {**earlier, f'ckpt-{steps}': f'weights after {steps}', 'history.json': str(steps)}


def test_the_newest_is_fetched_and_what_it_does_not_need_is_gone(place, tmp_path):
    assert fetched(place, tmp_path / 'nothing') == (0, {})
    first = Snapshots(place)
    for steps in (1, 2, 3):
        keep(first, tmp_path / 'a', steps)
    assert file_io.list_files(first.folder) == ['ckpt-2', 'ckpt-3', 'history.json', MARKER]
    assert fetched(place, tmp_path / 'b') == of_steps(3)

    second = Snapshots(place)
    second.fetch(str(tmp_path / 'c'))
    assert file_io.list_folder(place) == [os.path.basename(first.folder)], 'removed before another is whole'
    keep(second, tmp_path / 'c', 4)
    assert file_io.list_folder(place) == [os.path.basename(second.folder)]
    assert fetched(place, tmp_path / 'd') == of_steps(4)


def test_only_what_changed_is_copied(place, tmp_path, monkeypatch):
    taken, copied = Snapshots(place), []
    keep(taken, tmp_path / 'a', 1)
    real = file_io.copy
    monkeypatch.setattr(file_io, 'copy', lambda source, target: (copied.append(os.path.basename(target)),
                                                                 real(source, target)))
    keep(taken, tmp_path / 'a', 2)
    assert sorted(copied) == ['ckpt-2', 'history.json']


@pytest.mark.parametrize('calls', range(8))
def test_a_process_that_is_killed_anywhere_leaves_the_old_or_the_new_one(calls, place, tmp_path, monkeypatch):
    """It is killed before the call number `calls` of what changes the place."""
    taken = Snapshots(place)
    keep(taken, tmp_path / 'a', 1)
    keep(taken, tmp_path / 'a', 2)
    made = []

    def counted(function, target):
        """The function, but it ends the process at the call. target: which of its arguments is a path of the place."""
        def call(*arguments):
            if arguments[target].startswith(place):
                made.append(function)
                if len(made) > calls:
                    raise SystemExit
            return function(*arguments)
        return call
    for name, target in {'copy': 1, 'write': 0, 'remove': 0, 'remove_folder': 0}.items():
        monkeypatch.setattr(file_io, name, counted(getattr(file_io, name), target))
    successor = Snapshots(place)
    successor.fetch(str(tmp_path / 'b'))
    train(tmp_path / 'b', 3)
    monkeypatch.setattr(threading, 'excepthook', lambda _: None)
    successor.keep(str(tmp_path / 'b'), 3)
    successor.wait()
    monkeypatch.undo()
    steps, files = fetched(place, tmp_path / 'c')
    assert (steps, files) == of_steps(3 if calls > 3 else 2)
    assert len(made) == min(calls + 1, 5)


def test_a_copy_that_fails_is_made_up_for_by_the_next(place, tmp_path, monkeypatch, caplog):
    taken = Snapshots(place)
    keep(taken, tmp_path / 'a', 1)

    def fail(*_):
        raise OSError('the network is down')
    monkeypatch.setattr(file_io, 'copy', fail)
    keep(taken, tmp_path / 'a', 2)
    assert 'step 2 could not be copied' in caplog.text and 'the network is down' in caplog.text
    assert taken.steps == 1 and fetched_steps(place) == 1
    monkeypatch.undo()
    keep(taken, tmp_path / 'a', 3)
    assert taken.steps == 3 and fetched(place, tmp_path / 'b') == of_steps(3)


def fetched_steps(place) -> int:
    return max(json.loads(file_io.read_text(f'{place}/{name}/{MARKER}'))['steps']
               for name in file_io.list_folder(place))


def test_two_attempts_at_once_go_on_and_what_is_left_is_whole(place, tmp_path):
    one, two = Snapshots(place), Snapshots(place)
    keep(one, tmp_path / 'one', 1)
    two.fetch(str(tmp_path / 'two'))
    keep(two, tmp_path / 'two', 2)  # removes the other's
    assert fetched(place, tmp_path / 'a') == of_steps(2)
    for steps in (2, 3):
        keep(one, tmp_path / 'one', steps)
    assert fetched(place, tmp_path / 'b') == of_steps(3)
    one.finish()
    keep(two, tmp_path / 'two', 3)
    keep(two, tmp_path / 'two', 4)
    assert fetched(place, tmp_path / 'c') == of_steps(4)


def test_one_with_a_missing_file_is_named_and_the_one_before_it_is_taken(place, tmp_path, caplog):
    early, late = Snapshots(place), Snapshots(place)
    keep(early, tmp_path / 'a', 1)
    keep(late, tmp_path / 'b', 1)
    keep(late, tmp_path / 'b', 2)
    file_io.remove(f'{late.folder}/ckpt-2')
    assert fetched(place, tmp_path / 'c') == of_steps(1)
    assert f'the snapshot in {late.folder} is not whole: ckpt-2 is missing' in caplog.text


def test_a_finished_training_stays_for_a_day_but_is_not_unfinished(place, tmp_path):
    done, other = Snapshots(place), Snapshots(f'{os.path.dirname(place)}/other')
    for taken in (done, other):
        keep(taken, tmp_path / os.path.basename(taken.folder), 1)
    done.finish()
    assert snapshots.unfinished(os.path.dirname(place)) == ['other']
    assert fetched(place, tmp_path / 'again') == of_steps(1), 'its results may not be where they belong'
    marker = file_io.read_json(f'{done.folder}/{MARKER}')
    file_io.write(f'{done.folder}/{MARKER}', json.dumps({**marker, 'finished': time.time() - 25 * 3600}))
    other.finish()
    assert file_io.list_folder(os.path.dirname(place)) == ['other']


def test_one_that_finds_all_steps_done_finishes_what_it_found(place, tmp_path):
    keep(Snapshots(place), tmp_path / 'a', 1)
    again = Snapshots(place)
    again.fetch(str(tmp_path / 'b'))
    again.finish()
    assert snapshots.unfinished(os.path.dirname(place)) == []


def test_a_snapshot_leads_out_of_no_folder(place, tmp_path):
    """Whoever may write to the place may not write to the machine."""
    taken = Snapshots(place)
    keep(taken, tmp_path / 'a', 1)
    marker = file_io.read_json(f'{taken.folder}/{MARKER}')
    file_io.write(f'{taken.folder}/{MARKER}', json.dumps({**marker, 'files': ['../outside']}))
    assert fetched(place, tmp_path / 'b') == (0, {})


def test_without_a_place_nothing_is_copied(tmp_path):
    none = Snapshots('')
    none.fetch(str(tmp_path))
    keep(none, tmp_path / 'a', 3)
    none.finish()
    assert none.steps == 3 and none.folder == '' and os.listdir(tmp_path) == ['a']
