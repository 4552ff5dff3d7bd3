"""The newest version with its card, and the digest by which a model is recognised."""

import json

import pytest

from serving import served


@pytest.fixture
def model(tmp_path):
    for name in ('saved_model.pb', 'variables/variables.data', 'assets/words', 'assets.extra/model_card.json'):
        (tmp_path / 'm' / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / 'm' / name).write_text(json.dumps({'tasks': ['a'], 'code_version': '1'}))
    return tmp_path / 'm'


def test_a_copy_has_the_same_digest_whatever_its_card_says(model, tmp_path):
    digest = served.digest(str(model))
    model.rename(tmp_path / 'elsewhere')
    card = tmp_path / 'elsewhere/assets.extra/model_card.json'
    card.write_text(json.dumps(json.loads(card.read_text()) | {'metrics': 'added by a push'}))
    (tmp_path / 'elsewhere/saved_model.pb').write_text('functions with other numbers')
    assert served.digest(str(tmp_path / 'elsewhere')) == digest


@pytest.mark.parametrize('change', [
    lambda model: (model / 'variables/variables.data').write_text('other weights'),
    lambda model: (model / 'assets/words').rename(model / 'assets/labels'),
    lambda model: (model / 'assets/more').write_text(''),
    lambda model: (model / 'assets/words').unlink(),
    lambda model: (model / 'model_card.json').write_text('not the card'),
    lambda model: (model / 'assets.extra/model_card.json').write_text('{"tasks": ["b"], "code_version": "1"}'),
    lambda model: (model / 'assets.extra/model_card.json').write_text('{"tasks": ["a"], "code_version": "2"}'),
])
def test_another_content_name_or_file_is_another_model(model, change):
    digest = served.digest(str(model))
    change(model)
    assert served.digest(str(model)) != digest


def test_the_statistics_that_a_push_adds_make_no_other_model(model):
    digest = served.digest(str(model))
    for name in ('data.json', 'pets/Split-train/FeatureStats.pb'):
        path = model / 'assets.extra/data_statistics' / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('statistics')
    assert served.digest(str(model)) == digest
    (model / 'assets.extra/data_statistics_of_others').write_text('')
    assert served.digest(str(model)) != digest


def test_newest(model, tmp_path):
    assert served.newest(str(tmp_path / 'none')) is None
    for number, card in (('9', '{"model_digest": "a"}'), ('10', '{"model_digest": "b"}')):
        (tmp_path / number / 'assets.extra').mkdir(parents=True)
        (tmp_path / number / 'saved_model.pb').write_text('graph')
        (tmp_path / number / 'assets.extra/model_card.json').write_text(card)
    (tmp_path / '11').mkdir()
    assert served.newest(str(tmp_path)) == served.Served(10, str(tmp_path / '10'), {'model_digest': 'b'})
    assert served.newest(str(tmp_path)).digest == 'b'


@pytest.mark.parametrize('card', ['{', '[]', None, json.dumps({'name': 'm'})])
def test_a_version_whose_card_tells_nothing_has_no_digest(tmp_path, card):
    (tmp_path / '1' / 'assets.extra').mkdir(parents=True)
    (tmp_path / '1' / 'saved_model.pb').write_text('graph')
    if card is not None:
        (tmp_path / '1/assets.extra/model_card.json').write_text(card)
    assert served.newest(str(tmp_path)).digest == ''
