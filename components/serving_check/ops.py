"""The ops of a SavedModel, and those that a stock TensorFlow Serving cannot run."""

import typing

from model_code import file_io, model_directory

# In tf.raw_ops, but they call back into the Python that made them, which a server does not have.
_NEED_PYTHON = {'PyFunc', 'PyFuncStateless', 'EagerPyFunc'}

# A function's border, which graphs that grappler wrote out may hold; no op that anybody calls, so not in tf.raw_ops.
_GRAPH_INTERNAL = {'_Arg', '_Retval', '_If', '_While', '_Recv', '_Send', '_HostRecv', '_HostSend', '_FusedConv2D',
                   '_FusedMatMul', '_FusedBatchNormEx'}


class UnreadableModel(Exception):
    """There is no saved_model.pb, or it is damaged; the message says so."""


def foreign_ops(model_dir: str) -> dict[str, str]:
    """Op name -> where it was first seen, of the ops in saved_model.pb that are not core TensorFlow.

    Walks every graph and every function of its library, called or not: a server registers them all when it loads. What
    is core is read from tf.raw_ops, a list generated when TensorFlow was built. The op registry of this process would
    not do: whatever library was imported here (tensorflow_io, tfx_bsl) has added its custom ops to it.

    Raises UnreadableModel.
    """
    import tensorflow as tf
    core = {name for name in dir(tf.raw_ops) if not name.startswith('_')} - _NEED_PYTHON | _GRAPH_INTERNAL
    found: dict[str, str] = {}
    for op, where, functions in _nodes(model_dir):
        # A node may also name a function of its graph's library, which is the call of it.
        if op not in core and op not in functions:
            found.setdefault(op, where)
    return found


def _nodes(model_dir: str) -> typing.Iterator[tuple[str, str, set[str]]]:
    """(op, where it is, names of the graph's functions) of every node."""
    import tensorflow as tf
    from google.protobuf import message
    from tensorflow.core.protobuf import saved_model_pb2
    path = model_directory.graph_path(model_dir)
    try:
        saved_model = saved_model_pb2.SavedModel.FromString(file_io.read_bytes(path))
    except (OSError, tf.errors.OpError, message.DecodeError) as error:
        raise UnreadableModel(f'The model file {path} cannot be read: {error}') from None
    for meta_graph in saved_model.meta_graphs:
        graph = meta_graph.graph_def
        functions = {function.signature.name for function in graph.library.function}
        for node in graph.node:
            yield node.op, f'node {node.name}', functions
        for function in graph.library.function:
            for node in function.node_def:
                yield node.op, f'node {node.name} of function {function.signature.name}', functions
