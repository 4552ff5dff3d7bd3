"""The tf.data options of training's and evaluation's streams."""

import pytest

from model_code import input_pipeline
from tests.model_code import tiny_training


@pytest.mark.parametrize('task', tiny_training.TASKS, ids=lambda task: task.modality)
def test_no_stream_is_autotuned(tmp_path, task):
    """The threads of tf.data's autotuning outlive a training by up to a minute, and the next component would wait."""
    tiny_training.write_examples(str(tmp_path), files=1)
    files = tiny_training.files_of(str(tmp_path), task)
    for stream in (input_pipeline.train_dataset(task, tiny_training.CLASSES, tiny_training.MODEL, files),
                   input_pipeline.eval_dataset(task, tiny_training.CLASSES, tiny_training.MODEL, files, 4)):
        assert stream.options().autotune.enabled is False
