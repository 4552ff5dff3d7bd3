"""Commands in messages run when they are pasted."""

import importlib.util
import shutil
import sys

from model_code import shell


class TestTensorBoard:
    def test_as_a_command(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(shutil, 'which', lambda name: f'/bin/{name}')
        assert shell.tensorboard(str(tmp_path / 'my runs')) == "tensorboard --logdir 'my runs'"

    def test_of_an_environment_that_is_not_active(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, 'executable', str(tmp_path / 'bin' / 'python'))
        monkeypatch.setattr(shutil, 'which', lambda name: None)
        assert shell.tensorboard(str(tmp_path / 'x')) == 'bin/python -m tensorboard.main --logdir x'

    def test_where_it_is_not_installed(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
        assert shell.tensorboard(str(tmp_path / 'x')) == 'x'

    def test_of_a_folder_in_an_object_store(self, monkeypatch):
        monkeypatch.setattr(shutil, 'which', lambda name: f'/bin/{name}')
        assert shell.tensorboard('gs://bucket/x') == 'tensorboard --logdir gs://bucket/x'
