"""`polyvit study`: its arms, its verdicts from simulated outcomes, its tables and page. Nothing is trained here."""

import dataclasses
import json
import os
import pathlib
import string

import jsonschema
import numpy as np
import pytest

import schemas
from model_code import bootstrap
from model_code.errors import ConfigError, PipelineStop
from model_code.outcomes import Outcomes, texts
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture
from pipeline import cli, dry_run, history, ingested, overrides, pipeline, roots
from pipeline.config import PipelineConfig
from pipeline.study import arms, command, comparison, page
from pipeline.study.arms import Training
from tests import testing
from tests.components import report_pages

SCHEMA = json.loads((pathlib.Path(schemas.__file__).parent / 'study.schema.json').read_text(encoding='utf-8'))
TASKS = (testing.task('digits', 'image', steps=300), testing.task('letters', 'image', steps=100),
         testing.task('tones', 'audio', steps=200))


TRAINING = TrainingConfig(warmup_steps=60)


def config_of(*tasks, training=TRAINING, **fields) -> PipelineConfig:
    return PipelineConfig('studied', Mixture(tasks or TASKS), ModelConfig(
        layers=1, width=16, heads=2, mlp_width=32, inputs=testing.INPUTS), training, **fields)


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch):
    monkeypatch.setattr(bootstrap, 'RESAMPLES', 400)


def said(share: float, seed: int, examples: int = 400, groups: int = 0) -> Outcomes:
    """Outcomes of which this share is right."""
    rng = np.random.default_rng(seed)
    labels = np.arange(examples) % 2
    answers = np.where(rng.random(examples) < share, labels, 1 - labels)
    return Outcomes(texts([f'{i:04}' for i in range(examples)]),
                    texts([f'g{i % groups}' if groups else '' for i in range(examples)]), labels,
                    np.eye(2, dtype=np.float32)[answers])


class Trainer:
    """Trainings that are there at once. shares: arm -> task -> the share of right answers."""
    data = None

    def __init__(self, shares):
        self.shares, self.done, self.ran = shares, {}, []

    def result(self, training):
        return self.done.get(training)

    def run(self, training):
        from pipeline.study.trainings import Result
        self.ran.append(training)
        heads = {name: {'seconds': 1.0, 'flops': 10.0, 'train_examples': 5} for name in training.tasks}
        factor = 0.5 if training.changes else 1
        self.done[training] = Result(training.tasks, training.seed, 1000 + len(training.tasks), 10, 100.0 * factor,
                                     2.0 * factor, 3.0, heads if len(training.tasks) == 3 else {})
        return self.done[training]

    def path(self, training):
        config = arms.config_of(config_of(), training)
        return str((pipeline.trained_tasks(config.mixture), config.model, config.training))

    def outcomes(self, training, task, frozen=False):
        arm = arms.FROZEN if frozen else arms.CHANGED if training.changes else {
            1: arms.ALONE, 2: arms.MODALITY, 3: arms.TOGETHER}[len(training.tasks)]
        return said(self.shares[arm], 100 * training.seed + len(training.tasks) + 50 * frozen)


SHARES = {arms.ALONE: 0.6, arms.MODALITY: 0.62, arms.TOGETHER: 0.9, arms.FROZEN: 0.3, arms.CHANGED: 0.5}
CHANGES = ('tasks.digits.recipe.steps=150', 'model.dropout=0.1')


def study_of(shares=SHARES, seeds=3, changes=()) -> dict:
    trainer, config = Trainer(shares), config_of()
    for training in arms.trainings(config.mixture, seeds, changes):
        trainer.run(training)
    return command.compare(config, seeds, trainer, changes)


def test_the_arms_of_two_modalities():
    everything = ('digits', 'letters', 'tones')
    found = arms.arms(Mixture(TASKS))
    assert {arm: {task: training.tasks for task, training in of.items()} for arm, of in found.items()} == {
        'alone': {name: (name,) for name in everything},
        'modality': {'digits': ('digits', 'letters'), 'letters': ('digits', 'letters'), 'tones': ('tones',)},
        'together': dict.fromkeys(everything, everything), 'frozen': dict.fromkeys(everything, everything)}
    assert arms.trainings(Mixture(TASKS), 2)[:5] == [
        Training(tasks, 0) for tasks in (('digits',), ('letters',), ('tones',), ('digits', 'letters'), everything)]
    assert len(arms.trainings(Mixture(TASKS), 2)) == 10
    assert 'modality' not in arms.arms(Mixture(TASKS[:2])) and 'modality' not in arms.arms(Mixture(TASKS[1:]))


