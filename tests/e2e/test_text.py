"""Texts, from the rows of a CSV file to a served prediction."""

import json
import urllib.error
import urllib.request

import pytest

import polyvit
from polyvit import Mixture, ModelConfig, PipelineConfig, TrainingConfig
from tests import testing

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope='module')
def config(tmp_path_factory):
    home = tmp_path_factory.mktemp('texts')
    task = testing.text_task(home / 'data', steps=120, batch_size=8, floor=0.9)
    return PipelineConfig('texts', Mixture((task,)),
                          ModelConfig(layers=1, width=32, heads=2, mlp_width=64, inputs=testing.TEXT_SPEC),
                          TrainingConfig(learning_rate=5e-3, warmup_steps=5), root=str(home / 'root'))


@pytest.fixture(scope='module')
def pushed(config):
    """The version directory that a run pushed, its accuracy over the floor."""
    assert polyvit.run(config).exit_code == 0
    version, = config.serving_dir.iterdir()
    return version


def test_a_run_pushes_a_model_of_texts(pushed):
    card = json.loads((pushed / 'assets.extra' / 'model_card.json').read_text())
    assert card['inputs'] == {'text': {'length': 32, 'patch': [4]}}
    assert card['metrics']['reviews']['accuracy'] >= 0.9


def test_texts_are_answered_over_rest_as_files_are_predicted(config, pushed, tmp_path):
    from serving.server import ModelServer

    def ask(instances, signature='reviews'):
        body = json.dumps({'signature_name': signature, 'instances': instances}).encode()
        with urllib.request.urlopen(f'{server.url}/v1/models/polyvit:predict', body) as reply:
            return json.load(reply)['predictions']

    with ModelServer(config.serving_dir, port=0) as server:
        texts = ['A fine cake, number 3.', 'A poor jam, number 5.']
        answers = ask(texts)
        assert [answer['labels'][0] for answer in answers] == ['good', 'bad']
        assert ask(['\ufeff A fine cake, number 3.\n'])[0]['scores'] == pytest.approx(answers[0]['scores'], abs=1e-6)
        files = [testing.write(tmp_path, f'{i}.txt', text) for i, text in enumerate(texts)]
        for answer, predicted in zip(answers, polyvit.predict('reviews', files, server.url), strict=True):
            assert predicted['scores'] == pytest.approx(answer['scores'], abs=1e-6)
        with pytest.raises(urllib.error.HTTPError) as caught:
            ask([texts[0], ' '])
        assert 'item 2 of 2: it has nothing but white space' in json.load(caught.value)['error']
        safe = ask([texts[0], ' '], 'reviews_safe')
        assert safe[0]['labels'][0] == 'good' and safe[0]['error'] == ''
        assert safe[1]['error'] == 'it has nothing but white space: send a text'
