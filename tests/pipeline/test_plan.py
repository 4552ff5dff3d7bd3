"""The plan's numbers are those of the paper, and those of the model as it is built."""

import dataclasses
import json
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from model_code import hardware, schedules, settings
from model_code.errors import ConfigError
from model_code.settings import ModelConfig, preset
from model_code.tasks import Mixture
from pipeline import checks, cli, machine, plan
from pipeline.config import PipelineConfig, load_config
from pipeline.study import arms
from polyvit import Columns
from tests import testing


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
    # Published: 8.3. Between nine models counted as plain ViT-Bs (85,798,656: timm's 86,567,656 less its head) and nine
    # counted with their own tokenizers and heads.
    assert nine.plain_vit_parameters == 9 * (86_567_656 - 769_000)
    assert round(nine.plain_vit_ratio, 1) == 8.3 and round(nine.ratio, 1) == 8.4
    assert nine.total_parameters == (nine.shared_parameters + sum(nine.tokenizer_parameters.values())
                                     + sum(nine.head_parameters.values()))


def test_encoder_has_vit_b_parameters(nine):
    # 12 blocks of 7,087,872 and a LayerNorm of 1,536: the published ViT-B/16 without embedding and head.
    assert nine.shared_parameters == 12 * 7_087_872 + 1_536


def test_flops_of_vit_b_at_384(nine):
    # ViT-B/16 at 384 pixels is published as 55.5 billion multiply-adds (timm's table), forward, one image.
    imagenet = {t.name: t for t in nine.tasks}['imagenet']
    assert imagenet.step_flops / (3 * 512) / 2 == pytest.approx(55.5e9, rel=0.01)


def test_shares_and_hours_follow_from_steps_and_assumptions():
    config = load_config('nine')
    made = plan.make_plan(config, accelerators=plan.Accelerators(flops=100e12, utilisation=0.5, count=4))
    assert sum(t.share for t in made.tasks) == pytest.approx(1)
    assert {t.name: t.share for t in made.tasks}['imagenet'] == pytest.approx(20_000 / 417_920)
    assert made.hours_accelerators == pytest.approx(made.total_flops / 200e12 / 3600)
    with pytest.raises(ConfigError, match='--utilisation is 35'):
        plan.Accelerators(utilisation=35)


@pytest.mark.parametrize('schedule, steps', [
    ('weighted', [5, 2, 1]), ('task_by_task', [5, 2, 1]), ('alternating', [3, 3, 2]), ('accumulated', [8, 8, 8])])
def test_steps_of_a_task_are_the_schedules(schedule, steps):
    tasks = tuple(testing.task(name, 'image', steps=count, batch_size=1)
                  for name, count in (('a', 5), ('b', 2), ('c', 1)))
    mixture = Mixture(tasks, schedule=schedule)
    assert plan.task_steps(mixture) == steps
    if schedule != 'accumulated':
        assert np.bincount(schedules.task_sequence(mixture)).tolist() == steps


