"""The annotation files of public data sets: a few rows with the published columns. The ids are invented."""

import json
import os
import random

import pytest

from media import listing
from media.entries import Entry
from model_code.data import Columns
from model_code.errors import ConfigError
from tests import testing

AUDIOSET = ('# Segments csv created Mon Jan  1 00:00:00 2018\n'
            '# num_ytids=2, num_segs=2, num_unique_labels=2, num_positive_labels=3\n'
            '# YTID, start_seconds, end_seconds, positive_labels\n')
CLASSES = 'index,mid,display_name\n0,/m/01abc,"Speech"\n1,/m/02def,"Child speech, kid speaking"\n2,/t/dd001,"Inside"\n'
SYNSETS = 'n01440001 tench, Tinca tinca\nn02012001 crane\nn03126001 crane\n'

# format: (manifest, {annotation file: content}, media files, entries, rejected (path, reason))
PUBLISHED = {
    'kinetics': (
        ('annotations/train.csv', 'annotations/val.csv'),
        {'annotations/train.csv': 'label,youtube_id,time_start,time_end,split,is_cc\n'
                                  'air drumming,-aBcDeFgH_1,10,20,train,0\n"tasting, food",b2345678901,0,10,train,1\n'
                                  'abseiling,gone5678901,3,13,train,0\nabseiling,d2345678901,7,17,train,0\n',
         'annotations/val.csv': 'label,youtube_id,time_start,time_end,split\nabseiling,c2345678901,123,133,validate\n'},
        ['train/air drumming/-aBcDeFgH_1_000010_000020.mp4', 'flat/b2345678901_000000_000010.webm', 'c2345678901.mkv',
         'd2345678901.mp4', 'd2345678901_000007_000017.mp4', 'not_named.mp4'],
        [Entry('c2345678901.mkv', ('abseiling',), 'eval', 123.0, 133.0, group='c2345678901'),
         Entry('d2345678901_000007_000017.mp4', ('abseiling',), 'train', group='d2345678901'),
         Entry('flat/b2345678901_000000_000010.webm', ('tasting, food',), 'train', group='b2345678901'),
         Entry('train/air drumming/-aBcDeFgH_1_000010_000020.mp4', ('air drumming',), 'train', group='-aBcDeFgH_1')],
        [('gone5678901_000003_000013', 'missing')]),
    'moments': (
        ('trainingSet.csv', 'validationSet.csv'),
        {'trainingSet.csv': 'dancing/yt-q-1_205.mp4,dancing,4,1\n'
                            'adult+female+singing/0-0-5_7.mp4,adult+female+singing,3,0\n'
                            'dancing/gone_1.mp4,dancing,3,0\n',
         'validationSet.csv': 'dancing/yt-q-1_206.mp4,dancing,3,1\n', 'moments_categories.txt': 'dancing,0\n'},
        ['training/dancing/yt-q-1_205.mp4', 'training/adult+female+singing/0-0-5_7.mp4',
         'validation/dancing/yt-q-1_206.mp4'],
        [Entry('training/adult+female+singing/0-0-5_7.mp4', ('adult+female+singing',), 'train'),
         Entry('training/dancing/yt-q-1_205.mp4', ('dancing',), 'train'),
         Entry('validation/dancing/yt-q-1_206.mp4', ('dancing',), 'eval')],
        [('dancing/gone_1.mp4', 'missing')]),
    'audioset': (
        ('csv/balanced_train_segments.csv', 'csv/eval_segments.csv'),
        {'csv/balanced_train_segments.csv': AUDIOSET + '--1a3cDeF9s, 30.000, 40.000, "/m/01abc,/m/02def"\n'
                                            'b2345678901, 0.000, 10.000, "/t/dd001"\n'
                                            'c2345678901, 0.000, 10.000, "/m/0new"\n',
         'csv/eval_segments.csv': AUDIOSET + 'd2345678901, 420.000, 430.000, "/m/01abc"\n'
                                  'e2345678901, 5.000, 15.000, "/m/01abc"\ngone5678901, 20.000, 30.000, "/m/01abc"\n',
         'csv/class_labels_indices.csv': CLASSES},
        ['wav/--1a3cDeF9s.wav', 'wav/Yb2345678901.flac', 'd2345678901_420000_430000.mp4', 'e2345678901_000005.m4a'],
        [Entry('d2345678901_420000_430000.mp4', ('Speech',), 'eval', group='d2345678901'),
         Entry('e2345678901_000005.m4a', ('Speech',), 'eval', group='e2345678901'),
         Entry('wav/--1a3cDeF9s.wav', ('Speech', 'Child speech, kid speaking'), 'train', 30.0, 40.0,
               group='--1a3cDeF9s'),
         Entry('wav/Yb2345678901.flac', ('Inside',), 'train', group='b2345678901')],
        [('gone5678901_000020', 'missing'), ('line 6 of csv/balanced_train_segments.csv', 'bad_label')]),
    'vggsound': (
        ('vggsound.csv',),
        {'vggsound.csv': '---g-1_2yQ,1,people marching,test\nb2345678901,267,"female speech, woman speaking",train\n'
                         'c2345678901,30,people marching,train\ngone5678901,0,people marching,train\n'},
        ['video/---g-1_2yQ_000001.mp4', 'b2345678901_267000_277000.wav', 'c2345678901.webm'],
        [Entry('b2345678901_267000_277000.wav', ('female speech, woman speaking',), 'train', group='b2345678901'),
         Entry('c2345678901.webm', ('people marching',), 'train', 30.0, 40.0, group='c2345678901'),
         Entry('video/---g-1_2yQ_000001.mp4', ('people marching',), 'eval', group='---g-1_2yQ')],
        [('gone5678901_000000', 'missing')]),
    'imagenet': (
        (),
        {'LOC_synset_mapping.txt': SYNSETS,
         'LOC_val_solution.csv': 'ImageId,PredictionString\nILSVRC2012_val_00000001,n02012001 85 1 499 272 '
                                 'n02012001 1 2 3 4 \nILSVRC2012_val_00000002,n01440001 1 2 3 4 \n'},
        ['ILSVRC/Data/CLS-LOC/train/n01440001/n01440001_10.JPEG',
         'ILSVRC/Data/CLS-LOC/train/n03126001/n03126001_7.JPEG',
         'ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG',
         'ILSVRC/Data/CLS-LOC/test/ILSVRC2012_test_00000001.JPEG',
         'ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000003.JPEG', 'val/n09999999/ILSVRC2012_val_00000004.JPEG'],
        [Entry('ILSVRC/Data/CLS-LOC/train/n01440001/n01440001_10.JPEG', ('tench, Tinca tinca',), 'train'),
         Entry('ILSVRC/Data/CLS-LOC/train/n03126001/n03126001_7.JPEG', ('crane (n03126001)',), 'train'),
         Entry('ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000001.JPEG', ('crane (n02012001)',), 'eval'),
         Entry('val/n09999999/ILSVRC2012_val_00000004.JPEG', ('n09999999',), 'eval')],
        [('ILSVRC/Data/CLS-LOC/val/ILSVRC2012_val_00000003.JPEG', 'bad_label'),
         ('ILSVRC2012_val_00000002.JPEG', 'missing')]),
    'pets': (
        ('annotations/trainval.txt', 'annotations/test.txt'),
        {'annotations/trainval.txt': '#Image CLASS-ID SPECIES BREED ID\n'
                                     'Abyssinian_100 1 1 1\namerican_bulldog_7 2 2 1\n'
                                     'Abyssinian_101 1\n',
         'annotations/test.txt': 'Abyssinian_201 1 1 1\nAbyssinian_202 1 1 1\n'},
        ['images/Abyssinian_100.jpg', 'images/american_bulldog_7.jpg', 'images/Abyssinian_201.jpg',
         'images/Abyssinian_34.mat'],
        [Entry('images/Abyssinian_100.jpg', ('Abyssinian',), 'train'),
         Entry('images/Abyssinian_201.jpg', ('Abyssinian',), 'eval'),
         Entry('images/american_bulldog_7.jpg', ('american_bulldog',), 'train')],
        [('Abyssinian_202.jpg', 'missing'), ('line 4 of annotations/trainval.txt', 'bad_row')]),
}
MODALITY = {'kinetics': 'video', 'moments': 'video', 'audioset': 'audio', 'vggsound': 'audio'}


