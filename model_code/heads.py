"""Heads: the encoder's tokens -> a representation -> a task's logits. float32 under mixed precision too."""

import math

import tensorflow as tf
import tf_keras

from model_code.tasks import Task

# Of cosines before a softmax: as CLIP's, whose temperature starts at 0.07 and stays above 0.01.
_FIRST_SCALE, _MOST_SCALE = 1 / 0.07, 100.0


def pool(tokens: tf.Tensor, pooling: str) -> tf.Tensor:
    """[batch, tokens, width] -> [batch, width] float32: the class token ('token') or the mean of all tokens ('gap')."""
    tokens = tf.cast(tokens, tf.float32)
    return tokens[:, 0] if pooling == 'token' else tf.reduce_mean(tokens, axis=1)


class Head(tf_keras.layers.Layer):
    """[batch, tokens, width] -> [batch, classes] float32: pooling, hidden layers with ReLU, one dense output.

    With task.recipe.zero_init_head the kernel of the output starts at zero.
    """

    def __init__(self, task: Task, classes: int, **kwargs):
        super().__init__(dtype=tf.float32, **kwargs)
        self.pooling = task.recipe.pooling
        self.hidden = [
            tf_keras.layers.Dense(width, activation='relu', kernel_initializer='lecun_normal', dtype=tf.float32,
                                  name=f'hidden_{i}')
            for i, width in enumerate(task.recipe.head_hidden)]
        self.output_layer = tf_keras.layers.Dense(
            classes, kernel_initializer='zeros' if task.recipe.zero_init_head else 'lecun_normal', dtype=tf.float32,
            name='output')

    def call(self, tokens):
        x = pool(tokens, self.pooling)
        for layer in self.hidden:
            x = layer(x)
        return self.output_layer(x)


class CaptionHead(tf_keras.layers.Layer):
    """[batch, tokens, width] -> [batch, classes] float32: the scaled cosines of an example with each class.

    An example and a text become unit vectors by pooling and a projection, one for each of the two. A class has the
    vector that `class_vectors` holds, [classes, width], which PolyViT.update_classes computes from its prompts.
    """

    def __init__(self, task: Task, classes: int, width: int, **kwargs):
        super().__init__(dtype=tf.float32, **kwargs)
        self.pooling, self.classes, self.width = task.recipe.pooling, classes, width
        self.media_projection, self.caption_projection = (
            tf_keras.layers.Dense(width, use_bias=False, kernel_initializer='lecun_normal', dtype=tf.float32, name=name)
            for name in ('media_projection', 'caption_projection'))

    def build(self, input_shape):
        for layer in (self.media_projection, self.caption_projection):
            layer.build([None, self.width])
        self.log_scale = self.add_weight(
            'log_scale', [], initializer=tf_keras.initializers.Constant(math.log(_FIRST_SCALE)),
            constraint=lambda value: tf.minimum(value, math.log(_MOST_SCALE)))
        self.class_vectors = self.add_weight('class_vectors', [self.classes, self.width], initializer='zeros',
                                             trainable=False)
        super().build(input_shape)

    @property
    def scale(self) -> tf.Tensor:
        """What cosines are multiplied by, at most _MOST_SCALE."""
        return tf.exp(self.log_scale)

    def media_vectors(self, tokens: tf.Tensor) -> tf.Tensor:
        """[batch, tokens, width] of examples -> [batch, width] float32 unit vectors."""
        return tf.math.l2_normalize(self.media_projection(pool(tokens, self.pooling)), axis=-1)

    def caption_vectors(self, tokens: tf.Tensor) -> tf.Tensor:
        """As `media_vectors`, of texts."""
        return tf.math.l2_normalize(self.caption_projection(pool(tokens, self.pooling)), axis=-1)

    def call(self, tokens):
        return self.scale * tf.matmul(self.media_vectors(tokens), self.class_vectors, transpose_b=True)


def make_head(task: Task, classes: int, width: int) -> tf_keras.layers.Layer:
    """The head of a task, for tokens of `width`."""
    name = f'{task.name}_head'
    return (CaptionHead(task, classes, width, name=name) if task.recipe.objective == 'captions'
            else Head(task, classes, name=name))
