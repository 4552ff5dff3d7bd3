"""`polyvit report --compare A B`: one page with two runs side by side."""

import dataclasses
import json

import pytest
from tensorflow_metadata.proto.v0 import statistics_pb2

from pipeline import cli, run_record
from pipeline.config import load_config
from pipeline.run_record import NodeRecord
from tests.components import report_pages
from tests.components.test_report import HOSTILE, text_of


def _run(root, value: float, cats: int, **decided):
    """A run that has ended under a root, with a task `pets`; returns its id."""
    for split, count in (('train', cats), ('eval', 30)):
        statistics = statistics_pb2.DatasetFeatureStatisticsList()
        dataset = statistics.datasets.add(num_examples=count + 5)
        feature = dataset.features.add()
        feature.path.step.append('label')
        for label, number in ((HOSTILE, count), ('dog', 5)):
            feature.string_stats.rank_histogram.buckets.add(label=label, sample_count=number)
        file = root / 'statistics' / f'Split-{split}' / 'FeatureStats.pb'
        file.parent.mkdir(parents=True)
        file.write_bytes(statistics.SerializeToString())
    (root / 'evaluation').mkdir()
    results = report_pages.evaluation(3)
    results['slices'][0]['metrics']['accuracy'] = report_pages.metric(value)
    (root / 'evaluation' / 'evaluation.json').write_text(json.dumps(results))
    config = dataclasses.replace(load_config('demo'), root=str(root))
    record = run_record.start(config, 'key', ('run', 'demo'))
    task = report_pages.task_entry('pets', 'image', metrics={'accuracy': value, 'example_count': 35.0}, value=value)
    run_record.end(config, record, 0, 74.0, decision=report_pages.decision([task], **decided), components={
        'StatisticsGen_pets': NodeRecord(False, 3.0, {'statistics': [str(root / 'statistics')]}),
        'TaskEvaluator_pets': NodeRecord(True, 1.0, {'evaluation': [str(root / 'evaluation')]})})
    return record.id


def test_both_runs_are_side_by_side(tmp_path, capsys):
    _run(tmp_path / 'a', 0.875, 40)
    _run(tmp_path / 'b', 0.75, 60, blessed=False, reasons=[f'pets fell {HOSTILE}.'])
    path = tmp_path / 'x.html'
    assert cli.main(['report', '--compare', str(tmp_path / 'a'), str(tmp_path / 'b'), '-o', str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    page = path.read_text('utf-8')
    text = text_of(page)
    for shown in ('accepted', 'rejected', f'pets fell {HOSTILE}.',
                  'accuracy0.875 0.850 to 0.9000.750 0.725 to 0.775−0.125',
                  'train4565eval3535', f'train: {HOSTILE}4060', 'StatisticsGen_pets3 seconds3 seconds',
                  'TaskEvaluator_petscachedcached', 'What was trained is not known of both runs'):
        assert shown in text, shown
    assert HOSTILE not in page and "default-src 'none'" in page and 'train: dog' not in text


@pytest.mark.parametrize('words, message', [
    (['--compare', 'runs/a', 'nonsense'], 'nonsense'),
    (['--compare', 'runs/a', 'runs/a', '-o', 'x.txt'], 'ends in .html'),
    (['--compare', 'runs/a', 'runs/a', '--json'], '--json'), (['-o', 'x.html'], '--compare A B')])
def test_nonsense_is_an_error_in_one_line(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    _run(tmp_path / 'runs' / 'a', 0.875, 40)
    assert cli.main(['report', *words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count('\n') == 1 and not list(tmp_path.glob('*.html'))
