"""Beam(...) of a config: the options that each component gets, and what is wrong said before anything starts."""

import dataclasses

import pytest

from model_code.errors import ConfigError
from pipeline import overrides
from pipeline.beam.settings import COMPONENTS, Beam
from pipeline.config import PipelineConfig, load_config

IN_PROCESS = ['--runner=DirectRunner', '--direct_running_mode=in_memory', '--sdk_container_image=none']
PORTABLE = '--runner=pipeline.beam.runners.PortableRunner'
GOOGLE = ('--project=p', '--region=r', '--temp_location=gs://b/t')


@pytest.mark.parametrize('beam, arguments', [
    (Beam(), IN_PROCESS),
    (Beam('flink', 8, 'flink:8099', worker_pool='localhost:50000'),
     [PORTABLE, '--job_endpoint=flink:8099', '--environment_type=EXTERNAL', '--environment_config=localhost:50000',
      '--parallelism=8', '--sdk_container_image=none']),
    (Beam('portable', endpoint='localhost:8099', worker_pool='loopback'),
     [PORTABLE, '--job_endpoint=localhost:8099', '--environment_type=LOOPBACK', '--sdk_container_image=none']),
    (Beam('spark', endpoint='spark:8099', image='r/polyvit:1'),
     [PORTABLE, '--job_endpoint=spark:8099', '--environment_type=DOCKER', '--sdk_container_image=r/polyvit:1']),
    (Beam('dataflow', 20, image='r/polyvit:1', options=GOOGLE),
     ['--runner=pipeline.beam.runners.DataflowRunner', '--sdk_container_image=r/polyvit:1', '--max_num_workers=20',
      *GOOGLE]),
    (Beam('dataflow', options=(*GOOGLE, '--setup_file=./setup.py')),
     ['--runner=pipeline.beam.runners.DataflowRunner', *GOOGLE, '--setup_file=./setup.py']),
])
def test_options(beam, arguments):
    assert all(beam.arguments(component) == arguments for component in COMPONENTS)


@pytest.mark.parametrize('component', COMPONENTS)
def test_of_the_processes_of_this_machine_only_those_that_run_the_model_see_a_gpu(component):
    runner = 'ProcessesDirectRunner' if component == 'TaskEvaluator' else 'ProcessesWithoutGpuRunner'
    assert Beam('multi_process', 4, options=('--hdfs_host=h',)).arguments(component) == [
        f'--runner=pipeline.beam.runners.{runner}', '--direct_running_mode=multi_processing', '--direct_num_workers=4',
        '--hdfs_host=h', '--sdk_container_image=none']


def test_the_other_components_run_in_process_with_the_options_of_file_systems():
    beam = Beam('flink', endpoint='f:1', image='i', options=('--hdfs_host=h',), components=('MediaExampleGen',))
    assert beam.arguments('MediaExampleGen')[0] == PORTABLE
    assert beam.arguments('Transform') == [*IN_PROCESS[:2], '--hdfs_host=h', IN_PROCESS[2]]
    assert beam.is_remote and not dataclasses.replace(beam, components=()).is_remote


@pytest.mark.parametrize('fields, sentence', [
    (dict(runner='fling'), "no runner named 'fling'. Did you mean flink?"),
    (dict(components=('Trainer',)), "no component on Beam named 'Trainer'.*Known: .*Transform"),
    (dict(workers=2), 'the runner in_process takes no number'),
    (dict(runner='spark', workers=2, endpoint='h:1', image='i'), 'set it where Spark is configured'),
    (dict(image='i'), 'starts no containers'),
    (dict(endpoint='h:1'), "endpoint is 'h:1', which the runner in_process does not use"),
    (dict(runner='flink', image='i'), "endpoint is ''; it must be the host:port of the job server of flink"),
    (dict(runner='flink', endpoint='http://h:8081', image='i', worker_pool='h:1'), 'Give either image'),
    (dict(runner='flink', endpoint='h:1'), "needs Python workers. Give either image=..., or worker_pool="),
    (dict(runner='flink', endpoint='h:1', worker_pool='h'), "worker_pool is 'h'; it must be the host:port of"),
    (dict(runner='flink', endpoint='h:70000', worker_pool='h:1'), "endpoint is 'h:70000'"),
    (dict(runner='dataflow', image='i', options=('--project=p',)), 'missing: region, temp_location'),
    (dict(runner='dataflow', options=GOOGLE), "workers need this package. Give image="),
    (dict(options=('hdfs_host=h',)), 'an option is written as --name=value'),
    (dict(options=('--runner=FlinkRunner',)), r"Set the field 'runner' instead: Beam\(runner=...\)"),
])
def test_what_is_wrong(fields, sentence):
    with pytest.raises(ConfigError, match=f'^Beam: .*{sentence}'):
        Beam(**fields)


@pytest.mark.parametrize('beam_args, written', [
    (('--runner=DirectRunner', '--direct_running_mode=multi_processing', '--direct_num_workers=4'),
     "beam=Beam('multi_process', workers=4)"),
    (('--hdfs_host=h',), "beam=Beam('in_process', options=('--hdfs_host=h',))"),
    (('--runner=PortableRunner', '--job_endpoint=h:1', '--environment_type=EXTERNAL', '--environment_config=w:2'),
     "beam=Beam('portable', endpoint='h:1', worker_pool='w:2')"),
    (('--runner=FlinkRunner', '--flink_master=h:1'), "beam=Beam('flink', options=('--flink_master=h:1',))"),
])
def test_the_old_form_ends_with_the_new_one(beam_args, written):
    demo = load_config('demo')
    with pytest.raises(ConfigError) as error:
        PipelineConfig('x', demo.mixture, demo.model, beam_args=beam_args)
    assert f'Write {written}' in str(error.value)


def test_the_command_line_sets_it():
    config = overrides.apply(load_config('demo'), ['beam.runner=multi_process', 'beam.workers=2',
                                                   'beam.components=Transform,StatisticsGen'])
    assert config.beam == Beam('multi_process', 2, components=('Transform', 'StatisticsGen'))
