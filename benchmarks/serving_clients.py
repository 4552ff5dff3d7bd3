"""Clients for the benchmark of serving, in a process of their own. They do little besides sending and receiving.

Run by benchmarks.serving: python -m benchmarks.serving_clients rest|grpc HOST PORT CLIENTS SECONDS PAUSE, with the body
of the request (for gRPC a PredictRequest) on standard input. Each client sends the same request again and again, and
sleeps for PAUSE seconds after each reply, for SECONDS or until SIGTERM. Prints JSON: the seconds of each answer, and
the failures.
"""

import json
import signal
import socket
import sys
import threading
import time

PATH = '/v1/models/polyvit:predict'
METHOD = '/tensorflow.serving.PredictionService/Predict'


def rest(host: str, port: int, body: bytes):
    """A function that asks once, over a connection that stays open. Any other answer than 200 raises OSError."""
    request = f'POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n'.encode() + body
    connection = socket.create_connection((host, port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive() -> bytes:
        piece = connection.recv(1 << 16)
        if not piece:
            raise OSError('the server closed the connection')
        return piece

    def ask():
        connection.sendall(request)
        head, separator, reply = b'', b'', b''
        while not separator:
            head, separator, reply = (head + reply + receive()).partition(b'\r\n\r\n')
        length = int(next(line for line in head.lower().split(b'\r\n') if line.startswith(b'content-length'))[15:])
        while len(reply) < length:
            reply += receive()
        if b' 200 ' not in head[:20]:
            raise OSError(f'{head[:30]!r} {reply[:300]!r}')
    return ask


def grpc(host: str, port: int, body: bytes):
    """As `rest`, over gRPC. The request is there as bytes, so that this process needs no TensorFlow."""
    import grpc as library
    call = library.insecure_channel(f'{host}:{port}').unary_unary(METHOD)
    call(body, wait_for_ready=True, timeout=60)
    return lambda: call(body, timeout=60)


def main():
    protocol, host, port, clients, seconds, pause = sys.argv[1:]
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    body = sys.stdin.buffer.read()
    taken: list[float] = []
    failures: list[str] = []
    end = time.monotonic() + float(seconds)

    def run():
        ask = None
        while time.monotonic() < end and not stopped.is_set():
            began = time.monotonic()
            try:
                ask = ask or {'rest': rest, 'grpc': grpc}[protocol](host, int(port), body)
                began = time.monotonic()
                ask()
            except Exception as error:
                failures.append(f'{type(error).__name__}: {error}'[:300])
                ask = None
                time.sleep(0.1)
            else:
                taken.append(time.monotonic() - began)
                time.sleep(float(pause))

    threads = [threading.Thread(target=run) for _ in range(int(clients))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    json.dump({'taken': taken, 'failures': failures}, sys.stdout)


if __name__ == '__main__':
    main()
