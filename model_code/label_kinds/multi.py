"""Several labels per example: a sigmoid per class, mean average precision. See `label_kinds.Functions`."""

import tensorflow as tf

from model_code import metrics
from model_code.label_kinds import answers, tensors


def transform(places, classes):
    return tensors.multi_hot(places, classes)


def loss(logits, targets, groups, label_smoothing):
    """Sigmoid cross-entropy, summed over the classes. There is no label smoothing."""
    return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=-1)


def scores(logits, groups):
    return tf.nn.sigmoid(logits)


def best(scores, groups):
    """The TOP_K classes, best first."""
    return tensors.top_k(scores)


def eval_label(label, groups):
    """[N, classes] float32, 1 at each label."""
    return label


def quality(labels, scores, groups):
    return metrics.mean_average_precision(labels, scores)


def evaluation_metrics(label_groups, classes):
    """mean_average_precision, and loss: the binary cross-entropy, its mean over the classes."""
    return (metrics.Metric('mean_average_precision', metrics.mean_average_precision, of_all_examples=True),
            metrics.Metric('loss', metrics.binary_cross_entropy))


def check_answer(labels, top_scores, scores, classes, groups):
    return answers.check_best(labels, top_scores, scores, classes, sum_to_one=False)
