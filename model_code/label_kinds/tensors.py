"""Tensor functions that several label kinds share."""

import tensorflow as tf

TOP_K = 5  # labels in a served answer, if the task has that many classes


def multi_hot(places: tf.Tensor, classes: int) -> tf.Tensor:
    """[N, k] int64, -1 for no label -> [N, classes] float32, 1 at each place."""
    return tf.minimum(tf.reduce_sum(tf.one_hot(places, classes), axis=1), 1.0)


def softmax_cross_entropy(logits: tf.Tensor, targets: tf.Tensor, label_smoothing: float,
                          weights: tf.Tensor | None = None) -> tf.Tensor:
    """Logits and targets, both [N, classes] float32 -> [N] float32. weights: [classes], of the targets."""
    if weights is None:
        smooth = targets * (1 - label_smoothing) + label_smoothing / logits.shape[-1]
        return tf.nn.softmax_cross_entropy_with_logits(smooth, logits)
    weighted = targets * weights
    share = tf.reduce_sum(weighted, axis=-1, keepdims=True) / logits.shape[-1]
    smooth = weighted * (1 - label_smoothing) + share * label_smoothing
    # TensorFlow's softmax_cross_entropy_with_logits has a wrong gradient for targets that do not sum to 1.
    return -tf.reduce_sum(smooth * tf.nn.log_softmax(logits), axis=-1)


def top_k(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """[N, classes] float32 -> ids [N, k] int32 and scores [N, k] float32, best first, k = min(TOP_K, classes)."""
    best, ids = tf.math.top_k(scores, k=min(TOP_K, scores.shape[-1]))
    return ids, best