def test_a_training_has_its_share_of_the_warm_up_and_a_seed_of_its_own():
    alone = arms.config_of(config_of(), Training(('letters',), 2))
    assert [task.name for task in alone.mixture.tasks] == ['letters'] and alone.mixture.total_steps == 100
    assert (alone.training.warmup_steps, alone.training.seed, alone.mixture.seed) == (10, 2, 2)
    assert alone.training.eval_every == 0
    assert arms.config_of(config_of(), Training(('digits', 'letters', 'tones'), 0)).training.warmup_steps == 60


def test_gains_and_losses_are_told_and_the_form_is_that_of_the_schema():
    study = study_of()
    jsonschema.validate(study, SCHEMA)
    digits, tones = study['tasks'][0], study['tasks'][2]
    assert [entry['arm'] for entry in digits['arms']] == ['alone', 'modality', 'together', 'frozen']
    assert [entry['arm'] for entry in tones['arms']] == ['alone', 'together', 'frozen']
    verdicts = {entry['arm']: (entry['difference'] or {}).get('verdict') for entry in digits['arms']}
    assert verdicts == {'alone': None, 'modality': 'cannot_tell', 'together': 'gains', 'frozen': 'loses'}
    assert digits['sentence'].startswith('digits: gains from training together: accuracy 0.')
    assert study['conclusion'] == ('Of 3 tasks, 3 gain from training together and none loses. One model has 33% of the '
                                   'parameters of one model per task.')
    unknown = next(entry for entry in digits['arms'] if entry['arm'] == 'modality')['difference']
    assert unknown['groups_needed'] is None or unknown['groups_needed'] > 400


def test_what_cannot_be_told_says_what_would():
    def compared(alone, together, seeds=3, **fields):
        return comparison.compare(TASKS[0], {
            'alone': [said(alone, seed, **fields) for seed in range(seeds)],
            'together': [said(together, seed + 9, **fields) for seed in range(seeds)]})
    few = compared(0.6, 0.64, examples=60)
    assert few['verdict'] == 'cannot_tell' and few['sentence'].startswith('digits: cannot tell at this size: accuracy')
    assert few['sentence'].endswith('.') and 'would' in few['sentence']
    grouped = compared(0.6, 0.68, examples=400, groups=8)
    assert (grouped['groups'], grouped['clustered']) == (8, True)
    one = compared(0.5, 0.9, seeds=1)
    assert one['verdict'] == 'cannot_tell' and 'two seeds' in one['sentence']
    assert compared(0.9, 0.5)['sentence'].startswith('digits: loses from training together')
    with pytest.raises(ValueError, match='did not answer the same eval examples'):
        comparison.compare(TASKS[0], {'alone': [said(0.5, 0, 10)], 'together': [said(0.5, 0, 12)]})


def test_no_number_of_a_difference_is_one_that_cannot_be():
    def compared(*shares):
        entry = comparison.compare(TASKS[0], {
            arm: [said(share, seed + 7 * place, 100) for seed, share in enumerate(shares)]
            for place, (arm, shares) in enumerate(zip(('alone', 'together'), shares, strict=True))})
        difference = entry['arms'][1]['difference']
        return entry['sentence'], difference['low'], difference['high']
    text, low, high = compared((0.9, 0.5), (0.55, 0.95))
    assert (low, high) == (-1, 1) and '(−100.0 to +100.0)' in text
    assert text.endswith('With 2 seeds, no difference that is possible could be told: take 3 or more.')
    text, low, high = compared((1.0, 0.0, 1.0), (0.0, 1.0, 0.0))
    assert (low, high) == (-1, 1) and 'differences of about' not in text
    text, low, high = compared((0.9, 0.8, 0.85), (0.85, 0.9, 0.8))
    assert -0.5 < low < 0 < high < 0.5 and 'possible' not in text


