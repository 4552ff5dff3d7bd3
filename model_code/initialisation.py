"""Starting weights, from a public ViT (vit_files) or from a model of this project.

A ViT gives everything but the heads (docs/model.md, "Starting from a ViT"). A model of this project gives all that the
two models have in common, so that a trained model can learn new tasks. Nothing is unpickled, and no array is read
before its shape has been checked.
"""

import os

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2

from model_code import file_io, modalities, model_directory, vit_files
from model_code.errors import PipelineStop
from model_code.logger import logger
from model_code.polyvit import PolyViT
from model_code.serialization import from_dict


def initialise(model: PolyViT, path: str, inflation: str = 'central_frame',
               vocabularies: dict[str, list[str]] | None = None) -> dict[str, list[str]]:
    """Sets the model's variables in place. Returns and logs their names under 'taken', 'resized' and 'fresh'.

    path: a ViT (an .npz or .safetensors file, or a folder with model.safetensors), or a model of this project: a
      checkpoint directory (a model_run artifact or its `checkpoints`) or a SavedModel (a pushed version). What is
      behind a URL is copied to this machine meanwhile.
    inflation: how a ViT's kernel becomes one for video; a value of TrainingConfig.inflation.
    vocabularies: task -> labels in id order. With it, the classes of a head are matched by their labels.

    Raises PipelineStop, which names every array that is missing or has the wrong shape.
    """
    if vit_files.other_format(path):
        raise PipelineStop(vit_files.other_format(path))
    with file_io.local_copy(path) as local:
        if not os.path.exists(local):
            raise PipelineStop(f'initial_checkpoint is {path}, which does not exist. Give an .npz or .safetensors '
                               'file, a SavedModel or a checkpoint directory.')
        try:
            names = (_from_vit(model, local, inflation) if vit_files.is_vit(local) else
                     _from_own_model(model, local, vocabularies or {}))
        except PipelineStop as error:
            raise PipelineStop(str(error).replace(local, path)) from error
    logger.info('initialisation from %s: %d arrays taken; resized: %s; fresh: %s', path, len(names['taken']),
                ', '.join(names['resized']) or 'none', ', '.join(names['fresh']) or 'none')
    return names


# Position embeddings for other sizes.

