"""Finds the ops of a SavedModel that a stock TensorFlow Serving cannot run."""

import typing

from model_code import file_io, model_directory

# These are in tf.raw_ops, but they call the Python that made them, which a server does not have.
_NEED_PYTHON = {'PyFunc', 'PyFuncStateless', 'EagerPyFunc'}

# These are not in tf.raw_ops, because nobody calls them, but they may be in graphs that grappler wrote.
_GRAPH_INTERNAL = {'_Arg', '_Retval', '_If', '_While', '_Recv', '_Send', '_HostRecv', '_HostSend', '_FusedConv2D',
                   '_FusedMatMul', '_FusedBatchNormEx'}


class UnreadableModel(Exception):
    """saved_model.pb is missing or damaged; the message says which."""


def foreign_ops(model_dir: str) -> dict[str, str]:
    """The ops in saved_model.pb that are not core TensorFlow: name -> where it occurs first.

    Looks at every graph and every function of its library, also at functions that nothing calls, because a server
    registers all of them when it loads the model. The core ops are those of tf.raw_ops, a list that was generated when
    TensorFlow was built. The op registry of this process is no such list: imported libraries (tensorflow_io, tfx_bsl)
    have added their own ops to it.

    Raises UnreadableModel.
    """
    import tensorflow as tf
    core = {name for name in dir(tf.raw_ops) if not name.startswith('_')} - _NEED_PYTHON | _GRAPH_INTERNAL
    foreign: dict[str, str] = {}
    for op, where, functions in _nodes(model_dir):
        # The op of a node may also be a function of its graph's library, which the node calls.
        if op not in core and op not in functions:
            foreign.setdefault(op, where)
    return foreign


def _nodes(model_dir: str) -> typing.Iterator[tuple[str, str, set[str]]]:
    """(op, where it is, names of the functions in its graph's library) of every node."""
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