def test_the_plan_shows_the_steps_and_epochs_that_a_schedule_by_size_gives(nine, capsys):
    capped = ['--set', 'mixture.schedule=unimax', '--set', 'mixture.max_epochs=40']
    assert cli.main(['plan', 'nine', '--json', *capped]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made['total_steps'] == sum(task['steps'] for task in made['tasks']) == nine.total_steps
    assert max(task['epochs'] for task in made['tasks']) == pytest.approx(40, abs=0.3)
    assert all(task['epochs'] <= 40 for task in made['tasks'])
    before = {task.name: task.steps for task in nine.tasks}
    after = {task['name']: task['steps'] for task in made['tasks']}
    assert after['imagenet'] > before['imagenet'] and after['vggsound'] < before['vggsound']
    assert cli.main(['plan', 'nine', '--set', 'mixture.schedule=temperature', '--set', 'mixture.temperature=2']) == 0
    assert 'of them warm-up; schedule: by temperature 2' in capsys.readouterr().out
    assert cli.main(['plan', 'nine', '--set', 'mixture.schedule=unimax', '--set', 'mixture.max_epochs=1']) == 2
    assert 'max_epochs is 1, so all tasks together may have' in capsys.readouterr().err
    assert cli.main(['plan', 'real_small', '--set', 'mixture.schedule=temperature']) == 2
    assert 'how many cifar10 has is not known here. Set num_train_examples' in ' '.join(capsys.readouterr().err.split())


def test_an_evaluation_looks_at_every_view_of_every_eval_example(nine):
    config = load_config('demo')
    found = checks.DataSummary({}, {}, {'sounds': {'eval': 10}, 'motion': {'eval': 5}})
    assert plan.make_plan(config).eval_flops == 0 and 'an evaluation' not in plan.render(plan.make_plan(config))
    once = plan.make_plan(config, found)
    inputs = tuple(dataclasses.replace(spec, views=count) if count > 1 else spec
                   for spec, count in zip(config.model.inputs, (1, 4, 8, 1), strict=True))
    several = plan.make_plan(dataclasses.replace(config, model=dataclasses.replace(config.model, inputs=inputs)), found)
    rows, more = ({row.name: row.eval_flops for row in made.tasks} for made in (once, several))
    # A step of a batch is three forward passes of each of its examples.
    steps = {row.name: row.step_flops / row.batch_size / 3 for row in once.tasks}
    assert rows == {'digits': 0, 'sounds': 10 * steps['sounds'], 'motion': 5 * steps['motion']}
    assert more == {'digits': 0, 'sounds': 4 * rows['sounds'], 'motion': 8 * rows['motion']}
    assert several.eval_flops == sum(more.values()) and several.total_flops == once.total_flops
    assert 'in an evaluation, which takes 4 views of each audio example and 8 views' in ' '.join(
        plan.render(several).split())
    assert 'an evaluation takes 8 views of each video example' in ' '.join(plan.render(nine).split())
    assert {row.modality: row.views for row in nine.tasks} == {'image': 1, 'video': 8, 'audio': 4}


def test_dropped_tokens_cost_nothing_in_training():
    config = load_config('nine')
    half = tuple(testing.changed(task, token_share=0.5) for task in config.mixture.tasks)
    found = checks.DataSummary({}, {}, {task.name: {'eval': 10} for task in half})
    whole, dropping = (plan.make_plan(dataclasses.replace(config, mixture=Mixture(tasks)), found)
                       for tasks in (config.mixture.tasks, half))
    assert all(row.training_tokens == row.tokens for row in whole.tasks)
    assert {row.modality: row.training_tokens for row in dropping.tasks} == {'image': 289, 'video': 785, 'audio': 199}
    assert dropping.eval_flops == whole.eval_flops and dropping.total_parameters == whole.total_parameters
    width, mlp = 768, 3072
    step = 3 * 64 * (2 * 784 * 4 * 16 * 16 * 3 * width + 12 * (
        2 * 785 * (4 * width * width + 2 * width * mlp) + 4 * 785 * 785 * width) + 2 * width * 400)
    assert next(row.step_flops for row in dropping.tasks if row.name == 'kinetics400') == step
    assert dropping.total_flops == sum(row.steps * row.step_flops for row in dropping.tasks) < 0.5 * whole.total_flops
    assert '785/1,569' in plan.render(dropping) and '/1,569' not in plan.render(whole)


def test_captions_cost_a_pass_of_their_own_in_training_and_their_tokenizer():
    labels = testing.task('pictures', 'image', steps=10, batch_size=4, num_classes=3)
    captions = testing.changed(labels, objective='captions', columns=Columns(text='caption'), prompts=('a {}.',))
    config = PipelineConfig('captioned', Mixture((labels, testing.task('tones', 'audio'))),
                            ModelConfig(layers=2, width=16, heads=2, mlp_width=32, modality_layers=1,
                                        inputs=testing.INPUTS))
    found = checks.DataSummary({}, {}, {'pictures': {'eval': 10}})
    tones = config.mixture.tasks[1]
    without, made = (plan.make_plan(dataclasses.replace(config, mixture=Mixture((task, tones))), found)
                     for task in (labels, captions))
    assert made.tokenizer_parameters.keys() == {'image', 'audio', 'text'}
    assert made.head_parameters['pictures'] == 2 * 16 * 16 + 1
    # What the text side adds: its tokenizer and its own block, to the model and to that of the task alone.
    text = made.tokenizer_parameters['text'] + made.modality_layer_parameters
    heads = made.head_parameters['pictures'] - without.head_parameters['pictures']
    assert made.total_parameters - without.total_parameters == text + heads
    assert made.separate_parameters - without.separate_parameters == text + heads
    count, patch = 32 // 4 + 1, 4 * 256  # tokens of a text; numbers of a patch
    passed = 2 * (count - 1) * patch * 16 + 2 * (2 * count * (4 * 16 * 16 + 2 * 16 * 32) + 4 * count * count * 16)
    assert made.tasks[0].step_flops - without.tasks[0].step_flops == 3 * 4 * passed
    assert made.eval_flops == without.eval_flops, 'the vectors of the classes are in the model'
    studied = dataclasses.replace(config, mixture=Mixture((captions, tones)))
    alone = arms.cost(studied, arms.Training(('pictures',), 0), found)
    assert (alone.flops, alone.parameters) == (made.tasks[0].total_flops, made.shared_parameters + made.head_parameters[
        'pictures'] + sum(made.tokenizer_parameters[m] + made.modality_layer_parameters for m in ('image', 'text')))


def test_own_layers_and_hidden_heads_are_counted():
    model = preset('B', modality_layers=6)
    # 12 blocks for each of 3 modalities would be 36; 6 are shared.
    assert plan.shared_parameters(model) == 6 * 7_087_872 + 1_536
    task = testing.task('t', 'image', head_hidden=(10,))
    assert plan.head_parameters(model, task, 5) == 768 * 10 + 10 + 10 * 5 + 5


def test_plan_as_json_with_assumptions_by_argument(capsys):
    assert cli.main(['plan', 'nine', '--json', '--flops', '1e15', '--utilisation', '0.5', '--accelerators', '8']) == 0
    made = json.loads(capsys.readouterr().out)
    assert made['accelerators'] == {'flops': 1e15, 'utilisation': 0.5, 'count': 8}
    assert made['hours_accelerators'] == pytest.approx(made['total_flops'] / 4e15 / 3600)
    assert cli.main(['plan', 'nine', '--accelerators', '0']) == 2
    assert '--accelerators is 0' in capsys.readouterr().err


def test_the_plan_says_what_a_study_costs_and_how_to_start_it(capsys, tmp_path):
    from pipeline.study import arms
    config = load_config('real_small')
    here = machine.Machine('Some CPU', 4, int(16e9), (), 100e9, measured=False)
    price = arms.price(config, 3, machine=here) or {}
    # Alone, the modalities with several tasks, and all together, each three times.
    pairs = [m for m in config.mixture.modalities if sum(t.modality == m for t in config.mixture.tasks) > 1]
    assert price['trainings'] == 3 * (len(config.mixture.tasks) + len(pairs) + 1)
    whole = plan.make_plan(config, machine=here)
    by_modality = sum(t.total_flops for t in whole.tasks if t.modality in pairs)
    assert price['flops'] == pytest.approx(3 * (2 * whole.total_flops + by_modality))
    assert price['hours_cpu'] > 6 * whole.hours_cpu
    assert arms.price(dataclasses.replace(config, mixture=Mixture(config.mixture.tasks[:1])), 3) is None
    assert cli.main(['plan', 'real_small', '--set', 'training.seed=1']) == 0
    text = capsys.readouterr().out
    line = next(line for line in text.splitlines() if line.startswith('Study '))
    assert f'{price["trainings"]} trainings (of 3 seeds), ' in line
    assert 'study real_small --set training.seed=1' in text
    assert cli.main(['plan', 'real_small', '--json']) == 0
    made = json.loads(capsys.readouterr().out)['study']
    assert (made['seeds'], made['trainings']) == (3, price['trainings'])


def test_render_says_what_json_says(nine):
    text = plan.render(nine)
    assert '417,920' in text and f'{nine.total_parameters:,}' in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert json.loads(json.dumps(dataclasses.asdict(nine)))['total_steps'] == 417_920


def test_on_a_narrow_terminal_no_line_wraps(nine):
    lines = plan.render(nine, 80).splitlines()
    assert max(map(len, lines)) <= 80
    row = next(line for line in lines if line.startswith('imagenet '))
    assert row.split() == ['imagenet', '1,000', '577', '1,281,167', '512', '20,000', '8.0', '3.41', 'E']


def test_the_time_on_this_machine_follows_from_its_speed():
    config = load_config('nine')
    here = machine.Machine('Some CPU', 4, int(16e9), ('NVIDIA A100',), 100e9, measured=False)
    made = plan.make_plan(config, machine=here)
    seconds = made.total_flops / (0.75 * 100e9) + 0.005 * 417_920
    assert made.hours_cpu == pytest.approx(seconds / 3600)
    text = plan.render(made)
    assert 'Some CPU, 4 cores, 16.0 GB of memory, NVIDIA A100' in text
    assert 'on the 4 cores of this machine' in text
    assert '100 GFLOP/s in matrix products, assumed (--measure measures it)' in text
    measured = dataclasses.replace(here, measured=True)
    assert 'products, measured\n' in plan.render(plan.make_plan(config, machine=measured))
    busy = dataclasses.replace(measured, load=2.1)
    assert 'products, measured beside other programs (load 2.1)' in plan.render(plan.make_plan(config, machine=busy))


def test_measuring_replaces_the_assumption(monkeypatch, capsys):
    monkeypatch.setattr(machine, 'measured_rate', lambda: 123e9)
    rates = []
    for words in ([], ['--measure']):
        assert cli.main(['plan', 'nine', '--json', *words]) == 0
        rates.append(json.loads(capsys.readouterr().out)['machine'])
    assert [rate['measured'] for rate in rates] == [False, True]
    assert rates[0]['product_rate'] == rates[0]['cores'] * machine.CORE_RATE and rates[1]['product_rate'] == 123e9


def test_a_measured_rate_is_that_of_the_matrix_product():
    import numpy as np
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(np, 'matmul', lambda a, b: (calls.append((a.shape, a.dtype)), time.sleep(0.01)))
        rate = machine.measured_rate(seconds=0.0)
    assert calls == [((machine.SIDE, machine.SIDE), np.float32)]
    assert 0 < rate <= 2 * machine.SIDE ** 3 / 0.01
    assert machine.measured_rate(seconds=0.0) > 1e8  # any processor multiplies faster


def test_accelerators_are_named_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)
    for number in '01':
        testing.write(tmp_path, f'driver/nvidia/gpus/0000:0{number}/information', f'Model: \t NVIDIA X{number}\nIRQ: 1')
    testing.write(tmp_path, 'accel0', '')
    find = lambda: hardware.accelerators(str(tmp_path), str(tmp_path))  # noqa: E731
    assert find() == ('NVIDIA X0', 'NVIDIA X1', 'TPU chip')
    for visible, names in (('0', ('NVIDIA X0', 'TPU chip')), ('', ('TPU chip',)), ('-1', ('TPU chip',))):
        monkeypatch.setenv('CUDA_VISIBLE_DEVICES', visible)
        assert find() == names


