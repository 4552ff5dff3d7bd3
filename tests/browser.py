"""A headless Chromium, driven over its DevTools protocol: opens a page from disk, and evaluates JavaScript in it."""

import asyncio
import contextlib
import itertools
import json
import pathlib
import shutil
import subprocess
import time

import aiohttp
import pytest

CHROMIUM = shutil.which('chromium')
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason='There is no chromium here (scripts/install_programs.sh).')
_SECONDS = 60  # for an answer, on a busy machine


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

    def open(self, path: pathlib.Path, width: int = 1280, height: int = 900, scheme: str = 'light'):
        """Opens a file, in a window of so many pixels, for a reader who prefers 'light' or 'dark'."""
        self.call('Emulation.setDeviceMetricsOverride', width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call('Emulation.setEmulatedMedia', features=[{'name': 'prefers-color-scheme', 'value': scheme}])
        self.call('Page.navigate', url=path.absolute().as_uri())
        url = json.dumps(path.absolute().as_uri())
        end = time.monotonic() + _SECONDS
        while not self.value(f'document.readyState === "complete" && location.href === {url}'):
            if time.monotonic() > end:
                raise TimeoutError(f'{path} did not open.')
            self._loop.run_until_complete(asyncio.sleep(0.05))


@contextlib.contextmanager
def opened(folder: pathlib.Path):
    """A Page of a Chromium whose profile is in `folder`."""
    process = subprocess.Popen(
        [CHROMIUM, '--headless', '--no-sandbox', '--disable-gpu', '--disable-dev-shm-usage', '--hide-scrollbars',
         '--remote-debugging-port=0', f'--user-data-dir={folder}', 'about:blank'],
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
