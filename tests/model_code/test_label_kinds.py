"""A label kind is one module and one row: each has the whole interface, and a kind made here works everywhere."""

import ast
import inspect
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.blessing_gate import decision, judgement, results
from components.serving_check import check
from components.task_evaluator import executor as task_evaluator
from components.task_schema_gen import executor as task_schema_gen
from media import listing
from model_code import (
    evaluation,
    evaluation_details,
    export,
    label_kinds,
    losses,
    metrics,
    outcome_metrics,
    polyvit,
    suspect_labels,
)
from model_code.errors import ConfigError
from model_code.label_kinds import LABEL_KINDS, answers, tensors
from model_code.serialization import from_json, to_json
from model_code.settings import ModelConfig
from model_code.tasks import Mixture, Task
from tests import testing
from tests.artifacts import classes as classes_artifact
from tests.components.test_preprocessing_fns import run_transform

PROJECT = pathlib.Path(label_kinds.__file__).resolve().parents[2]

# A toy kind: one label per example, but a sigmoid per class. The best two are served; one of them must be right.


def transform(places, classes):
    return tensors.multi_hot(places, classes)


def loss(logits, targets, groups, label_smoothing, weights=None):
    assert weights is None
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=-1)


def class_weights(counts, examples, groups):
    raise ConfigError('one_vs_rest has no class weights.')


def scores(logits, groups):
    return tf.nn.sigmoid(logits)


def best(scores, groups):
    top, ids = tf.math.top_k(scores, k=2)
    return ids, top


def eval_label(label, groups):
    return 2 * label


def quality(labels, scores, groups):
    return float(np.mean([in_best(label, row, 2) for label, row in zip(labels, scores, strict=True)]))


def evaluation_metrics(label_groups, classes):
    return (metrics.Metric('top_2_accuracy', in_best, {'k': 2}),
            metrics.Metric('largest_label', largest, of_all_examples=True))


def metrics_of_outcomes(label_groups, classes):
    return (outcome_metrics.OutcomeMetric('top_2_accuracy', lambda labels, scores: outcome_metrics.mean(
        np.array([in_best(label, row, 2) for label, row in zip(labels, scores, strict=True)]))),)


def details(outcomes, classes, label_groups):
    return evaluation_details.of_labels(outcomes.ids, classes, outcomes.labels, outcomes.scores,
                                        outcomes.baseline_scores)


def in_best(label, scores, k):
    return float(label[np.argsort(-scores)[:k]].any())


def largest(labels, scores):
    return float(labels.max())


def questions(labels, scores):
    return [suspect_labels.is_each_there(labels, scores)]


def check_answer(labels, top_scores, scores, classes, groups):
    return answers.check_best(labels, top_scores, scores, classes, sum_to_one=False, most=2)


TOY = label_kinds.LabelKind('one_vs_rest', __name__, 'top_2_accuracy', least_classes=3, multi_hot=True)
CLASSES = ('left', 'middle', 'right')


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setitem(LABEL_KINDS, TOY.name, TOY)


def functions_of(interface) -> dict:
    return {name: list(inspect.signature(function).parameters) for name, function in vars(interface).items()
            if inspect.isfunction(function) and not name.startswith('_')}


@pytest.mark.parametrize('kind', [*LABEL_KINDS.values(), TOY], ids=lambda kind: kind.name)
def test_a_kinds_module_has_all_functions(kind):
    wanted = {name: arguments[1:] for name, arguments in functions_of(label_kinds.Functions).items()}
    assert len(wanted) == 12
    has = functions_of(kind.functions)
    assert {name: has.get(name) for name in wanted} == wanted
    assert kind.primary_metric in [m.name for m in kind.functions.evaluation_metrics(('a', 'b'), 3)]
    assert kind.primary_metric in [m.name for m in kind.functions.metrics_of_outcomes(('a', 'b'), 3)]


