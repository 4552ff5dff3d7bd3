"""Kubeflow Pipelines, through the client of kfp: pipelines, versions, runs, recurring runs, in its API v2beta1.

Authentication is the client's own: a kubeconfig, a pod's service account, or the variables that kfp reads
(KF_PIPELINES_ENDPOINT, KF_PIPELINES_SA_TOKEN_PATH, KF_PIPELINES_IAP_OAUTH2_CLIENT_ID, ...).
"""

import contextlib
import datetime
import io
import json
import logging
import os
import re
import time
import warnings

from model_code.errors import ConfigError, PipelineStop
from pipeline.kubeflow import compiled
from pipeline.kubeflow.following import NoAnswer, Run, Step

# Seconds to connect, and to answer. The client asks four times, but for what changes something.
TIMEOUT, CHANGE_TIMEOUT = (5, 15), (5, 60)
_EQUALS = 1  # the number of an operation in the filters of the API


class Service:
    """Kubeflow Pipelines at a host. Its errors are sentences: ConfigError, NoAnswer or PipelineStop.

    host: of its API, such as http://localhost:8080; by default what kfp finds. namespace: of the user, where there are
    several.
    """

    def __init__(self, host: str = '', namespace: str = ''):
        _check_no_password(host)
        self._host = host or os.environ.get('KF_PIPELINES_ENDPOINT', '')
        self._client = self._connect(namespace)
        self._namespace = namespace or self._client.get_user_namespace() or None

    def start(self, path: str, name: str, parameters: dict[str, object], experiment: str = '') -> str:
        """Uploads a compiled pipeline and starts a run of it; returns the run's id. name: the pipeline's."""
        version = self._version(path, name)
        with self._spoken('starting the run'):
            return self._client.run_pipeline(
                self._experiment(experiment), f'{name} {datetime.datetime.now():%Y-%m-%d %H:%M:%S}',
                **version, **_settings(path, parameters)).run_id

    def schedule(self, path: str, name: str, parameters: dict[str, object], cron: str, experiment: str = '') -> str:
        """Uploads a compiled pipeline and makes the recurring run `name`, in place of those of that name.

        cron: five fields. Returns the address of the recurring run's page, or its id.
        """
        version = self._version(path, name)
        with self._spoken('making the recurring run'):
            before = self._named(self._client.list_recurring_runs, name, namespace=self._namespace).recurring_runs
            new = self._client.create_recurring_run(
                self._experiment(experiment), name, cron_expression=f'0 {cron}',  # Kubeflow's begin with the second
                no_catchup=True, **version, **_settings(path, parameters))
            for old in before or ():
                self._client.delete_recurring_run(old.recurring_run_id)
        return self._page(f'recurringrun/details/{new.recurring_run_id}') or new.recurring_run_id

    def read(self, run_id: str) -> Run:
        """What a run is doing."""
        with self._spoken(f'reading the run {run_id}'):
            run = self._client.get_run(run_id).to_dict()
        return _run(run, self._spec(run), self._page(f'runs/details/{run_id}'), self._namespace or 'kubeflow')

    def _connect(self, namespace: str):
        logging.getLogger('urllib3.connectionpool').setLevel(logging.ERROR)  # it warns of each attempt
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            with self._spoken('asking whether it is there'):
                client = _client_class()(
                    self._host or None, namespace=namespace or 'kubeflow',
                    credentials=_token_file_credentials() if os.environ.get('KF_PIPELINES_SA_TOKEN_PATH') else None)
                several_users = client.get_kfp_healthz().multi_user
        if several_users and not (namespace or client.get_user_namespace()):
            raise ConfigError(f'{self._host} serves several users. Name your namespace with --namespace.')
        return client

    def _version(self, path: str, name: str) -> dict[str, str]:
        """The version of the pipeline that is this file, as arguments; it is uploaded if it is not there."""
        client, version = self._client, compiled.digest(path)
        with self._spoken('uploading the pipeline'):
            found = self._named(client.list_pipelines, name, namespace=self._namespace).pipelines
            if found:
                pipeline_id = found[0].pipeline_id
                versions = self._named(client.list_pipeline_versions, version, pipeline_id=pipeline_id)
                made, *_ = versions.pipeline_versions or [
                    client.upload_pipeline_version(path, version, pipeline_id=pipeline_id)]
            else:
                pipeline_id = client.upload_pipeline(path, name, namespace=self._namespace).pipeline_id
                made, = client.list_pipeline_versions(pipeline_id).pipeline_versions
        return {'pipeline_id': pipeline_id, 'version_id': made.pipeline_version_id}

    def _experiment(self, name: str) -> str:
        name = name or os.environ.get('KF_PIPELINES_DEFAULT_EXPERIMENT_NAME', 'Default')
        return self._client.create_experiment(name, namespace=self._namespace).experiment_id  # which may be there

    def _named(self, list_all, name: str, **where):
        """What a list of the service has under this name. where: what to list in."""
        wanted = {'predicates': [{'operation': _EQUALS, 'key': 'display_name', 'stringValue': name}]}
        return list_all(filter=json.dumps(wanted), page_size=100, **where)

    def _spec(self, run: dict) -> dict:
        """The pipeline of a run: its own, or that of its version."""
        if run.get('pipeline_spec'):
            return run['pipeline_spec']
        made = run.get('pipeline_version_reference') or {}
        key = made.get('pipeline_id', ''), made.get('pipeline_version_id', '')
        if self._read_spec[0] != key:
            with self._spoken('reading the pipeline of the run'):
                version = self._client.get_pipeline_version(*key)
            self._read_spec = key, version.pipeline_spec
        return self._read_spec[1]

    _read_spec: tuple[tuple, dict] = (), {}

    def _page(self, path: str) -> str:
        """The address of a page of the user interface; '' if only the API's is known."""
        host = os.environ.get('KF_PIPELINES_UI_ENDPOINT') or self._host
        return f'{host.rstrip("/")}/#/{path}' if host else ''

    @contextlib.contextmanager
    def _spoken(self, doing: str):
        """A block in which the client prints nothing and its errors become sentences. doing: what is done there."""
        import urllib3
        from kfp_server_api import ApiException
        host = self._host or 'Kubeflow Pipelines (no --host was given)'
        try:
            logging.disable(logging.ERROR)  # the client logs what it then raises
            with contextlib.redirect_stdout(io.StringIO()):  # and prints addresses
                yield
        except ConfigError:  # a ValueError that is a sentence already
            raise
        except ApiException as error:
            raise _sentence(error, host, doing) from error
        except (urllib3.exceptions.HTTPError, urllib3.exceptions.LocationValueError) as error:
            reason = getattr(error, 'reason', None) or error
            raise NoAnswer(f'{host} does not answer ({type(reason).__name__}), {doing}. Is it the right --host, and '
                           'is its port still forwarded? docs/kubeflow.md says how to reach it.') from error
        except ValueError as error:
            raise ConfigError(f'{host} answers, but not as Kubeflow Pipelines v2 does: it may want a login, or --host '
                              'lacks a path. docs/kubeflow.md says how to reach it.') from error
        except OSError as error:  # the file of a token
            raise ConfigError(f'{error.filename}: {error.strerror}. KF_PIPELINES_SA_TOKEN_PATH must name a file with '
                              'a token.') from error
        finally:
            logging.disable(logging.NOTSET)


