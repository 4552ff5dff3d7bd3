"""`polyvit data export --croissant`: MLCommons' own reader validates the files and reads the records; so do we."""

import dataclasses
import json
import os
import tarfile

import pytest

from media import listing
from media.open_entry import open_entry
from model_code.data import Columns
from model_code.errors import ConfigError
from model_code.modalities import Limits
from pipeline import cli, croissant
from pipeline.exit_codes import DONE, WRONG
from tests import testing
from tests.media import tables
from tests.media.tables import in_this_process  # noqa: F401

mlcroissant = pytest.importorskip('mlcroissant')

NASTY = ['=1+1', 'NA', '007', '1e5', 'True', 'null', 'a"b\\c', "it's, |x|", 'größe 猫 🐈', '<b>&amp;',
         '{"@id": "x"}', 'nan']


@dataclasses.dataclass
class _Mixture:
    tasks: tuple


class _Config:
    """As much of a config as an export needs."""

    def __init__(self, *tasks):
        self.mixture, self.beam = _Mixture(tasks), type('Beam', (), {'options': ()})()


@pytest.fixture(autouse=True)
def no_file_systems(monkeypatch):
    monkeypatch.setattr('pipeline.checks.use_file_systems', lambda config: None)


def _task(name, modality, **data):
    return testing.task(name, modality, **data)


def _export(task, about=None) -> str:
    croissant.export(_Config(task), about=about)
    return os.path.join(task.data.folder, f'{task.name}.croissant.json')


def _read_back(task, **data):
    return listing.list_media(testing.source(task.name, task.modality, folder=task.data.folder,
                                             manifest=f'{task.name}.croissant.json', **data))


def _records(path: str, record_set: str = 'examples') -> list[dict]:
    dataset = mlcroissant.Dataset(path)
    issues = dataset.metadata.ctx.issues
    # A citation is recommended, but we know of none.
    assert not issues.errors and all('citeAs" is recommended' in warning for warning in issues.warnings)
    return [{key.partition('/')[2]: value.decode() if isinstance(value, bytes) else
             [item.decode() for item in value] if isinstance(value, list) else value
             for key, value in record.items()} for record in dataset.records(record_set)]


def _check_records(path: str, listed):
    records = _records(path)
    assert [(record['id'], record['path'], record['split'], record.get('group') or '') for record in records] == [
        (entry.id, entry.path, entry.split, entry.group) for entry in listed.entries]
    assert [tuple(record['labels']) if 'labels' in record else (record['label'],) for record in records] == [
        entry.labels for entry in listed.entries]


def test_files_with_labels_of_all_kinds(tmp_path):
    for i in range(len(NASTY)):
        testing.write(tmp_path, f'{"train" if i % 3 else "val"}/{i} ü#?.png', testing.image_bytes(seed=i))
    rows = [{'path': f'{"train" if i % 3 else "val"}/{i} ü#?.png', 'label': label, 'split': 'train' if i % 3 else 'val',
             'speaker': f's {i}', 'site': '' if i == 3 else f'=site {i}'} for i, label in enumerate(NASTY)]
    testing.write(tmp_path, 'm.jsonl', ''.join(json.dumps(row) + '\n' for row in rows))
    task = _task('nasty', 'image', folder=os.fspath(tmp_path), manifest='m.jsonl', groups='speaker',
                 columns=Columns(extra=('site',)))
    listed = listing.list_media(task.source)
    assert len(listed.entries) == len(NASTY)
    path = _export(task, {'license': 'https://spdx.org/licenses/CC0-1.0', 'url': 'https://example.com',
                          'creator': 'Us'})
    _check_records(path, listed)
    media = _records(path, 'media')
    assert {record['path'] for record in media} == {entry.path for entry in listed.entries}
    back = _read_back(task, groups='group', columns=Columns(extra=('site',)))
    assert back.entries == listed.entries and not back.rejected


def test_what_is_not_known_is_said(tmp_path, capsys):
    testing.write(tmp_path, 'cat/1.png', b'x')
    task = _task('pets', 'image', folder=os.fspath(tmp_path))
    lines = croissant.export(_Config(task))
    assert "says 'unknown' of its license, url, creator" in lines[1]
    content = json.loads((tmp_path / 'pets.croissant.json').read_text())
    assert content['license'] == content['url'] == content['creator']['name'] == 'unknown'
    assert content['conformsTo'] == 'http://mlcommons.org/croissant/1.1'
    # The files that were written do not change what the folder is.
    assert [entry.path for entry in listing.list_media(task.source).entries] == ['cat/1.png']


def test_segments_and_several_labels(tmp_path):
    testing.write(tmp_path, 'a.wav', testing.wav_bytes())
    testing.write(tmp_path, 'm.csv', 'path,labels,start,end,split\na.wav,x|y,0,0.1,train\na.wav,x,0.1,,train\n'
                                     'b.wav,,,,test\n')
    data = dict(label_kind='multi', allow_unlabelled=True)
    task = _task('tags', 'audio', folder=os.fspath(tmp_path), manifest='m.csv', **data)
    listed = listing.list_media(task.source)
    _check_records(_export(task), listed)
    back = _read_back(task, **data)
    assert back.entries == listed.entries


