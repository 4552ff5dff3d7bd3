"""Writes docs/configuration.md: every field of a config with its type, default and docstring, read from the sources.

Run it with `make docs` after changing a field. A test checks that the file is up to date.
"""

import ast
import itertools
import pathlib
import sys

from model_code import flops
from model_code.settings import PRESETS, preset

PROJECT = pathlib.Path(__file__).resolve().parent.parent
PATH = PROJECT / 'docs' / 'configuration.md'

# In the order in which a reader meets them.
CLASSES = (
    ('pipeline/config.py', ('PipelineConfig',)),
    ('model_code/tasks.py', ('Mixture', 'Task')),
    ('model_code/data.py', ('Data', 'Columns')),
    ('model_code/modalities.py', ('Limits',)),
    ('model_code/tasks.py', ('Recipe', 'Checks', 'Gate')),
    ('model_code/probe.py', ('Probe',)),
    ('model_code/settings.py', ('ModelConfig',)),
    ('model_code/modalities.py', ('ImageInput', 'AudioInput', 'VideoInput', 'TextInput')),
    ('model_code/settings.py', ('TrainingConfig',)),
    ('pipeline/beam/settings.py', ('Beam',)),
    ('pipeline/kubeflow/resources.py', ('Cluster', 'Resources')),
)

HEADER = '''# Configuration

Every field of a config. All of these names are in `polyvit`: `from polyvit import Task, Data, Recipe`.
A config is a Python file with `get_config()`, which returns a `PipelineConfig`; [your_data.md](your_data.md) has
examples. `make docs` writes this file from the docstrings in the sources.

A field of the type `path` takes a string or a `pathlib.Path`. `~` is the home folder. A relative path starts from the
folder in which `polyvit` was called, as everywhere in a shell, and not from the config's; one beside the config is
`pathlib.Path(__file__).parent / 'photos'`. URLs stay as they are.

A config may import what is installed, and modules that lie beside it and have no name of those. So a `random.py` or a
folder `numpy/` beside a config, as a downloaded data set may have, is never run; nor is one in the folder in which
`polyvit` is called, by no process that a command starts, unless PYTHONPATH names that folder. (`python -m polyvit`
itself begins its imports there.)

`run`, `plan`, `data check` and `compile` take `--set PATH=VALUE`, any number of times, and check the result:

    polyvit run mine.py --set training.learning_rate=3e-4 --set tasks.animals.recipe.steps=800
    polyvit plan mine.py --set model.inputs.image.patch=16,16 --set tasks.animals.recipe.augmentations=flip,shift

A path names fields from the outside in, a task by its name and an input by its modality. Numbers, texts and choices are
written as they are, `true` and `false`, `None`, tuples with commas or as in Python. The card of a pushed version has
the settings of its run as `overrides`, and so has last_run.json.
'''

PRESETS_HEADER = '''## Presets

`preset(name)` is a `ModelConfig` of a usual size; `preset(name, inputs=..., dropout=...)` sets other fields too. Ti, S,
B and L are the sizes of ViT and DeiT. Nano is for CPUs.

| name | layers | width | heads | MLP width | parameters |
| --- | --- | --- | --- | --- | --- |
'''
PRESETS_FOOTER = '''
The parameters are those of the encoder; `polyvit plan` adds those of tokenizers and heads. A step of 32 images of
64 x 64 pixels with patches of 8 x 8 takes about 0.09 seconds with Nano and 0.5 with Ti, on two cores of an AMD EPYC.
`polyvit plan CONFIG --measure` says what your machine takes.
'''


def reference() -> str:
    """The text of docs/configuration.md."""
    parts = [HEADER]
    for file, names in CLASSES:
        module = ast.parse((PROJECT / file).read_text(encoding='utf-8')).body
        classes = {node.name: node for node in module if isinstance(node, ast.ClassDef)}
        # For a type such as Format = Literal[...] the page shows the choices, not the name.
        choices = {node.targets[0].id: ast.unparse(node.value) for node in module
                   if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith('Literal[')}
        for name in names:
            parts.append(_section(classes[name], {**choices, 'FilePath': 'path'}))
            if name == 'ModelConfig':
                parts.append(_presets())
    return '\n'.join(parts)


def _presets() -> str:
    rows = []
    for name in PRESETS:
        model = preset(name)
        rows.append(f'| `{name}` | {model.layers} | {model.width} | {model.heads} | {model.mlp_width} | '
                    f'{flops.shared_parameters(model):,} |\n')
    return PRESETS_HEADER + ''.join(rows) + PRESETS_FOOTER


def _section(node: ast.ClassDef, choices: dict[str, str]) -> str:
    rows = [f'## {node.name}', '', _text(ast.get_docstring(node)), '', '| field | type | default | meaning |',
            '| --- | --- | --- | --- |']
    for field, after in itertools.pairwise(node.body):
        if isinstance(field, ast.AnnAssign) and 'init=False' not in ast.unparse(field):
            if not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)):
                raise SystemExit(f'{node.name}.{field.target.id} has no docstring under it.')
            kind = ast.unparse(field.annotation)
            rows.append(f'| `{field.target.id}` | `{_cell(choices.get(kind, kind))}` | {_default(field.value)} | '
                        f'{_cell(_text(after.value.value))} |')
    return '\n'.join(rows) + '\n'


def _default(value: ast.expr | None) -> str:
    """The default of a field; 'required' if it has none. Of `dataclasses.field` its default; a factory makes a dict."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == 'dataclasses.field':
        keywords = {keyword.arg: keyword.value for keyword in value.keywords}
        value = ast.Dict([], []) if 'default_factory' in keywords else keywords.get('default')
    return 'required' if value is None else f'`{_cell(ast.unparse(value))}`'


def _text(docstring: str) -> str:
    return ' '.join(docstring.split())


def _cell(text: str) -> str:
    return text.replace('|', r'\|')


if __name__ == '__main__':
    PATH.write_text(reference(), encoding='utf-8')
    sys.stdout.write(f'{PATH.relative_to(PROJECT)}\n')
