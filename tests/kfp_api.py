"""A stand-in for the API of Kubeflow Pipelines (v2beta1) on a local port: pipelines, experiments, runs, recurring runs.

It keeps what it is sent, and plays runs: each time that a run is read, it is one frame further. Frames are made by
`nodes`, as Argo's nodes are told by KFP: `<step>-driver`, `<step>`, and `executor` below it.
"""

import contextlib
import datetime
import email
import email.policy
import http.server
import json
import threading
import urllib.parse
from collections.abc import Iterator, Sequence

BEGUN = datetime.datetime(2026, 11, 26, 3, 0, tzinfo=datetime.timezone.utc)


def time_text(seconds: float) -> str:
    return (BEGUN + datetime.timedelta(seconds=seconds)).strftime('%Y-%m-%dT%H:%M:%SZ')


def nodes(step: str, state: str, begun: float = 0, ended: float | None = None, message: str = '') -> list[dict]:
    """The nodes of a step that is 'running', 'done', 'cached', 'failed', or of which the 'driver' failed.

    begun, ended: seconds after the run's begin. With retries, as here, Argo puts the attempts below `executor`.
    """
    end = {'end_time': time_text(ended) if ended is not None else '1970-01-01T00:00:00Z'}
    start = {'create_time': time_text(begun), 'start_time': time_text(begun)}
    number = str(sum(map(ord, step)))
    driver = {'display_name': f'{step}-driver', 'pod_name': f'run-x-system-container-driver-{number}0',
              'state': 'FAILED' if state == 'driver' else 'SUCCEEDED', **start, 'end_time': time_text(begun + 2)}
    if state == 'driver':
        return [driver, {'display_name': step, 'state': 'SKIPPED', 'pod_name': f'run-x-{number}1', **start, **end}]
    words = {'running': 'RUNNING', 'done': 'SUCCEEDED', 'cached': 'SUCCEEDED', 'failed': 'FAILED'}
    own = {'display_name': step, 'state': words[state], 'pod_name': f'run-x-retry-system-container-executor-{number}1',
           'child_tasks': [{'pod_name': f'run-x-{number}2'}], **start, **end}
    executor = {'display_name': 'executor', 'state': 'SKIPPED' if state == 'cached' else words[state],
                'pod_name': f'run-x-retry-system-container-impl-{number}2', **start, **end}
    if state == 'cached':
        return [driver, own, executor]
    # The steps that follow are children of a pod too.
    executor['child_tasks'] = [{'pod_name': f'run-x-{number}3'}, {'pod_name': 'run-x-99990'}]
    attempt = {'display_name': 'executor(0)', 'state': words[state], 'error': {'message': message} if message else None,
               'pod_name': f'run-x-retry-system-container-impl-{number}3', **start, **end}
    return [driver, own, executor, attempt]


def frame(state: str, steps: Sequence[list[dict]] = (), ended: float | None = None, error: str = '') -> dict:
    """What a read of the run shows."""
    return {'state': state, 'run_details': {'task_details': [node for nodes in steps for node in nodes]},
            'finished_at': time_text(ended) if ended is not None else '0001-01-01T00:00:00Z',
            'error': {'code': 13, 'message': error} if error else None}


