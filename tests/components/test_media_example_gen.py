"""MediaExampleGen's executor on real media, and the component's interface."""

import dataclasses
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tfx.types import standard_artifacts

from components.artifacts import RejectedMedia, read_findings, read_rejected
from components.classes import Classes, read_classes
from components.media_example_gen import beam_steps, executor, plan_files
from components.media_example_gen.component import MediaExampleGen
from components.report import near_duplicates, pictures, render, sources
from media import listing, tf_check
from media.entries import Entry
from media.findings import Findings, LongTally, Tally
from media.rejections import Rejection
from media.shards import ShardPlan
from model_code import file_io
from model_code.errors import ConfigError, PipelineStop
from model_code.modalities import MODALITIES
from model_code.serialization import to_json
from tests import testing
from tests.media import tables


def _ingest(task, spec, directory, media_fingerprint=None, data_version=''):
    """Runs Do; returns {split: [tf.train.Example]}, the Rejections, and {split: [file names]}."""
    media_fingerprint = media_fingerprint or listing.media_fingerprint(task.source)
    outputs = {'examples': standard_artifacts.Examples(), 'rejected': RejectedMedia(), 'classes': Classes()}
    for name, artifact in outputs.items():
        artifact.uri = os.path.join(directory, name)
    executor.Executor().Do({}, {name: [artifact] for name, artifact in outputs.items()},
                           {'source': to_json(task.source), 'spec': to_json(spec),
                            'media_fingerprint': media_fingerprint, 'data_version': data_version})
    examples, rejected = outputs['examples'], outputs['rejected']
    classes = listing.classes_of(task.source.at_version(data_version))
    assert read_classes(outputs['classes'].uri) == (classes, media_fingerprint)
    assert json.loads(examples.split_names) == ['train', 'eval']
    assert examples.get_string_custom_property('payload_format') == 'FORMAT_TF_EXAMPLE'
    assert not [name for name in os.listdir(examples.uri) if not name.startswith('Split-')]
    by_split, names = {}, {}
    for split in ('train', 'eval'):
        folder = os.path.join(examples.uri, f'Split-{split}')
        names[split] = sorted(os.listdir(folder))
        records = tf.data.TFRecordDataset([os.path.join(folder, n) for n in names[split]], 'GZIP')
        by_split[split] = [tf.train.Example.FromString(record.numpy()) for record in records]
    assert read_findings(rejected.uri).total == sum(map(len, by_split.values())) + len(read_rejected(rejected.uri))
    return by_split, read_rejected(rejected.uri), names


def _bytes(example, name):
    return list(example.features.feature[name].bytes_list.value)


def _ids(examples):
    return sorted(_bytes(e, 'id')[0].decode() for e in examples)


def test_every_image_ends_up_in_the_examples_or_is_rejected(tmp_path, caplog, monkeypatch):
    task = testing.image_task(tmp_path / 'data', max_rejected_share=0.5)
    testing.write(tmp_path / 'data', 'train/left/cut.png', testing.image_bytes()[:-20])
    testing.write(tmp_path / 'data', 'eval/left/none.png', b'')
    testing.write(tmp_path / 'data', 'train/right/old.jpg', b'8BPS\0\1' + bytes(100))
    monkeypatch.setattr(beam_steps, 'LONG_SEARCH', 15)
    with caplog.at_level(logging.INFO, 'polyvit'):
        examples, rejected, names = _ingest(task, testing.IMAGE_SPEC, tmp_path)
    assert names == {'train': ['data_tfrecord-00000-of-00001.gz'], 'eval': ['data_tfrecord-00000-of-00001.gz']}
    assert [(r.path, r.reason) for r in rejected] == [
        ('eval/left/none.png', 'empty'), ('train/left/cut.png', 'truncated'), ('train/right/old.jpg', 'unsupported')]
    with open(tmp_path / 'rejected' / 'rejected.jsonl') as file:
        assert all(set(json.loads(line)) == {'path', 'reason', 'detail'} for line in file)
    assert _ids(examples['train']) == sorted(f'train/{c}/{i}.png' for c in ('left', 'right') for i in range(4))
    assert _ids(examples['eval']) == sorted(f'eval/{c}/{i}.png' for c in ('left', 'right') for i in range(2))
    for example in examples['train']:
        path = _bytes(example, 'id')[0].decode()
        assert _bytes(example, 'image') == [(tmp_path / 'data' / path).read_bytes()]
        assert _bytes(example, 'label') == [path.split('/')[1].encode()]
        assert list(example.features.feature['height'].int64_list.value) == [16]
        assert set(example.features.feature) == {'id', 'label', 'image', 'height', 'width', 'brightness'}
    messages = [r.getMessage() for r in caplog.records if r.name == 'polyvit']
    assert len(messages) == 2 and messages[0] == 'shapes: the files are read; looking for near duplicates'
    assert messages[1].startswith('shapes: 8 train and 4 eval examples; 3 of 15 files rejected')
    # Examples are not in the order of their classes, because training shuffles only within a buffer.
    labels = [_bytes(e, 'label')[0] for e in examples['train']]
    assert labels not in (sorted(labels), sorted(labels, reverse=True))


