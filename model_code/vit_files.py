"""Arrays of a public ViT, from the .npz file of google-research/vision_transformer or from safetensors in the naming of
Hugging Face's ViT. No TensorFlow here.

Arrays have the names and the layouts of vision_transformer, whatever the file. Nothing is unpickled, and no array is
read before its type and shape have been checked.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from model_code import file_io
from model_code.errors import PipelineStop

MAX_POSITIONS = 16_384  # in a ViT's position embedding, the only array whose size does not follow from the model
SAFETENSORS = '.safetensors'
INDEX = f'model{SAFETENSORS}.index.json'  # of a model in several files: {'weight_map': {tensor: file}}
_INDEX_BYTES = 16 << 20
# What torch, Keras and TensorFlow 1 write. The first five may run code when they are read.
_OTHER_FORMATS = ('.bin', '.pt', '.pth', '.pkl', '.ckpt', '.h5', '.msgpack')


def is_vit(path: str) -> bool:
    """Whether a file or folder on this machine is, by its name or its content, one that `opened` reads."""
    return path.endswith(('.npz', SAFETENSORS, f'{SAFETENSORS}.index.json')) or os.path.isdir(path) and any(
        os.path.exists(os.path.join(path, name)) for name in (f'model{SAFETENSORS}', INDEX))


def other_format(path: str) -> str:
    """Why a file of weights cannot be read, by its ending, as a sentence; '' if nothing is known against it."""
    if not path.lower().endswith(_OTHER_FORMATS):
        return ''
    return (f'initial_checkpoint is {path}. Weights of torch, Keras or Flax are not read, because such a file may run '
            'code, or needs their libraries. Give the model.safetensors of the same model, which Hugging Face has '
            'beside it (or write it with safetensors.torch.save_file), or the .npz file of a ViT.')


@contextlib.contextmanager
def opened(path: str) -> Iterator['VitFile']:
    """A context that gives the ViT in a file or folder on this machine. Raises PipelineStop if it cannot be read."""
    with contextlib.ExitStack() as stack:
        yield NpzVit(path, stack) if path.endswith('.npz') else SafetensorsVit(path, stack)


class VitFile:
    """Reads arrays by their names in vision_transformer. Collects problems instead of raising.

    names: of all arrays in the file. used: those that were read. problems: what does not fit, one line each.
    """

    def __init__(self, names):
        self.names, self.used, self.problems = set(names), set(), []

    def read(self, names: tuple[str, ...], shape: tuple[int | None, ...]) -> np.ndarray | None:
        """The array under the first of `names` that exists, float32. If it does not have this shape: None, and a line
        in `problems`. None in `shape` stands for any size up to MAX_POSITIONS."""
        full, stored, convert = self._find(names, shape)
        expected = '[' + ', '.join('any' if s is None else str(s) for s in stored) + ']'
        if full not in self.names:
            self.problems.append(f'{full} is missing (expected {expected})')
            return None
        self.used.add(full)
        try:
            actual, floating, dtype = self._header(full)
            if not floating:
                self.problems.append(f'{full} has the type {dtype}, not floating-point numbers')
            elif len(actual) != len(stored) or any(
                    not (a == s if s is not None else 0 < a <= MAX_POSITIONS)
                    for a, s in zip(actual, stored, strict=True)):
                self.problems.append(f'{full} has shape {list(actual)} (expected {expected})')
            else:
                array = convert(self._array(full).astype(np.float32))
                if np.isfinite(array).all():
                    return array
                self.problems.append(f'{full} has numbers that are not finite')
        except Exception as error:  # a damaged array may raise anything
            self.problems.append(f'{full} cannot be read ({error})')
        return None

    strange: Sequence[str] = ()
    """Arrays that a plain ViT does not have, in places where another architecture would use them."""

    def name(self, name: str) -> str:
        """What the array, or the block, of this name in vision_transformer is called in the file."""
        raise NotImplementedError

    def _find(self, names, shape) -> tuple[str, tuple[int | None, ...], Callable[[np.ndarray], np.ndarray]]:
        """(its name in the file, its shape there, what brings it to `shape`)."""
        raise NotImplementedError

    def _header(self, full: str) -> tuple[tuple[int, ...], bool, str]:
        """(shape, whether it has floating-point numbers, type)."""
        raise NotImplementedError

    def _array(self, full: str) -> np.ndarray:
        raise NotImplementedError


class NpzVit(VitFile):
    """An .npz file with the names of vision_transformer, or of big_vision where those differ."""

    PREFIXES = ('', 'params/', 'opt/target/')

    def __init__(self, path: str, stack: contextlib.ExitStack):
        try:
            self._arrays = np.load(stack.enter_context(open(path, 'rb')), allow_pickle=False)
        except Exception as error:  # a damaged archive may raise anything
            raise PipelineStop(f'{path} is not a NumPy .npz file ({error}).') from error
        if not hasattr(self._arrays, 'files'):
            raise PipelineStop(f'{path} is a single NumPy array; a ViT is an .npz file with many.')
        super().__init__(self._arrays.files)
        self._prefix = next((p for p in self.PREFIXES if {f'{p}cls', f'{p}embedding/kernel'} & self.names), '')

    def name(self, name):
        return self._prefix + name

    def _find(self, names, shape):
        full = next((self.name(n) for n in names if self.name(n) in self.names), self.name(names[0]))
        return full, shape, lambda array: array

    def _header(self, full):
        with self._arrays.zip.open(f'{full}.npy') as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        return shape, dtype.kind == 'f' and not dtype.hasobject, str(dtype)

    def _array(self, full):
        return self._arrays[full]


# A name in vision_transformer -> one in Hugging Face's ViT.
_HUGGING_FACE = [(re.compile(pattern), name) for pattern, name in (
    (r'cls', 'embeddings.cls_token'),
    (r'Transformer/posembed_input/pos_embedding', 'embeddings.position_embeddings'),
    (r'embedding/', 'embeddings.patch_embeddings.projection.'),
    (r'Transformer/encoder_norm/', 'layernorm.'),
    (r'Transformer/encoderblock_(\d+)/', r'encoder.layer.\1.'),
    (r'LayerNorm_0/', 'layernorm_before.'), (r'LayerNorm_2/', 'layernorm_after.'),
    (r'MultiHeadDotProductAttention_1/out/', 'attention.output.dense.'),
    (r'MultiHeadDotProductAttention_1/', 'attention.attention.'),
    (r'MlpBlock_3/Dense_0/', 'intermediate.dense.'), (r'MlpBlock_3/Dense_1/', 'output.dense.'),
    (r'(query|key|value)/', r'\1.'), (r'\b(kernel|scale)$', 'weight'))]
_FLOATING = ('F16', 'BF16', 'F32', 'F64')


class SafetensorsVit(VitFile):
    """A .safetensors file, the index of several, or a folder with either, with the names of Hugging Face's ViT.

    Its layouts are those of torch: a matrix is [out, in], the kernel of a convolution [out, in, height, width].
    """

    PREFIXES = ('', 'vit.')

    def __init__(self, path: str, stack: contextlib.ExitStack):
        import safetensors  # here: every command imports this module
        self._file_of = {}
        for file in _files(path):
            try:  # the library checks the header: its length, and that types, shapes and offsets fit the file
                opened = stack.enter_context(safetensors.safe_open(file, framework='numpy'))
            except (safetensors.SafetensorError, OSError) as error:
                raise PipelineStop(f'{file} is not a whole safetensors file ({error}).') from error
            self._file_of |= dict.fromkeys(opened.keys(), opened)
        super().__init__(self._file_of)
        found = [p for p in self.PREFIXES if f'{p}embeddings.cls_token' in self.names]
        if not found:
            some = ', '.join(map(repr, sorted(self.names)[:3])) or 'nothing'
            raise PipelineStop(f'{path} is not a ViT in the naming of Hugging Face: it has no embeddings.cls_token, '
                               f'with vit. before it or without. It has, for example, {some}.')
        self._prefix = found[0]
        # Another architecture has more arrays in these places, without which it computes something else.
        self._architecture = tuple(f'{self._prefix}{part}' for part in ('embeddings.', 'encoder.'))

    def name(self, name):
        for pattern, theirs in _HUGGING_FACE:
            name = pattern.sub(theirs, name)
        return self._prefix + name

    @property
    def strange(self) -> list[str]:
        """Arrays of embeddings and encoder that were not read, though a plain ViT has no others."""
        return sorted(name for name in self.names - self.used
                      if name.startswith(self._architecture) and not name.endswith('embeddings.mask_token'))

    def _find(self, names, shape):
        full = self.name(names[0])
        if names[0] == 'embedding/kernel':
            height, width, channels, size = shape
            return full, (size, channels, height, width), lambda array: array.transpose(2, 3, 1, 0)
        if not names[0].startswith('Transformer/encoderblock_'):
            return full, shape, lambda array: array
        # Kernels have the heads in an axis of their own: [in, heads, size], or [heads, size, in] of the output.
        into = len(shape) - 1 if '/out/' in names[0] else 1
        if names[0].endswith('kernel'):
            stored = int(np.prod(shape[into:])), int(np.prod(shape[:into]))
            return full, stored, lambda array: array.T.reshape(shape)
        return full, (int(np.prod(shape)),), lambda array: array.reshape(shape)

    def _header(self, full):
        part = self._file_of[full].get_slice(full)
        return tuple(part.get_shape()), part.get_dtype() in _FLOATING, part.get_dtype()

    def _array(self, full):
        return self._file_of[full].get_tensor(full)


def _files(path: str) -> list[str]:
    """The .safetensors files of a model: the path itself, or those that it leads to."""
    if os.path.isdir(path):
        names = [name for name in (INDEX, f'model{SAFETENSORS}') if os.path.exists(os.path.join(path, name))]
        path = os.path.join(path, names[0])
    if path.endswith(SAFETENSORS):
        return [path]
    try:
        if file_io.size(path) > _INDEX_BYTES:
            raise ValueError(f'it has more than {_INDEX_BYTES:,} bytes')
        names = set(json.loads(file_io.read_text(path))['weight_map'].values())
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise PipelineStop(f'{path} is not an index of safetensors files, with a weight_map ({error}).') from error
    for name in names:
        if not isinstance(name, str) or not name.endswith(SAFETENSORS) or os.path.basename(name) != name:
            raise PipelineStop(f'{path} names {name!r}, which is no safetensors file beside it.')
    return [os.path.join(os.path.dirname(path), name) for name in sorted(names)]
