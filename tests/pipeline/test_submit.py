"""`polyvit submit`: what it asks of Kubeflow Pipelines and Vertex AI, what it shows, and how it ends."""

import json
import pathlib
import re
import socket
import sys
import types

import pytest
import yaml

from pipeline import cli, summary
from pipeline.kubeflow import compiled, compiler, cron, following, kfp_service
from tests import kfp_api, terminals

STEPS = {'MediaExampleGen-shapes': (), 'CoTrainer': ('MediaExampleGen-shapes',), 'BlessingGate': ('CoTrainer',),
         'AtomicPusher': ('BlessingGate',), 'Report': ('AtomicPusher',), 'Verdict': ('Report',)}
SPEC = {
    'pipelineInfo': {'name': 'polyvit-demo'},
    'defaultPipelineRoot': 's3://bucket/p/polyvit-demo/pipeline',
    'root': {
        'inputDefinitions': {'parameters': {
            'data_version': {'parameterType': 'STRING', 'defaultValue': ''},
            'seed': {'parameterType': 'NUMBER_INTEGER', 'defaultValue': 0},
            'floor_shapes': {'parameterType': 'NUMBER_DOUBLE', 'defaultValue': 0.5}}},
        'dag': {'tasks': {name: {'dependentTasks': list(before)} for name, before in STEPS.items()}}}}
compile_pipeline = compiler.compile_pipeline
# Two documents, as where pods need more than a PipelineSpec can say.
PLATFORM = {'platforms': {'kubernetes': {'deploymentSpec': {'executors': {}}}}}


def write_spec(config, output, **options):
    """In place of compile_pipeline, which takes seconds."""
    spec = {**SPEC, 'compiled_with': options}
    pathlib.Path(output).write_text(yaml.safe_dump_all([spec, PLATFORM]) if output.endswith('.yaml')
                                    else json.dumps({'pipelineSpec': spec, 'runtimeConfig': {}}))
    return output


@pytest.fixture
def api(monkeypatch, tmp_path):
    """The stand-in, with which `submit` below talks."""
    monkeypatch.setattr(compiler, 'compile_pipeline', write_spec)
    monkeypatch.setattr(following, 'POLL_SECONDS', 0.01)
    monkeypatch.setenv('HOME', str(tmp_path))  # kfp keeps a namespace there
    for name in ('KF_PIPELINES_ENDPOINT', 'KF_PIPELINES_UI_ENDPOINT', 'KF_PIPELINES_SA_TOKEN_PATH'):
        monkeypatch.delenv(name, raising=False)
    with kfp_api.serving() as api:
        yield api


@pytest.fixture
def submit(api, capsys):
    """submit(*arguments) -> (exit code, standard output, standard error) of `polyvit submit demo`."""
    def run(*arguments, config=('demo', '--root', 's3://bucket/p', '--image', 'image:1')):
        code = cli.main(['submit', *config, '--host', api.url, *arguments])
        return code, *capsys.readouterr()
    return run


def all_done(**changed):
    """The nodes of a run, a step every 10 seconds. changed: step, with _ for -, -> what it is in place of done."""
    changed = {name.replace('_', '-'): state for name, state in changed.items()}
    return [kfp_api.nodes(name, changed.get(name, 'done'), 10 * i, 10 * i + 9) for i, name in enumerate(STEPS)]


