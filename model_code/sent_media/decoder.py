"""Media as clients send them -> the tokenizer's inputs: the part of the exported graph before the model.

Its parts are graph functions, traced once, which all signatures of a task share, and where they can those of all tasks
of a modality: the time in which a server loads a model grows with the number of operations.
"""

import functools
from collections.abc import Iterable

import tensorflow as tf

from model_code import graph_functions, modalities
from model_code.input_pipeline import model_input
from model_code.sent_media import content
from model_code.settings import ModelConfig
from model_code.tasks import Task


class Decoder:
    """What a task does with N encoded media. `check` and `decoded` are graph functions.

    check(media): (problems [N] string, '' where nothing is wrong; a plan [N, k] int32).
    decoded(media, plan): [N, *input shape], where nothing is wrong. Where the input has several views it also takes the
    number of one.
    """

    def __init__(self, spec: modalities.Input, check, as_stored, statistics: dict[str, float]):
        self._row, self._spec, self._statistics = modalities.get_modality(spec.modality), spec, statistics
        self.check, self._as_stored = check, as_stored
        view = [tf.TensorSpec([], tf.int32, name='view')] if spec.views > 1 else []
        self.decoded = graph_functions.called(self._decoded, _signature(self._row) + view)

    def _decoded(self, media: tf.Tensor, plan: tf.Tensor, view: tf.Tensor | None = None) -> tf.Tensor:
        def one(encoded):
            return model_input(self._row.name, (), self._spec, {self._row.feature: encoded, **self._statistics},
                               view=view)
        return tf.map_fn(one, self._as_stored(media, plan),
                         fn_output_signature=tf.TensorSpec(self._spec.shape, tf.float32))

    def decoded_together(self, media: tf.Tensor, plan: tf.Tensor, *view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """As `decoded_if_possible`, where nothing is wrong. One by one only if they cannot be decoded all at once."""
        def decode(media, plan):
            return self.decoded(media, plan, *view)
        whole = tf.data.Dataset.from_tensors((media, plan)).map(decode).ignore_errors()
        inputs, fine = _first_or(whole, self._none()), tf.fill([tf.shape(plan)[0]], True)
        return content.rarely(tf.shape(inputs)[0] != tf.size(fine),
                              lambda: self.decoded_if_possible(media, plan, fine, *view), lambda: (inputs, fine))

    def decoded_if_possible(self, media: tf.Tensor, plan: tf.Tensor, fine: tf.Tensor,
                            *view: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """(the inputs [N, *input shape], 0 where they cannot be decoded; whether each is fine and was decoded)."""
        count, shape = tf.size(fine), self._spec.shape

        def decode(place, media, plan, _):
            return place, tf.ensure_shape(self.decoded(media[tf.newaxis], plan[tf.newaxis], *view)[0], shape)
        examples = tf.data.Dataset.from_tensor_slices((tf.range(count), media, plan, fine))
        decoded = examples.filter(lambda *example: example[-1]).map(decode).ignore_errors()
        batches = decoded.batch(tf.cast(tf.maximum(count, 1), tf.int64))
        places, inputs = _first_or(batches, (tf.zeros([0], tf.int32), self._none()))
        places = places[:, tf.newaxis]
        return (tf.scatter_nd(places, inputs, [count, *shape]),
                tf.scatter_nd(places, tf.ones_like(places[:, 0]), [count]) > 0)

    def _none(self) -> tf.Tensor:
        """The inputs of no example."""
        return tf.zeros([0, *self._spec.shape])


def _first_or(dataset: tf.data.Dataset, none):
    """The first element of a dataset, or `none`, of the same structure, if all of it fails.

    tf.data is the only part of TensorFlow that can go on after an op has failed.
    """
    options = tf.data.Options()
    options.autotune.enabled = False  # its threads would outlive the request
    return dataset.concatenate(tf.data.Dataset.from_tensors(none)).take(1).with_options(options).get_single_element()


def decoders(tasks: Iterable[Task], config: ModelConfig, statistics: dict[str, tuple[float, ...]],
             tables: dict[str, dict[str, tf.Variable]]) -> dict[str, Decoder]:
    """Task -> its Decoder. statistics: task -> those of its train split. tables: modality -> those of `sent_media`."""
    @functools.cache
    def check(modality: str, limits: modalities.Limits):
        row = modalities.get_modality(modality)
        return graph_functions.called(
            lambda media: row.sent_media.check(media, config.input(modality), limits), _signature(row)[:1])

    @functools.cache
    def as_stored(modality: str):
        row = modalities.get_modality(modality)
        return graph_functions.called(
            lambda media, plan: row.sent_media.as_stored(media, plan, config.input(modality), tables[modality]),
            _signature(row))

    result = {}
    for task in tasks:
        row = modalities.get_modality(task.modality)
        result[task.name] = Decoder(
            config.input(row.name), check(row.name, task.data.limits.for_modality(row.name)), as_stored(row.name),
            dict(zip(row.statistics, statistics.get(task.name, ()), strict=True)))
    return result


def media_spec(row: modalities.Modality) -> tf.TensorSpec:
    """Of the encoded media of N examples."""
    return tf.TensorSpec([None, None] if row.repeated else [None], tf.string, name=row.feature)


def _signature(row: modalities.Modality) -> list[tf.TensorSpec]:
    return [media_spec(row), tf.TensorSpec([None, None], tf.int32, name='plan')]
