"""Runs a config on Kubeflow Pipelines or Vertex AI: compiles it, hands it over, and follows the run to its end."""

import pathlib
import tempfile
from collections.abc import Sequence

from model_code.errors import ConfigError
from pipeline import checks, run_parameters, summary, terminal
from pipeline.exit_codes import DONE
from pipeline.kubeflow import compiled, compiler, cron, following


def run(config, *, root: str, image: str, target: str = 'kfp', host: str = '', namespace: str = '',
        experiment: str = '', parameters: Sequence[str] = (), recurring: str | None = None, wait: bool = True) -> int:
    """Starts a run of the config and follows it, or makes it recurring; returns the exit code.

    root, image, target: as for compiler.compile_pipeline. host, namespace: of Kubeflow Pipelines. parameters:
    'NAME=VALUE' as they are typed. recurring: a cron expression; then nothing is started now. wait: follow the run.
    """
    expression = cron.checked(recurring) if recurring is not None else ''
    values = run_parameters.values(parameters, config)
    if expression and run_parameters.FORCE in values:
        raise ConfigError('--parameter force: each recurring run would push whatever the gate rejects. Force one run, '
                          'without --recurring.')
    if run_parameters.DATA_VERSION not in values:
        config.with_data()  # without a version of the data where one belongs, every run would fail
    checks.check_workers(config)
    with tempfile.TemporaryDirectory() as folder, terminal.working(f'Compiling the pipeline of {config.name} ...'):
        service = _service(target, host, namespace)  # first, because compiling takes a while
        path = str(pathlib.Path(folder) / ('pipeline.json' if target == 'vertex' else 'pipeline.yaml'))
        compiler.compile_pipeline(config, path, root=root, image=image, target=target,
                                  fail_if_rejected=True)  # this is how the run's state tells
        name = compiled.read(path)['pipelineInfo']['name']
        made = (service.start(path, name, values, experiment) if recurring is None else
                service.schedule(path, name, values, expression, experiment))
    if recurring is not None:
        print(f'The recurring run {name} starts at {expression!r} (UTC): {made}')
        return DONE
    again = follow_command(made, target, host, namespace)
    print(f'Started {name}: run {made}')
    if not wait:
        print(f'To follow it:\n  {again}')
        return DONE
    return following.follow(lambda: service.read(made), again)


def follow(run_id: str, target: str = 'kfp', host: str = '', namespace: str = '') -> int:
    """Follows a run that was started before; returns the exit code."""
    service = _service(target, host, namespace)
    return following.follow(lambda: service.read(run_id), follow_command(run_id, target, host, namespace))


def follow_command(run_id: str, target: str, host: str, namespace: str) -> str:
    """The command that follows a run."""
    options = {'--target': target if target != 'kfp' else '', '--host': host, '--namespace': namespace}
    return summary.command('submit', '--follow', run_id, *(
        word for option, value in options.items() if value for word in (option, value)))


def _service(target: str, host: str, namespace: str):
    if target == 'vertex':
        if host or namespace:
            raise ConfigError(f'--{"host" if host else "namespace"} is for Kubeflow Pipelines. Vertex AI runs where '
                              'GOOGLE_CLOUD_PROJECT and GOOGLE_CLOUD_REGION say; leave it out.')
        from pipeline.kubeflow import vertex_service
        return vertex_service.Service()
    from pipeline.kubeflow import kfp_service
    return kfp_service.Service(host, namespace)