class TestTheRun:
    def test_it_is_followed_to_its_end(self, api, submit):
        first, second, *rest = all_done(MediaExampleGen_shapes='cached')
        api.frames = [kfp_api.frame('PENDING'),
                      kfp_api.frame('RUNNING', [first, kfp_api.nodes('CoTrainer', 'running', 10)]),
                      kfp_api.frame('SUCCEEDED', [first, second, *rest], ended=65)]
        code, out, err = submit()
        assert (code, err) == (0, '')
        assert out.splitlines() == [
            'Started polyvit-demo: run run-0',
            f'[ 1/6] {"MediaExampleGen shapes":<40}cached',
            *(f'[ {i}/6] {name:<40}9 seconds' for i, name in enumerate(list(STEPS)[1:], 2)),
            '', 'The run is done: the gate accepted the model.', '',
            'steps        6: 5 done, 1 from the cache',
            'time         1 minute and 5 seconds',
            f'run          {api.url}/#/runs/details/run-0',
            'report       in the page of the run: step Report, tab Visualization',
            'served from  s3://bucket/p/polyvit-demo/serving/polyvit']

    def test_a_rejected_model(self, api, submit):
        api.frames = [kfp_api.frame('FAILED', all_done(Verdict='failed'), ended=65)]
        code, out, _ = submit()
        assert code == 3
        assert 'The gate rejected the model; nothing was pushed.' in out and 'rejected, 9 seconds' in out
        assert re.search(r'^log of Verdict +kubectl logs -n kubeflow \S+ -c main$', out, re.MULTILINE)
        assert 'served from' not in out

    def test_a_failed_run_names_its_step_and_the_pod_with_the_log(self, api, submit):
        failed = kfp_api.nodes('CoTrainer', 'failed', 10, 30, message='Error (exit code 137)')
        api.frames = [kfp_api.frame('FAILED', [all_done()[0], failed], ended=40)]
        code, out, _ = submit('--namespace', 'team')
        assert code == 1
        assert 'The run failed: CoTrainer.\n  CoTrainer: Error (exit code 137)\n' in out
        assert 'steps             6: 1 done, 1 failed, 4 not run' in out
        pod = failed[-1]['pod_name']  # of the attempt, not of the retries around it
        assert f'log of CoTrainer  kubectl logs -n team {pod} -c main' in out
        assert 'report' not in out.splitlines()[-1]

    def test_a_step_that_could_not_start_has_its_log_in_the_driver(self, api, submit):
        nodes = kfp_api.nodes('CoTrainer', 'driver', 10, 12)
        api.frames = [kfp_api.frame('FAILED', [all_done()[0], nodes], ended=40)]
        code, out, _ = submit()
        assert code == 1 and f'kubectl logs -n kubeflow {nodes[0]["pod_name"]} -c main' in out

    def test_a_failed_step_beside_the_verdict_is_a_failure(self, api, submit):
        api.frames = [kfp_api.frame('FAILED', all_done(Verdict='failed', Report='failed'), ended=65)]
        assert submit()[0] == 1

    def test_a_run_without_steps_has_the_words_of_the_service(self, api, submit):
        api.frames = [kfp_api.frame('FAILED', error='invalid spec: no such template', ended=2)]
        code, out, _ = submit()
        assert code == 1 and 'The run failed. invalid spec: no such template' in out

    def test_a_stopped_run(self, api, submit):
        api.frames = [kfp_api.frame('CANCELED', all_done()[:2], ended=30)]
        code, out, _ = submit()
        assert code == 1 and 'The run was stopped.' in out and '2 done, 4 not run' in out

    def test_no_follow_says_how_to_follow(self, api, submit):
        code, out, _ = submit('--no-follow')
        assert code == 0 and len(api.runs) == 1
        assert out.endswith(f'To follow it:\n  {summary.command("submit", "--follow", "run-0", "--host", api.url)}\n')
        assert ('GET', '/apis/v2beta1/runs/run-0') not in api.requests

    def test_follow_needs_no_config(self, api, submit):
        submit('--no-follow')
        api.frames = [kfp_api.frame('SUCCEEDED', all_done(), ended=65)]
        code, out, _ = submit('--follow', 'run-0', config=())
        assert code == 0 and 'The run is done' in out and len(api.runs) == 1


