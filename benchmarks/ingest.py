"""The speed, stored bytes and memory of ingest, beside those of a plain Python loop that does the same work.

Run: .venv/bin/python -m benchmarks.ingest [images|photos|video|audio|memory ...] --data DIR
DIR holds cifar10/, fsdd/ and surveillance/; demo media replace missing ones. Exit code 1 if a target is missed.

Ours is MediaExampleGen's executor, as the pipeline runs it: list, Beam, readers, checks, shards. The loop is what one
would write without it: it reads and decodes a file (scales, resamples and encodes it), makes the tf.Example, and writes
that to a single gzip TFRecord file. Both run in processes of their own, pinned to one core unless several workers are
compared, and are timed after their imports. They take turns; a ratio is the median over the turns. Files are first
copied to a temporary folder, so that both find them in the page cache.

The targets are on the time that passes. Beside it stands the processor time of each side with its child processes,
which tells more where other programs use the machine, too.
"""

import argparse
import collections
import csv
import io
import itertools
import json
import os
import pathlib
import resource
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import zlib

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

from benchmarks import media
from benchmarks.report import Report, chosen
from model_code.data import Data, Source
from model_code.modalities import MODALITIES, Limits, VideoInput
from model_code.serialization import from_json, to_json
from pipeline.beam.settings import Beam

Row = collections.namedtuple('Row', 'path label split')


# What a child process does. Each side returns what it has spent, and prints its other figures as one line of JSON.

class Spent:
    """The seconds that have passed since it was made, and those of the processor: of this process and ended children.
    """

    def __init__(self):
        self._began = time.perf_counter(), self._processor()

    @staticmethod
    def _processor() -> float:
        used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in used)

    def figures(self) -> dict[str, float]:
        return {'seconds': time.perf_counter() - self._began[0], 'processor': self._processor() - self._began[1]}


def ours(source: Source, spec, out: str, beam_args) -> dict[str, float]:
    """MediaExampleGen's executor, from the parsing of its arguments to its last shard."""
    from tfx.dsl.components.base import base_beam_executor
    from tfx.types import standard_artifacts

    from components.artifacts import RejectedMedia
    from components.classes import Classes
    from components.media_example_gen import executor
    from media import listing
    outputs = {'examples': [standard_artifacts.Examples()], 'rejected': [RejectedMedia()], 'classes': [Classes()]}
    for name, artifacts in outputs.items():
        artifacts[0].uri = os.path.join(out, name)
    media_fingerprint = listing.media_fingerprint(source)
    context = base_beam_executor.BaseBeamExecutor.Context(beam_pipeline_args=list(beam_args), tmp_dir=out,
                                                          unique_id='1')
    step = executor.Executor(context)  # Not timed: here TFX packs the project for remote workers.
    spent = Spent()
    step.Do({}, outputs, {'source': to_json(source), 'spec': to_json(spec), 'media_fingerprint': media_fingerprint})
    return spent.figures()


def loop(source: Source, spec, out: str, beam_args) -> dict[str, float]:
    """The plain loop. Prints `decoding`, the seconds of it that went into reading and decoding."""
    import tensorflow as tf
    decode = {'image': _image, 'audio': _audio, 'video': _video}[source.modality]
    spent, decoding = Spent(), 0.0
    with tf.io.TFRecordWriter(os.path.join(out, 'loop.gz'), 'GZIP') as writer:
        for row in _rows(source.data.folder):
            before = time.perf_counter()
            with open(os.path.join(source.data.folder, row.path), 'rb') as file:
                content = file.read()
            features = decode(content, spec)
            decoding += time.perf_counter() - before
            features.update(id=[row.path.encode()], label=[row.label.encode()])
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                name: _feature(values) for name, values in features.items()})).SerializeToString())
    print(json.dumps({'decoding': decoding}))
    return spent.figures()


