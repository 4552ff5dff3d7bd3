"""The report's part on evaluations, the budget of a page's bytes, and the policy that lets only its own script run."""

import base64
import hashlib
import io
import re

import numpy as np
import pytest
from PIL import Image

from components.report import confusion, evaluation, pictures, training
from components.report.evaluation import Limits
from components.report.render import PAGE_BYTES, Evaluated, render
from tests.components import report_pages
from tests.components.test_report import HOSTILE, text_of

TASK = report_pages.task_entry('digits', 'image')


def page_of(results: dict, **decided) -> str:
    return render(report_pages.decision([TASK], **decided), {}, {}, [], evaluations={'digits': Evaluated(results, {})})


def test_a_task_has_its_metric_with_interval_its_change_with_interval_and_its_outcome():
    text = text_of(page_of(report_pages.evaluation(10)))
    for shown in ('0.912 0.887 to 0.937', '0.900 v3', '+0.012 −0.018 to +0.042', 'passed not worse',
                  '2,000 examples in 250 groups', 'Intervals are of 95%, from 2,000 resamples of the groups, in',
                  'top-5 accuracy0.9830.958 to 1.0080.980+0.003−0.027 to +0.033', 'cameracam 4',
                  'too small to judge', 'Expected calibration error: 0.034.', 'The most confident mistakes',
                  'wrong/0class 000, the model says class 009 99%', 'right/0class 000 30%'):
        assert shown in text, shown


def test_the_representation_alone_is_a_table_beside_the_head():
    results = report_pages.evaluation(10)
    text = text_of(page_of(results))
    for shown in ('The representation alone', 'on 2,000 examples of the eval split.',
                  'the eval examples, as above. 3 of 10 classes have fewer than 5 train examples.',
                  'linear probe1,000 of 5,000 examples0.8770.852 to 0.902', '5-shot5 of each class, drawn 1 time0.500',
                  'the headthe whole training0.9120.887 to 0.937'):
        assert shown in text, shown
    results['probe']['few_shot'][0] |= {'low': 0.5, 'high': 0.5, 'values': [0.5, 0.5]}
    assert 'drawn 2 times0.5000.500 to 0.500 over draws' in text_of(page_of(results))
    results['probe'] |= {'linear': None, 'few_shot': []}
    assert 'linear probe' not in text_of(page_of(results))
    del results['probe']
    assert 'The representation alone' not in text_of(page_of(results))


def test_a_hit_that_is_nearly_sure_is_not_said_to_be_sure():
    results = report_pages.evaluation(10)
    results['hits'][0] |= {'confidence': 0.9996}
    assert 'right/0class 000 over 99%' in text_of(page_of(results))


def test_a_forced_model_is_named_first_and_in_red():
    refused = TASK | {'blessed': False}
    page = render(report_pages.decision([refused], forced='a demo on Friday ' + HOSTILE), {}, {}, [])
    assert '<p class="forced">' in page and 'class="verdict bad"' in page and HOSTILE not in page
    assert text_of(page).index('a demo on Friday') < text_of(page).index('It was pushed by force.')
    assert 'class="forced"' not in page_of({})


def test_what_an_evaluation_lacks_has_no_frame():
    bare = {'version': 1, 'slices': [], 'classes': [], 'confusion': [], 'reliability': [], 'curves': [],
            'mistakes': [], 'hits': []}
    for results in (bare, {'version': 1}):
        page = page_of(results)
        for title in ('Confusion', 'Classes', 'Slices', 'Reliability', 'mistakes'):
            assert title not in text_of(page)
    assert '<h2>Evaluation</h2>' not in page_of({})


def test_values_that_could_not_be_measured_are_dashes():
    results = report_pages.evaluation(3)
    results['slices'][0]['metrics'] = {'accuracy': dict.fromkeys(report_pages.metric(1, 1))}
    results['classes'] = [{'label': 'a', 'group': '', 'examples': 0, 'f1': None}]
    results['reliability'] = [{'low': 0, 'high': 1, 'count': 0, 'confidence': None, 'accuracy': None}]
    text = text_of(page_of(results))
    assert 'accuracy–––' in text and 'a0–' in text and 'Reliability' not in text


def test_hostile_texts_of_an_evaluation_are_escaped():
    results = report_pages.evaluation(3)
    results['classes'][0] |= {'label': HOSTILE, 'group': HOSTILE}
    results['confusion'][0] |= {'labels': [HOSTILE] * 3, 'group': HOSTILE}
    results['curves'][0]['name'] = results['slices'][1]['value'] = results['slices'][1]['feature'] = HOSTILE
    results['mistakes'][0] |= dict.fromkeys(('id', 'label', 'predicted'), HOSTILE)
    page = page_of(results)
    assert HOSTILE not in page and text_of(page).count(HOSTILE) >= 10


@pytest.mark.parametrize('classes, table', [(2, True), (10, True), (20, True), (21, False), (400, False)])
def test_a_confusion_matrix_is_a_table_of_few_classes_and_a_map_with_pairs_of_many(classes, table):
    found = confusion.section(report_pages.evaluation(classes)['confusion'][0], 20)
    assert bool(found['rows']) == table == (not found['map']) and (found['pairs'] == []) == table
    page = page_of(report_pages.evaluation(classes))
    assert page.count('<td class="k') == (classes ** 2 if table else 0)
    # In a dark scheme the stronger colour of the table is brighter; the map is a picture, the same in both schemes.
    assert ('The stronger the colour' in page) == table == ('Darker' not in page)


