"""TaskEvaluator on eval splits in which there is nearly nothing, from TFRecords to what the gate says."""

import dataclasses

import numpy as np
import pytest
from tfx.types import standard_artifacts

from components import baseline_files, evaluation_reading
from components.blessing_gate import results
from components.blessing_gate.decision import decide
from components.task_evaluator import executor
from model_code import file_io
from model_code.data import Columns
from model_code.serialization import to_json
from model_code.tasks import Task
from tests import testing
from tests.artifacts import classes as classes_artifact
from tests.components import scoring_model as sm

pytestmark = pytest.mark.slow

SINGLE = testing.changed(sm.SINGLE, manifest=('m.csv',), columns=Columns(extra=('camera',)))
MULTI = testing.changed(sm.MULTI, manifest=('m.csv',), columns=Columns(extra=('camera',)))


@dataclasses.dataclass
class Evaluated:
    directory: str
    evaluation: dict
    decision: dict

    @property
    def metrics(self) -> dict:
        return self.evaluation['slices'][0]['metrics']


@pytest.fixture(scope='module')
def models(tmp_path_factory):
    """A candidate, and a baseline that exchanges the classes a and b."""
    root = tmp_path_factory.mktemp('models')
    exchanged = np.eye(6)[:, [1, 0, 2, 3, 4, 5]]
    for name, weights in (('candidate', np.eye(6)), ('baseline', exchanged)):
        sm.export(root / name, {'digits': weights, 'tags': weights}, (SINGLE, MULTI))
    return root


@pytest.fixture
def evaluate(models, tmp_path):
    def run(task: Task, labels, given=None, **examples) -> Evaluated:
        """given: by default the candidate is right."""
        if given is None:
            given = np.array([[0.9 if name in names else 0.02 for name in sm.CLASSES] for names in labels])
        sm.write_examples(tmp_path / 'examples', labels, np.reshape(given, (-1, 6)), **examples)
        made = {}
        for name, kind, uri in (('examples', standard_artifacts.Examples, tmp_path / 'examples'),
                                ('model', standard_artifacts.Model, models / 'candidate'),
                                ('baseline_model', standard_artifacts.Model, models / 'baseline'),
                                ('evaluation', standard_artifacts.ModelEvaluation, tmp_path / 'evaluation')):
            made[name] = kind()
            made[name].uri = str(uri)
        made['examples'].split_names = '["eval"]'
        executor.Executor().Do(
            {**{name: [made[name]] for name in ('examples', 'model', 'baseline_model')},
             'classes': [classes_artifact(tmp_path / 'classes', sm.CLASSES)]},
            {'evaluation': [made['evaluation']]}, {'source': to_json(task.source), 'code_version': ''})
        directory = made['evaluation'].uri
        return Evaluated(directory, evaluation_reading.read_evaluation(directory),
                         decide([results.read_evaluation(task, directory)], True, [], '3'))
    return run


def test_one_class(evaluate):
    found = evaluate(SINGLE, [['c']] * 40)
    accuracy = found.metrics['accuracy']
    assert (accuracy['value'], accuracy['change']) == (1.0, 0.0)
    # All are right, and so all resamples: the limit is that of 40 of 40.
    assert accuracy['low'] == pytest.approx(0.025 ** (1 / 40)) and accuracy['high'] == 1.0
    assert found.metrics['macro_f1']['value'] == 1.0, 'the classes without examples do not count'
    assert [row['examples'] for row in found.evaluation['classes']] == [0, 0, 40, 0, 0, 0]
    assert found.decision['blessed']
    assert [remark for remark in found.decision['remarks'] if 'no eval example' in remark] == [
        f"{SINGLE.name}: no eval example has the classes 'a', 'b', 'd', 'e', 'f': how well the model knows them was "
        'not measured.']


def test_one_example(evaluate):
    found = evaluate(SINGLE, [['a']], cameras=['front'])
    accuracy = found.metrics['accuracy']
    assert (accuracy['value'], accuracy['baseline'], accuracy['low'], accuracy['change_low']) == (1.0, 0.0, None, None)
    assert [(row['feature'], row['examples'], row['too_small']) for row in found.evaluation['slices']] == [
        ('', 1, True), ('camera', 1, True)]
    assert found.decision['blessed'] and 'too few' in ' '.join(found.decision['remarks'])


def test_one_group(evaluate):
    labels = [[sm.CLASSES[i % 6]] for i in range(60)]
    found = evaluate(SINGLE, labels, groups=['one speaker'] * 60)
    assert (found.evaluation['groups'], found.evaluation['clustered']) == (1, True)
    assert found.evaluation['slices'][0]['too_small']
    accuracy = found.metrics['accuracy']
    assert accuracy['value'] == 1.0 and accuracy['low'] is None, 'nothing shows how another speaker would differ'


def test_a_label_without_positives_and_examples_without_labels(evaluate):
    labels = [['a', 'b'], ['b'], ['a'], []] * 10
    found = evaluate(MULTI, labels, cameras=['front', 'front', 'front', 'back'] * 10)
    precision = found.metrics['mean_average_precision']
    assert precision['value'] == 1.0 and precision['baseline'] < 1.0
    by_class = {row['label']: row['average_precision'] for row in found.evaluation['classes']}
    assert by_class == {'a': 1.0, 'b': 1.0, 'c': None, 'd': None, 'e': None, 'f': None}
    # No example from the back has a label: its part has no precision.
    back = next(row for row in found.evaluation['slices'] if row['value'] == 'back')
    assert back['examples'] == 10 and back['metrics']['mean_average_precision']['value'] is None
    assert results.read_metrics(found.directory)[0]['mean_average_precision'] == 1.0


def test_no_example_has_a_label_that_the_model_knows(evaluate):
    found = evaluate(SINGLE, [['z']] * 8)
    assert found.metrics['accuracy']['value'] == 0.0 and not found.decision['blessed']
    assert found.evaluation['confusion'][0]['left_out'] == 8


@pytest.mark.parametrize('task', [SINGLE, MULTI], ids=lambda task: task.name)
def test_no_examples(evaluate, task):
    found = evaluate(task, [])
    assert found.evaluation['examples'] == 0 and found.metrics[task.primary_metric]['value'] is None
    reason, = found.decision['reasons']
    assert 'could not be measured, because there was no eval example' in reason


def test_no_example_has_a_value_to_slice_by(evaluate):
    found = evaluate(SINGLE, [['a'], ['b']] * 5)
    assert [row['feature'] for row in found.evaluation['slices']] == ['']


def test_what_an_earlier_attempt_left_is_not_read(evaluate, tmp_path):
    earlier = str(tmp_path / 'evaluation')
    baseline_files.write_problem(earlier, 'it cannot be loaded')
    file_io.write(f'{earlier}/metrics-00001-of-00002.tfrecord', 'half')
    file_io.write(f'{earlier}/outcome_parts/half.npz', 'half')
    found = evaluate(SINGLE, [['a'], ['b']] * 5)
    assert baseline_files.read_problem(found.directory) == '' and found.evaluation['examples'] == 10
    assert set(file_io.list_files(found.directory)) == {
        'eval_config.json', 'metrics-00000-of-00001.tfrecord', 'outcomes.npz', 'evaluation.json', 'resamples.npz',
        'suspects.json', 'shown.tfrecord.gz'}