def _task(directory, kind, **overrides):
    return testing.source('t', MODALITY.get(kind, 'image'), **{**dict(
        folder=os.fspath(directory), format=kind, label_kind='multi' if kind == 'audioset' else 'single',
        manifest=PUBLISHED[kind][0] if kind in PUBLISHED else ()), **overrides})


def _write(directory, kind):
    for name, text in PUBLISHED[kind][1].items():
        testing.write(directory, name, text)
    for name in PUBLISHED[kind][2]:
        testing.write(directory, name, b'x')


@pytest.mark.parametrize('kind', PUBLISHED)
def test_published_files_are_read_as_they_are(tmp_path, kind):
    _write(tmp_path, kind)
    listed = listing.list_media(_task(tmp_path, kind))
    assert listed.entries == PUBLISHED[kind][3]
    assert [(line.path, line.reason) for line in listed.rejected] == PUBLISHED[kind][4]
    assert all(stat.size == 1 for _, stat in listing.with_stats(_task(tmp_path, kind), listed.entries))


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(tmp_path):
    for kind in PUBLISHED:
        _write(tmp_path / kind, kind)
        for name, text in PUBLISHED[kind][1].items():
            testing.write(tmp_path / kind, name, '\ufeff' + text.replace('\n', '\r\n'))
        assert listing.list_media(_task(tmp_path / kind, kind)).entries == PUBLISHED[kind][3]