def _check_no_password(host: str):
    """Raises ConfigError for an address with a user and password, without showing it: messages show addresses."""
    addresses = {'--host': host} | {
        name: os.environ.get(name, '') for name in ('KF_PIPELINES_ENDPOINT', 'KF_PIPELINES_UI_ENDPOINT')}
    for name, address in addresses.items():
        if '@' in address:
            raise ConfigError(f'{name} has an @, as an address with a user and a password. Give the address alone, and '
                              'write a token to a file that KF_PIPELINES_SA_TOKEN_PATH names.')


def _client_class():
    import kfp.client
    import kfp_server_api

    class Client(kfp.client.Client):
        """kfp's client, which waits for an answer for a bounded time."""

        def get_kfp_healthz(self, sleep_duration: int = 0):
            """Whether the service is there. The constructor asks this before anything else."""
            self._limit_time()
            api = self._healthz_api  # newer releases have other names
            ask = getattr(api, 'get_healthz', None) or api.healthz_service_get_healthz
            answer = _object(ask(_preload_content=False).data)
            return kfp_server_api.V2beta1GetHealthzResponse(bool(answer.get('multi_user')))

        def _limit_time(self):
            rest = self._healthz_api.api_client.rest_client  # that of all requests
            request = type(rest).request

            def limited(method, *args, **options):
                options['_request_timeout'] = TIMEOUT if method == 'GET' else CHANGE_TIMEOUT
                return request(rest, method, *args, **options)
            rest.request = limited
    return Client


def _token_file_credentials():
    import kfp.client
    return kfp.client.ServiceAccountTokenVolumeCredentials()


def _settings(path: str, parameters: dict[str, object]) -> dict:
    """The root is sent too: that of the specification only fills in the form of the web page."""
    return {'params': parameters, 'pipeline_root': compiled.root(compiled.read(path))}


def _object(content: bytes) -> dict:
    """The object in a JSON text. Raises ValueError for anything else, such as the page of a login."""
    found = json.loads(content)
    if not isinstance(found, dict):
        raise ValueError(f'{type(found).__name__} in place of an object')
    return found


