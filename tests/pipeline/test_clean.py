"""`polyvit clean` on roots with a few small files and the metadata that TFX would have written."""

import json
import os
import sys
import time

import pytest
from ml_metadata.metadata_store import metadata_store
from ml_metadata.proto import metadata_store_pb2 as mlmd

from model_code.errors import ConfigError, PipelineStop
from pipeline import clean, cli, run_record
from pipeline.lineage import Lineage
from tests import terminals

DAY = 24 * 3600


class Root:
    """A root under construction. Each run gets the next number and is a minute later than the one before."""

    def __init__(self, path):
        self.path = path
        self.count = 0
        (path / 'logs').mkdir(parents=True)
        config = mlmd.ConnectionConfig()
        config.sqlite.filename_uri = str(path / 'metadata.db')
        config.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READWRITE_OPENCREATE
        self.store = metadata_store.MetadataStore(config)
        self.types = {
            'artifact': self.store.put_artifact_type(mlmd.ArtifactType(name='Model')),
            'pipeline': self.store.put_context_type(mlmd.ContextType(name='pipeline')),
            'run': self.store.put_context_type(mlmd.ContextType(name='pipeline_run'))}
        self.made = {}  # uri -> artifact id

    def run(self, finished=True, pushed='', cached=(), config='polyvit-x', training=None, report=True):
        """A run whose trainer and report made new artifacts, unless `cached` has their folders."""
        self.count += 1
        pipeline, = self.store.put_contexts([mlmd.Context(type_id=self.types['pipeline'], name=config)]) if not (
            self.store.get_context_by_type_and_name('pipeline', config)) else [
            self.store.get_context_by_type_and_name('pipeline', config).id]
        context, = self.store.put_contexts([mlmd.Context(type_id=self.types['run'], name=f'run{self.count}')])
        self.store.put_parent_contexts([mlmd.ParentContext(child_id=context, parent_id=pipeline)])
        made = []
        for node, key in (('CoTrainer', 'model'), ('AtomicPusher', 'pushed_model'), ('Report', 'report')):
            if node == 'Report' and not report:
                continue
            uri = next((u for u in cached if node in u), '') or self.folder(node, key)
            artifact = mlmd.Artifact(type_id=self.types['artifact'], uri=uri, state=mlmd.Artifact.LIVE)
            if node == 'AtomicPusher' and pushed:
                artifact.custom_properties['pushed_version'].string_value = pushed
            if uri in self.made:
                artifact = self.store.get_artifacts_by_id([self.made[uri]])[0]
            kind = self.store.put_execution_type(mlmd.ExecutionType(name=f'components.{node.lower()}.component.{node}'))
            execution = mlmd.Execution(type_id=kind, last_known_state=(
                mlmd.Execution.COMPLETE if finished or node != 'Report' else mlmd.Execution.FAILED))
            if node == 'CoTrainer':
                execution.custom_properties['training'].string_value = json.dumps(training or {})
            event = mlmd.Event(type=mlmd.Event.OUTPUT,
                               path=mlmd.Event.Path(steps=[mlmd.Event.Path.Step(key=key)]))
            contexts = self.store.get_contexts_by_id([context, pipeline])
            _, (number,), _ = self.store.put_execution(execution, [(artifact, event)], contexts)
            self.made[uri] = number
            made.append(uri)
        (self.path / 'logs' / f'run-20260101-{self.count:06d}.log').write_text('log')
        time.sleep(0.002)  # MLMD counts milliseconds
        return made

    def folder(self, node, key):
        folder = self.path / 'pipeline' / node / key / str(len(self.made) + 1)
        folder.mkdir(parents=True)
        (folder / 'file').write_text('x' * 100)
        return str(folder)

    def push(self, version, **card):
        folder = self.path / 'serving' / 'polyvit' / str(version)
        (folder / 'assets.extra').mkdir(parents=True)
        (folder / 'saved_model.pb').write_bytes(b'x')
        (folder / 'assets.extra' / 'model_card.json').write_text(json.dumps(card))
        return folder