def test_extra_columns_of_published_files(tmp_path):
    for kind, column, values in (('kinetics', 'is_cc', {'0', '1', None}), ('pets', 'species', {'1', '2'}),
                                 ('imagenet', 'synset', {'n01440001', 'n02012001', 'n03126001', 'n09999999'}),
                                 ('moments', 'agreeing', {'4', '3'})):
        _write(tmp_path / kind, kind)
        entries = listing.list_media(_task(tmp_path / kind, kind, columns=Columns(extra=(column,)))).entries
        assert {dict(e.extra).get(column) for e in entries} == values
        with pytest.raises(ConfigError, match=f'colour is not one of format .{kind}'):
            listing.list_media(_task(tmp_path / kind, kind, columns=Columns(extra=('colour',))))


def test_without_a_start_and_end_column_every_file_is_a_clip(tmp_path):
    _write(tmp_path, 'vggsound')
    entries = listing.list_media(_task(tmp_path, 'vggsound', columns=Columns(start='', end=''))).entries
    assert [e.start for e in entries] == [None] * 3 and 'c2345678901.webm' in {e.path for e in entries}


def test_audioset_by_the_ontology_or_without_names(tmp_path):
    _write(tmp_path, 'audioset')
    (tmp_path / 'csv/class_labels_indices.csv').unlink()
    assert listing.classes_of(_task(tmp_path, 'audioset')) == ('/m/01abc', '/m/02def', '/t/dd001')
    names = {'/m/01abc': 'Speech', '/m/02def': 'Child', '/t/dd001': 'Inside'}
    testing.write(tmp_path, 'ontology.json', json.dumps([{'id': mid, 'name': name} for mid, name in names.items()]))
    assert listing.classes_of(_task(tmp_path, 'audioset')) == ('Child', 'Inside', 'Speech')
    testing.write(tmp_path, 'ontology.json', '[{"id": 1}]')
    with pytest.raises(ConfigError, match='ontology.json .* differs from the file that AudioSet publishes'):
        listing.list_media(_task(tmp_path, 'audioset'))


def test_a_clip_that_is_a_link_out_is_a_bad_path(tmp_path):
    _write(tmp_path / 'data', 'vggsound')
    clip = tmp_path / 'data/video/---g-1_2yQ_000001.mp4'
    clip.rename(tmp_path / 'elsewhere.mp4')
    clip.symlink_to(tmp_path / 'elsewhere.mp4')
    listed = listing.list_media(_task(tmp_path / 'data', 'vggsound'))
    assert ('line 1 of vggsound.csv', 'bad_path') in [(line.path, line.reason) for line in listed.rejected]
    assert len(listed.entries) == 2 and len(listed.rejected) == 2


