"""A headless Chromium, driven over its DevTools protocol: opens a page, evaluates JavaScript in it, asks axe-core."""

import asyncio
import contextlib
import functools
import itertools
import json
import pathlib
import shutil
import subprocess
import tarfile
import time

import aiohttp
import pytest

CHROMIUM = shutil.which('chromium')
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason='There is no chromium here (scripts/install_programs.sh).')
_SECONDS = 60  # for an answer, on a busy machine
_AXE = 'axe-core@4.14.1'  # rules of accessibility, in one script
_AXE_FOLDER = pathlib.Path(__file__).parents[1] / 'build' / 'axe'


class Page:
    """A page that is open. problems: errors, and what its Content-Security-Policy forbade."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, loop: asyncio.AbstractEventLoop):
        self._socket, self._loop, self._ids = socket, loop, itertools.count(1)
        self.problems: list[str] = []

    def call(self, method: str, **parameters) -> dict:
        """The result of a DevTools method. Raises RuntimeError if it fails."""
        return self._loop.run_until_complete(asyncio.wait_for(self._call(method, parameters), _SECONDS))

    async def _call(self, method, parameters):
        number = next(self._ids)
        await self._socket.send_json({'id': number, 'method': method, 'params': parameters})
        while True:
            message = json.loads((await self._socket.receive()).data)
            if message.get('id') == number:
                if 'error' in message:
                    raise RuntimeError(f'{method}: {message["error"]}')
                return message['result']
            self._notice(message)

    def _notice(self, message: dict):
        parameters = message.get('params', {})
        if message.get('method') == 'Log.entryAdded' and parameters['entry']['level'] in ('error', 'warning'):
            self.problems.append(parameters['entry']['text'])
        if message.get('method') == 'Runtime.exceptionThrown':
            self.problems.append(parameters['exceptionDetails'].get('exception', {}).get('description', 'exception'))
        if message.get('method') == 'Runtime.consoleAPICalled' and parameters['type'] == 'error':
            self.problems.append(str(parameters['args']))

    def value(self, expression: str):
        """What a JavaScript expression, or the promise that it is, comes to."""
        answer = self.call('Runtime.evaluate', expression=expression, awaitPromise=True, returnByValue=True,
                           userGesture=True)
        if 'exceptionDetails' in answer:
            raise RuntimeError(answer['exceptionDetails']['exception'].get('description', expression))
        return answer['result'].get('value')

    def press(self, key: str, code: int, text: str = ''):
        """Presses a key. code: its Windows virtual-key code."""
        for kind in ('keyDown', 'keyUp'):
            self.call('Input.dispatchKeyEvent', type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                      **({'text': text} if text and kind == 'keyDown' else {}))

    def open(self, place: pathlib.Path | str, width: int = 1280, height: int = 900, scheme: str = 'light'):
        """Opens a file or a URL, in a window of so many pixels, for a reader who prefers 'light' or 'dark'."""
        url = place.absolute().as_uri() if isinstance(place, pathlib.Path) else place
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        self.call('Page.navigate', url=url)
        self.wait(f'document.readyState === "complete" && location.href === {json.dumps(url)}')

    def wait(self, condition: str):
        """Returns once a JavaScript expression is true. Raises TimeoutError."""
        end = time.monotonic() + _SECONDS
        while not self.value(condition):
            if time.monotonic() > end:
                raise TimeoutError(f'{condition} did not come true. The page says: '
                                   f'{self.value("document.body.innerText")[:1000]}')
            self._loop.run_until_complete(asyncio.sleep(0.05))

    def choose(self, selector: str, *files: pathlib.Path):
        """Gives files to a file input, as its chooser would."""
        root = self.call('DOM.getDocument')['root']['nodeId']
        node = self.call('DOM.querySelector', nodeId=root, selector=selector)['nodeId']
        self.call('DOM.setFileInputFiles', nodeId=node, files=[str(file.absolute()) for file in files])

    def violations(self, axe: str) -> dict[str, list[str]]:
        """Rule of accessibility -> the elements that break it, of those with serious or critical impact.

        axe: from `axe`.
        """
        self.value(f'{axe}; 0')
        found = json.loads(self.value('axe.run(document, {resultTypes: ["violations"]}).then(JSON.stringify)'))
        return {entry['id']: [node['html'][:200] for node in entry['nodes']] for entry in found['violations']
                if entry['impact'] in ('serious', 'critical')}


@functools.cache
def axe() -> str:
    """The source of axe-core, which npm fetches once. Skips the test if it cannot."""
    if not shutil.which('npm'):
        pytest.skip('There is no npm here, which fetches axe-core.')
    _AXE_FOLDER.mkdir(parents=True, exist_ok=True)
    file = _AXE_FOLDER / f'{_AXE.replace("@", "-")}.tgz'
    if not file.is_file():
        packed = subprocess.run(['npm', 'pack', '--silent', _AXE], cwd=_AXE_FOLDER, text=True, capture_output=True)
        if packed.returncode:
            pytest.skip(f'npm cannot fetch {_AXE}: {packed.stderr.strip()[-200:]}')
    with tarfile.open(file) as archive:
        source = archive.extractfile('package/axe.min.js')
        assert source
        return source.read().decode()


@contextlib.contextmanager
def opened(folder: pathlib.Path, *arguments: str):
    """A Page of a Chromium whose profile is in `folder`. arguments: further ones, for Chromium."""
    process = subprocess.Popen(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
         '--remote-debugging-port=0', f'--user-data-dir={folder}', *arguments, 'about:blank'],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    loop = asyncio.new_event_loop()
    try:
        port = loop.run_until_complete(asyncio.wait_for(_port(folder / 'DevToolsActivePort'), _SECONDS))
        session, socket = loop.run_until_complete(_connect(port))
        page = Page(socket, loop)
        for domain in ('Page', 'Runtime', 'Log'):
            page.call(f'{domain}.enable')
        yield page
        loop.run_until_complete(session.close())
    finally:
        process.terminate()
        process.wait()
        loop.close()


async def _port(file: pathlib.Path) -> int:
    """The port on which Chromium listens; it writes it to this file."""
    while not (file.is_file() and file.read_text().count('\n')):
        await asyncio.sleep(0.05)
    return int(file.read_text().splitlines()[0])


async def _connect(port: int):
    session = aiohttp.ClientSession()
    async with session.get(f'http://127.0.0.1:{port}/json/list') as answer:
        url = next(entry['webSocketDebuggerUrl'] for entry in await answer.json() if entry['type'] == 'page')
    return session, await session.ws_connect(url, max_msg_size=0)