@pytest.fixture
def root(tmp_path):
    return Root(tmp_path / 'root')


def _age(path, days):
    then = time.time() - days * DAY
    for file in [path, *path.rglob('*')]:
        os.utime(file, (then, then))


def _clean(root, *options):
    return cli.main(['clean', '--root', str(root.path), '--yes', *options])


def _live(root):
    return {a.uri for a in root.store.get_artifacts() if a.state == mlmd.Artifact.LIVE}


def _exist(uris):
    return [os.path.exists(uri) for uri in uris]


class TestResults:
    def test_those_of_old_runs_go_from_the_metadata_and_the_disk(self, root, capsys):
        runs = [root.run() for _ in range(5)]
        assert _clean(root, '--keep', '2') == 0
        for uris, kept in zip(runs, [False, False, False, True, True], strict=True):
            assert _exist(uris) == [kept] * 3
            assert set(uris) <= _live(root) if kept else not set(uris) & _live(root)
        assert 'Freed 909 Bytes; 606 Bytes remain.' in capsys.readouterr().out

    def test_what_a_kept_run_took_from_the_cache_stays(self, root):
        first = root.run()
        root.run()
        root.run(cached=first[:1])
        assert _clean(root, '--keep', '1') == 0
        assert _exist(first) == [True, False, False]

    def test_the_artifacts_that_stay_are_not_written(self, root):
        """When an artifact was written is part of the cache key of what read it."""
        root.run()
        kept = set(root.run())
        before = {a.uri: a.last_update_time_since_epoch for a in root.store.get_artifacts() if a.uri in kept}
        time.sleep(0.002)
        assert _clean(root, '--keep', '1') == 0
        assert before == {a.uri: a.last_update_time_since_epoch for a in root.store.get_artifacts() if a.uri in kept}

    def test_the_newest_finished_run_of_each_config_stays(self, root):
        other, finished = root.run(config='polyvit-other'), root.run()
        failed = [root.run(finished=False) for _ in range(3)]
        assert _clean(root, '--keep', '1') == 0
        assert _exist(other) == _exist(finished) == _exist(failed[2]) == [True] * 3
        assert _exist(failed[0]) == _exist(failed[1]) == [False] * 3

    def test_the_run_that_pushed_what_is_served_stays(self, root):
        root.push(7)
        old, pushed, rejected = root.run(), root.run(pushed='7'), root.run()
        assert _clean(root, '--keep', '1') == 0
        assert [_exist(run)[0] for run in (old, pushed, rejected)] == [False, True, True]

    def test_by_age(self, root, monkeypatch):
        runs = [root.run() for _ in range(3)]
        assert _clean(root, '--keep', '1', '--older-than', '7d') == 0
        assert _exist(runs[0] + runs[1]) == [True] * 6
        now = time.time()
        monkeypatch.setattr(clean.time, 'time', lambda: now + 8 * DAY)
        assert _clean(root, '--keep', '1', '--older-than', '7d') == 0
        assert _exist(runs[0] + runs[1]) == [False] * 6 and _exist(runs[2]) == [True] * 3

    def test_what_no_artifact_names_is_removed(self, root):
        root.run()
        killed = root.folder('Transform_a', 'graph') + '9'
        os.makedirs(killed)
        assert _clean(root, '--older-than', '1d') == 0 and os.path.exists(killed)
        assert _clean(root) == 0 and not os.path.exists(killed)

    def test_a_removal_that_was_cut_short_is_finished(self, root, monkeypatch):
        old, new = root.run(), root.run()

        def fail(path):
            raise OSError(13, 'Permission denied')
        monkeypatch.setattr(clean.shutil, 'rmtree', fail)
        assert _clean(root, '--keep', '1') == 1
        assert _exist(old) == [True] * 3 and _live(root) == set(new)  # no run takes them for results
        monkeypatch.undo()
        assert _clean(root, '--keep', '1') == 0
        assert _exist(old) == [False] * 3 and _exist(new) == [True] * 3

    def test_what_a_training_started_from_stays(self, root):
        first, second = root.run(), root.run()
        root.push(3), root.push(4), root.push(5)
        root.run(training={'initial_checkpoint': first[0]})
        root.run(training={'initial_checkpoint': str(root.path / 'serving' / 'polyvit' / '3')})
        assert _clean(root, '--keep', '2') == 0
        assert _exist(first) == [True, False, False] and _exist(second) == [False] * 3
        assert sorted(os.listdir(root.path / 'serving' / 'polyvit')) == ['3', '4', '5']

    def test_the_results_of_a_record_stay_without_metadata(self, root):
        made = root.run()
        record = {'id': '20260101-000001', 'config': 'x', 'log': str(root.path / 'logs' / 'run-20260101-000001.log'),
                  'state': 'done', 'started': '2026-01-01T00:00:01+00:00', 'exit_code': 0, 'seconds': 1.0,
                  'components': {'CoTrainer': {'cached': False, 'seconds': 1, 'outputs': {'model': [made[0]]}}}}
        (root.path / 'logs' / 'run-20260101-000001.json').write_text(json.dumps(record))
        os.remove(root.path / 'metadata.db')
        assert _clean(root) == 0
        assert _exist(made) == [True, False, False]


