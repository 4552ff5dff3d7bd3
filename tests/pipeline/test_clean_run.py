"""After `polyvit clean` an unchanged run comes from the cache, the model is served, and a changed config trains."""

import dataclasses

import pytest

import polyvit
from model_code.tasks import Mixture
from pipeline import cli, run_record
from tests import testing

pytestmark = pytest.mark.slow


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    home = tmp_path_factory.mktemp('clean')
    task = testing.image_task(home / 'shapes', max_drop=1.0)
    return polyvit.PipelineConfig(
        name='tiny', mixture=Mixture((task,)), training=polyvit.TrainingConfig(checkpoint_every=100),
        model=polyvit.ModelConfig(layers=1, width=8, heads=2, mlp_width=8, inputs=testing.IMAGE_SPEC),
        root=str(home / 'root'))


def _run(config, steps: int) -> tuple[set[str], set[str]]:
    """Trains the config's task for so many steps; the components that ran, and those that came from the cache."""
    task = testing.changed(config.mixture.tasks[0], steps=steps)
    assert polyvit.run(dataclasses.replace(config, mixture=Mixture((task,)))).exit_code == 0
    nodes = run_record.read(config.root).components
    return {name for name, node in nodes.items() if not node.cached}, {n for n, node in nodes.items() if node.cached}


# What the data alone decide, and what the model does.
OF_DATA = {'DataDrift', *(f'{name}_shapes' for name in (
    'MediaExampleGen', 'TaskSchemaGen', 'StatisticsGen', 'TaskValidator', 'Transform'))}
OF_MODEL = {
    'CoTrainer', 'ServingBaseline', 'TaskEvaluator_shapes', 'ServingCheck', 'BlessingGate', 'AtomicPusher',
    'Report'}


def test_what_works_after_a_clean(config, capsys):
    serving = config.serving_dir
    assert _run(config, steps=1) == (OF_DATA | OF_MODEL, set())
    assert _run(config, steps=2) == (OF_MODEL, OF_DATA)
    folders = len(list(config.run_root.glob('pipeline/*/*/[0-9]*')))
    versions = sorted(serving.iterdir())

    assert cli.main(['clean', '--root', config.root, '--keep', '1', '--yes']) == 0
    assert len(list(config.run_root.glob('pipeline/*/*/[0-9]*'))) < folders
    assert sorted(serving.iterdir()) == versions  # what is served, and its baseline

    # An unchanged run, also if there is no record of the equal one, so that TFX has to find everything itself.
    assert _run(config, steps=2) == (set(), OF_DATA | OF_MODEL)
    for record in config.run_root.glob('logs/run-*.json'):
        record.unlink()
    assert _run(config, steps=2) == (set(), OF_DATA | OF_MODEL)

    image = f'{config.mixture.tasks[0].data.folder}/eval/left/0.png'
    answer, = polyvit.predict('shapes', image, model_dir=serving)
    assert set(answer['labels']) == {'left', 'right'}
    assert cli.main(['report', '--root', config.root]) == 0
    assert 'shapes' in capsys.readouterr().out

    # The results of this config were removed: they are made anew, of data that are still there.
    assert _run(config, steps=1) == (OF_MODEL, OF_DATA)
    assert len(list(serving.iterdir())) == 3
