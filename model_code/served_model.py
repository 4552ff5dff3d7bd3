"""The exported model's graph: the model with its vocabularies and statistics, and the functions behind the signatures.

docs/serving.md lists the signatures with their inputs and outputs. They use core TensorFlow ops only, so that a stock
server can load the model.
"""

import functools

import tensorflow as tf

from model_code import modalities, signature_names
from model_code.input_pipeline import model_input
from model_code.polyvit import PolyViT
from model_code.tasks import Mixture, Task


class ServedModel(tf.Module):
    """The model with its vocabularies and statistics, and the functions behind the signatures.

    vocabularies: task -> labels, in id order.
    statistics: task -> the statistics of its train split, in the order of Modality.statistics. A task whose modality
    has none may be missing.

    `inputs_of` and `scores_of` (task -> tf.function) are the two halves of a task's scores: encoded media -> the
    tokenizer's input, and that -> scores. They are saved as functions of the object, not as signatures, for
    converters that cannot take the first half (serving/lite.py). Where the modality's input has several views, the
    first half takes the number of one (int32 scalar, from 0) beside the media, and all signatures give the mean over
    the views.
    """

    def __init__(self, model: PolyViT, mixture: Mixture, vocabularies: dict[str, list[str]],
                 statistics: dict[str, tuple[float, ...]]):
        super().__init__(name='served_polyvit')
        self.model = model
        self.mixture_tasks = {t.name: t for t in mixture.tasks}
        self.vocabularies = {name: list(labels) for name, labels in vocabularies.items()}
        self.statistics = {name: tuple(values) for name, values in statistics.items()}
        self.label_ids = {name: _label_table(labels) for name, labels in vocabularies.items()}
        self.inputs_of = {name: tf.function(functools.partial(self._inputs, task), autograph=False, input_signature=[
            _media_spec(modalities.get_modality(task.modality)),
            *([tf.TensorSpec([], tf.int32, name='view')] if model.config.input(task.modality).views > 1 else [])])
            for name, task in self.mixture_tasks.items()}
        self.scores_of = {name: tf.function(functools.partial(model.scores, name), autograph=False, input_signature=[
            tf.TensorSpec([None, *model.config.input(task.modality).shape], tf.float32, name='inputs')])
            for name, task in self.mixture_tasks.items()}

    def signatures(self, card: str) -> dict:
        """Name -> concrete function, for every signature. card: the model card as JSON."""
        result = {}
        for name, task in self.mixture_tasks.items():
            row = modalities.get_modality(task.modality)
            media = _media_spec(row)
            examples = tf.TensorSpec([None], tf.string, name='examples')
            scores = tf.function(functools.partial(self._scores, task), input_signature=[media], autograph=False)
            result[name] = _named(row.feature, media, functools.partial(self._best, task, scores))
            result[signature_names.scores(name)] = _named(row.feature, media, lambda m, f=scores: {'scores': f(m)})
            result[signature_names.examples(name)] = _named(
                'examples', examples, lambda e, f=scores, r=row: {'scores': f(_parse_media(e, r))})
            result[signature_names.label(name)] = _named('examples', examples, functools.partial(self._label, task))
        for name in {t.modality: None for t in self.mixture_tasks.values()}:
            row = modalities.get_modality(name)
            for signature, function in ((signature_names.embedding(name), self._embedding),
                                        (signature_names.all_tasks(name), self._all_scores)):
                result[signature] = _named(row.feature, _media_spec(row), functools.partial(function, name))
        result[signature_names.MODEL_CARD] = _named('request', tf.TensorSpec([None], tf.string, name='request'),
                                      lambda request: {'card': tf.fill(tf.shape(request), card)})
        result[signature_names.DEFAULT] = result[next(iter(self.mixture_tasks))]
        return result

    def passes(self, modality: str) -> list[list[str]]:
        """The tasks of a modality, by the passes of the encoder that answer them all.

        Tasks share one if their inputs are equal: those whose statistics differ normalise the same media differently.
        """
        groups: dict[tuple, list[str]] = {}
        for name, task in self.mixture_tasks.items():
            if task.modality == modality:
                groups.setdefault(self.statistics.get(name, ()), []).append(name)
        return list(groups.values())

    def _inputs(self, task: Task, media: tf.Tensor, view: tf.Tensor | None = None) -> tf.Tensor:
        """Encoded media of N examples -> the tokenizer's input [N, *input shape]. view: see `model_input`."""
        row = modalities.get_modality(task.modality)
        spec = self.model.config.input(task.modality)
        statistics = dict(zip(row.statistics, self.statistics.get(task.name, ()), strict=True))
        as_stored = getattr(row.preprocessing, 'as_stored', tf.identity)
        return tf.map_fn(
            lambda encoded: model_input(task.modality, (), spec, {row.feature: encoded, **statistics}, view=view),
            as_stored(media), fn_output_signature=tf.TensorSpec(spec.shape, tf.float32))

    def _over_views(self, task: Task, media: tf.Tensor, function, outputs):
        """`function` of the inputs that come of encoded media: the mean over the views, where there are several.

        function: [N, *input shape] -> one or several float32 tensors (a dict); outputs: the TensorSpecs of these. One
        view is in memory at a time.
        """
        views = self.model.config.input(task.modality).views
        if views == 1:
            return function(self.inputs_of[task.name](media))
        each = tf.map_fn(lambda view: function(self.inputs_of[task.name](media, view)), tf.range(views),
                         fn_output_signature=outputs, parallel_iterations=1)
        return tf.nest.map_structure(lambda values: tf.reduce_mean(values, axis=0), each)

    def _scores(self, task: Task, media: tf.Tensor) -> tf.Tensor:
        return self._over_views(task, media, self.scores_of[task.name],
                                tf.TensorSpec([None, len(self.vocabularies[task.name])], tf.float32))

    def _best(self, task: Task, scores_of, media: tf.Tensor) -> dict:
        ids, scores = task.data.kind.functions.best(scores_of(media), self.model.groups[task.name])
        return {'labels': tf.gather(tf.constant(self.vocabularies[task.name]), ids), 'scores': scores}

    def _label(self, task: Task, examples: tf.Tensor) -> dict:
        labels = tf.io.parse_example(examples, {'label': tf.io.RaggedFeature(tf.string)})['label']
        ids = tf.ragged.map_flat_values(self.label_ids[task.name].lookup, labels)
        functions = task.data.kind.functions
        label = functions.transform(ids.to_tensor(default_value=-1), len(self.vocabularies[task.name]))
        return {'label': functions.eval_label(label, self.model.groups[task.name])}

    def _embedding(self, modality: str, media: tf.Tensor) -> dict:
        # An embedding belongs to no task. Statistics (for sounds) are those of the modality's first task.
        task = next(t for t in self.mixture_tasks.values() if t.modality == modality)
        return {'embedding': self._over_views(
            task, media, functools.partial(self.model.embed, modality),
            tf.TensorSpec([None, self.model.config.width], tf.float32))}


    def _all_scores(self, modality: str, media: tf.Tensor) -> dict:
        result = {}
        for names in self.passes(modality):
            scores = self._over_views(
                self.mixture_tasks[names[0]], media, functools.partial(self.model.scores_of_all, names),
                {name: tf.TensorSpec([None, len(self.vocabularies[name])], tf.float32) for name in names})
            result |= {signature_names.scores(name): values for name, values in scores.items()}
        return result


def _label_table(labels: list[str]) -> tf.lookup.StaticHashTable:
    ids = tf.range(len(labels), dtype=tf.int64)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(labels), ids), default_value=-1)


def _media_spec(row: modalities.Modality) -> tf.TensorSpec:
    return tf.TensorSpec([None, None] if row.repeated else [None], tf.string, name=row.feature)


def _named(argument: str, spec: tf.TensorSpec, function):
    """The concrete function of a Python function, whose one input is called `argument`."""
    traced = tf.function(lambda **inputs: function(inputs[argument]), autograph=False)
    return traced.get_concrete_function(**{argument: spec})


def _parse_media(examples: tf.Tensor, row: modalities.Modality) -> tf.Tensor:
    """Serialized tf.Examples [N] -> encoded media in the form that the signatures take."""
    if row.repeated:
        return tf.io.parse_example(examples, {row.feature: tf.io.RaggedFeature(tf.string)})[row.feature].to_tensor()
    return tf.io.parse_example(examples, {row.feature: tf.io.FixedLenFeature([], tf.string)})[row.feature]
