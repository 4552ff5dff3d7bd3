"""docs/clients.md: each example runs, as it is on the page, against a server. Only names and ports are others."""

import functools
import json
import pathlib
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from serving.server import ModelServer
from tests import browser, testing
from tests.serving import models

PAGE = (pathlib.Path(__file__).resolve().parents[2] / 'docs/clients.md').read_text(encoding='utf-8')
# As of an exported model: what a push adds to the card's file, such as `intended_use`, is not in its graph.
CARD = json.dumps({'tasks': [{'name': 'shade', 'modality': 'image', 'classes': ['low', 'high']}]})
LABELS = ['low', 'high']


@pytest.fixture(scope='module')
def server(tmp_path_factory):
    base = tmp_path_factory.mktemp('brightness')
    models.save_brightness(base / '1', card=CARD)
    with ModelServer(base, port=0, grpc_port=0, cors=True) as running:
        yield running


@pytest.fixture
def examples(server, tmp_path):
    """examples(language) -> those of the page, for this server. photo.png and broken.png are in tmp_path."""
    testing.write(tmp_path, 'photo.png', testing.image_bytes())
    testing.write(tmp_path, 'broken.png', b'\x89PNG and then nothing')

    def of(language):
        found = re.findall(rf'^```{language}\n(.*?)^```', PAGE, re.MULTILINE | re.DOTALL)
        assert found
        return [text.replace('digits', 'shade').replace('127.0.0.1:8501', f'127.0.0.1:{server.port}')
                .replace('127.0.0.1:8500', f'127.0.0.1:{server.grpc_port}') for text in found]
    return of


def _run(command, folder, text=''):
    environment = {'PATH': '/usr/bin:/bin', 'PYTHONPATH': str(pathlib.Path(__file__).resolve().parents[2])}
    done = subprocess.run(command, input=text, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not shutil.which('curl'), reason='There is no curl here.')
def test_curl(examples, tmp_path):
    text, = examples('sh')
    assert json.loads(_run(['sh'], tmp_path, text))['predictions'][0]['labels'] == LABELS


def test_python_and_grpc(examples, tmp_path):
    client, asyncio_client, by_grpc = examples('py')
    lines = _run([sys.executable, '-'], tmp_path, client).splitlines()
    assert lines[0] == "['shade']" and lines[1].startswith("photo.png ['low', 'high'] [0.")
    assert lines[2].split(' ', 2)[1] == 'bytes' and lines[2].endswith(lines[1].partition(' ')[2])
    assert lines[3].startswith('broken.png is left out. broken.png cannot be read (unsupported). ')
    answers = _run([sys.executable, '-'], tmp_path, asyncio_client)
    assert answers.count("'labels': ['low', 'high']") == 4
    assert _run([sys.executable, '-'], tmp_path, by_grpc).startswith("[[b'low' b'high']] [[0.")


@pytest.mark.skipif(not shutil.which('node'), reason='There is no node here.')
def test_javascript_in_node(examples, tmp_path):
    text, = examples('js')
    ask = ("const file = new Blob([require('fs').readFileSync('photo.png')]);\n"
           "predict('shade', file).then(answer => console.log(JSON.stringify(answer)));\n"
           "predict('none', file).catch(error => console.log(error.message));\n")
    lines = sorted(_run(['node', '-'], tmp_path, text + ask).splitlines())
    assert lines[0].startswith('Serving signature name: "none" not found')
    assert json.loads(lines[1])['labels'] == LABELS


@browser.needs_chromium
def test_javascript_in_a_page_of_another_origin(examples, tmp_path):
    text, = examples('js')
    testing.write(tmp_path / 'site', 'index.html',
                  f'<!DOCTYPE html><link rel="icon" href="data:,"><script>{text}</script>')
    shutil.copy(tmp_path / 'photo.png', tmp_path / 'site')
    handler = functools.partial(_Quiet, directory=tmp_path / 'site')
    with ThreadingHTTPServer(('127.0.0.1', 0), handler) as site:
        thread = threading.Thread(target=site.serve_forever)
        thread.start()
        try:
            with browser.opened(tmp_path / 'profile') as page:
                page.call('Page.navigate', url=f'http://127.0.0.1:{site.server_port}/index.html')
                answer = page.value('''(async () => {
                    while (typeof predict === 'undefined') await new Promise(then => setTimeout(then, 50));
                    return predict('shade', await (await fetch('photo.png')).blob());
                })()''')
        finally:
            site.shutdown()
            thread.join()
    assert answer['labels'] == LABELS and page.problems == []


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass
