"""`polyvit report --compare A B`: one page with two runs side by side."""

import dataclasses
import json
import re
from collections.abc import Sequence

import numpy as np
import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd
from tensorflow_metadata.proto.v0 import statistics_pb2

from model_code import bootstrap, outcomes
from model_code.outcome_metrics import Sums
from model_code.serialization import to_json
from model_code.settings import TrainingConfig
from model_code.tasks import Mixture
from pipeline import cli, lineage, run_record
from pipeline.config import load_config
from pipeline.run_record import NodeRecord
from tests import browser, testing
from tests.components import report_pages
from tests.components.test_report import HOSTILE, text_of


def _keep_execution(root, component='CoTrainer', output='model', **properties: str) -> str:
    """Has the root's ML Metadata know an execution with these properties; returns the folder of its output."""
    store = metadata_store.MetadataStore(lineage.connection(root, 'READWRITE_OPENCREATE'))
    kind = store.put_execution_type(mlmd.ExecutionType(name=component))
    execution = mlmd.Execution(type_id=kind)
    for name, value in properties.items():
        execution.custom_properties[name].string_value = value
    made = mlmd.Artifact(type_id=store.put_artifact_type(mlmd.ArtifactType(name=output)), uri=str(root / output))
    store.put_execution(execution, [(made, mlmd.Event(type=mlmd.Event.OUTPUT))], [])
    return made.uri


def _run(root, value: float, cats: int, trained: dict[str, str] | None = None, wrong: Sequence[int] | None = None,
         prefix: str = '', reported: dict[str, str] | None = None, **decided):
    """A run that has ended under a root, with a task `pets`; returns its id.

    trained, reported: the properties of its training and of its report, if ML Metadata have them. wrong: which of 100
    examples, in 25 groups, the model is wrong on, if its outcomes are kept; prefix: of the examples' ids.
    """
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
    if wrong is not None:
        _keep_outcomes(root / 'evaluation', wrong, prefix)
    config = dataclasses.replace(load_config('demo'), root=str(root))
    record = run_record.start(config, 'key', ('run', 'demo'))
    task = report_pages.task_entry('pets', 'image', metrics={'accuracy': value, 'example_count': 35.0}, value=value)
    model = {} if trained is None else {
        'CoTrainer': NodeRecord(False, 60.5, {'model': [_keep_execution(root, **trained)]}, '', 118.25, 2_100_000_000)}
    report = {} if reported is None else {
        'Report': NodeRecord(False, 1.0, {'report': [_keep_execution(root, 'Report', 'report', **reported)]})}
    run_record.end(config, record, 0, 74.0, decision=report_pages.decision([task], **decided), components={
        **model, **report, 'StatisticsGen_pets': NodeRecord(False, 3.0, {'statistics': [str(root / 'statistics')]}),
        'TaskEvaluator_pets': NodeRecord(True, 1.0, {'evaluation': [str(root / 'evaluation')]})})
    return record.id


def _keep_outcomes(folder, wrong: Sequence[int], prefix: str):
    """Writes what TaskEvaluator keeps of 100 examples in 25 groups."""
    ids, right = [f'{prefix}{i:02}' for i in range(100)], np.ones(100)
    right[list(wrong)] = 0
    groups = [f'g{i // 4}' for i in range(100)]
    outcomes.write(str(folder / 'outcomes.npz'), outcomes.Outcomes(
        outcomes.texts(ids), outcomes.texts(groups), np.zeros(100, np.int64), np.stack([right, 1 - right], 1)))
    resamples = bootstrap.resampled(Sums(np.stack([right, np.ones(100)], 1), lambda sums: sums[:, 0] / sums[:, 1]),
                                    bootstrap.clusters(ids, groups))
    np.savez(folder / 'resamples.npz', **{'0/accuracy/candidate': resamples})


def _compared(folder, one='a', other='b') -> str:
    """The text of the page on two runs below a folder."""
    path = folder / 'x.html'
    assert cli.main(['report', '--compare', str(folder / one), str(folder / other), '-o', str(path)]) == 0
    return text_of(path.read_text('utf-8'))


