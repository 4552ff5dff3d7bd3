"""Several labels per example: a sigmoid per class, mean average precision. See `label_kinds.Functions`."""

import tensorflow as tf

from model_code import evaluation_details, metrics, outcome_metrics, suspect_labels
from model_code.label_kinds import answers, frequencies, tensors
from model_code.outcome_metrics import OutcomeMetric


def transform(places, classes):
    return tensors.multi_hot(places, classes)


def loss(logits, targets, groups, label_smoothing, weights=None):
    """Sigmoid cross-entropy, summed over the classes. There is no label smoothing."""
    if weights is None:
        return tf.reduce_sum(tf.nn.sigmoid_cross_entropy_with_logits(targets, logits), axis=-1)
    present, absent = weights
    return tf.reduce_sum(targets * present * tf.nn.softplus(-logits) + (1 - targets) * absent * tf.nn.softplus(logits),
                         axis=-1)


def class_weights(counts, examples, groups):
    """[2, classes]: of each class, the weights of the examples that have it, and of those that do not."""
    return frequencies.inverse_of_present_and_absent(counts, examples)


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


def metrics_of_outcomes(label_groups, classes):
    """mean_average_precision, auc, d_prime, calibration_error, and loss."""
    return (OutcomeMetric('mean_average_precision', outcome_metrics.mean_average_precision),
            OutcomeMetric('auc', outcome_metrics.auc),
            # Its interval is that of auc on another scale, and would take as long again.
            OutcomeMetric('d_prime', outcome_metrics.d_prime, interval=False, bounds=None),
            OutcomeMetric('calibration_error', outcome_metrics.labels_calibration_error, higher_is_better=False,
                          interval=False),
            OutcomeMetric('loss', outcome_metrics.binary_cross_entropy, higher_is_better=False, bounds=None))


def details(outcomes, classes, label_groups):
    return evaluation_details.of_labels(outcomes.ids, classes, outcomes.labels, outcomes.scores,
                                        outcomes.baseline_scores)


def questions(labels, scores):
    """One question per example and class: is it there, or not?"""
    return [suspect_labels.is_each_there(labels, scores)]


def check_answer(labels, top_scores, scores, classes, groups):
    return answers.check_best(labels, top_scores, scores, classes, sum_to_one=False)