def _sentence(error, host: str, doing: str) -> Exception:
    """An error of the API as an exception with a sentence."""
    try:
        body = json.loads(error.body)
        said = body.get('error_message') or body.get('message') or body.get('error') or ''
    except (TypeError, ValueError, AttributeError):
        said = ''
    said = f' It said: {" ".join(str(said).split())[:600]}' if said else ''
    if error.status in (401, 403):
        return ConfigError(
            f'{host} does not allow {doing} ({error.status}). Log in, or write a token to a file and its name to '
            f'KF_PIPELINES_SA_TOKEN_PATH; --namespace must be one that is yours.{said}')
    if error.status == 404 and not said:
        return ConfigError(f'{host} has no API v2beta1 of Kubeflow Pipelines there (404, {doing}). --host is the '
                           'address of its user interface, often with the path /pipeline.')
    if error.status == 0:
        return NoAnswer(f'{host} does not answer, {doing}: {" ".join(str(error.reason).split())}.')
    if error.status in (502, 503, 504):
        return NoAnswer(f'{host} does not answer ({error.status}, {doing}).{said}')
    if 400 <= error.status < 500:
        return ConfigError(f'{host} rejected the request ({error.status}, {doing}).{said}')
    return PipelineStop(f'{host} failed ({error.status}, {doing}).{said}')


def _run(run: dict, spec: dict, url: str, namespace: str) -> Run:
    """A run of the API. spec: its pipeline."""
    details = (run.get('run_details') or {}).get('task_details') or []
    begun, ended = _time(run.get('created_at')), _time(run.get('finished_at'))
    outcomes = {'SUCCEEDED': 'done', 'FAILED': 'failed', 'ERROR': 'failed', 'SKIPPED': 'stopped', 'CANCELED': 'stopped'}
    outcome = outcomes.get(run.get('state') or '', '')
    return Run(
        tuple(_step(name, details, namespace) for name in compiled.steps(spec)), outcome,
        max(0.0, ((ended if outcome and ended else time.time()) - begun) if begun else 0.0), url,
        compiled.serving_folder(spec), (run.get('error') or {}).get('message', ''))


def _step(name: str, details: list[dict], namespace: str) -> Step:
    """A step by the nodes that Argo made of it: `<name>-driver`, `<name>`, and the pods below that."""
    own = [detail for detail in details if detail.get('display_name') == name or detail.get('name') == name]
    driver = [detail for detail in details if detail.get('display_name') == f'{name}-driver']
    work = [below for detail in own for below in _below(detail, details)]
    begun = min((t for d in (*driver, *own) if (t := _time(d.get('start_time') or d.get('create_time')))), default=0.0)
    ended = max((t for d in (*driver, *own) if (t := _time(d.get('end_time')))), default=0.0)
    states = {detail.get('state') for detail in (*driver, *own)}
    done = {detail.get('state') for detail in own}
    if states & {'FAILED', 'ERROR'}:
        pods = [d for d in (*driver, *own, *work) if d.get('state') in ('FAILED', 'ERROR') and d.get('pod_name')]
        pod = f'kubectl logs -n {namespace} {pods[-1]["pod_name"]} -c main' if pods else ''
        message = next((d['error']['message'] for d in reversed(pods) if (d.get('error') or {}).get('message')), '')
        return Step(name, 'failed', max(0.0, ended - begun), pod, message)
    if done & {'SUCCEEDED', 'CACHED'}:
        cached = 'CACHED' in done or bool(work) and all(d.get('state') in (None, 'SKIPPED') for d in work)
        return Step(name, 'cached' if cached else 'done', max(0.0, ended - begun))
    if begun and states & {'RUNNING', 'PENDING', 'SUCCEEDED'}:
        return Step(name, 'running', max(0.0, time.time() - begun))
    return Step(name, 'waiting')


def _below(node: dict, details: list[dict]) -> list[dict]:
    """The pods that did the work of a node, the last attempt last.

    Parents name their children by node, children themselves by pod: the two names end in the same number. A pod's
    children are its attempts, and the steps after it, which are left out here.
    """
    children = {_number(child.get('pod_name')) for child in node.get('child_tasks') or ()} - {''}
    found = [detail for detail in details if _number(detail.get('pod_name')) in children
             and re.fullmatch(r'executor(\(\d+\))?', detail.get('display_name') or '')]
    return [below for child in sorted(found, key=lambda d: _time(d.get('create_time')))
            for below in (child, *_below(child, details))]


def _number(pod_name: str | None) -> str:
    return (pod_name or '').rpartition('-')[2]


def _time(time_: datetime.datetime | None) -> float:
    """The seconds since 1970; 0 for none, which the service may write as the year 1 or 1970."""
    return max(0.0, time_.timestamp()) if time_ and time_.year > 1 else 0.0
