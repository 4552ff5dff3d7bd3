"""Signed versions: what a key signed is served, and whatever else was made of it is refused, each way for itself."""

import base64
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import urllib.request

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from components.atomic_pusher import executor
from model_code import file_io
from model_code.errors import ConfigError
from pipeline import cli
from serving import served, signed_versions, sync
from serving.signed_versions import Refused
from serving.versions import ModelVersions
from tests import testing

FILES = {'saved_model.pb': b'graph', 'variables/variables.index': b'index', 'variables/variables.data': b'\0' * 5000,
         'assets/vocabulary': 'ä\nb'.encode(), 'assets.extra/model_card.json': b'{"name": "a"}', 'empty': b''}


def _key(curve=ec.SECP256R1):
    return ec.generate_private_key(curve())


KEY, OTHER = _key(), _key()


def private_pem(key) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


def public_pem(key) -> bytes:
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def write(path, content: bytes = b'more'):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, 'wb') as file:
        file.write(content)


def make_version(base, number=7, files=None, key=KEY) -> str:
    folder = os.path.join(base, str(number))
    for name, content in (FILES if files is None else files).items():
        write(os.path.join(folder, name), content)
    resign(folder, number, key)
    return folder


def resign(folder, number=7, key=KEY):
    text = signed_versions.sign(signed_versions.file_digests(folder), str(number), key)
    write(os.path.join(folder, 'model.sig'), text.encode())


def flip(name, position=0):
    """A change of one bit in a file."""
    def change(folder):
        path = os.path.join(folder, name)
        with open(path, 'r+b') as file:
            file.seek(position, os.SEEK_SET if position >= 0 else os.SEEK_END)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 1]))
    return change


def add(name, content=b'more'):
    return lambda folder: write(os.path.join(folder, name), content)


def remove(name):
    return lambda folder: os.remove(os.path.join(folder, name))


def rename(old, new):
    return lambda folder: os.renames(os.path.join(folder, old), os.path.join(folder, new))


def cut(name, size):
    return lambda folder: os.truncate(os.path.join(folder, name), size)


def swap(one, two):
    def change(folder):
        paths = [os.path.join(folder, name) for name in (one, two)]
        os.rename(paths[0], paths[0] + '.x')
        os.rename(paths[1], paths[0])
        os.rename(paths[0] + '.x', paths[1])
    return change


def link(name):
    """In place of a file or folder, a symbolic link to the same content elsewhere."""
    def change(folder):
        path, elsewhere = os.path.join(folder, name), os.path.join(folder, '..', 'elsewhere')
        os.rename(path, elsewhere)
        os.symlink(elsewhere, path)
    return change


def pipe(folder):
    os.mkfifo(os.path.join(folder, 'pipe'))


def signature(change):
    """A change of the parsed bundle."""
    def apply(folder):
        path = os.path.join(folder, 'model.sig')
        with open(path) as file:
            bundle = json.load(file)
        change(bundle)
        write(path, json.dumps(bundle).encode())
    return apply


def statement(change):
    """A change of the signed statement, with the signature as it was."""
    def of_bundle(bundle):
        envelope = bundle['dsseEnvelope']
        content = json.loads(base64.b64decode(envelope['payload']))
        change(content)
        envelope['payload'] = base64.b64encode(json.dumps(content).encode()).decode()
    return signature(of_bundle)


def signed_statement(change, key=KEY):
    """A statement of another kind that the key did sign."""
    def of_bundle(bundle):
        envelope = bundle['dsseEnvelope']
        content = json.loads(base64.b64decode(envelope['payload']))
        change(content)
        payload = json.dumps(content).encode()
        envelope['payload'] = base64.b64encode(payload).decode()
        made = key.sign(signed_versions._to_sign(payload), ec.ECDSA(signed_versions._hash_of(key)))
        envelope['signatures'] = [{'sig': base64.b64encode(made).decode(), 'keyid': ''}]
    return signature(of_bundle)


def of_another(**arguments):
    """The signature of another version."""
    def change(folder):
        other = make_version(os.path.join(folder, '..', 'another'), **arguments)
        shutil.copy(os.path.join(other, 'model.sig'), os.path.join(folder, 'model.sig'))
    return change


def _resource(content, name='saved_model.pb'):
    return next(r for r in content['predicate']['resources'] if r['name'] == name)


def _other_last_bit(text):
    content = base64.b64decode(text)
    return base64.b64encode(content[:-1] + bytes([content[-1] ^ 1])).decode()


