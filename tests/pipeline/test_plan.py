"""The plan against the paper's numbers and against the model as it is built."""

import dataclasses
import json
import subprocess
import sys

import pytest

from pipeline import checks, plan
from pipeline.config import load_config


@pytest.fixture(scope='module')
def nine():
    return plan.make_plan(load_config('nine'))


def test_tokens_are_the_papers(nine):
    assert {t.modality: t.tokens for t in nine.tasks} == {'image': 577, 'video': 1569, 'audio': 401}


def test_steps_and_warmup_are_the_papers(nine):
    assert nine.total_steps == 417_920
    assert nine.warmup_steps == 47_330
    assert {t.name: t.steps for t in nine.tasks}['kinetics400'] == 30 * 3356


def test_one_model_is_more_than_eight_times_smaller(nine):
    assert 8.3 <= nine.ratio <= 8.45
    assert nine.total_parameters == (nine.shared_parameters + sum(nine.tokenizer_parameters.values())
                                     + sum(nine.head_parameters.values()))


def test_encoder_has_vit_b_parameters(nine):
    # 12 blocks of 7,087,872 and a LayerNorm of 1,536: the published ViT-B/16 without embedding and head.
    assert nine.shared_parameters == 12 * 7_087_872 + 1_536


def test_flops_of_vit_b_at_384(nine):
    # ViT-B/16 at 384 pixels is published as 55.5 billion multiply-adds (timm's table), forward, one image.
    imagenet = {t.name: t for t in nine.tasks}['imagenet']
    assert imagenet.step_flops / (3 * 512) / 2 == pytest.approx(55.5e9, rel=0.01)


def test_render_says_what_json_says(nine):
    text = plan.render(nine)
    assert '417,920' in text and f'{nine.total_parameters:,}' in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert json.loads(json.dumps(dataclasses.asdict(nine)))['total_steps'] == 417_920


def test_plan_imports_no_tensorflow():
    code = ("import sys; from pipeline import plan, config; plan.render(plan.make_plan(config.load_config('nine')));"
            "print(sorted(m for m in sys.modules if m in ('tensorflow', 'tfx', 'apache_beam', 'numpy')))")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == '[]', done.stderr


def test_parameters_are_those_of_the_model_as_it_is_built():
    from model_code.polyvit import PolyViT
    config = load_config('demo')
    classes = {'digits': 10, 'sounds': 4, 'motion': 4}
    built = sum(v.shape.num_elements() for v in PolyViT(config.mixture, classes, config.model).trainable_variables)
    facts = checks.Facts({name: ('c',) * count for name, count in classes.items()}, {}, {})
    assert plan.make_plan(config, facts).total_parameters == built
