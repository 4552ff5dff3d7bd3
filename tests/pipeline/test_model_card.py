"""The card of a version as JSON and as CycloneDX, which the official schema accepts; cards of older releases too."""

import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from components.atomic_pusher import card as pushed
from model_code import file_io, model_directory
from pipeline import cli, cyclonedx
from tests import model_cards

DIGITS = {'name': 'digits', 'modality': 'image', 'multi_label': False, 'label_groups': [], 'primary_metric': 'accuracy',
          'classes': ['one', 'two']}
SOUNDS = DIGITS | {'name': 'sounds', 'modality': 'audio'}
DATA = {'digits': {'examples': {'train': 30, 'eval': 10}, 'groups': {'train': 3}, 'labels': {'one': {}, 'two': {}},
                   'files': 42, 'rejected': {'empty': 2},
                   'about': {'name': 'Digits', 'license': 'https://example.org/licence', 'url': 'https://example.org'}}}
EVALUATION = {'version': 1, 'task': 'digits', 'slices': [
    {'feature': '', 'value': '', 'examples': 10, 'groups': 4, 'too_small': True, 'metrics': {
        'accuracy': {'value': 0.8, 'low': 0.5, 'high': 0.9, 'baseline': None, 'change': None},
        'macro_f1': {'value': 0.7}}}]}
CARD = {
    'card_version': 1, 'name': 'mine', 'tasks': [DIGITS, SOUNDS], 'inputs': {'image': {}, 'audio': {}},
    'parameters': {'total': 4, 'encoder': 1, 'tokenizers': {'image': 1}, 'heads': {'digits': 2}},
    'model': {}, 'training': {'initial_checkpoint': '/weights'}, 'media_fingerprints': {'digits': 'f', 'sounds': 'g'},
    'config_digest': 'ab' * 32, 'code_version': 'c', 'versions': {'python': '3.10.1', 'numpy': '1.26.4'},
    'exported': {'steps': 3, 'trained_steps': 3, 'total_steps': 3, 'mean': None},
    'trained': {'ended': '2026-11-26T10:00:00+00:00', 'seconds': 1.5, 'processor': 'A', 'cores': 2, 'accelerators': [],
                'replicas': 1},
    **pushed.stated({'limits': 'Not for cheques.'}), 'data': pushed.data_entry(DATA),
    'metrics': {'digits': {'accuracy': 0.8, 'loss': None, 'example_count': 10.0}, 'sounds': {'accuracy': 0.5}},
    'evaluation': {'digits': pushed.evaluation_entry(EVALUATION)}, 'baseline_version': '3',
    'data_baseline_version': '', 'model_digest': 'd', 'push': 'p'}
OLD = {'name': 'mine', 'tasks': [DIGITS], 'metrics': {'digits': {'accuracy': 0.8}}, 'baseline_version': ''}


@pytest.fixture
def version(tmp_path):
    path = tmp_path / '17'
    path.mkdir()
    (path / 'saved_model.pb').write_text('graph')
    model_directory.write_card(str(path), CARD)
    return path


def assert_accepted(bom):
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(bom))
    assert error is None, error


def component(bom, kind):
    return {c['name']: c for c in bom['components'] if c['type'] == kind}


def test_what_was_measured_of_the_representation_is_among_the_metrics():
    probe = {'metric': 'accuracy', 'linear': {'value': 0.6, 'low': 0.4, 'high': 0.7, 'strength': 0.1}, 'few_shot': [
        {'shots': 5, 'value': 0.5, 'low': None, 'high': None, 'values': [0.5]}]}
    entry = pushed.evaluation_entry(EVALUATION | {'probe': probe})
    assert entry['metrics'] == pushed.evaluation_entry(EVALUATION)['metrics'] | {
        'linear_probe_accuracy': {'value': 0.6, 'low': 0.4, 'high': 0.7},
        '5_shot_accuracy': {'value': 0.5, 'low': None, 'high': None}}
    assert model_cards.errors(CARD | {'evaluation': {'digits': entry}}) == []


def test_a_card_has_the_form_of_its_schema_and_others_do_not():
    assert model_cards.errors(CARD) == []
    assert model_cards.errors({n: v for n, v in CARD.items() if n not in ('model_digest', 'data')}) == []
    for wrong in ({'card_version': 2}, {'config_digest': ''}, {'limits': ''},
                  {'metrics': {'digits': {'accuracy': 'x'}}}, {'tasks': []},
                  {'trained': CARD['trained'] | {'ended': 'today'}}):
        assert len(model_cards.errors(CARD | wrong)) == 1, wrong
    assert "'data' is a dependency" in ' '.join(model_cards.errors({n: v for n, v in CARD.items() if n != 'data'}))


def test_what_nobody_stated_has_plain_words():
    assert pushed.stated({'intended_use': 'Counting.'}) == {'intended_use': 'Counting.', 'limits': pushed.LIMITS}
    assert pushed.stated({})['intended_use'] == pushed.INTENDED_USE


