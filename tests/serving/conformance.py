"""The conformance suite: what TensorFlow Serving answers, asked of any server of the models of conformance_models.py.

    python -m tests.serving.conformance http://HOST:PORT [--grpc HOST:PORT] [--profile 2.16]

prints every case that fails and a table, and exits with 1 if one does. test_conformance.py asks the same of the
embedded server. The server needs the flags for CORS and for labels of versions that are not loaded yet.
"""

import argparse
import base64
import collections
import dataclasses
import http.client
import json
import typing
import urllib.parse

import numpy as np

from tests.serving import grpc_conformance, vectors
from tests.serving.conformance_models import DIGESTED, array, echo_name

KINDS = ('request-parse', 'response-format', 'http', 'metrics', 'grpc')


@dataclasses.dataclass(frozen=True)
class Target:
    """A server to ask. grpc: host:port, or '' to ask only over REST."""
    url: str
    grpc: str = ''
    profile: str = '2.18+'

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None):
        """(status, headers, body) of one request."""
        parts = urllib.parse.urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname or '', parts.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()
        finally:
            connection.close()


@dataclasses.dataclass(frozen=True)
class Check:
    """A case of the suite. run(target): raises AssertionError if the server answers otherwise."""
    name: str
    kind: str
    run: typing.Callable[[Target], None]


def checks(profile: str = '2.18+', grpc: bool = True) -> list[Check]:
    """All cases for a server of this profile, without those that it must not be sent."""
    kinds = {'http': check_http, 'request-parse': check_request, 'response-format': check_response}
    found = [Check(case['name'], case['kind'], lambda target, case=case: kinds[case['kind']](target, case))
             for case in vectors.load()
             if not case.get('in_process') and vectors.expectation(case, profile) is not None]
    found.append(Check('metrics.page', 'metrics', check_metrics))
    if grpc:
        found += [Check(f'grpc.{name}', 'grpc', lambda target, run=run: run(target.grpc))
                  for name, run in grpc_conformance.CHECKS.items()]
    return found


def check_http(target: Target, case: dict):
    request, expect = case['request'], _expectation(target, case)
    body = None if request['body'] is None else request['body'].encode()
    status, headers, body = target.ask(request['method'], request['path'], body, request.get('headers'))
    assert status == expect['status'], body
    if 'json' in expect:
        assert json.loads(body) == expect['json'], body
    if 'body' in expect:
        assert body.decode() == expect['body']
    if expect.get('json_body') is False:
        assert not body.startswith(b'{'), body
    for name, value in expect.get('headers', {}).items():
        assert headers[name] == value
    for text in expect.get('error_contains', ()):
        assert text in json.loads(body)['error'], body


def check_request(target: Target, case: dict):
    """A request is read as expected: models give back what they were given."""
    request, expect = case['request'], _expectation(target, case)
    text = request.get('body') or ''.join(
        piece if isinstance(piece, str) else piece['repeat'] * piece['times'] for piece in request['body_concat'])
    api = request['api']
    model = echo_name(request['signature_inputs']) if api == 'predict' else api
    status, _, body = target.ask('POST', f'/v1/models/{model}:{api}', text.encode(request.get('encoding', 'utf-8')))
    if not expect['ok']:
        _check_error(status, body, expect)
        return
    assert status == 200, body
    reply = json.loads(body)
    if api == 'predict':
        values = reply[{'row': 'predictions', 'columnar': 'outputs'}[expect['format']]]
        for name, spec in expect['tensors'].items():
            one = values if len(expect['tensors']) == 1 else (
                [row[name] for row in values] if expect['format'] == 'row' else values[name])
            _check_tensor(one, spec)
    elif api == 'classify':
        for (pair,), example in zip(reply['results'], _merged(expect), strict=True):
            assert _features(pair[0]) == example
    else:
        assert reply['results'] == [_digest(example) for example in _merged(expect)]


def check_response(target: Target, case: dict):
    """Tensors are printed as expected: a signature for each case gives the same whatever it is asked."""
    request, expect = case['request'], _expectation(target, case)
    body: dict[str, typing.Any] = {'signature_name': case['name']}
    if 'classifications' in request:
        method, body['examples'] = 'classify', [{'x': 1.0}] * len(request['classifications'])
    else:
        method, body[{'row': 'instances', 'columnar': 'inputs'}[request['format']]] = 'predict', [0.0]
    status, _, reply = target.ask('POST', f'/v1/models/responses:{method}', json.dumps(body).encode())
    if not expect['ok']:
        _check_error(status, reply, expect)
        return
    assert status == 200, reply
    if 'json_tokens' in expect:
        assert vectors.tokens(reply) == expect['json_tokens']
    else:
        assert json.loads(reply) == expect['json'], reply