@pytest.mark.parametrize('kind, name, text, message', [
    ('kinetics', 'annotations/train.csv', 'youtube_id,label\na,b\n', 'no column time_start or time_end'),
    ('kinetics', 'annotations/train.csv', 'label,youtube_id,time_start,time_end\n', ''),
    ('audioset', 'csv/class_labels_indices.csv', 'mid,name\n', 'differs from the file that AudioSet publishes'),
])
def test_wrong_annotations(tmp_path, kind, name, text, message):
    _write(tmp_path, kind)
    testing.write(tmp_path, name, text)
    if message:
        with pytest.raises(ConfigError, match=message):
            listing.list_media(_task(tmp_path, kind))
    else:  # a file without rows, beside one that has some
        assert len(listing.list_media(_task(tmp_path, kind)).entries) == 1


@pytest.mark.parametrize('kind, row, reason', [
    ('kinetics', 'x,a2345678901,20,10,train,0', 'bad_row'), ('kinetics', 'x,a2345678901,nan,10,train,0', 'bad_row'),
    ('kinetics', 'x,a2345678901,1,1e300,train,0', 'bad_row'), ('kinetics', 'x,a2345678901,1', 'bad_row'),
    ('kinetics', ',-aBcDeFgH_1,11,21,train,0', 'bad_label'), ('kinetics', 'x,a2345678901,0,10,hidden,0', 'bad_row'),
    ('kinetics', 'x,../../etc/passwd,0,10,train,0', 'missing'), ('kinetics', 'x,"a', 'bad_row'),
    ('kinetics', 'air drumming,-aBcDeFgH_1,10,20,train,0', 'duplicate'),
    ('vggsound', 'a2345678901,-1,x,train', 'bad_row'), ('vggsound', 'a2345678901,,x,train', 'bad_row'),
    ('vggsound', '# a comment', 'bad_row'), ('moments', '../../etc/passwd,x,1,1', 'bad_path'),
    ('moments', 'a/b.mp4', 'bad_row'),
    ('audioset', 'a2345678901, 0.000, 10.000, ""', 'bad_label'), ('audioset', 'a, 0.0, 10.0, "/m/01abc", x', 'bad_row'),
])
def test_bad_rows_of_published_files(tmp_path, kind, row, reason):
    _write(tmp_path, kind)
    name = PUBLISHED[kind][0][0]
    testing.write(tmp_path, name, PUBLISHED[kind][1][name] + row + '\n')
    listed = listing.list_media(_task(tmp_path, kind))
    assert listed.entries == PUBLISHED[kind][3]
    assert sorted([r for _, r in PUBLISHED[kind][4]] + [reason]) == sorted(line.reason for line in listed.rejected)


def _cifar(directory, kind, label_bytes):
    """Two records per batch. All pixels of record i in batch b are 10 b + i."""
    batches = [*(f'data_batch_{i}.bin' for i in range(1, 6)), 'test_batch.bin'] if kind == 'cifar10' else [
        'train.bin', 'test.bin']
    for batch, name in enumerate(batches):
        records = [bytes([9] * (label_bytes - 1) + [i]) + bytes([10 * batch + i]) * 3072 for i in range(2)]
        testing.write(directory, f'cifar-binary/{name}', b''.join(records))
    names = 'batches.meta.txt' if kind == 'cifar10' else 'fine_label_names.txt'
    testing.write(directory, f'cifar-binary/{names}', 'airplane\nautomobile\n\n')
    return batches


@pytest.mark.parametrize('kind, label_bytes', [('cifar10', 1), ('cifar100', 2)])
def test_cifar_records(tmp_path, kind, label_bytes):
    batches = _cifar(tmp_path, kind, label_bytes)
    listed = listing.list_media(_task(tmp_path, kind))
    assert listed.rejected == [] and len(listed.entries) == 2 * len(batches)
    second = next(e for e in listed.entries if e.path.endswith(batches[0]) and e.member == '000001')
    assert second == Entry(f'cifar-binary/{batches[0]}', ('automobile',), 'train', offset=3072 + 2 * label_bytes,
                           length=3072, member='000001', record=kind)
    assert second.id == f'cifar-binary/{batches[0]}!000001'
    assert {e.path for e in listed.entries if e.split == 'eval'} == {f'cifar-binary/{batches[-1]}'}
    assert {stat.size for _, stat in listing.with_stats(_task(tmp_path, kind), listed.entries)} == {3072}
    assert listing.classes_of(_task(tmp_path, kind)) == ('airplane', 'automobile')