def test_costs_are_of_all_models_of_an_arm_and_the_frozen_encoder_costs_its_training_too():
    rows = {row['arm']: row for row in study_of()['costs']}
    assert {name: (row['models'], row['parameters'], row['flops'], row['seconds']) for name, row in rows.items()} == {
        'alone': (3, 3003, 300.0, 6.0), 'modality': (2, 2003, 200.0, 4.0), 'together': (1, 1003, 100.0, 2.0),
        'frozen': (1, 1003, 130.0, 5.0)}


class TestOfAChange:
    """All tasks together, with and without other values of some fields."""

    def test_the_change_is_compared_with_all_together(self):
        study = study_of(changes=CHANGES)
        jsonschema.validate(study, SCHEMA)
        assert study['changes'] == list(CHANGES) and study_of()['changes'] == []
        assert {row['arm']: (row['models'], row['parameters'], row['flops'], row['seconds'])
                for row in study['costs']} == {'together': (1, 1003, 100.0, 2.0), 'changed': (1, 1003, 50.0, 1.0)}
        digits = study['tasks'][0]
        assert [(entry['arm'], (entry['difference'] or {}).get('verdict')) for entry in digits['arms']] == [
            ('together', None), ('changed', 'loses')]
        assert digits['verdict'] == 'loses'
        assert digits['sentence'].startswith('digits: loses from the change: accuracy 0.')
        assert ' with it, 0.' in digits['sentence'] and ' without, −' in digits['sentence']
        assert study['conclusion'] == (
            'Of 3 tasks, none gains from the change and 3 lose. With it a model has 100% of the parameters, and its '
            'training takes 50% of the FLOPs and 50% of the time.')

    def test_its_trainings_are_those_of_the_changed_config_and_the_others_are_shared(self):
        config = config_of()
        everything = ('digits', 'letters', 'tones')
        assert arms.trainings(config.mixture, 2, CHANGES) == [
            Training(everything, seed, changes) for seed in (0, 1) for changes in ((), CHANGES)]
        assert set(arms.trainings(config.mixture, 2, CHANGES)) & set(arms.trainings(config.mixture, 2)) == {
            Training(everything, 0), Training(everything, 1)}
        changed = arms.config_of(config, Training(everything, 1, CHANGES))
        by_hand = config_of(testing.changed(TASKS[0], steps=150), *TASKS[1:])
        by_hand = dataclasses.replace(by_hand, model=dataclasses.replace(by_hand.model, dropout=0.1))
        assert changed == arms.config_of(by_hand, Training(everything, 1))

    def test_its_files_do_not_replace_those_of_the_study(self, tmp_path):
        config, trainer = config_of(root=str(tmp_path)), Trainer(SHARES)
        testing.write(tmp_path, 'study/study.json', 'of the arms')
        for changes in (CHANGES, ('training.initial_checkpoint=../a b/é*.npz',), ('model.dropout=' + '0' * 300,)):
            page_path = roots.study_page(config.run_root, changes)
            assert page_path.parent == tmp_path / 'study' and len(page_path.name) < 120
            assert set(page_path.name) <= set(string.ascii_letters + string.digits + '._-')
        study = command._run(config, 2, trainer, as_json=True, changes=CHANGES)
        assert (tmp_path / 'study/study.json').read_text() == 'of the arms'
        page_path = roots.study_page(tmp_path, CHANGES)
        assert page_path.name.startswith('change-tasks.digits.recipe.steps-150-model.dropout-0.1-')
        assert json.loads(page_path.with_suffix('.json').read_text(encoding='utf-8')) == study
        assert roots.study_pages(tmp_path) == [page_path], 'study.html is not there yet'
        html = page_path.read_text(encoding='utf-8')
        assert '<h1>Does the change pay?</h1>' in html and '<code>model.dropout=0.1</code>' in html
        assert html.count('<svg class="chart"') == 3 and 'Over all together, points' in html
        lines = command.result_lines(config, study, None)
        assert any('over all together, points' in line for line in lines)
        assert lines[-1].endswith(page_path.name)
        narrow = [line for line in command.result_lines(config, study, 70) if not line.startswith('page')]
        assert max(map(len, narrow)) <= 70

    def test_other_settings_make_another_study_which_says_them(self, tmp_path):
        config, trainer = config_of(root=str(tmp_path)), Trainer(SHARES)
        settings = ('training.learning_rate=0.5',)
        other = dataclasses.replace(config, overrides=settings)
        studies = [command._run(one, 2, trainer, as_json=True, changes=changes)
                   for changes in ((), CHANGES) for one in (config, other)]
        pages = roots.study_pages(tmp_path)
        assert [json.loads(path.with_suffix('.json').read_text(encoding='utf-8')) for path in sorted(
            pages, key=lambda path: (path.name.startswith('change'), '-set-' in path.name))] == studies
        assert [study['settings'] for study in studies] == [[], list(settings)] * 2
        for study in studies:
            jsonschema.validate(study, SCHEMA)
        told = ['<code>training.learning_rate=0.5</code>' in path.read_text(encoding='utf-8') for path in pages]
        assert told == ['-set-' in path.name for path in pages] and sum(told) == 2
        assert command.result_lines(other, studies[1], None)[-1].endswith(
            roots.study_page(tmp_path, (), settings).name)

    def test_of_one_task(self):
        mixture = config_of(TASKS[0]).mixture
        assert [arms.title(mixture, training) for training in arms.trainings(mixture, 1, CHANGES)] == [
            'digits alone', 'digits alone, changed']

    def test_what_is_left_of_it(self, tmp_path):
        config, trainer = config_of(root=str(tmp_path)), Trainer(SHARES)
        for seed in (0, 1):  # as an earlier study leaves them
            trainer.run(Training(('digits', 'letters', 'tones'), seed))
        planned = command.plan(config, 2, trainer, ('tasks.digits.recipe.steps=150',))
        assert (planned['trainings'], planned['trainings_left']) == (4, 2)
        assert [(row['changes'], row['steps'], row['trainings_left']) for row in planned['models']] == [
            ([], 600, 0), (['tasks.digits.recipe.steps=150'], 450, 2)]
        lines = command.plan_lines(config, planned, 100)
        assert any(line.startswith('all together, changed ') for line in lines)

    def test_a_change_that_trains_nothing_else_or_needs_other_examples_is_refused(self, tmp_path, monkeypatch):
        config = config_of(root=str(tmp_path))
        monkeypatch.setattr(ingested, 'training_lanes', lambda config, tasks: {})
        monkeypatch.setattr(command, '_trainer', lambda config, lanes, by_size: Trainer(SHARES))

        def refused(*changes) -> str:
            with pytest.raises(ConfigError) as error:
                command.run(config, 2, False, True, changes=changes)
            return str(error.value)
        for changes in (['model.dropout=0.0'], ['name=other', 'tasks.digits.gate.floor=0.5'], [f'root={tmp_path}/x']):
            assert 'trains no other model than the config does' in refused(*changes)
        for change in ('training.gradient_diagnosis_every=7', 'training.checkpoint_every=9',
                       'training.eval_batch_size=8', 'training.tpu=local', 'model.inputs.video.short_side=300'):
            assert f'--change {change} changes no weight of a training' in refused('model.dropout=0.1', change)
        for name in ('training', 'mixture'):
            assert refused('model.dropout=0.1', f'{name}.seed=5') == (
                f'--change model.dropout=0.1 --change {name}.seed=5: {name}.seed cannot be changed, because both arms '
                f'are trained over the same seeds. For other seeds in both, write --set {name}.seed=5 instead.')
        assert refused('model.dropuot=0.1').startswith("--change model.dropuot=0.1: There is no field of ModelConfig")
        assert refused('model.width') == ('--change model.width lacks its value. Write --change PATH=VALUE, such as '
                                          '--change training.learning_rate=3e-4.')
        for change, tasks in (('tasks.letters.data.label_kind=multi', 'letters'), ('tasks.digits.name=x', 'digits'),
                              ('model.inputs.audio.mel_bins=16', 'tones')):
            assert f'--change {change}: {tasks} would need other examples' in refused(change)
        assert 'none.npz, which does not exist' in refused('training.initial_checkpoint=none.npz')

    def test_a_patch_of_images_needs_no_other_examples(self):
        config = config_of()
        assert ingested.others_needed(config, overrides.apply(config, ['model.inputs.image.patch=4,4'])) == []

    def test_a_single_task_may_be_changed(self, tmp_path, monkeypatch, capsys):
        monkeypatch.setattr(ingested, 'training_lanes', lambda config, tasks: {})
        monkeypatch.setattr(command, '_trainer', lambda config, lanes, by_size: Trainer(SHARES))
        command.run(config_of(TASKS[0], root=str(tmp_path)), 2, True, True, changes=('model.dropout=0.1',))
        assert json.loads(capsys.readouterr().out)['trainings'] == 4


