"""Slow, idle, too many and broken clients of the REST server. No model is needed: each gets an error, or waits."""

import asyncio
import contextlib
import http.client
import json
import logging
import re
import socket
import time

import pytest
from aiohttp import web

from serving import connections, metrics
from serving.limits import Limits
from serving.server import ModelServer

PREDICT = b'POST /v1/models/m:predict HTTP/1.1\r\nHost: x\r\n'
STATUS = b'GET /v1/models/m HTTP/1.1\r\nHost: x\r\n\r\n'
LATE = 20  # seconds in which everything here happens even on a slow machine


@contextlib.contextmanager
def serving(tmp_path, **limits):
    with ModelServer(tmp_path, port=0, poll_seconds=60, limits=Limits(**limits)) as server:
        yield server


def connect(server, sent=b''):
    client = socket.create_connection((server.host, server.port), timeout=LATE)
    client.sendall(sent)
    return client


def answer(client):
    """(status, headers, JSON) of the reply; None if the server closes the connection without one."""
    response = http.client.HTTPResponse(client)
    try:
        response.begin()
    except (http.client.BadStatusLine, ConnectionError):
        return None
    return response.status, response.headers, json.loads(response.read())


def closed(client) -> bool:
    """Whether the server closes the connection."""
    try:
        return client.recv(1) == b''
    except ConnectionResetError:
        return True


def until_busy(server, count):
    deadline = time.monotonic() + LATE
    while len(server._front.server._open) - len(server._front.server._waiting) != count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def refused(bound):
    return metrics._REFUSALS.value(bound)


def test_headers_that_do_not_end_and_connections_that_say_nothing_are_closed(tmp_path):
    with serving(tmp_path, header_timeout_s=0.3, idle_timeout_s=60) as server:
        before = refused('header_timeout_s')
        silent, slow = connect(server), connect(server, b'GET / HTTP/1.1\r\nX: ')
        status, headers, reply = answer(slow)
        assert (status, headers['Connection']) == (408, 'close')
        assert reply['error'] == 'The headers took longer than 0.3 s (--header-timeout-s)'
        assert closed(slow) and closed(silent)
        assert refused('header_timeout_s') == before + 2


def test_an_idle_connection_is_closed_after_its_time(tmp_path):
    with serving(tmp_path, header_timeout_s=60, idle_timeout_s=0.3) as server:
        client = connect(server, STATUS)
        assert answer(client)[0] == 404
        assert closed(client)


def test_a_body_that_is_being_read_holds_no_place_and_has_its_time(tmp_path):
    with serving(tmp_path, max_requests=2, body_timeout_s=1.0) as server:
        unfinished = [connect(server, PREDICT + b'Content-Length: 9\r\n\r\n{') for _ in range(20)]
        client = connect(server, PREDICT + b'Content-Length: 2\r\n\r\n{}')
        assert answer(client)[0] == 404  # there is no such model, but there is a place
        for client in unfinished:
            status, headers, reply = answer(client)
            assert status == 408
            assert reply['error'] == 'No byte of the request body came for 1 s (--body-timeout-s)'
            assert closed(client)


def test_a_body_that_trickles_in_ends_with_the_requests_time(tmp_path):
    with serving(tmp_path, timeout_s=1.0, body_timeout_s=0.9) as server:
        client = connect(server, PREDICT + b'Content-Length: 1000\r\n\r\n{')
        client.settimeout(0.1)
        for _ in range(10 * LATE):
            client.sendall(b' ')
            with contextlib.suppress(TimeoutError):
                assert client.recv(12) == b'HTTP/1.1 504'
                return
        pytest.fail('The server still reads.')


def test_a_new_connection_takes_the_place_of_the_one_idle_for_longest(tmp_path):
    with serving(tmp_path, max_connections=3) as server:
        before = refused('max_connections')
        idle = [connect(server, STATUS) for _ in range(3)]
        for client in idle:
            assert answer(client)[0] == 404
        idle[0].sendall(STATUS)  # so it is not the one
        assert answer(idle[0])[0] == 404
        assert answer(connect(server, STATUS))[0] == 404
        assert closed(idle[1])
        for client in (idle[0], idle[2]):
            client.sendall(STATUS)
            assert answer(client)[0] == 404
        assert refused('max_connections') == before + 1


def test_a_connection_more_than_all_busy_ones_is_told_to_come_back(tmp_path):
    with serving(tmp_path, max_connections=3) as server:
        busy = [connect(server, PREDICT + b'Content-Length: 9\r\n\r\n{') for _ in range(3)]
        until_busy(server, 3)
        status, headers, reply = answer(connect(server))
        assert (status, headers['Retry-After'], headers['Connection']) == (503, '1', 'close')
        assert reply['error'] == ('The server is overloaded: 3 connections are busy (--max-connections). Try again '
                                  'later')
        busy[0].sendall(b'"a": 1} ')
        assert answer(busy[0])[0] == 404


def test_a_client_that_does_not_read_its_reply_is_dropped():
    async def check():
        ended = []

        async def handle(request):
            connection = request.protocol
            connection.busy()
            connection.sending()
            response = web.Response(body=bytes(64 << 20))
            try:
                await response.prepare(request)
                await response.write_eof()
            finally:
                ended.append(request.transport)
                connection.done()
            return response

        server = connections.Server(handle, Limits(body_timeout_s=0.2))
        listening = await asyncio.get_running_loop().create_server(server, '127.0.0.1', 0)
        reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname(), limit=1024)
        writer.write(STATUS)
        deadline = time.monotonic() + LATE
        while not ended:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert ended == [None]
        writer.close()
        listening.close()
        assert not server._open
    asyncio.run(check())


def test_what_is_not_http_gets_one_line_in_the_log(tmp_path, caplog):
    with serving(tmp_path) as server:
        with caplog.at_level(logging.WARNING):
            for nonsense in (b'\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n', b'GET / HTTP/9\r\n\r\n',
                             b'GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n'):
                client = connect(server, nonsense)
                status, _, reply = answer(client)
                assert status == 400 and reply['error']
                assert closed(client)
            status, _, reply = answer(connect(server, PREDICT + b'Transfer-Encoding: chunked\r\n\r\nzz\r\n'))
            assert status == 400
        lines = [record for record in caplog.records if record.name != 'polyvit' or 'answered with' in record.message]
        assert 3 <= len(lines) <= 4
        assert not any(record.exc_info or '\n' in record.message for record in lines)


def test_a_hundred_pipelined_requests_are_answered_in_order(tmp_path):
    with serving(tmp_path) as server:
        client = connect(server, STATUS * 100 + PREDICT + b'Connection: close\r\nContent-Length: 0\r\n\r\n')
        with client.makefile('rb') as file:
            assert re.findall(rb'HTTP/1.1 (\d+)', file.read()) == [b'404'] * 100 + [b'400']


def test_stop_waits_for_no_client(tmp_path):
    server = ModelServer(tmp_path, port=0, grpc_port=0, poll_seconds=60).start()
    idle = [connect(server, STATUS) for _ in range(5)]
    for client in idle:
        assert answer(client)[0] == 404
    idle += [connect(server), connect(server, b'GET / HT')]
    unfinished = connect(server, PREDICT + b'Content-Length: 9\r\n\r\n{')
    until_busy(server, 1)
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 10
    assert not server.unfinished
    assert all(closed(client) for client in idle)
    status, headers, reply = answer(unfinished)
    assert (status, headers['Connection'], headers['Retry-After']) == (503, 'close', '1')
    assert reply['error'].startswith('The server is shutting down.')