def _feature(values: list):
    import tensorflow as tf
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _image(content: bytes, spec) -> dict:
    import tensorflow as tf
    height, width, _ = tf.io.decode_image(content, channels=3, expand_animations=False).shape
    return {'image': [content], 'height': [height], 'width': [width]}


def _audio(content: bytes, spec) -> dict:
    import soundfile
    import soxr
    wave, rate = soundfile.read(io.BytesIO(content), dtype='float32', always_2d=True)
    wave = soxr.resample(wave.mean(axis=1), rate, 16_000)
    out = io.BytesIO()
    soundfile.write(out, wave, 16_000, subtype='PCM_16', format='WAV')
    return {'audio': [out.getvalue()], 'duration_s': [len(wave) / 16_000]}


def _video(content: bytes, spec: VideoInput) -> dict:
    import av
    frames, first = [], None
    with av.open(io.BytesIO(content)) as container:
        for frame in container.decode(video=0):
            first = frame.time if first is None else first
            if frame.time - first + 1e-4 < len(frames) / spec.frame_rate:
                continue
            scale = min(1.0, spec.short_side / min(frame.width, frame.height))
            width, height = round(frame.width * scale), round(frame.height * scale)
            out = io.BytesIO()
            frame.reformat(width, height, 'rgb24', interpolation='AREA').to_image().save(out, 'JPEG', quality=90)
            frames.append(out.getvalue())
        return {'frames': frames, 'height': [height], 'width': [width], 'duration_s': [frame.time - first]}


def read_one(source: Source, spec, out: str, beam_args) -> dict[str, float]:
    """Reads one clip with the reader alone, in a process without TensorFlow, whose memory would hide the reader's."""
    from media import readers
    row, = _rows(source.data.folder)
    spent = Spent()
    features = readers.read('video', os.path.join(source.data.folder, row.path), spec,
                            source.data.limits.for_modality('video'))
    print(json.dumps({'frames': len(features['frames']),
                      'sampled': len(features['frames']) * features['height'] * features['width'] * 3}))
    return spent.figures()


SIDES = {'ours': ours, 'loop': loop, 'read_one': read_one}


def child(job: dict) -> None:
    if job['pin']:
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[-1]})
    source = from_json(Source, job['source'])
    spec = from_json(MODALITIES[source.modality].input_class, job['spec'])
    if job['side'] != 'read_one':
        import tensorflow as tf

        from components.media_example_gen import executor  # noqa: F401  (imports are not timed)
        tf.io.decode_image(_png(0), channels=3, expand_animations=False)  # nor is TensorFlow's start
    spent = SIDES[job['side']](source, spec, job['out'], job['beam_args'])
    # The memory of the sandbox, a child process, counts too.
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    stored = sum(file.stat().st_size for file in pathlib.Path(job['out']).rglob('*.gz'))
    print(json.dumps({**spent, 'peak_mb': peak / 1024, 'stored': stored}))


# What the parent does.

def run(side: str, source: Source, spec, pin: bool = True, workers: int = 0) -> dict:
    """Runs a side in a process of its own: {'seconds', 'processor' (seconds, too), 'peak_mb', 'stored'
    (bytes), and the side's own figures}.

    pin: run on a single core. workers: processes of Beam; 0 is in process.
    """
    beam = Beam('multi_process', workers) if workers else Beam()
    with tempfile.TemporaryDirectory() as out:
        job = dict(side=side, source=to_json(source), spec=to_json(spec), out=out, pin=pin,
                   beam_args=beam.arguments('MediaExampleGen'))
        process = subprocess.run([sys.executable, '-m', 'benchmarks.ingest', '--child', json.dumps(job)],
                                 capture_output=True, encoding='utf-8')
    if process.returncode:
        sys.exit(f'{side} of {source.name} failed:\n{process.stderr[-4000:]}')
    lines = [json.loads(line) for line in process.stdout.splitlines() if line.startswith('{')]
    return {name: value for line in lines for name, value in line.items()}


