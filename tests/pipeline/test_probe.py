"""`polyvit probe`: of what a run has ingested, with the model that it pushed; and all that is wrong as sentences."""

import dataclasses
import json

import pytest

from components import evaluation_names
from model_code import file_io
from model_code.errors import ConfigError
from model_code.modalities import VideoInput
from model_code.probe import Probe
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import cli, dry_run, ingested, pipeline, probe, run_record
from pipeline.config import PipelineConfig
from tests import testing

MEASURED = {'metric': 'accuracy', 'classes': 12, 'width': 8, 'train_examples': 10_000, 'train_total': 50_000,
            'eval_examples': 600, 'eval_total': 600, 'seconds': 1.0,
            'linear': {'value': 0.5, 'low': 0.25, 'high': 0.75, 'strength': 0.1},
            'few_shot': [{'shots': 5, 'value': 0.4, 'low': None, 'high': None, 'values': [0.4],
                          'classes_with_fewer': 2}]}


def config_of(*tasks, **fields) -> PipelineConfig:
    return PipelineConfig('probed', Mixture(tasks), ModelConfig(layers=1, width=16, heads=2, mlp_width=32,
                                                                inputs=testing.INPUTS),
                          TrainingConfig(warmup_steps=1, checkpoint_every=100), **fields)


def test_the_table_has_a_row_for_each_classifier():
    none = MEASURED | {'linear': None, 'few_shot': []}
    wide = probe.lines({'digits': MEASURED, 'few': none}, None)
    assert [line.split() for line in wide[1:4]] == [
        'digits linear probe accuracy 0.500 0.250 to 0.750 10,000 of 50,000 600'.split(),
        'digits 5-shot accuracy 0.400 5 of each class 600'.split(),
        'few none: too few examples accuracy - 10,000 of 50,000 600'.split()]
    assert wide[4:] == ['digits: 2 of 12 classes have fewer than 5 examples.']
    same = {'shots': 5, 'value': 1.0, 'low': 1.0, 'high': 1.0, 'values': [1.0, 1.0], 'classes_with_fewer': 0}
    drawn = MEASURED | {'few_shot': [same]}
    for columns in (None, 60):
        linear, few = probe.lines({'digits': drawn}, columns)[1:]
        assert '1.000 to 1.000 over draws' in few and '0.250 to 0.750' in linear and 'draws' not in linear
    narrow = probe.lines({'digits': MEASURED}, 60)
    assert max(map(len, narrow)) <= 60 and narrow[1].split() == 'digits linear probe 0.500 0.250 to 0.750'.split()


def test_the_config_decides_what_is_measured_or_else_what_is_usual_is():
    own = testing.task('digits', 'image', linear=True, max_examples=50)
    assert probe.asked(own) == Probe(linear=True, max_examples=50)
    limited = testing.changed(own, linear=False, seeds=2)
    assert probe.asked(limited) == Probe(linear=True, shots=(5, 10), seeds=2, max_examples=50)


def test_a_model_must_take_the_media_as_they_are_stored():
    task = testing.task('walks', 'video')
    config = config_of(task)
    fields = {'frame_rate': 8.0, 'short_side': 16, 'frames': 32}
    probe.check_inputs(config, [task], {'inputs': {'video': fields}})
    probe.check_inputs(config, [task], {})  # a model by others
    with pytest.raises(ConfigError, match='have frame_rate 8.0, and the model was trained on frame_rate 12.5. Run the '
                                          'config with --set model.inputs.video.frame_rate=12.5 first'):
        probe.check_inputs(config, [task], {'inputs': {'video': fields | {'frame_rate': 12.5}}})
    with pytest.raises(ConfigError, match='Task walks is of modality video, and the model takes only image'):
        probe.check_inputs(config, [task], {'inputs': {'image': {}}})


def test_what_only_judges_and_measures_trains_nothing_again():
    plain, probed = (config_of(testing.task('walks', 'video', linear=linear)) for linear in (False, True))
    assert pipeline.trained_tasks(plain.mixture) == pipeline.trained_tasks(probed.mixture)
    assert pipeline.judged_tasks(plain.mixture) == pipeline.judged_tasks(probed.mixture)
    spec = dataclasses.replace(testing.VIDEO_SPEC, views=4)
    assert pipeline.transform_spec(spec) == testing.VIDEO_SPEC == pipeline.transform_spec(testing.VIDEO_SPEC)
    assert pipeline.reader_spec(spec) == VideoInput(frame_rate=8.0, short_side=16)


