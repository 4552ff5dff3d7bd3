"""The transformer encoder that every task shares: pre-LayerNorm blocks and a final LayerNorm (polyvit.md, Model)."""

import tensorflow as tf
import tf_keras

LAYER_NORM_EPSILON = 1e-6


def _dense(units: int, name: str, bias_stddev: float = 0.0) -> tf_keras.layers.Dense:
    bias = tf_keras.initializers.RandomNormal(stddev=bias_stddev) if bias_stddev else 'zeros'
    return tf_keras.layers.Dense(units, kernel_initializer='glorot_uniform', bias_initializer=bias, name=name)


class SelfAttention(tf_keras.layers.Layer):
    """Multi-head self-attention: [batch, tokens, width] -> the same shape. Args: width, heads (must divide width)."""

    def __init__(self, width: int, heads: int, **kwargs):
        super().__init__(**kwargs)
        self.width = width
        self.heads = heads
        self.query = _dense(width, 'query')
        self.key = _dense(width, 'key')
        self.value = _dense(width, 'value')
        self.out = _dense(width, 'out')

    def call(self, inputs):
        n, t = tf.shape(inputs)[0], inputs.shape[1]
        h, d = self.heads, self.width // self.heads

        def split_heads(x):
            return tf.transpose(tf.reshape(x, [n, t, h, d]), [0, 2, 1, 3])

        query = split_heads(self.query(inputs)) * tf.cast(d ** -0.5, inputs.dtype)
        weights = tf.nn.softmax(tf.matmul(query, split_heads(self.key(inputs)), transpose_b=True))
        mixed = tf.matmul(weights, split_heads(self.value(inputs)))
        return self.out(tf.reshape(tf.transpose(mixed, [0, 2, 1, 3]), [n, t, self.width]))


class StochasticDepth(tf_keras.layers.Layer):
    """In training drops a whole residual branch for a sample with probability `rate`, scaling the rest by 1/(1-rate)."""

    def __init__(self, rate: float, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate

    def call(self, inputs, training=False):
        if not training or not self.rate:
            return inputs
        keep = tf.random.uniform([tf.shape(inputs)[0], 1, 1]) >= self.rate
        return inputs * tf.cast(keep, inputs.dtype) / (1.0 - self.rate)


class Block(tf_keras.layers.Layer):
    """x + drop(attention(norm(x))), then x + drop(mlp(norm(x))). GELU by its tanh approximation."""

    def __init__(self, width: int, heads: int, mlp_width: int, dropout: float, drop_path: float, **kwargs):
        super().__init__(**kwargs)
        self.norm_attention = tf_keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name='norm_attention')
        self.attention = SelfAttention(width, heads, name='attention')
        self.norm_mlp = tf_keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name='norm_mlp')
        self.mlp_in = _dense(mlp_width, 'mlp_in', bias_stddev=1e-6)
        self.mlp_out = _dense(width, 'mlp_out', bias_stddev=1e-6)
        self.dropout = tf_keras.layers.Dropout(dropout)
        self.drop_path = StochasticDepth(drop_path)

    def call(self, x, training=False):
        y = self.dropout(self.attention(self.norm_attention(x)), training=training)
        x = x + self.drop_path(y, training=training)
        y = tf.nn.gelu(self.mlp_in(self.norm_mlp(x)), approximate=True)
        y = self.dropout(self.mlp_out(self.dropout(y, training=training)), training=training)
        return x + self.drop_path(y, training=training)


class Encoder(tf_keras.layers.Layer):
    """[batch, tokens, width] -> the same shape. Takes a model_code.settings.ModelConfig.

    Block l of L is dropped for a sample with probability l / (L - 1) * stochastic_depth.
    """

    def __init__(self, config, **kwargs):
        super().__init__(**kwargs)
        self.config = config
        last = max(1, config.layers - 1)
        self.blocks = [Block(config.width, config.heads, config.mlp_width, config.dropout,
                             drop_path=l / last * config.stochastic_depth, name=f'block_{l}')
                       for l in range(config.layers)]
        self.norm = tf_keras.layers.LayerNormalization(epsilon=LAYER_NORM_EPSILON, name='norm')

    def call(self, tokens, training=False):
        for block in self.blocks:
            tokens = block(tokens, training=training)
        return self.norm(tokens)