class TestWhatIsUploaded:
    def test_a_new_pipeline_then_versions_of_it_and_an_equal_one_only_once(self, api, submit):
        submit('--no-follow')
        for image in ('image:2', 'image:2', 'image:3'):
            submit('--no-follow', config=('demo', '--root', 's3://bucket/p', '--image', image))
        assert [pipeline['display_name'] for pipeline in api.pipelines] == ['polyvit-demo']
        options = [version['pipeline_spec']['pipeline_spec']['compiled_with'] for version in api.versions]
        assert options == [{'root': 's3://bucket/p', 'image': image, 'target': 'kfp', 'fail_if_rejected': True}
                           for image in ('image:1', 'image:2', 'image:3')]
        used = [run['pipeline_version_reference']['pipeline_version_id'] for run in api.runs]
        assert used == ['version-0', 'version-1', 'version-1', 'version-2']
        assert api.versions[0]['pipeline_spec']['platform_spec'] == PLATFORM

    def test_parameters_have_the_types_of_the_spec(self, api, submit):
        submit('--no-follow', '--set', 'tasks.digits.data.folder=s3://media/{data_version}',
               '--parameter', 'data_version=2026-11-26', '--parameter', 'seed=3',
               '--parameter', 'floor_digits=0.7')
        assert api.runs[0]['runtime_config'] == {
            'parameters': {'data_version': '2026-11-26', 'seed': 3, 'floor_digits': 0.7},
            'pipeline_root': SPEC['defaultPipelineRoot']}

    def test_the_experiment_is_made_once(self, api, submit):
        submit('--no-follow', '--experiment', 'nightly')
        submit('--no-follow', '--experiment', 'nightly')
        submit('--no-follow')
        assert [experiment['display_name'] for experiment in api.experiments] == ['nightly', 'Default']
        assert [run['experiment_id'] for run in api.runs] == ['experiment-0', 'experiment-0', 'experiment-1']

    def test_the_namespace_and_the_token(self, api, submit, tmp_path, monkeypatch):
        (tmp_path / 'token').write_text('secret')
        monkeypatch.setenv('KF_PIPELINES_SA_TOKEN_PATH', str(tmp_path / 'token'))
        api.multi_user = True
        assert submit('--no-follow', '--namespace', 'team')[0] == 0
        assert api.experiments[0]['namespace'] == 'team' and api.tokens == {'Bearer secret'}
        assert any('upload' in path and 'namespace=team' in path for _, path in api.requests)


class TestRecurringRuns:
    def test_one_is_made_and_replaced(self, api, submit):
        assert submit('--recurring', '0 3 * * *')[0] == 0
        code, out, _ = submit('--recurring', '30 4 * * mon-fri', '--parameter', 'seed=1')
        assert code == 0 and not api.runs
        made, = api.recurring_runs
        assert out == ("The recurring run polyvit-demo starts at '30 4 * * mon-fri' (UTC): "
                       f'{api.url}/#/recurringrun/details/{made["recurring_run_id"]}\n')
        assert made['trigger']['cron_schedule']['cron'] == '0 30 4 * * mon-fri'  # KFP's begin with the second
        assert made['mode'] == 'ENABLE' and made['no_catchup'] is True and made['display_name'] == 'polyvit-demo'
        assert made['runtime_config'] == {'parameters': {'seed': 1}, 'pipeline_root': SPEC['defaultPipelineRoot']}

    @pytest.mark.parametrize('arguments, said', [
        ((), 'has a place for the version of the data, but none is given'),
        (('--recurring', '0 3 * * *'), 'has a place for the version of the data, but none is given'),
        (('--parameter', 'data_version=../x'), "data_version is '../x'")])
    def test_a_version_that_no_run_would_take_starts_nothing(self, api, submit, arguments, said, monkeypatch):
        monkeypatch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/{data_version}')
        code, _, err = submit(*arguments)
        assert code == 2 and said in ' '.join(err.split()) and not api.runs and not api.recurring_runs
        assert submit('--no-follow', '--parameter', 'data_version=monday')[0] == 0

    def test_a_wrong_expression_starts_nothing(self, api, submit):
        code, _, err = submit('--recurring', '0 25 * * *')
        assert code == 2 and "the hour is '25'; it must be *, or numbers from 0 to 23" in err and not api.requests

    @pytest.mark.parametrize('expression', ['0 3 * * *', '*/15 0-6,20 1 jan-MAR sun', '0  3 * * 1-5/2'])
    def test_expressions(self, expression):
        assert cron.checked(expression).split(' ') == expression.split()

    @pytest.mark.parametrize('expression, said', [
        ('0 0 3 * * *', 'has 6 fields'), ('@daily', 'has 1 field;'), ('60 * * * *', 'the minute'),
        ('* * 0 * *', 'the day of the month'), ('* * * 13 *', 'the month'), ('* * * * 7', 'the day of the week'),
        ('* * * * funday', 'sun to sat'), ('* 5-3 * * *', 'runs backwards'), ('*/0 * * * *', 'at least 1'),
        ('* * L * *', 'the day of the month'), ('1, * * * *', 'the minute'), ('-1 * * * *', 'the minute')])
    def test_wrong_expressions(self, expression, said):
        with pytest.raises(ValueError, match=said):
            cron.checked(expression)


