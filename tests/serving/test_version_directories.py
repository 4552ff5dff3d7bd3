"""serving.version_directories: a version is a directory named by a number."""

import pytest

from model_code import file_io
from serving import version_directories


def test_versions_are_directories_named_by_a_number(tmp_path):
    for name in ('2', '010', '3', '.tmp-4', '5.copying', 'seven', '-8', '+9', ' 11', '²', '', str(2 ** 63), '9' * 25,
                 str(2 ** 63 - 1)):
        (tmp_path / name).mkdir(exist_ok=True)
    for name in ('2', '010', '.tmp-4', '5.copying', '-8', '²'):
        (tmp_path / name / 'saved_model.pb').write_bytes(b'graph')
    (tmp_path / '12').write_text('a file')
    base = str(tmp_path)
    assert list(version_directories.list_versions(base).items()) == [
        (2, f'{base}/2'), (3, f'{base}/3'), (10, f'{base}/010'), (2 ** 63 - 1, f'{base}/{2 ** 63 - 1}')]
    assert list(version_directories.list_models(base).items()) == [(2, f'{base}/2'), (10, f'{base}/010')]


def test_a_missing_base_directory_has_no_versions(tmp_path, s3):
    (tmp_path / 'file').write_text('')
    for base in (f'{tmp_path}/nowhere', f'{tmp_path}/file', f'{s3}/nowhere'):
        assert version_directories.list_versions(base) == version_directories.list_models(base) == {}


@pytest.mark.parametrize('store', ['s3', 'gcs'])
def test_a_base_directory_may_be_a_url(store, request):
    base = f'{request.getfixturevalue(store)}/serving/polyvit'
    for name in ('7/saved_model.pb', '7/variables/v', 'x/saved_model.pb', '12/variables/v'):
        file_io.write(f'{base}/{name}', '')
    assert version_directories.list_versions(base) == {7: f'{base}/7', 12: f'{base}/12'}
    assert version_directories.list_models(base) == {7: f'{base}/7'}
