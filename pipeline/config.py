"""PipelineConfig, and loading one by name or path. Imports nothing heavy."""

import dataclasses
import importlib
import importlib.util
import pathlib
import pkgutil
import re

from model_code.errors import ConfigError, unknown
from model_code.fields import check_fields
from model_code.settings import ModelConfig, TrainingConfig, check_batches
from model_code.tasks import Mixture


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


def load_config(name_or_path: str) -> PipelineConfig:
    """get_config() of pipeline/configs/NAME.py, or of a Python file given by its path.

    Raises ConfigError if there is none, or if it is not valid.
    """
    if name_or_path.endswith('.py'):
        path = pathlib.Path(name_or_path)
        if not path.is_file():
            raise ConfigError(f'There is no config file {path}. Give the path of a Python file with get_config(), or '
                              f'one of: {", ".join(config_names())}.')
        spec = importlib.util.spec_from_file_location(f'polyvit_config_{path.stem}', path)
        assert spec and spec.loader  # true of every path that ends in .py
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    elif name_or_path in config_names():
        module = importlib.import_module(f'pipeline.configs.{name_or_path}')
    else:
        raise unknown('config', name_or_path, config_names())
    if not hasattr(module, 'get_config'):
        raise ConfigError(f'{name_or_path} has no get_config(). Define it; it must return a polyvit.PipelineConfig.')
    config = module.get_config()
    if not isinstance(config, PipelineConfig):
        raise ConfigError(f'get_config() of {name_or_path} returns {type(config).__name__}; it must return a '
                          'polyvit.PipelineConfig.')
    return config
