"""Functions of many small operations that become one kernel.

On CPUs a training step is bound by its matrix products, which TensorFlow computes best, and by the memory that what
lies between them reads and writes over and over: GELU's gradient alone is a dozen passes over its input. XLA makes one
pass of them. XLA for the whole step is slower here, and takes much longer to compile (benchmarks/step.py --jit).
"""

from collections.abc import Callable

import tensorflow as tf


def fused(function: Callable) -> Callable:
    """`function`, of tensors to one tensor, compiled by XLA, and its gradient too, which computes `function` anew
    rather than to keep what it needs in memory.

    Only for training: a server of exported models may have no XLA.
    """
    forward = tf.function(function, autograph=False, jit_compile=True)

    @tf.function(autograph=False, jit_compile=True)
    def backward(inputs, upstream):
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            outputs = function(*inputs)
        return tape.gradient(outputs, inputs, output_gradients=upstream)

    @tf.custom_gradient
    def with_gradient(*inputs):
        return forward(*inputs), lambda upstream: backward(inputs, upstream)

    return with_gradient
