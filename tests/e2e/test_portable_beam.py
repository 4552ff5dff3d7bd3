"""Ingest, statistics, Transform and evaluation give the same on every Beam runner, the order of records included.

Beam's portable job service and its worker pool are processes of their own, the workers in another working folder, as on
a cluster. With JOB_ENDPOINT=host:port (`make portability`) the job server is another one, such as Flink's or Spark's on
this machine; the workers are still those of the pool.
"""

import hashlib
import os
import pathlib
import re
import signal
import subprocess
import sys

import apache_beam as beam
import grpc
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_job_api_pb2, beam_job_api_pb2_grpc
from tensorflow_metadata.proto.v0 import statistics_pb2
from tfx.components.statistics_gen import executor as statistics_gen
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.types import standard_artifacts

from components import evaluation_reading
from components.artifacts import RejectedMedia, read_findings, read_rejected
from components.classes import Classes
from components.evaluation_names import OUTCOMES, RESAMPLES
from components.media_example_gen import executor as media_example_gen
from components.task_evaluator import executor as task_evaluator
from components.task_schema_gen import executor as task_schema_gen
from components.transform import executor as transform
from media import listing, shards
from model_code import npz
from model_code.errors import PipelineStop
from model_code.serialization import to_json
from pipeline import exit_codes, local_runner
from pipeline.beam.settings import Beam
from tests import artifacts, portable_beam, testing
from tests.components import scoring_model

pytestmark = pytest.mark.slow

IN_PROCESS = Beam()


class Lane:
    """The Beam components of one task, run one after the other, with their artifacts in a folder."""

    def __init__(self, folder: pathlib.Path, beam: Beam):
        self._folder, self._beam = folder, beam

    def ingest(self, task, spec):
        examples = self._artifact(standard_artifacts.Examples, 'examples')
        rejected = self._artifact(RejectedMedia, 'rejected')
        classes = self._artifact(Classes, 'classes')
        self._do(media_example_gen, 'MediaExampleGen', {},
                 {'examples': [examples], 'rejected': [rejected], 'classes': [classes]},
                 {'source': to_json(task.source), 'spec': to_json(spec),
                  'media_fingerprint': listing.media_fingerprint(task.source)})
        return examples, rejected

    def statistics(self, examples, schema):
        made = self._artifact(standard_artifacts.ExampleStatistics, 'statistics')
        self._do(statistics_gen, 'StatisticsGen', {'examples': [examples], 'schema': [schema]}, {'statistics': [made]},
                 {})
        return made

    def transform(self, task, spec, examples, schema):
        graph = self._artifact(standard_artifacts.TransformGraph, 'graph')
        made = self._artifact(standard_artifacts.Examples, 'transformed')
        self._do(transform, 'Transform', {'examples': [examples], 'schema': [schema]},
                 {'transform_graph': [graph], 'transformed_examples': [made]},
                 {'source': to_json(task.source), 'spec': to_json(spec)})
        return graph, made

    def evaluate(self, task, classes, examples, model):
        made = self._artifact(standard_artifacts.ModelEvaluation, 'evaluation')
        self._do(task_evaluator, 'TaskEvaluator', {'examples': [examples], 'model': [model], 'classes': [classes]},
                 {'evaluation': [made]}, {'source': to_json(task.source)})
        return made

    def _artifact(self, kind, name):
        return artifact(kind, self._folder / name)

    def _do(self, module, component, *arguments):
        context = base_beam_executor.BaseBeamExecutor.Context(
            beam_pipeline_args=self._beam.arguments(component), tmp_dir=str(self._folder), unique_id='1')
        module.Executor(context).Do(*arguments)


def artifact(kind, uri):
    made = kind()
    made.uri = os.fspath(uri)
    return made


