"""Bounds on what a request makes the server hold, without a server."""

import io
import json
import math
import struct
import time
import tracemalloc
import urllib.parse
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow_serving.apis import predict_pb2

from model_code.errors import ConfigError
from serving import api, bounds, grpc_front, saved_model
from serving.errors import ServingError
from serving.limits import Limits
from tests import testing


def strings(*values):
    return np.array(values, object)


def png_bomb(width, height):
    """A PNG of one colour: 1 bit per pixel, a thousandth of that in the file."""
    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))
    packer = zlib.compressobj(9)
    line = bytes(1 + (width + 7) // 8)
    data = b''.join(packer.compress(line) for _ in range(height)) + packer.flush()
    return (b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', struct.pack('>IIBBBBB', width, height, 1, 0, 0, 0, 0))
            + chunk(b'IDAT', data) + chunk(b'IEND', b''))


def refusal(inputs, **limits):
    with pytest.raises(ServingError) as error:
        bounds.check_inputs(inputs, Limits(**limits), time.monotonic() + 60)
    assert error.value.code == 'INVALID_ARGUMENT'
    return error.value.message


def test_a_picture_of_400_million_pixels_is_refused_by_its_header():
    inputs = {'image': strings(testing.image_bytes(), png_bomb(20_000, 20_000))}
    tracemalloc.start()
    try:
        message = refusal(inputs)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()
    assert message == ('Input 2 of 2 is too large to decode. It has 400,000,000 pixels; at most 64,000,000 are allowed '
                       '(--max-pixels). Make it smaller.')


@pytest.mark.parametrize('kind, options, per_pixel', [
    ('JPEG', {}, 3), ('JPEG', {'progressive': True}, 9), ('PNG', {}, 3), ('BMP', {}, 3), ('GIF', {}, 4)])
def test_what_pictures_take_is_counted_before_they_are_decoded(kind, options, per_pixel):
    buffer = io.BytesIO()
    Image.new('RGB', (40, 30), 'red').save(buffer, kind, **options)
    media = {'image': strings(*[buffer.getvalue()] * 3)}
    bounds.check_inputs(media, Limits(max_decoded_bytes=3 * 1200 * per_pixel))
    assert 'Bytes of memory to decode' in refusal(media, max_decoded_bytes=3 * 1200 * per_pixel - 1)
    assert 'Bytes of all media of the request once' in refusal(media, max_total_decoded_bytes=3 * 1200 * per_pixel - 1)
    assert 'It has 1,200 pixels; at most 1,199 are' in refusal(media, max_pixels=1199)


def test_all_pictures_of_a_gif_count():
    pictures = [Image.effect_noise((40, 30), sigma) for sigma in (10, 40, 70)]
    buffer = io.BytesIO()
    pictures[0].save(buffer, 'GIF', save_all=True, append_images=pictures[1:])
    needed = (3 + 3) * 1200
    bounds.check_inputs({'image': strings(buffer.getvalue())}, Limits(max_decoded_bytes=needed))
    assert f'request: {needed:,}. ' in refusal({'image': strings(buffer.getvalue())}, max_decoded_bytes=needed - 1)


def test_a_header_that_cannot_be_read_and_what_is_no_media_are_left_to_the_graph():
    for content in (b'\xff\xd8 no jpeg', b'text', b'', b'\x89PNG\r\n\x1a\n', b'RIFF1234WAVE'):
        bounds.check_inputs({'image': strings(content), 'audio': strings(content)}, Limits())


def test_sounds_and_clips():
    sound = {'audio': strings(testing.wav_bytes(seconds=1.0))}
    bounds.check_inputs(sound, Limits(max_seconds=1.0))
    assert 'It has 1.0 seconds; at most 0.5 are allowed (--max-seconds)' in refusal(sound, max_seconds=0.5)
    frame = testing.image_bytes()
    clip = {'frames': np.array([[frame, frame, b'']], object)}
    bounds.check_inputs(clip, Limits(max_frames=3))
    assert 'Frames of a clip: 3. This server takes at most 2 (--max-frames)' in refusal(clip, max_frames=2)


def test_media_within_examples_are_bounded_too():
    example = tf.train.Example(features=tf.train.Features(feature={
        'image': tf.train.Feature(bytes_list=tf.train.BytesList(value=[png_bomb(9_000, 9_000)]))})).SerializeToString()
    assert '81,000,000 pixels' in refusal({'examples': strings(example)})
    with pytest.raises(ServingError, match='81,000,000 pixels'):
        bounds.check_examples([b'nonsense', example], Limits())


def test_instances_and_values():
    assert 'Instances in input x: 5,000. This server takes at most 4,096 (--max-instances)' in refusal(
        {'x': np.zeros(5_000, np.float32)})
    assert 'Values in the tensors of the request: 600,000. This server takes at most 500,000' in refusal(
        {'x': np.zeros((2, 300_000), np.float32)})


def test_replies_are_counted_before_their_json_is_made():
    cards = {'card': strings(*['x' * 1000] * 100)}
    bounds.check_reply({'card': (100,)}, Limits(), cards)
    with pytest.raises(ServingError, match=r'Bytes in the reply: 101,600. This server takes at most 100,000'):
        bounds.check_reply({'card': (100,)}, Limits(max_reply_bytes=100_000), cards)
    with pytest.raises(ServingError, match=r'Bytes in the reply: 65,536,000'):
        bounds.check_reply({'scores': (4096, 1000)}, Limits())


@pytest.mark.parametrize('tensor, message', [
    (tf.make_tensor_proto(np.full(300_000, 'x', object)), 'Instances in input x: 300,000'),
    (tf.make_tensor_proto(['x' * 20_000], shape=[1, 300_000]), 'Bytes in the tensors of the request: 6,000,000,000'),
    (tf.make_tensor_proto([1.0], shape=[1, 1, 100_000_000]), 'Values in the tensors of the request: 100,000,000'),
])
def test_the_shape_of_a_grpc_tensor_is_checked_before_its_value_is_repeated(tensor, message):
    if len(tensor.string_val) > 1:
        del tensor.string_val[1:]  # the last value stands for all further ones
    request = {'x': tensor}
    tracemalloc.start()
    try:
        with pytest.raises(ServingError, match=message):
            grpc_front._arrays(request, {}, Limits())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_very_many_dimensions_and_filters_are_no_work():  # it took hours, in which nobody else was answered
    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=2**62)] * 200_000)
    deep = tensor_pb2.TensorProto(dtype=tf.string.as_datatype_enum, tensor_shape=shape, string_val=[b'x'])
    with pytest.raises(ServingError, match='Input x has 200,000 dimensions. This server takes at most 32'):
        grpc_front._arrays({'x': deep}, {'x': 'DT_STRING'}, Limits())
    request = predict_pb2.PredictRequest(output_filter=map(str, range(200_000)))
    assert len(grpc_front._filter(request)) == 200_000
    request.output_filter.append('7')
    with pytest.raises(ServingError, match='duplicate output tensor alias: 7'):
        grpc_front._filter(request)


