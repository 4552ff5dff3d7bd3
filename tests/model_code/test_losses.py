"""Losses and scores against closed forms; several label groups in one head, from the task to the served answer."""

import numpy as np
import pytest
import tensorflow as tf

from model_code import export, input_pipeline, losses, polyvit
from model_code.errors import ConfigError
from model_code.label_kinds import groups, multi, single
from model_code.settings import ModelConfig
from model_code.tasks import Mixture
from tests import testing

GROUPED = testing.task('kitchen', 'image', 1, 2, label_kind='groups', label_groups=('verb', 'noun'),
                       label_smoothing=0.2)
# Ordered by frequency, as a vocabulary is, so the groups are mixed.
VOCABULARY = ['noun:onion', 'verb:cut', 'verb:wash', 'noun:knife', 'noun:pan']
GROUPS = ((1, 2), (0, 3, 4))


def softmax(x):
    return np.exp(x) / np.exp(x).sum()


def cross_entropy(targets, logits) -> float:
    return float(-(np.array(targets) * np.log(softmax(np.array(logits)))).sum())


def loss_of(task, logits, labels, groups=()) -> float:
    return float(losses.loss(task, tf.constant([logits]), tf.constant([labels]), groups)[0])


def test_a_single_label_is_smoothed_and_may_be_soft():
    task, logits = testing.task('t', 'image', label_smoothing=0.3), [2.0, 0.0, -1.0]
    assert loss_of(task, logits, 1) == pytest.approx(cross_entropy([0.1, 0.8, 0.1], logits), rel=1e-5)
    assert loss_of(task, logits, [0.0, 1.0, 0.0]) == pytest.approx(loss_of(task, logits, 1), rel=1e-6)
    mixed = loss_of(task, logits, [0.25, 0.75, 0.0])
    assert mixed == pytest.approx(0.25 * loss_of(task, logits, 0) + 0.75 * loss_of(task, logits, 1), rel=1e-5)


def test_several_labels_are_summed_over_classes_and_may_be_soft():
    task, logits = testing.task('t', 'image', label_kind='multi'), [2.0, 0.0, -1.0]
    on, off = np.log1p(np.exp([-2.0, 0.0, 1.0])), np.log1p(np.exp([2.0, 0.0, -1.0]))
    assert loss_of(task, logits, [1.0, 0.0, 1.0]) == pytest.approx(on[0] + off[1] + on[2], rel=1e-5)
    assert loss_of(task, logits, [0.3, 0.0, 0.0]) == pytest.approx(0.3 * on[0] + 0.7 * off[0] + off[1] + off[2],
                                                                   rel=1e-5)


def test_each_label_group_has_a_softmax_and_the_loss_is_the_mean_over_groups():
    logits = [0.5, 2.0, -1.0, 1.5, 0.0]
    verb = cross_entropy([0.1, 0.9], [2.0, -1.0])
    noun = cross_entropy([0.2 / 3, 0.8 + 0.2 / 3, 0.2 / 3], [0.5, 1.5, 0.0])
    assert loss_of(GROUPED, logits, [0.0, 0.0, 1.0, 1.0, 0.0], GROUPS) == pytest.approx((verb + noun) / 2, rel=1e-5)
    scores = losses.scores(GROUPED, tf.constant([logits]), GROUPS).numpy()[0]
    np.testing.assert_allclose(scores[[1, 2]], softmax(np.array([2.0, -1.0])), rtol=1e-5)
    np.testing.assert_allclose(scores[[0, 3, 4]], softmax(np.array([0.5, 1.5, 0.0])), rtol=1e-5)


def test_the_prefixes_of_labels_give_their_groups():
    assert GROUPED.group_ids(VOCABULARY) == GROUPS
    assert testing.task('t', 'image').group_ids(VOCABULARY) == ()
    with pytest.raises(ConfigError, match="label 'adverb:fast' is in none of its label_groups"):
        GROUPED.group_ids([*VOCABULARY, 'adverb:fast'])
    with pytest.raises(ConfigError, match="label 'verb' is in none"):
        GROUPED.group_ids([*VOCABULARY, 'verb'])
    with pytest.raises(ConfigError, match="no label starts with 'noun:'"):
        GROUPED.group_ids(['verb:cut'])


def test_class_weights_are_inverse_frequencies_whose_mean_over_the_examples_is_1():
    counts = np.array([6, 3, 1])
    weights = single.class_weights(counts, 10, ())
    np.testing.assert_allclose(weights, [10 / 18, 10 / 9, 10 / 3], rtol=1e-6)
    assert (weights * counts).sum() / 10 == pytest.approx(1)
    np.testing.assert_allclose(single.class_weights(np.array([6, 0, 2]), 8, ()), [8 / 12, 0, 2], rtol=1e-6)

    present, absent = multi.class_weights(counts, 10, ())
    np.testing.assert_allclose(present, [10 / 12, 10 / 6, 10 / 2], rtol=1e-6)
    np.testing.assert_allclose(absent, [10 / 8, 10 / 14, 10 / 18], rtol=1e-6)
    np.testing.assert_allclose((present * counts + absent * (10 - counts)) / 10, np.ones(3), rtol=1e-6)
    assert multi.class_weights(np.array([4]), 4, ()).tolist() == [[1], [0]]

    # 4 examples, each with a verb (1, 2) and a noun (0, 3, 4).
    weights = groups.class_weights(np.array([2, 3, 1, 1, 1]), 4, GROUPS)
    np.testing.assert_allclose(weights, [4 / 6, 4 / 6, 4 / 2, 4 / 3, 4 / 3], rtol=1e-6)


WEIGHTS = np.float32([0.5, 2.0, 4.0])