def test_a_folder_that_is_not_there_is_an_error_of_the_plan(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv('POLYVIT_DEMO_DATA', str(tmp_path / 'mdia'))
    assert cli.main(['plan', 'demo']) == 2
    assert re.search(r'there is no folder \S+/mdia/digits\.', capsys.readouterr().err)  # short, if it is near
    # The numbers that a plan needs are in this config.
    monkeypatch.setenv('POLYVIT_DATA', str(tmp_path / 'mdia'))
    assert cli.main(['plan', 'nine']) == 0
    monkeypatch.delenv('POLYVIT_DATA')
    assert cli.main(['plan', 'real_small']) == 0


def test_plan_imports_no_tensorflow():
    code = ("import sys; from pipeline import plan, config; plan.render(plan.make_plan(config.load_config('nine')));"
            "print(sorted(m for m in sys.modules if m in ('tensorflow', 'tfx', 'apache_beam', 'numpy')))")
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == '[]', done.stderr


def test_a_checkpoint_has_as_many_copies_as_the_optimiser_makes():
    import tensorflow as tf

    from model_code import training
    variable = tf.Variable(tf.zeros([64, 64]))
    for name in settings.OPTIMIZERS:
        optimizer = training.make_optimizer(settings.TrainingConfig(optimizer=name))
        optimizer.build([variable])
        copies = sum(v.shape.num_elements() for v in optimizer.variables) / 4096
        assert round(copies) == (1 if name in plan.ONE_SLOT else 2), name


@pytest.mark.parametrize('modality_layers', [0, 1])
def test_parameters_are_those_of_the_model_as_it_is_built(modality_layers):
    from model_code.polyvit import PolyViT
    config = load_config('demo')
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, modality_layers=modality_layers))
    classes = {'digits': 10, 'sounds': 4, 'motion': 4}
    built = sum(v.shape.num_elements() for v in PolyViT(config.mixture, classes, config.model).trainable_variables)
    data = checks.DataSummary({name: ('c',) * count for name, count in classes.items()}, {}, {})
    assert plan.make_plan(config, data).total_parameters == built