class TestVersions:
    def test_the_newest_and_its_baseline_stay(self, root):
        for version in (1, 2, 3, 4, 5):
            root.push(version, baseline_version='2' if version == 5 else '')
        assert _clean(root, '--keep', '1') == 0
        assert sorted(os.listdir(root.path / 'serving' / 'polyvit')) == ['2', '5']

    def test_by_count_and_age(self, root):
        for version in (1, 2, 3, 4):
            _age(root.push(version), 10 if version == 2 else 0)
        assert _clean(root, '--keep', '1', '--older-than', '1w') == 0
        assert sorted(os.listdir(root.path / 'serving' / 'polyvit')) == ['1', '3', '4']

    def test_a_folder_without_a_model_is_not_ours(self, root):
        (root.path / 'serving' / 'polyvit' / '9').mkdir(parents=True)
        root.push(1), root.push(2)
        assert _clean(root, '--keep', '1') == 0
        assert sorted(os.listdir(root.path / 'serving' / 'polyvit')) == ['2', '9']


class TestOtherParts:
    def _training(self, root, name, days):
        folder = root.path / 'pipeline' / 'CoTrainer' / 'model_run' / 'unfinished' / name
        folder.mkdir(parents=True)
        (folder / 'ckpt-1.index').write_text('x')
        _age(folder, days)
        return folder

    def test_unfinished_trainings_go_only_by_age_and_are_named(self, root, capsys):
        old, new = self._training(root, 'oldkey', 10), self._training(root, 'newkey', 1)
        assert _clean(root, '--keep', '1') == 0 and old.exists()
        assert 'Unfinished trainings resume' in capsys.readouterr().out
        assert _clean(root, '--older-than', '7d') == 0
        assert not old.exists() and new.exists()
        out = capsys.readouterr().out
        assert 'oldkey' in out and 'newkey' not in out and 'starts anew' in out

    def test_old_logs(self, root):
        for _ in range(4):
            root.run()
        (root.path / 'logs' / 'serving.log').write_text('')
        assert _clean(root, '--keep', '2') == 0
        assert sorted(os.listdir(root.path / 'logs')) == ['run-20260101-000003.log', 'run-20260101-000004.log',
                                                          'serving.log']

    def test_leftovers(self, root):
        leftovers = ['.tmp-1', 'serving/polyvit/.tmp-2', 'pipeline/X/.system/executor_execution/3/.temp',
                     'pipeline/X/.system/stateful_working_dir/abc']
        for name in leftovers:
            (root.path / name / 'folder').mkdir(parents=True)
        assert _clean(root) == 0
        assert not any((root.path / name).exists() for name in leftovers)
        assert (root.path / 'pipeline/X/.system/executor_execution/3').exists()

    def test_other_folders_of_the_root_are_not_touched(self, root):
        media = root.path / 'media' / 'digits' / '7'
        media.mkdir(parents=True)
        assert _clean(root) == 0 and media.exists()


