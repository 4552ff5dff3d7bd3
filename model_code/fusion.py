"""Makes one kernel of a function of many small operations.

Two things take the time of a training step on CPUs. One is matrix products, which TensorFlow does best by itself. The
other is memory traffic of the small operations in between: the gradient of GELU alone passes over its input a dozen
times. XLA makes that one pass. XLA for the whole step is slower, and takes much longer to compile
(benchmarks/step.py --jit).
"""

from collections.abc import Callable

import tensorflow as tf


def fused(function: Callable) -> Callable:
    """Compiles `function` (tensors -> one tensor) and its gradient with XLA.

    The gradient computes `function` a second time instead of keeping intermediate values in memory.
    Only for training: a server of exported models may lack XLA.
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
