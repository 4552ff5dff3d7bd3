"""ServingCheck on tiny real models: a good one is blessed, the others are rejected with a reason."""

import json
import os

import pytest
import tensorflow as tf
from tfx.components.pusher import executor as pusher_executor
from tfx.types import channel_utils, standard_artifacts

from components.serving_check import check, executor, ops
from components.serving_check.component import ServingCheck
from model_code.label_kinds import groups, multi, single
from model_code.serialization import to_json
from model_code.tasks import Mixture
from tests import testing
from tests.serving import models

MIXTURE = Mixture((testing.task('shade', 'image'), testing.task('volume', 'audio'),
                   testing.task('film', 'video')))
MEDIA = {'shade': [testing.image_bytes()], 'volume': [testing.wav_bytes()],
         'film': [testing.image_bytes('JPEG'), testing.image_bytes('JPEG', seed=1)]}
FEATURES = {'shade': 'image', 'volume': 'audio', 'film': 'frames'}


def write_examples(directory, task, split='eval'):
    folder = os.path.join(directory, f'Split-{split}')
    os.makedirs(folder)
    example = tf.train.Example()
    example.features.feature[FEATURES[task]].bytes_list.value.extend(MEDIA[task])
    with tf.io.TFRecordWriter(os.path.join(folder, 'data_tfrecord-00000-of-00001.gz'), 'GZIP') as writer:
        writer.write(example.SerializeToString())


def run_check(root, broken='', card=None, without=()):
    """Runs the executor on a new model; returns the blessing artifact and the reasons."""
    model = standard_artifacts.Model()
    model.uri = str(root / 'model')
    models.save_brightness(root / 'model' / 'Format-Serving', broken)
    if card:
        (root / 'model' / 'Format-Serving' / 'assets.extra').mkdir()
        (root / 'model' / 'Format-Serving' / 'assets.extra' / 'model_card.json').write_text(json.dumps(card))
    inputs = {'model': [model]}
    for number, task in enumerate(FEATURES):
        examples = standard_artifacts.Examples()
        examples.uri = str(root / task)
        if task not in without:
            write_examples(examples.uri, task, 'train' if number == 0 else 'eval')
        inputs[f'examples_{task}'] = [examples]
    blessing = standard_artifacts.InfraBlessing()
    blessing.uri = str(root / 'blessing')
    executor.Executor().Do(inputs, {'infra_blessing': [blessing]}, {'mixture': to_json(MIXTURE), 'code_version': ''})
    written = json.loads((root / 'blessing' / 'reasons.json').read_text())
    assert written['blessed'] == (blessing.get_int_custom_property('blessed') == 1) == (not written['reasons'])
    return blessing, written['reasons']


def accepted(blessing):
    """Whether the stock Pusher would push."""
    return pusher_executor.Executor().CheckBlessing({'infra_blessing': [blessing]})


def test_a_good_model_is_blessed(tmp_path):
    blessing, reasons = run_check(tmp_path, card={'tasks': [{'name': 'shade', 'classes': ['low', 'high']}]})
    assert reasons == []
    assert accepted(blessing)
    assert sorted(os.listdir(blessing.uri)) == ['INFRA_BLESSED', 'reasons.json']


def test_a_python_function_is_rejected_by_name(tmp_path):
    blessing, reasons = run_check(tmp_path, broken='py_function')
    assert not accepted(blessing)
    assert sorted(os.listdir(blessing.uri)) == ['INFRA_NOT_BLESSED', 'reasons.json']
    assert len(reasons) == 1
    assert reasons[0].startswith('The graph has the op EagerPyFunc (node ')


@pytest.mark.parametrize('broken, text', [('nan', 'are not all numbers from 0 to 1'),
                                          ('order', 'are not sorted, best first'),
                                          ('all', 'gives other scores than')])
def test_wrong_answers_are_rejected(tmp_path, broken, text):
    blessing, reasons = run_check(tmp_path, broken)
    assert not accepted(blessing)
    assert [r.split(':')[0] for r in reasons] == ['Task shade', 'Task volume', 'Task film']
    assert all(text in r for r in reasons)


def test_a_model_that_cannot_be_asked_is_rejected(tmp_path):
    _, reasons = run_check(tmp_path, card={'tasks': [{'name': 'volume', 'classes': ['a', 'b', 'c']}]},
                           without=('film',))
    assert reasons == ["Task volume: the answer has 2 scores for 3 classes.", reasons[1],
                       'Task film: there is no example to send, neither in the eval split nor in the train split.']
    assert reasons[1].endswith("are not among the task's classes.")


