"""TensorBoard: curves of the training, and the inputs as the model sees them. A resumed run repeats no points."""

import os

import tensorflow as tf

from model_code import file_io
from model_code.modalities import get_modality
from model_code.tasks import Task


class Summaries:
    """Writes event files to `directory`.

    first_step: the step that training starts with. Points of this and later steps, which an interrupted run left
    behind, are removed. If the directory is '', nothing is written (for a worker that is not the chief).
    """

    def __init__(self, directory: str, first_step: int):
        if not directory:
            self._writer = tf.summary.create_noop_writer()
            return
        file_io.remove_leftovers(directory)
        for path in tf.io.gfile.glob(os.path.join(directory, 'events.*')):
            _keep_before(path, first_step)
        self._writer = tf.summary.create_file_writer(directory)

    def scalars(self, step: int, values: dict[str, float]):
        with self._writer.as_default():
            for name, value in values.items():
                tf.summary.scalar(name, value, step)

    def inputs(self, task: Task, inputs: tf.Tensor):
        """Writes inputs [n, *input shape] of the task as pictures, if its modality can be drawn."""
        pictures = getattr(get_modality(task.modality).preprocessing, 'pictures', None)
        if pictures is not None:
            with self._writer.as_default():
                tf.summary.image(f'inputs/{task.name}', pictures(inputs), 0, max_outputs=len(inputs))

    def flush(self):
        self._writer.flush()

    def close(self):
        self._writer.close()


def _keep_before(path: str, step: int):
    """Rewrites the event file with the events before `step`. An incomplete event at its end is dropped."""
    with file_io.replacing(path) as temporary, tf.io.TFRecordWriter(temporary) as writer:
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                if event.step < step or not event.HasField('summary'):
                    writer.write(record)
        except tf.errors.DataLossError:
            pass
