"""Environment variables that TensorFlow reads once, when it is first imported."""

import os


def set_defaults():
    """Sets those that are not set. To be called before anything imports TensorFlow.

    Keras 2, which TFX, TFT and TFMA are built on; oneDNN's kernels, which TensorFlow leaves off on some CPUs and which
    make a training step a tenth shorter.
    """
    os.environ.setdefault('TF_USE_LEGACY_KERAS', '1')
    os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '1')