def test_a_missing_signature_and_a_damaged_model(tmp_path):
    models.save_brightness(tmp_path / 'model')
    reasons = check.check_model(str(tmp_path / 'model'), [testing.task('other', 'image')],
                                {'other': MEDIA['shade'][0]})
    assert reasons == ['Task other: the server answered 400 to a real example sent to signature other: '
                       'Serving signature name: "other" not found in signature def']
    next((tmp_path / 'model' / 'variables').glob('variables.index')).unlink()
    reasons = check.check_model(str(tmp_path / 'model'), [], {})
    assert len(reasons) == 1
    assert reasons[0].startswith('The server cannot load the model: ')
    for damage in (lambda path: path.write_bytes(b'no model'), os.unlink):
        damage(tmp_path / 'model' / 'saved_model.pb')
        reasons = check.check_model(str(tmp_path / 'model'), [], {})
        assert len(reasons) == 1
        assert reasons[0].startswith(f'The model file {tmp_path}/model/saved_model.pb cannot be read: ')


def test_functions_are_searched_too(tmp_path):
    """A custom op is found in a function that nothing calls. A node whose op is a function's name only calls it."""
    from tensorflow.core.protobuf import saved_model_pb2
    saved_model = saved_model_pb2.SavedModel()
    graph = saved_model.meta_graphs.add().graph_def
    for name, op in (('first', 'AddV2'), ('call', 'helper')):
        graph.node.add(name=name, op=op)
    function = graph.library.function.add()
    function.signature.name = 'helper'
    function.node_def.add(name='decode', op='IO>AudioDecodeMP3')
    function.node_def.add(name='again', op='IO>AudioDecodeMP3')
    (tmp_path / 'saved_model.pb').write_bytes(saved_model.SerializeToString())
    assert ops.foreign_ops(str(tmp_path)) == {'IO>AudioDecodeMP3': 'node decode of function helper'}


def test_answers_of_several_labels():
    good = dict(labels=['a', 'b'], top_scores=[0.9, 0.8], scores=[0.8, 0.9], classes=('b', 'a'), groups=())
    assert multi.check_answer(**good) == []
    assert single.check_answer(**good) == [
        'the scores of all classes sum to 1.700; for a single label it must be 1.']
    assert 'the answer has a label twice' in multi.check_answer(**{**good, 'labels': ['a', 'a']})[0]
    assert 'are not the best of' in multi.check_answer(**{**good, 'scores': [0.8, 0.7]})[0]
    assert multi.check_answer(**{**good, 'labels': ['a']})[0] == (
        'the answer has 1 label and 2 scores; for 2 classes it must have 2 of each.')


def test_answers_of_label_groups():
    good = dict(labels=['v:b', 'n:a'], top_scores=[0.7, 1.0], scores=[0.3, 1.0, 0.7], classes=('v:a', 'n:a', 'v:b'),
                groups=((0, 2), (1,)))
    assert groups.check_answer(**good) == []
    assert "['n:a'] are not among the task's classes" in groups.check_answer(**{**good, 'labels': ['n:a', 'n:a']})[0]
    assert 'are not the best of' in groups.check_answer(**{**good, 'top_scores': [0.3, 1.0]})[0]
    assert 'sum to 1.200' in groups.check_answer(**{**good, 'scores': [0.5, 1.0, 0.7]})[0]
    assert groups.check_answer(**{**good, 'labels': ['v:b']})[0] == (
        'the answer has 1 label, 2 scores and scores of 3 classes; it must have a label and a score for each of 2 '
        'label groups, and scores of 3 classes.')


def test_the_component():
    def channel(kind):
        return channel_utils.as_channel([kind()])
    component = ServingCheck(
        mixture=to_json(MIXTURE), model=channel(standard_artifacts.Model), code_version='7',
        examples={task.name: channel(standard_artifacts.Examples) for task in MIXTURE.tasks})
    assert set(component.inputs) == {'model', 'examples_shade', 'examples_volume', 'examples_film'}
    assert component.outputs['infra_blessing'].type_name == 'InfraBlessing'
    assert component.exec_properties == {'mixture': to_json(MIXTURE), 'code_version': '7'}
