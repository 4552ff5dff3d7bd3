"""Writes the models that the conformance suite asks, and the file that serves them:

    python -m tests.serving.conformance_models DIR [BASE]

DIR gets the models and models.config, in the format of TensorFlow Serving's --model_config_file. BASE: DIR as the
server sees it, where that is another path, as in a container.
"""

import os
import sys
import typing

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import types_pb2

from serving import json_tensors
from tests.serving import models, vectors

LABELS = {'saved_model_half_plus_two_2_versions': ('Version_Label', 123)}
"""Model -> a version label and its version."""


def write(directory: str, base: str = '') -> str:
    """Writes the models. Returns the path of models.config."""
    folders = {'saved_model_half_plus_two_2_versions': 'two_versions', 'default': 'half_plus_two',
               'half_plus_two': 'half_plus_two', 'saved_model_half_plus_three': 'half_plus_three'}
    for folder, version, offset in (('two_versions', 123, 2.0), ('two_versions', 124, 2.0), ('half_plus_two', 123, 2.0),
                                    ('half_plus_three', 123, 3.0)):
        os.makedirs(os.path.join(directory, folder), exist_ok=True)
        models.save_affine(os.path.join(directory, folder, str(version)), offset=offset)
    made = {'classify': {name: _classify for name in ('serving_default', 'custom_signture')},
            'regress': {name: _regress for name in ('serving_default', 'custom_signture')},
            'responses': _responses()}
    for case in vectors.load():
        inputs = case['request'].get('signature_inputs')
        if inputs and echo_name(inputs) not in made:
            made[echo_name(inputs)] = {'serving_default': _echo(inputs)}
    for name, signatures in made.items():
        folders[name] = name
        tf.saved_model.save(tf.Module(), os.path.join(directory, name, '1'), signatures=signatures)
    path = os.path.join(directory, 'models.config')
    with open(path, 'w', encoding='utf-8') as file:
        file.write('model_config_list {\n')
        for name, folder in folders.items():
            file.write(_model_config(name, os.path.join(base or directory, folder)))
        file.write('}\n')
    return path


def echo_name(signature_inputs: dict[str, str]) -> str:
    """The name of the model that gives back inputs of these names and types."""
    return 'echo-' + '-'.join(f'{name}.{dtype.removeprefix("DT_")}' for name, dtype in signature_inputs.items())


def _model_config(name: str, path: str) -> str:
    label = LABELS.get(name)
    extra = '' if label is None else (
        f'    model_version_policy {{ specific {{ versions: {label[1]} }} }}\n'
        f'    version_labels {{ key: "{label[0]}" value: {label[1]} }}\n')
    return f'  config {{\n    name: "{name}"\n    base_path: "{path}"\n    model_platform: "tensorflow"\n{extra}  }}\n'


def _echo(signature_inputs: dict[str, str]):
    specs = {name: tf.TensorSpec(None, types_pb2.DataType.Value(dtype), name)
             for name, dtype in signature_inputs.items()}
    return tf.function(lambda **inputs: {name: tf.identity(value) for name, value in inputs.items()}
                       ).get_concrete_function(**specs)


_EXAMPLES = tf.TensorSpec([None], tf.string, 'inputs')


@tf.function(input_signature=[_EXAMPLES])
def _classify(inputs):
    """Gives back the serialized examples, as base64, where labels of classes belong."""
    return {'classes': tf.io.encode_base64(inputs)[:, None]}


@tf.function(input_signature=[_EXAMPLES])
def _regress(inputs):
    """Gives the digest of each example, the sum of its parts below."""
    features = tf.io.parse_example(inputs, {
        name: tf.io.RaggedFeature(getattr(tf, dtype)) for name, (dtype, _) in DIGESTED.items()})
    parts = [weight * tf.cast(features[name].row_lengths() if dtype != 'int64' else
                              tf.reduce_sum(features[name] + 1, axis=1), tf.float32)
             for name, (dtype, weight) in DIGESTED.items()]
    return {'outputs': tf.add_n(parts)}


DIGESTED = {'names': ('string', 1), 'ratings': ('float32', 10), 'query': ('string', 100), 'location': ('string', 1000),
            'intboolmix': ('int64', 1e4), 'age': ('int64', 1e5)}
"""Feature -> its type, and its weight in an example's digest: of its number of values, or of the sum of 1 + each."""


def _responses() -> dict[str, typing.Any]:
    """A signature for each reply of the vectors, which it gives whatever the input is; `vector`: x [None] -> x / 2."""
    signatures = {'vector': tf.function(lambda x: {'y': x / 2}).get_concrete_function(
        tf.TensorSpec([None], tf.float32, 'x'))}
    for case in vectors.load():
        request = case['request']
        if case['kind'] != 'response-format' or case.get('in_process'):
            continue
        if 'classifications' in request:
            pairs = request['classifications']
            outputs = {'classes': np.array([[label for label, _ in row] for row in pairs], object),
                       'scores': np.array([[score for _, score in row] for row in pairs], np.float32)}
            spec = _EXAMPLES
        else:
            outputs = {name: array(tensor) for name, tensor in request['tensors'].items()}
            spec = tf.TensorSpec([None], tf.float32, 'x')
        signatures[case['name']] = _constant(outputs, spec)
    return signatures


def _constant(outputs: dict[str, np.ndarray], spec: tf.TensorSpec):
    """A signature that gives these outputs, whatever its input is."""
    return tf.function(lambda _: {name: tf.constant(value) for name, value in outputs.items()}
                       ).get_concrete_function(spec)


def array(spec: dict) -> np.ndarray:
    """A tensor of the vectors: its dtype, shape and values."""
    numpy_type = json_tensors.NUMPY_TYPES[spec['dtype']]
    values = [value.encode() if numpy_type is np.object_ else float(value) if isinstance(value, str) else value
              for value in spec['values']]
    with np.errstate(over='ignore'):
        return np.array(values, numpy_type).reshape(spec['shape'])


if __name__ == '__main__':
    print(write(*sys.argv[1:]))