class TestErrors:
    @pytest.mark.parametrize('arguments, said', [
        (('--parameter', 'sead=1'), "There is no parameter named 'sead'. Did you mean seed? Known: "),
        (('--parameter', 'seed'), 'write NAME=VALUE'),
        (('--parameter', 'seed=1.5'), 'it must be a whole number'),
        (('--parameter', 'floor_digits=high'), 'it must be a number'),
        (('--parameter', 'steps_digits=-5'), 'Task digits: steps is -5; it must be at least 1.'),
        (('--parameter', 'floor_digits=7'), 'Task digits: floor is 7.0; it must be from 0 to 1.'),
        (('--parameter', 'floor_digits=nan'), 'it must be a finite number'),
        (('--parameter', 'seed=-1'), 'seed is -1; it must be at least 0'),
        (('--parameter', 'force='), '--parameter force is empty. Say why'),
        (('--parameter', 'force=x', '--recurring', '0 3 * * *'), 'would push whatever the gate rejects'),
        (('--recurring', ''), "--recurring '' has 0 fields"),
        (('--target', 'vertex'), '--host is for Kubeflow Pipelines'),
        (('--follow', ''), '--follow is empty'),
        (('--follow', 'run-0', '--parameter', 'seed=1'),
         'takes no CONFIG and no --root and no --image and no --parameter.')])
    def test_wrong_arguments_end_before_anything_is_asked(self, api, submit, arguments, said):
        code, _, err = submit(*arguments)
        assert code == 2 and said in ' '.join(err.split()) and not api.requests

    @pytest.mark.parametrize('name', ['--host', 'KF_PIPELINES_ENDPOINT'])
    def test_a_password_in_an_address_is_not_shown(self, submit, monkeypatch, name):
        address = 'http://me:secret@localhost:1'
        if name != '--host':
            monkeypatch.setenv(name, address)
        code, out, err = submit(*(['--host', address] if name == '--host' else []))
        assert code == 2 and f'{name} has an @' in err and 'secret' not in out + err

    def test_a_token_file_that_is_not_there(self, submit, monkeypatch, tmp_path, caplog):
        monkeypatch.setenv('KF_PIPELINES_SA_TOKEN_PATH', str(tmp_path / 'none'))
        code, _, err = submit()
        assert code == 2 and 'must name a file with a token' in ' '.join(err.split()) and not caplog.records

    def test_what_must_be_given(self, capsys):
        assert cli.main(['submit', 'demo', '--image', 'x']) == 2
        assert '--root must be given, or --follow RUN.' in capsys.readouterr().err
        assert cli.main(['submit']) == 2
        assert 'CONFIG and --root and --image must be given' in capsys.readouterr().err

    @pytest.mark.parametrize('where, answer, code, said', [
        (('GET', 'healthz'), (401, {}), 2, 'does not allow asking whether it is there (401). Log in'),
        (('GET', 'healthz'), (404, {}), 2, 'has no API v2beta1'),
        (('GET', 'experiments'), (403, {'message': 'User is not authorized in namespace team'}), 2,
         '--namespace must be one that is yours. It said: User is not authorized in namespace team'),
        (('POST', 'upload'), (400, {'error': 'Failed: unknown field "x"'}), 2,
         'rejected the request (400, uploading the pipeline). It said: Failed: unknown field "x"'),
        (('POST', 'runs'), (400, {'error_message': 'no seed'}), 2, 'starting the run). It said: no seed'),
        (('POST', 'runs'), (500, {'message': 'database is locked'}), 1, 'failed (500, starting the run)')])
    def test_the_service_refuses(self, api, submit, where, answer, code, said):
        api.errors[where] = answer
        got, out, err = submit()
        assert got == code and said in ' '.join(err.split()) and 'Traceback' not in err and out == ''

    def test_a_run_that_is_not_there(self, submit):
        code, _, err = submit('--follow', 'run-7', config=())
        assert code == 2 and 'reading the run run-7). It said: run run-7 not found.' in ' '.join(err.split())

    def test_several_users_need_a_namespace(self, api, submit):
        api.multi_user = True
        code, _, err = submit()
        assert code == 2 and 'serves several users. Name your namespace with --namespace.' in err

    def test_a_page_in_place_of_the_api(self, api, submit):
        api.errors[('GET', 'healthz')] = (200, '<html>Log in</html>')
        code, _, err = submit()
        assert code == 2 and 'not as Kubeflow Pipelines v2 does' in err

    def test_nobody_there(self, submit, capsys):
        code = cli.main(['submit', 'demo', '--root', 's3://b/p', '--image', 'x', '--host', 'http://127.0.0.1:9'])
        err = ' '.join(capsys.readouterr().err.split())
        assert code == 1 and 'http://127.0.0.1:9 does not answer' in err and 'Is it the right --host' in err

    def test_a_service_that_says_nothing_is_left_in_bounded_time(self, monkeypatch, tmp_path):
        assert sum(kfp_service.TIMEOUT) <= 20 and sum(kfp_service.CHANGE_TIMEOUT) <= 90
        monkeypatch.setenv('HOME', str(tmp_path))
        monkeypatch.setattr(kfp_service, 'TIMEOUT', (5, 0.05))
        with socket.create_server(('127.0.0.1', 0)) as server:
            with pytest.raises(following.NoAnswer, match='ReadTimeoutError'):
                kfp_service.Service(f'http://127.0.0.1:{server.getsockname()[1]}')

    def test_a_broken_connection_while_following_is_made_again(self, api, submit):
        submit('--no-follow')
        api.frames = [kfp_api.frame('RUNNING', all_done()[:1]), kfp_api.frame('SUCCEEDED', all_done(), ended=65)]
        service = kfp_service.Service(api.url)
        answers = iter([lambda: service.read('run-0'), _broken, _broken, lambda: service.read('run-0')])
        assert following.follow(lambda: next(answers)(), 'again') == 0

    def test_a_connection_that_stays_broken_ends_with_the_command_that_follows(self, api, submit, monkeypatch):
        monkeypatch.setattr(following, 'PATIENCE_SECONDS', 0.05)
        submit('--no-follow')
        api.frames = [kfp_api.frame('RUNNING', all_done()[:1])]
        first = iter([kfp_service.Service(api.url).read('run-0')])
        with pytest.raises(following.PipelineStop, match='(?s)The run goes on. To follow it again:\n  polyvit submit'):
            following.follow(lambda: next(first, None) or _broken(), 'polyvit submit --follow run-0')


