"""Beam's runners, with what a run needs beside them.

A job on other machines is named on the screen, reports its progress by its own metrics, and is cancelled when the run
is interrupted. Processes of this machine import nothing from the current folder.

`Beam.arguments` names these classes to Beam, which takes any runner by its import path.
"""

import contextlib
import shlex
import threading
from collections.abc import Callable, Iterator

import grpc
from apache_beam.metrics.metric import MetricsFilter
from apache_beam.options.pipeline_options import PortableOptions
from apache_beam.portability import python_urns
from apache_beam.runners.dataflow import dataflow_runner
from apache_beam.runners.portability import portable_runner
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.runner import PipelineResult

from model_code import interruption, isolated, job_progress
from model_code.errors import PipelineStop
from model_code.logger import logger

CANCEL_SECONDS = 5.0
METRICS_SECONDS = 5.0  # between two questions for a job's metrics


class ProcessesDirectRunner(FnApiRunner):
    """Runs a pipeline in processes of this machine. DirectRunner would start them by `python -m`."""
    variables: tuple[str, ...] = ()
    """Environment variables that the processes get besides those of this one, as NAME=VALUE."""

    def run_via_runner_api(self, pipeline_proto, options):
        worker = shlex.join(['env', *self.variables,
                             *isolated.python('-m', 'apache_beam.runners.worker.sdk_worker_main')])
        for environment in pipeline_proto.components.environments.values():
            if environment.urn == python_urns.SUBPROCESS_SDK:
                environment.payload = worker.encode()
        return super().run_via_runner_api(pipeline_proto, options)


class ProcessesWithoutGpuRunner(ProcessesDirectRunner):
    """The same for what decodes media and computes on CPUs. TensorFlow would take some of the GPU's memory for each
    process, which together may be all of a small one's."""
    variables = ('CUDA_VISIBLE_DEVICES=-1',)


class PortableRunner(portable_runner.PortableRunner):
    """Runs a pipeline as a job of a job server (Flink, Spark, Beam's own)."""

    def create_job_service_handle(self, job_service, options):
        handle = super().create_job_service_handle(job_service, options)
        handle.timeout = None  # that of the options, a minute, would also end the stream of a running job's states
        return handle

    def run_portable_pipeline(self, pipeline, options):
        endpoint = options.view_as(PortableOptions).job_endpoint
        try:
            result = super().run_portable_pipeline(pipeline, options)
        except grpc.FutureTimeoutError:  # it has no message
            raise PipelineStop(f'The job server at {endpoint} does not answer any more.') from None

        def counters() -> list:
            result._metrics = None  # or the first answer would be given for ever
            return _counters(result)
        return Job(result, f'job {result._job_id} on {endpoint}', counters)


class DataflowRunner(dataflow_runner.DataflowRunner):
    """Runs a pipeline as a job of Dataflow. (Beam checks the options of Dataflow by this name of the class.)"""

    def run_pipeline(self, pipeline, options, pipeline_proto=None):
        result = super().run_pipeline(pipeline, options, pipeline_proto)
        return Job(result, f'job {result.job_id()} on Dataflow', lambda: _counters(result))


def _counters(result: PipelineResult) -> list:
    return result.metrics().query(MetricsFilter().with_namespace(job_progress.NAMESPACE))['counters']


class Job(PipelineResult):
    """The result of a pipeline that runs elsewhere. name: such as 'job 7 on flink:8099'. counters: asks for those of
    the job (MetricResult).
    """

    def __init__(self, result: PipelineResult, name: str, counters: Callable[[], list]):
        super().__init__('')
        self._result, self._name, self._counters = result, name, counters

    @property
    def state(self):
        return self._result.state

    def metrics(self):
        return self._result.metrics()

    def cancel(self):
        return self._result.cancel()

    def wait_until_finish(self, duration=None):
        """Waits for the job's end. If a signal or Ctrl-C ends the waiting, the job is cancelled."""
        with interruption.cancelling(self._cancel_in_time), self._progress():
            logger.info('%s has started.', self._name.capitalize())
            return self._result.wait_until_finish(duration)

    def _cancel_in_time(self) -> str:
        """Cancels the job. Returns a sentence that says whether it was."""
        errors: list[Exception] = []

        def cancel():
            try:
                self.cancel()
            except Exception as error:
                errors.append(error)
        thread = threading.Thread(target=cancel, daemon=True)
        thread.start()
        thread.join(CANCEL_SECONDS)
        if thread.is_alive() or errors:
            why = f'{type(errors[0]).__name__}: {errors[0]}' if errors else f'no answer in {CANCEL_SECONDS:g} seconds'
            return f'{self._name.capitalize()} may still be running; cancel it there ({why.splitlines()[0][:200]}).'
        return f'{self._name.capitalize()} was cancelled.'

    @contextlib.contextmanager
    def _progress(self) -> Iterator[None]:
        """While it is open, what the job counts is reported, if a component said what it counts."""
        ended = threading.Event()
        thread = threading.Thread(target=self._report, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()

    def _report(self, ended: threading.Event):
        while job_progress.is_expected() and not ended.wait(METRICS_SECONDS):
            try:
                found = sum(counter.result or 0 for counter in self._counters())
            except Exception as error:  # it is no reason to stop waiting
                logger.debug('The metrics of %s: %s', self._name, error)
                continue
            job_progress.report(found)
