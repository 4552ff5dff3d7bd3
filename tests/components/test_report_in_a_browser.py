"""The report in headless Chromium: nothing fails, tables sort, charts are drawn, media play, nobody is locked out."""

import pathlib

import pytest

from components.report import executor
from tests import browser
from tests.components import report_pages

pytestmark = browser.needs_chromium

CLASS_TABLE = "document.querySelector('table.classes')"


@pytest.fixture(scope='module')
def path(tmp_path_factory):
    return pathlib.Path(executor.write(report_pages.page(), str(tmp_path_factory.mktemp('report'))))


@pytest.fixture(scope='module')
def chromium(tmp_path_factory):
    with browser.opened(tmp_path_factory.mktemp('profile')) as page:
        yield page


@pytest.fixture
def page(chromium, path):
    """The report, open. What it logs as an error, and what its policy forbids, fails the test."""
    chromium.problems.clear()
    chromium.open(path)
    yield chromium
    chromium.value('0')  # what was said until now
    assert chromium.problems == []


def test_what_the_policy_forbids_is_noticed(chromium, path, tmp_path):
    broken = tmp_path / 'broken.html'
    broken.write_text(path.read_text('utf-8').replace('<main>', '<main><script>document.title = "x"</script>'), 'utf-8')
    chromium.open(broken)
    assert chromium.value('document.title').startswith('Accepted')
    assert any('Content Security Policy' in problem for problem in chromium.problems)


def _column(page, table: str, column: int) -> list[str]:
    return page.value(f'[...{table}.tBodies[0].rows].map(row => row.cells[{column}].textContent)')


def test_tables_sort_on_a_click(page):
    page.value(f"{CLASS_TABLE}.querySelectorAll('th button')[0].click()")
    names = _column(page, CLASS_TABLE, 0)
    assert names == sorted(names) and len(names) == 10
    page.value(f"{CLASS_TABLE}.querySelectorAll('th button')[2].click()")
    values = list(map(float, _column(page, CLASS_TABLE, 2)))
    assert values == sorted(values) != sorted(values, reverse=True)
    page.value(f"{CLASS_TABLE}.querySelectorAll('th button')[2].click()")
    assert list(map(float, _column(page, CLASS_TABLE, 2))) == sorted(values, reverse=True)
    assert page.value(f"[...{CLASS_TABLE}.querySelectorAll('th')].map(th => th.getAttribute('aria-sort'))") == [
        None, None, 'descending', None, None, None]


def test_tables_sort_on_the_keyboard(page):
    page.value(f"{CLASS_TABLE}.querySelectorAll('th button')[0].focus()")
    page.press('Tab', 9)
    page.press('Tab', 9)
    page.press('Enter', 13, '\r')
    assert page.value('document.activeElement.textContent') == 'precision'
    values = list(map(float, _column(page, CLASS_TABLE, 2)))
    assert values == sorted(values)


def test_signs_and_dashes_sort_as_numbers(page):
    slices = "document.querySelector('[aria-label^=Slices] table')"
    page.value(f"{slices}.tBodies[0].rows[0].cells[7].textContent = '–'")
    for direction in (1, -1):
        page.value(f"{slices}.querySelectorAll('th button')[7].click()")
        changes = _column(page, slices, 7)
        numbers = [float(change.replace('−', '-')) for change in changes[:-1]]
        assert changes[-1] == '–' and numbers == sorted(numbers)[::direction]


def test_costs_sort_by_their_numbers(page):
    table = "document.querySelector('table.costs')"
    assert page.value(f"[...{table}.querySelectorAll('th button')].map(button => button.textContent)") == [
        'Component', 'Task', 'Seconds', 'CPU seconds', 'Cores in use', 'Peak memory, MB', 'Remark']
    page.value(f"{table}.querySelectorAll('th button')[2].click()")
    seconds = list(map(float, _column(page, table, 2)))
    assert seconds == sorted(seconds) and seconds[-1] == 75.5
    page.value(f"{table}.querySelectorAll('th button')[5].click()")
    memory = [int(text.replace(',', '')) for text in _column(page, table, 6)]
    assert memory == sorted(memory) and memory[-1] == 2100
    widths = page.value(f"[...{table}.querySelectorAll('.bar rect')].map(rect => rect.getBoundingClientRect().width)")
    assert max(widths) > 60 and 0 < min(widths) < 10


