"""Cost, the gate's judgements and the model card in the report."""

import dataclasses
import json

from tfx.types import standard_artifacts

from components import costs
from components.costs import Cost
from components.report import cost, judgements, training
from components.report.render import render
from model_code.flops import CORE_RATE, Accelerators
from model_code.tasks import Mixture
from pipeline import plan
from pipeline.config import load_config
from pipeline.machine import Machine
from tests.components import report_pages
from tests.components.test_report import HOSTILE, text_of


def _artifact(found: Cost | None):
    artifact = standard_artifacts.Model()
    if found:
        artifact.set_string_custom_property(costs.PROPERTY, found.to_json())
    return artifact


class TestKnown:
    def test_what_inputs_keep_and_what_the_runner_told(self):
        trained, read, old = (Cost('CoTrainer', 9.0, 12.5, 10), Cost('Transform-a', 2.0, 1.0, 7),
                              Cost('Old', 3.0, 1.0, 5))
        inputs = {'model': [_artifact(trained)], 'run': [_artifact(trained)], 'blessing': [_artifact(None)],
                  'rejected_a': [_artifact(read)]}
        assert costs.known(inputs) == [(trained, False), (read, False)]
        quick = dataclasses.replace(trained, seconds=1.0)
        with costs.of_one_run():
            costs.tell(old, cached=True)
            costs.tell(quick, cached=True)
            assert costs.known(inputs) == [(old, True), (read, False), (quick, True)] and costs.whole()
        assert costs.known({}) == [] and not costs.whole()


class TestComponents:
    def test_rows_and_totals(self):
        found = cost.components(report_pages.costs(['pets']))
        assert [(row['component'], row['task'], row['seconds'], row['cpu'], row['cores'], row['memory'], row['earlier'])
                for row in found['rows']] == [
            ('CoTrainer', '', '75.5', '140.2', '1.9', '2,100', False),
            ('TaskEvaluator', 'pets', '12.5', '20.0', '1.6', '1,900', False),
            ('MediaExampleGen', 'pets', '3.0', '5.0', '1.7', '1,500', True)]
        assert found['text'] == (
            '2 components of this run took 1 minute and 28 seconds, and 2 minutes and 40 seconds of processor time. '
            'CoTrainer had the most memory, 2.1 GB. 1 component came from the cache: the table has what an earlier run '
            'took. ')

    def test_a_step_of_a_cluster_has_its_component_and_its_task(self):
        row, = cost.components([(Cost('Transform-my_pets', 0.0, 0.0, 5), False)])['rows']
        assert (row['component'], row['task'], row['cores']) == ('Transform', 'my_pets', '–')

    def test_a_table_that_lacks_components_says_so(self):
        for whole in (True, False):
            page = render(report_pages.decision([report_pages.task_entry('a', 'image')]), {}, {}, [], cost={
                'components': cost.components(report_pages.costs(['a']), whole), 'elsewhere': []})
            assert ('Some components are missing: this run was on a cluster' in text_of(page)) != whole

    def test_nothing_measured(self):
        assert cost.components([]) is None
        page = render(report_pages.decision([report_pages.task_entry('a', 'image')]), {}, {}, [])
        assert '<h2>Cost</h2>' not in page


