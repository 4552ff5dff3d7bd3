"""The parts of the runner that need no TFX: which version is the baseline, and the message in a wrapped exception."""

import json

from model_code.errors import PipelineStop
from pipeline import local_runner


def _push(serving_dir, version, **card):
    folder = serving_dir / str(version)
    (folder / 'assets.extra').mkdir(parents=True)
    (folder / 'saved_model.pb').write_bytes(b'x')
    (folder / 'assets.extra' / 'model_card.json').write_text(json.dumps(card))


class TestBaseline:
    def test_nothing_served(self, tmp_path):
        assert local_runner.baseline(tmp_path / 'serving', 'k') == ('', None)

    def test_another_model_served(self, tmp_path):
        _push(tmp_path, 1, model_key='k0', push_nonce='n0', served_version='')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', None)

    def test_the_same_model_served_repeats_its_properties(self, tmp_path):
        _push(tmp_path, 1, model_key='k0', push_nonce='n0', served_version='')
        assert local_runner.baseline(tmp_path, 'k0') == ('', 'n0')
        _push(tmp_path, 10, model_key='k1', push_nonce='n1', served_version='1')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', 'n1')

    def test_an_older_version_of_the_same_model_does_not_count(self, tmp_path):
        _push(tmp_path, 1, model_key='k0', push_nonce='n0', served_version='')
        _push(tmp_path, 2, model_key='k1', push_nonce='n1', served_version='1')
        assert local_runner.baseline(tmp_path, 'k0') == ('2', None)

    def test_a_version_rolled_back_is_pushed_anew(self, tmp_path):
        _push(tmp_path, 1, model_key='k0', push_nonce='n0', served_version='')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', None), 'k1 was version 2, which was removed'

    def test_a_removed_baseline_changes_nothing(self, tmp_path):
        _push(tmp_path, 2, model_key='k1', push_nonce='n1', served_version='1')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', 'n1')

    def test_an_unreadable_card(self, tmp_path):
        _push(tmp_path, 1)
        (tmp_path / '1' / 'assets.extra' / 'model_card.json').write_text('{')
        assert local_runner.baseline(tmp_path, 'k1') == ('1', None)


class TestStopSentence:
    def test_in_the_chain(self):
        try:
            try:
                raise PipelineStop('Too many files.')
            except PipelineStop as error:
                raise RuntimeError('beam') from error
        except RuntimeError as error:
            assert local_runner.stop_sentence(error) == 'Too many files.'

    def test_with_beams_step(self):
        error = PipelineStop("Too many files. [while running 'Run[X]']")
        assert local_runner.stop_sentence(error) == 'Too many files.'

    def test_as_text_of_a_worker(self):
        text = ('Traceback (most recent call last):\n  File "x.py", line 3, in f\n    raise PipelineStop(text)\n'
                "model_code.errors.PipelineStop: Ten files:\n  a.png\n  b.png [while running 'Check']\n\n"
                'During handling of the above exception, another exception occurred:\nmore')
        assert local_runner.stop_sentence(RuntimeError(text)) == 'Ten files:\n  a.png\n  b.png'

    def test_another_error_has_none(self):
        assert local_runner.stop_sentence(ValueError('no')) is None
