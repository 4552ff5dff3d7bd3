"""Groups of examples (Data.groups) through every component of a lane, from files to the served model."""

import os

import numpy as np
import pytest
import tensorflow as tf
from tfx.types import standard_artifacts

from components.artifacts import read_findings
from components.report import sources
from components.serving_check import check
from components.task_evaluator import executor as task_evaluator
from model_code.modalities import get_modality
from model_code.serialization import to_json
from tests import testing
from tests.components import lanes


@pytest.fixture(scope='module')
def lane(tmp_path_factory):
    root = tmp_path_factory.mktemp('lane')
    for scene in range(12):
        for number in range(3):
            testing.write(root / 'data', f'{("left", "right")[number % 2]}/cam{scene:02d}_{number}.png',
                          testing.image_bytes(seed=10 * scene + number))
    task = testing.task('sides', 'image', steps=10, batch_size=4, folder=os.fspath(root / 'data'),
                        groups=r'(cam\d+)_', eval_share=0.3)
    return lanes.make(root, task)


def _features(lane, split):
    return [tf.train.Example.FromString(record).features.feature for record in lanes.examples_of(lane[split[0]],
                                                                                                 split[1])]


def test_the_group_is_in_the_examples_and_in_one_split(lane):
    groups = {}
    for split in ('train', 'eval'):
        for features in _features(lane, ('examples', split)):
            group, = features['group'].bytes_list.value
            assert group.decode() in features['id'].bytes_list.value[0].decode()
            groups.setdefault(group, []).append(split)
    assert len(groups) == 12 and all(len(splits) == 3 and len(set(splits)) == 1 for splits in groups.values())
    counts = {split: sum(splits[0] == split for splits in groups.values()) for split in ('train', 'eval')}
    assert min(counts.values()) > 0
    findings = read_findings(lane['rejected'].uri)
    assert findings.groups == counts and findings.torn_groups.count == 0
    assert sources.read_findings(lane['task'], lane['rejected'].uri)['groups'] == counts


def test_training_and_serving_do_without_it(lane):
    assert all('group' not in features for features in _features(lane, ('transformed', 'train')))
    assert np.isfinite([step['loss'] for step in lane['history']['steps']]).all()
    model_dir = os.fspath(lane['root'] / 'model' / 'Format-Serving')
    served = tf.saved_model.load(model_dir).signatures['sides_examples']
    examples = lanes.examples_of(lane['examples'], 'eval')
    without = []
    for record in examples:
        example = tf.train.Example.FromString(record)
        del example.features.feature['group']
        without.append(example.SerializeToString())
    np.testing.assert_array_equal(served(examples=tf.constant(without))['scores'],
                                  served(examples=tf.constant(examples))['scores'])
    media = check.first_media([f'{lane["examples"].uri}/Split-eval'], get_modality('image'))
    assert media and check.check_model(model_dir, [lane['task']], {'sides': media}) == []


def test_the_evaluation_takes_the_examples_with_their_groups(lane):
    model, evaluation = standard_artifacts.Model(), standard_artifacts.ModelEvaluation()
    model.uri, model.id = os.fspath(lane['root'] / 'model'), 1
    evaluation.uri = os.fspath(lane['root'] / 'evaluation')
    task_evaluator.Executor().Do({'examples': [lane['examples']], 'model': [model], 'classes': [lane['classes']]},
                                 {'evaluation': [evaluation]}, {'source': to_json(lane['task'].source),
                                                                'code_version': ''})
    found, _ = sources.read_suspects(evaluation.uri)
    assert found['examples'] == len(lanes.examples_of(lane['examples'], 'eval'))
