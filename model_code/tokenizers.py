"""Tokenizers: a modality's input tensor -> tokens [batch, tokens, width] (docs/model.md, "Tokenizers").

Each cuts its input into patches (a VALID convolution whose stride is its kernel), puts a class token in front, and adds
a learned position embedding, which covers the class token too. The class token starts at zero, the position embedding
as normal(0.02).
"""

import math

import numpy as np
import tensorflow as tf
import tf_keras


class PatchTokenizer(tf_keras.layers.Layer):
    """width: the size of a token. spec: the modality's Input, with shape, patch and grid. Subclasses set `convolution`.
    """
    convolution: type[tf_keras.layers.Layer]

    def __init__(self, width: int, spec, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.spec = spec
        # LeCun's initialisation, as in the paper's code, gives tokens of unit scale. Glorot's counts the patch for its
        # fan-out too: tokens would be ten times smaller than what the first blocks add to them.
        self.embedding = self.convolution(width, spec.patch, strides=spec.patch, padding='valid',
                                          kernel_initializer='lecun_normal', name='embedding')

    @property
    def tokens(self) -> int:
        """The number of tokens, the class token included."""
        return math.prod(self.spec.grid) + 1

    def build(self, input_shape):
        self.embedding.build(input_shape)
        self.class_token = self.add_weight('class_token', [1, 1, self.width], initializer='zeros')
        self.position_embedding = self.add_weight(
            'position_embedding', [1, self.tokens, self.width],
            initializer=tf_keras.initializers.RandomNormal(stddev=0.02))
        super().build(input_shape)

    def _patches(self, inputs):
        """The convolution as one matrix product, [batch * patches, width].

        This is faster on CPUs. Besides, the gradient of Conv3D's kernel differs in its last bits from run to run, and
        then a resumed training would too.
        """
        grid, patch, channels = self.spec.grid, self.spec.patch, self.spec.shape[-1]
        split = [size for sizes in zip(grid, patch, strict=True) for size in sizes]
        axes = range(1, len(split) + 1)
        patches = tf.transpose(tf.reshape(inputs, [-1, *split, channels]), [0, *axes[::2], *axes[1::2], len(split) + 1])
        rows = tf.reshape(patches, [-1, math.prod(patch) * channels])
        kernel = tf.reshape(tf.cast(self.embedding.kernel, inputs.dtype), [-1, self.width])
        return tf.nn.bias_add(tf.matmul(rows, kernel), tf.cast(self.embedding.bias, inputs.dtype))

    def call(self, inputs):
        tokens = tf.reshape(self._patches(inputs), [-1, self.tokens - 1, self.width])
        # Padding and adding, because the gradient of tiling the class token has no static shape.
        added = self.position_embedding + tf.pad(self.class_token, [[0, 0], [0, self.tokens - 1], [0, 0]])
        return tf.pad(tokens, [[0, 0], [1, 0], [0, 0]]) + tf.cast(added, tokens.dtype)


class ImageTokenizer(PatchTokenizer):
    """[batch, height, width, 3] -> [batch, 1 + rows * columns, width]."""
    convolution = tf_keras.layers.Conv2D

    def kernel_from_vit(self, kernel: np.ndarray, inflation: str) -> np.ndarray:
        """A ViT's kernel [rows, columns, 3, width] -> this layer's [rows, columns, channels, width].

        One channel gets the sum over the three, which gives the tokens of a ViT on the repeated channel. inflation: not
        used, since these patches have no time axis.
        """
        return kernel.sum(axis=-2, keepdims=True) if self.spec.shape[-1] == 1 else kernel


class AudioTokenizer(ImageTokenizer):
    """[batch, frames, mel_bins, channels] -> [batch, 1 + time patches * frequency patches, width]."""


class VideoTokenizer(PatchTokenizer):
    """[batch, frames, height, width, 3] -> [batch, 1 + tubelets, width]."""
    convolution = tf_keras.layers.Conv3D

    def kernel_from_vit(self, kernel: np.ndarray, inflation: str) -> np.ndarray:
        """A ViT's kernel [rows, columns, 3, width] -> this layer's [frames, rows, columns, 3, width].

        inflation: 'central_frame' puts the kernel into the middle frame and zeros elsewhere. 'average' puts kernel /
        frames into every frame, so a still clip gives the tokens of the image.
        """
        frames = self.spec.patch[0]
        if inflation == 'average':
            return np.repeat(kernel[None] / frames, frames, axis=0)
        result = np.zeros((frames, *kernel.shape), kernel.dtype)
        result[frames // 2] = kernel
        return result
