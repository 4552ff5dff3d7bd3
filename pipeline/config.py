"""PipelineConfig, and loading one by name or path. Imports nothing heavy."""

import dataclasses
import importlib.util
import inspect
import os
import pathlib
import pkgutil
import re
import sys
from collections.abc import Callable

from model_code.data import VERSION_PLACE, Columns, Data
from model_code.errors import ConfigError, unknown
from model_code.fields import FilePath, check_fields
from model_code.modalities import MODALITIES, Limits
from model_code.probe import Probe
from model_code.settings import ModelConfig, TrainingConfig, check_batches, check_token_shares
from model_code.tasks import Checks, Gate, Mixture, Recipe, Task
from pipeline import config_errors, config_imports, roots
from pipeline.beam import settings
from pipeline.beam.settings import Beam
from pipeline.kubeflow.resources import Cluster, Resources


@dataclasses.dataclass(frozen=True)
class PipelineConfig:
    """An experiment: which tasks, which model, and how it is trained."""
    name: str
    """The experiment's name, from which come the pipeline's name and the folder under runs/."""
    mixture: Mixture
    """The tasks, and the schedule in which they are trained."""
    model: ModelConfig
    """The encoder's size and each modality's input."""
    training: TrainingConfig = TrainingConfig()
    """How the mixture is trained."""
    root: FilePath = ''
    """The folder for everything that a run writes: pipeline/ (TFX artifacts), metadata.db (ML Metadata), serving/ (the
    version directories that a server loads), logs/. '' means runs/<name>."""
    data_version: str = ''
    """What stands in place of {data_version} in the data folders and manifests of the tasks, such as '2026-11-26' in
    s3://bucket/media/{data_version}. A run of a compiled pipeline may be given another one."""
    beam: Beam = Beam()
    """Where the components' Beam pipelines run; by default in this process."""
    cluster: Cluster = Cluster()
    """Resources, retries and the object store on Kubeflow Pipelines or Vertex AI."""
    intended_use: str = ''
    """What the model is for, in the model card of the next version that is pushed. '' says that no use but its tasks
    was stated."""
    limits: str = ''
    """What the model is not for, or was not measured on, in the same card."""
    overrides: tuple[str, ...] = dataclasses.field(default=(), compare=False, kw_only=True)
    """What `--set` changed, such as 'training.seed=1', for the model card. The command line fills it in."""

    def __new__(cls, *args, **fields):
        """Rejects beam_args, the old form of `beam`, before the fields are set, and shows the new one."""
        if 'beam_args' in fields:
            raise ConfigError('beam_args is now `beam`. '
                              f'Write {settings.instead_of(fields["beam_args"])}, with Beam from polyvit.')
        return super().__new__(cls)

    def __post_init__(self):
        check_fields(self, f'Config {self.name}: ')
        # TFX takes at most 63, with polyvit- before it.
        if not re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_-]{0,54}', self.name):
            raise ConfigError(f'Config name {self.name!r}: use at most 55 letters, digits, underscores and hyphens, '
                              'and start with a letter or digit.')
        self.training.check_train_only(self.mixture)
        self.training.check_warmup(self.trained.total_steps)
        check_token_shares(self.mixture.tasks, self.model)
        if self.training.gradient_diagnosis_every:
            self._check_diagnosis()
        if self.data_version and not any(task.data.has_version for task in self.mixture.tasks):
            raise ConfigError(f'data_version is {self.data_version!r}, but no folder or manifest of a task has '
                              f'{VERSION_PLACE} in it. Write it where the version belongs, or leave data_version out.')
        if self.training.strategy == 'mirrored' and self.training.replicas:
            check_batches(self.mixture.tasks, self.training.replicas)

    def _check_diagnosis(self):
        where = f'Training: gradient_diagnosis_every is {self.training.gradient_diagnosis_every}'
        if len(self.mixture.tasks) == 1:
            raise ConfigError(f'{where}, but the mixture has one task, and gradients of tasks are compared. Leave it '
                              'out, or add a task.')
        if self.training.train_only:
            raise ConfigError(f'{where}, but train_only keeps the encoder as it is, so its gradients tell nothing. '
                              'Leave one of them out.')
        if self.model.modality_layers == self.model.layers:
            raise ConfigError(f'{where}, but modality_layers is {self.model.modality_layers}, all layers of the model: '
                              'gradients are compared on the blocks that the tasks share. Leave it out, or choose a '
                              'smaller modality_layers.')
        if self.training.gradient_diagnosis_every > self.mixture.total_steps:
            raise ConfigError(f'{where}, more than the steps of all tasks together, {self.mixture.total_steps:,}, so '
                              'nothing would be measured. Choose fewer, or leave it out.')

    def with_data(self) -> 'PipelineConfig':
        """The config with data_version put into the folders and manifests, as a run on this machine needs it.

        Raises ConfigError if there is a place for it, but no version.
        """
        tasks = tuple(dataclasses.replace(task, data=task.source.at_version(self.data_version).data)
                      for task in self.mixture.tasks)
        return dataclasses.replace(self, mixture=dataclasses.replace(self.mixture, tasks=tasks), data_version='')

    @property
    def trained(self) -> Mixture:
        """The mixture with only those of its tasks that are trained."""
        return self.training.trained(self.mixture)

    @property
    def run_root(self) -> pathlib.Path:
        return pathlib.Path(self.root or f'runs/{self.name}').absolute()

    @property
    def serving_dir(self) -> pathlib.Path:
        return roots.serving_dir(self.run_root)


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
        path = pathlib.Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f'There is no config file {path}. Give the path of a Python file with get_config(), or '
                              f'one of: {", ".join(config_names())}.')
        module_name = f'polyvit_config_{path.stem}'
    elif name in config_names():
        from pipeline import configs
        path = pathlib.Path(configs.__path__[0], f'{name}.py')
        module_name = f'pipeline.configs.{name}'
    elif pathlib.Path(f'{name}.py').is_file():
        raise ConfigError(f'There is no config named {name!r}, but a file {name}.py: write its name with .py.')
    else:
        raise unknown('config', name, config_names())
    try:
        with config_imports.importable(path.absolute()):
            get_config = _get_config(name, module_name, path)
            config = get_config()
    except (Exception, SystemExit) as error:  # a config is the user's code and may raise anything
        raise config_errors.located(error, path, _CLASSES) from error
    if not isinstance(config, PipelineConfig):
        kind = 'nothing' if config is None else f'a {type(config).__name__}'
        raise ConfigError(f'{_defined_at(get_config, path)}get_config() returns {kind}; it must return one '
                          'polyvit.PipelineConfig.')
    return config


