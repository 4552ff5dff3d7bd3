"""A run that an equal one has answered already: when it is given again, and that no TFX is imported for it."""

import dataclasses
import json
import pathlib
import shutil
import subprocess
import sys

import pytest

from pipeline import checks, fingerprints, run_record, unchanged
from pipeline.beam.settings import Beam
from pipeline.config import PipelineConfig, load_config
from tests import testing

CONFIG = '''
from polyvit import Data, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig


def get_config():
    return PipelineConfig('small', Mixture((Task('shapes', 'image', data=Data({media!r}), recipe=Recipe(4, 4)),)),
                          ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=(ImageInput(16, 16, (8, 8)),)),
                          TrainingConfig(warmup_steps=2))
'''
DECISION = {'blessed': True, 'reasons': [], 'infra': {'blessed': True, 'reasons': []}, 'tasks': [
    {'name': 'shapes', 'modality': 'image', 'metrics': {'accuracy': 0.875}, 'baseline_metrics': None,
     'primary_metric': 'accuracy', 'floor': 0.0, 'max_drop': 0.0, 'value': 0.875, 'change': None, 'blessed': True}]}
REJECTION = DECISION | {'blessed': False, 'reasons': ['shapes: accuracy 0.88 is below its floor of 0.90.']}


def _write(path: pathlib.Path, content: str = 'x'):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


@pytest.fixture
def config(tmp_path) -> PipelineConfig:
    testing.image_task(tmp_path / 'media', per_class=2, eval_per_class=1)
    (tmp_path / 'small.py').write_text(CONFIG.format(media=str(tmp_path / 'media')))
    return dataclasses.replace(load_config(tmp_path / 'small.py'), root=str(tmp_path / 'root'))


def _key(config) -> str:
    return fingerprints.run_key(config, checks.check(config).fingerprints)


def _start(config) -> run_record.Record:
    return run_record.start(config, _key(config), code=unchanged.runner_code())


def _ended(config, decision=DECISION, version='7') -> run_record.Record:
    """Leaves under the root what a run leaves there, as far as it matters here."""
    made = config.run_root / 'pipeline'
    _write(config.run_root / 'metadata.db')
    models = [made / 'CoTrainer/model/1/Format-Serving', *([config.serving_dir / version] if version else [])]
    for model in models:
        _write(model / 'saved_model.pb')
        _write(model / 'variables' / 'variables.index', 'weights')
        _write(model / 'assets.extra' / 'model_card.json', json.dumps({'at': str(model)}))
    _write(made / 'BlessingGate/blessing/2/decision.json', json.dumps(decision))
    _write(made / 'Report/report/3/report.html')
    outputs = {'CoTrainer': {'model': ['CoTrainer/model/1'], 'model_run': ['CoTrainer/model']},
               'BlessingGate': {'blessing': ['BlessingGate/blessing/2']}, 'Report': {'report': ['Report/report/3']},
               'AtomicPusher': {}}
    nodes = {node: run_record.NodeRecord(False, 2.0, {k: [str(made / p) for p in v] for k, v in named.items()}, '', 9.0,
                                         10 ** 9) for node, named in outputs.items()}
    return run_record.end(config, _start(config), 0 if decision['blessed'] else 3, 9.0, components=nodes,
                          decision=decision, report=str(made / 'Report/report/3/report.html'), version=version)


def test_an_equal_run_answers(config):
    assert unchanged.equal_run(config, _key(config)) is None  # nothing has run yet
    ended = _ended(config)
    assert unchanged.equal_run(config, _key(config)) == ended


def test_runs_that_did_not_end_well_are_passed_over(config):
    ended = _ended(config)
    run_record.end(config, _start(config), 1, 1.0)
    run_record.end(config, _start(config), 130, 1.0)
    assert unchanged.equal_run(config, _key(config)) == ended


@pytest.mark.parametrize('gone', [
    'metadata.db', 'pipeline/Report/report/3/report.html', 'pipeline/BlessingGate/blessing/2', 'pipeline/CoTrainer',
    'serving/polyvit/7', 'serving/polyvit/7/saved_model.pb', 'serving/polyvit/7/variables/variables.index'])
def test_what_is_gone_is_made_again(config, gone):
    _ended(config)
    path = config.run_root / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert unchanged.equal_run(config, _key(config)) is None


def test_a_served_model_of_another_size_is_not_this_run_s(config):
    _ended(config)
    (config.serving_dir / '7' / 'variables' / 'variables.index').write_text('other weights')
    assert unchanged.equal_run(config, _key(config)) is None


def test_another_version_is_served(config):
    _ended(config)
    _write(config.serving_dir / '8' / 'saved_model.pb')
    assert unchanged.equal_run(config, _key(config)) is None


