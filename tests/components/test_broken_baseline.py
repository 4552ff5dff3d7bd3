"""A served model that does not load, or that has another vocabulary: measured where it can be, else told in words."""

import json
import shutil

import numpy as np
import pytest
from tfx.types import standard_artifacts

from components import baseline_files
from components.blessing_gate import results, unknown_baseline
from components.blessing_gate.decision import decide
from components.task_evaluator import baseline, executor
from model_code.serialization import to_json
from tests import testing
from tests.artifacts import classes as classes_artifact
from tests.components import scoring_model as sm
from tests.components.test_blessing_gate import DIGITS, model_with_card, run_gate
from tests.evaluations import evaluation

FEWER = sm.CLASSES[:4]


@pytest.fixture(scope='module')
def exported(tmp_path_factory):
    """A folder with examples of digits, of which every model is right on all but those of classes that it lacks."""
    root = tmp_path_factory.mktemp('baselines')
    ids = [0, 1, 2, 3, 4, 5, 0, 1]
    sm.write_examples(root / 'digits', [[sm.CLASSES[i]] for i in ids], np.eye(6)[ids])
    sm.export(root / 'candidate', {'digits': np.eye(6)}, (sm.SINGLE,))
    backwards = testing.changed(sm.SINGLE, classes=sm.CLASSES[::-1])
    sm.export(root / 'other_order', {'digits': np.eye(6)[:, ::-1]}, (backwards,))
    more = testing.changed(sm.SINGLE, classes=('z', *sm.CLASSES, 'y'))
    sm.export(root / 'more', {'digits': np.pad(np.eye(6), ((0, 0), (1, 1)))}, (more,))
    fewer = testing.changed(sm.SINGLE, classes=FEWER)
    sm.export(root / 'fewer', {'digits': np.eye(6)[:, :4]}, (fewer,))
    multi = testing.changed(sm.MULTI, name='digits')
    sm.export(root / 'multi', {'digits': np.eye(6)}, (multi,))
    return root


def _artifact(kind, path):
    artifact = kind()
    artifact.uri = str(path)
    return artifact


def _evaluate(exported, tmp_path, name):
    """The directory of the evaluation of the candidate beside the model in this folder."""
    examples = _artifact(standard_artifacts.Examples, exported / 'digits')
    examples.split_names = '["eval"]'
    evaluation = _artifact(standard_artifacts.ModelEvaluation, tmp_path / 'evaluation')
    executor.Executor().Do(
        {'examples': [examples], 'model': [_artifact(standard_artifacts.Model, exported / 'candidate')],
         'baseline_model': [_artifact(standard_artifacts.Model, exported / name)],
         'classes': [classes_artifact(tmp_path / 'classes', sm.CLASSES)]},
        {'evaluation': [evaluation]}, {'source': to_json(sm.SINGLE.source), 'code_version': ''})
    return evaluation.uri


@pytest.mark.parametrize('name, accuracy', [('other_order', 1.0), ('more', 1.0), ('fewer', 6 / 8)])
def test_a_baseline_with_another_vocabulary_is_measured_by_labels_not_by_places(exported, tmp_path, name, accuracy):
    directory = _evaluate(exported, tmp_path, name)
    candidate, measured = results.read_metrics(directory)
    assert candidate['accuracy'] == 1.0 and measured['accuracy'] == pytest.approx(accuracy)
    assert baseline_files.read_problem(directory) == ''


