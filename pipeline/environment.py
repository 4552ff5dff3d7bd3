"""The environment of a process: what users have set for other programs does not change a run."""

import os
import sys

# Set whatever a user has set. TFX, TFT and TFMA are built on Keras 2 (TF_USE_LEGACY_KERAS). Settings of Keras are read
# from a file in KERAS_HOME, by default ~/.keras, and written there if there is none: here is none, and none can be.
_FIXED = {'TF_USE_LEGACY_KERAS': '1', 'KERAS_BACKEND': 'tensorflow', 'KERAS_HOME': os.devnull}
# TensorFlow leaves oneDNN's kernels off on some CPUs; they shorten a training step by a tenth.
# By default the first process that uses a GPU takes all of its memory; a run has several, and a server may run beside.
_DEFAULTS = {'TF_ENABLE_ONEDNN_OPTS': '1', 'TF_FORCE_GPU_ALLOW_GROWTH': 'true'}
# Variables that change the numbers of a training. A user may have reasons to set them, so they stay as they are.
_NUMBERS = ('NVIDIA_TF32_OVERRIDE', 'OMP_NUM_THREADS', 'ONEDNN_DEFAULT_FPMATH_MODE', 'TF_CUDNN_DETERMINISTIC',
            'TF_DETERMINISTIC_OPS', 'TF_ENABLE_AUTO_MIXED_PRECISION', 'TF_ENABLE_ONEDNN_OPTS',
            'TF_NUM_INTEROP_THREADS', 'TF_NUM_INTRAOP_THREADS', 'TF_SET_ONEDNN_FPMATH_MODE', 'TF_XLA_FLAGS',
            'XLA_FLAGS')


def use_utf8():
    """Starts this program anew with UTF-8 for names of files, unless they are: in a locale without it, the same files
    would have other names, and so other examples would be in the eval split."""
    if sys.getfilesystemencoding() != 'utf-8':
        os.execv(sys.executable, [sys.executable, '-X', 'utf8', *sys.orig_argv[1:]])


def set_defaults():
    """Sets what the libraries need. Call it before anything imports TensorFlow."""
    os.environ.update(_FIXED)
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)


def numbers() -> dict[str, str]:
    """The variables that change the numbers of a training, as far as they are set."""
    return {name: os.environ[name] for name in _NUMBERS if name in os.environ}