def test_an_unknown_kind_lists_the_known_ones(toy):
    with pytest.raises(ConfigError, match="Task t: There is no label kind named 'one'. Known: .*one_vs_rest"):
        testing.task('t', 'image', label_kind='one')


@pytest.mark.slow
def test_a_new_kind_goes_from_its_files_to_training(toy, tmp_path):
    task = testing.image_task(tmp_path / 'media', classes=CLASSES, label_kind=TOY.name)
    assert from_json(Task, to_json(task)) == task
    entries = listing.list_media(task.source).entries
    assert {label for entry in entries for label in entry.labels} == set(CLASSES)

    schema = task_schema_gen.task_schema(task.source, CLASSES)
    assert next(f for f in schema.feature if f.name == 'label').HasField('shape'), 'a scalar: one label per example'
    rows = [{'id': e.id.encode(), 'label': e.labels[0].encode(), 'image': (tmp_path / 'media' / e.id).read_bytes()}
            for e in entries]
    transformed, output = run_transform(tmp_path, task, testing.IMAGE_SPEC, CLASSES, rows)
    vocabulary = [label.decode() for label in output.vocabulary_by_name('shapes_labels')]
    assert [np.eye(3)[vocabulary.index(row['label'].decode())].tolist() for row in rows] == [
        row['label'].tolist() for row in transformed]

    path = str(tmp_path / 'examples.gz')
    with tf.io.TFRecordWriter(path, 'GZIP') as writer:
        for row in transformed:
            writer.write(tf.train.Example(features=tf.train.Features(feature={
                'image': tf.train.Feature(bytes_list=tf.train.BytesList(value=[row['image']])),
                'label': tf.train.Feature(float_list=tf.train.FloatList(value=row['label'])),
            })).SerializeToString())
    model = make_model(task)
    head = model.heads['shapes'].output_layer
    head.kernel.assign(tf.zeros_like(head.kernel))
    head.bias.assign([3.0, 2.0, 1.0])
    values = evaluation.make_evaluate(model, model.config, {'shapes': 3}, {'shapes': [path]}, 4)()
    by_place = [np.log1p(np.exp([-3.0, 2.0, 1.0])), np.log1p(np.exp([3.0, -2.0, 1.0])),
                np.log1p(np.exp([3.0, 2.0, -1.0]))]
    # Each class has 6 of the 18 images. The last class is never among the best two.
    assert values == {'eval/shapes/top_2_accuracy': pytest.approx(2 / 3),
                      'eval/shapes/loss': pytest.approx(np.mean(by_place), rel=1e-5)}
    assert losses.loss(task, tf.constant([[3.0, 2.0, 1.0]]), tf.constant([2], tf.int64)).numpy() == pytest.approx(
        np.mean(by_place[2]), rel=1e-5)


def make_model(task) -> polyvit.PolyViT:
    config = ModelConfig(layers=1, width=16, heads=2, mlp_width=16, inputs=testing.IMAGE_SPEC)
    return polyvit.PolyViT(Mixture((task,)), {task.name: 3}, config)


