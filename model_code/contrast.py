"""The contrastive loss of media and their captions, over the batches of all replicas (docs/model.md, "Captions").

CLIP's symmetric loss (Radford et al., 2021): with unit vectors u_i of the media and v_i of the captions of a global
batch and a scale s, the loss of pair i is the mean of two cross-entropies, of u_i among all captions and of v_i among
all media. Equal captions are no negatives of each other: such a column takes no part in a row, unless it is its own.
"""

import tensorflow as tf

_NEVER = -1e9  # the logit of what takes no part


def losses(media: tf.Tensor, captions: tf.Tensor, ids: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """[n] float32, the loss of each pair of this replica; their mean over all replicas is that of the global batch.

    media, captions: [n, width] float32 unit vectors of this replica. ids: [n, length] int32, equal for equal captions.
    scale: a scalar, by which the cosines are multiplied. On several replicas it is to be called in each of them.

    The gradient is that of the whole loss, summed over the replicas: what this replica's vectors do to the losses of
    others is in it, in a term whose value is 0. The other replicas' vectors are constants here.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return _of_rows(media, captions, media, captions, _masked(ids, ids, 0), scale, 0)
    count = tf.shape(media)[0]
    first = context.replica_id_in_sync_group * count
    all_media, all_captions, all_ids = (
        context.all_gather(tf.stop_gradient(tensor), axis=0) for tensor in (media, captions, ids))

    def with_own(everyone, own):
        """The vectors of all replicas, of which only this one's have a gradient."""
        return tf.concat([everyone[:first], own, everyone[first + count:]], 0)
    everyone = with_own(all_media, media), with_own(all_captions, captions)
    own = _of_rows(media, captions, *everyone, _masked(ids, all_ids, first), scale, first)
    whole = _of_rows(all_media, all_captions, *everyone, _masked(all_ids, all_ids, 0), tf.stop_gradient(scale), 0)
    others = tf.reduce_sum(whole[:first]) + tf.reduce_sum(whole[first + count:])
    return own + (others - tf.stop_gradient(others)) / tf.cast(count, tf.float32)


def _masked(ids: tf.Tensor, all_ids: tf.Tensor, first) -> tf.Tensor:
    """[n, all] float32 to add to logits: _NEVER where a caption equals that of the row, and is not its own."""
    equal = tf.reduce_all(ids[:, tf.newaxis] == all_ids, axis=-1)
    own = tf.range(tf.shape(ids)[0])[:, tf.newaxis] + first == tf.range(tf.shape(all_ids)[0])
    return tf.where(equal & ~own, _NEVER, 0.0)


def _of_rows(media, captions, all_media, all_captions, mask, scale, first) -> tf.Tensor:
    """[n]: the mean of the two cross-entropies of pairs `first`, `first` + 1, ... among all."""
    labels = tf.range(tf.shape(media)[0]) + first
    both = [tf.nn.sparse_softmax_cross_entropy_with_logits(labels, scale * tf.matmul(a, b, transpose_b=True) + mask)
            for a, b in ((media, all_captions), (captions, all_media))]
    return tf.add_n(both) / 2


def recall_at_1(media: tf.Tensor, captions: tf.Tensor, ids: tf.Tensor) -> tuple[float, float]:
    """(how often the nearest caption of a medium is its own or an equal one, the same of the media of captions).

    [n, width] and [n, length] as for `losses`: the pool is these n pairs.
    """
    cosines = tf.matmul(media, captions, transpose_b=True)
    equal = tf.reduce_all(ids[:, tf.newaxis] == ids, axis=-1)

    def share(scores):
        nearest = tf.argmax(scores, axis=1, output_type=tf.int32)
        return float(tf.reduce_mean(tf.cast(tf.gather(equal, nearest, axis=1, batch_dims=1), tf.float32)))
    return share(cosines), share(tf.transpose(cosines))
