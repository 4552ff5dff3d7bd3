"""`polyvit data show`: the page has examples of each class and split, is bounded, fetches nothing, escapes all text."""

import collections
import re
import sys

import pytest

from media.entries import Entry
from pipeline import cli, data_show
from tests import terminals, testing

CONFIG = '''
from polyvit import (
    AudioInput, Columns, Data, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task, VideoInput)


def get_config():
    tasks = ({tasks},)
    inputs = (ImageInput(16, 16, (8, 8)), AudioInput(32, 32), VideoInput(4, 16, 16, (2, 8, 8), 8.0, 16))
    return PipelineConfig('shown', Mixture(tasks), ModelConfig(inputs=inputs))
'''


def _show(tmp_path, capsys, *tasks, options=()):
    """(exit code, the page or '', errors). tasks: Python expressions."""
    config, page = tmp_path / 'shown.py', tmp_path / 'page.html'
    config.write_text(CONFIG.format(tasks=', '.join(tasks)))
    code = cli.main(['data', 'show', str(config), '-o', str(page), *options])
    out, err = capsys.readouterr()
    if code == 0:
        assert out.strip().endswith('page.html')
    return code, page.read_text() if page.exists() else '', err


def _task(name, modality, folder, **data):
    fields = ''.join(f', {key}={value!r}' for key, value in data.items())
    return f'Task({name!r}, {modality!r}, data=Data({str(folder)!r}{fields}), recipe=Recipe(1, 1))'


def _figures(page: str) -> list[str]:
    return re.findall(r'<figure.*?</figure>', page, re.DOTALL)


def test_every_modality_has_its_pictures(tmp_path, capsys):
    testing.image_task(tmp_path / 'i')
    testing.audio_task(tmp_path / 'a')
    testing.video_task(tmp_path / 'v')
    code, page, err = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'i'),
                            _task('tones', 'audio', tmp_path / 'a', manifest='manifest.csv'),
                            _task('walks', 'video', tmp_path / 'v', manifest='manifest.csv'))
    assert code == 0 and 'tones: 12 of 12 files (100%)' in err
    figures = _figures(page)
    assert len(figures) == 12 + 12 + 10
    assert sum('<audio controls' in figure for figure in figures) == 12
    assert all(re.search('<img src="data:image/[a-z]+;base64,[^"]+" width="[0-9]+" height="[0-9]+" alt="[^"]+"', figure)
               for figure in figures)
    assert 'train/left/0.png</bdi></code>16 × 16 pixels' in page and 'alt="image, left, train"' in page
    assert re.search(r'wav/test_high_1.wav</bdi></code>0.22 s', page)
    assert page.count('4 train · 2 eval') == 4 and page.count('3 train · 2 eval') == 2


def test_the_page_fetches_nothing_and_runs_nothing(tmp_path, capsys):
    testing.image_task(tmp_path / 'i')
    _, page, _ = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'i'))
    assert "default-src 'none'" in page and '<script' not in page
    assert not re.search(r'(src|href)\s*=\s*"(?!data:|#)|url\(|@import|https?://', page)
    assert re.findall('<h[1-4]', page)[:3] == ['<h1', '<h2', '<h4'] and 'lang="en"' in page


def test_rejected_and_odd_media_are_named(tmp_path, capsys):
    testing.image_task(tmp_path / 'i')
    testing.write(tmp_path / 'i', 'train/left/broken.png', testing.image_bytes()[:60])
    testing.write(tmp_path / 'i', 'train/left/flat.png', testing.plain_image_bytes())
    testing.write(tmp_path / 'i', 'misplaced.png', testing.image_bytes())
    code, page, _ = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'i'))
    assert code == 0
    broken, = (figure for figure in _figures(page) if 'broken.png' in figure)
    assert 'class="rejected"' in broken and 'truncated: ' in broken and '<img' not in broken
    flat, = (figure for figure in _figures(page) if 'flat.png' in figure)
    assert '<span class="pill note">one colour</span>' in flat
    assert 'A run would stop.' in page and 'misplaced.png' in page


