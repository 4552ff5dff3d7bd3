"""The report: what it says, that it escapes all text, the numbers of its charts, and Do on hand-made artifacts."""

import html.parser
import json
import math
import re

import pytest
import tensorflow as tf
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.types import channel, standard_artifacts

from components.artifacts import EvaluationReport, RejectedMedia
from components.blessing_gate.changes import Changes
from components.blessing_gate.decision import decide
from components.data_statistics import DataStatistics
from components.report import charts, component, data_drift, executor, label_counts, sources
from components.report.render import render, verdict
from components.report.training import trained
from media import findings
from media.entries import Entry
from media.rejections import Rejection
from model_code import serialization
from model_code.errors import PipelineStop
from model_code.tasks import Mixture
from tests import testing
from tests.components import scoring_model as sm
from tests.evaluations import evaluation

DIGITS = testing.task('digits', 'image', floor=0.7, max_drop=0.02)
TAGS = testing.task('tags', 'audio', label_kind='multi', floor=0.4)
HOSTILE = '<script>alert("x")</script>'

HISTORY = {'steps': [{'step': i, 'task': 'digits' if i % 2 else 'tags', 'loss': 2 / i, 'learning_rate': 1e-3 / i,
                      'gradient_norm': 1.0} for i in range(1, 41)], 'seconds': 61.2, 'total_steps': 40}


def decision(digits=0.9, before=0.91, infra=True, reasons=()):
    return decide([
        evaluation(DIGITS, digits, before, {'loss': 0.25, 'example_count': 1200.0}),
        evaluation(TAGS, 0.5, None, {'loss': 0.1, 'example_count': 30.0})], infra,
        list(reasons), '' if before is None else '3')


def test_lost_tasks_and_remarks_are_shown():
    lost = Changes({'walks': 'The task walks is lost.'}, {}, [f'A remark on {HOSTILE}.'])
    page = render(decide([evaluation(DIGITS, 0.9)], True, [], '3', lost), HISTORY, {}, data())
    text = text_of(page)
    assert 'Failed: walks (dropped). What is being served' in text and 'The task walks is lost.' in text
    assert f'A remark on {HOSTILE}.' in text and HOSTILE not in page


def data(label='zero', path='a.png', detail=''):
    return [{'name': 'digits', 'modality': 'image', 'splits': {'train': 1000, 'eval': 200},
             'labels': [{'label': label, 'train': 600, 'eval': 100}, {'label': 'one', 'train': 400}],
             'rejected': [Rejection('truncated', detail, path)], 'remarks': [],
             'groups': {'train': 12, 'eval': 1}},
            {'name': 'tags', 'modality': 'audio', 'splits': {'train': 10, 'eval': 30}, 'labels': [], 'rejected': [],
             'remarks': [], 'groups': {}}]


def text_of(page: str) -> str:
    """What a reader sees, with spaces collapsed. Fails if the markup does not nest."""
    open_tags, words = [], []

    class Parser(html.parser.HTMLParser):
        def handle_starttag(self, tag, attributes):
            assert not any(name.startswith('on') for name, _ in attributes)
            if tag not in ('meta', 'br', 'img'):
                open_tags.append(tag)

        def handle_startendtag(self, tag, attributes):
            pass

        def handle_endtag(self, tag):
            assert open_tags.pop() == tag

        def handle_data(self, text):
            if not {'style', 'script'} & set(open_tags):
                words.append(text)
    parser = Parser()
    parser.feed(page)
    parser.close()
    assert not open_tags
    return ' '.join(''.join(words).split())


def test_an_accepted_model():
    text = text_of(render(decision(), HISTORY, {'name': 'demo', 'parameters': 1234567}, data()))
    assert ('The gate accepted this model. Both tasks meet their floors, none fell too far below version 3, and the '
            'serving check passed.') in text
    for shown in ('0.900', '−0.010', '0.700', '0.910 v3', 'mean average precision', '1,200 examples', '1,234,567',
                  '40 steps in 1 minute and 1 second', '1,000 train in 12 groups · 200 eval in 1 group',
                  '10 train · 30 eval', '600 · 100', '400 · 0',
                  '1 rejected file: 1 truncated', 'No file was rejected.', 'digits loss', 'tags loss'):
        assert shown in text, shown


def test_parameters_by_part():
    card = {'parameters': {'total': 1500, 'encoder': 1200, 'tokenizers': {'image': 300}}}
    assert 'Parameters1,500encoder1,200tokenizers: image300' in text_of(render(decision(), HISTORY, card, []))


