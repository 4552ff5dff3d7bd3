"""One label per example: a softmax over the classes, accuracy. See `label_kinds.Functions`."""

import tensorflow as tf

from model_code import metrics, suspect_labels
from model_code.label_kinds import answers, frequencies, tensors


def transform(places, classes):
    return places[:, 0]


def loss(logits, targets, groups, label_smoothing, weights=None):
    """Softmax cross-entropy."""
    return tensors.softmax_cross_entropy(logits, targets, label_smoothing, weights)


def class_weights(counts, examples, groups):
    """[classes]: the weight of an example is that of its class."""
    return frequencies.inverse(counts)


def scores(logits, groups):
    return tf.nn.softmax(logits)


def best(scores, groups):
    """The TOP_K classes, best first."""
    return tensors.top_k(scores)


def eval_label(label, groups):
    """[N] int64 ids, -1 for a label that the model does not know."""
    return label


def quality(labels, scores, groups):
    return metrics.accuracy(labels, scores)


def evaluation_metrics(label_groups, classes):
    """accuracy, top_5_accuracy if there are more than 5 classes, and loss."""
    by_rank = [metrics.Metric('accuracy', _correct, {'k': 1})]
    if classes > 5:
        by_rank.append(metrics.Metric('top_5_accuracy', _correct, {'k': 5}))
    return (*by_rank, metrics.Metric('loss', _cross_entropy))


def _correct(label, scores, k):
    return metrics.correct(int(label[0]), scores, k)


def _cross_entropy(label, scores):
    return metrics.cross_entropy(int(label[0]), scores)


def questions(label, scores):
    """One question: which of the classes?"""
    return [suspect_labels.which_class(int(label[0]), scores)]


def check_answer(labels, top_scores, scores, classes, groups):
    return answers.check_best(labels, top_scores, scores, classes, sum_to_one=True)
