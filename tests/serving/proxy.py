"""nginx on this machine, with the configuration of serving/proxy before a server of models; for tests."""

import contextlib
import datetime
import ipaddress
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import time
import typing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

FOLDER = pathlib.Path(__file__).resolve().parents[2] / 'serving' / 'proxy'
_NGINX = shutil.which('nginx') or shutil.which('nginx', path='/usr/sbin')
_MODULE = '/usr/share/nginx/modules/ngx_http_js_module.so'
needs_nginx = pytest.mark.skipif(not _NGINX or not os.path.exists(_MODULE), reason=(
    'There is no nginx with njs here (scripts/install_programs.sh).'))
TOKEN = 'f00d' * 16


class Proxy(typing.NamedTuple):
    port: int
    tls: ssl.SSLContext
    log: pathlib.Path


@contextlib.contextmanager
def running(folder: pathlib.Path, server_port: int, changes: dict[str, str]) -> typing.Iterator[Proxy]:
    """A context with nginx before the server on this port. changes: what is written otherwise in the configuration."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    tls = _make_certificate(folder)
    (folder / 'tokens').write_text(f'"Bearer {TOKEN}" tester;\n"Bearer {"beef" * 16}" other;\n')
    shutil.copy(FOLDER / 'json_depth.js', folder)
    text = (FOLDER / 'nginx.conf').read_text()
    for old, new in ({'/tmp/': f'{folder}/', '/etc/polyvit/secrets': str(folder), '/etc/polyvit': str(folder),
                      '/dev/stdout': f'{folder}/access.log',
                      'polyvit-serving:8501': f'127.0.0.1:{server_port}', 'listen 8443': f'listen 127.0.0.1:{port}',
                      'worker_processes auto': 'worker_processes 1'} | changes).items():
        assert old in text, old
        text = text.replace(old, new)
    (folder / 'nginx.conf').write_text(text)
    with open(folder / 'error.log', 'wb') as errors:
        process = subprocess.Popen([_NGINX, '-e', 'stderr', '-c', str(folder / 'nginx.conf'), '-g',
                                    'daemon off;' + (' user root;' if os.getuid() == 0 else '')], stderr=errors)
        try:
            _wait(port, process, folder / 'error.log')
            yield Proxy(port, tls, folder / 'access.log')
        finally:
            process.send_signal(signal.SIGTERM)  # which ends the workers too
            process.wait(20)


def _wait(port: int, process: subprocess.Popen, errors: pathlib.Path):
    until = time.monotonic() + 20
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', port), 1):
            return
        time.sleep(0.05)
    raise AssertionError(f'nginx does not run: {errors.read_text()}')


def _make_certificate(folder: pathlib.Path) -> ssl.SSLContext:
    """Writes tls.crt and tls.key for 127.0.0.1; returns the context of a client that trusts them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, 'test')])
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address('127.0.0.1'))]), False)
        .add_extension(x509.BasicConstraints(True, None), True).sign(key, hashes.SHA256()))
    (folder / 'tls.crt').write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / 'tls.key').write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return ssl.create_default_context(cafile=str(folder / 'tls.crt'))