MUTATIONS = {
    'first bit of the graph': flip('saved_model.pb'),
    'last bit of the graph': flip('saved_model.pb', -1),
    'a bit within the weights': flip('variables/variables.data', 2500),
    'the last bit of the weights': flip('variables/variables.data', -1),
    'a bit of the index': flip('variables/variables.index'),
    'a bit of the vocabulary': flip('assets/vocabulary'),
    'a bit of the card': flip('assets.extra/model_card.json', 3),
    'a byte more in the graph': add('saved_model.pb', b'graph\0'),
    'a byte more in an empty file': add('empty', b'\0'),
    'the weights are cut': cut('variables/variables.data', 4999),
    'the graph is emptied': cut('saved_model.pb', 0),
    'a file more': add('more'),
    'a file more, empty': add('more', b''),
    'a hidden file more': add('.more'),
    'a file more in a folder': add('variables/more'),
    'a file more in a new folder': add('assets.extra/new/more'),
    'another kind of graph': add('saved_model.pbtxt'),
    'warm-up requests': add('assets.extra/tf_serving_warmup_requests'),
    'a name that differs in case': add('Saved_Model.pb', b'graph'),
    'a second signature': add('variables/model.sig'),
    'no graph': remove('saved_model.pb'),
    'no weights': remove('variables/variables.data'),
    'no empty file': remove('empty'),
    'no card': remove('assets.extra/model_card.json'),
    'no files at all': lambda folder: [remove(name)(folder) for name in FILES],
    'a renamed file': rename('assets/vocabulary', 'assets/vocabulary2'),
    'a moved file': rename('assets/vocabulary', 'vocabulary'),
    'a renamed folder': rename('variables', 'variables2'),
    'two files swapped': swap('saved_model.pb', 'variables/variables.index'),
    'a file becomes a link': link('saved_model.pb'),
    'a folder becomes a link': link('variables'),
    'the signature becomes a link': link('model.sig'),
    'a link more': lambda folder: os.symlink('/nowhere', os.path.join(folder, 'more')),
    'a pipe': pipe,
    'no signature': remove('model.sig'),
    'an empty signature': cut('model.sig', 0),
    'half a signature': cut('model.sig', 700),
    'a signature that lacks its end': lambda folder: cut(
        'model.sig', os.path.getsize(f'{folder}/model.sig') - 1)(folder),
    'a signature that is no JSON': add('model.sig', b'signed'),
    'a signature that is no object': add('model.sig', b'[]'),
    'a deep signature': add('model.sig', b'[' * 100_000),
    'a huge signature': add('model.sig', b' ' * (signed_versions._LONGEST + 1)),
    'the signature of another model': of_another(files={**FILES, 'saved_model.pb': b'other'}),
    'the signature of another number': of_another(number=8),
    'another key': lambda folder: resign(folder, key=OTHER),
    'another curve': lambda folder: resign(folder, key=_key(ec.SECP384R1)),
    "another key that gives itself the required one's name": lambda folder: (
        resign(folder, key=OTHER), signature(lambda bundle: bundle['verificationMaterial']['publicKey'].update(
            hint=signed_versions._hint(KEY.public_key())))(folder)),
    'no key named': signature(lambda bundle: bundle['verificationMaterial']['publicKey'].clear()),
    'no signature in the bundle': signature(lambda bundle: bundle['dsseEnvelope'].update(signatures=[])),
    'two signatures in the bundle': signature(lambda bundle: bundle['dsseEnvelope']['signatures'].append(
        bundle['dsseEnvelope']['signatures'][0])),
    'a bit of the signature': signature(lambda bundle: bundle['dsseEnvelope']['signatures'][0].update(
        sig=_other_last_bit(bundle['dsseEnvelope']['signatures'][0]['sig']))),
    'a name more in the bundle': signature(lambda bundle: bundle.update(more=1)),
    'another media type': signature(lambda bundle: bundle.update(mediaType='application/json')),
    'another payload type': signature(lambda bundle: bundle['dsseEnvelope'].update(payloadType='application/json')),
    'a digest in the statement': statement(lambda content: _resource(content).update(digest='0' * 64)),
    'a resource less in the statement': statement(lambda content: content['predicate']['resources'].pop()),
    'another number in the statement': statement(lambda content: content['subject'][0].update(name='9')),
    'signed, but with another hash': signed_statement(lambda content: _resource(content).update(algorithm='blake2b')),
    'signed, but of another kind': signed_statement(lambda content: content.update(predicateType='https://other')),
    'signed, but with a wrong digest of all': signed_statement(
        lambda content: content['subject'][0]['digest'].update(sha256='0' * 64)),
    'signed, but with a file twice': signed_statement(
        lambda content: content['predicate']['resources'].append(_resource(content))),
}


