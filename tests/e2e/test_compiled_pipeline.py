"""The compiled pipeline, executed step by step as Kubeflow Pipelines does (tests/kubeflow_backend.py), all of it in S3.

Media, artifacts and versions are in a bucket; artifact types are dropped; numbers come as doubles. The runs depend on
each other, so they are one class that shares a cluster. Each component starts once as a process that imports TFX. That
takes so long that other containers are forks, and that there are only two lanes. benchmarks/compiled_pipeline.py runs
the demo in this way, with images, sounds and videos, and compares its weights with those of a run on one machine.
"""

import json
import os
import subprocess
import sys

import pytest

from tests import kubeflow_backend, model_cards, object_stores, testing

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

CONFIG = '''
from polyvit import (AudioInput, Data, Gate, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig,
                     VideoInput)

TASKS = (
    Task('tags', 'audio', data=Data({media!r} + '/tags', manifest='tags.csv', label_kind='multi'),
         recipe=Recipe(steps=3, batch_size=4), gate=Gate(max_drop=1.0)),
    Task('walks', 'video', data=Data({media!r} + '/walks', manifest='manifest.csv'),
         recipe=Recipe(steps=3, batch_size=2), gate=Gate(max_drop=1.0)),
)


def get_config():
    return PipelineConfig(
        name='compiled', mixture=Mixture(TASKS),
        model=ModelConfig(layers=1, width=16, heads=2, mlp_width=32,
                          inputs=(AudioInput(32, 32, (16, 16)),
                                  VideoInput(4, 16, 16, (2, 8, 8), frame_rate=8.0, short_side=16))),
        training=TrainingConfig(warmup_steps=2, checkpoint_every=100))
'''

TASKS = ('tags', 'walks')
LANE = ('MediaListing', 'MediaExampleGen', 'TaskSchemaGen', 'StatisticsGen', 'TaskValidator', 'Transform')
EVALUATORS = {f'TaskEvaluator-{task}' for task in TASKS}
JOIN = {'ServedDataLookup', 'DataDrift', 'CoTrainer', 'BaselineLookup', 'ServingBaseline', 'ServingCheck',
        'BlessingGate', 'AtomicPusher', 'Report'}
UNCACHED = {*(f'MediaListing-{task}' for task in TASKS), 'ServedDataLookup', 'BaselineLookup', 'AtomicPusher'}


def _lane(task):
    return {f'{component}-{task}' for component in LANE}


class Cluster:
    """A backend whose buckets are at `url`, with the pipeline compiled for it."""

    def __init__(self, folder, url):
        self.url, self.root = url, f'{url}/polyvit'
        testing.tags_task(folder / 'media/tags', per_class=6, eval_per_class=4)
        testing.video_task(folder / 'media/walks', per_class=4, eval_per_class=2)
        for path in (p for p in (folder / 'media').rglob('*') if p.is_file()):
            object_stores.put_object(f'{url}/{path.relative_to(folder)}', path.read_bytes())
        (folder / 'config.py').write_text(CONFIG.format(media=f'{url}/media'))
        self._pipeline = folder / 'pipeline.yaml'
        subprocess.run([sys.executable, '-m', 'polyvit', 'compile', folder / 'config.py', '-o', self._pipeline,
                        '--root', self.root, '--image', 'r/polyvit:1'], check=True)
        self._backend = kubeflow_backend.Backend(folder / 'cluster', forks=True, environment={
            name: value for name, value in os.environ.items() if name.startswith('AWS_')})

    def run(self, kill=(), **parameters):
        run = self._backend.run(self._pipeline, parameters, kill=kill)
        print(run.table())
        for task in run.failed:
            print(open(run.executions[task].log).read()[-3000:])
        assert run.failed == []
        return run

    def versions(self):
        names = object_stores.object_names(f'{self.root}/polyvit-compiled/serving/polyvit/')
        return sorted({name.split('/')[4] for name in names})

    def card(self, version):
        card = json.loads(self.read(f'{self.root}/polyvit-compiled/serving/polyvit/{version}/assets.extra/'
                                    'model_card.json'))
        assert model_cards.errors(card) == []
        return card

    def read(self, url):
        scheme, _, rest = url.partition('://')
        bucket, _, key = rest.partition('/')
        import boto3
        return boto3.session.Session().client(scheme).get_object(Bucket=bucket, Key=key)['Body'].read()


@pytest.fixture(scope='class')
def cluster(tmp_path_factory):
    libraries = kubeflow_backend.forks_importing('tfx.orchestration.kubeflow.v2.container.kubeflow_v2_run_executor')
    with libraries, object_stores.s3_bucket() as url:
        yield Cluster(tmp_path_factory.mktemp('compiled'), url)


class TestCompiledPipeline:
    def test_1_media_become_a_pushed_model_though_every_step_is_killed_once(self, cluster):
        # One step of each component, in both lanes. There is no baseline yet, so ServingBaseline writes nothing.
        kill = {f'{component}-{TASKS[i % 2]}' for i, component in enumerate([*LANE, 'TaskEvaluator'])}
        kill |= JOIN - {'ServingBaseline'}
        run = cluster.run(kill)
        assert run.of_state('COMPLETE') == EVALUATORS | JOIN | set().union(*map(_lane, TASKS))
        assert {name for name, execution in run.executions.items() if execution.attempts == 2} == kill
        version, = cluster.versions()
        card = cluster.card(version)
        assert [task['name'] for task in card['tasks']] == list(TASKS)
        assert card['baseline_version'] == '' and card['exported']['total_steps'] == 6
        # What the user interface shows.
        page, numbers = run.executions['Report'].outputs['page'], run.executions['BlessingGate'].outputs['metrics']
        assert b'<html' in cluster.read(page['uri'])
        assert numbers['metadata']['accepted'] == 1.0 and 'walks_accuracy' in numbers['metadata']
        # Every artifact is where the backend wants it, and no object stands for a folder.
        assert all(output['uri'].startswith(cluster.root) for execution in run.executions.values()
                   for output in execution.outputs.values())
        assert not [name for name in object_stores.object_names(cluster.url) if name.endswith('/')]

    def test_2_unchanged_it_is_all_cached_and_nothing_is_pushed(self, cluster):
        before = cluster.versions()
        run = cluster.run()
        assert run.of_state('COMPLETE') == UNCACHED
        assert cluster.versions() == before
        assert run.executions['AtomicPusher'].outputs['pushed_model']['metadata']['pushed'] == 0.0

    def test_3_one_file_more_re_runs_its_lane_and_what_follows_with_the_parameters_of_the_run(self, cluster):
        first, = cluster.versions()
        rows = cluster.read(f'{cluster.url}/media/walks/manifest.csv')
        object_stores.put_object(f'{cluster.url}/media/walks/clips/new.mp4', testing.mp4_bytes(size=(16, 16)))
        object_stores.put_object(f'{cluster.url}/media/walks/manifest.csv', rows + b'clips/new.mp4,dark,train\r\n')
        run = cluster.run(kill={'ServingBaseline'}, steps_walks=2)
        assert run.of_state('COMPLETE') == _lane('walks') | EVALUATORS | JOIN | UNCACHED
        assert run.executions['BaselineLookup'].parameters == {'version': first}
        assert run.executions['ServedDataLookup'].parameters == {'version': first}
        assert run.executions['ServingBaseline'].attempts == 2
        _, second = cluster.versions()
        card = cluster.card(second)
        assert card['baseline_version'] == first and card['exported']['total_steps'] == 5
