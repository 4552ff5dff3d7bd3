"""A job elsewhere: its progress on the screen, and what becomes of it when the run is interrupted."""

import logging
import threading
import types

import pytest
from apache_beam.runners.runner import PipelineResult

from model_code import interruption, job_progress
from model_code.logger import logger
from pipeline.beam import runners


class Result(PipelineResult):
    """The result of a job that counts files, and ends when it has counted all; or that raises what it is given."""

    def __init__(self, counts=(), raises=None, cancel=lambda: None):
        super().__init__('RUNNING')
        self._counts, self._raises, self._cancel = list(counts), raises, cancel
        self._all_counted = threading.Event()

    def counters(self):
        if len(self._counts) == 1:
            self._all_counted.set()
        return [types.SimpleNamespace(result=self._counts.pop(0))] if self._counts else []

    def wait_until_finish(self, duration=None):
        if self._raises:
            raise self._raises
        assert self._all_counted.wait(60)
        return 'DONE'

    def cancel(self):
        self._cancel()


def test_its_own_counters_are_the_progress(monkeypatch, caplog):
    monkeypatch.setattr(runners, 'METRICS_SECONDS', 0.01)
    monkeypatch.setattr(job_progress.Progress, 'add', lambda self, count: setattr(self, 'done', self.done + count)
                        or self._report(f'{self.done} of {self.total}'))
    result = Result([None, 3, 3, 7, 12])
    with caplog.at_level(logging.INFO, logger.name), job_progress.expected(
            10, 'file', lambda text, extra: logger.info('read %s', text, extra=extra)):
        assert runners.Job(result, 'job 7 on h:1', result.counters).wait_until_finish() == 'DONE'
    assert [record.getMessage() for record in caplog.records] == [
        'Job 7 on h:1 has started.', 'read 3 of 10', 'read 7 of 10', 'read 10 of 10']
    assert caplog.records[2].progress[:2] == (7, 10)
    assert not job_progress.is_expected()


def refuse():
    raise RuntimeError('no such job\nat all')


@pytest.mark.parametrize('cancel, sentence', [
    (lambda: None, 'Job 7 on h:1 was cancelled.'),
    (refuse, 'Job 7 on h:1 may still be running; cancel it there (RuntimeError: no such job).'),
    (threading.Event().wait, 'Job 7 on h:1 may still be running; cancel it there (no answer in 0.1 seconds).')])
def test_an_interruption_cancels_it(monkeypatch, cancel, sentence):
    monkeypatch.setattr(runners, 'CANCEL_SECONDS', 0.1)
    result = Result(raises=KeyboardInterrupt(), cancel=cancel)
    with interruption.handled():
        with pytest.raises(KeyboardInterrupt):
            runners.Job(result, 'job 7 on h:1', result.counters).wait_until_finish()
        assert interruption.cancel_elsewhere() == sentence


def test_a_failure_cancels_nothing():
    cancelled = []
    result = Result(raises=RuntimeError('bad'), cancel=lambda: cancelled.append(1))
    with pytest.raises(RuntimeError, match='bad'):
        runners.Job(result, 'job 7 on h:1', result.counters).wait_until_finish()
    assert not cancelled and not interruption.works_elsewhere()
