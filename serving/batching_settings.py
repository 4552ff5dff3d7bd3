"""How requests share runs of a graph: the settings of TensorFlow Serving's batching file, which is read as it is."""

import dataclasses
import os
import typing

from model_code.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Settings:
    """How requests share runs. Raises ConfigError for values that make no sense."""
    max_batch_size: int = 32
    """Examples in a run. A request of more is cut."""
    batch_timeout_s: float = 0.002
    """The longest that a request waits for others, while a run of the same signature is under way."""
    max_enqueued_batches: int = 1024
    """Batches of max_batch_size that may wait in one queue."""
    num_batch_threads: int = 0
    """Runs at the same time. 0: Limits.workers."""
    allowed_batch_sizes: tuple[int, ...] = ()
    """Sizes to which batches are filled up. Empty: any."""
    pad_variable_length_inputs: bool = False
    """Whether requests whose inputs have other lengths are padded, to share a run: with zeros or empty strings."""

    def __post_init__(self):
        for field in ('max_batch_size', 'max_enqueued_batches'):
            if getattr(self, field) < 1:
                raise ConfigError(f'Batching: {field} is {getattr(self, field)}; it must be at least 1.')
        for field in ('batch_timeout_s', 'num_batch_threads'):
            if getattr(self, field) < 0:
                raise ConfigError(f'Batching: {field} is {getattr(self, field):g}; it must not be negative.')
        sizes = self.allowed_batch_sizes
        if sizes and (sizes[0] < 1 or list(sizes) != sorted(set(sizes)) or sizes[-1] != self.max_batch_size):
            raise ConfigError(f'Batching: allowed_batch_sizes is {list(sizes)}; it must rise, and end with '
                              f'max_batch_size, {self.max_batch_size}.')

    def padded_size(self, size: int) -> int:
        """The allowed size that a batch of this size is filled up to."""
        return next((allowed for allowed in self.allowed_batch_sizes if allowed >= size), size)


def read_settings(path: str | os.PathLike) -> Settings:
    """The settings in a batching file of TensorFlow Serving: a BatchingParameters as text. Raises ConfigError."""
    from google.protobuf import text_format
    message: typing.Any = _parameters_class()()
    try:
        with open(path, encoding='utf-8') as file:
            text_format.Parse(file.read(), message)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f'The batching file {path} cannot be read: {error}. Give a text file with lines such as '
                          'max_batch_size { value: 32 }.') from None
    except text_format.ParseError as error:
        raise ConfigError(f'The batching file {path} is not a valid BatchingParameters: {error}. It has lines such as '
                          'max_batch_size { value: 32 }.') from None
    given: dict[str, typing.Any] = {field: getattr(message, field).value for field in (
        'max_batch_size', 'max_enqueued_batches', 'num_batch_threads') if message.HasField(field)}
    if message.HasField('batch_timeout_micros'):
        given['batch_timeout_s'] = message.batch_timeout_micros.value / 1e6
    return Settings(**given, allowed_batch_sizes=tuple(message.allowed_batch_sizes),
                    pad_variable_length_inputs=message.pad_variable_length_inputs)


def _parameters_class():
    """The class of tensorflow.serving.BatchingParameters, which the package of TensorFlow Serving's API leaves out.

    The numbers of the fields do not matter to text.
    """
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, wrappers_pb2
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(wrappers_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(name='batching_parameters.proto', package='polyvit', syntax='proto3',
                                              dependency=[wrappers_pb2.DESCRIPTOR.name])
    message = file.message_type.add(name='BatchingParameters')

    def add(name: str, **kind):
        message.field.add(name=name, number=len(message.field) + 1, **{'label': 1, **kind})
    for name in ('max_batch_size', 'batch_timeout_micros', 'max_enqueued_batches', 'num_batch_threads',
                 'max_execution_batch_size'):
        add(name, type=11, type_name='.google.protobuf.Int64Value')
    add('thread_pool_name', type=11, type_name='.google.protobuf.StringValue')
    add('enable_large_batch_splitting', type=11, type_name='.google.protobuf.BoolValue')
    add('allowed_batch_sizes', type=3, label=3)
    add('pad_variable_length_inputs', type=8)
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName('polyvit.BatchingParameters')
    if hasattr(message_factory, 'GetMessageClass'):
        return message_factory.GetMessageClass(descriptor)
    factory: typing.Any = message_factory.MessageFactory(pool)
    return factory.GetPrototype(descriptor)  # in protobuf 3
