"""The embedded server answers as TensorFlow Serving does: the conformance suite, over real HTTP and gRPC."""

import pytest

from serving import foreground, json_tensors
from serving.errors import ServingError
from serving.server import ModelServer
from tests.serving import conformance, conformance_models, vectors

IN_PROCESS = [case for case in vectors.load() if case.get('in_process')]


@pytest.fixture(scope='module')
def target(tmp_path_factory):
    config = conformance_models.write(str(tmp_path_factory.mktemp('conformance')))
    with ModelServer(models=foreground.read_model_config(config), port=0, grpc_port=0, cors=True) as server:
        yield conformance.Target(server.url, f'{server.host}:{server.grpc_port}')


@pytest.mark.parametrize('check', conformance.checks(), ids=lambda check: check.name)
def test_conformance(check, target):
    check.run(target)


@pytest.mark.parametrize('case', IN_PROCESS, ids=lambda case: case['name'])
def test_what_no_request_can_show(case):
    request, expect = case['request'], case['expect']
    if 'status' in request:
        body = json_tensors.error_json(request['status']['message'])
        assert (body == b'') if expect.get('body') == '' else vectors.tokens(body) == expect['json']
        return
    with pytest.raises(ServingError) as error:
        json_tensors.predictions_json(request['tensors'], request['format'])
    assert error.value.http_status == expect['http_status']
    assert all(text in error.value.message for text in expect['error_contains'])


def test_the_suite_tells_one_release_from_another(target):
    old = conformance.Target(target.url, profile='2.16')
    failed = set()
    for check in conformance.checks('2.16', grpc=False):
        try:
            check.run(old)
        except AssertionError:
            failed.add(check.name)
    differ = {case['name'] for case in vectors.load() if case.get('expect_2.16')}
    assert failed == differ == {'src.trailing_bytes', 'own.err.long_values_are_cut'}
    assert 'predict.deep_nesting_in_ignored_key' not in {check.name for check in conformance.checks('2.16')}


def test_the_command_prints_a_table(target, capsys):
    assert conformance.main([target.url, '--grpc', target.grpc]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ['profile', *conformance.KINDS, 'all']
    total, passed = map(int, lines[-1].split()[1:])
    assert total == passed == len(conformance.checks())
    assert conformance.main([target.url, '--profile', '2.16']) == 1
    assert 'src.trailing_bytes: AssertionError' in capsys.readouterr().out