def test_the_report_of_a_rejected_model_names_every_reason():
    text = text_of(render(decision(0.62, infra=False, reasons=['The graph has the op IO>X.']), HISTORY, {}, data()))
    assert 'The gate rejected this model. Failed: digits and the serving check.' in text
    assert 'digits: accuracy 0.62 (95% interval 0.62 to 0.62, 10,000 examples) is below its floor of 0.70.' in text
    assert text.count('is below its floor of 0.70') == 1, 'the table has the numbers, not the sentence again'
    assert 'Serving check: The graph has the op IO>X.' in text
    assert text.count('passed') == 1, 'only tags passed'


def test_hostile_texts_are_escaped_everywhere():
    card = {'name': HOSTILE, 'inputs': {HOSTILE: {HOSTILE: [HOSTILE]}}, 'model': {'dropout': HOSTILE},
            'signatures': {HOSTILE: {'inputs': {HOSTILE: HOSTILE}, 'outputs': {HOSTILE: HOSTILE}}}}
    page = render(decision(infra=False, reasons=[HOSTILE]), HISTORY, card,
                  data(label=f'"\'><img src=x onerror=alert(1)>{HOSTILE}', path=HOSTILE, detail=HOSTILE))
    assert '<script>alert' not in page and '<img' not in page
    assert text_of(page).count(HOSTILE) >= 9


def test_the_page_is_self_contained():
    page = render(decision(), HISTORY, {}, data())
    assert not re.search(r'(src|href)\s*=|url\(|@import|https?://', page)
    assert "default-src 'none'" in page


def test_long_lists_are_cut_and_say_so():
    entry = data()[0]
    entry['labels'] = [{'label': f'class{i}', 'train': 100 - i} for i in range(50)]
    entry['rejected'] = [Rejection('empty', '', f'file{i}') for i in range(25)]
    text = text_of(render(decision(), HISTORY, {}, [entry]))
    assert 'class15' in text and 'class16' not in text and 'and 34 rarer labels' in text
    assert '25 rejected files: 25 empty' in text and 'file9' in text and 'file10' not in text
    assert 'These are the first 10; rejected.jsonl has all of them.' in text


def test_what_could_not_be_measured_and_an_empty_history_still_make_a_page():
    unmeasured = decide([evaluation(DIGITS, math.nan)], True, [])
    text = text_of(render(unmeasured, {}, {}, []))
    assert 'could not be measured' in text and 'The training left no history.' in text


def test_verdicts_without_a_baseline():
    assert 'there was no earlier model to compare with' in verdict(decision(before=None))


def test_the_verdict_of_a_single_task():
    one_task = decide([evaluation(DIGITS, 0.9, 0.91)], True, [], '3')
    assert verdict(one_task) == ('Its only task meets its floor, it did not fall too far below version 3, and the '
                                 'serving check passed.')


@pytest.mark.parametrize('seconds, words', [(5, '310 steps in 5 seconds'), (61.2, '310 steps in 1 minute and 1 second'),
                                            (7260, '310 steps in 2 hours and 1 minute')])
def test_trained(seconds, words):
    assert trained({'total_steps': 310, 'seconds': seconds}) == words


def test_evaluations_are_dots_and_the_page_says_which_weights_the_model_has():
    history = HISTORY | {
        'evaluations': [{'step': step, 'values': {'eval/digits/loss': 1.5, 'eval/digits/accuracy': 0.5}, 'mean': 0.5}
                        for step in (10, 20, 30)],
        'total_steps': 100, 'exported': {'steps': 21, 'trained_steps': 40, 'mean': 0.8125}}
    page = render(decision(), history, {}, data())
    assert page.count('<circle class="evaluated"') == 3 and page.count('<polyline class="evaluated"') == 2
    assert ('40 steps (of 100: it ended early) in 1 minute and 1 second. The model has the weights after 21 steps, the '
            'best of 3 evaluations: the mean of the primary metrics on the eval split is 0.812. ') in text_of(page)
    assert 'Dots: on the eval split' in page and 'Dots: on' not in render(decision(), HISTORY, {}, data())


def test_the_loss_of_captions_has_no_dots_of_another_loss_and_the_card_says_so():
    values = {'eval/digits/accuracy': 0.5, 'eval/digits/caption_recall': 0.5}
    for more in ({}, {'eval/digits/loss': 1.5}):
        page = render(decision(), HISTORY | {'evaluations': [{'step': 10, 'values': values | more, 'mean': None}]}, {},
                      data())
        assert '<circle class="evaluated"' not in page and 'Dots: on' not in page
        assert 'No dots: evaluations measure the classes instead.' in text_of(page)
    assert 'No dots' not in render(decision(), HISTORY, {}, data())


