"""A lane of one image task, from its files to an exported model, with the executors of its components."""

import os

import tensorflow as tf
from tfx.components.statistics_gen import executor as statistics_executor
from tfx.types import standard_artifacts

from components.artifacts import RejectedMedia
from components.classes import Classes
from components.co_trainer import executor as co_trainer
from components.media_example_gen import executor as media_example_gen
from components.task_schema_gen import executor as schema_gen
from components.task_validator import executor as task_validator
from components.transform import executor as transform
from media import listing
from model_code.serialization import to_json
from model_code.settings import ModelConfig, TrainingConfig
from model_code.tasks import Mixture, Task
from tests import testing

MODEL = ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=(testing.IMAGE_SPEC,))
TRAINING = TrainingConfig(learning_rate=0.05, warmup_steps=1, checkpoint_every=10, eval_every=5, strategy='one_device')


def make(root, task: Task) -> dict:
    """{'task', 'root', 'files': {split: {task: transformed files}}, 'vocabulary', 'history', and the artifacts by name:
    'examples', 'rejected', 'classes', 'schema', 'statistics', 'anomalies', 'graph', 'transformed'}.

    The model is in root/model/Format-Serving.
    """
    made = {'task': task, 'root': root}

    def artifact(name, kind):
        made[name] = kind()
        made[name].uri = os.fspath(root / name)
        return made[name]

    source, spec = to_json(task.source), to_json(testing.IMAGE_SPEC)
    media_example_gen.Executor().Do(
        {}, {'examples': [artifact('examples', standard_artifacts.Examples)],
             'rejected': [artifact('rejected', RejectedMedia)], 'classes': [artifact('classes', Classes)]},
        {'source': source, 'spec': spec, 'media_fingerprint': listing.media_fingerprint(task.source)})
    schema_gen.Executor().Do({'classes': [made['classes']]},
                             {'schema': [artifact('schema', standard_artifacts.Schema)]}, {'source': source})
    statistics_executor.Executor().Do(
        {'examples': [made['examples']], 'schema': [made['schema']]},
        {'statistics': [artifact('statistics', standard_artifacts.ExampleStatistics)]}, {})
    task_validator.Executor().Do(
        {'statistics': [made['statistics']], 'schema': [made['schema']], 'rejected': [made['rejected']]},
        {'anomalies': [artifact('anomalies', standard_artifacts.ExampleAnomalies)]},
        {'source': source, 'checks': to_json(task.checks)})
    transform.Executor().Do(
        {'examples': [made['examples']], 'schema': [made['schema']]},
        {'transform_graph': [artifact('graph', standard_artifacts.TransformGraph)],
         'transformed_examples': [artifact('transformed', standard_artifacts.Examples)]},
        {'source': source, 'spec': spec})
    files = {split: {task.name: tf.io.gfile.glob(f'{made["transformed"].uri}/Split-{split}/*.gz')}
             for split in ('train', 'eval')}
    made['files'], made['vocabulary'] = files, co_trainer.read_vocabulary(task, made['graph'].uri)
    made['history'] = co_trainer.co_train(
        mixture=Mixture((task,)), model_config=MODEL, config=TRAINING, train_files=files['train'],
        eval_files=files['eval'], vocabularies={task.name: made['vocabulary']},
        checkpoint_dir=os.fspath(root / 'checkpoints'), model_run_dir=os.fspath(root / 'model_run'),
        export_dir=os.fspath(root / 'model' / 'Format-Serving'), card={})
    return made


def examples_of(artifact, split: str) -> list[bytes]:
    """The serialized examples of a split."""
    return [record.numpy() for record in
            tf.data.TFRecordDataset(tf.io.gfile.glob(f'{artifact.uri}/Split-{split}/*.gz'), 'GZIP')]