def test_the_table_counts_and_the_pairs_are_those_most_often_confused():
    found = confusion.section({'group': '', 'labels': ['a', 'b'], 'counts': [[0, 0, 6], [0, 1, 2], [1, 1, 5]]}, 20)
    assert found['rows'] == [{'label': 'a', 'cells': [(6, 'k4 right'), (2, 'k2')]},
                             {'label': 'b', 'cells': [(0, 'k0'), (5, 'k5 right')]}]
    counts = [[3, 4, 1], [2, 2, 9], [7, 0, 5], [7, 7, 15]]
    found = confusion.section({'group': '', 'labels': [f'l{i}' for i in range(30)], 'counts': counts}, 1)
    assert found['pairs'] == [{'label': 'l7', 'predicted': 'l0', 'count': 5, 'share': '25%'}]
    assert found['more_pairs'] == 1


def test_a_heat_map_has_the_diagonal_darkest_and_bounded_pixels():
    counts = [[i, i, 3] for i in range(1000)] + [[999, 0, 1]]
    html = confusion.section({'group': '', 'labels': ['x'] * 1000, 'counts': counts}, 5)['map']
    encoded = base64.b64decode(re.search('base64,([^"]+)', html)[1])
    image = np.asarray(Image.open(io.BytesIO(encoded)))
    assert image.shape == (confusion.MAP_SIDE,) * 2 and (np.diag(image) > 200).all()
    assert 0 < image[-1, 0] < image[-1, -1] and image[0, -1] == 0


def test_classes_are_shown_worst_first_and_as_many_as_fit():
    classes = [{'label': name, 'group': '', 'examples': 5, 'f1': value}
               for name, value in (('fine', 0.9), ('none', None), ('bad', 0.1))]
    found = evaluation.section(TASK, {'classes': classes}, {}, Limits(), 10_000)['classes']
    assert [row['label'] for row in found['rows']] == ['bad', 'fine', 'none'] and found['columns'] == ['F1']
    found = evaluation.section(TASK, {'classes': classes}, {}, Limits(), 150)['classes']
    assert [row['label'] for row in found['rows']] == ['bad'] and found['more'] == 2


def test_the_policy_has_the_hashes_of_the_only_style_and_the_only_script():
    page = report_pages.page()
    policy = re.search('Content-Security-Policy" content="([^"]+)"', page)[1]
    for tag, directive in (('style', 'style-src'), ('script', 'script-src')):
        found = re.findall(f'<{tag}>(.*?)</{tag}>', page, re.DOTALL)
        assert len(found) == 1
        digest = base64.b64encode(hashlib.sha256(found[0].encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy and 'unsafe' not in policy and ' style="' not in page


def large_page(tasks: int, classes: int, **values) -> str:
    modalities = [tuple(report_pages.MEDIA)[i % 3] for i in range(tasks)]
    return report_pages.page(modalities, [classes] * tasks, **values)


def test_30_tasks_of_400_classes_have_5_megabytes_and_say_what_is_left_out():
    page = large_page(30, 400)
    size = len(page.encode())
    assert 4_000_000 < size <= PAGE_BYTES == 5_000_000, 'the budget holds, and is used for media'
    left_out = int(re.search(r'this page small, ([\d,]+) pictures or sounds', text_of(page))[1].replace(',', ''))
    assert page.count('<span class="media') + left_out == 30 * 40
    assert page.count('<li><span class="media') >= 60, 'every list has its first ones'


def test_lists_and_curves_are_shortened_where_numbers_alone_are_too_many():
    whole, short = (large_page(6, 100, page_bytes=most) for most in (PAGE_BYTES, 300_000))
    assert len(short.encode()) <= 300_000 and short.count('<tr>') < whole.count('<tr>')


class TestPictures:
    @staticmethod
    def _pictures(count):
        return [pictures.Picture('image', report_pages.MEDIA['image'], f'{i}', 0) for i in range(count)]

    def test_all_are_drawn_where_they_fit(self):
        some = self._pictures(3)
        assert pictures.draw([some], 1 << 20) == 0 and all(picture.__html__() for picture in some)

    def test_ends_of_lists_are_left_out_and_the_budget_holds(self):
        lists = [self._pictures(2), self._pictures(5)]
        size = lists[0][0].draw(1 << 20)
        assert pictures.draw(lists, 4 * size + size // 2) == 3
        assert [[bool(picture.__html__()) for picture in some] for some in lists] == [
            [True, True], [True, True, False, False, False]]

    def test_without_features_there_is_nothing_to_draw(self):
        picture = pictures.Picture('image', None, '', 0)
        assert pictures.draw([[picture]], 0) == 0 and picture.__html__() == ''


def test_the_page_says_what_made_the_model_and_what_was_timed():
    card = {'config_digest': 'c0ffee', 'code_version': HOSTILE, 'media_fingerprints': {'digits': 'abc123'},
            'versions': {'tensorflow': '2.15.1'}}
    page = render(report_pages.decision([TASK]), report_pages.history(['digits']), card, [],
                  evaluations={'digits': Evaluated(report_pages.evaluation(3), {})})
    text = text_of(page)
    assert (f'Configc0ffeeCode{HOSTILE}Media of digitsabc123tensorflow2.15.1Compared withversion 3' in text
            and 'Intervals are of 95%, from 2,000 resamples of the groups, in 1.5 seconds.' in text
            and HOSTILE not in page)
    bare = text_of(render(report_pages.decision([TASK], baseline_version=''), {}, {}, []))
    assert 'Where it comes from' not in bare


def test_the_schedule_shows_the_shares_of_steps_as_they_ran():
    chart = training.schedule(list(enumerate(['a'] * 60 + ['a', 'b'] * 30)), ['a', 'b'], {'a': 'c0', 'b': 'c1'})
    assert chart.count('part0 c0') == 60 and chart.count('part0 c1') == 30
    assert training.schedule([(i, 'all') for i in range(5)], ['a', 'b'], {}) == ''