DRIFT = {
    'version': '3', 'status': 'The data were compared with those of version 3.', 'remarks': [],
    'findings': [{'task': 'digits', 'split': 'train', 'feature': 'brightness', 'stops': False,
                  'sentence': f'digits: darker {HOSTILE}.'}],
    'tasks': [{'name': 'digits', 'modality': 'image', 'split': 'train', 'examples': {'train': [900, 1000]},
               'features': [{'name': 'brightness', 'title': 'brightness (0 to 1)', 'edges': [0.0, 0.5, 1.0],
                             'old': [0.2, 0.8], 'new': [1.0, 0.0], 'old_mean': 0.65, 'new_mean': 0.25}],
               'labels': [[HOSTILE, 0.5, 0.25], ['one', 0.5, 0.75]]}]}


def test_the_data_beside_those_of_the_served_version():
    page = render(decision(), HISTORY, {}, data(), DRIFT)
    text = text_of(page)
    for shown in ('Data over time', DRIFT['status'], f'digits: darker {HOSTILE}.', '1,000 train, was 900',
                  'brightness (0 to 1) mean 0.25, was 0.65', '25.0%, was 50.0%', '75.0%, was 50.0%'):
        assert shown in text, shown
    assert HOSTILE not in page and page.count('<span class="drifted">brightness (0 to 1)</span>') == 1
    assert 'Nothing remarkable was found' not in text
    assert 'Nothing remarkable was found' in text_of(render(decision(), HISTORY, {}, data(), DRIFT | {'findings': []}))
    assert 'Data over time' not in text_of(render(decision(), HISTORY, {}, data()))


def test_a_paired_histogram_has_the_new_shares_as_bars_and_the_old_ones_as_a_line():
    chart = data_drift.histogram(DRIFT['tasks'][0]['features'][0])
    floor = data_drift.HEIGHT - data_drift.BOTTOM
    assert chart.count('<rect') == 1, 'an empty bin has no bar'
    assert f'<rect class="new" x="0.5" y="4.0" width="164.0" height="{floor - 4:.1f}"/>' in chart
    heights = [round(floor - (floor - 4) * share, 1) for share in (0.2, 0.8)]
    assert (f'points="0,{floor} 0.0,{heights[0]} 165.0,{heights[0]} 165.0,{heights[1]} 330.0,{heights[1]} 330,{floor}"'
            in chart)


def test_smooth_is_a_centred_mean_that_keeps_length_and_constants():
    assert charts.smooth([0, 3, 6, 3, 0], 3) == [1.5, 3, 4, 3, 1.5]
    assert charts.smooth([2.0] * 10, 4) == pytest.approx([2.0] * 10)


def test_thin_keeps_both_ends():
    points = charts.thin(list(range(1000)), 10)
    assert len(points) == 10 and points[0] == 0 and points[-1] == 999


@pytest.mark.parametrize('low, high, expected', [(0, 1, [0, 0.5, 1]), (0, 2000, [0, 500, 1000, 1500, 2000]),
                                                 (0, 0, [0])])
def test_ticks(low, high, expected):
    assert charts.ticks(low, high) == pytest.approx(expected)


def test_line_chart_places_points_and_drops_what_is_no_number():
    chart = charts.line_chart([charts.Line([(0, 0.0), (50, 2.0), (100, math.nan)], 'curve')], 'loss <of> x')
    x, y = charts.WIDTH - charts.RIGHT, charts.TOP
    assert f'points="{charts.LEFT}.0,{charts.HEIGHT - charts.BOTTOM}.0 {x}.0,{y}.0"' in chart
    assert 'loss &lt;of&gt; x' in chart
    assert charts.line_chart([charts.Line([(0, math.nan)], 'curve')], 'x') == ''


def statistics_of(counts: dict[str, int]) -> bytes:
    """TFDV's statistics of a split with these labels."""
    statistics = statistics_pb2.DatasetFeatureStatisticsList()
    dataset = statistics.datasets.add(num_examples=sum(counts.values()))
    dataset.features.add().path.step.append('id')
    feature = dataset.features.add()
    feature.path.step.append('label')
    for label, count in counts.items():
        feature.string_stats.rank_histogram.buckets.add(label=label, sample_count=count)
    return statistics.SerializeToString()


