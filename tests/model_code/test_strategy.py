"""Layers are made with this project's settings of Keras, and a program's own settings are there again afterwards."""

import tf_keras

from model_code import strategy
from model_code.settings import TrainingConfig


def _settings() -> tuple:
    backend = tf_keras.backend
    return (backend.floatx(), backend.epsilon(), backend.image_data_format(),
            tf_keras.mixed_precision.global_policy().name)


def test_settings_of_keras():
    before = _settings()
    users = 'float16', 0.1, 'channels_first', 'float64'
    try:
        tf_keras.backend.set_floatx(users[0])
        tf_keras.backend.set_epsilon(users[1])
        tf_keras.backend.set_image_data_format(users[2])
        tf_keras.mixed_precision.set_global_policy(users[3])
        with strategy.precision(TrainingConfig(precision='bfloat16')):
            assert _settings() == ('float32', 1e-7, 'channels_last', 'mixed_bfloat16')
        assert _settings() == users
    finally:
        tf_keras.backend.set_floatx(before[0])
        tf_keras.backend.set_epsilon(before[1])
        tf_keras.backend.set_image_data_format(before[2])
        tf_keras.mixed_precision.set_global_policy(before[3])
