"""Checks before a run that what Beam pipelines need is there. They take seconds; Beam itself would wait a minute."""

import socket

from model_code.errors import ConfigError
from pipeline.beam.settings import JOB_SERVERS, LOOPBACK, Beam

SECONDS = 5.0  # for each question

# What to start, by runner.
_SERVERS = {
    'flink': 'the job server of Flink (java -jar beam-runners-flink-...-job-server-....jar --flink-master=HOST:8081)',
    'spark': 'the job server of Spark (java -jar beam-runners-spark-...-job-server-....jar '
             '--spark-master-url=spark://HOST:7077)',
    'portable': "a job server, such as Beam's own for one machine: python -m "
                'apache_beam.runners.portability.local_job_service_main --port=PORT',
}
_POOL = 'a worker pool: python -m apache_beam.runners.worker.worker_pool_main --service_port=PORT'


def check(beam: Beam):
    """Raises ConfigError if the job server or the worker pool that a config names does not answer, or no
    credentials for Dataflow are found.
    """
    if beam.components and beam.runner == 'dataflow':
        _check_login()
    if not beam.components or beam.runner not in JOB_SERVERS:
        return
    server = f'{_SERVERS[beam.runner]} (docs/beam.md)'
    check_port('endpoint', beam.endpoint, server)
    _check_job_server(beam.endpoint, server)
    # A pool's address is how the cluster reaches it. Only a cluster on this machine reaches it as this process does.
    if beam.worker_pool not in ('', LOOPBACK) and is_here(beam.endpoint) and is_here(beam.worker_pool):
        check_port('worker_pool', beam.worker_pool, f'{_POOL} (docs/beam.md)')


def _check_login():
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError
    try:
        google.auth.default()
    except DefaultCredentialsError as error:
        raise ConfigError(f'Beam: no credentials for Dataflow ({str(error).splitlines()[0]}) Run `gcloud auth '
                          'application-default login`, or name the key of a service account in '
                          'GOOGLE_APPLICATION_CREDENTIALS.') from None


def is_here(address: str) -> bool:
    return address.rpartition(':')[0] in ('localhost', '127.0.0.1', '[::1]', '::1')


def check_port(field: str, address: str, server: str):
    """Raises ConfigError if nothing listens at host:port. server: what should, and how to start it."""
    host, _, port = address.rpartition(':')
    try:
        socket.create_connection((host.strip('[]'), int(port)), SECONDS).close()
    except socket.gaierror:
        raise ConfigError(f'Beam: {field} is {address}, but no host is called {host}.') from None
    except OSError as error:
        why = 'within 5 seconds' if isinstance(error, TimeoutError) else f'({error.strerror})'
        raise ConfigError(f'Beam: nothing answers at {address} {why}, which is the {field}. Start there '
                          f'{server}') from None


def _check_job_server(endpoint: str, server: str):
    """Raises ConfigError if what listens there is no job server of Beam.

    It is asked for its pipeline options, an empty message, so that Beam need not be imported, which takes seconds.
    """
    import grpc
    with grpc.insecure_channel(endpoint) as channel:
        ask = channel.unary_unary('/org.apache.beam.model.job_management.v1.JobService/DescribePipelineOptions',
                                  request_serializer=bytes, response_deserializer=bytes)
        try:
            grpc.channel_ready_future(channel).result(SECONDS)
            ask(b'', timeout=SECONDS)
        except (grpc.RpcError, grpc.FutureTimeoutError):
            raise ConfigError(f'Beam: what answers at {endpoint}, the endpoint, is no job server of Beam. Give the '
                              f'address of {server}') from None
