"""Writes the SavedModel that is served: the graph of model_code.served_model, the model card and warm-up requests."""

import dataclasses
import json

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

from model_code import graph_functions, modalities, model_directory, signature_names
from model_code.served_model import ServedModel


def save(served: ServedModel, directory: str, card: dict, samples: dict[str, list[bytes]]):
    """Writes the SavedModel with its extra assets.

    card: the entries of the model card besides `model_card_entries`.
    samples: task -> the encoded media of one example, for the warm-up requests: a list with one item, or with the
    frames of a clip.
    """
    card = card | {'card_version': model_directory.CARD_VERSION} | model_card_entries(served)
    with graph_functions.optimisation(False):
        tf.saved_model.save(served, directory, signatures=served.signatures(json.dumps(card, indent=1, sort_keys=True)))
    model_directory.write_card(directory, card)
    with tf.io.TFRecordWriter(model_directory.warmup_path(directory)) as writer:
        for request in warmup_requests(served, samples):
            log = prediction_log_pb2.PredictionLog(
                predict_log=prediction_log_pb2.PredictLog(request=request))
            writer.write(log.SerializeToString())


def model_card_entries(served: ServedModel) -> dict:
    """What the card says about the model itself: tasks with their classes, inputs, numbers of parameters."""
    model = served.model

    def count(variables) -> int:
        return sum(v.shape.num_elements() for v in variables)

    tasks = [{'name': t.name, 'modality': t.modality, 'multi_label': t.data.kind.several,
              'label_groups': list(t.data.label_groups), 'primary_metric': t.primary_metric,
              'classes': served.vocabularies[t.name],
              **({'statistics': list(served.statistics[t.name])} if served.statistics.get(t.name) else {})}
             for t in served.mixture_tasks.values()]
    return {
        'tasks': tasks,
        'inputs': {name: _input_fields(model.config.input(name)) for name in model.tokenizers},
        'encoder_passes': {name: served.passes(name) for name in model.tokenizers},
        'parameters': {
            'total': count(model.trainable_variables),
            'encoder': count(model.encoder.trainable_variables),
            'tokenizers': {name: count(t.trainable_variables) for name, t in model.tokenizers.items()},
            'heads': {name: count(h.trainable_variables) for name, h in model.heads.items()},
        },
    }


def _input_fields(spec: modalities.Input) -> dict:
    fields = dataclasses.asdict(spec)
    del fields['modality']
    return fields


def warmup_requests(served: ServedModel, samples: dict[str, list[bytes]]):
    """Yields a PredictRequest for every signature that takes media, made of one real example per task, and the card's.

    samples: as for `save`. Those that take examples are asked by the pipeline, which can wait: to warm them up would
    take a fifth of the time that a server needs for a new version.
    """
    def request(signature: str, name: str, value: tf.Tensor):
        message = predict_pb2.PredictRequest()
        message.model_spec.signature_name = signature
        message.inputs[name].CopyFrom(tf.make_tensor_proto(value))
        return message

    yield request(signature_names.MODEL_CARD, 'request', [b''])
    asked = {signature_names.DEFAULT: next(iter(served.mixture_tasks))}  # signature -> a task whose example it takes
    for name, task in served.mixture_tasks.items():
        for signature in (name, signature_names.scores(name), signature_names.safe(name),
                          signature_names.embedding(task.modality), signature_names.all_tasks(task.modality)):
            asked.setdefault(signature, name)
    for signature, name in asked.items():
        row = modalities.get_modality(served.mixture_tasks[name].modality)
        yield request(signature, row.feature, [samples[name]] if row.repeated else samples[name])