def test_there_are_fifty_mutations():
    assert len(MUTATIONS) >= 50


@pytest.mark.parametrize('name', MUTATIONS)
def test_a_version_that_was_changed_is_refused_and_the_old_one_served(tmp_path, name):
    make_version(tmp_path, 6)
    folder = make_version(tmp_path, 7)
    signed_versions.verify(folder, 7, [KEY.public_key()])
    MUTATIONS[name](folder)
    with pytest.raises(Refused) as refused:
        signed_versions.verify(folder, 7, [KEY.public_key()])
    loaded = []
    versions = ModelVersions('m', str(tmp_path), signed_versions.verified(
        lambda path: loaded.append(path) or Loaded(), [KEY.public_key()]))
    versions.poll()
    assert loaded == [str(tmp_path / '6')]
    assert [(v.number, v.state) for v in versions.status()] == [(7, 'END'), (6, 'AVAILABLE')]
    assert str(refused.value) in versions.status(7)[0].error.message


class Loaded:
    scheduler = None

    def close(self):
        pass


def test_every_bit_of_a_signature_counts(tmp_path):
    """But for white space, and names that the format's own tool may leave out, no byte of the file can be another."""
    folder = make_version(tmp_path)
    with open(f'{folder}/model.sig', 'rb') as file:
        content = file.read()
    for position in range(0, len(content), 7):
        if content[position:position + 1].isspace():
            continue
        write(f'{folder}/model.sig', content[:position] + bytes([content[position] ^ 1]) + content[position + 1:])
        with pytest.raises(Refused):
            signed_versions.verify(folder, 7, [KEY.public_key()])


def test_what_is_refused_is_said_in_words(tmp_path):
    keys = [KEY.public_key()]

    def sentence(name):
        folder = make_version(tmp_path / name)
        MUTATIONS[name](folder)
        with pytest.raises(Refused) as refused:
            signed_versions.verify(folder, 7, keys)
        return str(refused.value)
    assert sentence('a bit of the card') == "'assets.extra/model_card.json' was changed since it was signed."
    assert sentence('a renamed folder') == "'variables2/variables.data' was added since it was signed, and 1 more."
    assert sentence('no weights') == "'variables/variables.data' is missing since it was signed."
    assert sentence('a folder becomes a link') == "'variables' is a link; a signed version has only files and folders."
    assert sentence('no signature').startswith('It has no signature (model.sig), and one is required.')
    assert sentence('another key') == 'Its signature is by a key that is not among the required ones.'
    assert sentence('the signature of another number').startswith('It is signed as version 8.')


@pytest.mark.parametrize('curve', [ec.SECP256R1, ec.SECP384R1, ec.SECP521R1])
def test_keys_are_read_from_pem_and_may_be_several(tmp_path, monkeypatch, curve):
    key = _key(curve)
    write(tmp_path / 'both.pem', public_pem(OTHER) + public_pem(key))
    write(tmp_path / 'private.pem', private_pem(key).encode())
    keys = signed_versions.read_public_keys(str(tmp_path / 'both.pem'))
    for given in (private_pem(key), str(tmp_path / 'private.pem')):
        monkeypatch.setenv('POLYVIT_PRIVATE_KEY', given)
        folder = make_version(tmp_path / str(len(given)), key=signed_versions.signing_key())
        signed_versions.verify(folder, 7, keys)
        with pytest.raises(Refused, match='not among the required ones'):
            signed_versions.verify(folder, 7, keys[:1])
    monkeypatch.setenv('POLYVIT_PRIVATE_KEY', '')
    assert signed_versions.signing_key() is None


