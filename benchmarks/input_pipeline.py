"""The speed of the input pipeline, beside that of a bare tf.data pipeline and that of a train step.

Run: .venv/bin/python -m benchmarks.input_pipeline [image|picture|audio|video ...] --data DIR
DIR holds cifar10/, fsdd/ and surveillance/; demo media replace missing ones. Exit code 1 if a target is missed.

The project's readers turn real files into gzip TFRecord files of the features that Transform writes, in a temporary
folder. Three pipelines read these, in turns, in one process. A turn lasts some seconds; it begins when the batches that
were made in advance are used up. A ratio is the median over the turns.
- ours: train_dataset with the augmentations of the recipe in pipeline/configs/nine.py; batches of 8 for a Ti model;
- plain: the same without augmentations;
- bare: the least that tf.data has to do: records in order, parse, decode, resize or spectrogram (the project's), scale
  to the model's range, with a parallel map, batch and prefetch. No shuffle, seeds or augmentations.
'picture' is the image task on the middle frames of the clips, whose short side has at most 256 pixels. CIFAR-10's
images of 32 x 32 pixels need hardly any decoding.
The train step is that of the Ti model, on a batch of the same task.
"""

import argparse
import dataclasses
import os
import pathlib
import statistics
import sys
import tempfile
import time

os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')  # as the command line sets it
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
os.environ.setdefault('CUDA_VISIBLE_DEVICES', '')

from benchmarks import media, train_steps
from benchmarks.report import Report, chosen
from model_code.modalities import MODALITIES, VideoInput
from model_code.settings import TrainingConfig, preset
from model_code.tasks import Task

BATCH = 8
FILES = 4  # TFRecord files per benchmark
MODEL = preset('Ti', inputs=VideoInput(frames=8))
# The task whose recipe is used, and the modality of the files.
SOURCES = {'image': ('cifar10', 'image'), 'picture': ('cifar10', 'video'), 'audio': ('vggsound', 'audio'),
           'video': ('kinetics400', 'video')}
COUNTS = {'image': 2_000, 'picture': 240, 'audio': 1_000, 'video': 240}


def recipe_task(name: str) -> tuple[Task, int]:
    """The task of this name in pipeline/configs/nine.py, with batches of 8, and its number of classes."""
    from pipeline.configs import nine
    task = nine.get_config().mixture[name]
    return dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, batch_size=BATCH)), task.data.num_classes


