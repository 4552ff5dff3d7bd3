"""Arrays of a public ViT, from the .npz file of google-research/vision_transformer or from safetensors in the naming of
Hugging Face's ViT. No TensorFlow here.

Arrays have the names and the layouts of vision_transformer, whatever the file. Nothing is unpickled, and no array is
read before its type and shape have been checked.
"""

import contextlib
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from model_code import file_io, modalities, words
from model_code.errors import PipelineStop
from model_code.settings import ModelConfig

MAX_POSITIONS = 16_384  # in a ViT's position embedding, the only array whose size does not follow from the model
SAFETENSORS = '.safetensors'
INDEX = f'model{SAFETENSORS}.index.json'  # of a model in several files: {'weight_map': {tensor: file}}
_INDEX_BYTES = 16 << 20
# What torch, Keras and TensorFlow 1 write. The first five may run code when they are read.
_OTHER_FORMATS = ('.bin', '.pt', '.pth', '.pkl', '.ckpt', '.h5', '.msgpack')
_OWN = ('variables', 'checkpoint', 'checkpoints')  # of which a SavedModel, a checkpoint directory, a model_run has one

# A ViT, by the names of arrays in vision_transformer, and in big_vision where those differ.
KERNEL = ('embedding/kernel',)
POSITIONS = ('Transformer/posembed_input/pos_embedding',)
_ATTENTION = ('MultiHeadDotProductAttention_1', 'MultiHeadDotProductAttention_0', 'MultiHeadDotProductAttention')
_MLP = ('MlpBlock_3', 'MlpBlock_0', 'MlpBlock')
_SECOND_NORM = ('LayerNorm_2', 'LayerNorm_1')


def is_vit(path: str) -> bool:
    """Whether a file or folder on this machine is, by its name or its content, one that `opened` reads."""
    return path.endswith(('.npz', SAFETENSORS, f'{SAFETENSORS}.index.json')) or os.path.isdir(path) and any(
        os.path.exists(os.path.join(path, name)) for name in (f'model{SAFETENSORS}', INDEX))


def other_format(path: str) -> str:
    """Why a file of weights, or a folder with such a file and none that is read, cannot be read, by its ending, as a
    sentence; '' if nothing is known against it."""
    names = file_io.list_folder(path)
    others = [name for name in names if name.lower().endswith(_OTHER_FORMATS)]
    if path.lower().endswith(_OTHER_FORMATS):
        what = path
    elif others and not {f'model{SAFETENSORS}', INDEX, *_OWN} & set(names):
        what = f'{path}, a folder with {others[0]}'
    else:
        return ''
    return (f'initial_checkpoint is {what}. Weights of torch, Keras or Flax are not read, because such a file may run '
            'code, or needs their libraries. Give the model.safetensors of the same model, which Hugging Face has '
            'beside it (or write it with safetensors.torch.save_file), or the .npz file of a ViT.')


def encoder_arrays(config: ModelConfig) -> Iterator[tuple[int | None, str, tuple[str, ...], tuple[int, ...]]]:
    """Yields (block, variable, its possible names in a ViT, its shape there) of all variables of the encoder.

    The variable is that of a Block, or without a block, with None, that of the encoder.
    """
    for number in range(config.layers):
        for variable, names, shape in _block_arrays(config):
            yield number, variable, tuple(f'Transformer/encoderblock_{number}/{name}' for name in names), shape
    for variable, array in (('gamma', 'scale'), ('beta', 'bias')):
        yield None, f'norm/{variable}', (f'Transformer/encoder_norm/{array}',), (config.width,)