def _broken():
    raise following.NoAnswer('No answer.')


SCRIPT = '''
import sys
from tests import kfp_api
from tests.pipeline import test_submit
from pipeline import cli
from pipeline.kubeflow import compiler, following
compiler.compile_pipeline, following.POLL_SECONDS = test_submit.write_spec, 0.3
done, nodes = test_submit.all_done(), kfp_api.nodes
with kfp_api.serving() as api:
    api.frames = [kfp_api.frame('RUNNING', [nodes('MediaExampleGen-shapes', 'running')]),
                  kfp_api.frame('RUNNING', [done[0], nodes('CoTrainer', 'running', 10)])]
    if 'ends' in sys.argv:
        api.frames += [api.frames[-1], kfp_api.frame('SUCCEEDED', done, ended=65)]
    sys.exit(cli.main(['submit', 'demo', '--root', 's3://bucket/p', '--image', 'image:1', '--host', api.url]))
'''


class TestOnATerminal:
    def run(self, home, *arguments, **options):
        return terminals.run([sys.executable, '-c', SCRIPT, *arguments],
                             env={'HOME': str(home), 'TF_CPP_MIN_LOG_LEVEL': '3'}, **options)

    def test_running_steps_and_a_bar_are_drawn_and_finished_steps_stay(self, tmp_path):
        seen = self.run(tmp_path, 'ends')
        assert seen.exit_code == 0, seen.text
        screen = seen.raw.decode()
        assert 'Compiling the pipeline of demo' in screen and 'Compiling' not in seen.text
        assert '0 of 6' in screen and '1 of 6' in screen and '1 running' in screen
        assert re.search(rf'{" " * 8}CoTrainer {" " * 30}', screen)  # while it runs; it has no number yet
        assert seen.widest() <= 80 or all(len(line) <= 80 for line in seen.lines if '://' not in line)
        text = [line for line in seen.lines if line]
        assert text[1] == f'[ 1/6] {"MediaExampleGen shapes":<40}9 seconds'
        assert 'The run is done: the gate accepted the model.' in text and 'running' not in seen.text

    def test_ctrl_c_leaves_the_run_going_and_says_how_to_follow_or_stop_it(self, tmp_path):
        seen = self.run(tmp_path, keys=[('1 of 6', terminals.CTRL_C)])
        assert seen.exit_code == 130, seen.text
        assert 'Interrupted by Ctrl-C while it followed the run, which goes on.' in seen.text
        assert re.search(r'To follow it again:\n  \S.* submit --follow run-0 --host http://', seen.text)
        assert 'To stop it: Terminate (or Cancel) in its page' in seen.text