def write_examples(name: str, data: pathlib.Path, folder: str, count: int) -> list[str]:
    """Reads `count` real files and writes their transformed examples. Returns the paths of the TFRecord files."""
    import tensorflow as tf

    from media import readers
    paths = media.files(SOURCES[name][1], data)
    count = min(count, len(paths))
    examples = [_features(name, paths[i * len(paths) // count], readers) for i in range(count)]
    if name == 'audio':
        mean, stddev = _moments([features['audio'][0] for features in examples])
        for features in examples:
            features.update(log_mel_mean=[mean], log_mel_stddev=[stddev])
    files = [os.path.join(folder, f'{name}-{i}.gz') for i in range(FILES)]
    for i, file in enumerate(files):
        with tf.io.TFRecordWriter(file, 'GZIP') as writer:
            for number in range(i, count, FILES):
                writer.write(_serialize(tf, {**examples[number], 'label': [number % 10]}))
    return files


def _features(name: str, path: pathlib.Path, readers) -> dict:
    modality = SOURCES[name][1]
    features = readers.read(modality, str(path), VideoInput())
    if name == 'picture':
        return {'image': [features['frames'][len(features['frames']) // 2]]}
    feature = MODALITIES[modality].feature
    return {feature: features[feature] if isinstance(features[feature], list) else [features[feature]]}


def _moments(sounds: list[bytes]) -> tuple[float, float]:
    """Mean and standard deviation of the log-mel spectrograms, as Transform's preprocessing_fn computes them."""
    import numpy as np
    import tensorflow as tf

    from model_code.preprocessing import audio
    decibels = tf.function(lambda sound: audio.decode(sound, MODEL.input('audio')), autograph=False)
    spectrograms = [decibels(tf.constant(sound)).numpy() for sound in sounds[:100]]
    return float(np.mean(spectrograms)), float(np.std(spectrograms))


def _serialize(tf, features: dict) -> bytes:
    to_feature = {bytes: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
                  int: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v)),
                  float: lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v))}
    return tf.train.Example(features=tf.train.Features(
        feature={name: to_feature[type(values[0])](values) for name, values in features.items()})).SerializeToString()


def bare(modality: str, files: list[str]):
    """The bare tf.data pipeline, repeated without end: batches (inputs, labels)."""
    import tensorflow as tf

    from model_code.preprocessing import audio
    spec = MODEL.input(modality)
    content = tf.io.FixedLenFeature([], tf.string)
    number = tf.io.FixedLenFeature([], tf.float32)
    parse_spec = {'label': tf.io.FixedLenFeature([], tf.int64), **{
        'image': {'image': content},
        'audio': {'audio': content, 'log_mel_mean': number, 'log_mel_stddev': number},
        'video': {'frames': tf.io.FixedLenSequenceFeature([], tf.string, allow_missing=True)}}[modality]}

    def image(features):
        pixels = tf.io.decode_image(features['image'], channels=3, expand_animations=False)
        pixels.set_shape([None, None, 3])
        return tf.image.resize(pixels, [spec.height, spec.width]) / 127.5 - 1.0

    def sound(features):
        decibels = audio.log_mel(audio.decode_waveform(features['audio'], spec), spec)
        return (decibels - features['log_mel_mean']) / features['log_mel_stddev']

    def video(features):
        stored = features['frames']
        sampled = tf.gather(stored, (2 * tf.range(spec.frames) + 1) * tf.size(stored) // (2 * spec.frames))
        frames = tf.map_fn(lambda jpeg: tf.io.decode_jpeg(jpeg, channels=3), sampled,
                           fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8))
        return tf.image.resize(frames, [spec.height, spec.width]) / 127.5 - 1.0

    decode = {'image': image, 'audio': sound, 'video': video}[modality]

    def example(record):
        features = tf.io.parse_single_example(record, parse_spec)
        return decode(features), features['label']

    records = tf.data.TFRecordDataset(files, compression_type='GZIP').repeat()
    convert = tf.autograph.experimental.do_not_convert
    # Ours prefetches 2 batches, too. With AUTOTUNE most batches of a turn would be made before it begins.
    return records.map(convert(example), num_parallel_calls=tf.data.AUTOTUNE).batch(
        BATCH, drop_remainder=True).prefetch(2)


def rate(iterator, seconds: float) -> tuple[float, float]:
    """Examples per second and CPU seconds per example, measured for about `seconds`."""
    settled = time.perf_counter() + seconds / 3
    while time.perf_counter() < settled:  # Uses up what was made while the others had their turns.
        next(iterator)
    batches, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        next(iterator)
        batches += 1
    examples = batches * BATCH
    return examples / (time.perf_counter() - start), (time.process_time() - cpu) / examples


def step_rate(task: Task, classes: int, batch) -> float:
    """Examples per second of the Ti model's train step on the batch: the median of five steps."""
    import tensorflow as tf

    from model_code import training
    config = TrainingConfig(optimizer='momentum', strategy='one_device')
    _, make_steps = train_steps.make((task,), classes, MODEL, config)
    step = training.traced(make_steps().single(task))
    seconds = []
    with training.without_graph_optimizer():
        for number in range(7):
            start = time.perf_counter()
            step(batch, tf.constant(number), tf.constant(1e-3))[0].numpy()
            seconds.append(time.perf_counter() - start)
    return BATCH / statistics.median(seconds[2:])


def measure(report: Report, name: str, data: pathlib.Path, folder: str, count: int, repeats: int, seconds: float):
    from model_code import input_pipeline
    task, classes = recipe_task(SOURCES[name][0])
    files = write_examples(name, data, folder, count or COUNTS[name])
    without = dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, augmentations=(), mixup_alpha=0.0))
    iterators = {'ours': iter(input_pipeline.train_dataset(task, classes, MODEL, files)),
                 'plain': iter(input_pipeline.train_dataset(without, classes, MODEL, files)),
                 'bare': iter(bare(task.modality, files))}
    for iterator in iterators.values():
        rate(iterator, seconds / 2)  # Fills the buffers, and lets tf.data find its parallelism.
    turns = [{side: rate(iterator, seconds) for side, iterator in iterators.items()} for _ in range(repeats)]
    median = {side: statistics.median(turn[side][0] for turn in turns) for side in iterators}
    cpu = {side: 1e3 * statistics.median(turn[side][1] for turn in turns) for side in iterators}
    ratio = {side: statistics.median(turn[side][0] / turn['bare'][0] for turn in turns) for side in iterators}
    report(f'{name}, speed, input pipeline / bare pipeline', ratio['ours'], 0.9, True,
           f'by CPU time {cpu["bare"] / cpu["ours"]:.2f}; '
           + ', '.join(f'{side} {median[side]:.1f} examples/s, {cpu[side]:.2f} ms CPU each' for side in iterators)
           + f'; without augmentations {ratio["plain"]:.2f}; augmentations: {", ".join(task.recipe.augmentations)}'
           + (', mixup' if task.recipe.mixup_alpha else ''))
    if name == 'picture':  # Its train step is that of 'image'.
        return
    batch = next(iterators['ours'])
    del iterators
    consumed = step_rate(task, classes, batch)
    report(f'{name}, speed, input pipeline / train step', median['ours'] / consumed, 2.0, True,
           f'makes {median["ours"]:.1f} examples/s; the train step consumes {consumed:.1f}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='image|picture|audio|video', help='default: all')
    media.add_argument(parser)
    parser.add_argument('--repeats', type=int, default=5, help='the number of turns')
    parser.add_argument('--seconds', type=float, default=3.0, help='the length of a turn')
    parser.add_argument('--count', type=int, default=0, help='of files, for a quick try; 0: as usual')
    args = parser.parse_args()
    names = chosen(parser, args.names, SOURCES)
    report = Report()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measure(report, name, args.data, folder, args.count, args.repeats, args.seconds)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())