def test_what_the_gate_looked_at_sorts(page):
    table = "document.querySelector('table.judged')"
    page.value(f"{table}.querySelectorAll('th button')[3].click()")
    values = [float(value.replace('−', '-')) for value in _column(page, table, 3)]
    assert values == sorted(values) and len(values) == 12


def test_charts_are_drawn(page):
    boxes = page.value("""[...document.querySelectorAll('svg.chart')].map(svg => {
        const box = svg.getBoundingClientRect(), line = svg.querySelector('polyline, rect').getBoundingClientRect();
        return [box.width, box.height, line.width] })""")
    assert len(boxes) == 3 * 2 + 3 + 4
    assert all(width > 200 and height > 40 and line > 1 for width, height, line in boxes)
    assert all(page.value("[...document.querySelectorAll('img')].map(img => img.decode().then(() => img.naturalWidth))"
                          ".reduce(async (all, one) => [...await all, await one > 0], [])"))


def test_sounds_can_play(page):
    ready = page.value("""(async () => { const audio = document.querySelector('audio');
        const can = new Promise((yes, no) => { audio.oncanplay = () => yes(audio.readyState); audio.onerror = no });
        audio.load(); return [await can, audio.duration] })()""")
    assert ready[0] >= 3 and ready[1] == pytest.approx(1.0, abs=0.01)


def test_a_strip_of_frames_plays_and_stops(page):
    media = "document.querySelector('.media[data-frames]')"
    whole = page.value(f"{media}.querySelector('img').getBoundingClientRect().width")
    page.value(f"{media}.querySelector('button').click()")
    place = f"{media}.querySelector('img').style.objectPosition"
    first = page.value(place)
    moved = page.value(f"""new Promise(done => {{
        const look = () => {place} !== '{first}' ? done(true) : setTimeout(look, 20); look() }})""")
    assert moved and page.value(f"{media}.querySelector('img').getBoundingClientRect().width") < whole / 2
    assert page.value(f"{media}.querySelector('button').getAttribute('aria-label')").startswith('Stop ')
    page.value(f"{media}.querySelector('button').click()")
    assert page.value(f"{media}.querySelector('img').getBoundingClientRect().width") == whole


def test_a_phone_shows_it_without_scrolling_sideways(chromium, path):
    chromium.open(path, width=390, height=844)
    assert chromium.value('document.documentElement.scrollWidth') == 390


def test_on_paper_no_table_is_cut_off(page):
    cut = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollHeight > box.clientHeight).length"
    assert page.value(cut) > 0
    page.call('Emulation.setEmulatedMedia', media='print')
    assert page.value(cut) == 0
    page.call('Emulation.setEmulatedMedia', media='')


def test_light_and_dark_differ(chromium, path):
    colours = {}
    for scheme in ('light', 'dark'):
        chromium.open(path, scheme=scheme)
        colours[scheme] = chromium.value("getComputedStyle(document.body).backgroundColor")
    assert colours['light'] != colours['dark']


@pytest.fixture(scope='module')
def short(tmp_path_factory):
    """A report with something of everything: axe-core takes seconds for long lists."""
    page = report_pages.page(classes=(3, 30, 3), listed=1)
    return pathlib.Path(executor.write(page, str(tmp_path_factory.mktemp('short'))))


@pytest.mark.parametrize('width, scheme', [(1280, 'light'), (390, 'dark')])
def test_nobody_is_locked_out(chromium, short, width, scheme):
    chromium.open(short, width=width, scheme=scheme)
    assert chromium.violations(browser.axe()) == {}


def test_a_picture_without_a_name_would_be_noticed(chromium, short):
    chromium.open(short)
    chromium.value("document.querySelector('img').removeAttribute('alt')")
    assert chromium.violations(browser.axe()).keys() == {'image-alt'}
