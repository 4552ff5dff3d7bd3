"""Reports of progress, and when they come; durations and numbers in words."""

import threading

import pytest

from model_code import words
from model_code.progress import Progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_reports_come_every_few_seconds_with_rate_and_estimate():
    reports, clock = [], Clock()
    progress = Progress(1_000, 'file', reports.append, clock=clock)
    for clock.now in (1.0, 2.0, 5.0, 6.0, 10.0):
        progress.add(100)
    assert reports == ['300 of 1,000 files (30%), 60.0 files/s, 12 seconds left',
                       '500 of 1,000 files (50%), 50.0 files/s, 10 seconds left']


def test_untimed_work_and_pauses_do_not_count_for_the_rate():
    reports, clock = [], Clock()
    progress = Progress(12, 'step', reports.append, clock=clock, done=1)
    clock.now = 60.0
    assert progress.add(1, timed=False) == 60.0 and progress.rate is None
    assert reports == ['2 of 12 steps (16%)']
    clock.now = 100.0
    progress.pause()
    clock.now = 104.0
    assert progress.add(2) == 4.0 and progress.rate == 0.5
    assert reports[1:] == ['4 of 12 steps (33%), 0.5 steps/s, 16 seconds left']


def test_the_end_is_reported_once():
    reports, clock = [], Clock()
    progress = Progress(2, 'file', reports.append, clock=clock)
    clock.now = 1.0
    progress.add(2)
    assert reports == []
    progress.finish()
    progress.finish()
    assert reports == ['2 of 2 files (100%), 2.0 files/s']


def test_a_slow_rate_keeps_its_digits():
    reports, clock = [], Clock()
    progress = Progress(100, 'step', reports.append, clock=clock)
    clock.now = 24.0
    progress.add(1)
    assert reports == ['1 of 100 steps (1%), 0.042 steps/s, 39 minutes and 36 seconds left']


def test_one_is_singular():
    reports = []
    Progress(1, 'file', reports.append).finish()
    assert reports == ['0 of 1 file (0%)']


def test_nothing_to_do():
    reports = []
    Progress(0, 'file', reports.append).finish()
    assert reports == ['0 of 0 files (0%)']


def test_threads_lose_no_count():
    progress = Progress(4_000, 'file', lambda text: None)
    threads = [threading.Thread(target=lambda: [progress.add(1) for _ in range(1_000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert progress.done == 4_000


@pytest.mark.parametrize('seconds, text', [
    (0, '0 seconds'), (0.04, 'under 0.1 seconds'), (0.05, '0.1 seconds'),
    (4.23, '4.2 seconds'), (5, '5 seconds'), (59.7, '1 minute'),
    (61.2, '1 minute and 1 second'), (119.6, '2 minutes'), (3599.6, '1 hour'), (7260, '2 hours and 1 minute'),
    (7205, '2 hours'), (90_100, '1 day and 1 hour'), (40 * 86_400, '40 days')])
def test_durations(seconds, text):
    assert words.duration(seconds) == text


@pytest.mark.parametrize('number, text', [(0, '0 tasks'), (1, '1 task'), (2_000, '2,000 tasks')])
def test_counts(number, text):
    assert words.count(number, 'task') == text


@pytest.mark.parametrize('value, text', [(0, '0'), (0.0005, '5.0e-4'), (0.12345, '0.1235'), (1500, '1500'),
                                         (12000, '12 k'), (3.2e6, '3.2 M'), (-2e9, '-2 G')])
def test_short_numbers(value, text):
    assert words.short_number(value) == text