def resize_grid(grid: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """[rows, columns, width] -> [*size, width], bilinear, corner on corner like scipy.ndimage.zoom in the paper's code.

    A grid with one axis, [places, width], is resized along it.
    """
    for axis, new in enumerate(size):
        old = grid.shape[axis]
        places = np.linspace(0, old - 1, new) if new > 1 else np.array([(old - 1) / 2])
        low = np.minimum(places.astype(int), max(0, old - 2))
        high = np.minimum(low + 1, old - 1)
        share = (places - low).reshape([-1 if a == axis else 1 for a in range(grid.ndim)])
        grid = np.take(grid, low, axis) * (1 - share) + np.take(grid, high, axis) * share
    return grid


def resize_positions(embedding: np.ndarray, old: tuple[int, ...], new: tuple[int, ...]) -> np.ndarray:
    """A position embedding [1, 1 + positions, width], class token first, from the grid `old` to the grid `new`.

    Grids are (rows, columns) or (times, rows, columns). If only `new` has times, the resized grid is repeated for each.
    If the numbers of times differ, times are interpolated too. Both grids may also have one axis, (places,).
    """
    class_token, rest = embedding[:, :1], embedding[0, 1:]
    width = rest.shape[-1]
    times = old[0] if len(old) == 3 else 1
    space = np.stack([resize_grid(g, new[-2:]) for g in rest.reshape(times, *old[-2:], width)])
    if len(new) == 3:
        flat = space.reshape(times, -1, width)
        space = np.repeat(flat, new[0], axis=0) if times == 1 else resize_grid(flat, (new[0], flat.shape[1]))
    return np.concatenate([class_token, space.reshape(1, -1, width)], axis=1).astype(np.float32)


# A ViT.

def _from_vit(model: PolyViT, path: str, inflation: str) -> dict[str, list[str]]:
    with vit_files.opened(path) as file:
        values, resized = _tokenizer_values(model, file, inflation)
        values |= _encoder_values(model, file)
        file.check(path, model.config.layers)
    unused = sorted(file.names - file.used)
    if unused:
        more = f' and {len(unused) - 20} more' if len(unused) > 20 else ''
        logger.info('initialisation: not used from %s: %s%s', path, ', '.join(unused[:20]), more)
    variables = named_variables(model)
    for key, value in values.items():
        assert value is not None  # a missing array is among the problems
        variables[key].assign(value.reshape(variables[key].shape))
    return _summary(variables, values, resized)


def _tokenizer_values(model: PolyViT, file: vit_files.VitFile,
                      inflation: str) -> tuple[dict[str, np.ndarray | None], list[str]]:
    """({variable: value}, the variables that were resized) of all tokenizers that can start from a ViT.

    Values are None where the file has a problem.
    """
    config, values, resized = model.config, {}, []
    class_token = file.read(('cls',), (1, 1, config.width))
    positions = file.read(vit_files.POSITIONS, (1, None, config.width))
    side = 0 if positions is None else file.side()
    bias = file.read(('embedding/bias',), (config.width,))
    for name, tokenizer in model.tokenizers.items():
        if not modalities.get_modality(name).starts_from_vit:
            continue
        spec = config.input(name)
        kernel = file.read(vit_files.KERNEL, file.kernel_shape(spec, config.width), name)
        values[f'tokenizers/{name}/class_token'] = class_token
        values[f'tokenizers/{name}/embedding/bias'] = bias
        if kernel is not None:
            values[f'tokenizers/{name}/embedding/kernel'] = tokenizer.kernel_from_vit(kernel, inflation)
        if positions is not None and side:
            key = f'tokenizers/{name}/position_embedding'
            values[key] = resize_positions(positions, (side, side), spec.grid)
            if (side, side) != spec.grid:
                resized.append(key)
    return values, resized


def _encoder_values(model: PolyViT, file: vit_files.VitFile) -> dict[str, np.ndarray | None]:
    """{variable: value} of the encoder. Values are None where the file has a problem."""
    values = {}
    for number, variable, names, shape in vit_files.encoder_arrays(model.config):
        value = file.read(names, shape)
        for key in ['encoder'] if number is None else _block_keys(model, number):
            values[f'{key}/{variable}'] = value
    return values


def _block_keys(model: PolyViT, number: int) -> list[str]:
    """The paths of block `number` of all layers in the model: one, or one per modality."""
    if number < model.config.modality_layers:
        return [f'encoder/modality_blocks/{name}/{number}' for name in model.tokenizers]
    return [f'encoder/blocks/{number}']


def named_variables(model: PolyViT) -> dict[str, tf.Variable]:
    """Every variable by its path in the model.

    Paths are those in checkpoints, except that shared blocks are numbered from 0 over all layers.
    """
    view, variables, seen, waiting = tf.train.TrackableView(model), {}, set(), [('', model)]
    while waiting:
        path, node = waiting.pop(0)
        if hasattr(node, 'assign'):  # a tf.Variable, or one with a copy per replica
            names = path[1:].split('/')
            if names[:2] == ['encoder', 'blocks']:
                names[2] = str(int(names[2]) + model.config.modality_layers)
            variables['/'.join(names)] = node
            continue
        for name, child in view.children(node).items():
            if id(child) not in seen:
                seen.add(id(child))
                waiting.append((f'{path}/{name}', child))
    return variables


def _summary(variables, values, resized) -> dict[str, list[str]]:
    return {'taken': sorted(k for k in values if k not in resized), 'resized': sorted(resized),
            'fresh': sorted(k for k in variables if k not in values)}


# A model of this project.

class _OwnModel:
    """The arrays of a checkpoint or SavedModel, by their path in the model, and what its card says, if it has one."""

    def __init__(self, path: str):
        self.path = path
        prefix = self._prefix()
        try:
            self._reader = tf.train.load_checkpoint(prefix)
            graph = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
                self._reader.get_tensor('_CHECKPOINTABLE_OBJECT_GRAPH'))
        except (tf.errors.OpError, ValueError, KeyError) as error:
            raise PipelineStop(f'{path} cannot be read as a checkpoint: {error}.') from error
        self._shapes, self._nodes = self._reader.get_variable_to_shape_map(), graph.nodes
        if self._node(['encoder', 'norm']) is None:
            raise PipelineStop(f'{path} is not a checkpoint of a PolyViT: it has no encoder.')
        modality_blocks = self._node(['encoder', 'modality_blocks'])
        lists = graph.nodes[modality_blocks].children if modality_blocks is not None else ()
        self._modality_layers = max(
            (sum(c.local_name.isdigit() for c in graph.nodes[blocks.node_id].children) for blocks in lists), default=0)
        card = self._card()
        self.classes = {t['name']: t['classes'] for t in card.get('tasks', ())}
        self.grids = {name: from_dict(modalities.get_modality(name).input_class, fields).grid
                      for name, fields in card.get('inputs', {}).items()}

    def _prefix(self) -> str:
        if tf.io.gfile.exists(os.path.join(self.path, 'variables', 'variables.index')):
            return os.path.join(self.path, 'variables', 'variables')
        for directory in (self.path, os.path.join(self.path, 'checkpoints')):
            latest = tf.train.latest_checkpoint(directory)
            if latest:
                return latest
        raise PipelineStop(f'{self.path} holds neither a SavedModel nor a checkpoint. Give a pushed version, a '
                           'model_run, or an .npz or .safetensors file.')

    def _node(self, names: list[str]) -> int | None:
        """The number of the object that these attribute names and list places lead to; None if there is none."""
        node = 0
        for name in ['model', *names]:
            node = next((c.node_id for c in self._nodes[node].children if c.local_name == name), None)
            if node is None:
                return None
        return node

    def _key(self, name: str) -> str | None:
        """The key of a variable in the checkpoint: one of the paths to it, but not always this one."""
        names = name.split('/')
        if names[:2] == ['encoder', 'blocks']:
            names[2] = str(int(names[2]) - self._modality_layers)
        node = self._node(names)
        attributes = self._nodes[node].attributes if node is not None else ()
        return next((a.checkpoint_key for a in attributes if a.name == 'VARIABLE_VALUE'), None)

    def _card(self) -> dict:
        # The path may be a SavedModel, a model_run, or the folder of checkpoints in a model_run.
        folders = self.path, os.path.dirname(self.path.rstrip('/'))
        cards = (model_directory.card_path(self.path), *(os.path.join(f, model_directory.CARD_FILE) for f in folders))
        return next((card for card in map(file_io.read_json, cards) if card), {})

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The shape of a variable; None if there is no such variable."""
        key = self._key(name)
        return tuple(self._shapes[key]) if key else None

    def value(self, name: str) -> np.ndarray:
        return self._reader.get_tensor(self._key(name))


def _from_own_model(model: PolyViT, path: str, vocabularies: dict[str, list[str]]) -> dict[str, list[str]]:
    stored, variables, values, resized, problems = _OwnModel(path), named_variables(model), {}, [], []
    for name, variable in variables.items():
        stored_name = name
        if stored.shape(name) is None and name.startswith('encoder/modality_blocks/'):
            stored_name = 'encoder/blocks/' + name.split('/', 3)[3]  # a modality's block starts from the shared one
        shape, expected = stored.shape(stored_name), tuple(variable.shape)
        if name.endswith('/position_embedding') and shape is not None and shape[-1] == expected[-1]:
            value = _stored_positions(model, stored, name, shape, expected)
        elif name.startswith('heads/') and shape is not None and '/output_layer/' in name:
            value = _stored_output(stored, name, shape, variable, vocabularies)
        else:
            value = stored.value(stored_name) if shape == expected else None
        if value is not None:
            values[name] = value
            if shape != expected:
                resized.append(name)
        elif name.startswith('encoder/') and not (shape is None and '/modality_blocks/' in name):
            problems.append(f'{name} ' + ('is missing' if shape is None else f'has shape {list(shape)}')
                            + f' (expected {list(expected)})')
    if problems:
        raise PipelineStop(f'{path} does not fit the model: ' + '; '.join(problems) + '.')
    for name, value in values.items():
        variables[name].assign(value)
    return _summary(variables, values, resized)


def _stored_positions(model: PolyViT, stored: _OwnModel, name: str, shape, expected) -> np.ndarray | None:
    """The position embedding of a tokenizer, resized if the grid of its input has changed."""
    modality = name.split('/')[1]
    new = model.config.input(modality).grid
    old = stored.grids.get(modality, new if shape == expected else None)
    if old is None:
        raise PipelineStop(f'{stored.path}: {name} has {shape[1]} positions, the model {expected[1]}, and there is no '
                           f'{model_directory.CARD_FILE} that gives the size of its grid. Start from the pushed '
                           'version instead.')
    value = stored.value(name)
    return value if old == new else resize_positions(value, old, new)


def _stored_output(stored: _OwnModel, name: str, shape, variable, vocabularies) -> np.ndarray | None:
    """The output kernel or bias of a head. Classes are matched by label if both vocabularies are known.

    None if it does not fit.
    """
    task = name.split('/')[1]
    old, new = stored.classes.get(task), vocabularies.get(task)
    if old is None or new is None or old == list(new):
        return stored.value(name) if shape == tuple(variable.shape) else None
    if shape[:-1] != tuple(variable.shape)[:-1] or not set(old) & set(new):
        return None
    value, places = variable.numpy(), {label: i for i, label in enumerate(old)}
    for i, label in enumerate(new):
        if label in places:
            value[..., i] = stored.value(name)[..., places[label]]
    return value