def test_there_must_be_a_model_and_a_task_of_that_name(tmp_path, capsys):
    assert cli.main(['probe', 'demo', '--root', str(tmp_path)]) == 2
    assert f'There is no model in {tmp_path}' in capsys.readouterr().err
    assert cli.main(['probe', 'demo', '--root', str(tmp_path), '--task', 'digit']) == 2
    assert 'Did you mean digits?' in capsys.readouterr().err


@pytest.mark.parametrize('training', [
    {'gradient_diagnosis_every': 5}, {'warmup_steps': 5}, {'train_only': ('shapes',)}])
def test_some_tasks_are_looked_up_whatever_the_training_of_all_is(tmp_path, training):
    tasks = testing.image_task(tmp_path / 'shapes'), testing.video_task(tmp_path / 'walks')
    config = dataclasses.replace(config_of(*tasks, root=str(tmp_path / 'root')), training=TrainingConfig(**training))
    with pytest.raises(ConfigError, match='Task shapes: no run under .* has ingested it'):
        ingested.lanes(config, tasks[:1])


@pytest.mark.slow
def test_a_run_measures_it_and_the_command_does_again_without_ingesting(tmp_path, capfd):
    task = testing.image_task(tmp_path / 'shapes', per_class=8, eval_per_class=4, linear=True, shots=(2,),
                              max_drop=1.0)
    clips = testing.video_task(tmp_path / 'walks', max_drop=1.0)
    config = tmp_path / 'probed.py'
    config.write_text(f'''
from tests import testing
from tests.pipeline.test_probe import config_of
def get_config():
    shapes = testing.task('shapes', 'image', 4, 4, folder={task.data.folder!r}, linear=True, shots=(2,), max_drop=1.0)
    walks = testing.task('walks', 'video', 4, 2, folder={clips.data.folder!r}, manifest='manifest.csv', max_drop=1.0)
    return config_of(shapes, walks, root={str(tmp_path / 'root')!r})
''')
    assert cli.main(['run', str(config), '--set', 'model.inputs.video.views=3']) == 0
    record = run_record.read(str(tmp_path / 'root'))
    evaluation, other = (file_io.read_json(
        f'{record.components[f"TaskEvaluator_{name}"].outputs["evaluation"][0]}/evaluation.json')
        for name in ('shapes', 'walks'))
    assert evaluation['probe']['train_examples'] == 16 and 'probe' not in other
    card = json.loads((tmp_path / 'root/serving/polyvit' / record.version / 'assets.extra/model_card.json').read_text())
    metrics = evaluation_names.probe_metrics(evaluation)
    assert set(metrics) == {'linear_probe_accuracy', '2_shot_accuracy'}
    assert metrics.items() <= card['evaluation']['shapes']['metrics'].items()
    assert card['inputs']['video']['views'] == 3
    assert 'The representation alone' in file_io.read_text(record.report)

    capfd.readouterr()
    assert cli.main(['probe', str(config), '--json']) == 0
    measured = json.loads(capfd.readouterr().out)['tasks']
    for found in (measured['shapes'], evaluation['probe']):
        assert found.pop('seconds') >= 0
    assert measured['shapes'] == evaluation['probe']
    assert [row['shots'] for row in measured['walks']['few_shot']] == [5, 10] and measured['walks']['linear']
    newer = run_record.read(str(tmp_path / 'root'))
    assert newer == record, 'a probe is no run'

    from pipeline import checks
    from pipeline.config import load_config
    shots = ['model.inputs.video.views=3', 'tasks.shapes.probe.shots=3']
    from pipeline import overrides
    changed = overrides.apply(load_config(config), shots)
    reasons = dry_run._reasons(changed, checks.check(changed))
    assert {name for name, why in reasons.items() if why} == {
        'TaskEvaluator_shapes', 'BlessingGate', 'AtomicPusher', 'Report'}

    testing.write(tmp_path / 'shapes', 'train/left/new.png', testing.image_bytes(size=(16, 16), seed=99))
    assert cli.main(['probe', str(config), '--task', 'shapes']) == 2
    assert 'its media, or how they are read, have changed' in capfd.readouterr().err
