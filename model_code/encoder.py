"""The transformer encoder: pre-LayerNorm blocks and a final LayerNorm (docs/model.md, "Encoder").

All randomness is stateless: a step is a function of variables, batch and seed alone. A block draws from `seed` [2]
int32, folded with the number of the block and of the draw. LayerNorm and the softmax of attention compute in float32
under mixed precision too.
"""

import tensorflow as tf
import tf_keras

from model_code.fusion import fused
from model_code.settings import ModelConfig

LAYER_NORM_EPSILON = 1e-6


def gelu(x: tf.Tensor) -> tf.Tensor:
    """GELU by its tanh approximation."""
    return tf.nn.gelu(x, approximate=True)


def _normalised(x: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tf.Tensor:
    wide = tf.cast(x, tf.float32)
    centred = wide - tf.reduce_mean(wide, axis=-1, keepdims=True)
    variance = tf.reduce_mean(tf.square(centred), axis=-1, keepdims=True)
    return tf.cast(centred * tf.math.rsqrt(variance + LAYER_NORM_EPSILON) * gamma + beta, x.dtype)


_fused_gelu, _fused_normalised = fused(gelu), fused(_normalised)


class Dense(tf_keras.layers.Dense):
    """[batch, tokens, width] -> [batch, tokens, units]. With `gelu`, GELU follows.

    Nothing stands between product, bias and GELU, so TensorFlow makes one kernel of them. The layer of tf_keras
    reshapes in between.
    """

    def __init__(self, units: int, name: str, bias_stddev: float = 0.0, gelu: bool = False, **kwargs):
        bias = tf_keras.initializers.RandomNormal(stddev=bias_stddev) if bias_stddev else 'zeros'
        super().__init__(units, kernel_initializer='glorot_uniform', bias_initializer=bias, name=name, **kwargs)
        self.gelu = gelu

    def call(self, inputs, training=False):
        rows = tf.reshape(inputs, [-1, inputs.shape[-1]])
        outputs = tf.nn.bias_add(tf.matmul(rows, self.kernel), self.bias)
        if self.gelu:
            outputs = (_fused_gelu if training else gelu)(outputs)
        return tf.reshape(outputs, [-1, inputs.shape[1], self.units])


class LayerNorm(tf_keras.layers.Layer):
    """Normalises over the last axis, in float32 under mixed precision too. The output has the dtype of the input."""

    def __init__(self, name: str, **kwargs):
        super().__init__(name=name, dtype=tf.float32, autocast=False, **kwargs)

    def build(self, input_shape):
        self.gamma = self.add_weight('gamma', [input_shape[-1]], initializer='ones')
        self.beta = self.add_weight('beta', [input_shape[-1]], initializer='zeros')
        super().build(input_shape)

    def call(self, inputs, training=False):
        normalised = _fused_normalised if training else _normalised
        return normalised(inputs, tf.convert_to_tensor(self.gamma), tf.convert_to_tensor(self.beta))


class SelfAttention(tf_keras.layers.Layer):
    """Multi-head self-attention: [batch, tokens, width] -> the same shape. Args: width, heads (must divide width)."""

    def __init__(self, width: int, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.heads = heads
        self.query = Dense(width, 'query')
        self.key = Dense(width, 'key')
        self.value = Dense(width, 'value')
        self.out = Dense(width, 'out')

    def call(self, inputs):
        t, h, d = inputs.shape[1], self.heads, self.width // self.heads

        def split_heads(x):
            return tf.transpose(tf.reshape(x, [-1, t, h, d]), [0, 2, 1, 3])

        query = split_heads(self.query(inputs)) * tf.cast(d ** -0.5, inputs.dtype)
        scores = tf.matmul(query, split_heads(self.key(inputs)), transpose_b=True)
        weights = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32)), inputs.dtype)
        mixed = tf.matmul(weights, split_heads(self.value(inputs)))
        return self.out(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [-1, t, self.width]))