def compare(report: Report, name: str, source: Source, spec, target: float, repeats: int) -> tuple[dict, dict]:
    """Reports the median ratio of the speeds of ours and the loop, on one core. Returns the last figures of both.

    The start of Beam is part of our time, however few the files. So the detail has the ratio without it, too.
    """
    rows = _rows(source.data.folder)
    one_file = _source('one', source.modality, pathlib.Path(source.data.folder), rows[:1], 'one.csv')
    start = run('ours', one_file, spec)
    turns = [(run('ours', source, spec), run('loop', source, spec)) for _ in range(repeats)]

    def figures(kind: str) -> tuple[float, float, float, float]:
        """The medians of our time, of the loop's, of their ratio, and of that without our start."""
        times = [(ours_figures[kind], loop_figures[kind]) for ours_figures, loop_figures in turns]
        ratios = [(other / our, other / max(our - start[kind], 1e-9)) for our, other in times]
        our_time, loop_time = map(statistics.median, zip(*times, strict=True))
        ratio, without_start = map(statistics.median, zip(*ratios, strict=True))
        return our_time, loop_time, ratio, without_start

    ours_s, loop_s, ratio, without_start = figures('seconds')
    report(f'{name}, speed on one core, ours / loop', ratio, target, True,
           f'{len(rows)} files: ours {len(rows) / ours_s:.0f} files/s, loop {len(rows) / loop_s:.0f} files/s; a run of '
           f'one file takes {start["seconds"]:.1f} s of our {ours_s:.1f} s, without that {without_start:.2f}')
    ours_s, loop_s, ratio, without_start = figures('processor')
    print(f'  by processor time: {ratio:.2f} (ours {1e6 * ours_s / len(rows):.0f} us per file, loop '
          f'{1e6 * loop_s / len(rows):.0f} us; the start takes {start["processor"]:.2f} s, without that '
          f'{without_start:.2f})', flush=True)
    return turns[-1]


def images(report: Report, data: pathlib.Path, folder: pathlib.Path, count: int, repeats: int):
    files = media.files('image', data)
    source = _copy('images', 'image', files, folder / 'images', count or 10_000)
    spec = MODALITIES['image'].input_class()
    ours_figures, loop_figures = compare(report, 'images', source, spec, 0.75, repeats)
    stored, media_bytes = ours_figures['stored'], _media_bytes(source.data.folder)
    report('images, stored bytes / media bytes', stored / media_bytes, 1.05, False,
           f'{stored:,} / {media_bytes:,}; the loop stores {loop_figures["stored"]:,}')
    file_count = len(_rows(source.data.folder))
    overhead = (ours_figures['seconds'] - loop_figures['seconds']) / file_count
    decoding = loop_figures['decoding'] / file_count
    report('images, overhead / decoding, per file', overhead / decoding, 1.0, False,
           f'{1e6 * overhead:.0f} us / {1e6 * decoding:.0f} us')
    report_workers(report, files, folder, count or 10_000, repeats)