@pytest.mark.parametrize('label, smoothing', [([0.0, 1.0, 0.0], 0.0), ([0.0, 1.0, 0.0], 0.3), ([0.25, 0.0, 0.75], 0.3)])
def test_a_weighted_softmax_is_linear_in_the_labels_and_so_is_its_gradient(label, smoothing):
    task, logits = testing.task('t', 'image', label_smoothing=smoothing), tf.constant([[2.0, 0.0, -1.0]])
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.loss(task, logits, tf.constant([label]), (), WEIGHTS)
    expected, gradient = 0.0, np.zeros(3)
    for i in range(3):
        targets = np.eye(3)[i] * (1 - smoothing) + smoothing / 3
        expected += label[i] * WEIGHTS[i] * cross_entropy(targets, logits[0])
        gradient += label[i] * WEIGHTS[i] * (softmax(logits.numpy()[0]) - targets)
    assert float(loss[0]) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(tape.gradient(loss, logits)[0], gradient, atol=1e-6)


@pytest.mark.parametrize('label_groups, vocabulary', [((), ()), (('verb', 'noun'), GROUPS)])
def test_weights_of_1_change_no_loss_and_larger_ones_count_by_class(label_groups, vocabulary):
    kind = 'groups' if label_groups else 'multi'
    task = testing.task('t', 'image', label_kind=kind, label_groups=label_groups, label_smoothing=0.2)
    logits = tf.constant([[0.5, 2.0, -1.0, 1.5, 0.0]] * 2)
    labels = tf.constant([[0.0, 1.0, 0.0, 1.0, 0.0], [0.3, 0.0, 1.0, 0.7, 0.0]])
    ones = np.ones([2, 5] if kind == 'multi' else [5], np.float32)
    plain = losses.loss(task, logits, labels, vocabulary)
    np.testing.assert_allclose(losses.loss(task, logits, labels, vocabulary, ones), plain, rtol=1e-5)

    doubled = ones.copy()
    doubled[..., 3] = 2
    added = losses.loss(task, logits, labels, vocabulary, doubled) - plain
    log_loss = np.log1p(np.exp([-1.5, 1.5]))  # of class 3: if it is there, if not
    noun = cross_entropy([0.2 / 3, 0.8 + 0.2 / 3, 0.2 / 3], [0.5, 1.5, 0.0])
    expected = ([log_loss[0], 0.7 * log_loss[0] + 0.3 * log_loss[1]] if kind == 'multi' else [noun / 2, 0.7 * noun / 2])
    np.testing.assert_allclose(added, expected, rtol=1e-5)


@pytest.mark.parametrize('fields, message', [
    (dict(label_groups=('verb', 'noun'), label_kind='multi'), "label_kind is 'multi'"),
    (dict(label_kind='groups', label_groups=('verb',)), 'two or more different names'),
    (dict(label_kind='groups', label_groups=('verb', 'verb')), 'two or more different names'),
    (dict(label_kind='groups', label_groups=('a:b', 'c')), 'without a colon'),
    (dict(label_kind='groups', label_groups=('verb', 'joint')), "none may be 'joint'"),
    (dict(label_kind='groups', label_groups=('verb', 'noun'), classes=('verb:cut', 'onion')), "'onion' is in none")])
def test_label_groups_that_are_not_valid_are_rejected(fields, message):
    with pytest.raises(ConfigError, match=message):
        testing.task('t', 'image', **fields)


@pytest.fixture(scope='module')
def served():
    config = ModelConfig(layers=1, width=16, heads=2, mlp_width=16, inputs=testing.IMAGE_SPEC)
    model = polyvit.PolyViT(Mixture((GROUPED,)), {'kitchen': 5}, config, {'kitchen': GROUPS})
    return export.ServedModel(model, Mixture((GROUPED,)), {'kitchen': VOCABULARY}, {})


def test_the_transformed_label_is_multi_hot():
    assert input_pipeline.feature_spec(GROUPED, 5)['label'] == tf.io.FixedLenFeature([5], tf.float32)


def test_a_model_without_the_ids_of_its_groups_is_rejected():
    config = ModelConfig(layers=1, width=16, heads=2, mlp_width=16, inputs=testing.IMAGE_SPEC)
    with pytest.raises(ValueError, match='kitchen has the label groups'):
        polyvit.PolyViT(Mixture((GROUPED,)), {'kitchen': 5}, config)


def test_the_served_answer_is_the_best_label_of_each_group(served):
    functions = served.signatures('{}')
    media = tf.constant([testing.image_bytes(seed=i) for i in range(3)])
    scores = functions['kitchen_scores'](image=media)['scores'].numpy()
    best = functions['kitchen'](image=media)
    for row, labels, top in zip(scores, best['labels'].numpy(), best['scores'].numpy(), strict=True):
        verb, noun = (group[int(np.argmax(row[list(group)]))] for group in GROUPS)
        assert [label.decode() for label in labels] == [VOCABULARY[verb], VOCABULARY[noun]]
        np.testing.assert_array_equal(top, row[[verb, noun]])
    assert scores[:, [1, 2]].sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)


def test_the_label_says_which_classes_compete(served):
    def example(*labels):
        value = tf.train.BytesList(value=[label.encode() for label in labels])
        return tf.train.Example(features=tf.train.Features(
            feature={'label': tf.train.Feature(bytes_list=value)})).SerializeToString()
    examples = tf.constant([example('verb:wash', 'noun:onion'), example('verb:cut', 'noun:unheard of')])
    label = served._label(GROUPED, examples)['label'].numpy()
    assert label.tolist() == [[2, -1, 1, -2, -2], [-2, 1, -1, -2, -2]]