def test_do_writes_the_page_from_artifacts(tmp_path):
    task = sm.SINGLE
    sm.export(tmp_path / 'model', {task.name: tf.eye(6)}, (task,),
              card={'name': 'demo', 'inputs': {'image': {'height': 32, 'patch': [8, 8]}}})
    media_findings = findings.Findings()
    media_findings.add_example(Entry(f'x/{HOSTILE}.png', ('a',), 'train'), ('one_colour',))
    files = {
        'statistics/Split-train/FeatureStats.pb': statistics_of({'a': 7, HOSTILE: 5}),
        'statistics/Split-eval/FeatureStats.pb': statistics_of({'a': 3}),
        'rejected/rejected.jsonl': json.dumps({'path': 'bad\udcff.png', 'reason': 'empty', 'detail': ''}).encode(),
        'rejected/findings.json': json.dumps(media_findings.to_dict()).encode(),
        'run/history.json': json.dumps({'steps': [{'step': 1, 'task': task.name, 'loss': 1.0, 'learning_rate': 0.1}],
                                        'seconds': 1, 'total_steps': 1}).encode(),
        'drift/drift.json': json.dumps(DRIFT | {'version': '', 'tasks': [], 'findings': []}).encode(),
        'blessing/decision.json': json.dumps(decide([evaluation(task, 0.8)], True, [])).encode(),
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)

    def artifact(kind, name):
        result = kind()
        result.uri = str(tmp_path / name)
        return [result]
    executor.Executor().Do({
        'model': artifact(standard_artifacts.Model, 'model'), 'model_run': artifact(standard_artifacts.ModelRun, 'run'),
        'blessing': artifact(standard_artifacts.ModelBlessing, 'blessing'),
        'rejected_digits': artifact(RejectedMedia, 'rejected'),
        'statistics_digits': artifact(standard_artifacts.ExampleStatistics, 'statistics'),
        'data_statistics': artifact(DataStatistics, 'drift'),
        'evaluation_digits': artifact(standard_artifacts.ModelEvaluation, 'evaluation'),
    }, {'report': artifact(EvaluationReport, 'report')}, {'mixture': serialization.to_json(Mixture((task,)))})

    assert [p.name for p in (tmp_path / 'report').iterdir()] == ['report.html']
    page = (tmp_path / 'report' / 'report.html').read_text('utf-8')
    text = text_of(page)
    assert HOSTILE not in page and HOSTILE in text
    for shown in ('12 train · 3 eval', '7 · 3', '5 · 0', r'bad\udcff.png', 'digits_examples',
                  'examples string [N]', 'scores float32 [N, 6]', 'height 32, patch 8 × 8', 'Parameters36',
                  '1 step in 1 second', 'The data were compared with those of version 3.',
                  f'1 image of one colour: x/{HOSTILE}.png'):
        assert shown in text, shown


def test_sources_of_missing_files_are_empty(tmp_path):
    assert label_counts.read_statistics(str(tmp_path)) == ({}, [])
    assert sources.count_parameters(str(tmp_path)) is None


def test_damaged_examples_are_named_with_what_to_do(tmp_path):
    path = tmp_path / 'shown.tfrecord.gz'
    with tf.io.TFRecordWriter(str(path), 'GZIP') as writer:
        writer.write(tf.train.Example(features=tf.train.Features(feature={'id': tf.train.Feature(
            bytes_list=tf.train.BytesList(value=[b'a.png']))})).SerializeToString())
    assert sources.read_evaluation(str(tmp_path)) == ({}, {'a.png': {'id': [b'a.png']}})
    path.write_bytes(path.read_bytes()[:-12])
    with pytest.raises(PipelineStop, match=rf'shown.tfrecord.gz is damaged (.|\n)+ Remove the folder {tmp_path} and'):
        sources.read_evaluation(str(tmp_path))


def test_component_names_its_inputs_after_the_tasks():
    def of(kind):
        return channel.Channel(type=kind)
    report = component.Report(
        mixture='{}', model=of(standard_artifacts.Model), model_run=of(standard_artifacts.ModelRun),
        blessing=of(standard_artifacts.ModelBlessing), infra_blessing=of(standard_artifacts.InfraBlessing),
        data_statistics=of(DataStatistics), rejected={'a': of(RejectedMedia)},
        statistics={'a': of(standard_artifacts.ExampleStatistics)},
        evaluation={'a': of(standard_artifacts.ModelEvaluation)})
    assert sorted(report.inputs) == ['blessing', 'data_statistics', 'evaluation_a', 'infra_blessing', 'model',
                                     'model_run', 'rejected_a', 'statistics_a']
    assert report.outputs['report'].type is EvaluationReport
