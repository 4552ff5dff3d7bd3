"""Changed code changes the version of what depends on it, and of nothing else."""

import dataclasses

import pytest

from pipeline import fingerprints
from pipeline.config import load_config


@pytest.fixture
def project(tmp_path):
    """components/a imports model_code.shared inside a function; components/b imports nothing; both have a folder."""
    for name, text in {
            'components/__init__.py': '', 'components/a/__init__.py': '', 'components/b/__init__.py': '',
            'components/a/component.py': 'import os\n\ndef f():\n    from model_code import shared\n',
            'components/b/component.py': 'X = 1\n', 'components/b/page.html': '<p>',
            'model_code/__init__.py': '', 'model_code/shared.py': 'import model_code.deep\n',
            'model_code/deep.py': 'Y = 1\n', 'model_code/other.py': 'Z = 1\n'}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def _versions(root):
    fingerprints.code_version.cache_clear()
    return [fingerprints.code_version(f'components.{name}', root=root) for name in 'ab']


def test_a_module_imported_through_another_counts(project):
    files = [str(p.relative_to(project)) for p in fingerprints.source_files('components.a', root=project)]
    assert files == ['components/a/__init__.py', 'components/a/component.py', 'model_code/__init__.py',
                     'model_code/deep.py', 'model_code/shared.py']


@pytest.mark.parametrize('changed, which', [
    ('model_code/deep.py', (True, False)),
    ('components/b/page.html', (False, True)),
    ('model_code/other.py', (False, False)),
])
def test_only_what_depends_on_a_file_changes(project, changed, which):
    before = _versions(project)
    (project / changed).write_text('W = 2\n')
    after = _versions(project)
    assert tuple(b != a for b, a in zip(before, after)) == which


def test_a_missing_package_is_an_error(project):
    with pytest.raises(ValueError, match='components.none'):
        fingerprints.source_files('components.none', root=project)


def test_every_component_has_a_version_and_lanes_do_not_depend_on_the_model():
    versions = {name: fingerprints.component_version(name) for name in fingerprints.COMPONENT_CODE}
    assert len(set(versions.values())) == len(versions)
    lane = {p.name for name in ('MediaExampleGen', 'TaskSchemaGen', 'TaskValidator')
            for p in fingerprints.source_files(*fingerprints.COMPONENT_CODE[name])}
    assert 'encoder.py' not in lane and 'tasks.py' in lane
    trainer = {p.name for p in fingerprints.source_files(*fingerprints.COMPONENT_CODE['CoTrainer'])}
    assert {'encoder.py', 'image.py'} <= trainer and 'cli.py' not in trainer


def test_run_key_follows_config_and_media_but_not_the_root():
    config, media = load_config('demo'), {'digits': 'a', 'sounds': 'b', 'motion': 'c'}
    key = fingerprints.run_key(config, media)
    assert fingerprints.run_key(dataclasses.replace(config, root='/elsewhere'), media) == key
    assert fingerprints.run_key(config, {**media, 'motion': 'd'}) != key
    training = dataclasses.replace(config.training, learning_rate=0.5)
    assert fingerprints.run_key(dataclasses.replace(config, training=training), media) != key