class Data:
    """Media of an image task, in files of a few examples, and a model that is evaluated on examples of its own."""

    def __init__(self, folder: pathlib.Path):
        self.task = testing.image_task(folder / 'media', per_class=30, eval_per_class=8, max_rejected_share=0.5)
        testing.write(folder / 'media', 'train/left/cut.png', testing.image_bytes()[:-20])
        self.schema = artifact(standard_artifacts.Schema, folder / 'schema')
        task_schema_gen.Executor().Do({'classes': [artifacts.classes(folder / 'classes', ('left', 'right'))]},
                                      {'schema': [self.schema]}, {'source': to_json(self.task.source)})
        rng = np.random.default_rng(0)
        scoring_model.write_examples(folder / 'judged', [[scoring_model.CLASSES[i % 6]] for i in range(40)],
                                     rng.random((40, 6)), files=4)
        self.judged_classes = artifacts.classes(folder / 'judged_classes', scoring_model.CLASSES)
        self.judged = artifact(standard_artifacts.Examples, folder / 'judged')
        self.judged.split_names = '["eval"]'
        self.model = artifact(standard_artifacts.Model, scoring_model.export(
            folder / 'model', {'digits': np.eye(6)}, (scoring_model.SINGLE,)))

    def results(self, folder: pathlib.Path, beam: Beam) -> dict:
        """What the components of a lane give on a runner, in a form that can be compared."""
        lane = Lane(folder, beam)
        examples, rejected = lane.ingest(self.task, testing.IMAGE_SPEC)
        statistics = lane.statistics(examples, self.schema)
        graph, transformed = lane.transform(self.task, testing.IMAGE_SPEC, examples, self.schema)
        evaluation = lane.evaluate(scoring_model.SINGLE, self.judged_classes, self.judged, self.model)
        return {
            'examples': files(examples.uri), 'transformed': files(transformed.uri),
            'ids': ids(examples.uri), 'transformed ids': ids(transformed.uri),
            'findings': read_findings(rejected.uri).to_dict(), 'rejected': read_rejected(rejected.uri),
            'statistics': {split: features(stats_artifact_utils.load_statistics(statistics, split).proto())
                           for split in ('train', 'eval')},
            'vocabulary': (pathlib.Path(graph.uri) / 'transform_fn/assets/shapes_labels').read_text(),
            'metrics': tfma.load_eval_result(evaluation.uri).slicing_metrics,
            **outcomes(evaluation.uri),
        }


def outcomes(uri: str) -> dict:
    """What the model said about each example, and all that is computed from it."""
    arrays = {f'{name}/{key}': repr(array.tolist()) for name in (OUTCOMES, RESAMPLES)
              for key, array in npz.read(os.path.join(uri, name)).items()}
    return arrays | {'evaluation': evaluation_reading.read_evaluation(uri) | {'seconds': None}}


def files(uri: str) -> dict[str, str]:
    """Path -> a hash of the content, of each file of an artifact."""
    return {str(path.relative_to(uri)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(pathlib.Path(uri).rglob('*')) if path.is_file()}


def features(statistics) -> dict:
    """Feature -> its statistics, which come in an order that a runner chooses; '' -> the number of examples.

    Sums of floats depend on that order, so of these features only what does not, and a rounded mean.
    """
    found = statistics.datasets[0]
    return {'': found.num_examples, **{
        feature.path.step[0]: _rounded(feature.num_stats) if feature.num_stats.histograms and feature.type == _FLOAT
        else feature for feature in found.features}}


_FLOAT = statistics_pb2.FeatureNameStatistics.FLOAT


def _rounded(numbers) -> tuple:
    return numbers.common_stats.num_non_missing, numbers.min, numbers.max, round(numbers.mean, 4)


def ids(uri: str) -> dict[str, list[bytes]]:
    """File -> the ids of its examples, in its order."""
    return {file: [tf.train.Example.FromString(record.numpy()).features.feature['id'].bytes_list.value[0]
                   for record in tf.data.TFRecordDataset(os.path.join(uri, file), 'GZIP')] for file in files(uri)}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, 'SHARD_BYTES', 4000)  # several files
        yield Data(tmp_path_factory.mktemp('data'))


@pytest.fixture(scope='module')
def in_process(data, tmp_path_factory):
    return data.results(tmp_path_factory.mktemp('in_process'), IN_PROCESS)


@pytest.fixture(scope='module')
def endpoint(tmp_path_factory):
    """A job server: that of JOB_ENDPOINT, or one of Beam's own."""
    if os.environ.get('JOB_ENDPOINT'):
        yield os.environ['JOB_ENDPOINT']
        return
    with portable_beam.job_server(tmp_path_factory.mktemp('job_server')) as address:
        yield address


def test_in_process_gives_what_there_is(in_process):
    assert len(in_process['examples']) > 2
    assert in_process['examples'].keys() == in_process['transformed'].keys()
    assert in_process['ids'] == in_process['transformed ids']
    assert sum(map(len, in_process['ids'].values())) == in_process['statistics']['train'][''] + 16
    assert [r.path for r in in_process['rejected']] == ['train/left/cut.png']
    assert in_process['vocabulary'].split() and len(in_process['metrics']) == 1
    assert in_process['evaluation']['examples'] == 40 and 'outcomes.npz/scores' in in_process


