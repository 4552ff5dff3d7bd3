"""Data against those of a served version: what is remarked on or stops, what is kept, which version counts."""

import json
import logging
import os
import random

import numpy as np
import pandas
import pytest
import tensorflow_data_validation as tfdv
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import standard_artifacts

from components import data_statistics
from components.artifacts import RejectedMedia, write_rejected_media
from components.classes import Classes, TaskClasses, write_classes
from components.data_drift import charted, comparison, distances, executor, served_data, statistics
from components.served_data_lookup import executor as lookup
from media import reading
from media.entries import Entry
from media.findings import Findings
from media.rejections import Rejection
from media.sandbox.parent import Decoder
from model_code import file_io, model_directory
from model_code.data import Limits
from model_code.errors import PipelineStop
from model_code.serialization import to_json
from model_code.tasks import Checks, Mixture
from tests import testing

PETS = testing.task('pets', 'image')


def rows(count: int, seed: int = 0) -> list[dict]:
    """The features of examples such as media have: of three sizes, of continuous durations, two labels."""
    rng = np.random.default_rng(seed)
    heights = rng.choice([240, 480, 720], count, p=[0.6, 0.3, 0.1])
    return [{'label': 'cat' if i % 2 else 'dog', 'height': int(h), 'width': int(h) * 4 // 3, 'duration_s': float(d),
             'brightness': float(b), 'loudness_dbfs': float(v)}
            for i, (h, d, b, v) in enumerate(zip(heights, rng.gamma(4, 0.5, count), rng.beta(4, 4, count),
                                                 rng.normal(-20, 5, count), strict=True))]


def statistics_of(examples: list[dict]) -> statistics_pb2.DatasetFeatureStatisticsList:
    return tfdv.generate_statistics_from_dataframe(pandas.DataFrame(examples), n_jobs=1)


def data_of(train: list[dict], evaluated: list[dict] | None = None, **rejected: int) -> statistics.TaskData:
    """What is known of examples with these features. rejected: reason -> files."""
    splits = {'train': train, 'eval': evaluated or []}
    labels: dict[str, dict[str, int]] = {}
    for split, examples in splits.items():
        for example in examples:
            counts = labels.setdefault(example['label'], {})
            counts[split] = counts.get(split, 0) + 1
    return statistics.TaskData(
        {split: len(examples) for split, examples in splits.items()}, labels,
        sum(map(len, splits.values())) + sum(rejected.values()), rejected,
        {split: statistics_of(examples) for split, examples in splits.items() if examples})


def changed(examples: list[dict], feature: str, change) -> list[dict]:
    return [{**example, feature: change(example[feature])} for example in examples]


def more_dogs(examples):
    return [e for i, e in enumerate(examples) if e['label'] == 'dog' or i % 4 == 1]