class TestVertex:
    """With a stand-in for the SDK, which speaks gRPC with Google only."""

    @pytest.fixture
    def sdk(self, monkeypatch):
        from google.cloud import aiplatform
        from google.cloud.aiplatform_v1.types import PipelineJob
        monkeypatch.setattr(compiler, 'compile_pipeline', write_spec)
        monkeypatch.setattr(following, 'POLL_SECONDS', 0.01)
        monkeypatch.setenv('GOOGLE_CLOUD_PROJECT', 'project')
        monkeypatch.setenv('GOOGLE_CLOUD_REGION', 'europe-west4')
        sdk = types.SimpleNamespace(jobs=[], schedules=[], frames=[], error=None)

        class Job:
            resource_name = 'projects/project/locations/europe-west4/pipelineJobs/polyvit-demo-1'

            def __init__(self, display_name, template_path, parameter_values):
                self.made = display_name, json.loads(pathlib.Path(template_path).read_text()), parameter_values

            def submit(self, create_request_timeout, experiment):
                if sdk.error:
                    raise sdk.error
                sdk.jobs.append(self)

            @staticmethod
            def get(name):
                frame = sdk.frames.pop(0) if len(sdk.frames) > 1 else sdk.frames[0]
                return types.SimpleNamespace(gca_resource=PipelineJob.from_json(json.dumps(
                    {'name': Job.resource_name, 'pipelineSpec': SPEC, 'createTime': kfp_api.time_text(0), **frame})))

        class Schedule:
            def __init__(self, pipeline_job, display_name):
                self.display_name, self.resource_name = display_name, f'schedule-{len(sdk.schedules)}'

            def create(self, cron, max_concurrent_run_count, create_request_timeout):
                self.cron = cron
                sdk.schedules.append(self)

            def delete(self):
                sdk.schedules.remove(self)

            @staticmethod
            def list(filter):
                return [made for made in sdk.schedules if filter == f'display_name="{made.display_name}"']
        for name, value in (('init', lambda **_: None), ('PipelineJob', Job), ('PipelineJobSchedule', Schedule)):
            monkeypatch.setattr(aiplatform, name, value)
        return sdk

    def submit(self, *arguments):
        return cli.main(['submit', 'demo', '--root', 'gs://bucket/p', '--image', 'x', '--target', 'vertex', *arguments])

    def detail(self, name, state, error=''):
        return {'taskName': name, 'state': state, 'startTime': kfp_api.time_text(0), 'endTime': kfp_api.time_text(9),
                'error': {'message': error}, 'executorDetail': {'customJobDetail': {'job': 'customJobs/7'}}}

    def frame(self, state, details, error=''):
        return {'state': f'PIPELINE_STATE_{state}', 'endTime': kfp_api.time_text(65), 'error': {'message': error},
                'jobDetail': {'taskDetails': details}}

    def test_a_run(self, sdk, capsys):
        ended = [self.detail(name, 'SKIPPED' if name == 'CoTrainer' else 'SUCCEEDED') for name in STEPS]
        sdk.frames = [self.frame('RUNNING', [self.detail('CoTrainer', 'RUNNING')]), self.frame('SUCCEEDED', ended)]
        assert self.submit('--parameter', 'seed=4') == 0
        name, spec, parameters = sdk.jobs[0].made
        assert name == 'polyvit-demo' and spec['pipelineSpec']['root'] == SPEC['root'] and parameters == {'seed': 4}
        out = capsys.readouterr().out
        assert 'steps        6: 5 done, 1 from the cache' in out
        assert 'pipelines/runs/polyvit-demo-1?project=project' in out

    def test_a_failed_run(self, sdk, capsys):
        sdk.frames = [self.frame('FAILED', [self.detail('CoTrainer', 'FAILED', 'out of memory')], 'Job failed.')]
        assert self.submit() == 1
        out = capsys.readouterr().out
        assert 'The run failed: CoTrainer. Job failed.\n  CoTrainer: out of memory' in out
        assert 'gcloud ai custom-jobs stream-logs customJobs/7 --region europe-west4' in out

    def test_a_rejected_model(self, sdk):
        sdk.frames = [self.frame('FAILED', [
            self.detail(name, 'FAILED' if name == 'Verdict' else 'SUCCEEDED') for name in STEPS])]
        assert self.submit() == 3

    def test_a_schedule_replaces_that_of_the_same_name(self, sdk, capsys):
        assert self.submit('--recurring', '0 3 * * *') == self.submit('--recurring', '0 4 * * *') == 0
        assert [made.cron for made in sdk.schedules] == ['0 4 * * *'] and not sdk.jobs
        assert 'schedule-1' in capsys.readouterr().out

    @pytest.mark.parametrize('error, code, said', [
        ('PermissionDenied', 2, 'Vertex AI rejected the request (403, starting the run). It said: no'),
        ('InvalidArgument', 2, 'rejected the request (400'), ('ServiceUnavailable', 1, 'does not answer'),
        ('InternalServerError', 1, 'Vertex AI failed, starting the run')])
    def test_errors(self, sdk, capsys, error, code, said):
        from google.api_core import exceptions
        sdk.error = getattr(exceptions, error)('no')
        assert self.submit() == code
        err = ' '.join(capsys.readouterr().err.split())
        assert said in err and 'Traceback' not in err

    def test_no_credentials(self, sdk, capsys):
        from google.auth import exceptions
        sdk.error = exceptions.DefaultCredentialsError('none found')
        assert self.submit() == 2 and 'gcloud auth application-default login' in capsys.readouterr().err

    def test_no_project(self, sdk, monkeypatch, capsys):
        monkeypatch.delenv('GOOGLE_CLOUD_PROJECT')
        assert self.submit() == 2 and 'Set GOOGLE_CLOUD_PROJECT: the project' in capsys.readouterr().err

    def test_no_sdk(self, monkeypatch, capsys):
        monkeypatch.setitem(sys.modules, 'google.cloud.aiplatform', None)
        monkeypatch.delattr(sys.modules['google.cloud'], 'aiplatform', raising=False)
        assert self.submit() == 2 and 'pip install google-cloud-aiplatform' in capsys.readouterr().err