def test_keys_that_cannot_be_used_are_said_in_words_and_never_shown(tmp_path, monkeypatch):
    other = rsa.generate_private_key(65537, 2048)
    text = private_pem(other)
    for given in (text, text[:200], str(tmp_path / 'missing.pem'), '-----BEGIN '):
        monkeypatch.setenv('POLYVIT_PRIVATE_KEY', given)
        with pytest.raises(ConfigError, match='is not an unencrypted private key') as error:
            signed_versions.signing_key()
        assert text.splitlines()[1] not in str(error.value)
    for content in (b'', b'\xff', private_pem(KEY).encode(), public_pem(other), public_pem(KEY)[:-40]):
        write(tmp_path / 'public.pem', content)
        with pytest.raises(ConfigError, match='public.pem'):
            signed_versions.read_public_keys(str(tmp_path / 'public.pem'))
    with pytest.raises(ConfigError, match='cannot be read as public keys'):
        signed_versions.read_public_keys(str(tmp_path / 'none.pem'))


def test_what_the_formats_own_tool_signed_is_taken(tmp_path):
    """The vector was made by model-signing, which is not installed here: its sigstore needs a newer protobuf."""
    vector = json.loads((pathlib.Path(__file__).parent / 'signed_by_model_signing.json').read_text())
    folder = tmp_path / str(vector['version'])
    for name, content in vector['files'].items():
        write(folder / name, content.encode())
    write(folder / 'model.sig', json.dumps(vector['model.sig']).encode())
    write(tmp_path / 'public.pem', vector['public_key'].encode())
    keys = signed_versions.read_public_keys(str(tmp_path / 'public.pem'))
    signed_versions.verify(str(folder), vector['version'], keys)
    flip('saved_model.pb')(folder)
    with pytest.raises(Refused, match="'saved_model.pb' was changed"):
        signed_versions.verify(str(folder), vector['version'], keys)


@pytest.fixture
def signing(tmp_path, monkeypatch) -> str:
    """Pushes sign with KEY; gives the path of its public key."""
    monkeypatch.setenv('POLYVIT_PRIVATE_KEY', private_pem(KEY))
    write(tmp_path / 'public.pem', public_pem(KEY))
    return str(tmp_path / 'public.pem')


def _push(model_dir, base) -> int:
    with tempfile.TemporaryDirectory() as statistics_dir:
        testing.write(statistics_dir, 'data.json', b'{}')
        newest = served.newest(base)
        return int(executor.push(str(model_dir), base, {'model_digest': served.digest(str(model_dir))}, statistics_dir,
                                 baseline=str(newest.number) if newest else ''))


@pytest.mark.parametrize('kind', ['local', 's3', 'gcs'])
def test_a_push_signs_all_that_it_pushes_and_never_keeps_the_key(kind, tmp_path, request, signing):
    base = str(tmp_path / 'serving') if kind == 'local' else f'{request.getfixturevalue(kind)}/serving'
    for name, content in FILES.items():
        write(tmp_path / 'model' / name, content)
    number = _push(tmp_path / 'model', base)
    with file_io.local_copy(f'{base}/{number}') as folder:
        signed_versions.verify(folder, number, signed_versions.read_public_keys(signing))
        assert served.is_whole(folder)
        assert 'assets.extra/data_statistics/data.json' in file_io.list_files(folder)
        secret = private_pem(KEY).splitlines()[1].encode()
        assert not [name for name in file_io.list_files(folder) if secret in file_io.read_bytes(f'{folder}/{name}')]