def _get_config(name: str, module_name: str, path: pathlib.Path) -> Callable[[], object]:
    """The function get_config of a config's file, which may be called without arguments."""
    spec = importlib.util.spec_from_file_location(module_name, path.absolute())
    assert spec and spec.loader  # true of every path that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[module_name] = module  # dataclasses look up the module in which they are defined
    spec.loader.exec_module(module)
    get_config = getattr(module, 'get_config', None)
    if not callable(get_config):
        raise ConfigError(f'{name} has no function get_config(). Define it; it must return a polyvit.PipelineConfig.')
    try:
        inspect.signature(get_config).bind()
    except TypeError as error:
        raise ConfigError(f'{_defined_at(get_config, path)}get_config() is called without arguments, but it has a '
                          f'parameter without a default ({error}). Give it one.') from error
    return get_config


def _defined_at(function, path: pathlib.Path) -> str:
    """'mine.py, line 3: ', where a function of the config begins."""
    code = getattr(function, '__code__', None)
    return f'{path}, line {code.co_firstlineno}: ' if code else f'{path}: '


_CLASSES = (PipelineConfig, Mixture, Task, Data, Columns, Limits, Recipe, Checks, Gate, Probe, ModelConfig,
            TrainingConfig, Cluster, Resources, Beam, *(row.input_class for row in MODALITIES.values()))