def test_a_bom_has_model_metrics_with_intervals_data_and_libraries():
    bom = cyclonedx.bom(CARD, {'numpy': '1.26.4', 'jax': '0.4+cuda'}, '17')
    assert_accepted(bom)
    model = bom['metadata']['component']
    assert (model['type'], model['name'], model['version']) == ('machine-learning-model', 'mine', '17')
    assert model['modelCard']['quantitativeAnalysis']['performanceMetrics'] == [
        {'type': 'accuracy', 'value': '0.8', 'slice': 'task digits, eval split',
         'confidenceInterval': {'lowerBound': '0.5', 'upperBound': '0.9'}},
        {'type': 'macro_f1', 'value': '0.7', 'slice': 'task digits, eval split'},
        {'type': 'accuracy', 'value': '0.5', 'slice': 'task sounds, eval split'}]
    assert model['modelCard']['considerations'] == {
        'useCases': [pushed.INTENDED_USE], 'technicalLimitations': ['Not for cheques.']}
    assert {'name': 'polyvit:initial_checkpoint', 'value': '/weights'} in model['properties']
    data = component(bom, 'data')
    assert data['Digits']['licenses'] == [{'license': {'name': 'https://example.org/licence',
                                                       'url': 'https://example.org/licence'}}]
    assert {'name': 'polyvit:examples:train', 'value': '30'} in data['Digits']['properties']
    assert {d['ref'] for d in model['modelCard']['modelParameters']['datasets']} == {'data:digits', 'data:sounds'}
    assert {c['purl'] for c in component(bom, 'library').values()} == {
        'pkg:pypi/numpy@1.26.4', 'pkg:pypi/jax@0.4%2Bcuda'}
    assert bom['dependencies'][0]['dependsOn'] == ['data:digits', 'data:sounds', 'pkg:pypi/jax@0.4%2Bcuda',
                                                   'pkg:pypi/numpy@1.26.4']


def test_a_forced_model_says_so_among_its_limits():
    bom = cyclonedx.bom(CARD | {'forced': {'reason': 'Urgent.', 'rejected_for': ['It is worse.']}}, {}, '17')
    assert_accepted(bom)
    assert bom['metadata']['component']['modelCard']['considerations']['technicalLimitations'] == [
        'Not for cheques.', 'The gate rejected the model; it was pushed by force: Urgent.', 'It is worse.']


def test_the_same_version_has_the_same_bom_and_another_has_another_number():
    assert cyclonedx.bom(CARD, {}, '17') == cyclonedx.bom(CARD, {}, '17')
    assert cyclonedx.bom(CARD, {}, '17')['serialNumber'] != cyclonedx.bom(CARD, {}, '18')['serialNumber']


def test_a_license_that_is_no_address_is_a_name():
    data = {'digits': CARD['data']['digits'] | {'license': 'CC-BY 4.0 <x>', 'url': 'http://a b'}}
    bom = cyclonedx.bom(CARD | {'data': data}, {}, '17')
    assert_accepted(bom)
    entry = component(bom, 'data')['Digits']
    assert entry['licenses'] == [{'license': {'name': 'CC-BY 4.0 <x>'}}] and 'contents' not in entry['data'][0]


def test_a_card_of_an_older_release_is_read_and_exported():
    bom = cyclonedx.bom(OLD, {}, '17')
    assert_accepted(bom)
    assert component(bom, 'library') == {} and list(component(bom, 'data')) == ['digits']


def test_the_command_prints_the_card_or_the_bom_of_the_newest_version(version, capsys):
    assert cli.main(['card', str(version.parent)]) == 0
    assert json.loads(capsys.readouterr().out) == CARD
    file_io.write(model_directory.libraries_path(str(version)), json.dumps({'aiohttp': '3.9'}))
    assert cli.main(['card', str(version), '--cyclonedx']) == 0
    bom = json.loads(capsys.readouterr().out)
    assert_accepted(bom)
    assert bom['metadata']['component']['version'] == '17' and list(component(bom, 'library')) == ['aiohttp']


@pytest.mark.parametrize('card, said', [
    ('{}', 'has no model card'), ('{', 'is not valid JSON'), ('{"tasks": [3]}', 'has another form than a run writes'),
    ('[1]', 'has another form than a run writes')])
def test_a_version_without_a_good_card_is_told(version, card, said, capsys):
    (version / 'assets.extra/model_card.json').write_text(card)
    assert cli.main(['card', str(version), '--cyclonedx']) == 1
    assert said in ' '.join(capsys.readouterr().err.split())


def test_a_folder_without_a_version_is_told(tmp_path, capsys):
    assert cli.main(['card', str(tmp_path)]) == 2
    assert 'There is no model in' in capsys.readouterr().err
