"""The input pipeline alone, beside a bare tf.data decode of the same files and beside what a train step consumes.

Run: .venv/bin/python -m benchmarks.input_pipeline [image|picture|audio|video ...] --data DIR
DIR holds cifar10/, fsdd/ and surveillance/, else demo media are used (media.py). Exit code 1 where a target is missed.

Real files go through the project's readers into gzip TFRecords of the features that Transform writes, in a temporary
folder. Three pipelines read them, in one process and in turns, each for some seconds after what it had made in advance
is taken; the ratio is the median over the turns.
- ours: train_dataset with the recipe's augmentations (pipeline/configs/nine.py), batches of 8, a Ti model's inputs;
- plain: the same without augmentations;
- bare: what one writes with tf.data and no thought of training: records in order, parse, decode, resize or spectrogram
  (the project's), scaled as the model wants it, map in parallel, batch, prefetch. No shuffle, seeds or augmentation.
'picture' is the image task on the clips' middle frames, 256 pixels or less on the short side: CIFAR-10's files are of
32 x 32, and next to nothing to decode.
The step is the Ti model's train step on a batch of the same task.
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
FILES = 4
MODEL = preset('Ti', inputs=VideoInput(frames=8))
# Which of the recipe's tasks gives the augmentations, and of which modality its files are.
SOURCES = {'image': ('cifar10', 'image'), 'picture': ('cifar10', 'video'), 'audio': ('vggsound', 'audio'),
           'video': ('kinetics400', 'video')}
COUNTS = {'image': 2_000, 'picture': 240, 'audio': 1_000, 'video': 240}


def recipe_task(name: str) -> tuple[Task, int]:
    """(the recipe's task of this name in batches of 8, its number of classes)."""
    from pipeline.configs import nine
    task = nine.get_config().mixture[name]
    return dataclasses.replace(task, recipe=dataclasses.replace(task.recipe, batch_size=BATCH)), task.data.num_classes


def write_examples(name: str, data: pathlib.Path, folder: str, count: int) -> list[str]:
    """Reads `count` of a source's real files and writes their transformed examples; returns the FILES TFRecords."""
    import tensorflow as tf

    from media import readers
    paths = media.files(SOURCES[name][1], data)
    count = min(count, len(paths))
    made = [_features(name, paths[i * len(paths) // count], readers) for i in range(count)]
    if name == 'audio':
        mean, stddev = _moments([f['audio'][0] for f in made])
        for features in made:
            features.update(log_mel_mean=[mean], log_mel_stddev=[stddev])
    files = [os.path.join(folder, f'{name}-{i}.gz') for i in range(FILES)]
    for i, file in enumerate(files):
        with tf.io.TFRecordWriter(file, 'GZIP') as writer:
            for number in range(i, count, FILES):
                writer.write(_example(tf, {**made[number], 'label': [number % 10]}))
    return files


def _features(name: str, path: pathlib.Path, readers) -> dict:
    modality = SOURCES[name][1]
    features = readers.read(modality, str(path), VideoInput())
    if name == 'picture':
        return {'image': [features['frames'][len(features['frames']) // 2]]}
    feature = MODALITIES[modality].feature
    return {feature: features[feature] if isinstance(features[feature], list) else [features[feature]]}


def _moments(sounds: list[bytes]) -> tuple[float, float]:
    """Mean and deviation of the log-mel spectrograms, as Transform's preprocessing_fn has them."""
    import numpy as np
    import tensorflow as tf

    from model_code.preprocessing import audio
    decibels = tf.function(lambda sound: audio.decode(sound, MODEL.input('audio')), autograph=False)
    planes = [decibels(tf.constant(sound)).numpy() for sound in sounds[:100]]
    return float(np.mean(planes)), float(np.std(planes))


def _example(tf, features: dict) -> bytes:
    kinds = {bytes: lambda v: tf.train.Feature(bytes_list=tf.train.BytesList(value=v)),
             int: lambda v: tf.train.Feature(int64_list=tf.train.Int64List(value=v)),
             float: lambda v: tf.train.Feature(float_list=tf.train.FloatList(value=v))}
    return tf.train.Example(features=tf.train.Features(
        feature={name: kinds[type(values[0])](values) for name, values in features.items()})).SerializeToString()


def bare(modality: str, files: list[str]):
    """The bare tf.data decode, over and over: batches (inputs, labels)."""
    import tensorflow as tf

    from model_code.preprocessing import audio
    spec = MODEL.input(modality)
    text = tf.io.FixedLenFeature([], tf.string)
    wanted = {'label': tf.io.FixedLenFeature([], tf.int64), **{
        'image': {'image': text},
        'audio': {'audio': text, **{name: tf.io.FixedLenFeature([], tf.float32)
                                    for name in ('log_mel_mean', 'log_mel_stddev')}},
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
        chosen = tf.gather(stored, (2 * tf.range(spec.frames) + 1) * tf.size(stored) // (2 * spec.frames))
        frames = tf.map_fn(lambda jpeg: tf.io.decode_jpeg(jpeg, channels=3), chosen,
                           fn_output_signature=tf.TensorSpec([None, None, 3], tf.uint8))
        return tf.image.resize(frames, [spec.height, spec.width]) / 127.5 - 1.0

    decode = {'image': image, 'audio': sound, 'video': video}[modality]

    def example(record):
        features = tf.io.parse_single_example(record, wanted)
        return decode(features), features['label']

    records = tf.data.TFRecordDataset(files, compression_type='GZIP').repeat()
    convert = tf.autograph.experimental.do_not_convert
    # As many batches in advance as ours: with AUTOTUNE they become so many that a turn finds most of its own ready.
    return records.map(convert(example), num_parallel_calls=tf.data.AUTOTUNE).batch(
        BATCH, drop_remainder=True).prefetch(2)


def rate(iterator, seconds: float) -> tuple[float, float]:
    """(examples a second, CPU seconds an example) of the process over about `seconds`."""
    settled = time.perf_counter() + seconds / 3
    while time.perf_counter() < settled:  # What was made in advance, while others had their turn.
        next(iterator)
    batches, start, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - start < seconds:
        next(iterator)
        batches += 1
    examples = batches * BATCH
    return examples / (time.perf_counter() - start), (time.process_time() - cpu) / examples


def step_rate(task: Task, classes: int, batch) -> float:
    """Examples a second of the Ti model's train step on the batch: the median of some."""
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
        rate(iterator, seconds / 2)  # The first fills buffers, and tf.data finds its parallelism.
    turns = [{side: rate(iterator, seconds) for side, iterator in iterators.items()} for _ in range(repeats)]
    median = {side: statistics.median(turn[side][0] for turn in turns) for side in iterators}
    cpu = {side: 1e3 * statistics.median(turn[side][1] for turn in turns) for side in iterators}
    ratio = {side: statistics.median(turn[side][0] / turn['bare'][0] for turn in turns) for side in iterators}
    report(f'{name}, input pipeline by the bare decode', ratio['ours'], 0.9, True,
           f'by CPU time {cpu["bare"] / cpu["ours"]:.2f}; '
           + ', '.join(f'{side} {median[side]:.1f} examples/s, {cpu[side]:.2f} ms CPU each' for side in iterators)
           + f'; without augmentations {ratio["plain"]:.2f}; augmented by {", ".join(task.recipe.augmentations)}'
           + (' and mixup' if task.recipe.mixup_alpha else ''))
    if name == 'picture':  # The same step as image's.
        return
    batch = next(iterators['ours'])
    del iterators
    step = step_rate(task, classes, batch)
    report(f'{name}, input pipeline by the train step', median['ours'] / step, 2.0, True,
           f'{median["ours"]:.1f} examples/s made; the Ti step consumes {step:.1f}')


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument('names', nargs='*', metavar='image|picture|audio|video', help='default: all')
    media.add_argument(parser)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=3.0, help='a turn')
    parser.add_argument('--count', type=int, default=0, help='fewer files')
    args = parser.parse_args()
    names = chosen(parser, args.names, SOURCES)
    report = Report()
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            measure(report, name, args.data, folder, args.count, args.repeats, args.seconds)
    return min(report.missed, 1)


if __name__ == '__main__':
    sys.exit(main())