def test_the_tables_fit_and_the_page_has_all(tmp_path):
    study, config = study_of(), config_of(root=str(tmp_path))
    wide, narrow = (command.result_lines(config, study, columns) for columns in (None, 70))
    assert sum(line.startswith('digits') for line in wide) == 2 and 'frozen encoder' in '\n'.join(wide)
    tables = [line for line in narrow if not line.startswith('page')]
    assert max(map(len, tables)) <= 70
    html = page.render(study)
    assert html.count('<svg class="chart"') == 3 and html.count('class="interval" x1=') >= 3 * 3
    assert study['conclusion'] in html and 'frozen encoder' in html
    assert html.count('<table class="numbers stack">') == 3 + 1, 'on a phone, cells are below each other'
    assert html.count('<td data-label="Verdict">cannot tell</td>') == 2
    hostile = study | {'config': '<b>'}
    assert '<b>' not in page.render(hostile)


def test_gradients_that_were_measured_are_in_the_study_and_on_its_page():
    trainer, config = Trainer(SHARES), config_of()
    names = [task.name for task in TASKS]
    for training in arms.trainings(config.mixture, 2):
        trainer.run(training)
        measured = report_pages.gradients(list(training.tasks)) if len(training.tasks) > 1 else []
        trainer.done[training] = dataclasses.replace(trainer.done[training], gradients=measured)
    study = command.compare(config, 2, trainer)
    jsonschema.validate(study, SCHEMA)
    assert study['gradients']['measurements'] == 2 * 3
    assert [task['task'] for task in study['gradients']['tasks']] == names
    html = page.render(study)
    assert 'is what <code>polyvit study</code> measures' not in html, 'it is the page of that study'
    assert '>Gradients of the tasks</h2>' in html and '6 measurements in the trainings of all tasks together' in html
    assert 'gradients' not in study_of() and 'Gradients of the tasks' not in page.render(study_of())
    config = config_of(training=TrainingConfig(gradient_diagnosis_every=5))
    assert arms.config_of(config, Training(('tones',), 0)).training.gradient_diagnosis_every == 0
    assert arms.config_of(config, Training(('digits', 'tones'), 0)).training.gradient_diagnosis_every == 5
    # An arm with fewer steps than that measures nothing, and is no error.
    config = config_of(training=TrainingConfig(gradient_diagnosis_every=401))
    assert arms.config_of(config, Training(('digits', 'letters'), 0)).training.gradient_diagnosis_every == 0
    assert arms.config_of(config, Training(('digits', 'tones'), 0)).training.gradient_diagnosis_every == 401


