"""The exported model's graph: the model with its vocabularies and statistics, and the functions behind the signatures.

docs/serving.md lists the signatures with their inputs and outputs. They use core TensorFlow ops only, so that a stock
server can load the model.
"""

import functools

import tensorflow as tf

from model_code import graph_functions, modalities, signature_names
from model_code.polyvit import PolyViT
from model_code.sent_media import content, decoder
from model_code.tasks import Mixture, Task

# Of what has the right kind and header, but that TensorFlow's decoder fails on.
_DAMAGED = 'it cannot be decoded: it is damaged. Send a file that other programs open'


class ServedModel(tf.Module):
    """The model with its vocabularies and statistics, and the functions behind the signatures.

    vocabularies: task -> labels, in id order.
    statistics: task -> the statistics of its train split, in the order of Modality.statistics. A task whose modality
    has none may be missing.

    What clients send is checked and brought to what ingest stores (model_code.sent_media) before it is decoded. An item
    that is refused fails the request, with its place in the message; in `T_safe` it is a row with an error.

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
        self.sent_media_tables = {
            name: {key: tf.Variable(array, trainable=False, name=f'{name}_{key}')
                   for key, array in modalities.get_modality(name).sent_media.tables().items()}
            for name in dict.fromkeys(t.modality for t in mixture.tasks)}
        decoders = decoder.decoders(mixture.tasks, model.config, self.statistics, self.sent_media_tables)
        self._decoder = decoders.__getitem__  # a function: what is a dict here would become part of the saved object
        self.label_ids = {name: _label_table(labels) for name, labels in vocabularies.items()}
        self.inputs_of = {name: tf.function(functools.partial(self._inputs, task), autograph=False, input_signature=[
            decoder.media_spec(modalities.get_modality(task.modality)),
            *([tf.TensorSpec([], tf.int32, name='view')] if model.config.input(task.modality).views > 1 else [])])
            for name, task in self.mixture_tasks.items()}
        self.scores_of = {name: tf.function(functools.partial(model.scores, name), autograph=False,
                                            input_signature=[self._input_spec(task.modality)])
                          for name, task in self.mixture_tasks.items()}
        self._encode = functools.cache(lambda modality: graph_functions.called(
            functools.partial(model.encode, modality), [self._input_spec(modality)], optimised=True))

    def signatures(self, card: str) -> dict:
        """Name -> concrete function, for every signature. card: the model card as JSON."""
        with graph_functions.optimisation(False):
            return self._signatures(card)

    def _signatures(self, card: str) -> dict:
        result = {}
        for name, task in self.mixture_tasks.items():
            row = modalities.get_modality(task.modality)
            media = decoder.media_spec(row)
            examples = tf.TensorSpec([None], tf.string, name='examples')
            scores = tf.function(functools.partial(self._scores, task), input_signature=[media], autograph=False)
            result[name] = _named(row.feature, media, lambda m, f=scores, t=task: self._best(t, f(m)))
            result[signature_names.scores(name)] = _named(row.feature, media, lambda m, f=scores: {'scores': f(m)})
            result[signature_names.safe(name)] = _named(row.feature, media, functools.partial(self._safe, task))
            result[signature_names.examples(name)] = _named(
                'examples', examples, lambda e, f=scores, r=row: {'scores': f(_parse_media(e, r))})
            result[signature_names.label(name)] = _named('examples', examples, functools.partial(self._label, task))
        for name in {t.modality: None for t in self.mixture_tasks.values()}:
            row = modalities.get_modality(name)
            for signature, function in ((signature_names.embedding(name), self._embedding),
                                        (signature_names.all_tasks(name), self._all_scores)):
                result[signature] = _named(row.feature, decoder.media_spec(row), functools.partial(function, name))
        result[signature_names.MODEL_CARD] = _named('request', tf.TensorSpec([None], tf.string, name='request'),
                                                    functools.partial(_card, card))
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

    def _inputs(self, task: Task, media: tf.Tensor, *view: tf.Tensor) -> tf.Tensor:
        """Encoded media of N examples -> the tokenizer's input [N, *input shape]. Fails if any of them is bad.

        view: see `model_input`.
        """
        media_decoder = self._decoder(task.name)
        problems, plan = media_decoder.check(media)
        with tf.control_dependencies([_refuse(problems)]):
            media = tf.identity(media)

        def together():
            inputs, decodes = media_decoder.decoded_together(media, plan, *view)
            with tf.control_dependencies([_refuse(tf.where(decodes, '', _DAMAGED))]):
                return tf.identity(inputs)
        # One needs no place. To find it costs a fraction of a millisecond.
        return content.rarely(tf.size(problems) > 1, together, lambda: media_decoder.decoded(media, plan, *view))

    def _over_views(self, task: Task, each, outputs):
        """What each() returns, or where the input has several views the mean of each(view) over them.

        each: gives one or several float32 tensors; outputs: the TensorSpecs of these. One view is in memory at a time.
        """
        views = self.model.config.input(task.modality).views
        if views == 1:
            return each()
        values = tf.map_fn(each, tf.range(views), fn_output_signature=outputs, parallel_iterations=1)
        return tf.nest.map_structure(lambda tensor: tf.reduce_mean(tensor, axis=0), values)

    def _safe(self, task: Task, media: tf.Tensor) -> dict:
        """As `_best`, with `error`: why an example has no scores, '' if it has. Its labels are '', its scores 0."""
        media_decoder, encode = self._decoder(task.name), self._encode(task.modality)
        problems, plan = media_decoder.check(media)

        def each(*view):
            inputs, decodes = media_decoder.decoded_if_possible(media, plan, problems == '', *view)
            return self.model.head_scores(task.name, encode(inputs)), tf.cast(decodes, tf.float32)
        scores, decodes = self._over_views(task, each, (self._scores_spec(task.name), tf.TensorSpec([None])))
        best, rows = self._best(task, scores), (decodes == 1.0)[:, tf.newaxis]
        return {'labels': tf.where(rows, best['labels'], ''), 'scores': tf.where(rows, best['scores'], 0.0),
                'error': tf.where((problems == '') & (decodes < 1.0), _DAMAGED, problems)}

    def _input_spec(self, modality: str) -> tf.TensorSpec:
        return tf.TensorSpec([None, *self.model.config.input(modality).shape], tf.float32, name='inputs')

    def _scores_spec(self, task: str) -> tf.TensorSpec:
        return tf.TensorSpec([None, len(self.vocabularies[task])], tf.float32)

    def _scores(self, task: Task, media: tf.Tensor) -> tf.Tensor:
        encode = self._encode(task.modality)
        return self._over_views(
            task, lambda *view: self.model.head_scores(task.name, encode(self.inputs_of[task.name](media, *view))),
            self._scores_spec(task.name))

    def _best(self, task: Task, scores: tf.Tensor) -> dict:
        ids, scores = task.data.kind.functions.best(scores, self.model.groups[task.name])
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
        encode = self._encode(modality)
        return {'embedding': self._over_views(
            task, lambda *view: self.model.embedding(modality, encode(self.inputs_of[task.name](media, *view))),
            tf.TensorSpec([None, self.model.config.width], tf.float32))}

    def _all_scores(self, modality: str, media: tf.Tensor) -> dict:
        result = {}
        encode = self._encode(modality)
        for names in self.passes(modality):
            def each(*view, names=names):
                tokens = encode(self.inputs_of[names[0]](media, *view))
                return {name: self.model.head_scores(name, tokens) for name in names}
            scores = self._over_views(self.mixture_tasks[names[0]], each,
                                      {name: self._scores_spec(name) for name in names})
            result |= {signature_names.scores(name): values for name, values in scores.items()}
        return result


def _refuse(problems: tf.Tensor) -> tf.Operation:
    """The op that fails, with the first sentence and its place, if any of [N] problems is not ''."""
    def fail():
        place = tf.argmax(problems != '', output_type=tf.int32)
        message = tf.strings.join(['item ', tf.strings.as_string(place + 1), ' of ',
                                   tf.strings.as_string(tf.size(problems)), ': ', problems[place]])
        return tf.debugging.Assert(False, [message])
    return tf.cond(tf.reduce_all(problems == ''), tf.no_op, fail)


def _card(card: str, request: tf.Tensor) -> dict:
    """The card for one string. A list of them would be answered with as many copies."""
    count = tf.size(request)
    message = tf.strings.join(['model_card takes one string, of any content, and not ', tf.strings.as_string(count)])
    with tf.control_dependencies([tf.debugging.Assert(count == 1, [message])]):
        return {'card': tf.constant([card])}


def _label_table(labels: list[str]) -> tf.lookup.StaticHashTable:
    ids = tf.range(len(labels), dtype=tf.int64)
    return tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(labels), ids), default_value=-1)


def _named(argument: str, spec: tf.TensorSpec, function):
    """The concrete function of a Python function, whose one input is called `argument`."""
    traced = tf.function(lambda **inputs: function(inputs[argument]), autograph=False)
    return traced.get_concrete_function(**{argument: spec})


def _parse_media(examples: tf.Tensor, row: modalities.Modality) -> tf.Tensor:
    """Serialized tf.Examples [N] -> encoded media in the form that the signatures take."""
    if row.repeated:
        return tf.io.parse_example(examples, {row.feature: tf.io.RaggedFeature(tf.string)})[row.feature].to_tensor()
    return tf.io.parse_example(examples, {row.feature: tf.io.FixedLenFeature([], tf.string)})[row.feature]