def check_metrics(target: Target):
    """The page counts requests and their time, in TensorFlow Serving's format."""
    counter = ':tensorflow:serving:request_count{model_name="half_plus_two",status="OK"} '
    labels = 'model_name="half_plus_two",API="predict",entrypoint="REST"'
    bucket = f':tensorflow:serving:request_latency_bucket{{{labels},le="'

    def page():
        status, headers, body = target.ask('GET', '/monitoring/prometheus/metrics')
        assert status == 200, body
        assert headers['Content-Type'].startswith('text/plain')
        return body.decode().splitlines()

    def count(lines):
        return sum(int(line.removeprefix(counter)) for line in lines if line.startswith(counter))

    before = count(page())
    assert target.ask('POST', '/v1/models/half_plus_two:predict', b'{"instances": [1.0]}')[0] == 200
    lines = page()
    assert count(lines) == before + 1
    limits = [line.removeprefix(bucket).split('"')[0] for line in lines if line.startswith(bucket)]
    assert limits[:5] == ['10', '18', '32.4', '58.32', '104.976']
    assert (len(limits), limits[-1]) == (34, '+Inf')
    for metric in ('request_count counter', 'request_latency histogram', 'runtime_latency histogram'):
        assert f'# TYPE :tensorflow:serving:{metric}' in lines
    assert not any(line.startswith('# HELP') for line in lines)


def _expectation(target: Target, case: dict) -> dict:
    expect = vectors.expectation(case, target.profile)
    assert expect is not None, f'{case["name"]} must not be sent to {target.profile}'
    return expect


def _check_error(status: int, body: bytes, expect: dict):
    assert status == expect['http_status'], body
    message = json.loads(body)['error']
    for text in expect['error_contains']:
        assert text in message, message
    for text in expect.get('error_lacks', ()):
        assert text not in message, message


def _check_tensor(values, spec: dict):
    expected = array(spec)
    if expected.dtype == object:
        def encoded(value):
            return [encoded(one) for one in value] if isinstance(value, list) else value.encode()
        assert encoded(values) == expected.tolist()
    else:
        with np.errstate(over='ignore'):
            given = np.array(values, expected.dtype)
        assert given.shape == expected.shape
        np.testing.assert_array_equal(given, expected)


def _merged(expect: dict) -> list[dict]:
    """The expected examples, as {feature: (kind, values)}. A feature of the context is in each that has none such."""
    context = expect['context'] or {}
    return [{name: next((kind, [_value(kind, one) for one in values]) for kind, values in feature.items())
             for name, feature in {**context, **example}.items()} for example in expect['examples']]


def _value(kind: str, value):
    # As text: a NaN equals itself then.
    return value.encode() if kind == 'bytes' else str(float(value)) if kind == 'float' else value


def _features(text: str) -> dict:
    """A serialized tf.Example in base64, as `_merged` has it."""
    import tensorflow as tf
    example = tf.train.Example.FromString(base64.urlsafe_b64decode(text + '=' * (-len(text) % 4)))
    found = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof('kind').removesuffix('_list')
        found[name] = kind, [str(one) if kind == 'float' else one for one in getattr(feature, f'{kind}_list').value]
    return found


def _digest(example: dict) -> float:
    return sum(weight * (sum(one + 1 for one in values) if kind == 'int64' else len(values))
               for name, (kind, values) in example.items() for _, weight in [DIGESTED[name]])


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or '').split('\n')[0])
    parser.add_argument('url', help='http://HOST:PORT')
    parser.add_argument('--grpc', metavar='HOST:PORT', default='', help='asked too, if given')
    parser.add_argument('--profile', choices=vectors.PROFILES, default='2.18+',
                        help='the release (default: %(default)s)')
    parsed = parser.parse_args(argv)
    target = Target(parsed.url, parsed.grpc, parsed.profile)
    counts, passed = collections.Counter(), collections.Counter()
    for check in checks(target.profile, bool(target.grpc)):
        counts[check.kind] += 1
        try:
            check.run(target)
            passed[check.kind] += 1
        except Exception as error:  # any of them is a failed case; the others still run
            print(f'{check.name}: {type(error).__name__}: {error}')
    print(f'{"profile " + target.profile:20}{"cases":>7}{"passed":>8}')
    for kind in (kind for kind in KINDS if counts[kind]):
        print(f'{kind:20}{counts[kind]:7}{passed[kind]:8}')
    print(f'{"all":20}{sum(counts.values()):7}{sum(passed.values()):8}')
    return 0 if counts == passed else 1


if __name__ == '__main__':
    raise SystemExit(main())
