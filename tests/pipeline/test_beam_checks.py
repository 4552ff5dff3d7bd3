"""What Beam pipelines need is asked for before a run, and what is missing is said with its host:port."""

import concurrent.futures
import contextlib
import dataclasses

import grpc
import pytest

from model_code.errors import ConfigError
from pipeline import checks as run_checks
from pipeline.beam import checks
from pipeline.beam.settings import Beam
from pipeline.config import load_config
from tests import portable_beam

DESCRIBE = '/org.apache.beam.model.job_management.v1.JobService/DescribePipelineOptions'


@contextlib.contextmanager
def server(*methods):
    """The localhost:port of a gRPC server that answers these methods with an empty message."""
    class Handler(grpc.GenericRpcHandler):
        def service(self, details):
            return grpc.unary_unary_rpc_method_handler(lambda *_: b'') if details.method in methods else None

    made = grpc.server(concurrent.futures.ThreadPoolExecutor(2), handlers=[Handler()])
    port = made.add_insecure_port('127.0.0.1:0')
    made.start()
    yield f'localhost:{port}'
    made.stop(None)


def check(**fields):
    checks.check(Beam(**{'runner': 'flink', 'image': 'i', **fields}))


def test_a_job_server_that_is_there():
    with server(DESCRIBE) as job_server, server() as pool:
        check(endpoint=job_server)
        check(endpoint=job_server, worker_pool=pool, image='')
        check(endpoint=job_server, worker_pool='loopback', image='')
        # The pool's address is how the cluster reaches it, and need not be one of this machine.
        check(endpoint=job_server, worker_pool='workers.of.a.cluster:50000', image='')


@pytest.mark.parametrize('runner, words', [('flink', 'the job server of Flink'), ('spark', 'the job server of Spark'),
                                           ('portable', 'local_job_service_main')])
def test_no_job_server(runner, words):
    address = f'localhost:{portable_beam.free_port()}'
    with pytest.raises(ConfigError, match=f'nothing answers at {address} .*the endpoint. Start there .*{words}'):
        check(runner=runner, endpoint=address)
    with pytest.raises(ConfigError, match='no host is called none.invalid'):
        check(runner=runner, endpoint='none.invalid:1')


def test_another_server():
    with server() as another:
        with pytest.raises(ConfigError, match=f'what answers at {another}, the endpoint, is no job server of Beam'):
            check(endpoint=another)


def test_no_worker_pool():
    address = f'localhost:{portable_beam.free_port()}'
    with server(DESCRIBE) as job_server:
        with pytest.raises(ConfigError, match=f'nothing answers at {address} .*worker_pool. Start .*--service_port'):
            check(endpoint=job_server, worker_pool=address, image='')


def test_what_runs_in_process_asks_nobody():
    check(runner='in_process', image='')
    check(endpoint='localhost:1', components=())


def test_a_run_asks_before_it_writes(tmp_path):
    demo = dataclasses.replace(load_config('demo'), root=str(tmp_path / 'root'))
    dataflow = Beam('dataflow', image='i', options=('--project=p', '--region=r', '--temp_location=gs://b/t'))
    for beam, words in ((Beam('portable', endpoint='localhost:1', image='i'), 'nothing answers at localhost:1'),
                        (dataflow, "do not reach this machine's folders.*Compile the config for Vertex AI")):
        with pytest.raises(ConfigError, match=words):
            run_checks.check(dataclasses.replace(demo, beam=beam))
    assert not (tmp_path / 'root').exists()