class TestTheCommand:
    def test_it_does_nothing_while_a_run_holds_the_lock(self, root, capsys):
        runs = [root.run() for _ in range(2)]
        with run_record.one_run_at_a_time(root.path):
            assert _clean(root, '--keep', '1') == 2
        assert 'Another run, a study or polyvit clean is in progress' in capsys.readouterr().err
        assert _exist(runs[0]) == [True] * 3

    def test_without_a_terminal_it_needs_yes(self, root, capsys):
        runs = [root.run() for _ in range(2)]
        assert cli.main(['clean', '--root', str(root.path), '--keep', '1']) == 2
        assert '--yes' in capsys.readouterr().err and _exist(runs[0]) == [True] * 3

    @pytest.mark.parametrize('answer, code, removed', [
        (b'y\r', 0, True), (b'n\r', 0, False), (b'\r', 0, False), (terminals.CTRL_C, 130, False)])
    def test_it_asks_on_a_terminal(self, root, answer, code, removed):
        old, _ = root.run(), root.run()
        session = terminals.run([sys.executable, '-m', 'polyvit', 'clean', '--root', root.path, '--keep', '1'],
                                keys=[('Remove 303 Bytes? [y/N] ', answer)])
        assert session.exit_code == code and session.widest() <= 80 and 'Traceback' not in session.text
        assert ('Freed 303 Bytes;' in session.text) == removed and _exist(old) == [not removed] * 3

    def test_a_dry_run_removes_nothing(self, root, capsys):
        old, _ = root.run(), root.run()
        assert cli.main(['clean', '--root', str(root.path), '--keep', '1', '--dry-run']) == 0
        out = capsys.readouterr().out
        assert '303 Bytes would be freed' in out and _exist(old) == [True] * 3 and set(old) <= _live(root)
        rows = {line[:31].strip(): line[31:].split() for line in out.splitlines()}
        assert rows['results of components'] == ['300', 'Bytes', '300', 'Bytes', '3', 'folders']

    def test_nothing_to_remove(self, root, capsys):
        root.run()
        assert cli.main(['clean', '--root', str(root.path)]) == 0
        assert capsys.readouterr().out.endswith('There is nothing to remove.\n')

    @pytest.mark.parametrize('options, sentence', [
        (['--keep', '0'], '--keep is 0; it must be at least 1.'),
        (['--older-than', '7'], "--older-than is '7'; it must be an age such as 12h, 7d or 4w."),
        (['--root', '/nowhere/at/all'], 'There is no run under /nowhere/at/all.'),
        (['--root', 'gs://bucket/root'], 'it must be a folder of this machine')])
    def test_wrong_arguments(self, root, capsys, options, sentence):
        assert cli.main(['clean', '--root', str(root.path), *options]) == 2
        assert sentence in capsys.readouterr().err

    def test_all_roots_under_runs_but_those_with_a_run_in_progress(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        a, b = Root(tmp_path / 'runs' / 'a'), Root(tmp_path / 'runs' / 'b')
        runs = [(root.run(), root.run())[0] for root in (a, b)]
        with run_record.one_run_at_a_time(b.path):
            assert cli.main(['clean', '--keep', '1', '--yes']) == 0
        assert _exist(runs[0]) == [False] * 3 and _exist(runs[1]) == [True] * 3
        out = capsys.readouterr().out
        assert 'runs/b: a run is in progress' in out and 'runs/a\n' in out

    def test_a_root_that_was_moved(self, root, tmp_path):
        root.run(), root.run()
        root.path.rename(tmp_path / 'elsewhere')
        with pytest.raises(ConfigError, match='was moved'):
            clean.make_plan(tmp_path / 'elsewhere', 1, None)

    def test_metadata_that_cannot_be_read(self, root):
        (root.path / 'metadata.db').write_bytes(b'no database' * 100)
        with pytest.raises(PipelineStop, match='cannot be read as ML Metadata'):
            Lineage(root.path)