class TestElsewhere:
    CONFIG = load_config('demo')
    TASKS = CONFIG.mixture.tasks
    CARD = {'model': json.loads(json.dumps(dataclasses.asdict(CONFIG.model))),
            'tasks': [{'name': task.name, 'classes': ['x'] * 7} for task in TASKS],
            'trained': {'processor': 'Some CPU', 'cores': 3, 'accelerators': []}}

    def _history(self, **values):
        steps = [task.name for task in self.TASKS for _ in range(task.recipe.steps)]
        return {'steps': [{'task': name} for name in steps], 'seconds': 50.0, 'total_steps': len(steps), **values}

    def _plan(self):
        tasks = tuple(dataclasses.replace(task, data=dataclasses.replace(task.data, num_classes=7))
                      for task in self.TASKS)
        config = dataclasses.replace(self.CONFIG, mixture=dataclasses.replace(self.CONFIG.mixture, tasks=tasks))
        return plan.make_plan(config, machine=Machine('Some CPU', 3, 1, (), 3 * CORE_RATE, False))

    def test_the_times_are_those_of_the_plan(self, monkeypatch):
        monkeypatch.setattr(cost.words, 'duration', lambda seconds: f'{seconds:.6g}')
        made = self._plan()
        rows = cost.elsewhere(self.CARD, self._history(), self.CONFIG.mixture)
        assert [row['time'] for row in rows] == [
            '50', f'{3600 * made.hours_cpu:.6g}', f'{made.total_flops / Accelerators().rate:.6g}']
        assert [row['where'] for row in rows] == ['This run', '3 cores of a usual CPU', '1 accelerator']
        assert '3 cores of Some CPU' in rows[0]['assumed'] and '35%' in rows[2]['assumed']

    def test_a_run_on_an_accelerator_is_not_set_beside_its_cores(self):
        card = {**self.CARD, 'trained': {**self.CARD['trained'], 'accelerators': ['A100', 'A100']}}
        rows = cost.elsewhere(card, self._history(), self.CONFIG.mixture)
        assert [row['where'] for row in rows] == ['This run', '1 accelerator']
        assert 'Measured on A100 and A100' in rows[0]['assumed']

    def test_without_a_figure_there_is_nothing(self):
        for card, history in (({}, self._history()), (self.CARD, {}), (self.CARD, self._history(seconds=None))):
            assert cost.elsewhere(card, history, self.CONFIG.mixture) == []

    def test_steps_of_a_training_that_ended_early_and_of_all_tasks_at_once(self):
        half = self._history(exported={'trained_steps': self._history()['total_steps'] // 2})
        assert cost.trained_steps(half, self.CONFIG.mixture) == {task.name: task.recipe.steps // 2
                                                                 for task in self.TASKS}
        together = {'steps': [{'task': 'all'}] * 3, 'total_steps': 30}
        assert cost.trained_steps(together, Mixture(self.TASKS)) == dict.fromkeys((t.name for t in self.TASKS), 30)


def test_speeds_are_of_the_steps_that_were_timed():
    speeds = [{'step': 5, 'task': 'a', 'examples': 64, 'seconds': 2.0}, {'step': 7, 'task': 'b', 'examples': 10,
              'seconds': 1.0}, {'step': 9, 'task': 'a', 'examples': 32, 'seconds': 1.0}]
    found = training.section({'speeds': speeds}, ['a', 'b', 'c'], {'a': 'c0', 'b': 'c1', 'c': 'c2'}, 300)
    assert found['speed'] == {'a': '32', 'b': '10', 'all together': '26.5'}
    assert found['speeds'].count('<polyline') == 4 and 'Examples a second' in found['speeds']
    assert training.section({}, ['a'], {'a': 'c0'}, 300)['speeds'] == ''


def test_one_towering_norm_is_cut_and_named():
    steps = [{'step': i, 'task': 'a', 'loss': 1.0, 'learning_rate': 0.1, 'gradient_norm': 500.0 if i == 3 else 1.0}
             for i in range(100)]
    found = training.section({'steps': steps}, ['a'], {'a': 'c0'}, 300)
    assert found['largest'] == '500, peaks are cut'
    assert '>2</text>' in found['norms'] and '>500</text>' not in found['norms']
    even = training.section({'steps': steps[4:]}, ['a'], {'a': 'c0'}, 300)
    assert even['largest'] == '1'


class TestJudgements:
    def test_those_that_reject_come_first_and_the_rest_is_counted(self):
        rows = [report_pages.judgement('floor', f't{i}') for i in range(judgements.ROWS)]
        bad = report_pages.judgement('baseline', 'pets', rejects=True, outcome='not_measured', metric=None,
                                     value=None, low=None, high=None, bound=None, limit=None, examples=None,
                                     sentence='pets: version 3 does not load.')
        found = judgements.section({'judgements': [*rows, bad]})
        assert len(found['rows']) == judgements.ROWS and found['more'] == 1
        assert found['rows'][0] == {
            'check': 'served model', 'task': 'pets', 'slice': '', 'metric': '', 'examples': '–', 'value': '–',
            'interval': '', 'bound': '–', 'limit': '–', 'outcome': 'not measured', 'rejects': True,
            'sentence': 'pets: version 3 does not load.'}

    def test_a_change_has_signs_and_its_slice(self):
        row = judgements.section({'judgements': report_pages.judgements(['pets'])})['rows'][2]
        assert (row['slice'], row['value'], row['interval'], row['bound'], row['limit'], row['outcome']) == (
            'camera: cam 0', '+0.012', '−0.018 to +0.042', '−0.013', '−0.020', 'not worse')

    def test_the_page_has_them_escaped_and_an_old_decision_has_none(self):
        task = report_pages.task_entry('pets', 'image')
        hostile = report_pages.judgement('change', HOSTILE, slice={'feature': HOSTILE, 'value': HOSTILE}, metric=None,
                                         sentence=HOSTILE)
        page = render(report_pages.decision([task], judgements=[hostile]), {}, {}, [])
        assert HOSTILE not in page and text_of(page).count(HOSTILE) == 4
        assert 'What the gate looked at' not in render(report_pages.decision([task], judgements=[]), {}, {}, [])


def test_the_model_card_says_what_it_is_for_and_whose_the_data_are():
    about = {**report_pages.ABOUT, 'limits': HOSTILE}
    page = render(report_pages.decision([report_pages.task_entry('pets', 'image')]), {}, {}, [], about=about)
    text = text_of(page)
    assert f'Intended useTo look at.Limits{HOSTILE}' in text and HOSTILE not in page
    assert 'petsPetsCC BY 4.0https://example.org/pets 50 train, 10 eval1 of 61 files' in text
    assert 'ownnot statednot statednot stated 5 eval0 of 5 files' in text
