"""`polyvit doctor --beam`: what is said of workers that are as they should be, and of others."""

import json

import pytest

from pipeline import cli
from pipeline.beam import trial
from pipeline.doctor_checks import OK, PROBLEM, WARNING

CONFIG = '''
from polyvit import Beam, Data, Mixture, ModelConfig, PipelineConfig, Recipe, Task

def get_config():
    return PipelineConfig('x', Mixture((Task('digits', 'image', data=Data({media!r}), recipe=Recipe(1, 1)),)),
                          ModelConfig(1, 16, 2, 32), root={root!r}, beam={beam})
'''


def facts(**changed):
    return list({'host': 'w1', **trial._versions(), **changed}.items())


def states(findings):
    return {finding.name: finding.state for finding in findings}


def test_equal_workers():
    found = trial.judge(facts(), True, '/runs')
    assert states(found) == {'workers': OK, 'packages': OK, 'root': OK} and 'w1' in found[0].text
    assert not any(finding.fix for finding in found)


@pytest.mark.parametrize('changed, name, words', [
    ({'tensorflow': '2.1', 'Python': '3.8'}, 'packages', ['Python 3.8 (here: ', 'tensorflow 2.1 (here: ']),
    ({'code': 'another'}, 'packages', ['other code of this project']),
    ({'unseen': '/media/digits'}, 'media', ['do not see /media/digits'])])
def test_other_workers(changed, name, words):
    found = {finding.name: finding for finding in trial.judge(facts(**changed), True, '/runs')}
    assert found[name].state == PROBLEM and all(word in found[name].text for word in words) and found[name].fix


def test_a_root_that_is_not_shared():
    for answer, word in (({}, 'another folder of this name'), ({'root': "FileNotFoundError: '/runs'"}, 'FileNotFound')):
        found = {finding.name: finding for finding in trial.judge(facts(**answer), False, '/runs')}
        assert found['root'].state == PROBLEM and word in found['root'].text


def test_a_runner_without_counters():
    assert states(trial.judge([], True, '/runs')) == {'workers': WARNING}


def test_the_command(tmp_path, capsys):
    (tmp_path / 'media').mkdir()
    config = tmp_path / 'mine.py'

    def doctor(beam):
        config.write_text(CONFIG.format(media=str(tmp_path / 'media'), root=str(tmp_path / 'root'), beam=beam))
        code = cli.main(['doctor', '--json', '--beam', str(config)])
        return code, {found['name']: found for found in json.loads(capsys.readouterr().out)['checks']}

    code, found = doctor('Beam()')
    assert code == 0 and {name: finding['state'] for name, finding in found.items()} == {
        'workers': OK, 'packages': OK, 'root': OK}
    assert sorted(path.name for path in tmp_path.iterdir()) == ['media', 'mine.py']
    code, found = doctor("Beam('portable', endpoint='localhost:1', image='i')")
    assert code == 1 and 'nothing answers at localhost:1' in found['endpoint']['text']


def test_options_that_dataflow_rejects():
    error = ValueError('Pipeline has validations errors: \nInvalid GCS path (b), given for the option: temp_location.')
    assert trial._why(error) == ('Beam rejects options of the config: Invalid GCS path (b), given for the option: '
                                 'temp_location.')


def test_no_credentials_for_dataflow(tmp_path, monkeypatch, capsys):
    for name in ('HOME', 'CLOUDSDK_CONFIG'):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv('NO_GCE_CHECK', 'true')
    monkeypatch.delenv('GOOGLE_APPLICATION_CREDENTIALS', raising=False)
    config = tmp_path / 'mine.py'
    beam = "Beam('dataflow', image='i', options=('--project=p', '--region=r', '--temp_location=gs://b/t'))"
    config.write_text(CONFIG.format(media=str(tmp_path), root=str(tmp_path / 'root'), beam=beam))
    assert cli.main(['doctor', '--beam', str(config)]) == 1
    assert 'no credentials for Dataflow' in ' '.join(capsys.readouterr().out.split())


def test_an_element_that_takes_too_long(tmp_path, monkeypatch):
    monkeypatch.setattr(trial, 'SECONDS', 0.5)
    from pipeline.config import load_config
    found, = trial.findings('demo', load_config('demo'))
    assert found.state == PROBLEM and 'no worker did one element within 0.5 seconds' in found.text and found.fix