def test_cifar_batches_that_are_cut_wrong_or_missing(tmp_path):
    _cifar(tmp_path, 'cifar10', 1)
    batch = tmp_path / 'cifar-binary/data_batch_1.bin'
    batch.write_bytes(batch.read_bytes()[:-100])
    (tmp_path / 'cifar-binary/data_batch_2.bin').write_bytes(b'\7' + bytes(3072))
    (tmp_path / 'cifar-binary/data_batch_3.bin').unlink()
    listed = listing.list_media(_task(tmp_path, 'cifar10'))
    assert [(line.path, line.reason) for line in listed.rejected] == [
        ('cifar-binary/data_batch_1.bin!000001', 'truncated'), ('cifar-binary/data_batch_2.bin!000000', 'bad_label'),
        ('data_batch_3.bin', 'missing')]
    assert len(listed.entries) == 7
    (tmp_path / 'cifar-binary/batches.meta.txt').unlink()
    with pytest.raises(ConfigError, match='needs batches.meta.txt'):
        listing.list_media(_task(tmp_path, 'cifar10'))


@pytest.mark.parametrize('overrides, message', [
    (dict(format='kinetics'), 'holds video or audio'), (dict(format='pets'), 'annotation files'),
    (dict(format='cifar10', manifest='a.csv'), 'takes no manifest'), (dict(format='csv'), 'annotation files'),
    (dict(format='kinetix'), 'no format named'), (dict(label_separator=''), 'label_separator is empty'),
    (dict(manifest=('a.csv', 'a.csv')), 'named twice'), (dict(manifest=''), 'Task t: the name of a manifest is empty'),
    (dict(most_words=3, label_kind='multi'), "most_words is for label_kind='words', not 'multi'"),
    (dict(most_words=3, label_kind='words', classes=('sea',)), 'most_words is 3, but `classes` names the words'),
    (dict(format='folders', columns=Columns(extra=('x',))), 'no manifest has'),
])
def test_tasks_that_do_not_fit_their_format(overrides, message):
    with pytest.raises(ConfigError, match=message):
        testing.source('t', 'image', **overrides)


@pytest.mark.parametrize('columns, message', [
    (dict(extra=('image',)), "'image' becomes a feature"), (dict(extra=('a b',)), 'letters, digits'),
    (dict(extra=('a', 'a')), 'named twice'), (dict(extra=('split',)), 'named twice'), (dict(path=''), 'path is empty'),
])
def test_wrong_columns(columns, message):
    with pytest.raises(ConfigError, match=message):
        Columns(**columns)


@pytest.mark.parametrize('kind', PUBLISHED)
def test_damaged_annotations_give_a_listing_or_a_sentence(tmp_path, kind):
    _write(tmp_path, kind)
    rng, listings = random.Random(kind), 0
    for _ in range(60):
        name = rng.choice(sorted(PUBLISHED[kind][1]))
        content = bytearray(PUBLISHED[kind][1][name].encode())
        for _ in range(rng.randrange(1, 5)):
            content[rng.randrange(len(content))] = rng.choice(b'"\n\r,\0\xff\xe9\x1b /.9') if rng.random() < 0.8 else 0
        (tmp_path / name).write_bytes(content[:rng.choice([len(content), rng.randrange(len(content))])])
        try:
            listed = listing.list_media(_task(tmp_path, kind))
        except ConfigError as error:
            assert str(error).startswith('Task t') and str(error).endswith('.')
        else:
            listings += 1
            assert {line.reason for line in listed.rejected} <= {
                'bad_row', 'bad_label', 'bad_path', 'missing', 'duplicate'}
        testing.write(tmp_path, name, PUBLISHED[kind][1][name])
    assert listings > 10