def test_only_what_is_missing_is_trained_and_what_is_left_is_estimated(tmp_path, capsys):
    config, trainer = config_of(root=str(tmp_path)), Trainer(SHARES)
    wanted = arms.trainings(config.mixture, 2)
    planned = command.plan(config, 2, trainer)
    assert (planned['trainings'], planned['trainings_left']) == (10, 10)
    for training in wanted[:7]:
        trainer.run(training)
    trainer.ran.clear()
    left = command.expected_seconds(config, wanted, trainer)
    assert list(left) == wanted[7:] and left[wanted[7]] == 3.0, 'as long as the other seed took'
    study = command._run(config, 2, trainer, as_json=False)
    assert trainer.ran == wanted[7:]
    assert capsys.readouterr().err == ''
    assert json.loads((tmp_path / 'study/study.json').read_text(encoding='utf-8')) == study
    assert (tmp_path / 'study/study.html').is_file()
    assert command.plan_lines(config, command.plan(config, 2, trainer), 80)[-1] == 'All trainings are there.'


def test_a_training_that_stops_ends_the_study_and_what_had_finished_is_kept(tmp_path, capfd):
    config, trainer = config_of(root=str(tmp_path)), Trainer(SHARES)
    run = trainer.run

    def stop_at_the_third(training):
        if len(trainer.ran) == 2:
            raise PipelineStop('The loss of task tones is nan.')
        return run(training)
    trainer.run = stop_at_the_third
    with pytest.raises(PipelineStop, match='is nan'):
        command._run(config, 2, trainer, as_json=False)
    assert 'tones alone             stopped' in capfd.readouterr().out
    assert not (tmp_path / 'study/study.json').exists()
    assert 'The loss of task tones is nan.' in (tmp_path / 'study/study.log').read_text(encoding='utf-8')
    trainer.run = run
    command._run(config, 2, trainer, as_json=True)
    out, err = capfd.readouterr()
    assert not out and '[ 2/10] seed 0          letters alone           done before' in err
    assert trainer.ran == arms.trainings(config.mixture, 2), 'each once'