def test_a_forced_run_does_not_answer_one_without_force(config, tmp_path):
    ended = _ended(config, REJECTION | {'blessed': True, 'forced': 'a reason'})
    data = checks.check(config).fingerprints
    forced = fingerprints.run_key(config, data, 'a reason')
    ended = run_record.end(config, dataclasses.replace(ended, run_key=forced), 0, 9.0)
    assert unchanged.equal_run(config, forced) == ended
    assert unchanged.equal_run(config, _key(config)) is None
    assert unchanged.equal_run(config, fingerprints.run_key(config, data, 'another')) is None


@pytest.mark.parametrize('reason', ['', '  '])
def test_force_without_a_reason_starts_nothing(config, tmp_path, reason):
    done = _polyvit(tmp_path, '--force', reason)
    assert done.returncode == 2 and '--force is empty. Say why' in ' '.join(done.stderr.split())
    assert not (tmp_path / 'root').exists()


def test_the_newest_equal_run_decides(config):
    """The same config once with version 7 served, later with 8: after a roll-back to 7 the components are asked."""
    _ended(config, version='7')
    _ended(config, version='8')
    shutil.rmtree(config.serving_dir / '8')
    assert unchanged.equal_run(config, _key(config)) is None


def test_a_changed_config_file_or_code_is_another_run(config, tmp_path, monkeypatch):
    _ended(config)
    other = dataclasses.replace(config, beam=Beam('multi_process'))
    assert unchanged.equal_run(other, _key(other)) is None
    with monkeypatch.context() as patch:
        patch.setattr(unchanged, 'runner_code', lambda: 'other')
        assert unchanged.equal_run(config, _key(config)) is None
    testing.write(tmp_path / 'media', 'train/left/new.png', testing.image_bytes(seed=5))
    assert unchanged.equal_run(config, _key(config)) is None


def test_a_copied_root_is_not_answered_from_the_original(config, tmp_path):
    _ended(config)
    shutil.copytree(tmp_path / 'root', tmp_path / 'copy')
    copied = dataclasses.replace(config, root=str(tmp_path / 'copy'))
    assert unchanged.equal_run(copied, _key(copied)) is None


def _polyvit(tmp_path, *argv):
    """A process in which TensorFlow and TFX cannot be imported."""
    code = ('import sys; sys.modules.update(tensorflow=None, tfx=None, apache_beam=None); '
            'from pipeline import cli; sys.exit(cli.main())')
    return subprocess.run([sys.executable, '-c', code, 'run', 'small.py', '--root', 'root', *argv], cwd=tmp_path,
                          capture_output=True, text=True, timeout=120)


def test_without_tensorflow_the_result_is_given_again(config, tmp_path):
    ended = _ended(config)
    done = _polyvit(tmp_path)
    assert done.returncode == 0 and done.stderr == '', done.stdout + done.stderr
    for words in (f'Nothing changed since the run of {ended.started[:10]} ', 'accuracy 0.875',
                  'version 7 is this model already', 'root/serving/polyvit/7', 'report.html',
                  '; no component was started', 'Next:', 'polyvit serve root/serving/polyvit'):
        assert words in done.stdout
    last = run_record.read(str(tmp_path / 'root'))
    assert (last.repeats, last.version, last.exit_code, last.report, last.decision, last.argv) == (
        ended.id, '7', 0, ended.report, DECISION, ('run', 'small.py', '--root', 'root'))
    assert {n: (c.cached, c.outputs) for n, c in last.components.items()} == {
        n: (True, c.outputs) for n, c in ended.components.items()}
    assert f'since the run {ended.id}' in pathlib.Path(last.log).read_text()
    # The answer is a run too, and answers the next.
    assert _polyvit(tmp_path).returncode == 0
    assert run_record.read(str(tmp_path / 'root')).repeats == last.id


def test_the_result_is_that_of_the_record_whatever_became_of_the_files(config, tmp_path):
    ended = _ended(config)
    decision = pathlib.Path(ended.components['BlessingGate'].outputs['blessing'][0], 'decision.json')
    for content in (json.dumps(REJECTION), '{"blessed": '):
        decision.write_text(content)
        done = _polyvit(tmp_path)
        assert done.returncode == 0 and 'accuracy 0.875' in done.stdout and 'cost' not in done.stdout, done.stderr
        assert run_record.read(str(tmp_path / 'root')).decision == DECISION


@pytest.mark.parametrize('served', ['', '7'])
def test_a_rejection_is_given_again(config, tmp_path, served):
    _ended(config, REJECTION, version=served)
    done = _polyvit(tmp_path)
    assert done.returncode == 3, done.stdout + done.stderr
    for words in ('The gate rejected the model', 'below its floor of 0.90', 'then run it again:\n',
                  'run small.py --root root\n',
                  'Version 7 is still being served' if served else 'No version is being served yet'):
        assert words in done.stdout


def test_otherwise_the_components_are_asked(config, tmp_path):
    _ended(config)
    (tmp_path / 'root' / 'metadata.db').unlink()
    done = _polyvit(tmp_path)
    assert done.returncode == 1 and "'tfx' is not a package" in done.stdout, done.stdout + done.stderr
