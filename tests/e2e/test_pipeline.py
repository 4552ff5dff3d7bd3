"""End to end, with the commands that a user types: `polyvit run`, serve, predict; unchanged, then with another file.

The steps depend on each other and take about a minute each, so they are one class that shares a folder.
"""

import json
import os
import re
import subprocess
import sys

import pytest

from tests import model_cards, testing

pytestmark = pytest.mark.e2e

CONFIG = '''
from polyvit import (AudioInput, Data, Gate, ImageInput, Mixture, ModelConfig, PipelineConfig, Recipe, Task,
                     TrainingConfig, VideoInput)

TASKS = (
    Task('shapes', 'image', data=Data({root!r} + '/shapes'), recipe=Recipe(steps=4, batch_size=4),
         gate=Gate(max_drop=1.0)),
    Task('tags', 'audio', data=Data({root!r} + '/tags', manifest='tags.csv', label_kind='multi'),
         recipe=Recipe(steps=3, batch_size=4), gate=Gate(max_drop=1.0)),
    Task('walks', 'video', data=Data({root!r} + '/walks', manifest='manifest.csv'),
         recipe=Recipe(steps=3, batch_size=2), gate=Gate(floor={floor}, max_drop=1.0)),
)


def get_config():
    return PipelineConfig(
        name='e2e', mixture=Mixture(TASKS),
        model=ModelConfig(layers=1, width=16, heads=2, mlp_width=32,
                          inputs=(ImageInput(16, 16, (8, 8)), AudioInput(32, 32, (16, 16)),
                                  VideoInput(4, 16, 16, (2, 8, 8), frame_rate=8.0, short_side=16))),
        training=TrainingConfig(warmup_steps=2, checkpoint_every=100))
'''

ENVIRONMENT = {**os.environ, 'TF_USE_LEGACY_KERAS': '1', 'CUDA_VISIBLE_DEVICES': ''}


def _polyvit(*arguments, timeout=600):
    return subprocess.run([sys.executable, '-m', 'polyvit', *map(str, arguments)], capture_output=True, text=True,
                          timeout=timeout, env=ENVIRONMENT)


@pytest.fixture(scope='class')
def home(tmp_path_factory):
    home = tmp_path_factory.mktemp('e2e')
    testing.image_task(home / 'shapes', per_class=8, eval_per_class=4)
    testing.tags_task(home / 'tags', per_class=6, eval_per_class=4)
    testing.video_task(home / 'walks', per_class=4, eval_per_class=2)
    # One eval clip is there twice, with both labels. No model is right about both, so a floor of 1 is never met.
    clip = (home / 'walks/clips/eval_dark_0.mp4').read_bytes()
    testing.write(home / 'walks', 'clips/eval_bright_9.mp4', clip)
    with open(home / 'walks/manifest.csv', 'a') as manifest:
        manifest.write('clips/eval_bright_9.mp4,bright,eval\n')
    return home


def _run(home, floor=0.0):
    (home / 'e2e_config.py').write_text(CONFIG.format(root=str(home), floor=floor))
    done = _polyvit('run', home / 'e2e_config.py', '--root', home / 'root')
    last = home / 'root' / 'last_run.json'
    return done, json.loads(last.read_text()) if last.exists() else {}


def _versions(home):
    return sorted(p.name for p in (home / 'root' / 'serving' / 'polyvit').iterdir())


def _ran(last):
    return {name for name, component in last['components'].items() if not component['cached']}


