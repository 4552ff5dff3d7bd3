"""Vertex AI Pipelines, through its SDK (google-cloud-aiplatform): runs and schedules.

Project, region and credentials are the SDK's own: GOOGLE_CLOUD_PROJECT, GOOGLE_CLOUD_REGION and what
`gcloud auth application-default login` wrote, or a service account.
"""

import contextlib
import logging
import os
import time
import warnings

from model_code.errors import ConfigError, PipelineStop
from pipeline.kubeflow import compiled
from pipeline.kubeflow.following import NoAnswer, Run, Step

TIMEOUT = 60.0  # seconds for a request
_OUTCOMES = {'PIPELINE_STATE_SUCCEEDED': 'done', 'PIPELINE_STATE_FAILED': 'failed',
             'PIPELINE_STATE_CANCELLED': 'stopped'}
_STATES = {'PENDING': 'running', 'RUNNING': 'running', 'CANCEL_PENDING': 'running', 'CANCELLING': 'running',
           'SUCCEEDED': 'done', 'SKIPPED': 'cached', 'FAILED': 'failed'}


class Service:
    """Vertex AI Pipelines of a project and a region. Its errors are sentences, as those of kfp_service.Service."""

    def __init__(self):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')
                from google.cloud import aiplatform
        except ImportError:
            raise ConfigError(
                '--target vertex needs the SDK of Vertex AI: pip install google-cloud-aiplatform.') from None
        self._sdk = aiplatform
        missing = [name for name in ('GOOGLE_CLOUD_PROJECT', 'GOOGLE_CLOUD_REGION') if not os.environ.get(name)]
        if missing:
            raise ConfigError(f'Set {" and ".join(missing)}: the project and the region in which Vertex AI is to run, '
                              'such as GOOGLE_CLOUD_REGION=europe-west4.')
        with self._spoken('logging in'):
            aiplatform.init(project=os.environ['GOOGLE_CLOUD_PROJECT'], location=os.environ['GOOGLE_CLOUD_REGION'])

    def start(self, path: str, name: str, parameters: dict[str, object], experiment: str = '') -> str:
        """Starts a run of a compiled pipeline; returns its resource name."""
        with self._spoken('starting the run'):
            job = self._job(path, name, parameters)
            job.submit(create_request_timeout=TIMEOUT, experiment=experiment or None)
            return job.resource_name

    def schedule(self, path: str, name: str, parameters: dict[str, object], cron: str, experiment: str = '') -> str:
        """Makes the schedule `name`, in place of those of that name; returns its resource name."""
        if experiment:
            raise ConfigError('--experiment: the schedules of Vertex AI belong to no experiment.')
        schedules = self._sdk.PipelineJobSchedule
        with self._spoken('making the schedule'):
            before = schedules.list(filter=f'display_name="{name}"')
            new = schedules(pipeline_job=self._job(path, name, parameters), display_name=name)
            new.create(cron=cron, max_concurrent_run_count=1, create_request_timeout=TIMEOUT)
            for old in before:
                old.delete()
            return new.resource_name

    def read(self, run_id: str) -> Run:
        """What a run is doing. run_id: its resource name, or the last part of it."""
        from google.protobuf import json_format
        with self._spoken(f'reading the run {run_id}'):
            job = self._sdk.PipelineJob.get(run_id).gca_resource
        spec = json_format.MessageToDict(job._pb.pipeline_spec)
        outcome = _OUTCOMES.get(job.state.name, '')
        _, project, _, region, _, job_id = job.name.split('/')
        url = (f'https://console.cloud.google.com/vertex-ai/locations/{region}/pipelines/runs/{job_id}'
               f'?project={project}')
        details = {detail.task_name: detail for detail in job.job_detail.task_details}
        return Run(tuple(_step(name, details.get(name), region) for name in compiled.steps(spec)), outcome,
                   _seconds(job.create_time, job.end_time if outcome else None), url, compiled.serving_folder(spec),
                   job.error.message)

    def _job(self, path: str, name: str, parameters: dict[str, object]):
        return self._sdk.PipelineJob(display_name=name, template_path=path, parameter_values=parameters)

    @contextlib.contextmanager
    def _spoken(self, doing: str):
        """A block in which the SDK logs nothing and its errors become sentences. doing: what is done there."""
        from google.api_core import exceptions
        from google.auth import exceptions as login
        logging.disable(logging.ERROR)  # it writes its progress, and tracebacks, to standard output
        try:
            yield
        except login.GoogleAuthError as error:
            raise ConfigError(f'Vertex AI: no credentials ({error}). Run `gcloud auth application-default login`, or '
                              'name the key of a service account in GOOGLE_APPLICATION_CREDENTIALS.') from error
        except (exceptions.ServiceUnavailable, exceptions.DeadlineExceeded, exceptions.RetryError,
                ConnectionError) as error:
            raise NoAnswer(f'Vertex AI does not answer, {doing}: {error}.') from error
        except exceptions.ClientError as error:
            raise ConfigError(f'Vertex AI rejected the request ({error.code}, {doing}). It said: '
                              f'{error.message}') from error
        except exceptions.GoogleAPIError as error:
            raise PipelineStop(f'Vertex AI failed, {doing}: {error}') from error
        finally:
            logging.disable(logging.NOTSET)


def _step(name: str, detail, region: str) -> Step:
    if detail is None:
        return Step(name, 'waiting')
    state = _STATES.get(detail.state.name, 'waiting')
    job = detail.executor_detail.custom_job_detail.job or detail.executor_detail.container_detail.main_job
    log = f'gcloud ai custom-jobs stream-logs {job} --region {region}' if state == 'failed' and job else ''
    return Step(name, state, _seconds(detail.start_time, detail.end_time), log, detail.error.message)


def _seconds(begun, ended) -> float:
    """Between two times of the SDK, of which any may be missing; until now if the second is."""
    if not begun:
        return 0.0
    return max(0.0, (ended.timestamp() if ended else time.time()) - begun.timestamp())
