"""The runner's parts that need no TFX: the baseline rule, sentences out of wrapped exceptions, the screen."""

import io
import json
import subprocess
import sys

import pytest

from model_code.errors import ConfigError, PipelineStop
from pipeline import local_runner, summary


def _push(serving_dir, version, **card):
    folder = serving_dir / str(version)
    (folder / 'assets.extra').mkdir(parents=True)
    (folder / 'saved_model.pb').write_bytes(b'x')
    (folder / 'assets.extra' / 'model_card.json').write_text(json.dumps(card))


class TestBaseline:
    def test_nothing_served(self, tmp_path):
        assert local_runner.baseline(tmp_path / 'serving', 'k') == ('', None)

    def test_another_run_served(self, tmp_path):
        _push(tmp_path, 1, run_key='k0', push_nonce='n0', baseline_version='')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', None)

    def test_an_equal_run_served_repeats_its_properties(self, tmp_path):
        _push(tmp_path, 1, run_key='k0', push_nonce='n0', baseline_version='')
        assert local_runner.baseline(tmp_path, 'k0') == ('', 'n0')
        _push(tmp_path, 10, run_key='k1', push_nonce='n1', baseline_version='1')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', 'n1')

    def test_an_older_equal_run_does_not_count(self, tmp_path):
        _push(tmp_path, 1, run_key='k0', push_nonce='n0', baseline_version='')
        _push(tmp_path, 2, run_key='k1', push_nonce='n1', baseline_version='1')
        assert local_runner.baseline(tmp_path, 'k0') == ('2', None)

    def test_a_baseline_that_is_gone_is_not_asked_for(self, tmp_path):
        _push(tmp_path, 2, run_key='k1', push_nonce='n1', baseline_version='1')
        assert local_runner.baseline(tmp_path, 'k1') == ('2', None)

    def test_an_unreadable_card(self, tmp_path):
        _push(tmp_path, 1)
        (tmp_path / '1' / 'assets.extra' / 'model_card.json').write_text('{')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', None)


class TestStopSentence:
    def test_in_the_chain(self):
        try:
            try:
                raise PipelineStop('Too many files.')
            except PipelineStop as error:
                raise RuntimeError('beam') from error
        except RuntimeError as error:
            assert local_runner.stop_sentence(error) == 'Too many files.'

    def test_with_beams_step(self):
        error = PipelineStop("Too many files. [while running 'Run[X]']")
        assert local_runner.stop_sentence(error) == 'Too many files.'

    def test_as_text_of_a_worker(self):
        text = ('Traceback (most recent call last):\n  File "x.py", line 3, in f\n    raise PipelineStop(text)\n'
                "model_code.errors.PipelineStop: Ten files:\n  a.png\n  b.png [while running 'Check']\n\n"
                'During handling of the above exception, another exception occurred:\nmore')
        assert local_runner.stop_sentence(RuntimeError(text)) == 'Ten files:\n  a.png\n  b.png'

    def test_another_error_has_none(self):
        assert local_runner.stop_sentence(ValueError('no')) is None


class TestScreen:
    def test_lines(self):
        file = io.StringIO()
        screen = local_runner.Screen(file)
        screen.set_total(2)
        screen.start('Transform_digits')
        screen.finish('1.0 s')
        screen.start('CoTrainer')
        screen.print('step 10')
        screen.finish('2.0 s')
        screen.close()
        lines = file.getvalue().splitlines()
        assert lines[0].startswith('[ 1/2] Transform       digits') and lines[0].endswith('1.0 s')
        assert lines[1].startswith('[ 2/2] CoTrainer') and lines[2] == 'step 10' and lines[3].endswith('2.0 s')

    def test_signs_of_life(self, monkeypatch):
        monkeypatch.setattr(local_runner.Screen, 'QUIET_SECONDS', 0)
        file = io.StringIO()
        screen = local_runner.Screen(file)
        screen.set_total(1)
        screen.start('CoTrainer')
        for _ in range(100):
            if 'still running' in file.getvalue():
                break
            screen._end.wait(0.05)
        screen.close()
        assert 'still running' in file.getvalue()

    def test_brackets_are_no_markup(self):
        file = io.StringIO()
        screen = local_runner.Screen(file)
        screen.print('[red]x[/red] :smile:')
        screen.close()
        assert file.getvalue() == '[red]x[/red] :smile:\n'


def test_quiet_takes_native_writes_to_the_log(tmp_path):
    code = ('import os, sys, pathlib, logging\nfrom pipeline import local_runner\n'
            'with local_runner.quiet(pathlib.Path(sys.argv[1])) as screen:\n'
            '    os.write(1, b"native out\\n"); os.write(2, b"native err\\n"); print("python out")\n'
            '    logging.getLogger("absl").info("framework"); print("for people", file=screen)\n'
            'print("after")\n')
    log = tmp_path / 'logs' / 'run.log'
    done = subprocess.run([sys.executable, '-c', code, str(log)], capture_output=True, text=True, timeout=60)
    assert done.stdout == 'for people\nafter\n' and done.stderr == ''
    text = log.read_text()
    assert all(words in text for words in ('native out', 'native err', 'python out', 'framework'))


def test_one_run_at_a_time(tmp_path):
    with local_runner._one_run_at_a_time(tmp_path):
        with pytest.raises(ConfigError, match='Another run'):
            with local_runner._one_run_at_a_time(tmp_path):
                pass
    with local_runner._one_run_at_a_time(tmp_path):
        pass


DECISION = {
    'blessed': False, 'reasons': ['Task digits: accuracy is 0.5, below its floor of 0.7.'],
    'tasks': [{'name': 'digits', 'modality': 'image', 'metrics': {'accuracy': 0.5, 'loss': 1.25, 'example_count': 100},
               'baseline_metrics': {'accuracy': 0.75, 'loss': 1.0}, 'primary_metric': 'accuracy', 'floor': 0.7,
               'max_drop': 0.1, 'value': 0.5, 'change': -0.25, 'blessed': False, 'reason': 'below'}],
    'infra': {'blessed': True, 'reasons': []}}


def test_summary_of_a_refusal():
    row = summary.task_rows(DECISION)[1]
    assert row.split() == ['digits', 'accuracy', '0.500,', 'loss', '1.250', '0.700', '0.750', '-0.250', 'refused']
    lines = summary.decision_lines(DECISION, '3', pushed_now=False)
    assert 'refused' in lines[0] and 'below its floor' in lines[1] and 'Version 3 stays' in lines[2]


def test_summary_without_a_baseline():
    task = {**DECISION['tasks'][0], 'baseline_metrics': None, 'change': None, 'blessed': True}
    row = summary.task_rows({**DECISION, 'tasks': [task]})[1]
    assert row.split()[-3:] == ['-', '-', 'passed']


def test_summary_says_that_nothing_changed():
    assert 'Nothing changed' in summary.decision_lines({**DECISION, 'blessed': True}, '3', pushed_now=False)[0]
