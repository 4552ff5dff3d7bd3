"""Functions of the exported graph that are called, not copied into their callers, and which of them are optimised.

A signature's first run makes its own copies of all functions that it calls. To optimise one, TensorFlow copies it again
and again, with all that it may call, whether that runs or not. What gains by it is the model's arithmetic; the other
functions spend their time in decoding.
"""

import contextlib

import tensorflow as tf


@contextlib.contextmanager
def optimisation(wanted: bool):
    """Whether the graph functions that are called within the block, in graphs that are built there, are optimised."""
    before = tf.config.optimizer.get_experimental_options()
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': not wanted})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': False} | before)


def called(function, signature: list[tf.TensorSpec], optimised: bool = False):
    """The graph function, traced once for all that call it."""
    traced = tf.function(function, autograph=False, input_signature=signature,
                         experimental_attributes={'_noinline': True}).get_concrete_function()

    def call(*inputs):
        with optimisation(optimised):
            return traced(*inputs)
    return call