def test_near_duplicates_are_in_the_report_with_their_media(tmp_path):
    testing.image_task(tmp_path / 'data')
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8)).resize((160, 120), Image.Resampling.BICUBIC)
    for name, quality in (('train/left/<b>.jpg', 95), ('eval/left/again.jpg', 60), ('train/right/other.jpg', 40)):
        noise.save(tmp_path / 'data' / name, quality=quality)
    task = testing.task('shapes', 'image', folder=str(tmp_path / 'data'), allow_near_leaks=True)
    _ingest(task, testing.IMAGE_SPEC, tmp_path)
    findings, examples = sources.read_near_duplicates(str(tmp_path / 'rejected'))
    names = {'train/left/<b>.jpg', 'eval/left/again.jpg', 'train/right/other.jpg'}
    assert findings.near_leaks.count == 2 and findings.near_duplicates.count == 1 and set(examples) == names
    section = near_duplicates.section('shapes', 'image', findings, examples)
    assert section and (section['count'], section['leaks']) == (3, 2)
    assert [row['where'] for row in section['rows']] == ['train and eval', 'train and eval', 'one split']
    assert pictures.draw([near_duplicates.pictures(section)], 1_000_000) == 0
    page = render.environment().get_template('near_duplicates.html').render(near_duplicates=[section], colours={})
    assert page.count('src="data:image/jpeg;base64,') == 6
    assert 'train/left/&lt;b&gt;.jpg' in page and '<b>' not in page and '3 pairs, 2 in train and eval' in page
    # Without any there is no file, and no section.
    assert near_duplicates.section('shapes', 'image', Findings(), {}) is None


def test_tables_with_media_inside(tmp_path, monkeypatch):
    monkeypatch.setitem(MODALITIES, 'image', dataclasses.replace(MODALITIES['image'], shard_entries=10))
    images = [testing.image_bytes(seed=i) for i in range(30)]
    tables.write_parquet(tmp_path / 'data/data/train-00000-of-00001.parquet', tables.media_table(
        [*images[:24], b'no image']), rows=7)
    tables.write_arrow(tmp_path / 'data/data/test.arrow', tables.media_table(images[24:]))
    task = testing.task('shapes', 'image', folder=str(tmp_path / 'data'), max_rejected_share=0.5)
    examples, rejected, names = _ingest(task, testing.IMAGE_SPEC, tmp_path)
    assert len(names['train']) == 3
    assert [rejection.path for rejection in rejected] == ['data/train-00000-of-00001.parquet!00000024']
    assert {_bytes(example, 'id')[0].decode(): (_bytes(example, 'image')[0], _bytes(example, 'label')[0])
            for split in examples.values() for example in split} == {
        **{f'data/train-00000-of-00001.parquet!{i:08d}': (images[i], b'dog' if i % 2 else b'cat') for i in range(24)},
        **{f'data/test.arrow!{i:08d}': (images[24 + i], b'dog' if i % 2 else b'cat') for i in range(6)}}


def test_the_same_files_twice_give_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setitem(MODALITIES, 'image', dataclasses.replace(MODALITIES['image'], shard_entries=3))
    task = testing.image_task(tmp_path / 'data')
    examples, _, names = _ingest(task, testing.IMAGE_SPEC, tmp_path / '1')
    assert names['train'] == [f'data_tfrecord-{i:05d}-of-00003.gz' for i in range(3)]
    assert len(examples['train']) == 8
    again, _, _ = _ingest(task, testing.IMAGE_SPEC, tmp_path / '2')
    assert [e.SerializeToString(deterministic=True) for e in again['train']] == [
        e.SerializeToString(deterministic=True) for e in examples['train']]


