"""Bounds on what a request makes the server hold: instances, values, decoded media, the reply.

Each is checked before it is made. Both protocols use the same functions, over numpy arrays as the graph gets them.
"""

import asyncio
import math
import time
from collections.abc import Sequence

import numpy as np

from media.rejections import Rejection
from model_code import modalities
from serving import mailbox, metrics
from serving.errors import ServingError, invalid
from serving.limits import Limits, exceeded, flag

_MODALITIES = {row.feature: row for row in modalities.MODALITIES.values()}
_EXAMPLES = 'examples'  # the input of the signatures T_examples
_PARALLEL = 10  # the graph decodes so many at once (tf.map_fn), and of clips so many frames each
_NUMBER_BYTES = 16  # of a number as JSON, about


def run(model, signature_name: str, inputs: dict[str, np.ndarray], deadline: float, limits: Limits,
        outputs: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """model.run, with the bounds on what goes in and what comes out. deadline: a time.monotonic()."""
    decoded_bytes = _check_before(model, signature_name, inputs, deadline, limits, outputs)
    results = model.run(signature_name, inputs, deadline - time.monotonic(), outputs, decoded_bytes)
    check_reply({name: value.shape for name, value in results.items()}, limits, results)
    return results


async def run_in_loop(model, signature_name: str, inputs: dict[str, np.ndarray], deadline: float,
                      limits: Limits, outputs: Sequence[str] = (), wait_s: float | None = None
                      ) -> dict[str, np.ndarray]:
    """As `run`, without a thread that waits. wait_s: seconds until it fails with DEADLINE_EXCEEDED in any case."""
    decoded_bytes = _check_before(model, signature_name, inputs, deadline, limits, outputs)
    future = model.submit(signature_name, inputs, deadline - time.monotonic(), outputs, decoded_bytes)
    try:
        results = await mailbox.result(future, wait_s)
    except asyncio.TimeoutError:
        raise ServingError('DEADLINE_EXCEEDED', 'The deadline passed while the graph ran') from None
    finally:
        del future  # see mailbox.result
    check_reply({name: value.shape for name, value in results.items()}, limits, results)
    return results


def _check_before(model, signature_name: str, inputs: dict[str, np.ndarray], deadline: float, limits: Limits,
                  outputs: Sequence[str]) -> int:
    """Checks the inputs, and the reply as far as the signature tells. Returns what `check_inputs` does."""
    decoded_bytes = check_inputs(inputs, limits, deadline)
    signature = model.signature(signature_name)
    instances = max((len(value) for value in inputs.values() if value.ndim), default=1)
    check_reply({name: (instances, *tensor.shape[1:]) for name, tensor in signature.outputs.items()
                 if (not outputs or name in outputs) and tensor.shape and None not in tensor.shape[1:]}, limits)
    return decoded_bytes


def check_inputs(inputs: dict[str, np.ndarray], limits: Limits, deadline: float = math.inf) -> int:
    """Raises ServingError if there are too many instances or values, or media that are too large to decode.

    Returns the bytes that the graph holds at once to decode the media.
    """
    decoded_bytes = 0
    check_shapes({name: value.shape for name, value in inputs.items()}, limits)
    for name, values in inputs.items():
        if values.dtype != object:
            continue
        if name in _MODALITIES:
            if _MODALITIES[name].repeated and values.ndim > 1:
                _check_frames(name, values.shape[-1], limits)
            decoded_bytes += _check_media(name, values.ravel().tolist(), limits, deadline)
        elif name == _EXAMPLES:
            decoded_bytes += check_examples(values.ravel().tolist(), limits, deadline)
    return decoded_bytes


def check_shapes(shapes: dict[str, Sequence[int]], limits: Limits):
    """As check_inputs, from shapes alone: for a message whose single value may stand for any number of them."""
    for name, shape in shapes.items():
        if shape and shape[0] > limits.max_instances:
            raise exceeded(f'Instances in input {name}', shape[0], 'max_instances', limits.max_instances,
                           'Send them in several requests.')
    elements = sum(math.prod(shape) for shape in shapes.values())
    if elements > limits.max_elements:
        raise exceeded('Values in the tensors of the request', elements, 'max_elements', limits.max_elements,
                       'Send media as encoded bytes, or in several requests.')


def check_reply(shapes: dict[str, Sequence[int]], limits: Limits, values: dict[str, np.ndarray] | None = None):
    """Raises ServingError if a reply with outputs of these shapes would be too large.

    values: the outputs, if they are there; then the lengths of strings count, too.
    """
    strings = [value for value in (values or {}).values() if value.dtype == object]
    size = (_NUMBER_BYTES * sum(map(math.prod, shapes.values()))
            + sum(len(one) for value in strings for one in value.ravel().tolist()))
    if size > limits.max_reply_bytes:
        raise exceeded('Bytes in the reply', size, 'max_reply_bytes', limits.max_reply_bytes,
                       'Send fewer instances at once.')


def check_examples(examples: list[bytes], limits: Limits, deadline: float = math.inf) -> int:
    """As check_inputs, for serialized tf.Examples."""
    import tensorflow as tf
    check_shapes({_EXAMPLES: [len(examples)]}, limits)
    media: dict[str, list[bytes]] = {}
    for serialized in examples:
        try:
            features = tf.train.Example.FromString(serialized).features.feature
        except Exception:  # the graph says what is wrong with it
            continue
        for name in features.keys() & _MODALITIES.keys():
            values = features[name].bytes_list.value
            if _MODALITIES[name].repeated:
                _check_frames(name, len(values), limits)
            media.setdefault(name, []).extend(values)
    return sum(_check_media(name, contents, limits, deadline) for name, contents in media.items())


def _check_frames(feature: str, frames: int, limits: Limits):
    limit = limits.of_media(_MODALITIES[feature].name).frames
    if frames > limit:
        raise exceeded('Frames of a clip', frames, 'max_frames', limit, 'Send a shorter clip, or fewer frames of it.')


def _check_media(feature: str, contents: list, limits: Limits, deadline: float) -> int:
    """Checks encoded media of one modality by their headers. Returns the bytes that decoding them takes at once."""
    modality = _MODALITIES[feature]
    limit = limits.of_media(modality.name)
    sizes = []
    for number, content in enumerate(contents, start=1):
        if time.monotonic() > deadline:
            raise ServingError('DEADLINE_EXCEEDED', 'The deadline passed while the headers of the media were read')
        if not isinstance(content, bytes) or not content:
            continue
        try:
            sizes.append(modality.decoded_bytes(content, limit))
        except Rejection as rejection:
            if rejection.reason != 'too_large':  # the graph says what is wrong, and T_safe answers the others
                continue
            of = f' of {len(contents):,}' if len(contents) > 1 else ''
            raise _refusal(rejection, f'Input {number:,}{of}') from None
    if sum(sizes) > limits.max_total_decoded_bytes:
        raise exceeded('Bytes of all media of the request once they are decoded', sum(sizes),
                       'max_total_decoded_bytes', limits.max_total_decoded_bytes, 'Send fewer, or make them smaller.')
    at_once = _PARALLEL ** 2 if modality.repeated else _PARALLEL
    needed = sum(sorted(sizes)[-at_once:])
    if needed > limits.max_decoded_bytes:
        raise exceeded('Bytes of memory to decode the media of the request', needed, 'max_decoded_bytes',
                       limits.max_decoded_bytes, 'Send fewer at once, or make them smaller.')
    return needed


def _refusal(rejection: Rejection, which: str) -> ServingError:
    bound = 'max_seconds' if 'seconds' in rejection.detail else 'max_pixels'
    metrics.refused(bound)
    return invalid(f'{which} is too large to decode. {rejection.detail.rstrip(".")} ({flag(bound)}). Make it smaller.')
