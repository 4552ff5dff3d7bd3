"""A new modality is its own modules and a row of the table: lists of numbers, from a folder of CSV files to a served
prediction. All that makes the modality is in this file.

The decoding process imports this file for its reader, so TensorFlow is imported where it is used.
"""

import dataclasses
import json
import random
import urllib.request

import numpy as np
import pytest

import polyvit
from media import readers
from media.rejections import Rejection
from model_code import isolated
from model_code.modalities import MODALITIES, Input, Limits, Modality
from polyvit import Checks, Data, Gate, Mixture, ModelConfig, PipelineConfig, Recipe, Task, TrainingConfig
from tests import testing

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


# The modality. Its input class.

@dataclasses.dataclass(frozen=True)
class NumbersInput(Input):
    """The first `count` numbers of a list, [count, 1] float32, cut into stretches."""
    modality: str = dataclasses.field(default='numbers', init=False, repr=False)
    count: int = 16
    """How many numbers; a shorter list is padded with zeros, a longer one cropped."""
    patch: tuple[int] = (4,)
    """Numbers in a stretch, which becomes one token."""
    digits: int = 3
    """Digits that the reader keeps behind the point."""

    def __post_init__(self):
        self.check_divides('count', self.patch[0])

    @property
    def shape(self) -> tuple[int, int]:
        return (self.count, 1)


# Its reader.

def read(file, size, spec, limits, start, end):
    """({'numbers': text, 'length': how many}, notes, no fingerprint) of a CSV file of one line."""
    try:
        numbers = [round(float(number), spec.digits) for number in file.read(size).decode().strip().split(',')]
    except ValueError as error:
        raise Rejection('undecodable', f'It is no list of numbers ({error}).') from error
    notes = ('silent',) if not any(numbers) else ()
    return {'numbers': ','.join(map(str, numbers)).encode(), 'length': len(numbers)}, notes, b''


# Its preprocessing.

def decode(encoded, spec, augmentations=(), seed=None):
    """Text, a scalar -> [count, 1] float32."""
    import tensorflow as tf
    numbers = tf.strings.to_number(tf.strings.split(encoded, ','))[:spec.count]
    return tf.ensure_shape(tf.pad(numbers, [[0, spec.count - tf.size(numbers)]])[:, tf.newaxis], spec.shape)


def moments(encoded, spec):
    import tensorflow as tf
    numbers = tf.cast(decode(encoded, spec), tf.float64)
    return tf.stack([tf.reduce_mean(numbers), tf.reduce_mean(tf.square(numbers))])


def statistics(moments):
    import tensorflow as tf
    mean, mean_square = tf.unstack(tf.cast(moments, tf.float32))
    return mean, tf.sqrt(mean_square - mean ** 2)


def normalize(numbers, mean, stddev, spec):
    return (numbers - mean) / stddev


def augment(numbers, spec, augmentations, seed):
    from model_code.preprocessing import draws
    return draws.apply({'offset': offset}, augmentations, numbers, spec, seed)


def offset(numbers, spec, seed):
    """Adds the same small number to all."""
    from model_code.preprocessing import draws
    return numbers + draws.uniform(seed, 'offset', -0.1, 0.1)


# Its tokenizer.

def tokenizer(width, spec, name):
    import tf_keras

    from model_code.tokenizers import PatchTokenizer

    class NumbersTokenizer(PatchTokenizer):
        """[batch, count, 1] -> [batch, 1 + stretches, width]."""
        convolution = tf_keras.layers.Conv1D
    return NumbersTokenizer(width, spec, name=name)


# Its schema.

SCHEMA = '''
feature { name: "id" type: BYTES presence { min_fraction: 1.0 min_count: 1 } shape {} }
feature { name: "label" type: BYTES presence { min_fraction: 1.0 min_count: 1 } }
feature { name: "numbers" type: BYTES presence { min_fraction: 1.0 min_count: 1 } image_domain {} shape {} }
feature { name: "length" type: INT presence { min_fraction: 1.0 min_count: 1 } int_domain { min: 1 } shape {} }
'''


# Its row.

