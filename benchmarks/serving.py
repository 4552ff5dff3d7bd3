"""Speed, fairness and memory of the embedded server, beside the bare model in the same run.

Run: .venv/bin/python -m benchmarks.serving [throughput fairness all_tasks start swaps load] [--turns 5] [--seconds 3]
Exit code 1 if a target is missed.

The model is exported as a run does, and not trained; --size demo is that of `make demo`, --size nano has photos of 224
pixels. The clients run in another process. What is compared takes turns; a ratio is the median over the turns.

- throughput: images per second of 8 clients that send one image each, beside a loop that runs the model on batches of
  8; the time of one image, beside the direct call; over REST and gRPC, with and without batches. Beside both, what
  servers do that only answer: aiohttp's and gRPC's own, with the same requests and replies, and no model. The time of
  one image is that of h2load, a client in C that speaks both protocols (Debian's package nghttp2-client): beside that
  of a socket, gRPC's client for Python would count against gRPC.
- fairness: the time of one image while two or four clients send 4,000 images at once, beside that of one image alone.
- all_tasks: the signature of all tasks of a modality, beside that of one.
- start: from the start of a process until the server is ready, beside a process that loads the SavedModel and replays
  its warm-up requests; what the warm-up takes, beside what the first requests take without it.
- swaps: memory over 50 versions of a model of one task, one after the other, while clients ask.
- load: 8 clients for a minute, three pushes and a corrupt one: no request may fail, each push must be served while
  they ask, and the corrupt one be tried and refused. On a busy machine it takes as long as that takes.
"""

import argparse
import base64
import contextlib
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')

import numpy as np
import psutil

from benchmarks import serving_clients
from benchmarks.report import Report, chosen
from model_code import words
from serving.saved_model import SavedModel
from serving.server import ModelServer

TASKS = (('digits', 'image'), ('colours', 'image'), ('shapes', 'image'), ('tones', 'audio'))
# layers, width, heads, width of the MLP, side of the input, patch; side of the photos that are sent
SIZES = {'demo': ((2, 64, 4, 128), (32, 8), 32), 'nano': ((4, 128, 4, 512), (96, 16), 224)}
CLIENTS = 8
LARGE = 4_000  # images


def make_model(directory: str, size: str, tasks=TASKS) -> bytes:
    """Exports a model of these tasks. Returns the JPEG image that the clients send."""
    import io

    import soundfile
    from PIL import Image

    from model_code.data import Data
    from model_code.export import ServedModel, save
    from model_code.modalities import AudioInput, ImageInput
    from model_code.polyvit import PolyViT
    from model_code.settings import ModelConfig
    from model_code.tasks import Mixture, Recipe, Task
    (layers, width, heads, mlp_width), (side, patch), photo_side = SIZES[size]
    mixture = Mixture(tuple(Task(name, modality, data=Data('/none'), recipe=Recipe(steps=1, batch_size=1))
                            for name, modality in tasks))
    model = PolyViT(mixture, {name: 10 for name, _ in tasks}, ModelConfig(
        layers=layers, width=width, heads=heads, mlp_width=mlp_width,
        inputs=(ImageInput(side, side, (patch, patch)), AudioInput(frames=96, mel_bins=64))))
    photo, sound = io.BytesIO(), io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)
    Image.fromarray(pixels).resize((photo_side, photo_side), Image.Resampling.BICUBIC).save(photo, 'JPEG', quality=88)
    soundfile.write(sound, 0.4 * np.sin(np.arange(16_000) / 6), 16_000, format='WAV')
    samples = {'image': [photo.getvalue()], 'audio': [sound.getvalue()]}
    save(ServedModel(model, mixture, {name: [f'class {i}' for i in range(10)] for name, _ in tasks},
                     {name: (0.0, 1.0) for name, modality in tasks if modality == 'audio'}),
         directory, {}, {name: samples[modality] for name, modality in tasks})
    return photo.getvalue()


def push(version: str, base: pathlib.Path, number: int):
    shutil.copytree(version, base / f'.{number}')
    os.rename(base / f'.{number}', base / str(number))


def rest_body(image: bytes, count: int = 1) -> bytes:
    return json.dumps({'signature_name': 'digits',
                       'instances': [{'b64': base64.b64encode(image).decode()}] * count}).encode()