class TestConfig:
    def test_what_differs_is_in_the_words_of_the_config(self, tmp_path):
        mixture = Mixture((testing.task('pets', 'image'),))
        other = Mixture((testing.task('pets', 'image', steps=77),))
        _run(tmp_path / 'a', 0.9, 40, {'mixture': to_json(mixture), 'training': to_json(TrainingConfig(seed=0))})
        _run(tmp_path / 'b', 0.9, 40, {'mixture': to_json(other), 'training': to_json(TrainingConfig(seed=7))})
        text = _compared(tmp_path)
        steps = mixture.tasks[0].recipe.steps
        assert f'From A to B: tasks.pets.recipe.steps {steps} -> 77training.seed 0 -> 7 ' in text
        assert 'CoTrainer60.560.5118.2118.22,1002,100' in text, 'and what both cost'

    def test_what_only_the_gate_and_the_probe_know_differs_too(self, tmp_path):
        for name, floor, code in (('a', 0.5, 'old'), ('b', 0.75, 'new')):
            mixture = Mixture((testing.task('pets', 'image', floor=floor, linear=floor > 0.5),))
            _run(tmp_path / name, 0.9, 40, {'name': 'demo', 'training': to_json(TrainingConfig(seed=len(code)))},
                 reported={'mixture': to_json(mixture), 'code_version': code, 'training': to_json(TrainingConfig())})
        text = _compared(tmp_path)
        assert 'tasks.pets.gate.floor 0.5 -> 0.75' in text and 'tasks.pets.probe.linear False -> True' in text
        assert 'its code' not in text, 'that of the report trains nothing'

    def test_equal_trainings_and_other_code(self, tmp_path):
        for name in ('a', 'b'):
            _run(tmp_path / name, 0.9, 40, {'name': 'demo', 'code_version': 'old'})
        assert 'Both had the same settings, and their trainings the same code.' in _compared(tmp_path)
        _run(tmp_path / 'c', 0.9, 40, {'name': 'demo', 'code_version': 'new'})
        assert 'From A to B: its code or a library changed' in _compared(tmp_path, 'a', 'c')

    def test_metadata_that_are_gone(self, tmp_path):
        for name in ('a', 'b'):
            _run(tmp_path / name, 0.9, 40, {'name': 'demo'})
        (tmp_path / 'b' / lineage.FILE).unlink()
        assert 'What was trained is not known of both runs' in _compared(tmp_path)


class TestIntervals:
    def test_a_change_on_the_same_examples_is_paired_by_group(self, tmp_path):
        _run(tmp_path / 'a', 0.80, 40, wrong=range(0, 100, 5))
        _run(tmp_path / 'b', 0.90, 40, wrong=range(0, 100, 10))
        low, high = map(float, re.search(r'\+0\.100 \+(0\.\d+) to \+(0\.\d+)', _compared(tmp_path)).groups())
        assert 0.02 < low < 0.06 and 0.14 < high < 0.18  # unpaired: -0.01 to 0.21

    def test_other_examples_have_none(self, tmp_path):
        _run(tmp_path / 'a', 0.80, 40, wrong=range(0, 100, 5))
        _run(tmp_path / 'b', 0.90, 40, wrong=range(0, 100, 10), prefix='other')
        assert '+0.100 Config' in _compared(tmp_path)


@pytest.mark.parametrize('name, content, missing', [
    ('evaluation.json', b'{"slices": [', 'values'), ('evaluation.json', b'[]', 'values'),
    ('outcomes.npz', b'', 'change'), ('resamples.npz', b'PK\3\4 cut', 'change')])
def test_damaged_results_are_named_and_leave_out_what_they_had(tmp_path, caplog, name, content, missing):
    for root, wrong in (('a', range(0, 100, 5)), ('b', range(0, 100, 10))):
        _run(tmp_path / root, 0.9, 40, wrong=wrong)
    (tmp_path / 'b' / 'evaluation' / name).write_bytes(content)
    text = _compared(tmp_path)
    found = re.search(r'accuracy0.900 0.875 to 0.925(.+?)Config', text)[1]
    assert found.count(' to ') == 1 and found.startswith('0.900+' if missing == 'values' else '0.900 0.875')
    folder = tmp_path / 'b' / 'evaluation'
    assert f'pets: the {missing} ha' in caplog.text
    assert f'{folder / name} is damaged' in caplog.text and f'Remove the folder {folder} and run' in caplog.text


def test_damaged_statistics_end_it_with_a_sentence(tmp_path, capsys):
    for root in ('a', 'b'):
        _run(tmp_path / root, 0.9, 40)
    (tmp_path / 'a' / 'statistics' / 'Split-eval' / 'FeatureStats.pb').write_bytes(b'cut')
    assert cli.main(['report', '--compare', str(tmp_path / 'a'), str(tmp_path / 'b'), '-o',
                     str(tmp_path / 'x.html')]) == 1
    error = ' '.join(capsys.readouterr().err.split())
    assert 'FeatureStats.pb is damaged' in error and f'Remove the folder {tmp_path / "a" / "statistics"} and' in error


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
                  'train4565eval3535', f'train: {HOSTILE}4060', 'StatisticsGen_pets3.03.0––––',
                  'TaskEvaluator_pets––––––', 'What was trained is not known of both runs'):
        assert shown in text, shown
    assert HOSTILE not in page and "default-src 'none'" in page and 'train: dog' not in text


@browser.needs_chromium
def test_the_page_in_a_browser(tmp_path):
    for name, wrong in (('a', range(0, 100, 5)), ('b', range(0, 100, 10))):
        _run(tmp_path / name, 0.9, 40, {'name': 'demo'}, wrong)
    _compared(tmp_path)
    costs = "document.querySelector('[aria-label^=Cost] table')"
    with browser.opened(tmp_path / 'profile') as page:
        for width in (1280, 390):
            page.open(tmp_path / 'x.html', width=width)
            assert page.value('document.documentElement.scrollWidth') == width
        page.value(f"{costs}.querySelectorAll('th button')[1].click()")
        assert page.value(f'[...{costs}.tBodies[0].rows].map(row => row.cells[1].textContent)') == ['3.0', '60.5', '–']
        assert page.problems == []


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
