"""The configs in docs/recipes.md are valid, and its figures are those of the plan."""

import pathlib
import re

from pipeline import plan
from pipeline.config import load_config

TEXT = (pathlib.Path(__file__).parents[2] / 'docs' / 'recipes.md').read_text()


def test_the_configs_load(tmp_path):
    blocks = [block for block in re.findall(r'```python\n(.*?)```', TEXT, re.DOTALL) if 'def get_config' in block]
    assert blocks
    for number, block in enumerate(blocks):
        path = tmp_path / f'recipe_{number}.py'
        path.write_text(block)
        assert plan.make_plan(load_config(str(path))).total_steps > 0


def test_the_figures_are_the_plans():
    nine = plan.make_plan(load_config('nine'))
    for figure in (f'{nine.total_parameters / 1e6:.1f} million', f'{nine.separate_parameters / 1e6:.1f} million',
                   f'{nine.ratio:.2f} times', f'{nine.plain_vit_parameters / 1e6:.1f} million',
                   f'{nine.plain_vit_ratio:.2f} times'):
        assert figure in TEXT.replace('\n', ' '), figure