def test_sounds_with_several_labels_in_a_manifest(tmp_path):
    task = testing.tags_task(tmp_path / 'data')
    examples, rejected, _ = _ingest(task, testing.AUDIO_SPEC, tmp_path)
    assert rejected == [] and (len(examples['train']), len(examples['eval'])) == (8, 4)
    example = next(e for e in examples['train'] if _bytes(e, 'id') == [b'wav/train_high_3.wav'])
    assert _bytes(example, 'label') == [b'high', b'odd']
    wave, rate = tf.audio.decode_wav(_bytes(example, 'audio')[0])
    assert rate.numpy() == 16000
    assert example.features.feature['duration_s'].float_list.value[0] == pytest.approx(0.26) == len(wave) / 16000


def test_clips_and_a_manifest_that_names_a_missing_file(tmp_path):
    task = testing.video_task(tmp_path / 'data', max_missing_share=0.2)
    with open(tmp_path / 'data/manifest.csv', 'a') as file:
        file.write('clips/gone.mp4,dark,train\n')
    examples, rejected, _ = _ingest(task, testing.VIDEO_SPEC, tmp_path)
    assert [(r.path, r.reason) for r in rejected] == [('clips/gone.mp4', 'missing')]
    assert (len(examples['train']), len(examples['eval'])) == (6, 4)
    frames = _bytes(examples['eval'][0], 'frames')
    assert len(frames) == 8 and tf.io.decode_jpeg(frames[0]).shape == (16, 16, 3)
    assert examples['eval'][0].features.feature['duration_s'].float_list.value[0] == pytest.approx(1.0)


def test_too_many_rejected_files_are_listed_and_left_to_the_validator(tmp_path):
    task = testing.image_task(tmp_path / 'data', per_class=20)
    for i in range(12):
        testing.write(tmp_path / 'data', f'train/left/bad{i:02d}.png', b'no picture')
    examples, rejected, _ = _ingest(task, testing.IMAGE_SPEC, tmp_path)
    assert len(rejected) == 12 and len(examples['train']) == 40
    assert read_findings(str(tmp_path / 'rejected')).rejected['unsupported'].count == 12


def _contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_what_does_not_fit_into_memory_is_ingested_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setitem(MODALITIES, 'image', dataclasses.replace(MODALITIES['image'], shard_entries=3))
    data = tmp_path / 'data'
    tasks = {'folders': testing.image_task(data, max_rejected_share=1.0)}
    good = (data / 'train/left/0.png').read_bytes()
    for name in ('train/right/copy.png', 'eval/left/copy.png', 'loose.png', 'train/left/c/deep.png',
                 'train/left/b\x01d.png'):
        testing.write(data, name, good)
    testing.write(data, 'train/left/cut.png', good[:-20])
    testing.write(data, 'train/left/plain.png', testing.plain_image_bytes())
    (data / 'out.png').symlink_to(tmp_path / 'other.png')
    rows = [(path.relative_to(data).as_posix(), path.parent.name, 'train') for path in sorted(data.glob('*/*/*.png'))]
    testing.write_manifest(data, [*rows, rows[3], (rows[5][0], 'left', 'eval'), ('gone.png', 'left', 'train'),
                                  ('../up.png', 'left', 'eval'), ('out.png', 'left', 'eval'), ('short',)])
    tasks['manifest'] = testing.changed(tasks['folders'], manifest='manifest.csv')
    fingerprints = {name: listing.media_fingerprint(task.source) for name, task in tasks.items()}
    for name, task in tasks.items():
        _ingest(task, testing.IMAGE_SPEC, tmp_path / 'before' / name)
    monkeypatch.setattr('media.rows.MEMORY_ROWS', 4)
    monkeypatch.setattr('media.rows._BLOCK_ROWS', 3)
    monkeypatch.setattr(plan_files, 'FILE_SHARDS', 2)
    for name, task in tasks.items():
        assert not isinstance(listing.list_media(task.source).entries, list)
        assert listing.media_fingerprint(task.source) == fingerprints[name]
        _, rejected, names = _ingest(task, testing.IMAGE_SPEC, tmp_path / 'after' / name)
        assert len(names['train']) >= 4 and len({rejection.reason for rejection in rejected}) >= 2
    assert len(_contents(tmp_path / 'before')) > 10
    assert _contents(tmp_path / 'after') == _contents(tmp_path / 'before')