def test_label_groups(tmp_path):
    testing.write(tmp_path, 'm.csv', 'path,verb,noun,split\na.png,cut,red onion,train\nb.png,wash,pan,eval\n')
    data = dict(label_kind='groups', label_groups=('verb', 'noun'))
    task = _task('kitchen', 'image', folder=os.fspath(tmp_path), manifest='m.csv', **data)
    listed = listing.list_media(task.source)
    records = _records(_export(task))
    assert [(record['verb'], record['noun']) for record in records] == [('cut', 'red onion'), ('wash', 'pan')]
    assert _read_back(task, **data).entries == listed.entries


def test_archives_and_tables(tmp_path):
    images = [testing.image_bytes(seed=i) for i in range(4)]
    (tmp_path / 'tar').mkdir()
    for name, content in (('a.png', images[0]), ('a.cls', b'cat'), ('b.png', images[1]), ('b.cls', b'dog')):
        testing.write(tmp_path, name, content)
    with tarfile.open(tmp_path / 'tar/train-0.tar', 'w') as archive:
        for name in ('a.png', 'a.cls', 'b.png', 'b.cls'):
            archive.add(tmp_path / name, name)
    tables.write_parquet(tmp_path / 'hf/data/train-00000-of-00001.parquet', tables.media_table(images), rows=2)
    for task in (_task('packed', 'image', folder=os.fspath(tmp_path / 'tar'), format='tar'),
                 _task('table', 'image', folder=os.fspath(tmp_path / 'hf'))):
        listed = listing.list_media(task.source)
        _check_records(_export(task), listed)
        back = _read_back(task)
        assert back.entries == listed.entries and len(back.entries) in (2, 4)
        for entry, image in zip(back.entries, images, strict=False):
            with open_entry(task.data.folder, entry, Limits(bytes=1 << 20)) as file:
                assert file.read() == image


def test_the_table_must_be_the_one_that_is_described(tmp_path):
    testing.write(tmp_path, 'cat/1.png', b'x')
    task = _task('pets', 'image', folder=os.fspath(tmp_path))
    _export(task)
    path = tmp_path / 'pets.croissant.json'
    content = json.loads(path.read_text())
    content['distribution'][0]['sha256'] = '0' * 64
    path.write_text(json.dumps(content))
    with pytest.raises(ConfigError, match='pets.croissant.parquet has the sha256 .* one of the two has changed'):
        _read_back(task)


def test_a_data_folder_that_stays_as_it_is(tmp_path):
    media, exports = tmp_path / 'media', tmp_path / 'exports'
    for i in range(4):
        testing.write(media, f'{"train" if i else "val"}/{"cat" if i % 2 else "dog"}/{i}.png', b'x')
    task = _task('pets', 'image', folder=os.fspath(media))
    media.chmod(0o555)
    croissant.export(_Config(task), folder=os.fspath(exports))
    manifest = os.fspath(exports / 'pets.croissant.json')
    listed = listing.list_media(task.source)
    _check_records(manifest, listed)

    def read(**data):
        return listing.list_media(testing.source('pets', 'image', **{'folder': os.fspath(media), 'manifest': manifest,
                                                                     **data}))

    assert read().entries == listed.entries and not read().rejected
    with pytest.raises(ConfigError, match='the manifest pets.croissant.parquet in .*/exports has no column who'):
        read(groups='who')
    # It points at nothing beside these two folders.
    content = json.loads((exports / 'pets.croissant.json').read_text())
    table = next(one for one in content['distribution'] if one['@id'] == 'table')
    (tmp_path / 'secret.parquet').write_bytes((exports / 'pets.croissant.parquet').read_bytes())
    (exports / 'link.parquet').symlink_to(tmp_path / 'secret.parquet')
    for url, message in (('../secret.parquet', 'may lead out'), (os.fspath(tmp_path / 'secret.parquet'), 'is absolute'),
                         ('link.parquet', 'is behind a link out'), ('file:///etc/passwd', 'Nothing is fetched')):
        table['contentUrl'] = url
        (exports / 'pets.croissant.json').write_text(json.dumps(content))
        with pytest.raises(ConfigError, match=message):
            read()


def test_the_command(tmp_path, capsys, monkeypatch):
    for label in ('cat', 'dog'):
        testing.write(tmp_path, f'photos/{label}/1.png', b'x')
    config = tmp_path / 'pets.py'
    config.write_text(
        'from polyvit import Data, ImageInput, Mixture, PipelineConfig, Recipe, Task, preset\n\n'
        'def get_config():\n'
        f'    task = Task("photos", "image", data=Data({os.fspath(tmp_path / "photos")!r}), '
        'recipe=Recipe(steps=1, batch_size=1))\n'
        '    return PipelineConfig(name="pets", mixture=Mixture((task,)), '
        'model=preset("Ti", inputs=(ImageInput(16, 16, (8, 8)),)))\n')
    assert cli.main(['data', 'export', os.fspath(config)]) == WRONG
    assert '--croissant' in capsys.readouterr().err
    out = tmp_path / 'out'
    assert cli.main(['data', 'export', os.fspath(config), '--croissant', '-o', os.fspath(out)]) == DONE
    assert f'{out}/photos.croissant.json: 2 examples of photos' in capsys.readouterr().out
    assert sorted(os.listdir(out)) == ['photos.croissant.json', 'photos.croissant.parquet']
    blocked = tmp_path / 'file'
    blocked.write_text('x')
    assert cli.main(['data', 'export', os.fspath(config), '--croissant', '-o', f'{blocked}/x']) == WRONG
    assert 'cannot be written' in capsys.readouterr().err