def report_workers(report: Report, files, folder: pathlib.Path, count: int, repeats: int):
    """How much faster two workers are than one. One worker and its sandbox share a core; two have a core each.

    The processes take long to start, which is not part of the work. So the rate is that of the files that a long list
    has beyond a short one.
    """
    spec = MODALITIES['image'].input_class()
    short = _copy('short', 'image', files, folder / 'short', max(1, count // 2))
    long = _copy('long', 'image', files, folder / 'long', 4 * count)
    difference = len(_rows(long.data.folder)) - len(_rows(short.data.folder))
    rates = {}
    for workers in (1, 2):
        rates[workers] = [difference / (run('ours', long, spec, workers == 1, workers)['seconds'] -
                                        run('ours', short, spec, workers == 1, workers)['seconds'])
                          for _ in range(repeats)]
    ratio = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    report('images, speed, 2 workers / 1', ratio, 1.6, True,
           f'{statistics.median(rates[2]):.0f} / {statistics.median(rates[1]):.0f} files/s, without the start')


def photos(report: Report, data: pathlib.Path, folder: pathlib.Path, count: int, repeats: int):
    """Images of a usual size: frames of the videos, as JPEGs."""
    import av
    (folder / 'frames').mkdir()
    frames = []
    for path in media.files('video', data):
        with av.open(str(path)) as container:
            for frame in itertools.islice(container.decode(video=0), 0, None, 10):
                frames.append(folder / 'frames' / f'{len(frames)}.jpg')
                frame.to_image().save(frames[-1], 'JPEG', quality=90)
    source = _copy('photos', 'image', frames, folder / 'photos', min(count or 1_000, len(frames)))
    size = _media_bytes(source.data.folder) // len(_rows(source.data.folder))
    compare(report, f'photos of {size / 1000:.0f} kB', source, MODALITIES['image'].input_class(), 0.75, repeats)


def audio(report: Report, data: pathlib.Path, folder: pathlib.Path, count: int, repeats: int):
    files = media.files('audio', data)
    source = _copy('audio', 'audio', files, folder / 'audio', count or 2_500)
    ours_figures, loop_figures = compare(report, 'audio', source, MODALITIES['audio'].input_class(), 0.75, repeats)
    pcm_bytes = 0
    for row in _rows(source.data.folder):
        content = (pathlib.Path(source.data.folder) / row.path).read_bytes()
        rate, = struct.unpack_from('<I', content, 24)
        pcm_bytes += int.from_bytes(content[40:44], 'little') * 16_000 // rate
    report('audio, stored bytes / bytes as 16 kHz PCM16', ours_figures['stored'] / pcm_bytes, 1.05, False,
           f'{ours_figures["stored"]:,} / {pcm_bytes:,}; the loop stores {loop_figures["stored"]:,}')


def video(report: Report, data: pathlib.Path, folder: pathlib.Path, count: int, repeats: int):
    files = media.files('video', data)
    source = _copy('video', 'video', files, folder / 'video', count or 240)
    ours_figures, loop_figures = compare(report, 'video', source, VideoInput(), 0.85, repeats)
    stored, media_bytes = ours_figures['stored'], _media_bytes(source.data.folder)
    print(f'video, stored bytes / media bytes: {stored / media_bytes:.2f} ({stored:,} / {media_bytes:,}; the loop '
          f'stores {loop_figures["stored"]:,}). Stored are {VideoInput().frame_rate:g} JPEG frames per second.')


def memory(report: Report, data: pathlib.Path, folder: pathlib.Path, count: int, repeats: int):
    report_memory_of_many_files(report, folder, count or 5_000)
    report_memory_of_a_long_video(report, folder, count / 1000 if count else 3)


def report_memory_of_many_files(report: Report, folder: pathlib.Path, count: int):
    peaks = []
    for file_count in (count, 10 * count):
        root = folder / f'tiny_{file_count}'
        rows = []
        for i in range(file_count):
            rows.append(_row(i, '.png'))
            path = root / rows[-1].path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_png(i))
        source = _source('tiny', 'image', root, rows)
        peaks.append(run('ours', source, MODALITIES['image'].input_class())['peak_mb'])
    report(f'peak memory, {10 * count:,} files / {count:,}', peaks[1] / peaks[0], 1.2, False,
           f'{peaks[1]:.0f} MB / {peaks[0]:.0f} MB')


def report_memory_of_a_long_video(report: Report, folder: pathlib.Path, hours: float):
    runs = []
    for name, seconds in (('minute', 60), ('hours', round(3600 * hours))):
        root = folder / name
        root.mkdir()
        _long_clip(root / 'clip.mp4', seconds)
        source = _source(name, 'video', root, [Row('clip.mp4', 'one', 'train')],
                         limits=Limits(seconds=1e6, frames=100_000))
        # The same number of frames from both, so that only the length of the file differs.
        runs.append(run('read_one', source, VideoInput(frame_rate=180 / seconds)))
    minute, long = runs
    report(f'peak memory of a video of {hours:g} h, beyond that of one of a minute, MB',
           long['peak_mb'] - minute['peak_mb'], long['sampled'] / (1 << 20), False,
           f'{long["peak_mb"]:.0f} MB and {minute["peak_mb"]:.0f} MB; the target is the size of its {long["frames"]} '
           f'sampled frames as pixels; read in {long["seconds"]:.1f} s and {minute["seconds"]:.1f} s')


BENCHMARKS = {'images': images, 'photos': photos, 'video': video, 'audio': audio, 'memory': memory}


def _copy(name: str, modality: str, files, root: pathlib.Path, count: int) -> Source:
    """Copies `count` of the files, evenly spread, to `root`. If there are fewer files, they are repeated."""
    if count <= len(files):
        files = [files[i * len(files) // count] for i in range(count)]
    elif count > len(files) and name in ('images', 'audio', 'video'):
        print(f'{name}: there are only {len(files)} files, so they are repeated to make {count}.')
    rows = []
    for i in range(count):
        rows.append(_row(i, files[i % len(files)].suffix))
        target = root / rows[-1].path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(files[i % len(files)], target)
    return _source(name, modality, root, rows)


def _row(number: int, suffix: str) -> Row:
    """One of ten classes, whatever the content; a fifth of each class is in the eval split."""
    split = 'eval' if number % 5 == 4 else 'train'
    return Row(f'{number // 1000}/{number}{suffix}', f'class {number // 5 % 10}', split)


def _source(name: str, modality: str, root: pathlib.Path, rows, manifest: str = 'manifest.csv',
            limits: Limits = Limits()) -> Source:
    with open(root / manifest, 'w', newline='', encoding='utf-8') as file:
        writer = csv.writer(file)
        writer.writerows([Row._fields, *rows])
    return Source(name, modality, Data(str(root), manifest=manifest, limits=limits))


def _rows(folder: str) -> list[Row]:
    with open(os.path.join(folder, 'manifest.csv'), newline='', encoding='utf-8') as file:
        return [Row(**row) for row in csv.DictReader(file)]


def _media_bytes(folder: str) -> int:
    return sum(os.path.getsize(os.path.join(folder, row.path)) for row in _rows(folder))


def _png(number: int) -> bytes:
    """A grey PNG of 4 x 4 pixels, another one for each number."""
    def chunk(kind, content):
        return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
    rows = b''.join(b'\0' + struct.pack('>I', number * (i + 1)) for i in range(4))
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', 4, 4, 8, 0, 0, 0, 0)) +
            chunk(b'IDAT', zlib.compress(rows)) + chunk(b'IEND', b''))


def _long_clip(path: pathlib.Path, seconds: int):
    """A video of 320 x 240 pixels, with 5 frames per second and a key frame every 50 seconds."""
    import av
    import numpy as np
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=5, options={'preset': 'ultrafast'})
        stream.width, stream.height = 320, 240
        stream.pix_fmt, stream.gop_size = 'yuv420p', 250
        for i in range(5 * seconds):
            frame = np.full((240, 320, 3), i % 200, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='rgb24')))
        container.mux(stream.encode())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='|'.join(BENCHMARKS), help='default: all')
    media.add_argument(parser)
    parser.add_argument('--repeats', type=int, default=3, help='the number of turns')
    parser.add_argument('--count', type=int, default=0, help='of files, for a quick try whose figures mean little')
    parser.add_argument('--child', type=json.loads, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.child)
        return 0
    names = chosen(parser, args.names, BENCHMARKS)
    report = Report()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            BENCHMARKS[name](report, args.data, pathlib.Path(folder), args.count, args.repeats)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())