def test_a_baseline_that_does_not_load_ends_no_run_and_rejects_in_words(exported, tmp_path, evaluated):
    shutil.copytree(exported / 'candidate', exported / 'damaged', dirs_exist_ok=True)
    for path in (exported / 'damaged/Format-Serving/variables').iterdir():
        path.write_bytes(b'damaged')
    directory = _evaluate(exported, tmp_path, 'damaged')
    candidate, measured = results.read_metrics(directory)
    assert candidate['accuracy'] == 1.0 and measured is None
    assert baseline_files.read_problem(directory).startswith('it cannot be loaded and asked (')
    evaluation = _artifact(standard_artifacts.ModelEvaluation, directory)
    same = type(evaluated)(candidate=evaluated.candidate, baseline=evaluated.baseline,
                           evaluations={'digits': evaluation})
    blessing, decision = run_gate(same, tmp_path, (sm.SINGLE,))
    reason, = decision['reasons']
    assert reason.startswith('digits: version 3 is being served, but it cannot be loaded and asked (')
    assert reason.endswith('nobody knows how the new model compares with it. Remove version 3, or push with --force '
                           'REASON.')
    assert blessing.get_int_custom_property('blessed') == 0 and decision['tasks'][0]['reason'] == reason
    _, forced = run_gate(same, tmp_path / 'forced', (sm.SINGLE,), run_parameters={'force': 'It is broken.'})
    assert forced['blessed'] and forced['forced'] == 'It is broken.' and forced['reasons'] == [reason]


@pytest.mark.parametrize('content, said', [
    (b'no protobuf', 'its saved_model.pb is no SavedModel'), (b'', 'its model lacks this task, which its model card')])
def test_a_graph_that_is_none(exported, tmp_path, content, said):
    shutil.copytree(exported / 'candidate/Format-Serving', tmp_path / 'model')
    (tmp_path / 'model/saved_model.pb').write_bytes(content)
    (tmp_path / 'model/assets.extra/model_card.json').write_text(json.dumps(
        {'tasks': [{'name': 'digits', 'classes': ['a']}]}))
    _, problem = executor.usable(str(tmp_path / 'model'), sm.SINGLE.source, str(exported / 'digits/Split-eval'))
    assert problem.startswith(said)


def test_another_kind_of_label(exported):
    example = baseline.first_example(str(exported / 'digits/Split-eval'))
    path = str(exported / 'multi/Format-Serving')
    assert baseline.problem(path, sm.SINGLE.source, example) == (
        "it was trained with another kind of label than 'single'")
    assert baseline.problem(path, testing.changed(sm.MULTI, name='digits').source, example) == ''
    assert baseline.problem(path, sm.SINGLE.source, None) == '', 'no example tells'


def test_no_model_and_one_without_the_task_are_no_problem(exported, tmp_path):
    split = str(exported / 'digits/Split-eval')
    assert executor.usable(str(tmp_path), sm.SINGLE.source, split) == (False, '')
    assert executor.usable(str(exported / 'more/Format-Serving'), sm.MULTI.source, split) == (False, '')


@pytest.mark.parametrize('card, said', [('{', 'it is not JSON'), ('[1]', 'not of the form'),
                                        ('{"tasks": ["digits"]}', 'not of the form')])
def test_a_card_that_cannot_be_read_rejects_because_lost_tasks_would_go_unseen(evaluated, tmp_path, card, said):
    served = model_with_card(tmp_path / 'old', '3', tags=['a'])
    (tmp_path / 'old/Format-Serving/assets.extra/model_card.json').write_text(card)
    _, decision = run_gate(evaluated, tmp_path, (sm.MULTI,), baseline=served)
    reason, = decision['reasons']
    assert reason.startswith('The model card of version 3 cannot be read:') and said in reason
    assert executor.card_classes(str(tmp_path / 'old/Format-Serving'), sm.MULTI.source) == ()
    assert not decision['blessed']


def test_the_reasons_come_after_those_of_the_gate_itself():
    decision = unknown_baseline.reject(decide([evaluation(DIGITS, 0.1)], True, []), '3', {'digits': 'it is broken'})
    assert [j['sentence'] for j in decision['judgements'] if j['check'] == 'baseline'] == decision['reasons'][-1:]
    assert len(decision['reasons']) == 2 and decision['reasons'][1].startswith('digits: version 3 is being served, but')
    assert decision['tasks'][0]['reason'] == ' '.join(decision['reasons'])
    accepted = decide([evaluation(DIGITS, 0.9)], True, [])
    assert unknown_baseline.reject(accepted, '', {'digits': ''}) == accepted
