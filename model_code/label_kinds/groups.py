"""One label per example in each label group: a softmax per group, joint accuracy. See `label_kinds.Functions`.

Ids are places in the vocabulary. It is ordered by frequency, so the classes of a group may be anywhere in it.
"""

import tensorflow as tf

from model_code import evaluation_details, metrics, outcome_metrics, suspect_labels, words
from model_code.label_groups import class_ids
from model_code.label_kinds import answers, frequencies, tensors
from model_code.outcome_metrics import OutcomeMetric, of_group


def transform(places, classes):
    return tensors.multi_hot(places, classes)


def loss(logits, targets, groups, label_smoothing, weights=None):
    """The mean over the groups of the softmax cross-entropy within each."""
    return tf.add_n([
        tensors.softmax_cross_entropy(tf.gather(logits, ids, axis=-1), tf.gather(targets, ids, axis=-1),
                                      label_smoothing, None if weights is None else weights[list(ids)])
        for ids in groups]) / len(groups)


def class_weights(counts, examples, groups):
    """[classes]: in each group, the weight of an example is that of its class there."""
    return frequencies.inverse_by_group(counts, groups)


def scores(logits, groups):
    """Softmax within each group."""
    by_group = tf.concat([tf.nn.softmax(tf.gather(logits, ids, axis=-1)) for ids in groups], axis=-1)
    order = [i for ids in groups for i in ids]
    return tf.gather(by_group, sorted(range(len(order)), key=order.__getitem__), axis=-1)


def best(scores, groups):
    """[N, groups]: the best class of each group, in the groups' order."""
    ids = tf.stack([tf.gather(tf.constant(ids), tf.argmax(tf.gather(scores, ids, axis=1), axis=1)) for ids in groups],
                   axis=1)
    return ids, tf.gather(scores, ids, axis=1, batch_dims=1)


def eval_label(label, groups):
    """[N, classes] float32: a class of group g (from 1) has g if it is the example's label, else -g.

    So the metrics, which see only this and the scores, know which classes belong together.
    """
    group_of_class = {i: float(g) for g, ids in enumerate(groups, start=1) for i in ids}
    group = tf.constant([group_of_class[i] for i in range(len(group_of_class))])
    return tf.where(label > 0, group, -group)


def quality(labels, scores, groups):
    return metrics.joint_accuracy(labels, scores, groups)


def evaluation_metrics(label_groups, classes):
    """The accuracy of each group, joint_accuracy (all groups right), and loss (the mean over the groups)."""
    numbers = list(range(1, 1 + len(label_groups)))
    by_group = [metrics.Metric(f'{group}_accuracy', metrics.groups_correct, {'groups': [number]})
                for number, group in zip(numbers, label_groups, strict=True)]
    return (*by_group, metrics.Metric('joint_accuracy', metrics.groups_correct, {'groups': numbers}),
            metrics.Metric('loss', metrics.groups_cross_entropy))


def metrics_of_outcomes(label_groups, classes):
    """The accuracy, macro F1 and calibration error of each group, joint_accuracy, and loss."""
    by_group = []
    for number, group in enumerate(label_groups, start=1):
        by_group += [
            OutcomeMetric(f'{group}_accuracy', of_group(outcome_metrics.accuracy, number)),
            OutcomeMetric(f'{group}_macro_f1', of_group(outcome_metrics.macro_f1, number)),
            OutcomeMetric(f'{group}_calibration_error', of_group(outcome_metrics.calibration_error, number),
                          higher_is_better=False, interval=False)]
    return (*by_group, OutcomeMetric('joint_accuracy', outcome_metrics.joint_accuracy),
            OutcomeMetric('loss', outcome_metrics.groups_cross_entropy, higher_is_better=False, bounds=None))


def details(outcomes, classes, label_groups):
    choices = []
    ids_of_groups = class_ids('', label_groups, classes)
    for number, (group, ids) in enumerate(zip(label_groups, ids_of_groups, strict=True), start=1):
        labels, _ = outcome_metrics.group_labels(outcomes.labels, outcomes.scores, number)
        choices.append(evaluation_details.Choice(
            group, [classes[i] for i in ids], labels, outcomes.scores[:, list(ids)],
            None if outcomes.baseline_scores is None else outcomes.baseline_scores[:, list(ids)]))
    return evaluation_details.of_choices(outcomes.ids, classes, choices)


def questions(labels, scores):
    """One question per example and group: which of its classes?"""
    return suspect_labels.which_of_each_group(labels, scores)


def check_answer(labels, top_scores, scores, classes, groups):
    if not classes:
        return ['the model card does not name its classes, so its label groups cannot be told apart.']
    if len(labels) != len(groups) or len(top_scores) != len(groups) or len(scores) != len(classes):
        return [f'the answer has {words.count(len(labels), "label")}, {words.count(len(top_scores), "score")} and '
                f'scores of {words.count(len(scores), "class", "classes")}; it must have a label and a score for each '
                f'of {len(groups)} label groups, and scores of {len(classes)} classes.']
    return [reason for label, score, ids in zip(labels, top_scores, groups, strict=True)
            for reason in answers.check_best([label], [score], [scores[i] for i in ids],
                                             tuple(classes[i] for i in ids), sum_to_one=True, most=1)]