@pytest.mark.slow
def test_a_new_kind_goes_from_a_model_to_the_gate(toy, tmp_path, monkeypatch):
    task = testing.task('shapes', 'image', label_kind=TOY.name, floor=0.1, classes=CLASSES)
    served = export.ServedModel(make_model(task), Mixture((task,)), {'shapes': CLASSES}, {})
    images = [testing.image_bytes(seed=i) for i in range(8)]
    labels = [CLASSES[i % 3] for i in range(7)] + ['unheard of']
    export.save(served, str(tmp_path / 'model' / 'Format-Serving'), {}, {'shapes': images[:1]})
    path = tmp_path / 'examples' / 'Split-eval' / 'data_tfrecord-00000-of-00001.gz'
    path.parent.mkdir(parents=True)
    examples = [tf.train.Example(features=tf.train.Features(feature={
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for name, value in (('id', str(number).encode()), ('image', image), ('label', label.encode()))
    })).SerializeToString() for number, (image, label) in enumerate(zip(images, labels, strict=True))]
    with tf.io.TFRecordWriter(str(path), 'GZIP') as writer:
        for example in examples:
            writer.write(example)

    signatures = served.signatures('{}')
    all_scores = signatures['shapes_scores'](image=tf.constant(images))['scores'].numpy()
    top = signatures['shapes'](image=tf.constant(images))
    order = np.argsort(-all_scores, axis=1)[:, :2]
    assert [[label.decode() for label in row] for row in top['labels'].numpy()] == np.array(CLASSES)[order].tolist()
    assert signatures['shapes_label'](examples=tf.constant(examples))['label'].numpy().tolist() == [
        [2.0 * (name == label) for name in CLASSES] for label in labels]

    evaluation = evaluate(task, tmp_path)
    values = evaluation.metrics
    right = [label in np.array(CLASSES)[row] for label, row in zip(labels, order, strict=True)]
    assert values == {'top_2_accuracy': pytest.approx(np.mean(right)), 'largest_label': 2.0, 'example_count': 8}
    entry = decision.decide([evaluation], True, [])['tasks'][0]
    assert (entry['primary_metric'], entry['value']) == ('top_2_accuracy', pytest.approx(np.mean(right)))

    model_dir = str(tmp_path / 'model' / 'Format-Serving')
    assert check.check_model(model_dir, [task], {'shapes': images[0]}) == []
    monkeypatch.setattr(TOY.functions, 'check_answer', lambda labels, *others: [f'{len(labels)} labels came.'])
    assert check.check_model(model_dir, [task], {'shapes': images[0]}) == ['Task shapes: 2 labels came.']


def evaluate(task, folder) -> judgement.Evaluation:
    """What TaskEvaluator computes for folder/model on folder/examples."""
    artifacts = {'examples': standard_artifacts.Examples(), 'model': standard_artifacts.Model(),
                 'evaluation': standard_artifacts.ModelEvaluation()}
    for name, artifact in artifacts.items():
        artifact.uri = str(folder / name)
    artifacts['examples'].split_names, artifacts['model'].id = '["eval"]', 1
    task_evaluator.Executor().Do(
        {**{name: [artifacts[name]] for name in ('examples', 'model')},
         'classes': [classes_artifact(folder / 'classes', CLASSES)]},
        {'evaluation': [artifacts['evaluation']]},
        {'source': to_json(task.source), 'code_version': ''})
    return results.read_evaluation(task, artifacts['evaluation'].uri)


def names_a_kind(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value in ('single', 'multi', 'groups')


def branches(source: str) -> list[int]:
    """The lines that compare something with the name of a label kind, or have a table with such names as keys."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        parts = []
        if isinstance(node, ast.Compare):
            parts = [part for side in (node.left, *node.comparators) for part in ast.walk(side)]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            parts = node.keys if sum(map(names_a_kind, node.keys)) > 1 else []
        if any(map(names_a_kind, parts)):
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize('source, lines', [
    ("x = a.label_kind == 'multi'", [1]), ("if kind in ('single', 'groups'):\n    pass", [1]),
    ("x = {'single': 1, 'multi': 2}[kind]", [1]), ("match kind:\n    case 'multi':\n        pass", [2]),
    ("x = Data(label_kind='multi')", []), ("x = kind == 'multi_worker'", []), ("x = {'groups': 1}", [])])
def test_branches_are_detected(source, lines):
    assert branches(source) == lines


def test_no_other_code_branches_by_label_kind():
    packages = ('polyvit', 'pipeline', 'components', 'serving', 'media', 'model_code', 'kubeflow', 'benchmarks',
                'scripts')
    files = [path for package in packages for path in (PROJECT / package).rglob('*.py')
             if PROJECT / 'model_code' / 'label_kinds' not in path.parents]
    assert len(files) > 50
    lines_of_file = {path.relative_to(PROJECT).as_posix(): branches(path.read_text()) for path in files}
    assert {path: lines for path, lines in lines_of_file.items() if lines} == {}