@pytest.fixture(scope='module')
def row(tmp_path_factory):
    schema = testing.write(tmp_path_factory.mktemp('schemas'), 'numbers.pbtxt', SCHEMA)
    row = Modality(
        name='numbers', input_class=NumbersInput, feature='numbers', sizes=('length',),
        reader_module=__name__, preprocessing_module=__name__, tokenizer=f'{__name__}.tokenizer', schema=str(schema),
        limits=Limits(bytes=1_000, decode_seconds=5.0), endings=('.csv',), reader_fields=('digits',),
        augmentations=('offset',), mixup=True, statistics=('numbers_mean', 'numbers_stddev'), shard_entries=8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(MODALITIES, 'numbers', row)
        # The processes that import this file find it as a user's own module, and not by the current folder.
        patch.setenv('PYTHONPATH', str(isolated.PROJECT))
        yield row


# The run. The numbers of an example rise or fall, far from zero.

def _numbers(label: str, seed: int) -> str:
    noise = random.Random(f'{label} {seed}')
    slope = {'rising': 1, 'falling': -1}[label]
    return ','.join(f'{100 + slope * (place - 8) + noise.uniform(-2, 2):.6f}' for place in range(12 + seed % 6))


@pytest.fixture(scope='module')
def config(row, tmp_path_factory):
    home = tmp_path_factory.mktemp('numbers')
    for split, count in (('train', 24), ('eval', 8)):
        for label in ('rising', 'falling'):
            for i in range(count):
                testing.write(home, f'data/{split}/{label}/{i}.csv', _numbers(label, i + 100 * (split == 'eval')))
    testing.write(home, 'data/train/rising/notes.csv', 'to be done')
    testing.write(home, 'data/train/rising/notes.txt', 'not of the data')
    task = Task('trend', 'numbers', data=Data(str(home / 'data')),
                recipe=Recipe(steps=60, batch_size=8, augmentations=('offset',), mixup_alpha=0.2),
                checks=Checks(max_rejected_share=0.1), gate=Gate(floor=0.9))
    return PipelineConfig('numbers', Mixture((task,)),
                          ModelConfig(layers=1, width=16, heads=2, mlp_width=32, inputs=NumbersInput(count=16)),
                          TrainingConfig(learning_rate=5e-3, warmup_steps=5), root=str(home / 'root'))


@pytest.fixture(scope='module')
def pushed(config):
    """The version directory that a run pushed, its accuracy over the floor."""
    assert polyvit.run(config).exit_code == 0
    version, = config.serving_dir.iterdir()
    return version


def test_what_a_run_would_find_and_cost_is_told_before(config):
    from pipeline import checks, data_check, plan
    task, = data_check.check_config(config)['tasks']
    assert task['ok'] and task['total'] == 65 and task['classes'].keys() == {'rising', 'falling'}
    assert task['rejected']['undecodable']['first'] == [
        ['train/rising/notes.csv', "It is no list of numbers (could not convert string to float: 'to be done')."]]
    planned = plan.make_plan(config, checks.check(config))
    assert planned.tasks[0].tokens == 1 + 16 // 4
    assert planned.tokenizer_parameters == {'numbers': 4 * 16 + 16 + 16 + 5 * 16}  # kernel, bias, class token, places


def test_a_task_is_checked_by_the_row(row):
    with pytest.raises(polyvit.ConfigError, match="numbers augmentation named 'flip'"):
        testing.task('trend', 'numbers', augmentations=('flip',))
    with pytest.raises(polyvit.ConfigError, match='extra column .length.'):
        polyvit.Columns(extra=('length',))
    with pytest.raises(polyvit.ConfigError, match='takes ImageInput, AudioInput, VideoInput, TextInput, NumbersInput'):
        ModelConfig(inputs=('numbers',))
    with pytest.raises(polyvit.ConfigError, match='only audio or numbers may have more'):
        testing.task('shapes', 'image', mixup_alpha=0.5)
    with pytest.raises(polyvit.ConfigError, match='token_share is 0.5, but tokens of numbers cannot be dropped'):
        testing.task('slopes', 'numbers', token_share=0.5)


def test_a_run_pushes_a_model_that_says_what_it_takes(config, pushed):
    card = json.loads((pushed / 'assets.extra' / 'model_card.json').read_text())
    assert card['inputs'] == {'numbers': {'count': 16, 'patch': [4], 'digits': 3}}
    assert card['tasks'][0]['modality'] == 'numbers' and sorted(card['tasks'][0]['classes']) == ['falling', 'rising']
    assert card['metrics']['trend']['accuracy'] >= 0.9
    assert polyvit.run(dataclasses.replace(config, model=dataclasses.replace(
        config.model, inputs=NumbersInput(count=16, patch=(4,))))).exit_code == 0  # the same: nothing is pushed again
    assert len(list(config.serving_dir.iterdir())) == 1


def test_the_pushed_model_computes_what_training_saw(config, pushed):
    """Its embedding against that of a model with its weights, of inputs by hand: cropped or padded, normalised."""
    import tensorflow as tf

    from model_code import initialisation, polyvit
    model = polyvit.PolyViT(config.mixture, {'trend': 2}, config.model)
    found = initialisation.initialise(model, str(pushed))
    assert found['fresh'] == [] and 'tokenizers/numbers/embedding/kernel' in found['taken']

    texts = [_numbers(label, seed) for label in ('rising', 'falling') for seed in range(24)]  # the train split
    inputs = np.zeros([len(texts), 16, 1])
    for row, text in zip(inputs, texts, strict=True):
        numbers = np.array(text.split(','), float).round(3)[:16]
        row[:len(numbers), 0] = numbers
    assert (inputs == 0).any() and any(text.count(',') >= 16 for text in texts)
    inputs = (inputs - inputs.mean()) / inputs.std()
    served = tf.saved_model.load(str(pushed)).signatures['numbers_embedding']
    stored = [readers.read('numbers', text.encode(), NumbersInput())['numbers'] for text in texts]
    tokens = model.encode('numbers', tf.constant(inputs, tf.float32))
    np.testing.assert_allclose(served(numbers=tf.constant(stored))['embedding'], model.embedding('numbers', tokens),
                               atol=1e-4)


def test_files_are_predicted_over_rest(config, pushed):
    from serving.server import ModelServer
    folder = config.mixture['trend'].data.folder
    with ModelServer(config.serving_dir, port=0) as server:
        url = server.url
        files = [f'{folder}/eval/{label}/{i}.csv' for label in ('rising', 'falling') for i in range(8)]
        results = polyvit.predict('trend', files, url)
        with urllib.request.urlopen(f'{url}/v1/models/polyvit/metadata') as reply:
            signatures = json.load(reply)['metadata']['signature_def']['signature_def']
        with pytest.raises(polyvit.ConfigError, match=r'photo.png is of modality image.*numbers \(.csv\)'):
            polyvit.predict('trend', [testing.write(folder, 'photo.png', testing.image_bytes())], url)
    assert {'trend', 'trend_scores', 'numbers_embedding'} <= signatures.keys()
    assert all(sum(result['scores']) == pytest.approx(1, abs=1e-5) for result in results)
    right = [result['labels'][0] == result['path'].split('/')[-2] for result in results]
    assert np.mean(right) >= 0.9