def test_a_plan_travels_in_files(tmp_path, monkeypatch):
    monkeypatch.setattr(plan_files, 'FILE_SHARDS', 2)
    plan = ShardPlan('image')
    for i in range(2_500):
        plan.add(Entry(f'{i}', ('ä', 'b'), 'train', 0.1, extra=(('site', 'x'),)), 1)
    paths = plan_files.write(plan, str(tmp_path))
    assert len(paths) == 2 and all(path.startswith(f'{tmp_path}/.tmp-') for path in paths)
    assert [shard for path in paths for shard in plan_files.read(path)] == list(plan) and len(list(plan)) == 4


def test_a_shard_that_is_read_again_replaces_its_rejections(tmp_path):
    rejected = [Rejection('unreadable', 'It is locked.', 'b.png'), Rejection('empty', 'It has no bytes.', 'a.png')]
    listed = [Rejection('bad_path', 'It leads out.', 'aa.png')]
    beam_steps.write_rejected(str(tmp_path), 'train-0', rejected)
    beam_steps.write_rejected(str(tmp_path), 'eval-0', rejected[:1])
    beam_steps.write_rejected(str(tmp_path), 'eval-0', [])
    beam_steps.write_findings(Findings().to_dict(), str(tmp_path))
    findings, merged = beam_steps.merge_parts(str(tmp_path), listed)
    assert sorted(merged) == [rejected[1], listed[0], rejected[0]]
    assert findings.rejected == {'bad_path': Tally(1, [['aa.png', 'It leads out.']])}


def test_a_split_without_examples_is_an_empty_file(tmp_path):
    examples, _, names = _ingest(testing.image_task(tmp_path / 'data', eval_per_class=0), testing.IMAGE_SPEC, tmp_path)
    assert examples['eval'] == [] and names['eval'] == ['data_tfrecord-00000-of-00001.gz']


def test_the_same_image_in_train_and_eval_is_found(tmp_path):
    task = testing.image_task(tmp_path / 'data')
    testing.write(tmp_path / 'data', 'eval/left/copy.png', (tmp_path / 'data/train/left/0.png').read_bytes())
    examples, _, _ = _ingest(task, testing.IMAGE_SPEC, tmp_path)
    assert len(examples['eval']) == 5
    assert read_findings(str(tmp_path / 'rejected')).leaks == LongTally(1, [['eval/left/copy.png', 'train/left/0.png']])


def test_media_that_changed_since_they_were_checked_stop_the_run_before_any_is_read(tmp_path):
    task = testing.image_task(tmp_path / 'data')
    checked = listing.media_fingerprint(task.source)
    _ingest(task, testing.IMAGE_SPEC, tmp_path / '1', checked)
    testing.write(tmp_path / 'data', 'train/left/new.png', testing.image_bytes(seed=9))
    with pytest.raises(PipelineStop, match='Task shapes: the media in .*data .*changed after the run.*Run again'):
        _ingest(task, testing.IMAGE_SPEC, tmp_path / '2', checked)
    assert not (tmp_path / '2').exists()
    examples, _, _ = _ingest(task, testing.IMAGE_SPEC, tmp_path / '3', listing.media_fingerprint(task.source))
    assert len(examples['train']) == 9


def test_the_version_of_the_data_is_the_one_of_the_run(tmp_path):
    testing.image_task(tmp_path / 'monday', per_class=1)
    testing.image_task(tmp_path / 'tuesday', per_class=2)
    task = testing.image_task(tmp_path / 'unused', folder=str(tmp_path / '{data_version}'))
    for version, count in (('monday', 2), ('tuesday', 4)):
        checked = listing.media_fingerprint(task.source.at_version(version))
        examples, _, _ = _ingest(task, testing.IMAGE_SPEC, tmp_path / f'{version}_out', checked, version)
        assert len(examples['train']) == count


def test_odd_media_are_kept_and_reported(tmp_path):
    task = testing.image_task(tmp_path / 'data')
    testing.write(tmp_path / 'data', 'train/left/plain.png', testing.plain_image_bytes())
    examples, rejected, _ = _ingest(task, testing.IMAGE_SPEC, tmp_path)
    assert rejected == [] and 'train/left/plain.png' in _ids(examples['train'])
    assert read_findings(str(tmp_path / 'rejected')).notes == {'one_colour': Tally(1, ['train/left/plain.png'])}


