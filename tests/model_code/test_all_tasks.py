"""The signature that answers every task of a modality: the scores of the single ones, in as few passes as can be."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from model_code import export
from model_code.modalities import AudioInput
from model_code.polyvit import PolyViT
from model_code.served_model import ServedModel
from model_code.settings import ModelConfig
from model_code.tasks import Mixture
from tests import testing

CLASSES = ['blue', 'dark', 'red']
TASKS = (testing.task('shapes', 'image'), testing.task('tags', 'image', label_kind='multi'),
         testing.task('colours', 'image', pooling='gap'), testing.task('birds', 'audio'),
         testing.task('words', 'audio'), testing.task('bats', 'audio'), testing.task('film', 'video'))
STATISTICS = {'birds': (-30.0, 12.0), 'words': (-10.0, 9.0), 'bats': (-30.0, 12.0)}
MEDIA = {
    'image': [testing.image_bytes(seed=i) for i in range(3)],
    'audio': [testing.wav_bytes(frequency=200.0 * (i + 1)) for i in range(3)],
    'video': [[testing.image_bytes('JPEG', seed=3 * i + j) for j in range(2)] for i in range(3)],
}


@pytest.fixture(scope='module', params=[1, 2], ids=['one view', 'two views of a sound'])
def served(request):
    inputs = (testing.IMAGE_SPEC, AudioInput(frames=16, mel_bins=32, views=request.param), testing.VIDEO_SPEC)
    tf.keras.utils.set_random_seed(0)
    model = PolyViT(Mixture(TASKS), {task.name: len(CLASSES) for task in TASKS},
                    ModelConfig(layers=1, width=8, heads=2, mlp_width=8, inputs=inputs))
    for head in model.heads.values():  # which start at zero
        for variable in head.trainable_variables:
            variable.assign(tf.random.normal(variable.shape))
    return ServedModel(model, Mixture(TASKS), {task.name: CLASSES for task in TASKS}, STATISTICS)


def test_its_scores_are_those_of_the_single_signatures(served):
    signatures = served.signatures('{}')
    for modality, names in (('image', ['shapes', 'tags', 'colours']), ('audio', ['birds', 'words', 'bats']),
                            ('video', ['film'])):
        media = tf.constant(MEDIA[modality])
        everything = signatures[f'{modality}_all'](media)
        assert everything.keys() == {f'{name}_scores' for name in names}
        for name in names:
            alone = signatures[f'{name}_scores'](media)['scores'].numpy()
            assert alone.shape == (3, len(CLASSES))
            np.testing.assert_allclose(everything[f'{name}_scores'], alone, atol=1e-6)
        for one, other in itertools.combinations(everything.values(), 2):
            assert np.abs(one - other).max() > 1e-3


def test_tasks_share_a_pass_if_their_statistics_are_equal(served):
    passes = {'image': [['shapes', 'tags', 'colours']], 'audio': [['birds', 'bats'], ['words']], 'video': [['film']]}
    assert export.model_card_entries(served)['encoder_passes'] == passes
    for modality, groups in passes.items():
        function = served.signatures('{}')[f'{modality}_all']
        assert _encoder_passes(function.graph) == len(groups), modality


def _encoder_passes(graph) -> int:
    """How often a graph calls the function with the encoder's only block, whose attention is a softmax."""
    definition = graph.as_graph_def()
    with_block = {function.signature.name for function in definition.library.function
                  if any(node.op == 'Softmax' and 'encoder' in node.name for node in function.node_def)}
    assert len(with_block) == 1
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return sum(node.attr['f'].func.name in with_block for node in nodes if 'f' in node.attr)
