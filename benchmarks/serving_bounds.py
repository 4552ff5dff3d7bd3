"""Memory and time of the server under attack, beside those under normal traffic.

Run: .venv/bin/python -m benchmarks.serving_bounds [ATTACK ...] [--fuzz-seconds 120]
Exit code 1 if a target is missed.

`polyvit serve` runs in a process of its own, with its default bounds; the model takes images, sounds and clips, has 4
layers of width 128, and is not trained. Memory is the high-water mark of the process (VmHWM), set back before each
part. Normal traffic: two clients that send photos of 12 million pixels by fours, then single photos, sounds of 8 s and
clips of 45 frames. Then come the attacks; a line says how high the memory rose, how long the attack took, and what it,
or a photo beside it, was answered.
Targets: at most 1.5 times the memory of normal traffic; each photo after an attack is answered; 25 seconds to stop.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import gzip
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import grpc

from benchmarks import report
from tests.serving import fuzzing

PREDICT = '/tensorflow.serving.PredictionService/Predict'
POST = b'POST /v1/models/polyvit:predict HTTP/1.1\r\nHost: x\r\n'
MOST = 1.5
NORMAL_SECONDS = 20


def make_model(directory: str):
    from model_code.data import Data
    from model_code.export import ServedModel, save
    from model_code.modalities import AudioInput, ImageInput, VideoInput
    from model_code.polyvit import PolyViT
    from model_code.settings import ModelConfig
    from model_code.tasks import Mixture, Recipe, Task
    mixture = Mixture(tuple(Task(name, modality, data=Data('/none'), recipe=Recipe(steps=1, batch_size=1))
                            for name, modality in (('photos', 'image'), ('sounds', 'audio'), ('clips', 'video'))))
    config = ModelConfig(layers=4, width=128, heads=4, mlp_width=256, inputs=(
        ImageInput(96, 96, (16, 16)), AudioInput(frames=208, mel_bins=64), VideoInput(8, 64, 64, (2, 16, 16))))
    labels = {task.name: [f'class {i}' for i in range(10)] for task in mixture.tasks}
    samples = {'photos': [fuzzing.jpeg(64, 48)], 'sounds': [fuzzing.wav(2.0)], 'clips': [fuzzing.jpeg(96, 72)] * 8}
    model = PolyViT(mixture, {name: len(classes) for name, classes in labels.items()}, config)
    save(ServedModel(model, mixture, labels, {'sounds': (0.0, 1.0)}), directory, {}, samples)


class Served:
    """The process of `polyvit serve`, and ways to ask it."""

    def __init__(self, folder: pathlib.Path):
        self.errors = folder / f'errors-{time.time_ns()}.txt'
        with open(self.errors, 'w', encoding='utf-8') as errors:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'polyvit', 'serve', str(folder / 'models'), '--port', '0', '--grpc-port', '0'],
                stdout=subprocess.PIPE, stderr=errors, encoding='utf-8')
        assert self.process.stdout is not None
        self.process.stdout.readline()
        found = re.search(r':(\d+)/v1.* \(gRPC 127.0.0.1:(\d+)\)', self.process.stdout.readline())
        assert found, self.errors.read_text(encoding='utf-8')
        self.rest, self.rpc = map(int, found.groups())

    def memory(self, field: str) -> int:
        """MiB: VmRSS is now, VmHWM the most since `forget`."""
        status = pathlib.Path(f'/proc/{self.process.pid}/status').read_text(encoding='ascii')
        found = re.search(rf'{field}:\s+(\d+) kB', status)
        assert found
        return int(found[1]) // 1024

    def forget(self):
        pathlib.Path(f'/proc/{self.process.pid}/clear_refs').write_text('5', encoding='ascii')

    def connect(self, sent: bytes = b'', port: int = 0) -> socket.socket:
        client = socket.create_connection(('127.0.0.1', port or self.rest), timeout=60)
        client.sendall(sent)
        return client

    def post(self, body: bytes, headers: bytes = b'') -> str:
        """The status of the reply, with the beginning of its error."""
        reply = fuzzing.send('127.0.0.1', self.rest, POST + b'Connection: close\r\n%sContent-Length: %d\r\n\r\n%s' % (
            headers, len(body), body), 60)
        status, _, rest = reply.partition(b'\r\n')
        found = re.search(rb'{"error": "([^"]{0,70})', rest)
        return status[9:12].decode() + (f' {found[1].decode()}' if found else '')

    def ask(self, signature: str, *media: bytes | list[bytes]) -> str:
        return self.post(request(signature, *media))

    def call(self, **fields) -> str:
        """The status of a gRPC Predict with an image tensor. fields: of the TensorProto."""
        from tensorflow_serving.apis import predict_pb2
        message = predict_pb2.PredictRequest()
        message.model_spec.name, message.model_spec.signature_name = 'polyvit', 'photos'
        tensor = message.inputs['image']
        tensor.dtype = 7
        tensor.string_val.extend(fields['values'])
        for size in fields['shape']:
            tensor.tensor_shape.dim.add(size=size)
        with grpc.insecure_channel(f'127.0.0.1:{self.rpc}') as channel:
            try:
                channel.unary_unary(PREDICT)(message.SerializeToString(), timeout=60,
                                             compression=fields.get('compression'))
                return 'OK'
            except grpc.RpcError as error:
                return f'{error.code().name} {error.details()[:70]}'  # pyright: ignore


def request(signature: str, *media: bytes | list[bytes]) -> bytes:
    def encoded(one):
        return [encoded(part) for part in one] if isinstance(one, list) else {'b64': base64.b64encode(one).decode()}
    return json.dumps({'signature_name': signature, 'instances': [encoded(one) for one in media]}).encode()


def normal(server: Served):
    photo, small = fuzzing.jpeg(4000, 3000), fuzzing.jpeg(640, 480)
    sound, clip = fuzzing.wav(8.0), [fuzzing.jpeg(320, 240)] * 45

    def client(_):
        until = time.monotonic() + NORMAL_SECONDS
        while time.monotonic() < until:
            for signature, media in (('photos', [photo] * 4), ('photos', [small]), ('sounds', [sound]),
                                     ('clips', [clip])):
                answer = server.ask(signature, *media)
                assert answer == '200', answer
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(client, range(2)))


def many(server: Served, count: int, sent: bytes, port: int = 0) -> contextlib.ExitStack:
    """So many connections, which send some bytes and go on to hold."""
    stack = contextlib.ExitStack()
    for _ in range(count):
        with contextlib.suppress(OSError):
            stack.enter_context(server.connect(sent, port))
    return stack


def cards(server):
    body = b'{"signature_name": "model_card", "instances": [' + b'"",' * 299_999 + b'""]}'
    return server.post(gzip.compress(body), b'Content-Encoding: gzip\r\n')


def small_pictures(server):
    one = fuzzing.png(1, 1)
    return server.ask('photos', *[one] * 64_000)


def repeated_value(server):
    return server.call(values=[fuzzing.png(1, 1) + bytes(20_000)], shape=[300_000])


def large_picture(server):
    return server.ask('photos', fuzzing.png(20_000, 20_000))


def pictures_at_the_bound(server):
    body = request('photos', fuzzing.png(8_000, 8_000))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return ', '.join(sorted({text[:40] for text in pool.map(lambda _: server.post(body), range(8))}))


def gzip_bombs(server):
    body = gzip.compress(bytes(1 << 30), 1)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return ', '.join(sorted(set(pool.map(lambda _: server.post(body, b'Content-Encoding: gzip\r\n'), range(8)))))


def numbers(server):
    bodies = [b'{"instances": [' + b'1.5,' * 8_000_000 + b'1]}', b'{"instances": ' + b'[' * 10_000_000,
              b'{"instances": [' + b'{},' * 10_000_000 + b'1]}', b'{"instances": [' + b'1.5,' * 400_000 + b'1]}']
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        return ', '.join(sorted({text[:40] for text in pool.map(server.post, bodies * 4)}))


def unfinished_bodies(server):
    with many(server, 200, POST + b'Content-Length: 1000\r\n\r\n{'):
        return server.ask('photos', fuzzing.jpeg(64, 48))


def large_unfinished_bodies(server):
    with many(server, 12, POST + b'Content-Length: 30000000\r\n\r\n' + bytes(29_000_000)):
        return server.ask('photos', fuzzing.jpeg(64, 48))


def idle_connections(server):
    with many(server, 1000, b'GET / HTTP/1.1\r\nX: '), many(server, 2000, b''):
        return server.ask('photos', fuzzing.jpeg(64, 48))


def idle_grpc_connections(server):
    with many(server, 1000, b'', server.rpc):
        return server.call(values=[fuzzing.jpeg(64, 48)], shape=[1])


def grpc_gzip_bomb(server):
    return server.call(values=[bytes(400 << 20)], shape=[1], compression=grpc.Compression.Gzip)


def replies_that_nobody_reads(server):
    with many(server, 100, b'GET /v1/models/polyvit/metadata HTTP/1.1\r\nHost: x\r\n\r\n' * 1000):
        return server.ask('photos', fuzzing.jpeg(64, 48))


def garbage(server):
    for _ in range(500):
        fuzzing.send('127.0.0.1', server.rest, b'\x16\x03\x01 nonsense\r\n\r\n', 5)
    return f'{len(server.errors.read_text(encoding="utf-8").splitlines())} lines on standard error since the start'


def fuzz(server, seconds: float):
    until = time.monotonic() + seconds

    def client(seed):
        source, count = fuzzing.Fuzz(seed, 'polyvit', {'image': 'photos', 'audio': 'sounds', 'frames': 'clips'}), 0
        with grpc.insecure_channel(f'127.0.0.1:{server.rpc}') as channel:
            while time.monotonic() < until:
                fuzzing.send('127.0.0.1', server.rest, source.http(), 3)
                with contextlib.suppress(grpc.RpcError):
                    channel.unary_unary(PREDICT)(source.grpc(), timeout=30)
                count += 2
        return count
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        return f'{sum(pool.map(client, range(4))):,} requests'


ATTACKS = {
    '300,000 model cards': cards, '64,000 one-pixel pictures': small_pictures, 'gRPC shape [300000]': repeated_value,
    'PNG 20000 x 20000': large_picture, '8 PNGs 8000 x 8000': pictures_at_the_bound,
    '8 gzip bombs of 1 GiB': gzip_bombs, 'gRPC gzip bomb of 400 MiB': grpc_gzip_bomb,
    '16 JSON bodies of 32 MB': numbers, '200 unfinished bodies': unfinished_bodies,
    '12 unfinished bodies of 30 MB': large_unfinished_bodies, '3,000 idle connections': idle_connections,
    '1,000 idle gRPC connections': idle_grpc_connections, '100,000 replies unread': replies_that_nobody_reads,
    '500 times no HTTP': garbage, 'fuzz': fuzz}


def stop(server: Served) -> float:
    """SIGTERM with predictions under way, unfinished bodies and idle connections."""
    body = request('photos', *[fuzzing.jpeg(4000, 3000)] * 6)
    with many(server, 20, POST + b'Content-Length: 1000\r\n\r\n{'), many(server, 50, b''):
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            running = [pool.submit(server.post, body) for _ in range(4)]
            time.sleep(0.5)
            began = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(60)
            seconds = time.monotonic() - began
            answers = sorted(future.result() for future in running)
    print(f'| SIGTERM under way | | | {seconds:.1f} | exit code {code}; requests under way: {", ".join(answers)} |')
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('attacks', nargs='*', metavar='ATTACK', help=f'of: {"; ".join(ATTACKS)} (default: all)')
    parser.add_argument('--fuzz-seconds', type=float, default=120.0)
    parsed = parser.parse_args()
    names = report.chosen(parser, parsed.attacks, ATTACKS)
    told = report.Report()
    with tempfile.TemporaryDirectory() as folder:
        make_model(f'{folder}/models/1')
        server = Served(pathlib.Path(folder))
        try:
            before = server.memory('VmHWM')
            normal(server)
            usual = server.memory('VmHWM')
            print(f'Loaded: {before} MiB. Normal traffic: {usual} MiB.\n')
            print('| attack | MiB before | MiB at most | seconds | answer |\n| --- | --- | --- | --- | --- |')
            worst = 0
            for name in names:
                server.forget()
                start, began = server.memory('VmRSS'), time.monotonic()
                answer = fuzz(server, parsed.fuzz_seconds) if name == 'fuzz' else ATTACKS[name](server)
                seconds, peak = time.monotonic() - began, server.memory('VmHWM')
                worst = max(worst, peak)
                print(f'| {name} | {start} | {peak} | {seconds:.1f} | {answer} |', flush=True)
                after = server.ask('photos', fuzzing.jpeg(64, 48))
                assert after == '200', f'After {name} a photo is answered with {after}.'
            seconds = stop(server)
            print()
            told('peak under attack, beside normal traffic', worst / usual, MOST, False, f'{worst} and {usual} MiB')
            told('seconds to stop', seconds, 25, False, 'with predictions, bodies and idle connections under way')
        finally:
            server.process.kill()
            server.process.communicate()
    return int(told.missed > 0)


if __name__ == '__main__':
    sys.exit(main())
