"""One label per example: a softmax over the classes, accuracy. See `label_kinds.Functions`."""

import functools

import tensorflow as tf

from model_code import evaluation_details, metrics, outcome_metrics, suspect_labels
from model_code.label_kinds import answers, frequencies, tensors
from model_code.outcome_metrics import OutcomeMetric


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


def metrics_of_outcomes(label_groups, classes):
    """accuracy, top_5_accuracy if there are more than 5 classes, macro_f1, calibration_error, and loss."""
    measures = [OutcomeMetric('accuracy', outcome_metrics.accuracy)]
    if classes > 5:
        measures.append(OutcomeMetric('top_5_accuracy', functools.partial(outcome_metrics.accuracy, k=5)))
    return (*measures, OutcomeMetric('macro_f1', outcome_metrics.macro_f1),
            OutcomeMetric('calibration_error', outcome_metrics.calibration_error, higher_is_better=False,
                          interval=False),
            OutcomeMetric('loss', outcome_metrics.cross_entropy, higher_is_better=False, bounds=None))


def details(outcomes, classes, label_groups):
    return evaluation_details.of_choices(outcomes.ids, classes, [evaluation_details.Choice(
        '', classes, outcomes.labels, outcomes.scores, outcomes.baseline_scores)])


def questions(labels, scores):
    """One question per example: which of the classes?"""
    return [suspect_labels.which_class(labels, scores)]


def check_answer(labels, top_scores, scores, classes, groups):
    return answers.check_best(labels, top_scores, scores, classes, sum_to_one=True)