def _block_arrays(config: ModelConfig) -> list[tuple[str, tuple[str, ...], tuple[int, ...]]]:
    """(variable, its possible names in a ViT's block, its shape there), for all variables of a Block."""
    width, hidden, heads = config.width, config.mlp_width, config.heads
    result = []
    for ours, theirs in (('norm_attention', ('LayerNorm_0',)), ('norm_mlp', _SECOND_NORM)):
        for variable, array in (('gamma', 'scale'), ('beta', 'bias')):
            result.append((f'{ours}/{variable}', tuple(f'{t}/{array}' for t in theirs), (width,)))
    split = (heads, width // heads)
    for name in ('query', 'key', 'value', 'out'):
        kernel, bias = ((*split, width), (width,)) if name == 'out' else ((width, *split), split)
        for part, shape in (('kernel', kernel), ('bias', bias)):
            result.append((f'attention/{name}/{part}', tuple(f'{t}/{name}/{part}' for t in _ATTENTION), shape))
    for ours, theirs, shape in (('mlp_in', 'Dense_0', (width, hidden)), ('mlp_out', 'Dense_1', (hidden, width))):
        result.append((f'{ours}/kernel', tuple(f'{t}/{theirs}/kernel' for t in _MLP), shape))
        result.append((f'{ours}/bias', tuple(f'{t}/{theirs}/bias' for t in _MLP), shape[1:]))
    return result


def check(path: str, config: ModelConfig, mixture_modalities: Iterable[str]):
    """Raises PipelineStop if a ViT on this machine cannot be read or does not fit the model, by its headers.

    No array is read. So only initialisation finds numbers that are not finite.
    """
    width = config.width
    with opened(path) as file:
        for names, shape in ((('cls',), (1, 1, width)), (('embedding/bias',), (width,))):
            file.fits(names, shape)
        if file.fits(POSITIONS, (1, None, width)):
            file.side()
        for name in mixture_modalities:
            if modalities.get_modality(name).starts_from_vit:
                file.fits(KERNEL, file.kernel_shape(config.input(name), width), name)
        for _, _, names, shape in encoder_arrays(config):
            file.fits(names, shape)
        file.check(path, config.layers)


@contextlib.contextmanager
def opened(path: str) -> Iterator['VitFile']:
    """A context that gives the ViT in a file or folder on this machine. Raises PipelineStop if it cannot be read."""
    with contextlib.ExitStack() as stack:
        yield NpzVit(path, stack) if path.endswith('.npz') else SafetensorsVit(path, stack)


class VitFile:
    """Reads arrays by their names in vision_transformer. Collects problems instead of raising.

    names: of all arrays in the file. used: those that were read or checked. problems: what does not fit, one line each.
    """

    def __init__(self, names):
        self.names, self.used, self.problems = set(names), set(), []

    def read(self, names: tuple[str, ...], shape: tuple[int | None, ...], modality: str = '') -> np.ndarray | None:
        """The array under the first of `names` that exists, float32; None, and a line in `problems`, if there is none
        that `fits` or it cannot be read."""
        if not self.fits(names, shape, modality):
            return None
        full, _, convert = self._find(names, shape)
        try:
            array = convert(self._array(full).astype(np.float32))
            if np.isfinite(array).all():
                return array
            self.problems.append(f'{full} has numbers that are not finite')
        except Exception as error:  # a damaged array may raise anything
            self.problems.append(f'{full} cannot be read ({error})')
        return None

    def fits(self, names: tuple[str, ...], shape: tuple[int | None, ...], modality: str = '') -> bool:
        """Whether the first of `names` that exists has floating-point numbers of this shape, by its header. If not, a
        line is added to `problems`. None in `shape` stands for any size up to MAX_POSITIONS. modality: whose input the
        shape is of, if it is of one."""
        full, stored, _ = self._find(names, shape)
        expected = '[' + ', '.join('any' if s is None else str(s) for s in stored) + ']'
        expected += f' for {modality}' if modality else ''
        if full not in self.names:
            self.problems.append(f'{full} is missing (expected {expected})')
            return False
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
                return True
        except Exception as error:  # a damaged header may raise anything
            self.problems.append(f'{full} cannot be read ({error})')
        return False

    def kernel_shape(self, spec: modalities.Input, width: int) -> tuple[int, ...]:
        """The shape of the kernel from which the tokenizer of this input can start. Three channels are summed for one;
        a line is added to `problems` if it has another number of them."""
        if spec.shape[-1] not in (1, 3):
            self.problems.append(f'{spec.modality} has {spec.shape[-1]} channels, but a ViT takes 3: give it 3, or 1')
        return *spec.patch[-2:], 3, width

    def side(self) -> int:
        """The rows, and columns, of the positions, which fit. If they are no square, a line is added to `problems`,
        and it is 0."""
        full, *_ = self._find(POSITIONS, (1, None, None))
        shape, *_ = self._header(full)
        side = math.isqrt(shape[1] - 1)
        if side and side * side == shape[1] - 1:
            return side
        self.problems.append(f'{full} has shape {list(shape)}, which is not a class token and a square grid')
        return 0

    def check(self, path: str, layers: int):
        """Raises PipelineStop with all problems, once all arrays of a model of so many layers were read or checked."""
        next_block = self.name(f'Transformer/encoderblock_{layers}/')
        if any(name.startswith(next_block) for name in self.names):
            self.problems.append(f'{next_block[:-1]} is there, but the model has {layers} layers')
        if self.problems:
            raise PipelineStop(f'{path} does not fit the model: ' + '; '.join(dict.fromkeys(self.problems)) + '.')
        if self.strange:
            raise PipelineStop(f'{path} is no plain ViT: its embeddings or encoder have '
                               f'{words.count(len(self.strange), "array")} that a ViT does not have, such as '
                               f'{self.strange[0]!r}. Without them it would compute something else.')

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
        if names == KERNEL:
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
        if not os.path.exists(os.path.join(os.path.dirname(path), name)):
            raise PipelineStop(f'{path} names {name}, which is missing beside it. All files of the model belong into '
                               'one folder.')
    return [os.path.join(os.path.dirname(path), name) for name in sorted(names)]