def test_workers_import_no_tfx():
    """It would take a third of their start, which each Beam job waits for."""
    code = 'import sys, components.media_example_gen.beam_steps; print([m for m in sys.modules if "tfx." in m])'
    answer = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert answer.stdout == '[]\n', answer.stderr


def test_data_that_cannot_be_listed_starts_nothing(tmp_path):
    with pytest.raises(ConfigError, match='no folder'):
        _ingest(testing.image_task(tmp_path / 'data', folder=str(tmp_path / 'none')), testing.IMAGE_SPEC, tmp_path)
    assert not (tmp_path / 'examples').exists()


def test_a_jpeg_that_only_tensorflow_rejects():
    content = bytearray(testing.image_bytes('JPEG', size=(40, 40)))
    good = bytes(content)
    content[-2:] = b'\0\0'
    assert tf_check.undecodable([(good, 1_600)]) == [None]
    errors = tf_check.undecodable([(good, 1_600), (bytes(content), 1_600), (good, 1_600)])
    assert [e and e.reason for e in errors] == [None, 'undecodable', None]


def test_the_component_declares_what_the_pipeline_wires():
    component = MediaExampleGen(source='{}', spec='{}', media_fingerprint='f', code_version='v')
    assert {k: c.type.TYPE_NAME for k, c in component.outputs.items()} == {
        'examples': 'Examples', 'rejected': RejectedMedia.TYPE_NAME, 'classes': Classes.TYPE_NAME}
    assert component.exec_properties == {
        'source': '{}', 'spec': '{}', 'media_fingerprint': 'f', 'code_version': 'v'}


def _on_disk(tmp_path, kind):
    """A task of this kind of data with a broken file, and its spec."""
    if kind == 'folders':
        task = testing.image_task(tmp_path, max_rejected_share=0.5)
        testing.write(tmp_path, 'train/left/cut.png', testing.image_bytes()[:-20])
        return task, testing.IMAGE_SPEC
    if kind == 'manifest':
        task = testing.audio_task(tmp_path, max_rejected_share=0.5)
        (tmp_path / 'wav/train_low_0.wav').unlink()  # missing
        return task, testing.AUDIO_SPEC
    if kind == 'video':
        return testing.video_task(tmp_path), testing.VIDEO_SPEC
    for name, content in {'0.png': testing.image_bytes(), '0.cls': b'cat', '1.png': testing.image_bytes(seed=1)[:-20],
                          '1.cls': b'dog', '2.png': testing.image_bytes(seed=2), '2.cls': b'dog'}.items():
        testing.write(tmp_path / 'members', name, content)
    with tarfile.open(testing.write(tmp_path, 'train-0.tar', b''), 'w') as archive:
        for path in sorted((tmp_path / 'members').iterdir()):
            archive.add(path, path.name)
    shutil.rmtree(tmp_path / 'members')
    return testing.task('shapes', 'image', folder=str(tmp_path), format='tar',
                        max_rejected_share=0.5), testing.IMAGE_SPEC


@pytest.mark.parametrize('store, kind', [('s3', 'folders'), ('s3', 'manifest'), ('s3', 'video'), ('s3', 'tar'),
                                         ('gcs', 'manifest'), ('gcs', 'tar')])
def test_media_in_an_object_store_become_the_examples_of_the_same_media_on_disk(store, kind, request, tmp_path):
    """By the same executor, and so by the decoder's child process, from a bucket as from a folder."""
    task, spec = _on_disk(tmp_path / 'data', kind)
    url = f'{request.getfixturevalue(store)}/media'
    file_io.copy_folder(str(tmp_path / 'data'), url)
    local = _ingest(task, spec, tmp_path / 'local')
    remote = _ingest(testing.changed(task, folder=url), spec, tmp_path / 'remote')
    assert [e.SerializeToString(deterministic=True) for split in remote[0].values() for e in split] == [
        e.SerializeToString(deterministic=True) for split in local[0].values() for e in split]
    assert [(r.path, r.reason) for r in remote[1]] == [(r.path, r.reason) for r in local[1]]
    assert bool(remote[1]) == (kind != 'video') and remote[2] == local[2]
