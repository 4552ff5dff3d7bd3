"""PipelineConfig, and loading one by name or path. Imports nothing heavy."""

import dataclasses
import importlib.util
import inspect
import os
import pathlib
import pkgutil
import re
import traceback
from collections.abc import Callable

from model_code.data import Columns, Data
from model_code.errors import ConfigError, unknown
from model_code.fields import check_fields
from model_code.modalities import MODALITIES, Limits
from model_code.settings import ModelConfig, TrainingConfig, check_batches
from model_code.tasks import Checks, Gate, Mixture, Recipe, Task


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """An experiment: which tasks, which model, and how it is trained."""
    name: str
    """The experiment's name, from which come the pipeline's name and the folder under runs/."""
    mixture: Mixture
    """The tasks, and the schedule in which they are trained."""
    model: ModelConfig
    """The encoder's size and each modality's input."""
    training: TrainingConfig
    """How the mixture is trained."""
    root: str = ''
    """The folder for everything that a run writes: pipeline/ (TFX artifacts), metadata.db (ML Metadata), serving/ (the
    version directories that a server loads), logs/. '' means runs/<name>."""
    beam_args: tuple[str, ...] = ()
    """Options of the Beam runner, such as --runner=... and --direct_num_workers=...; () runs Beam in this process."""

    def __post_init__(self):
        check_fields(self, f'Config {self.name}: ')
        if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_-]*', self.name):
            raise ConfigError(f'Config name {self.name!r}: use letters, digits, underscores and hyphens, and start '
                              'with a letter or digit.')
        if self.training.strategy == 'mirrored' and self.training.replicas:
            check_batches(self.mixture.tasks, self.training.replicas)

    @property
    def run_root(self) -> pathlib.Path:
        return pathlib.Path(self.root or f'runs/{self.name}').absolute()

    @property
    def serving_dir(self) -> pathlib.Path:
        return self.run_root / 'serving' / 'polyvit'


def config_names() -> list[str]:
    """The configs that come with the package."""
    from pipeline import configs
    return sorted(m.name for m in pkgutil.iter_modules(configs.__path__))


def load_config(name_or_path: str | os.PathLike) -> PipelineConfig:
    """get_config() of pipeline/configs/NAME.py, or of a Python file given by its path.

    Raises ConfigError if there is none, if it is not valid, or if its code fails. The message names the file and line.
    """
    name = os.fspath(name_or_path)
    if name.endswith('.py'):
        path = pathlib.Path(name)
        if not path.is_file():
            raise ConfigError(f'There is no config file {path}. Give the path of a Python file with get_config(), or '
                              f'one of: {", ".join(config_names())}.')
        module_name = f'polyvit_config_{path.stem}'
    elif name in config_names():
        from pipeline import configs
        path = pathlib.Path(configs.__path__[0], f'{name}.py')
        module_name = f'pipeline.configs.{name}'
    else:
        raise unknown('config', name, config_names())
    try:
        config = _get_config(name, module_name, path)()
    except (Exception, SystemExit) as error:  # a config is the user's code and may raise anything
        raise _with_line(error, path) from error
    if not isinstance(config, PipelineConfig):
        raise ConfigError(f'get_config() of {name} returns {type(config).__name__}; it must return a '
                          'polyvit.PipelineConfig.')
    return config


def _get_config(name: str, module_name: str, path: pathlib.Path) -> Callable[[], object]:
    """The function get_config of a config's file, which may be called without arguments."""
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec and spec.loader  # true of every path that ends in .py
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    get_config = getattr(module, 'get_config', None)
    if not callable(get_config):
        raise ConfigError(f'{name} has no function get_config(). Define it; it must return a polyvit.PipelineConfig.')
    try:
        inspect.signature(get_config).bind()
    except TypeError as error:
        raise ConfigError(f'get_config() of {name} is called without arguments, but it has a parameter without a '
                          f'default ({error}). Give it one.') from error
    return get_config


def _with_line(error: BaseException, path: pathlib.Path) -> ConfigError:
    """What the code of a config raised, as a ConfigError that names the line of the config, if one is to blame."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__)
             if os.path.realpath(frame.filename) == os.path.realpath(path)]
    where = f'{path}, line {lines[-1]}: ' if lines else ''
    if isinstance(error, ConfigError):
        return ConfigError(f'{where}{error}')
    wrong_fields = _wrong_fields(error, where) if isinstance(error, TypeError) else None
    if wrong_fields:
        return wrong_fields
    text = f'{type(error).__name__}: {error}'.rstrip(': .')
    return ConfigError(f'{where or f"The config {path} cannot be loaded: "}{text}.')


def _wrong_fields(error: TypeError, where: str) -> ConfigError | None:
    """Python's error about the arguments of a config's dataclass, as a sentence about its fields."""
    match = re.match(r'(\w+)\.__init__\(\) (.*)', str(error))
    if not match or match[1] not in _CLASSES:
        return None
    kind, problem = match.groups()
    names = [field.name for field in dataclasses.fields(_CLASSES[kind]) if field.init]
    quoted = re.findall(r"'(\w+)'", problem)
    if 'unexpected keyword argument' in problem:
        return unknown(f'field of {kind}', quoted[0], names, where)
    if problem.startswith('missing'):
        return ConfigError(f'{where}{kind} lacks {" and ".join(quoted)}. Write {kind}(..., '
                           f'{", ".join(f"{name}=..." for name in quoted)}).')
    return ConfigError(f'{where}{kind} {problem}. Its fields: {", ".join(names)}.')


_CLASSES = {cls.__name__: cls for cls in (
    PipelineConfig, Mixture, Task, Data, Columns, Limits, Recipe, Checks, Gate, ModelConfig, TrainingConfig,
    *(row.input_class for row in MODALITIES.values()))}