def test_wrong_arguments_are_sentences(tmp_path, capsys):
    with pytest.raises(ConfigError, match='has one task, digits, so there is nothing to train it with'):
        command.run(config_of(TASKS[0]), 3, False, False)
    with pytest.raises(ConfigError, match='--seeds is 1; it must be at least 2'):
        command.run(config_of(), 1, False, False)
    with pytest.raises(ConfigError, match='--seeds is 1,000,000; it must be at most 1,000'):
        command.run(config_of(), 1_000_000, False, False)
    with pytest.raises(ConfigError, match='The root is s3://bucket/root, but a study'):
        command.run(config_of(root='s3://bucket/root'), 3, False, False)
    assert cli.main(['study', 'demo', '--set', 'training.initial_checkpoint=none.npz', '--dry-run']) == 2
    assert 'none.npz, which does not exist' in capsys.readouterr().err
    assert cli.main(['study', 'demo', '--root', str(tmp_path / 'none'), '--dry-run']) == 2
    assert 'Task digits: no run under ' in capsys.readouterr().err
    assert not (tmp_path / 'none').exists()


def test_lanes_for_training_are_of_the_media_and_inputs_as_they_are_now(tmp_path, monkeypatch):
    from model_code.serialization import to_json
    task = testing.image_task(tmp_path / 'shapes', steps=100)
    config, spec = config_of(task), to_json(testing.IMAGE_SPEC)
    fingerprint = ingested.checks.check_without_data(config).fingerprints['shapes']

    def execution(number, properties, inputs, *outputs):
        return dry_run.Execution({'source': to_json(task.source), **properties}, inputs,
                                 {name: [number] for name in outputs}, [f'/x/{name}/{number}' for name in outputs])
    reader = to_json(pipeline.reader_spec(testing.IMAGE_SPEC))
    past = {'MediaExampleGen_shapes': [
        execution(1, {'spec': reader, 'media_fingerprint': fingerprint}, {}, 'examples', 'classes')],
        'Transform_shapes': [
            execution(3, {'spec': spec.replace('16', '32', 1)}, {'examples': [1]}, 'transformed_examples',
                      'transform_graph'),
            execution(2, {'spec': spec}, {'examples': [1]}, 'transformed_examples', 'transform_graph'),
            execution(4, {'spec': spec}, {'examples': [9]}, 'transformed_examples', 'transform_graph')]}
    monkeypatch.setattr(history, 'executions', lambda root, name, nodes: {node: past[node] for node in nodes})
    lane = ingested.training_lanes(config, (task,))['shapes']
    assert (lane.lane.examples, lane.transformed, lane.graph) == (
        '/x/examples/1', '/x/transformed_examples/2', '/x/transform_graph/2')
    assert lane.older
    os.rename(tmp_path / 'shapes', tmp_path / 'moved')
    moved = testing.changed(task, folder=str(tmp_path / 'moved'))
    assert ingested.training_lanes(config_of(moved), (moved,))['shapes'] == lane, 'only the folder is another'
    os.rename(tmp_path / 'moved', tmp_path / 'shapes')
    other = testing.changed(task, label_kind='multi')
    with pytest.raises(ConfigError, match='its media, or how they are read, have changed'):
        ingested.training_lanes(config_of(other), (other,))
    del past['Transform_shapes'][1]
    with pytest.raises(ConfigError, match='Task shapes: no run under .* has transformed its examples for the inputs'):
        ingested.training_lanes(config, (task,))