def _kept(shape, rate: float, seed: tf.Tensor, draw: int) -> tf.Tensor:
    """Booleans of `shape`, each False with probability `rate`; a function of `seed` [2] and the number of the draw."""
    return tf.random.stateless_uniform(shape, tf.random.experimental.stateless_fold_in(seed, draw)) >= rate


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor, draw: int) -> tf.Tensor:
    """Sets each number to 0 with probability `rate`, and divides the others by 1 - rate."""
    if not rate:
        return x
    return tf.where(_kept(tf.shape(x), rate, seed, draw), x / (1.0 - rate), tf.zeros([], x.dtype))


class Block(tf_keras.layers.Layer):
    """x + attention(norm(x)), then x + mlp(norm(x)): [batch, tokens, width] -> the same shape."""

    def __init__(self, config: ModelConfig, **kwargs):
        super().__init__(**kwargs)
        self.norm_attention = LayerNorm('norm_attention')
        self.attention = SelfAttention(config.width, config.heads, name='attention')
        self.norm_mlp = LayerNorm('norm_mlp')
        self.mlp_in = Dense(config.mlp_width, 'mlp_in', bias_stddev=1e-6, gelu=True)
        self.mlp_out = Dense(config.width, 'mlp_out', bias_stddev=1e-6)

    def call(self, inputs, dropout_rate=0.0, drop_rate=0.0, seed=None, training=False):
        """drop_rate: the probability that an example skips the whole block. Both rates are Python numbers; if one is
        not 0, `seed` [2] int32 is needed. A block that is kept is not divided by 1 - drop_rate (docs/model.md,
        "Stochastic depth")."""
        x = inputs + dropout(self.attention(self.norm_attention(inputs, training)), dropout_rate, seed, 0)
        y = self.mlp_in(self.norm_mlp(x, training), training)
        y = self.mlp_out(dropout(y, dropout_rate, seed, 1))
        x = x + dropout(y, dropout_rate, seed, 2)
        return tf.where(_kept([tf.shape(x)[0], 1, 1], drop_rate, seed, 3), x, inputs) if drop_rate else x


class Encoder(tf_keras.layers.Layer):
    """[batch, tokens, width] -> the same shape.

    Each modality has its own first config.modality_layers blocks (the paper's L_adapt). All share the others.

    Args:
      config: the sizes.
      modalities: the names of the modalities in use.
    """

    def __init__(self, config: ModelConfig, modalities: tuple[str, ...], **kwargs):
        super().__init__(**kwargs)
        self.config = config
        self.modality_blocks = {
            m: [Block(config, name=f'{m}_block_{i}') for i in range(config.modality_layers)] for m in modalities}
        self.blocks = [Block(config, name=f'block_{i}') for i in range(config.modality_layers, config.layers)]
        self.norm = LayerNorm('norm')

    def path(self, modality: str) -> list[Block]:
        """The blocks that tokens of a modality pass, in order."""
        return [*self.modality_blocks[modality], *self.blocks]

    def call(self, tokens, modality, training=False, stochastic_depth=0.0, seed=None):
        """In training an example skips block i of L with probability i / (L - 1) * stochastic_depth."""
        last = max(1, self.config.layers - 1)
        for i, block in enumerate(self.path(modality)):
            rates = (self.config.dropout, i / last * stochastic_depth) if training else (0.0, 0.0)
            block_seed = tf.random.experimental.stateless_fold_in(seed, i) if any(rates) else None
            tokens = block(tokens, *rates, seed=block_seed, training=training)
        return self.norm(tokens, training)

    @property
    def shared_variables(self) -> list[tf.Variable]:
        """The variables of the blocks that tokens of every modality pass, block by block."""
        return [v for block in self.blocks for v in block.trainable_variables]

    def path_variables(self, modality: str) -> list[tf.Variable]:
        """The variables of the blocks that tokens of a modality pass, and of the final norm."""
        return [v for layer in (*self.path(modality), self.norm) for v in layer.trainable_variables]

    def own_variables(self, modality: str) -> list[tf.Variable]:
        """The variables of the blocks that are the modality's own."""
        return [v for block in self.modality_blocks[modality] for v in block.trainable_variables]
