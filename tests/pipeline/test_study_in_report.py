"""Studies as sections of a run's report: what `polyvit report` writes, and how a browser shows it."""

import json
import pathlib
import types

import pytest

from components.report import executor
from model_code import bootstrap
from pipeline import cli, roots, run_record
from pipeline.beam.settings import Beam
from pipeline.study import in_report
from tests import browser, testing
from tests.components import report_pages
from tests.components.test_report import HOSTILE, text_of
from tests.pipeline.test_study import study_of
from tests.pipeline.test_summary import DECISION


@pytest.fixture(scope='module')
def study():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bootstrap, 'RESAMPLES', 400)
        return study_of()


def keep(root: pathlib.Path, study: dict, changes=()):
    """Writes what `polyvit study` does."""
    page = roots.study_page(root, changes)
    testing.write(page.parent, page.name, 'x')
    testing.write(page.parent, f'{page.stem}.json', json.dumps(study))


def ended_run(root: pathlib.Path) -> run_record.Record:
    config = types.SimpleNamespace(name='studied', run_root=root, overrides=(), beam=Beam())
    report = executor.write(report_pages.page(classes=(3, 3, 3), listed=1), str(root / 'pipeline/Report'))
    trained = run_record.NodeRecord(False, 60.0, {'model_run': ['9']})
    return run_record.end(config, run_record.start(config, 'key'), 3, 74.0, report=report, decision=DECISION,
                          components={'CoTrainer': trained})


def test_the_last_report_has_a_section_for_each_study(tmp_path, study, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / 'runs/mine'
    record = ended_run(root)
    assert cli.main(['report']) == 0 and 'report  runs/mine/pipeline/Report/report.html' in capsys.readouterr().out
    assert not roots.study_dir(root).exists()
    keep(root, study | {'written': '2026-11-27 17:18 UTC', 'run': record.id})
    keep(root, study | {'changes': ['model.dropout=0.1'], 'written': '2026-11-28 01:02 UTC', 'run': '20250101-010203'},
         ('model.dropout=0.1',))
    assert cli.main(['report']) == 0
    printed = capsys.readouterr().out
    assert 'report  runs/mine/study/report.html' in printed and 'study   runs/mine/study/study.html' in printed
    own, text = (text_of(pathlib.Path(path).read_text('utf-8')) for path in (record.report, root / 'study/report.html'))
    before, _, rest = text.partition('Study: does training together pay?')
    first, _, rest = rest.partition('Study: does the change pay?')
    second, _, after = rest.partition('Data')
    assert own.startswith(before) and own.endswith(after) and len(before) + len(after) > 0.9 * len(own)
    assert 'A study of config studied, with trainings of its own' in first
    assert f'Written 2026-11-27 17:18 UTC, when the newest run was {record.id}, that of this page.' in first
    assert study['conclusion'] in first and study['tasks'][0]['sentence'] in first and 'frozen encoder' in first
    assert f'when the newest run was 20250101-010203; this page is of run {record.id}.' in second
    assert 'model.dropout=0.1' in second and "With other values than the config's" not in text


def test_a_study_of_an_older_release_says_what_it_lacks(tmp_path, study):
    record = ended_run(tmp_path)
    keep(tmp_path, {name: value for name, value in study.items() if name not in ('changes', 'settings')})
    text = text_of(pathlib.Path(in_report.write(record)).read_text('utf-8'))
    assert f'An older release wrote it, without its date and its run; this page is of run {record.id}.' in text


def test_what_keeps_a_section_out_hides_no_report(tmp_path, study, capsys, monkeypatch):
    record = ended_run(tmp_path)
    keep(tmp_path, study)
    testing.write(tmp_path, 'study/study.json', '{"version": 1, "tas')
    assert in_report.write(record) == record.report and 'study.json' in capsys.readouterr().err
    keep(tmp_path, study | {'version': 99})
    assert in_report.write(record) == record.report
    keep(tmp_path, study)
    (tmp_path / 'study/report.html').mkdir()  # in the way of the page
    assert in_report.write(record) == record.report and 'cannot be written' in capsys.readouterr().err
    pathlib.Path(record.report).unlink()
    assert in_report.write(record) == record.report, 'after `polyvit clean`'


def test_hostile_texts_are_escaped(tmp_path, study):
    keep(tmp_path, study | {'config': HOSTILE, 'written': HOSTILE, 'run': HOSTILE, 'conclusion': HOSTILE,
                            'tasks': [study['tasks'][0] | {'sentence': HOSTILE, 'task': HOSTILE}]})
    page = pathlib.Path(in_report.write(ended_run(tmp_path))).read_text('utf-8')
    assert HOSTILE not in page and text_of(page).count(HOSTILE) >= 5


@browser.needs_chromium
@pytest.mark.parametrize('width, scheme', [(1280, 'light'), (390, 'dark')])
def test_in_a_browser(tmp_path, study, width, scheme):
    keep(tmp_path, study)
    path = pathlib.Path(in_report.write(ended_run(tmp_path)))
    with browser.opened(tmp_path / 'profile') as page:
        page.open(path, width=width, scheme=scheme)
        assert page.value("document.querySelectorAll('.arms svg').length") == len(study['tasks'])
        assert page.value("getComputedStyle(document.querySelector('.arms')).display") == 'grid'
        assert page.value('document.documentElement.scrollWidth') == width
        assert page.problems == [] and page.violations(browser.axe()) == {}