class TestPipeline:
    def test_1_media_become_a_pushed_model(self, home):
        done, last = _run(home)
        assert done.returncode == 0, done.stdout + done.stderr
        version, = _versions(home)
        # Every component of every lane ran and was shown; the messages of the frameworks were not.
        assert len(last['components']) == 3 * 6 + 7  # per lane five components and an evaluator; the join
        assert not any(c['cached'] for c in last['components'].values())
        for words in ('MediaExampleGen', 'CoTrainer', 'shapes', 'accuracy', 'mAP', f'version {version}', 'serve'):
            assert words in done.stdout
        assert done.stderr == '' and 'WARNING' not in done.stdout and 'tensorflow' not in done.stdout
        card = json.loads((home / 'root/serving/polyvit' / version / 'assets.extra/model_card.json').read_text())
        assert [t['name'] for t in card['tasks']] == ['shapes', 'tags', 'walks']
        assert set(card['metrics']) == {'shapes', 'tags', 'walks'}
        assert model_cards.errors(card) == []
        assert card['data']['shapes']['examples'].keys() == {'train', 'eval'}
        assert card['model_key'] and card['model_digest'] and card['baseline_version'] == ''
        report = (home / 'root' / last['report']).read_text()
        assert '<html' in report and 'http://' not in report.replace('http://www.w3.org', '')

    def test_2_unchanged_it_is_all_cached(self, home):
        before = _versions(home)
        done, last = _run(home)
        assert done.returncode == 0, done.stdout + done.stderr
        assert [n for n, c in last['components'].items() if not c['cached']] == []
        assert 'Nothing changed' in done.stdout
        assert _versions(home) == before

    def test_3_a_file_of_each_modality_is_predicted_over_rest(self, home):
        server = subprocess.Popen(
            [sys.executable, '-m', 'polyvit', 'serve', str(home / 'root/serving/polyvit'), '--port', '0',
             '--grpc-port', '0'], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
        try:
            url = next(filter(None, (re.search(r'http://[\d.:]+', line) for line in server.stdout))).group()
            for task, file, labels in (('shapes', 'shapes/eval/left/0.png', {'left', 'right'}),
                                       ('tags', 'tags/wav/test_low_0.wav', {'low', 'high', 'even', 'odd'}),
                                       ('walks', 'walks/clips/eval_dark_0.mp4', {'dark', 'bright'})):
                done = _polyvit('predict', task, home / file, '--url', url, '--json', timeout=120)
                assert done.returncode == 0, done.stderr
                text = done.stdout
                assert all(label in text for label in labels)
        finally:
            server.terminate()
            server.wait(timeout=60)
        assert server.returncode == 0

    def test_4_another_floor_measures_nothing_again_and_what_is_served_stays(self, home):
        before = _versions(home)
        for floor, code, words in ((1.0, 3, 'below its floor'), (0.001, 0, f'{before[0]} is this model already')):
            done, last = _run(home, floor)
            assert done.returncode == code, done.stdout + done.stderr
            assert _ran(last) == {'BlessingGate', 'AtomicPusher', 'Report'}
            assert words in done.stdout and _versions(home) == before

    def test_5_a_model_that_is_no_longer_served_is_pushed_again(self, home):
        before, = _versions(home)
        (home / 'root/serving/polyvit' / before).rename(home / 'rolled_back')
        done, last = _run(home)
        assert done.returncode == 0, done.stdout + done.stderr
        assert _ran(last) == {'AtomicPusher'}
        after, = _versions(home)
        assert after != before and f'it is now version {after}' in done.stdout

    def test_6_a_class_that_would_be_lost_ends_a_run_before_it_starts(self, home):
        before = (home / 'root/last_run.json').read_text()
        for split in ('train', 'eval'):
            (home / 'shapes' / split / 'left').rename(home / 'shapes' / split / 'lefts')
        done, _ = _run(home)
        for split in ('train', 'eval'):
            (home / 'shapes' / split / 'lefts').rename(home / 'shapes' / split / 'left')
        assert done.returncode == 2, done.stdout + done.stderr
        assert "'lefts' is new: was 'left' renamed?" in done.stderr
        assert (home / 'root/last_run.json').read_text() == before

    def test_7_one_file_more_reruns_its_lane_only_and_the_gate_rejects(self, home):
        before = _versions(home)
        testing.write(home / 'shapes', 'train/left/new.png', testing.image_bytes(size=(16, 16), seed=99))
        done, last = _run(home, floor=1.0)
        ran = _ran(last)
        assert {n for n in ran if n.endswith(('_tags', '_walks'))} == {'TaskEvaluator_tags', 'TaskEvaluator_walks'}
        # The schema too: the classes come from MediaExampleGen.
        lane = {f'{component}_shapes' for component in ('MediaExampleGen', 'TaskSchemaGen', 'StatisticsGen',
                                                        'Transform')}
        assert lane | {'CoTrainer', 'BlessingGate'} <= ran
        assert done.returncode == 3, done.stdout + done.stderr
        for words in ('The gate rejected the model', 'walks', f'Version {before[0]} is still being served'):
            assert words in done.stdout
        assert _versions(home) == before

    def test_8_too_many_broken_files_stop_it_before_training(self, home):
        before = _versions(home)
        for i in range(3):
            testing.write(home / 'walks', f'clips/train_dark_{i}.mp4', b'no film')
        done, last = _run(home)
        assert done.returncode == 1
        assert 'Stopped at TaskValidator of walks' in done.stdout and 'train_dark_0.mp4' in done.stdout
        assert 'Traceback' not in done.stdout + done.stderr
        assert 'CoTrainer' not in last['components']
        assert _versions(home) == before