class TestWhatEvalCanTell:
    """The smallest drop per task, and the warning where the gate's max_drop is smaller."""

    def _rows(self, counts, groups=None, **gate):
        config = load_config('demo')
        tasks = tuple(testing.changed(task, **gate) for task in config.mixture.tasks)
        config = dataclasses.replace(config, mixture=dataclasses.replace(config.mixture, tasks=tasks))
        data = checks.DataSummary({}, {}, {name: {'train': 100, 'eval': n} for name, n in counts.items()},
                                  groups={name: {'eval': n} for name, n in (groups or {}).items()})
        made = plan.make_plan(config, data)
        return {task.name: task for task in made.tasks}, plan.render(made)

    def test_by_examples_and_by_groups(self):
        rows, text = self._rows({'digits': 1_000, 'motion': 100}, {'motion': 10}, max_drop=0.5)
        assert rows['digits'].smallest_drop == pytest.approx(0.0249, abs=1e-4)
        assert rows['motion'].smallest_drop_by_groups == pytest.approx(0.249, abs=1e-3)
        assert rows['digits'].smallest_drop_by_groups is None and rows['sounds'].smallest_drop is None
        lines = text.splitlines()
        assert '  digits          2.5 points by 1,000 examples' in lines
        assert '  motion          7.9 points by 100 examples, or 25 by 10 groups' in lines
        assert not any(row.warning for row in rows.values()) and '  sounds          ' not in text

    def test_a_smaller_max_drop_is_a_warning(self):
        rows, text = self._rows({'digits': 48, 'sounds': 10_000}, max_drop=0.06)
        warning = ('digits: 48 eval examples cannot tell a drop under 11 points; max_drop is 6: 172 would, or take a '
                   'larger max_drop.')
        assert rows['digits'].warning == warning and rows['sounds'].warning == ''
        assert ' '.join(text.split()).endswith(warning)

    def test_many_examples_of_few_groups(self):
        rows, _ = self._rows({'motion': 10_000}, {'motion': 12}, max_drop=0.06)
        assert rows['motion'].warning == (
            'motion: its eval examples are of 12 groups, which cannot tell a drop under 23 points if the examples of a '
            'group are right or wrong together; max_drop is 6.')

    def test_no_drop_at_all(self):
        rows, _ = self._rows({'digits': 48}, max_drop=0.0)
        assert rows['digits'].warning.endswith('max_drop is 0: no number of examples can tell that.')

    def test_the_command_counts_what_it_lists(self, tmp_path, monkeypatch, capsys):
        testing.image_task(tmp_path / 'media', per_class=2, eval_per_class=3)
        for path in list((tmp_path / 'media').rglob('*.png')):
            path.rename(path.with_name(f'{path.parent.parent.name}{int(path.stem[-1]) % 2}-{path.name}'))
        (tmp_path / 'small.py').write_text(
            'from polyvit import Data, ImageInput, Mixture, PipelineConfig, Recipe, Task, preset\n\n\n'
            'def get_config():\n'
            f'    task = Task("shapes", "image", data=Data({str(tmp_path / "media")!r}, groups="/([a-z]+[0-9])-"),\n'
            '                recipe=Recipe(4, 4))\n'
            '    inputs = (ImageInput(16, 16, (8, 8)),)\n'
            '    return PipelineConfig("small", Mixture((task,)), preset("Nano", inputs=inputs))\n')
        assert cli.main(['plan', str(tmp_path / 'small.py'), '--json']) == 0
        task, = json.loads(capsys.readouterr().out)['tasks']
        assert (task['eval_examples'], task['eval_groups'], task['max_drop']) == (6, 2, 0.02)
        assert task['smallest_drop'] == pytest.approx(0.321, abs=1e-3)
        assert task['smallest_drop_by_groups'] == pytest.approx(0.556, abs=1e-3)
        assert 'max_drop is 2' in task['warning']
