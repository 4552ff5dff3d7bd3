"""Examples without a label (Data.allow_unlabelled) through every component of a lane, from files to the evaluation."""

import os

import numpy as np
import pytest
import sklearn.metrics
import tensorflow as tf
from tfx.types import standard_artifacts

from components.artifacts import read_findings
from components.blessing_gate import results
from components.serving_check import check
from components.task_evaluator import executor as task_evaluator
from media.checked_listing import list_checked
from model_code import input_pipeline
from model_code.modalities import get_modality
from model_code.serialization import to_json
from tests import testing
from tests.components import lanes

LABELS = ('', 'red', 'round', 'red|round', ' | ')  # of every fifth example


@pytest.fixture(scope='module')
def lane(tmp_path_factory):
    """The artifacts of one lane, by name, and its task. Two of five examples have no label, the first one too."""
    root = tmp_path_factory.mktemp('lane')
    rows = []
    for split, count in (('train', 20), ('eval', 15)):
        for i in range(count):
            path = f'{split}/{i:02d}.png'
            testing.write(root / 'data', path, testing.image_bytes(seed=len(rows)))
            rows.append((path, LABELS[i % len(LABELS)], split))
    testing.write_manifest(root / 'data', rows, columns=('path', 'labels', 'split'))
    task = testing.task('tags', 'image', steps=10, batch_size=4, folder=os.fspath(root / 'data'), class_weights=True,
                        manifest='manifest.csv', label_kind='multi', allow_unlabelled=True)
    return lanes.make(root, task)


def _labels(lane, split) -> dict[str, tuple[str, ...]]:
    """Path -> labels of the examples that were ingested."""
    records = tf.data.TFRecordDataset(tf.io.gfile.glob(f'{lane["examples"].uri}/Split-{split}/*.gz'), 'GZIP')
    rows = [tf.train.Example.FromString(record.numpy()).features.feature for record in records]
    return {row['id'].bytes_list.value[0].decode(): tuple(v.decode() for v in row['label'].bytes_list.value)
            for row in rows}


def test_every_example_is_ingested_and_those_without_a_label_are_counted(lane):
    train = _labels(lane, 'train')
    assert len(train) == 20 and train['train/00.png'] == train['train/04.png'] == ()
    assert train['train/03.png'] == ('red', 'round')
    findings = read_findings(lane['rejected'].uri)
    assert findings.examples == {'train': 20, 'eval': 15} and not findings.rejected
    assert findings.unlabelled.count == 14 and findings.unlabelled.first[0] == 'eval/00.png'
    assert findings.classes == {label: {'train': 8, 'eval': 6} for label in ('red', 'round')}


def test_their_targets_are_zeros_and_the_class_weights_count_them(lane):
    task, files = lane['task'], lane['files']['train']['tags']
    dataset = input_pipeline.eval_dataset(task, 2, lanes.MODEL, files, 20)
    targets = next(iter(dataset))[1].numpy()
    assert targets.shape == (20, 2) and sorted(targets.sum(axis=1).tolist()) == [0] * 8 + [1] * 8 + [2] * 4
    counts, examples = input_pipeline.count_labels(task, 2, files)
    assert counts.tolist() == [8, 8] and examples == 20
    present, absent = task.data.kind.functions.class_weights(counts, examples, ())
    assert present.tolist() == pytest.approx([20 / 16] * 2) and absent.tolist() == pytest.approx([20 / 24] * 2)
    assert len(lane['history']['steps']) and np.isfinite([step['loss'] for step in lane['history']['steps']]).all()
    assert np.isfinite([e['values']['eval/tags/mean_average_precision'] for e in lane['history']['evaluations']]).all()


def test_the_evaluation_has_a_row_of_zeros_for_each(lane):
    model = standard_artifacts.Model()
    model.uri, model.id = os.fspath(lane['root'] / 'model'), 1
    evaluation = standard_artifacts.ModelEvaluation()
    evaluation.uri = os.fspath(lane['root'] / 'evaluation')
    task_evaluator.Executor().Do({'examples': [lane['examples']], 'model': [model], 'classes': [lane['classes']]},
                                 {'evaluation': [evaluation]}, {'source': to_json(lane['task'].source),
                                                                'code_version': ''})
    candidate, _ = results.read_metrics(evaluation.uri)
    served = tf.saved_model.load(os.fspath(lane['root'] / 'model' / 'Format-Serving'))
    labels = _labels(lane, 'eval')
    media = tf.constant([(lane['root'] / 'data' / path).read_bytes() for path in labels])
    scores = served.signatures['tags_scores'](image=media)['scores'].numpy()
    hot = np.array([[label in row for label in lane['vocabulary']] for row in labels.values()])
    assert hot.any(axis=1).sum() == 9
    assert candidate['example_count'] == 15
    assert candidate['mean_average_precision'] == pytest.approx(
        sklearn.metrics.average_precision_score(hot, scores, average='macro'), abs=1e-5)
    examples = tf.constant([record.numpy() for record in tf.data.TFRecordDataset(
        tf.io.gfile.glob(f'{lane["examples"].uri}/Split-eval/*.gz'), 'GZIP')])
    np.testing.assert_allclose(served.signatures['tags_examples'](examples=examples)['scores'].numpy(), scores,
                               atol=1e-5)
    np.testing.assert_array_equal(served.signatures['tags_label'](examples=examples)['label'].numpy(), hot)


def test_a_batch_of_none_but_unlabelled_examples_can_be_evaluated(lane):
    served = tf.saved_model.load(os.fspath(lane['root'] / 'model' / 'Format-Serving'))
    without = tf.constant([tf.train.Example().SerializeToString()] * 2)
    assert served.signatures['tags_label'](examples=without)['label'].numpy().tolist() == [[0, 0], [0, 0]]


def test_the_serving_check_takes_an_example_without_a_label(lane):
    task, model_dir = lane['task'], os.fspath(lane['root'] / 'model' / 'Format-Serving')
    media = check.first_media([f'{lane["examples"].uri}/Split-eval'], get_modality(task.modality))
    assert media and check.check_model(model_dir, [task], {'tags': media}) == []


def test_a_run_says_how_many_have_no_label(lane, caplog):
    list_checked(lane['task'].source, lane['task'].checks)
    assert '14 examples without a label, for which no class is right (the first 10): eval/00.png' in caplog.text
