"""Tokenizers: a modality's input tensor -> tokens [batch, tokens, width] (polyvit.md, Model).

Each cuts its input into patches with a VALID convolution, puts a class token (zeros at first) in front, and adds a
learned position embedding, normal(0.02), the class token's position included.
"""

import math

import tensorflow as tf
import tf_keras


class _Tokenizer(tf_keras.layers.Layer):
    """Args: width, the tokens' size; spec, the modality's Input (its shape, patch and grid).

    A subclass names its convolution.
    """
    convolution: type[tf_keras.layers.Layer]

    def __init__(self, width: int, spec, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.spec = spec
        # LeCun's initialisation (the reference's): tokens of unit scale. Glorot's counts the patch in its fan-out too,
        # and tokens ten times smaller drown in what the first blocks add to them.
        self.embedding = self.convolution(width, spec.patch, strides=spec.patch, padding='valid',
                                          kernel_initializer='lecun_normal', name='embedding')

    @property
    def tokens(self) -> int:
        """The number of tokens, the class token included."""
        return math.prod(self.spec.grid) + 1

    def build(self, input_shape):
        self.class_token = self.add_weight('class_token', [1, 1, self.width], initializer='zeros')
        self.position_embedding = self.add_weight(
            'position_embedding', [1, self.tokens, self.width],
            initializer=tf_keras.initializers.RandomNormal(stddev=0.02))
        super().build(input_shape)

    def _patches(self, inputs):
        return self.embedding(inputs)

    def call(self, inputs):
        tokens = tf.reshape(self._patches(inputs), [-1, self.tokens - 1, self.width])
        # Padded, then added: the gradient of tiling the class token has no static shape.
        added = self.position_embedding + tf.pad(self.class_token, [[0, 0], [0, self.tokens - 1], [0, 0]])
        return tf.pad(tokens, [[0, 0], [1, 0], [0, 0]]) + tf.cast(added, tokens.dtype)


class ImageTokenizer(_Tokenizer):
    """[batch, height, width, 3] -> [batch, 1 + rows * columns, width]."""
    convolution = tf_keras.layers.Conv2D


class AudioTokenizer(ImageTokenizer):
    """[batch, frames, mel_bins, channels] -> [batch, 1 + time patches * frequency patches, width]."""


class VideoTokenizer(_Tokenizer):
    """[batch, frames, height, width, 3] -> [batch, 1 + tubelets, width]."""
    convolution = tf_keras.layers.Conv3D

    def build(self, input_shape):
        self.embedding.build(input_shape)
        super().build(input_shape)

    def _patches(self, inputs):
        """The convolution, as one matrix product: on CPUs the gradient of Conv3D's kernel differs in its last bits from
        one run to the next, and a resumed training would too."""
        (f, h, w), (pf, ph, pw) = self.spec.grid, self.spec.patch
        tubelets = tf.transpose(tf.reshape(inputs, [-1, f, pf, h, ph, w, pw, 3]), [0, 1, 3, 5, 2, 4, 6, 7])
        kernel = tf.reshape(tf.cast(self.embedding.kernel, inputs.dtype), [-1, self.width])
        return tf.matmul(tf.reshape(tubelets, [-1, pf * ph * pw * 3]), kernel) + tf.cast(self.embedding.bias, inputs.dtype)


TOKENIZERS = {cls.__name__: cls for cls in (ImageTokenizer, AudioTokenizer, VideoTokenizer)}
