"""Signed versions: `model.sig` in the format of OpenSSF Model Signing, signed and verified with keys in PEM files.

The file is a Sigstore bundle with a DSSE envelope. In it is an in-toto statement with the SHA-256 of every file of the
version (https://github.com/ossf/model-signing-spec). The keys are those of elliptic curves that the format names. The
tool of the format, model-signing, verifies what is signed here, and the other way round. It is not a dependency,
because it needs releases of sigstore and protobuf that TFX does not work with.

The statement's subject is the number of the version. The format calls that a name, for information; here it must be
right, or an old version could be served again under a new number.
"""

import base64
import binascii
import hashlib
import json
import os
import stat
import typing

from model_code import file_io, model_directory
from model_code.errors import ConfigError

_FILE = model_directory.signature_path('')
KEY_VARIABLE = 'POLYVIT_PRIVATE_KEY'

_MEDIA_TYPE = 'application/vnd.dev.sigstore.bundle.v0.3+json'
_PAYLOAD_TYPE = 'application/vnd.in-toto+json'
_STATEMENT = 'https://in-toto.io/Statement/v1'
_PREDICATE = 'https://model_signing/signature/v1.0'
_LONGEST = 16 * 2**20  # bytes of a signature: a version has tens of files, and takes some 200 bytes for each
_MAKE_KEYS = ('`openssl ecparam -name prime256v1 -genkey -noout -out private.pem` makes a private key, and `openssl ec '
              '-in private.pem -pubout -out public.pem` its public one.')


class Refused(Exception):
    """A version that is not what a holder of the key signed. The message is a sentence without the version's path."""


def signing_key() -> typing.Any:
    """The private key in the environment, in PEM or as the path of a PEM file; None without the variable.

    Raises ConfigError if it cannot be used.
    """
    from cryptography.hazmat.primitives import serialization
    given = os.environ.get(KEY_VARIABLE, '').strip()
    if not given:
        return None
    try:
        text = given if given.startswith('-----BEGIN ') else file_io.read_text(given)
        key = serialization.load_pem_private_key(text.encode(), password=None)
        _hash_of(key)
    except (OSError, ValueError, TypeError) as error:
        where = 'What it holds' if given.startswith('-----BEGIN ') else given
        raise ConfigError(f'{KEY_VARIABLE} gives no key to sign with: {where} is not an unencrypted private key of the '
                          f'curves P-256, P-384 or P-521 ({type(error).__name__}). {_MAKE_KEYS}') from None
    return key


def read_public_keys(path: str) -> list:
    """The public keys of a PEM file: a version is taken if one of them signed it. Raises ConfigError."""
    from cryptography.hazmat.primitives import serialization
    end = '-----END PUBLIC KEY-----'
    try:
        blocks = file_io.read_text(path).split(end)[:-1]
        keys = [serialization.load_pem_public_key((block.strip() + f'\n{end}\n').encode()) for block in blocks]
        for key in keys:
            _hash_of(key)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f'{path} cannot be read as public keys of the curves P-256, P-384 or P-521: {error}. '
                          f'{_MAKE_KEYS}') from None
    if not keys:
        raise ConfigError(f'{path} has no public key in PEM. {_MAKE_KEYS}')
    return keys


def file_digests(model_dir: str) -> dict[str, str]:
    """Path relative to the version -> SHA-256 of every file but the signature; the version may be behind a URL."""
    return {name: file_io.content_hash(os.path.join(model_dir, name)) for name in file_io.list_files(model_dir)
            if name != _FILE}


