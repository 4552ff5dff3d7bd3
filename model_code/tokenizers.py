"""Tokenizers: a modality's input tensor -> tokens [batch, tokens, width] (docs/model.md, "Tokenizers").

Each cuts its input into patches (a VALID convolution whose stride is its kernel), puts a class token in front, and adds
a learned position embedding, which covers the class token too. The class token starts at zero, the position embedding
as normal(0.02). In training, patches may be dropped before they become tokens (`draw_patches`).
"""

import math

import numpy as np
import tensorflow as tf
import tf_keras


def draw_patches(axes: tuple[tuple[int, int], ...], batch: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The numbers of the patches that each of `batch` examples keeps, [batch, kept] int32; a function of `seed` [2].

    axes: `Modality.kept_patches`. Of each axis, every choice of so many places is equally likely.
    """
    numbers = tf.zeros([1, 1], tf.int32)
    for axis, (size, kept) in enumerate(axes):
        draws = tf.random.stateless_uniform([batch, size], tf.random.experimental.stateless_fold_in(seed, axis))
        places = tf.math.top_k(draws, kept, sorted=False).indices
        numbers = tf.reshape(numbers[:, :, tf.newaxis] * size + places[:, tf.newaxis],
                             [-1, numbers.shape[1] * kept])
    return numbers


@tf.custom_gradient
def _rows(table: tf.Tensor, numbers: tf.Tensor):
    """tf.gather. Unlike its own, this gradient has a static shape throughout."""
    return tf.gather(table, numbers), lambda upstream: (
        tf.math.unsorted_segment_sum(upstream, numbers, table.shape[0]), None)


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

    def _embedded(self, inputs, kept):
        """The patches as tokens, [batch, patches, width]: the convolution as one matrix product.

        This is faster on CPUs. Besides, the gradient of Conv3D's kernel differs in its last bits from run to run, and
        then a resumed training would too.
        """
        grid, patch, channels = self.spec.grid, self.spec.patch, self.spec.shape[-1]
        split = [size for sizes in zip(grid, patch, strict=True) for size in sizes]
        axes = range(1, len(split) + 1)
        patches = tf.transpose(tf.reshape(inputs, [-1, *split, channels]), [0, *axes[::2], *axes[1::2], len(split) + 1])
        patches = tf.reshape(patches, [-1, self.tokens - 1, math.prod(patch) * channels])
        if kept is not None:
            # Nothing needs the gradient of the input, and that of gathering has no static shape.
            patches = tf.stop_gradient(tf.gather(patches, kept, batch_dims=1))
        rows = tf.reshape(patches, [-1, patches.shape[2]])
        kernel = tf.reshape(tf.cast(self.embedding.kernel, inputs.dtype), [-1, self.width])
        embedded = tf.nn.bias_add(tf.matmul(rows, kernel), tf.cast(self.embedding.bias, inputs.dtype))
        return tf.reshape(embedded, [-1, patches.shape[1], self.width])

    def call(self, inputs, kept=None):
        """kept: [batch, k] int32, the numbers of the patches that become tokens, in the grid's order; None for all."""
        tokens = self._embedded(inputs, kept)
        # Padding and adding, because the gradient of tiling the class token has no static shape.
        added = self.position_embedding + tf.pad(self.class_token, [[0, 0], [0, self.tokens - 1], [0, 0]])
        if kept is not None:
            added = _rows(added[0], tf.pad(kept + 1, [[0, 0], [1, 0]]))  # the class token has position 0
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


class TextTokenizer(PatchTokenizer):
    """[batch, length, 256], one-hot bytes -> [batch, 1 + stretches, width].

    Each place in a stretch has a vector for each byte; the token of a stretch is their sum.
    """
    convolution = tf_keras.layers.Conv1D
