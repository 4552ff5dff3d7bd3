"""The object stores that tests use: this process and its children reach them by the environment alone."""

import os
import subprocess
import sys

import pytest

from tests import object_stores

_LIST = 'import sys; from tests.object_stores import object_names; print(object_names(sys.argv[1]))'


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_a_bucket_is_reached_from_a_child_process_and_forgotten_afterwards(store):
    before = dict(os.environ)
    with getattr(object_stores, f'{store}_bucket')() as url:
        object_stores.put_object(f'{url}/folder/a.txt', b'abc')
        object_stores.put_object(f'{url}/b.txt')
        assert object_stores.object_names(url) == ['b.txt', 'folder/a.txt']
        listed = subprocess.run([sys.executable, '-c', _LIST, f'{url}/folder'], capture_output=True, text=True)
        assert listed.stdout == "['folder/a.txt']\n", listed.stderr
        assert not listed.stderr
    assert dict(os.environ) == before


def test_each_bucket_is_empty_at_first(s3, gcs):
    assert object_stores.object_names(s3) == object_stores.object_names(gcs) == []
    with object_stores.s3_bucket() as another:
        object_stores.put_object(f'{another}/a.txt')
        assert another != s3
    assert object_stores.object_names(s3) == []
