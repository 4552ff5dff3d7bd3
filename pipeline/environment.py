"""Environment variables that TensorFlow reads when it is first imported."""

import os


def set_defaults():
    """Sets those that are not set yet. Call it before anything imports TensorFlow.

    TF_USE_LEGACY_KERAS: TFX, TFT and TFMA are built on Keras 2. TF_ENABLE_ONEDNN_OPTS: TensorFlow leaves oneDNN's
    kernels off on some CPUs; they shorten a training step by a tenth.
    """
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