def test_no_run_starts_with_a_key_that_cannot_sign(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('POLYVIT_PRIVATE_KEY', str(tmp_path / 'missing.pem'))
    assert cli.main(['run', 'demo', '--root', str(tmp_path / 'root')]) == 2
    assert 'gives no key to sign with' in capsys.readouterr().err


def test_only_signed_versions_are_copied_and_kept(s3, tmp_path, signing, capsys):
    url, folder, said = f'{s3}/models', str(tmp_path / 'copy'), []
    for name, content in FILES.items():
        write(tmp_path / 'model' / name, content)
    first = _push(tmp_path / 'model', url)
    write(tmp_path / 'model/variables/variables.index', b'trained on')
    changed = _push(tmp_path / 'model', url)
    file_io.write(f'{url}/{changed}/variables/variables.data', 'other')
    file_io.write(f'{url}/{changed + 1}/saved_model.pb', 'unsigned')
    file_io.copy_folder(f'{url}/{first}', f'{url}/{changed + 2}')
    mirror = sync.Mirror(url, folder, said.append, signed_versions.read_public_keys(signing))
    for _ in range(2):
        mirror.update()
        assert [name for name in os.listdir(folder) if name.isdecimal()] == [str(first)]
    assert [line.split('. ', 1)[1] for line in said[:3]] == [
        f'It is signed as version {first}. A version that was copied to another number must be signed again.',
        'It has no signature (model.sig), and one is required. Push it with POLYVIT_PRIVATE_KEY set, or sign it.',
        "'variables/variables.data' was changed since it was signed."]
    assert said[3:] == [f'Copied version {first} from {url}.'], 'what is refused is told once'
    # A folder that was filled before signatures were required.
    assert cli.main(['sync', url, str(tmp_path / 'old')]) == 0
    assert sorted(n for n in os.listdir(tmp_path / 'old') if n.isdecimal()) == [str(changed + 1), str(changed + 2)]
    assert cli.main(['sync', url, str(tmp_path / 'old'), '--require-signature', signing]) == 0
    assert [name for name in os.listdir(tmp_path / 'old') if name.isdecimal()] == [str(first)]
    write(tmp_path / 'other.pem', public_pem(OTHER))
    capsys.readouterr()
    assert cli.main(['sync', url, str(tmp_path / 'new'), '--require-signature', str(tmp_path / 'other.pem')]) == 1
    captured = capsys.readouterr()
    assert 'by a key that is not among the required ones' in captured.out and 'no whole version' in captured.err
    assert cli.main(['sync', url, str(tmp_path / 'new'), '--require-signature', str(tmp_path / 'none.pem')]) == 2


SERVE = [sys.executable, '-m', 'polyvit', 'serve', '--port', '0', '--grpc-port', '0']


def _until_served(lines) -> list[str]:
    said = []
    for line in lines:
        said.append(line)
        if 'is served at' in line:
            return said
    raise AssertionError(said)


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['url', 'config'])
def test_signatures_are_required_behind_a_url_and_of_several_models(kind, tmp_path, request, signing):
    from tests.serving import models
    models.save_affine(tmp_path / 'half')
    base = f'{request.getfixturevalue("s3")}/models' if kind == 'url' else str(tmp_path / 'models')
    first = _push(tmp_path / 'half', base)
    file_io.copy_folder(str(tmp_path / 'half'), f'{base}/{first + 1}')  # which would load
    given = [base]
    if kind == 'config':
        text = f'model_config_list {{ config {{ name: "polyvit" base_path: "{base}" }} }}'
        write(tmp_path / 'models.config', text.encode())
        given = ['--model-config', str(tmp_path / 'models.config')]
    process = subprocess.Popen([*SERVE, *given, '--require-signature', signing], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    try:
        said = _until_served(iter(process.stdout.readline, ''))
        assert f'version {first}, is served at' in said[-1]
        assert [line for line in said if f'ersion {first + 1} ' in line and 'It has no signature (model.sig)' in line]
    finally:
        process.terminate()
        process.communicate(timeout=60)


@pytest.mark.slow
def test_a_server_refuses_what_was_changed_and_takes_what_is_signed_again(tmp_path, signing):
    from tests.serving import models
    models.save_affine(tmp_path / 'half', offset=2.0)
    models.save_affine(tmp_path / 'three', offset=3.0)
    base = str(tmp_path / 'serving')
    first = _push(tmp_path / 'half', base)
    second = _push(tmp_path / 'three', base)
    flip('saved_model.pb', 100)(f'{base}/{second}')
    process = subprocess.Popen(
        [*SERVE, base, '--require-signature', signing], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        lines = iter(process.stdout.readline, '')
        before = _until_served(lines)
        assert f'version {first}, is served at' in before[-1], before
        assert [line for line in before if "Refused: 'saved_model.pb' was changed since it was signed." in line]
        url = re.search(r'http://\S+/v1/models/polyvit', before[-1])[0]
        assert _ask(url) == 3.0
        heard, told = threading.Event(), f'Serving version {second} of model polyvit.'
        threading.Thread(target=lambda: [told in line and heard.set() for line in lines], daemon=True).start()
        resign(f'{base}/{second}', second, OTHER)
        assert not heard.wait(3) and _ask(url) == 3.0, 'signed again, by another'
        flip('saved_model.pb', 100)(f'{base}/{second}')
        resign(f'{base}/{second}', second)
        assert heard.wait(60) and _ask(url) == 4.0
    finally:
        process.terminate()
        process.wait(60)


def _ask(url: str) -> float:
    with urllib.request.urlopen(f'{url}:predict', b'{"instances": [2.0]}', timeout=30) as reply:
        return json.load(reply)['predictions'][0]