def test_all_text_is_escaped(tmp_path, capsys):
    hostile = '<script>alert("x")</script>'.replace('/', '|')
    rows = []
    for i in range(6):
        path = f'{i} <img onerror=x>.png'
        testing.write(tmp_path / 'i', path, testing.image_bytes(seed=i))
        rows.append((path, (hostile, 'b')[i % 2], ('train', 'test')[i // 4], f'<b>{i}', hostile))
    testing.write_manifest(tmp_path / 'i', rows, ('path', 'label', 'split', 'who', 'site'))
    task = _task('shapes', 'image', tmp_path / 'i', manifest='manifest.csv', groups='who').replace(
        'manifest=', "columns=Columns(extra=('site',)), manifest=")
    code, page, _ = _show(tmp_path, capsys, task)
    assert code == 0 and '<script' not in page and '<img onerror' not in page and '<b>0' not in page
    assert '&lt;script&gt;alert(&#34;x&#34;)&lt;|script&gt;' in page and 'group <bdi>&lt;b&gt;0</bdi>' in page


def test_several_labels_and_none(tmp_path, capsys):
    testing.tags_task(tmp_path / 'a')
    rows = [row.split(',') for row in (tmp_path / 'a' / 'tags.csv').read_text().splitlines()[1:]]
    rows[0][1] = ''
    testing.write_manifest(tmp_path / 'a', rows, ('path', 'labels', 'split'), 'tags.csv')
    _, page, _ = _show(tmp_path, capsys, _task('tags', 'audio', tmp_path / 'a', manifest='tags.csv',
                                               label_kind='multi', allow_unlabelled=True))
    assert page.count('<bdi>low, even</bdi>') >= 2  # under each of its labels
    assert '<bdi>no label</bdi>' in page


class TestChoice:
    ENTRIES = [Entry(f'{label}/{i:05}.png', (label,), ('train', 'eval')[i % 5 == 0])
               for label in ('a', 'b', 'c') for i in range(200)]

    def test_it_is_the_same_in_any_order_and_from_everywhere(self):
        chosen = data_show.choose(self.ENTRIES, ['a', 'b'], 6)
        assert data_show.choose(self.ENTRIES[::-1], ['b', 'a'], 6) == chosen
        assert set(chosen) == {(label, split) for label in 'ab' for split in ('train', 'eval')}
        for (label, split), cell in chosen.items():
            assert len(cell) == 6 and all(entry.labels == (label,) and entry.split == split for entry in cell)
            numbers = [int(entry.path[2:7]) for entry in cell]
            assert max(numbers) - min(numbers) > 60

    def test_more_examples_keep_those_that_were_chosen(self):
        few, many = (data_show.choose(self.ENTRIES, ['a'], count)['a', 'train'] for count in (3, 9))
        assert many[:3] == few

    def test_labels_by_a_hash(self):
        labels = [f'{i:04}' for i in range(500)]
        chosen = data_show.choose_labels(labels, 60)
        assert len(chosen) == 60 and chosen == data_show.choose_labels(labels[::-1], 60)
        assert collections.Counter(label[1] for label in chosen).keys() == set('01234')


def test_many_classes_are_a_part_of_them(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data_show, 'CLASSES', 3)
    testing.image_task(tmp_path / 'i', classes=[f'c{i}' for i in range(8)], per_class=2, eval_per_class=1)
    _, page, _ = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'i'))
    assert page.count('<details class="card class"') == 3 and '3 of 8 classes, chosen by a hash' in page


def test_a_full_page_has_only_text(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data_show, 'PAGE_BYTES', 6_000)
    testing.image_task(tmp_path / 'i')
    _, page, _ = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'i'))
    shown = sum('<img' in figure for figure in _figures(page))
    assert 0 < shown < 12 and len(_figures(page)) == 12
    assert f'{12 - shown} of these examples have no picture' in page


def test_what_is_not_read_in_time_is_counted(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(data_show, 'SECONDS', 0.0)
    testing.image_task(tmp_path / 'i')
    _, page, _ = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'i'))
    assert len(_figures(page)) == 1 and '11 more examples were chosen, but not read in time' in page


@pytest.mark.parametrize('output, sentence', [('page.txt', 'must be the name of a file that ends in .html'),
                                              ('folder.html', 'is a folder'),
                                              ('nowhere/page.html', 'there is no folder')])
def test_where_nothing_can_be_written(tmp_path, capsys, output, sentence):
    testing.image_task(tmp_path / 'i')
    (tmp_path / 'folder.html').mkdir()
    (tmp_path / 'file').write_text('')
    code, page, err = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'i'),
                            options=('-o', str(tmp_path / output)))
    assert (code, page) == (2, '') and sentence in err


def test_a_folder_that_is_not_there(tmp_path, capsys):
    code, _, err = _show(tmp_path, capsys, _task('shapes', 'image', tmp_path / 'nowhere'))
    assert code == 2 and 'there is no folder' in err


def test_on_a_terminal(tmp_path):
    testing.image_task(tmp_path / 'i')
    (tmp_path / 'shown.py').write_text(CONFIG.format(tasks=_task('shapes', 'image', tmp_path / 'i')))
    seen = terminals.run([sys.executable, '-m', 'polyvit', 'data', 'show', 'shown.py'], cwd=tmp_path,
                         env={'PYTHONPATH': str(testing.pathlib.Path(__file__).parents[2])})
    assert seen.exit_code == 0 and seen.lines[-1] == 'shown-examples.html'
    assert (tmp_path / 'shown-examples.html').exists() and 'shapes: 12 of 12 files (100%)' in seen.text
