"""HTTP servers that do what a test says: overloaded, slow, lost, endless."""

import contextlib
import http.server
import threading
from collections.abc import Callable


class Handler(http.server.BaseHTTPRequestHandler):
    """Calls `answer(self)` for each request, with its body in `body`. `seen` of the server has each (method, path)."""
    protocol_version = 'HTTP/1.1'
    answer: Callable

    def _any(self):
        self.body = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.server.seen.append((self.command, self.path))
        type(self).answer(self)

    do_GET = do_POST = _any

    def setup(self):
        super().setup()
        self.server.connections += 1

    def log_message(self, *_):
        pass

    def reply(self, status: int, content: bytes = b'', **headers: str):
        self.send_response(status)
        for name, value in {'Content_Length': str(len(content)), **headers}.items():
            self.send_header(name.replace('_', '-'), value)
        self.end_headers()
        self.wfile.write(content)


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_):  # a client that has gone
        pass


@contextlib.contextmanager
def serving(answer: Callable[[Handler], None]):
    """A server on a free port: `url`, `seen` (the requests) and `connections` (how many there were)."""
    server = _Server(('127.0.0.1', 0), type('Answering', (Handler,), {'answer': staticmethod(answer)}))
    server.seen, server.connections = [], 0
    server.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