PARAMETERS = ('--parameter', 'seed=3', '--parameter', 'steps_digits=7', '--parameter', 'floor_digits=0.5')


@pytest.mark.slow
def test_what_the_compiler_makes_is_submitted(api, submit, monkeypatch):
    monkeypatch.setattr(compiler, 'compile_pipeline', compile_pipeline)
    monkeypatch.setenv('POLYVIT_DEMO_DATA', 's3://bucket/media')
    code, out, err = submit('--no-follow', *PARAMETERS)
    assert (code, err) == (0, '') and 'Started polyvit-demo' in out
    spec = api.versions[0]['pipeline_spec']
    names = compiled.steps(spec)
    assert names[-1] == following.VERDICT and 'MediaExampleGen-digits' in names
    assert api.runs[0]['runtime_config'] == {'parameters': {'seed': 3, 'steps_digits': 7, 'floor_digits': 0.5},
                                             'pipeline_root': 's3://bucket/p/polyvit-demo/pipeline'}
    assert compiled.serving_folder(spec) == 's3://bucket/p/polyvit-demo/serving/polyvit'


@pytest.mark.slow
def test_what_the_compiler_makes_is_a_job_of_vertex_ai(monkeypatch):
    from google.auth import credentials
    from google.cloud import aiplatform
    monkeypatch.setenv('GOOGLE_CLOUD_PROJECT', 'project')
    monkeypatch.setenv('GOOGLE_CLOUD_REGION', 'europe-west4')
    monkeypatch.setenv('POLYVIT_DEMO_DATA', 'gs://bucket/media')
    aiplatform.init(credentials=credentials.AnonymousCredentials())
    jobs = []
    monkeypatch.setattr(aiplatform.PipelineJob, 'submit', lambda self, **_: jobs.append(self))
    monkeypatch.setattr(aiplatform.PipelineJob, 'resource_name', 'job')
    assert cli.main(['submit', 'demo', '--target', 'vertex', '--root', 'gs://bucket/p', '--image', 'x', '--no-follow',
                     *PARAMETERS]) == 0
    config, = (job.runtime_config for job in jobs)
    assert config.gcs_output_directory == 'gs://bucket/p/polyvit-demo/pipeline'
    assert dict(config.parameter_values) == {'seed': 3, 'steps_digits': 7, 'floor_digits': 0.5}


def test_only_a_run_with_a_verdict_says_that_the_model_was_accepted():
    steps = [following.Step(name, 'done') for name in ('Report', 'Verdict')]
    said = [following.end_lines(following.Run(tuple(steps[:count]), 'done'))[1] for count in (1, 2)]
    assert said == ['The run is done.', 'The run is done: the gate accepted the model.']


def test_steps_are_in_the_order_in_which_they_can_run():
    assert compiled.steps({'pipeline_spec': SPEC, 'platform_spec': PLATFORM}) == list(STEPS)