def grpc_body(image: bytes) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2
    request = predict_pb2.PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = 'polyvit', 'digits'
    request.inputs['image'].CopyFrom(tf.make_tensor_proto([image]))
    return request.SerializeToString()


class NoModel:
    """Servers on aiohttp and on gRPC that give the same reply to every request: what HTTP and gRPC cost by themselves.

    Also a context manager.
    """
    host = '127.0.0.1'

    def __init__(self, rest_reply: bytes, grpc_reply: bytes):
        import asyncio
        import concurrent.futures

        import grpc
        from aiohttp import web
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()

        async def answer(request):
            await request.read()
            return web.Response(body=rest_reply, content_type='application/json')

        async def bind():
            runner = web.ServerRunner(web.Server(answer))
            await runner.setup()
            await web.TCPSite(runner, self.host, 0).start()
            return runner
        self._runner = asyncio.run_coroutine_threadsafe(bind(), self._loop).result()
        self.port = self._runner.addresses[0][1]
        self._grpc = grpc.server(concurrent.futures.ThreadPoolExecutor(CLIENTS))
        service, method = serving_clients.METHOD[1:].split('/')
        self._grpc.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(
            service, {method: grpc.unary_unary_rpc_method_handler(lambda request, context: grpc_reply)})])
        self.grpc_port = self._grpc.add_insecure_port(f'{self.host}:0')
        self._grpc.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        import asyncio
        self._grpc.stop(None).wait()
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)