DRIFTS = [
    ('height', lambda e: changed(e, 'height', lambda h: h // 2), 'pixels lower than', 'mean height '),
    ('width', lambda e: changed(e, 'width', lambda w: 2 * w), 'pixels wider than', 'mean width '),
    ('duration_s', lambda e: changed(e, 'duration_s', lambda s: s / 3), ' s shorter than', 'mean duration '),
    ('brightness', lambda e: changed(e, 'brightness', lambda b: b / 3), 'darker than', 'mean brightness '),
    ('loudness_dbfs', lambda e: changed(e, 'loudness_dbfs', lambda v: v - 12), ' dB quieter than', ' dBFS, was -20.1'),
    ('label', more_dogs, "'cat' 33.3%, was 50.0%, 'dog' 66.7%, was 50.0%", 'missing or counted twice'),
    ('label', lambda e: changed(e, 'label', lambda v: 'owl' if v == 'dog' else v),
     "'dog' 0.0%, was 50.0%, 'owl' 50.0%, was 0.0%", 'labels'),
    ('examples', lambda e: e[:190], '190 train examples, 400 in version 3: fewer than half', 'missing'),
]


@pytest.mark.parametrize('feature, change, shown, also', DRIFTS, ids=[f'{d[0]} {d[2]}' for d in DRIFTS])
@pytest.mark.parametrize('drift', ['remark', 'stop'])
def test_a_planted_drift_is_found_with_its_numbers_and_no_other(feature, change, shown, also, drift):
    task = testing.changed(PETS, drift=drift)
    found = comparison.compare(task, data_of(rows(400)), data_of(change(rows(400, seed=1))), '3')
    assert [finding.feature for finding in found] == [feature]
    assert found[0].stops == (drift == 'stop') and found[0].split == 'train'
    assert shown in found[0].sentence and also in found[0].sentence and 'version 3' in found[0].sentence


def test_another_spread_around_the_same_mean_is_said_so():
    wider = changed(rows(400, seed=1), 'loudness_dbfs', lambda v: -20 + 4 * (v + 20))
    found, = comparison.compare(PETS, data_of(rows(400)), data_of(wider), '3')
    assert 'of another range of loudness than' in found.sentence and '(standard deviation ' in found.sentence


def test_a_feature_without_words_of_its_own_has_its_name():
    old, new = ([{**row, 'bit_rate': i + shift} for i, row in enumerate(rows(100))] for shift in (0, 200))
    found, = comparison.compare(PETS, data_of(old), data_of(new), '3')
    assert '200 higher in bit rate than those of version 3' in found.sentence


def test_more_rejected_files_are_found_by_their_reason():
    old, examples = data_of(rows(400), truncated=2, empty=3), rows(400, seed=1)
    assert comparison.compare(PETS, old, data_of(examples, truncated=4, empty=4), '3') == []
    found, = comparison.compare(PETS, old, data_of(examples, truncated=30, empty=4), '3')
    assert found.feature == 'rejected' and 'truncated 6.91% of the files (30), was 0.49%' in found.sentence
    assert 'empty' not in found.sentence


@pytest.mark.parametrize('count', [20, 50, 200, 1000])
def test_halves_of_the_same_data_do_not_differ(count):
    for seed in range(3):
        examples = rows(2 * count, seed)
        random.Random(seed).shuffle(examples)
        assert comparison.compare(PETS, data_of(examples[:count]), data_of(examples[count:]), '3') == []


DRAWS = {'one size in many': lambda rng, n: rng.choice([28, 32], n, p=[0.98, 0.02]),
         'an outlier': lambda rng, n: np.append(rng.normal(0, 1, n - 1), 500.0),
         'a long tail': lambda rng, n: rng.pareto(1.5, n),
         'a spike in a spread': lambda rng, n: np.where(rng.random(n) < 0.7, 2.0, rng.uniform(0.2, 5, n))}


@pytest.mark.parametrize('draw', DRAWS.values(), ids=DRAWS)
def test_neither_outliers_nor_spikes_look_like_a_drift(draw):
    rng, worst = np.random.default_rng(0), 0.0
    for _ in range(10):
        one, other = (statistics_of([{'height': value} for value in draw(rng, 300)]) for _ in range(2))
        worst = max(worst, distances.between(one, other)['height'].value)
    assert worst < Checks().max_drift


def test_few_examples_are_compared_only_as_far_as_chance_allows():
    darker = changed(rows(10, seed=1), 'brightness', lambda b: b / 10)
    assert comparison.compare(PETS, data_of(rows(10)), data_of(darker), '3') == []
    assert distances.chance(23, 23) > 1 > distances.chance(24, 24)


def test_a_drift_in_both_splits_is_one_finding_and_thresholds_are_those_of_the_task():
    old = data_of(rows(300), rows(300, 1))
    new = data_of(*(changed(rows(300, seed), 'brightness', lambda b: b / 3) for seed in (2, 3)))
    found, = comparison.compare(PETS, old, new, '3')
    assert found.split == 'train' and found.sentence.endswith('The same in eval.')
    assert comparison.compare(testing.changed(PETS, max_drift=0.99), old, new, '3') == []
    dogs = data_of(more_dogs(rows(300, 1)))
    assert comparison.compare(testing.changed(PETS, max_label_drift=0.3), data_of(rows(300)), dogs, '3') == []


def test_a_rare_label_that_all_but_vanishes_is_found_and_many_are_counted():
    old = [{**row, 'label': f'{i % 50}'} for i, row in enumerate(rows(5000))]
    new = [row for i, row in enumerate(old) if row['label'] != '7' or i < 50]
    found, = comparison.compare(PETS, data_of(old), data_of(new), '3')
    assert "version 3: '7' 0.0%, was 2.0%. Check" in found.sentence
    few = [row for row in new if int(row['label']) % 10 or int(row['label']) < 10]
    found, = comparison.compare(PETS, data_of(old), data_of(few), '3')
    assert "'10' 0.0%, was 2.0%, '20' 0.0%, was 2.0%, '30' 0.0%, was 2.0% and 2 more. Check" in found.sentence


def test_an_eval_split_unlike_its_train_split_is_only_remarked_on():
    task = testing.changed(PETS, drift='stop')
    darker = changed(rows(200, 1), 'brightness', lambda b: b / 3)
    found, = comparison.compare_splits(task, data_of(rows(200), darker))
    assert 'the eval examples are' in found.sentence and 'darker than the train examples' in found.sentence
    assert not found.stops and comparison.compare_splits(task, data_of(rows(200), rows(200, 1))) == []


def test_values_that_only_a_machine_tells_apart_are_no_drift():
    old, new, other = (data_of([{'label': 'a', 'duration_s': seconds + i / 1000} for i in range(100)])
                       for seconds in (10.0, 10.11, 12.0))
    assert distances.between(old.statistics['train'], new.statistics['train'])['duration_s'].value > 0.9
    assert comparison.compare(PETS, old, new, '3') == []
    assert ' s longer than' in comparison.compare(PETS, old, other, '3')[0].sentence


def tone(amplitude: float) -> bytes:
    wave = amplitude * np.sin(2 * np.pi * 440 * np.arange(8000) / 16000)
    return testing.track_bytes('wav', 'pcm_s16le', rate=16000, wave=wave)


def clip(tmp_path, label: str) -> bytes:
    testing.video_task(tmp_path / 'walks', per_class=1)
    return (tmp_path / f'walks/clips/train_{label}_0.mp4').read_bytes()


# Modality, what must be found, a file before and a file after.
MEDIA = [
    ('image', {'height', 'width'}, lambda _: testing.image_bytes(size=(20, 16)),
     lambda _: testing.image_bytes(size=(40, 32))),
    ('image', {'brightness'}, lambda _: testing.plain_image_bytes((200, 190, 180)),
     lambda _: testing.plain_image_bytes((90, 80, 70))),
    ('audio', {'duration_s'}, lambda _: testing.wav_bytes(0.9), lambda _: testing.wav_bytes(0.3)),
    ('audio', {'loudness_dbfs'}, lambda _: tone(0.5), lambda _: tone(0.05)),
    ('video', {'duration_s'}, lambda _: testing.mp4_bytes(32), lambda _: testing.mp4_bytes(16)),
    ('text', {'text_bytes'}, lambda _: b'a long text ' * 9, lambda _: b'a short one'),
    ('video', {'brightness'}, lambda folder: clip(folder, 'bright'), lambda folder: clip(folder, 'dark')),
]


@pytest.mark.parametrize('modality, expected, before, after', MEDIA, ids=[f'{m[0]} {min(m[1])}' for m in MEDIA])
def test_a_drift_of_media_is_found_by_what_the_readers_say_of_them(tmp_path, modality, expected, before, after):
    testing.write(tmp_path, 'before', before(tmp_path))
    testing.write(tmp_path, 'after', after(tmp_path))
    spec = {spec.modality: spec for spec in testing.INPUTS}[modality]
    found, decoder = {}, Decoder(str(tmp_path), modality, spec, Limits(), ())
    try:
        entries = [Entry(name, ('a',), 'train') for name in ('before', 'after')]
        for decoded in reading.decode(decoder, entries, modality):
            assert not decoded.rejection, decoded.rejection
            found[decoded.entry.id] = [{'label': 'a', **{name: value for name, value in decoded.features.items()
                                                         if isinstance(value, (int, float))}}] * 40
    finally:
        decoder.close()
    task = testing.task('t', modality)
    findings = comparison.compare(task, data_of(found['before']), data_of(found['after']), '3')
    assert {finding.feature for finding in findings} == expected


class TestWhatIsKept:
    def test_it_is_found_again_and_holds_no_id_group_or_extra_column(self, tmp_path):
        private = [{**row, 'id': f'secret/{i}.png', 'group': f'speaker-{i}', 'site': 'hospital'}
                   for i, row in enumerate(rows(50))]
        statistics_dir = tmp_path / 'statistics'
        file_io.write(str(statistics_dir / 'Split-train/FeatureStats.pb'), statistics_of(private).SerializeToString())
        findings = Findings({'train': 50}, {'cat': {'train': 25}, 'dog': {'train': 25}})
        findings.add_rejected(Rejection('empty', '', 'secret/empty.png'))
        data = {'pets': statistics.of_findings(findings, str(statistics_dir))}
        statistics.write(str(tmp_path / 'kept'), data)
        assert statistics.read(str(tmp_path / 'kept')) == data
        content = b''.join(path.read_bytes() for path in (tmp_path / 'kept').rglob('*') if path.is_file())
        assert b'secret' not in content and b'speaker' not in content and b'hospital' not in content
        assert b'cat' in content and len(content) < 20_000
        assert data['pets'].rejected == {'empty': 1} and data['pets'].files == 51
        kept = statistics.numeric(data['pets'].statistics['train'])
        assert set(kept) == {'height', 'width', 'duration_s', 'brightness', 'loudness_dbfs'}

    def test_none_and_damaged_ones(self, tmp_path):
        assert statistics.read(str(tmp_path)) is None
        for content in ('{', '[]', '{"pets": {"examples": 1}}', '{"pets": 3}'):
            (tmp_path / 'data.json').write_text(content)
            with pytest.raises(ValueError):
                statistics.read(str(tmp_path))
        statistics.write(str(tmp_path), {'pets': data_of(rows(5))})
        (tmp_path / 'pets/Split-train/FeatureStats.pb').write_bytes(b'no statistics')
        with pytest.raises(ValueError, match='FeatureStats.pb holds no statistics'):
            statistics.read(str(tmp_path))


def version(serving_dir, number, data: dict | None, fingerprints=None, classes=('cat', 'dog'), **card):
    """A served version with this data; None keeps no statistics, as older releases."""
    path = serving_dir / str(number)
    testing.write(path, 'saved_model.pb', 'graph')
    tasks = [{'name': name, 'classes': list(classes)} for name in data or ('pets',)]
    model_directory.write_card(str(path), {'tasks': tasks, 'media_fingerprints': fingerprints or {}, **card})
    if data is not None:
        statistics.write(model_directory.statistics_path(str(path)), data)


FINGERPRINTS = {'pets': 'new'}


def judge(serving_dir, number, data, task=PETS, classes=('cat', 'dog'), **mixture):
    return executor.judge(Mixture((task,), **mixture), {'pets': data}, {'pets': classes}, FINGERPRINTS,
                          str(serving_dir), number)


class TestWhichVersionCounts:
    @pytest.mark.parametrize('trained_on, chosen', [
        ({'pets': 'old'}, '7'), ({'pets': 'new', 'tones': 't'}, '7'), ({}, '7'), ({'pets': 'new'}, '5')])
    def test_the_newest_but_data_are_not_compared_with_themselves(self, tmp_path, trained_on, chosen):
        version(tmp_path, 5, None)
        version(tmp_path, 7, None, trained_on, data_baseline_version='5')
        assert served_data.choose(str(tmp_path), FINGERPRINTS) == chosen

    def test_none_where_nothing_is_served_or_nothing_was_before_these_data(self, tmp_path):
        assert served_data.choose(str(tmp_path / 'nowhere'), FINGERPRINTS) == ''
        version(tmp_path, 7, None, FINGERPRINTS)  # of a release that did not write with what it had compared
        assert served_data.choose(str(tmp_path), FINGERPRINTS) == ''

    def test_on_a_cluster_it_is_looked_up(self, tmp_path):
        def look_up() -> str:
            classes, found = Classes(), standard_artifacts.String()
            classes.uri, found.uri = str(tmp_path / 'classes'), str(tmp_path / 'version')
            write_classes(classes.uri, TaskClasses(('cat', 'dog'), 'new'))
            lookup.Executor().Do({'classes_pets': [classes]}, {'version': [found]},
                                 {'serving_dir': str(tmp_path / 'serving')})
            return found.read()
        assert look_up() == 'none'
        version(tmp_path / 'serving', 5, None)
        assert look_up() == '5'
        version(tmp_path / 'serving', 7, None, FINGERPRINTS, data_baseline_version='5')
        assert look_up() == '5'


class TestTheJudgement:
    def test_unchanged_data_are_nothing_remarkable(self, tmp_path):
        version(tmp_path, 3, {'pets': data_of(rows(100))})
        result, stops = judge(tmp_path, '3', data_of(rows(100)))
        assert (result['status'], result['findings'], stops) == (
            'The data were compared with those of version 3.', [], [])
        assert result['tasks'][0]['examples'] == {'train': [100, 100], 'eval': [0, 0]}

    @pytest.mark.parametrize('number', ['', 'none'])
    def test_with_no_other_data_it_says_so_in_words_that_stay_true_from_the_cache(self, tmp_path, number):
        result, stops = judge(tmp_path, number, data_of(rows(20)))
        assert result['status'].endswith('no version of other data is served.')
        assert (result['version'], result['findings'], result['tasks'], stops) == ('', [], [], [])
        version(tmp_path, 3, None, FINGERPRINTS)
        assert judge(tmp_path, number, data_of(rows(20)))[0]['status'] == result['status']

    def test_a_version_without_statistics_with_damaged_ones_and_one_that_is_gone_are_sentences(self, tmp_path):
        version(tmp_path, 3, None)
        assert 'Version 3 keeps no statistics of its data' in judge(tmp_path, '3', data_of(rows(20)))[0]['status']
        testing.write(tmp_path, '3/assets.extra/data_statistics/data.json', '{')
        assert 'of the data of version 3 cannot be read (' in judge(tmp_path, '3', data_of(rows(20)))[0]['status']
        assert 'Version 2, ' in judge(tmp_path, '2', data_of(rows(20)))[0]['status']

    def test_a_drift_stops_only_where_the_task_says_so_and_no_model_of_these_data_is_served(self, tmp_path):
        darker, task = data_of(changed(rows(100), 'brightness', lambda b: b / 3)), testing.changed(PETS, drift='stop')
        version(tmp_path, 3, {'pets': data_of(rows(100))})
        result, stops = judge(tmp_path, '3', darker)
        assert len(result['findings']) == 1 and not stops
        result, stops = judge(tmp_path, '3', darker, task)
        assert 'darker than those of version 3' in stops[0] and "drift='remark'" in stops[-1]
        version(tmp_path, 4, {'pets': darker}, FINGERPRINTS, data_baseline_version='3')
        result, stops = judge(tmp_path, '3', darker, task)
        assert len(result['findings']) == 1 and not result['findings'][0]['stops'] and not stops
        assert 'A newer version was trained on these same data' in result['status']

    def test_a_lost_class_stops_unless_it_is_allowed_by_name(self, tmp_path):
        version(tmp_path, 3, None)  # the classes are in the card: no statistics are needed
        data = data_of(changed(rows(20), 'label', lambda _: 'dog'))
        _, stops = judge(tmp_path, '3', data, classes=('dog', 'cats'))
        assert stops[0].startswith("pets: its data no longer have the class 'cat', which version 3 knows. 'cats' is")
        assert stops[-1] == 'Nothing was trained.'
        allowed = testing.changed(PETS, dropped_classes=('cat',))
        result, stops = judge(tmp_path, '3', data, allowed, classes=('dog', 'cats'))
        assert stops == [] and result['remarks'] == ["pets: version 3 does not know the class 'cats' of its data."]

    def test_a_lost_task_stops_unless_it_is_allowed_by_name(self, tmp_path):
        version(tmp_path, 3, {'pets': data_of(rows(20)), 'tones': data_of(rows(20))})
        _, stops = judge(tmp_path, '3', data_of(rows(20)))
        assert stops[0].startswith('The config no longer has the task tones, which version 3 knows.')
        assert judge(tmp_path, '3', data_of(rows(20)), dropped_tasks=('tones',))[1] == []


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_the_data_of_a_version_in_an_object_store_are_found(tmp_path, store, request):
    url = f'{request.getfixturevalue(store)}/serving/polyvit'
    version(tmp_path, 3, {'pets': data_of(rows(100))})
    file_io.copy_folder(str(tmp_path), url)
    assert served_data.choose(url, FINGERPRINTS) == '3'
    darker = data_of(changed(rows(100), 'brightness', lambda b: b / 3))
    result, _ = executor.judge(Mixture((PETS,)), {'pets': darker}, {'pets': ('cat', 'dog')}, FINGERPRINTS, url, '3')
    assert [finding['feature'] for finding in result['findings']] == ['brightness']


def artifact(cls, uri):
    made = cls()
    made.uri = os.fspath(uri)
    return [made]


def run(folder, serving_dir, data: statistics.TaskData, task, version: str):
    """DataDrift over artifacts as the lane of one task leaves them; the directory that it wrote."""
    for split, of_split in data.statistics.items():
        file_io.write(str(folder / f'statistics/Split-{split}/FeatureStats.pb'), of_split.SerializeToString())
    write_rejected_media(str(folder / 'rejected'), Findings(data.examples, data.labels), [])
    write_classes(str(folder / 'classes'), TaskClasses(tuple(sorted(data.labels)), 'new'))
    executor.Executor().Do(
        {'statistics_pets': artifact(standard_artifacts.ExampleStatistics, folder / 'statistics'),
         'rejected_pets': artifact(RejectedMedia, folder / 'rejected'),
         'classes_pets': artifact(Classes, folder / 'classes')},
        {'data_statistics': artifact(data_statistics.DataStatistics, folder / 'drift')},
        {'mixture': to_json(Mixture((task,))), 'serving_dir': str(serving_dir), 'served_version': version})
    return str(folder / 'drift')


def test_the_component_keeps_the_data_and_remarks_on_a_drift_or_stops(tmp_path, caplog):
    caplog.set_level(logging.INFO, 'polyvit')
    old, new = data_of(rows(100)), data_of(changed(rows(100), 'loudness_dbfs', lambda v: v - 12))
    uri = run(tmp_path / '1', tmp_path / 'serving', old, PETS, '')
    assert 'no version of other data is served' in caplog.text and data_statistics.read_drift(uri)['findings'] == []
    kept = statistics.read(data_statistics.kept_statistics(uri))
    assert kept == {'pets': statistics.TaskData({'train': 100, 'eval': 0}, old.labels, 100, {}, {
        'train': statistics.without_values(old.statistics['train'])})}

    version(tmp_path / 'serving', 3, kept)
    uri = run(tmp_path / '2', tmp_path / 'serving', new, PETS, '3')
    assert '12 dB quieter than those of version 3' in caplog.text
    drift = data_statistics.read_drift(uri)
    assert [(f['task'], f['feature']) for f in drift['findings']] == [('pets', 'loudness_dbfs')]
    assert drift == json.loads(json.dumps(drift, allow_nan=False)), 'it is JSON for other programs too'
    with pytest.raises(PipelineStop, match='12 dB quieter than .* Nothing was trained'):
        run(tmp_path / '3', tmp_path / 'serving', new, testing.changed(PETS, drift='stop'), '3')


def test_charts_have_the_shares_of_both_in_the_same_bins():
    old = data_of([{'label': 'a', 'height': 28}] * 30 + [{'label': 'b', 'height': 32}] * 10)
    new = data_of([{'label': 'a', 'height': 28}] * 20)
    made = charted.of_task(old, new)
    feature, = made['features']
    assert (feature['name'], feature['title']) == ('height', 'height (pixels)')
    assert (feature['edges'][0], feature['edges'][-1], len(feature['edges'])) == (28, 32, charted.BINS + 1)
    assert sum(feature['old']) == pytest.approx(1) and sum(feature['old'][-3:]) == pytest.approx(0.25, rel=0.01)
    assert feature['new'][0] == pytest.approx(1) and feature['old_mean'] == 29
    assert made['labels'] == [('a', 0.75, 1.0), ('b', 0.25, 0.0)]


def test_an_outlier_does_not_widen_the_bins():
    values = [{'label': 'a', 'height': value} for value in [*np.linspace(0, 1, 200), 10_000.0]]
    feature, = charted.of_task(data_of(values), data_of(values))['features']
    assert feature['edges'][-1] < 5 and sum(feature['new']) == pytest.approx(1)
