"""TensorBoard: curves while training runs, and what the model sees. A resumed run's points are not there twice."""

import os

import tensorflow as tf

from model_code import file_io
from model_code.tasks import Task

STRIP, STRIP_HEIGHT = 8, 112  # frames, pixels


class Summaries:
    """Writes event files to `directory`.

    first_step: where training starts; points of this step and later ones, which a run that was cut left behind, are
    removed. A directory of '' writes nothing (a worker that is not the chief).
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
        """Inputs [n, *input shape] of the task as training sees them: pictures, strips of frames, spectrograms."""
        with self._writer.as_default():
            tf.summary.image(f'inputs/{task.name}', pictures(task.modality, inputs), 0, max_outputs=len(inputs))

    def flush(self):
        self._writer.flush()

    def close(self):
        self._writer.close()


def pictures(modality: str, inputs: tf.Tensor) -> tf.Tensor:
    """[batch, *input shape] float32 -> [batch, height, width, 3 or 1] in [0, 1].

    Of a clip at most STRIP frames, evenly chosen and at most STRIP_HEIGHT high, stand side by side; a spectrogram's
    time runs to the right and its pitch up, darkest at its least.
    """
    if modality == 'video':
        n, stored, h, w, c = inputs.shape
        f = min(STRIP, stored)
        inputs = tf.gather(inputs, [i * stored // f for i in range(f)], axis=1)
        smaller = min(1.0, STRIP_HEIGHT / h)
        size = [round(h * smaller), round(w * smaller)]
        frames = tf.image.resize(tf.reshape(inputs, [n * f, h, w, c]), size, method='area')
        strips = tf.transpose(tf.reshape(frames, [n, f, *size, c]), [0, 2, 1, 3, 4])
        inputs = tf.reshape(strips, [n, size[0], f * size[1], c])
    if modality != 'audio':
        return tf.clip_by_value(inputs / 2 + 0.5, 0.0, 1.0)
    plane = tf.reverse(tf.transpose(inputs[..., :1], [0, 2, 1, 3]), [1])
    low, high = (reduce(plane, axis=[1, 2, 3], keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    return (plane - low) / tf.maximum(high - low, 1e-6)


def _keep_before(path: str, step: int):
    """Writes the event file anew with the events before `step`; what a kill cut short at its end is dropped."""
    with file_io.replacing(path) as temporary, tf.io.TFRecordWriter(temporary) as writer:
        try:
            for record in tf.data.TFRecordDataset(path).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                if event.step < step or not event.HasField('summary'):
                    writer.write(record)
        except tf.errors.DataLossError:
            pass