def test_external_workers_of_a_job_server_give_the_same(data, in_process, endpoint, tmp_path):
    with portable_beam.worker_pool(tmp_path / 'pool') as pool:
        there = data.results(tmp_path / 'results', Beam('portable', endpoint=endpoint, worker_pool=pool))
    assert_same(in_process, there)


def test_two_processes_give_the_same(data, in_process, tmp_path):
    assert_same(in_process, data.results(tmp_path / 'results', Beam('multi_process', 2)))


@pytest.mark.parametrize('component, seen', [('TaskEvaluator', '3'), ('Transform', '-1')])
def test_processes_that_run_no_model_see_no_gpu(component, seen, tmp_path, monkeypatch):
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '3')
    options = PipelineOptions(Beam('multi_process', 1).arguments(component))
    with beam.Pipeline(options=options) as pipeline:
        _ = (pipeline | beam.Create(['CUDA_VISIBLE_DEVICES']) | beam.Map(os.getenv)
             | beam.io.WriteToText(str(tmp_path / 'seen'), shard_name_template=''))
    assert (tmp_path / 'seen').read_text(encoding='utf-8').strip() == seen


def assert_same(one: dict, other: dict):
    differing = [name for name in one if name != 'metrics' and one[name] != other[name]]
    assert not differing, {name: (one[name], other[name]) for name in differing}
    (slice_, metrics), (other_slice, other_metrics) = one['metrics'][0], other['metrics'][0]
    assert slice_ == other_slice and metrics.keys() == other_metrics.keys()
    for output in metrics:
        for key in metrics[output]:
            values = {name: found.get('doubleValue') for name, found in metrics[output][key].items()}
            assert values == pytest.approx({name: found.get('doubleValue')
                                            for name, found in other_metrics[output][key].items()})


def test_workers_without_the_project_are_the_reason_that_is_given(data, endpoint, tmp_path):
    with portable_beam.worker_pool(tmp_path / 'pool', has_project=False) as pool:
        lane = Lane(tmp_path / 'results', Beam('portable', endpoint=endpoint, worker_pool=pool))
        with pytest.raises(Exception) as error:
            lane.ingest(data.task, testing.IMAGE_SPEC)
    assert local_runner.error_sentence(error.value).startswith(
        'The Beam workers cannot import this project (No module named ')


PROGRAM = '''
import logging, sys, time
import apache_beam
from model_code import interruption
from pipeline import ending
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
with ending.in_time(['run']), ending.telling(lambda _: print(interruption.cancel_elsewhere(), flush=True)):
    with apache_beam.Pipeline(argv=sys.argv[1:]) as pipeline:
        _ = pipeline | apache_beam.Create([600]) | apache_beam.Map(time.sleep)
'''


def test_an_interrupted_run_cancels_its_job(endpoint, tmp_path):
    with portable_beam.worker_pool(tmp_path / 'pool') as pool:
        arguments = Beam('portable', endpoint=endpoint, worker_pool=pool).arguments('Transform')
        process = subprocess.Popen(
            [sys.executable, '-c', PROGRAM, *arguments], stdout=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
        started = next(filter(None, (re.search(r'Job (\S+) on \S+ has started', line) for line in process.stdout)))
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=60)[0]
    assert process.returncode == exit_codes.INTERRUPTED
    assert f'Job {started[1]} on {endpoint} was cancelled.' in output
    with grpc.insecure_channel(endpoint) as channel:
        states = beam_job_api_pb2_grpc.JobServiceStub(channel).GetStateStream(
            beam_job_api_pb2.GetJobStateRequest(job_id=started[1]), timeout=60)
        assert beam_job_api_pb2.JobState.CANCELLED in (state.state for state in states)


def test_a_stop_in_a_worker_keeps_its_sentence(endpoint, tmp_path):
    import apache_beam

    def stop(_):
        raise PipelineStop('Task shapes: the disk\nis full.')

    with portable_beam.worker_pool(tmp_path / 'pool') as pool:
        arguments = Beam('portable', endpoint=endpoint, worker_pool=pool).arguments('Transform')
        with pytest.raises(Exception) as error:
            with apache_beam.Pipeline(argv=arguments) as pipeline:
                _ = pipeline | apache_beam.Create([1]) | apache_beam.Map(stop)
    assert local_runner.stop_sentence(error.value) == 'Task shapes: the disk\nis full.'
