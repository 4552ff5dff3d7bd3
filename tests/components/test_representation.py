"""Probes of a model's representation, from examples on disk to the entry in evaluation.json."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from components import evaluation_names
from components.task_evaluator import executor, representation
from model_code.errors import PipelineStop
from model_code.probe import Probe
from model_code.serialization import to_json
from tests import testing

COLOURS = {'blue': (20, 20, 200), 'green': (20, 200, 20), 'red': (200, 20, 20)}
CLASSES = tuple(COLOURS)
PROBE = Probe(linear=True, shots=(1, 5), seeds=3)


class MeanColour(tf.Module):
    """Embeddings of images: the mean colour. Of clips (lists of images): that of the first frame."""

    def export(self, directory) -> str:
        def colour(encoded):
            return tf.reduce_mean(tf.cast(tf.io.decode_png(encoded, channels=3), tf.float32), [0, 1])

        def embedding(media):
            first = media if media.shape.rank == 1 else media[:, 0]
            return {'embedding': tf.map_fn(colour, first, fn_output_signature=tf.TensorSpec([3], tf.float32))}

        def signature(argument, spec):
            function = tf.function(lambda **inputs: embedding(inputs[argument]))
            return function.get_concrete_function(**{argument: tf.TensorSpec(spec, tf.string, argument)})

        tf.saved_model.save(self, str(directory), signatures={
            'image_embedding': signature('image', [None]), 'video_embedding': signature('frames', [None, None])})
        return str(directory)


@pytest.fixture(scope='module')
def model(tmp_path_factory):
    return MeanColour().export(tmp_path_factory.mktemp('model') / '1')


def write(directory, labels: list[list[str]], colours: list[tuple[int, int, int]], groups=(), feature='image'):
    """A split in two files; the ids count up over both."""
    os.makedirs(directory)
    for number in range(2):
        with tf.io.TFRecordWriter(f'{directory}/part-{number}.gz', 'GZIP') as writer:
            for i in range(number, len(labels), 2):
                image = testing.plain_image_bytes(colours[i])
                values = {'id': [b'%05d' % i], 'label': [label.encode() for label in labels[i]],
                          feature: [image] if feature == 'image' else [image] * (1 + i % 3)}
                if groups:
                    values['group'] = [groups[i].encode()]
                writer.write(tf.train.Example(features=tf.train.Features(feature={
                    name: tf.train.Feature(bytes_list=tf.train.BytesList(value=value))
                    for name, value in values.items()})).SerializeToString())


def coloured(count: int, seed: int) -> tuple[list[list[str]], list[tuple[int, int, int]]]:
    rng = np.random.default_rng(seed)
    names = [CLASSES[i % 3] for i in range(count)]
    return [[name] for name in names], [tuple(int(v) for v in np.array(COLOURS[name]) + rng.integers(-20, 20, 3))
                                        for name in names]


def splits(folder, feature='image', shuffled=False) -> dict[str, str]:
    labels, colours = coloured(90, 0)
    if shuffled:
        labels = [labels[i] for i in np.random.default_rng(1).permutation(90)]
    write(folder / 'Split-train', labels, colours, feature=feature)
    write(folder / 'Split-eval', *coloured(60, 2), [f'scene {i // 6}' for i in range(60)], feature)
    return {split: str(folder / f'Split-{split}') for split in ('train', 'eval')}


@pytest.mark.parametrize('modality, feature', [('image', 'image'), ('video', 'frames')])
def test_a_representation_that_separates_the_classes(model, tmp_path, modality, feature):
    found = representation.measure(model, testing.source('colours', modality), CLASSES, splits(tmp_path, feature),
                                   PROBE)
    assert found['linear']['value'] == 1.0 and 0.5 < found['linear']['low'] < found['linear']['high'] == 1.0
    assert [(row['shots'], row['value'], row['values'], row['classes_with_fewer']) for row in found['few_shot']] == [
        (1, 1.0, [1.0] * 3, 0), (5, 1.0, [1.0] * 3, 0)]
    assert {name: found[name] for name in ('metric', 'classes', 'width', 'train_examples', 'train_total',
                                           'eval_examples', 'eval_total')} == {
        'metric': 'accuracy', 'classes': 3, 'width': 3, 'train_examples': 90, 'train_total': 90, 'eval_examples': 60,
        'eval_total': 60}
    json.dumps(found, allow_nan=False)
    assert set(evaluation_names.probe_metrics({'probe': found})) == {'linear_probe_accuracy', '1_shot_accuracy',
                                                                     '5_shot_accuracy'}


def test_the_interval_of_few_shots_is_over_the_draws(model, tmp_path):
    found = representation.measure(model, testing.source('colours', 'image'), CLASSES,
                                   splits(tmp_path, shuffled=True), PROBE)
    five = found['few_shot'][1]
    assert five['value'] == pytest.approx(np.mean(five['values'])) and found['linear']['value'] < 1
    assert five['low'] <= five['value'] <= five['high'] and len(set(five['values'])) > 1
    half = 4.3027 * np.std(five['values'], ddof=1) / 3 ** 0.5  # Student's t of 2 degrees of freedom
    assert five['high'] == pytest.approx(min(1, five['value'] + half), abs=1e-3)


def test_shots_that_are_all_examples_are_drawn_once_and_have_no_interval(model, tmp_path):
    found = representation.measure(model, testing.source('colours', 'image'), CLASSES, splits(tmp_path, shuffled=True),
                                   Probe(shots=(29, 30, 99), seeds=3))
    assert [(len(row['values']), row['low'] is None) for row in found['few_shot']] == [(3, False), (1, True), (1, True)]


def test_the_same_examples_in_other_files_give_the_same(model, tmp_path):
    source, labels_and_colours = testing.source('colours', 'image'), coloured(90, 0)
    results = []
    for name in ('a', 'b'):
        folders = splits(tmp_path / name, shuffled=True)
        if name == 'b':
            os.rename(f'{folders["train"]}/part-0.gz', f'{folders["train"]}/part-9.gz')
        found = representation.measure(model, source, CLASSES, folders, PROBE)
        results.append({key: value for key, value in found.items() if key != 'seconds'})
    assert results[0] == results[1] and labels_and_colours


def test_of_many_examples_a_sample_is_embedded(model, tmp_path):
    found = representation.measure(model, testing.source('colours', 'image'), CLASSES, splits(tmp_path),
                                   Probe(linear=True, max_examples=30))
    assert (found['train_examples'], found['train_total']) == (30, 90)
    assert (found['eval_examples'], found['eval_total']) == (30, 60) and found['linear']['value'] == 1.0


def test_several_labels_and_label_groups(model, tmp_path):
    labels, colours = coloured(60, 0)
    both = [[name, 'warm'] if name == 'red' else [name] for name, in labels]
    grouped = [[f'hue:{name}', 'feel:warm' if name == 'red' else 'feel:cold'] for name, in labels]
    for folder, given in (('several', both), ('groups', grouped)):
        for split in ('train', 'eval'):
            write(tmp_path / folder / f'Split-{split}', given, colours)

    def measured(folder, classes, **data):
        return representation.measure(
            model, testing.source('colours', 'image', **data), classes,
            {split: str(tmp_path / folder / f'Split-{split}') for split in ('train', 'eval')}, PROBE)

    several = measured('several', (*CLASSES, 'warm'), label_kind='multi')
    assert several['metric'] == 'mean_average_precision'
    assert several['linear']['value'] == pytest.approx(1) and several['few_shot'][1]['value'] == pytest.approx(1)
    groups = measured('groups', ('feel:cold', 'hue:blue', 'feel:warm', 'hue:green', 'hue:red'), label_kind='groups',
                      label_groups=('hue', 'feel'))
    assert groups['metric'] == 'joint_accuracy' and groups['linear']['value'] == 1.0


def test_unknown_labels_are_wrong_and_a_class_with_few_examples_is_told(model, tmp_path):
    labels, colours = coloured(30, 0)
    rare = [index for index, (name,) in enumerate(labels) if name == 'red'][2:]
    kept = [index for index in range(30) if index not in rare]
    write(tmp_path / 'Split-train', [labels[i] for i in kept], [colours[i] for i in kept])
    write(tmp_path / 'Split-eval', [*labels, ['mauve']], [*colours, (200, 100, 200)])
    found = representation.measure(model, testing.source('colours', 'image'), CLASSES, {
        split: str(tmp_path / f'Split-{split}') for split in ('train', 'eval')}, PROBE)
    assert found['linear']['value'] == pytest.approx(30 / 31)
    assert [row['classes_with_fewer'] for row in found['few_shot']] == [0, 1]


@pytest.mark.parametrize('train, asked', [(0, 6), (6, 0), (1, 6)])
def test_too_little_to_learn_from_or_to_ask(model, tmp_path, train, asked):
    for split, count in (('train', train), ('eval', asked)):
        labels, colours = coloured(count, 0)
        write(tmp_path / f'Split-{split}', labels, colours)
    found = representation.measure(model, testing.source('colours', 'image'), CLASSES, {
        split: str(tmp_path / f'Split-{split}') for split in ('train', 'eval')}, PROBE)
    assert found['linear'] is None and found['few_shot'] == [] and found['train_total'] == train
    assert evaluation_names.probe_metrics({'probe': found}) == {} == evaluation_names.probe_metrics({})


def test_one_shot_of_one_class_tells_nothing(model, tmp_path):
    labels, colours = coloured(6, 0)
    for split in ('train', 'eval'):
        write(tmp_path / f'Split-{split}', [['red'] if name == 'red' else [] for name, in labels], colours)
    found = representation.measure(model, testing.source('reds', 'image', label_kind='multi'), ('red',), {
        split: str(tmp_path / f'Split-{split}') for split in ('train', 'eval')}, PROBE)
    assert found['linear']['value'] == 1.0
    assert [(row['value'], row['values']) for row in found['few_shot']][0] == (None, [])
    json.dumps(found, allow_nan=False)


def test_a_modality_without_a_representation_is_a_sentence(model, tmp_path):
    with pytest.raises(PipelineStop, match='has no signature audio_embedding.* Its signatures: image_embedding'):
        representation.measure(model, testing.source('tones', 'audio'), ('a', 'b'), {}, PROBE)


def test_the_evaluator_measures_what_the_config_asks_for(model, tmp_path):
    from tfx.types import standard_artifacts
    splits(tmp_path)
    examples = standard_artifacts.Examples()
    examples.uri, examples.split_names = str(tmp_path), '["train", "eval"]'
    source = testing.source('colours', 'image')
    for probe in ('', to_json(Probe())):
        assert executor._probe({'probe': probe}, '', source, CLASSES, []) == {}
    assert executor._probe({}, '', source, CLASSES, []) == {}
    found = executor._probe({'probe': to_json(PROBE)}, model, source, CLASSES, [examples])
    assert list(found) == ['probe'] and found['probe']['linear']['value'] == 1.0