def sign(digests: dict[str, str], version: str, key) -> str:
    """The content of model.sig. digests: of file_digests. version: its number. key: of signing_key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    resources = [{'name': name, 'algorithm': 'sha256', 'digest': digest} for name, digest in sorted(digests.items())]
    statement = {
        '_type': _STATEMENT, 'subject': [{'name': version, 'digest': {'sha256': _root_digest(resources)}}],
        'predicateType': _PREDICATE, 'predicate': {
            'serialization': {'method': 'files', 'hash_type': 'sha256', 'allow_symlinks': False,
                              'ignore_paths': [_FILE]},
            'resources': resources}}
    payload = json.dumps(statement).encode()
    signature = key.sign(_to_sign(payload), ec.ECDSA(_hash_of(key)))
    return json.dumps({
        'mediaType': _MEDIA_TYPE,
        'verificationMaterial': {'publicKey': {'hint': _hint(key.public_key())}, 'tlogEntries': []},
        'dsseEnvelope': {'payload': _base64(payload), 'payloadType': _PAYLOAD_TYPE,
                         'signatures': [{'sig': _base64(signature), 'keyid': ''}]}}, indent=1)


def verify(model_dir: str, version: int, keys: list):
    """Raises Refused unless the files of a local folder are exactly those that a holder of a key signed as `version`.

    keys: of read_public_keys. Reads every file once. Nobody else may write to the folder from here until it is loaded.
    """
    path = model_directory.signature_path(model_dir)
    found = _regular_files(model_dir)
    if _FILE not in found:
        raise Refused(f'It has no signature ({_FILE}), and one is required. Push it with {KEY_VARIABLE} set, '
                      'or sign it.')
    if os.path.getsize(path) > _LONGEST:
        raise Refused(f'Its signature has more than {_LONGEST:,} bytes.')
    try:
        statement = _signed_statement(file_io.read_bytes(path), keys)
        signed = _signed_digests(statement, version)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise Refused(f'Its signature ({_FILE}) is not one of OpenSSF Model Signing with a key: '
                      f'{type(error).__name__}.') from None
    files = found - {_FILE}
    _refuse('was added', files - signed.keys())
    _refuse('is missing', signed.keys() - files)
    _refuse('was changed', {name for name in sorted(files)
                            if file_io.content_hash(os.path.join(model_dir, name)) != signed[name]})


def verified(load: typing.Callable[[str], typing.Any], keys: list) -> typing.Callable[[str], typing.Any]:
    """`load` of a version directory, which is named by its number, after it was verified."""
    def load_verified(path: str):
        verify(path, int(os.path.basename(path)), keys)
        return load(path)
    return load_verified


def _regular_files(folder: str) -> set[str]:
    """The relative paths of all files. Raises Refused for a link, or anything else that is neither file nor folder."""
    found, pending = set(), ['']
    while pending:
        parent = pending.pop()
        with os.scandir(os.path.join(folder, parent)) as entries:
            for entry in entries:
                name = os.path.join(parent, entry.name)
                mode = entry.stat(follow_symlinks=False).st_mode
                if stat.S_ISDIR(mode):
                    pending.append(name)
                elif stat.S_ISREG(mode):
                    found.add(name)
                else:
                    raise Refused(f'{name!r} is {"a link" if stat.S_ISLNK(mode) else "no file"}; a signed version has '
                                  'only files and folders.')
    return found


def _signed_statement(content: bytes, keys: list) -> dict:
    """The statement of a bundle. Raises Refused if no key signed it; ValueError, KeyError, ... for what is no bundle.

    What the keys do not sign must be as expected to the last name, so that nothing in the file can be changed.
    """
    bundle = json.loads(content)
    material, envelope = bundle['verificationMaterial'], bundle['dsseEnvelope']
    (entry,) = envelope['signatures']
    for value, names in ((bundle, {'mediaType', 'verificationMaterial', 'dsseEnvelope'}),
                         (material, {'publicKey', 'tlogEntries'}), (material['publicKey'], {'hint'}),
                         (envelope, {'payload', 'payloadType', 'signatures'}), (entry, {'sig', 'keyid'})):
        if not value.keys() <= names:
            raise ValueError(f'unknown names {value.keys() - names}')
    if (bundle['mediaType'], envelope['payloadType']) != (_MEDIA_TYPE, _PAYLOAD_TYPE):
        raise ValueError('another type')
    if material.get('tlogEntries') or entry.get('keyid'):
        raise ValueError('signed in another way')
    key = next((key for key in keys if _hint(key) == material['publicKey']['hint']), None)
    if key is None:
        raise Refused('Its signature is by a key that is not among the required ones.')
    payload = _bytes(envelope['payload'])
    _check_signature(key, _bytes(entry['sig']), payload)
    return json.loads(payload)


def _check_signature(key, signature: bytes, payload: bytes):
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric import ec
    try:
        key.verify(signature, _to_sign(payload), ec.ECDSA(_hash_of(key)))
    except InvalidSignature:
        raise Refused('Its signature is wrong: the key did not sign this.') from None


def _signed_digests(statement: dict, version: int) -> dict[str, str]:
    """Relative path -> SHA-256. Raises Refused for another version's; ValueError, ... for another kind of statement."""
    (subject,), predicate = statement['subject'], statement['predicate']
    resources, serialization = predicate['resources'], predicate['serialization']
    kind = (statement['_type'], statement['predicateType'], serialization['method'], serialization['hash_type'])
    if kind != (_STATEMENT, _PREDICATE, 'files', 'sha256') or {r['algorithm'] for r in resources} != {'sha256'}:
        raise ValueError('another kind of statement')
    digests = {resource['name']: resource['digest'] for resource in resources}
    if len(digests) != len(resources) or subject['digest']['sha256'] != _root_digest(resources):
        raise ValueError('a statement that contradicts itself')
    if subject['name'] != str(version):
        raise Refused(f'It is signed as version {subject["name"]}. A version that was copied to another number must be '
                      'signed again.')
    return digests


def _refuse(what: str, names: typing.Collection[str]):
    if names:
        first, more = min(names), len(names) - 1
        raise Refused(f'{first!r} {what} since it was signed' + (f', and {more} more.' if more else '.'))


def _root_digest(resources: list[dict]) -> str:
    return hashlib.sha256(b''.join(bytes.fromhex(resource['digest']) for resource in resources)).hexdigest()


def _to_sign(payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding."""
    return b'DSSEv1 %d %s %d %s' % (len(_PAYLOAD_TYPE), _PAYLOAD_TYPE.encode(), len(payload), payload)


def _hint(public_key) -> str:
    """By what a bundle names its key: the SHA-256 of its PEM."""
    from cryptography.hazmat.primitives import serialization
    pem = public_key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(pem).hexdigest()


def _hash_of(key):
    """The hash that goes with a key's curve. Raises ValueError for another kind of key."""
    from cryptography.hazmat.primitives import hashes
    curve = getattr(getattr(key, 'curve', None), 'name', '')
    known = {'secp256r1': hashes.SHA256, 'secp384r1': hashes.SHA384, 'secp521r1': hashes.SHA512}
    if curve not in known:
        raise ValueError(f'the key is of another kind: {curve or type(key).__name__}')
    return known[curve]()


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _bytes(text: str) -> bytes:
    """The bytes of base64 in the one way of writing them. Raises ValueError."""
    try:
        content = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from None
    if _base64(content) != text:
        raise ValueError('not in canonical base64')
    return content