class Api:
    """What was sent, and what is answered.

    frames: of every run that is started; the last one stays. errors: (method, end of the path) -> (status, JSON
    or text). requests: (method, path with the query) of all. tokens: the Authorization headers seen.
    """

    def __init__(self):
        self.url = ''
        self.multi_user = False
        self.frames: list[dict] = [frame('SUCCEEDED', ended=1)]
        self.errors: dict[tuple[str, str], tuple[int, dict | str]] = {}
        self.requests: list[tuple[str, str]] = []
        self.tokens: set[str | None] = set()
        self.pipelines: list[dict] = []
        self.versions: list[dict] = []
        self.experiments: list[dict] = []
        self.runs: list[dict] = []
        self.recurring_runs: list[dict] = []
        self._reads: dict[str, int] = {}

    def answer(self, method: str, path: str, query: dict[str, str], body: bytes,
               content_type: str) -> tuple[int, dict | str]:
        for (wanted, end), error in self.errors.items():
            if method == wanted and path.endswith(end):
                return error
        parts = path.removeprefix('/apis/v2beta1/').split('/')
        if parts[0] == 'healthz':
            return 200, {'multi_user': self.multi_user}
        kind = {'recurringruns': 'recurring_runs'}.get(parts[0], parts[0])
        if kind == 'pipelines' and parts[1:] and parts[1] in ('upload', 'upload_version') and method == 'POST':
            return self._upload(parts, query, body, content_type)
        if kind == 'pipelines' and parts[2:3] == ['versions']:
            return self._versions(parts, query)
        if method == 'POST':
            return 200, self._create(kind, json.loads(body))
        if method == 'DELETE':
            self.recurring_runs = [run for run in self.recurring_runs if run['recurring_run_id'] != parts[1]]
            return 200, {}
        if kind == 'runs' and len(parts) == 2:
            return self._play(parts[1])
        return 200, {'recurringRuns' if kind == 'recurring_runs' else kind: _filtered(getattr(self, kind), query)}

    def _upload(self, parts, query, body, content_type):
        message = email.message_from_bytes(f'Content-Type: {content_type}\r\n\r\n'.encode() + body,
                                           policy=email.policy.HTTP)
        file, = message.iter_parts()
        import yaml
        spec = list(yaml.safe_load_all(file.get_content()))
        shown = spec[0] if len(spec) == 1 else {'pipeline_spec': spec[0], 'platform_spec': spec[1]}
        if parts[1] == 'upload_version':
            return 200, self._add_version(query['pipelineid'], query['name'], shown)
        made = {'pipeline_id': f'pipeline-{len(self.pipelines)}', 'display_name': query['name']}
        self.pipelines.append(made)
        self._add_version(made['pipeline_id'], query['name'], shown)
        return 200, made

    def _add_version(self, pipeline: str, name: str, spec: dict) -> dict:
        made = {'pipeline_id': pipeline, 'pipeline_version_id': f'version-{len(self.versions)}', 'display_name': name,
                'pipeline_spec': spec}
        self.versions.append(made)
        return made

    def _versions(self, parts, query):
        mine = [version for version in self.versions if version['pipeline_id'] == parts[1]]
        if len(parts) == 4:
            return 200, next(version for version in mine if version['pipeline_version_id'] == parts[3])
        return 200, {'pipeline_versions': _filtered(mine, query)}

    def _create(self, kind: str, body: dict) -> dict:
        made = getattr(self, kind)
        singular = kind.removesuffix('s')
        body[f'{singular}_id'] = f'{singular}-{len(made)}'
        made.append(body)
        return body

    def _play(self, run_id: str):
        run = next((run for run in self.runs if run['run_id'] == run_id), None)
        if run is None:
            return 404, {'error': f'Failed to get run: run {run_id} not found.', 'code': 5,
                         'message': f'run {run_id} not found.'}
        number = self._reads.get(run_id, 0)
        self._reads[run_id] = number + 1
        return 200, {**run, 'created_at': time_text(0), **self.frames[min(number, len(self.frames) - 1)]}


def _filtered(items: list[dict], query: dict[str, str]) -> list[dict]:
    """The items that the filter of a list asks for."""
    wanted = [(predicate['key'], predicate['stringValue'])
              for predicate in json.loads(query.get('filter', '{}')).get('predicates', ())]
    return [item for item in items if all(item[key] == value for key, value in wanted)]


@contextlib.contextmanager
def serving() -> Iterator[Api]:
    """An Api that answers at its `url`."""
    api = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            url = urllib.parse.urlsplit(self.path)
            api.requests.append((self.command, self.path))
            api.tokens.add(self.headers['Authorization'])
            body = self.rfile.read(int(self.headers['Content-Length'] or 0))
            status, answer = api.answer(self.command, url.path, dict(urllib.parse.parse_qsl(url.query)), body,
                                        self.headers['Content-Type'])
            content = (answer if isinstance(answer, str) else json.dumps(answer)).encode()
            self.send_response(status)
            self.send_header('Content-Type', 'application/json')
            self.send_header('Content-Length', str(len(content)))
            self.end_headers()
            self.wfile.write(content)
        do_POST = do_DELETE = do_GET

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    api.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield api
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
