"""media.open_entry: a file, a member of an archive, a record as PNG; nothing outside the data folder."""

import io
import os
import tarfile

import numpy as np
import pytest
from PIL import Image

from media import listing, open_entry
from media.entries import Entry
from media.rejections import Rejection
from model_code import modalities
from tests import testing

LIMITS = modalities.Limits().for_modality('image')


def _read(root, entry, limits=LIMITS):
    with open_entry.open_entry(os.fspath(root), entry, limits) as file:
        assert file.seekable()
        return file.read()


def test_a_file_and_a_member_of_an_archive(tmp_path):
    testing.write(tmp_path, 'cat/1.png', b'whole file')
    assert _read(tmp_path, Entry('cat/1.png', ('cat',), 'train')) == b'whole file'
    with tarfile.open(tmp_path / 'train.tar', 'w') as archive:
        for name, content in (('a.jpg', b'first' * 200), ('a.cls', b'1'), ('b.jpg', b'second'), ('b.cls', b'2')):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    entries = listing.list_media(testing.source('t', 'image', folder=os.fspath(tmp_path), format='tar')).entries
    assert [_read(tmp_path, e) for e in entries] == [b'first' * 200, b'second']
    # The limit is the member's, not the archive's.
    assert _read(tmp_path, entries[1], modalities.Limits(bytes=10).for_modality('image')) == b'second'
    with pytest.raises(Rejection) as caught:
        _read(tmp_path, entries[0], modalities.Limits(bytes=10).for_modality('image'))
    assert caught.value.reason == 'too_large'


def test_cifar_records_become_png_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    testing.write(tmp_path, 'data_batch_1.bin', b''.join(bytes([i]) + image.transpose(2, 0, 1).tobytes()
                                                         for i, image in enumerate(pixels)))
    testing.write(tmp_path, 'batches.meta.txt', 'plane\ncar\n')
    entries = listing.list_media(testing.source('t', 'image', folder=os.fspath(tmp_path), format='cifar10')).entries
    assert [e.labels for e in entries] == [('plane',), ('car',)]
    for entry, expected in zip(entries, pixels, strict=True):
        content = _read(tmp_path, entry)
        np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(content))), expected)
        assert _read(tmp_path, entry) == content  # the same bytes every time
    testing.write(tmp_path, 'data_batch_1.bin', bytes(3073 + 100))
    with pytest.raises(Rejection) as caught:
        _read(tmp_path, entries[1])
    assert caught.value.reason == 'truncated'


def test_a_file_that_became_a_link_out_after_the_listing_is_not_opened(tmp_path):
    testing.write(tmp_path, 'secret.png', b'secret')
    testing.write(tmp_path, 'data/cat/1.png', b'x')
    entry = Entry('cat/1.png', ('cat',), 'train')
    assert _read(tmp_path / 'data', entry) == b'x'
    (tmp_path / 'data/cat/1.png').unlink()
    (tmp_path / 'data/cat/1.png').symlink_to(tmp_path / 'secret.png')
    with pytest.raises(Rejection) as caught:
        _read(tmp_path / 'data', entry)
    assert caught.value.reason == 'bad_path'


def test_a_missing_file(tmp_path):
    with pytest.raises(Rejection) as caught:
        _read(tmp_path, Entry('cat/1.png', ('cat',), 'train'))
    assert caught.value.reason == 'missing'
