"""The reason of a failed Beam job, out of the texts that runners give. (tests/e2e/test_portable_beam.py makes some.)"""

import pytest

from pipeline import local_runner
from pipeline.beam import failures

WORKER = '''Traceback (most recent call last):
  File "site-packages/apache_beam/runners/worker/sdk_worker.py", line 313, in _execute
    response = task()
  File "site-packages/apache_beam/internal/cloudpickle_pickler.py", line 176, in loads
    unpickled = cloudpickle.loads(s)
{}
'''
JOB_SERVICE = '''Pipeline job-f060538f failed in state FAILED: Error running pipeline.
Traceback (most recent call last):
  File "site-packages/apache_beam/runners/portability/local_job_service.py", line 271, in _run_job
    self.result = self._invoke_runner()
RuntimeError: ''' + WORKER
FLINK = ('Pipeline BeamApp-flink-1126-0a5b failed in state FAILED: java.lang.RuntimeException: Error received from SDK '
         'harness for instruction 4: ' + WORKER)
NO_POOL = '''Pipeline job-9126fa6f failed in state FAILED: Error running pipeline.
Traceback (most recent call last):
  File "site-packages/grpc/_channel.py", line 1006, in _end_unary_response_blocking
    raise _InactiveRpcError(state)
grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with:
	status = StatusCode.UNAVAILABLE
	details = "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:50000: Failed to connect to remote host: connect: Connection refused (111)"
>
'''  # noqa: E501
TWICE = '''Traceback (most recent call last):
  File "mine.py", line 3, in f
    raise ValueError('bad')
ValueError: bad 1

During handling of the above exception, another exception occurred:

Traceback (most recent call last):
  File "apache_beam/runners/common.py", line 1609, in apache_beam.runners.common.DoFnRunner._reraise_augmented
ValueError: bad 1 [while running 'Read/ParDo(_WriteShard)']
'''


@pytest.mark.parametrize('text, reason', [
    (JOB_SERVICE.format("ModuleNotFoundError: No module named 'components'"),
     "The Beam workers cannot import this project (No module named 'components'). Start their pool where"),
    (FLINK.format("ModuleNotFoundError: No module named 'model_code.errors'"),
     "The Beam workers cannot import this project (No module named 'model_code.errors'). Start their pool where"),
    (FLINK.format("ModuleNotFoundError: No module named 'tensorflow_transform'"),
     "The Beam workers lack a package (No module named 'tensorflow_transform'). Install requirements.lock"),
    (FLINK.format("AttributeError: Can't get attribute '_Graph' on <module 'components.transform.executor' from 'x'>"),
     "The Beam workers have other versions of this project or of its packages (Can't get attribute '_Graph' on"),
    (FLINK.format("ImportError: cannot import name 'job_progress' from 'model_code' (/x)"),
     "The Beam workers have other versions of this project or of its packages (cannot import name 'job_progress' from"),
    (FLINK.format("OSError: [Errno 28] No space left on device: '/x' [while running 'Read']"),
     "OSError: [Errno 28] No space left on device: '/x'"),
    (TWICE, 'ValueError: bad 1'),
    (NO_POOL, 'Nothing answers at 127.0.0.1:50000, which the job server asked for workers. Start a worker pool there'),
    ('Pipeline A failed in state FAILED: java.io.IOException: Insufficient number of network buffers: required 17',
     'Flink has too few network buffers'),
    ('Pipeline A failed in state FAILED: java.lang.OutOfMemoryError: Metaspace', "Flink's metaspace is full"),
    ('Pipeline A failed in state FAILED: unknown error', 'Pipeline A failed in state FAILED: unknown error'),
])
def test_reasons(text, reason):
    assert failures.reason(text).startswith(reason)
    assert '\n' not in failures.reason(text)


def test_other_errors_keep_their_type_and_first_line():
    assert failures.reason('No module named x') is None
    assert local_runner.error_sentence(KeyError('x\ny')) == "KeyError: 'x\\ny'"
    assert local_runner.error_sentence(ValueError('one\ntwo')) == 'ValueError: one'


def test_a_stop_in_a_java_stack_keeps_its_sentence():
    text = FLINK.format('model_code.errors.PipelineStop: Task a: no.\nNot now.')
    error = RuntimeError(f'{text}\n\tat org.apache.beam.X(X.java:1)\n')
    assert local_runner.stop_sentence(error) == 'Task a: no.\nNot now.'