class Clients:
    """The clients of one protocol, in a process that runs at once; `result` waits for it."""

    def __init__(self, server: ModelServer | NoModel, protocol: str, body: bytes, clients: int, seconds: float,
                 pause: float = 0.0):
        self._seconds = seconds
        port = server.port if protocol == 'rest' else server.grpc_port
        self._process = subprocess.Popen(
            [sys.executable, '-m', 'benchmarks.serving_clients', protocol, server.host, str(port), str(clients),
             str(seconds), str(pause)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._output: bytes = b''
        self._thread = threading.Thread(target=self._communicate, args=(body,))
        self._thread.start()

    def _communicate(self, body: bytes):
        self._output, _ = self._process.communicate(body)

    def stop(self):
        """Lets each client end with the request that it has sent."""
        self._process.terminate()

    def result(self) -> tuple[np.ndarray, list[str]]:
        """(milliseconds of each answer, sorted; failures)."""
        self._thread.join()
        found = json.loads(self._output)
        return np.sort(found['taken']) * 1e3, found['failures']

    def answered(self) -> tuple[float, np.ndarray]:
        """(answers per second, milliseconds of each, sorted). A failure ends the benchmark."""
        taken, failures = self.result()
        assert not failures, failures[:3]
        return len(taken) / self._seconds, taken


def one_client(server: ModelServer | NoModel, protocol: str, body: bytes, seconds: float) -> np.ndarray:
    """Milliseconds of each answer to one client, h2load."""
    with tempfile.TemporaryDirectory() as folder:
        sent, log = pathlib.Path(folder, 'body'), pathlib.Path(folder, 'log')
        command = ['h2load', '--clients=1', '--threads=1', f'--duration={max(1, round(seconds))}', f'--log-file={log}',
                   f'--data={sent}']
        if protocol == 'rest':
            sent.write_bytes(body)
            command += ['--h1', f'http://{server.host}:{server.port}{serving_clients.PATH}']
        else:
            sent.write_bytes(b'\0' + len(body).to_bytes(4, 'big') + body)  # a message that is not compressed
            command += ['--header=content-type: application/grpc', '--header=te: trailers', '--window-bits=20',
                        f'http://{server.host}:{server.grpc_port}{serving_clients.METHOD}']
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        rows = [line.split() for line in log.read_text(encoding='utf-8').splitlines()]  # start, status, us
    assert rows and all(status == '200' for _, status, _ in rows), rows[:3]
    return np.array([int(taken) for _, _, taken in rows]) / 1e3


def percentiles(taken: np.ndarray) -> str:
    return f'p50 {np.percentile(taken, 50):.1f} ms, p99 {np.percentile(taken, 99):.1f} ms'


def throughput(report: Report, version: str, base: pathlib.Path, image: bytes, parsed):
    bodies = {'rest': rest_body(image), 'grpc': grpc_body(image)}
    eight, one = ({'image': np.array([image] * count, object)} for count in (CLIENTS, 1))
    model = SavedModel(version)
    with (ModelServer(base, port=0, grpc_port=0) as on, ModelServer(base, port=0, grpc_port=0, batching=None) as off,
          NoModel(*replies(on, bodies)) as nothing):
        ratios: dict[str, list[float]] = {}
        latencies: dict[str, list[np.ndarray]] = {}
        added: dict[tuple[str, str], list[float]] = {}
        cases = [(protocol, name, server) for protocol in bodies
                 for name, server in (('on', on), ('off', off), ('no model', nothing))]
        for turn in range(parsed.turns + 1):
            bare = loop(model, eight, parsed.seconds) * CLIENTS
            for protocol, name, server in cases:
                per_second, taken = Clients(server, protocol, bodies[protocol], CLIENTS, parsed.seconds).answered()
                if turn:  # the first turn warms up
                    ratios.setdefault(f'{protocol} {name}', []).append(per_second / bare)
                    latencies.setdefault(f'{protocol} {name}', []).append(taken)
            direct = median_run(model, one, parsed.seconds / 2)
            for protocol, name, server in cases:
                taken = one_client(server, protocol, bodies[protocol], parsed.seconds / 2)
                if turn:
                    added.setdefault((protocol, name), []).append(
                        float(np.median(taken)) - (0 if server is nothing else direct))
    model.close()
    for name, values in ratios.items():
        detail = percentiles(np.concatenate(latencies[name]))
        if name == 'rest on':
            report('8 clients over REST, images/s to those of the loop', statistics.median(values), 0.7, True, detail)
        else:
            print(f'8 clients, {name}: {statistics.median(values):.2f} of the loop ({detail})', flush=True)
    over = {case: statistics.median(times) for case, times in added.items()}
    for protocol in bodies:
        alone = over[protocol, 'no model']
        print(f'one request over {protocol} to a server without a model: {alone:.2f} ms', flush=True)
    report('one image over REST, milliseconds over the direct call', over['rest', 'on'], 2, False, f'{direct:.1f} ms')
    report('one image over gRPC, milliseconds over the direct call', over['grpc', 'on'], over['rest', 'on'], False,
           'the target is that of REST')


def replies(server: ModelServer, bodies: dict[str, bytes]) -> tuple[bytes, bytes]:
    """What the server says over REST and gRPC."""
    import urllib.request

    import grpc
    with urllib.request.urlopen(f'{server.url}{serving_clients.PATH}', bodies['rest'], timeout=60) as reply:
        rest = reply.read()
    with grpc.insecure_channel(f'{server.host}:{server.grpc_port}') as channel:
        return rest, channel.unary_unary(serving_clients.METHOD)(bodies['grpc'], timeout=60)


def loop(model: SavedModel, inputs: dict, seconds: float) -> float:
    """Runs of the bare model per second."""
    runs, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        model.run('digits', inputs)
        runs += 1
    return runs / (time.monotonic() - began)


def median_run(model: SavedModel, inputs: dict, seconds: float) -> float:
    """Milliseconds of a run of the bare model."""
    taken, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        model.run('digits', inputs)
        taken.append(time.monotonic() - began)
    return 1e3 * statistics.median(taken)


def fairness(report: Report, version: str, base: pathlib.Path, image: bytes, parsed):
    small, large = rest_body(image), rest_body(image, LARGE)
    with ModelServer(base, port=0) as server:
        for clients in (2, 4):
            ratios = []
            for turn in range(parsed.turns + 1):
                alone = Clients(server, 'rest', small, 1, parsed.seconds, 0.02).answered()[1]
                beside = Clients(server, 'rest', large, clients, 2 * parsed.seconds)
                time.sleep(parsed.seconds / 2)
                taken = Clients(server, 'rest', small, 1, parsed.seconds, 0.02).answered()[1]
                answers = len(beside.answered()[1])
                if turn:
                    ratios.append(np.median(taken) / np.median(alone))
            report(f'one image beside {clients} clients of {LARGE:,} images, p50 to that alone',
                   statistics.median(ratios), 10, False,
                   f'alone {percentiles(alone)}; beside {percentiles(taken)}; {answers} large answers')


def all_tasks(report: Report, version: str, base: pathlib.Path, image: bytes, parsed):
    model = SavedModel(version)
    inputs = {'image': np.array([image] * CLIENTS, object)}
    ratios = []
    for _ in range(20 * parsed.turns):
        seconds = {}
        for signature in ('digits_scores', 'image_all'):
            began = time.monotonic()
            model.run(signature, inputs)
            seconds[signature] = time.monotonic() - began
        ratios.append(seconds['image_all'] / seconds['digits_scores'])
    everything = model.run('image_all', inputs)
    difference = max(np.abs(model.run(name, inputs)['scores'] - everything[name]).max() for name in everything)
    model.close()
    report(f'time of all {len(everything)} tasks to that of one', statistics.median(ratios), 1.15, False,
           f'{CLIENTS} images')
    report('largest difference of a score, in millionths', 1e6 * float(difference), 1, False, '')


BARE = '''
import sys, tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
model = tf.saved_model.load(sys.argv[1])
for record in tf.data.TFRecordDataset(sys.argv[1] + '/assets.extra/tf_serving_warmup_requests'):
    request = prediction_log_pb2.PredictionLog.FromString(record.numpy()).predict_log.request
    model.signatures[request.model_spec.signature_name](
        **{name: tf.constant(tf.make_ndarray(value)) for name, value in request.inputs.items()})
'''
SERVER = '''
import sys
from serving.server import ModelServer
with ModelServer(sys.argv[1], port=0, grpc_port=0) as server:
    import os
    os._exit(0 if server.models.ready() else 1)
'''


def processor_seconds(code: str, argument: str) -> float:
    """Seconds of processor time that a process takes. A busy machine changes them little."""
    process = subprocess.Popen([sys.executable, '-c', code, argument], stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0, status
    return usage.ru_utime + usage.ru_stime


def start(report: Report, version: str, base: pathlib.Path, image: bytes, parsed):
    turns = [(processor_seconds(SERVER, str(base)), processor_seconds(BARE, version)) for _ in range(parsed.turns)]
    report('processor time from start to ready, to that of loading and warming up',
           statistics.median(ours / bare for ours, bare in turns), 1.5, False,
           ' and '.join(f'{statistics.median(times):.1f} s' for times in zip(*turns, strict=True)))
    ratios = []
    for turn in range(parsed.turns):
        cold, warm = (SavedModel(version, warm_up=False) for _ in range(2))
        saved = first_requests(cold, version) if turn % 2 else 0.0  # what comes second is a little faster
        began = time.process_time()
        warm.replay_warm_up()
        warmed = time.process_time() - began
        saved = (saved or first_requests(cold, version)) - first_requests(warm, version)
        ratios.append(warmed / saved)
        for model in (cold, warm):
            model.close()
    report('processor time of the warm-up to what it saves the first requests', statistics.median(ratios), 1.1, False,
           f'{warmed:.1f} s')


def first_requests(model: SavedModel, version: str) -> float:
    """Processor seconds of one request for each signature."""
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2
    requests = [prediction_log_pb2.PredictionLog.FromString(record).predict_log.request for record in
                tf.data.TFRecordDataset(f'{version}/assets.extra/tf_serving_warmup_requests').as_numpy_iterator()]
    began = time.process_time()
    for request in requests:
        model.run(request.model_spec.signature_name,
                  {name: tf.make_ndarray(value) for name, value in request.inputs.items()})
    return time.process_time() - began


def served_version(server: ModelServer) -> int:
    with server.models.acquire('polyvit') as (number, _):
        return number


@contextlib.contextmanager
def asked(server: ModelServer, image: bytes, clients: int, pause: float = 0.0):
    """Clients ask while the block runs. Yields a list that has the failures afterwards."""
    failures: list[str] = []
    running = Clients(server, 'rest', rest_body(image), clients, 24 * 3600, pause)
    try:
        yield failures
    finally:
        running.stop()
        taken, failed = running.result()
        failures += failed
    print(f'{len(taken):,} requests, {len(failed)} failures, {percentiles(taken)}', flush=True)


def swaps(report: Report, version: str, base: pathlib.Path, image: bytes, parsed):
    memory = []
    process = psutil.Process()
    one_task = f'{version}_one_task'
    image = make_model(one_task, parsed.size, TASKS[:1])
    with ModelServer(base, port=0, poll_seconds=0.2) as server:
        with asked(server, image, 2, 0.02) as failures:
            for number in range(2, parsed.swaps + 2):
                push(one_task, base, number)
                while served_version(server) != number:
                    time.sleep(0.05)
                while any(one.state not in ('AVAILABLE', 'END') for one in server.models.status('polyvit')):
                    time.sleep(0.05)
                shutil.rmtree(base / str(number - 1))
                memory.append(process.memory_info().rss / 2**20)
                if number - 1 in (1, 10, 25, 50):
                    print(f'{memory[-1]:.0f} MiB after {words.count(number - 1, "swap")}', flush=True)
        assert not failures, failures[:3]
    print('MiB after each swap: ' + ' '.join(f'{value:.0f}' for value in memory), flush=True)
    quarter = max(1, len(memory) // 4)
    # The first swap has two versions in memory for the first time.
    report('memory after the last quarter of the swaps to that after the first quarter',
           statistics.median(memory[-quarter:]) / statistics.median(memory[1:quarter + 1]), 1.05, False,
           f'{len(memory)} swaps')


def load(report: Report, version: str, base: pathlib.Path, image: bytes, parsed):
    served, refused = [], []
    with ModelServer(base, port=0, poll_seconds=0.5) as server:
        newest = served_version(server)
        with asked(server, image, CLIENTS) as failures:
            began = time.monotonic()
            for step in range(4):
                if step == 2:
                    (base / '9999').mkdir()
                    (base / '9999' / 'saved_model.pb').write_bytes(b'not a model')
                    if seconds := waited(lambda: has_failed(server, 9999)):
                        refused.append(seconds)
                else:
                    newest += 1
                    push(version, base, newest)
                    if seconds := waited(lambda number=newest: served_version(server) == number):
                        served.append(seconds)
            time.sleep(max(0.0, began + parsed.load_seconds - time.monotonic()))
            lasted = time.monotonic() - began
        states = {one.number: one.state for one in server.models.status('polyvit')}
    print(f'Versions at the end: {states}', flush=True)
    shutil.rmtree(base / '9999')
    report(f'failed requests of {CLIENTS} clients in {lasted:.0f} s', len(failures), 0, False,
           ', '.join(sorted(set(failures)))[:300])
    report('of three pushes meanwhile, served', len(served), 3, True, after(served))
    report('of one corrupt push meanwhile, tried and refused', len(refused), 1, True, after(refused))


def has_failed(server: ModelServer, number: int) -> bool:
    return any(one.number == number and one.error for one in server.models.status('polyvit'))


def waited(condition, at_most: float = 600.0) -> float:
    """Seconds until a condition holds; 0 if it does not hold in time."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > at_most:
            return 0.0
        time.sleep(0.05)
    return time.monotonic() - began


def after(seconds: list[float]) -> str:
    return 'after ' + ', '.join(f'{one:.0f} s' for one in seconds) if seconds else ''


PARTS = {part.__name__: part for part in (throughput, fairness, all_tasks, start, swaps, load)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', metavar='PART', help=', '.join(PARTS))
    parser.add_argument('--size', choices=SIZES, default='demo')
    parser.add_argument('--turns', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=3.0, help='of each measurement')
    parser.add_argument('--swaps', type=int, default=50)
    parser.add_argument('--load-seconds', type=float, default=60.0)
    parsed = parser.parse_args()
    parts = chosen(parser, parsed.parts, PARTS)
    if 'throughput' in parts and not shutil.which('h2load'):
        parser.error("throughput needs h2load. Install Debian's package nghttp2-client")
    report = Report()
    with tempfile.TemporaryDirectory() as temporary:
        version = os.path.join(temporary, 'model')
        image = make_model(version, parsed.size)
        for name in parts:
            base = pathlib.Path(temporary, name)
            base.mkdir()
            push(version, base, 1)
            PARTS[name](report, version, base, image, parsed)
    return 1 if report.missed else 0


if __name__ == '__main__':
    sys.exit(main())
