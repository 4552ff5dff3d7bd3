"""Signals of this process: where they raise KeyboardInterrupt, and where they wait for what saves."""

import os
import signal
import threading

import pytest

from model_code import interruption

BOTH = pytest.mark.parametrize('number', interruption.SIGNALS)


@pytest.fixture(autouse=True)
def nothing_ignored():
    """A test that is started with nohup, or in the background of a script, inherits that some signals are ignored."""
    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL,
                signal.SIGTERM: signal.SIG_DFL}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number):
    os.kill(os.getpid(), number)


@BOTH
def test_a_signal_raises_and_is_remembered_until_the_end_of_the_block(number):
    before = {n: signal.getsignal(n) for n in interruption.SIGNALS}
    with interruption.handled():
        assert interruption.requested() is None
        with pytest.raises(KeyboardInterrupt), interruption.handled():
            send(number)
        assert interruption.requested() == number
    assert interruption.requested() is None
    assert {n: signal.getsignal(n) for n in interruption.SIGNALS} == before


@BOTH
def test_what_saves_goes_on_after_the_first_signal_but_not_after_the_second(number):
    after = []
    with interruption.handled():
        with pytest.raises(KeyboardInterrupt), interruption.postponed(lambda: 'half is saved'):
            assert interruption.saving() and interruption.requested() is None
            send(number)
            after.append(interruption.requested())
            send(signal.SIGINT)
            after.append('second')
        assert after == [number]
        assert not interruption.saving() and interruption.kept() == 'half is saved'
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGTERM)
        assert interruption.requested() == number  # the first one counts


def test_without_a_signal_nothing_is_left_to_say():
    with interruption.handled():
        with interruption.postponed(lambda: 'half is saved'):
            assert interruption.kept() == 'half is saved'
        assert interruption.kept() == ''


@BOTH
def test_what_saves_handles_signals_that_nobody_handles(number):
    before = signal.getsignal(number)
    with interruption.postponed(str):
        send(number)
        assert interruption.requested() == number
    assert interruption.requested() is None and signal.getsignal(number) == before


def test_an_ignored_signal_stays_ignored(monkeypatch):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with interruption.handled():
            send(signal.SIGINT)
            assert interruption.requested() is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_handled():
    found = []

    def run():
        with interruption.handled(), interruption.postponed(str):
            found.append((interruption.saving(), signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [(False, before)]