def test_values_of_inputs_that_the_signature_lacks_are_not_read():
    wrong = tf.make_tensor_proto([1.0])
    wrong.tensor_content = b'abc'  # not a float
    assert grpc_front._arrays({'x': wrong}, {}, Limits()).keys() == {'x'}
    with pytest.raises(ServingError, match='Input x is not a tensor'):
        grpc_front._arrays({'x': wrong}, {'x': 'DT_FLOAT'}, Limits())


def test_examples_are_counted_before_any_is_made(monkeypatch):
    monkeypatch.setattr(saved_model, 'serialize_example', lambda _: pytest.fail('an example was made'))
    body = json.dumps({'examples': [{'a': 1}] * 4097}).encode()
    with pytest.raises(ServingError, match='Instances in input examples: 4,097'):
        api.classify_or_regress(api.Models([]), body, 'm', None, None, math.inf, Limits(), 'classify')


def test_messages_are_cut_to_what_a_header_of_grpc_holds():
    short = 'é' * 1024
    assert ServingError('INVALID_ARGUMENT', short).message == short
    for text in ('x', 'é', '\U0001f600', '\ud800'):
        message = ServingError('INVALID_ARGUMENT', f'Signature {text * 1_000_000} not found').message
        assert message.startswith('Signature ') and message.endswith('...')
        assert len(urllib.parse.quote(message)) < 8192


def test_a_message_of_the_graph_that_quotes_bytes_survives():
    try:
        b'Could not parse example input, value: \xf6'.decode()
    except UnicodeDecodeError as error:
        failure = saved_model.from_tensorflow(error)
    assert (failure.code, failure.message) == ('INVALID_ARGUMENT', 'Could not parse example input, value: \ufffd')


def test_a_bound_without_sense_is_a_sentence():
    for value in (0, -1):
        with pytest.raises(ConfigError, match=f'--max-instances is {value}; it must be more than 0.'):
            Limits(max_instances=value)
    assert Limits(max_pixels=0).of_media('image').pixels == 64_000_000
