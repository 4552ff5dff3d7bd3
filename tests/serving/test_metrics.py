"""serving.metrics: TensorFlow Serving's page, to the letter."""

import re
import threading

import pytest

from serving import metrics

# The table of TensorFlow Serving's metrics: name -> (type, labels).
CONTRACT = {
    'serving:request_count': ('counter', ['model_name', 'status']),
    'serving:request_latency': ('histogram', ['model_name', 'API', 'entrypoint']),
    'serving:runtime_latency': ('histogram', ['model_name', 'API', 'runtime']),
    'serving:request_example_counts': ('histogram', ['model']),
    'serving:request_example_count_total': ('counter', ['model']),
    'serving:model_warmup_latency': ('histogram', ['model_path', 'status']),
    'serving:model_warmup_records_read': ('counter', ['model_path', 'status']),
    'serving:request_log_count': ('counter', ['model_name', 'status_code']),
    'serving:batching_session:queuing_latency': ('histogram', ['thread_pool_name']),
    'serving:batching_session:wrapped_run_count': ('counter', []),
    'serving:batching_session:padding_size': ('histogram', ['execution_batch_size']),
    'serving:batching_session:input_batch_size': ('histogram', []),
    'serving:batching_session:processed_batch_size': ('histogram', []),
    'cc:saved_model:load_attempt_count': ('counter', ['model_path', 'status']),
    'cc:saved_model:load_latency': ('counter', ['model_path']),
}


def page() -> list[str]:
    return metrics.page().decode().splitlines()


def series(name: str, *labels: str) -> list[str]:
    """The lines of a metric whose labels begin with these pairs, without its buckets' limits."""
    return [line for line in page() if line.startswith(f'{name}{{{",".join(labels)}')]


def test_every_metric_of_the_contract_is_on_the_page():
    metrics.request('every', 'predict', 'REST', 'OK', 0.001)
    metrics.graph_run('every', 'Predict', 0.001)
    metrics.examples('every', 3)
    metrics.warmed_up('/every/1', 'OK', 0.5, 12)
    metrics.loaded('/every/1', 0.25, True)
    metrics.batch_input(3)
    metrics.batch_queued(0.001)
    metrics.batch_run(3, 4)
    lines = page()
    for name, (kind, labels) in CONTRACT.items():
        full = f':tensorflow:{name}'
        assert f'# TYPE {full} {kind}' in lines
        found = [re.findall(r'([A-Za-z_]+)="', line) for line in lines
                 if line.startswith((f'{full}{{', f'{full}_count{{'))]
        assert labels in found or name == 'serving:request_log_count'
    assert {line.split()[2] for line in lines if line.startswith('#') and ':tensorflow:' in line} == {
        f':tensorflow:{name}' for name in CONTRACT}
    assert not [line for line in lines if line.startswith('# HELP')]


def test_counters_print_braces_and_escape_what_clients_chose():
    metrics.batch_run(1, 1)
    assert re.fullmatch(r':tensorflow:serving:batching_session:wrapped_run_count\{\} [0-9]+',
                        series(':tensorflow:serving:batching_session:wrapped_run_count')[0])
    metrics.request('a"b\\c\nd' + 'e' * 300, '', 'REST', 'NOT_FOUND', 0.0)
    line, = series(':tensorflow:serving:request_count', r'model_name="a\"b\\c\nd')
    assert line.endswith('eee",status="NOT_FOUND"} 1')
    assert len(line) < 300
    # What is printed alike is one series: of two equal lines Prometheus would refuse the whole page.
    for name in ('surrogate\udcff', 'surrogate\udcfe', 'f' * 300, 'f' * 400):
        metrics.request(name, '', 'REST', 'NOT_FOUND', 0.0)
    line, = series(':tensorflow:serving:request_count', 'model_name="surrogate')
    assert line.endswith('{model_name="surrogate?",status="NOT_FOUND"} 2')
    line, = series(':tensorflow:serving:request_count', 'model_name="ffff')
    assert line.endswith(' 2')
    names = [line.rsplit(' ', 1)[0] for line in page() if not line.startswith('#')]
    assert len(set(names)) == len(names)


def test_histograms_have_the_limits_of_tensorflow_serving():
    for seconds in (0.000005, 0.00001, 0.000031, 1e6):  # 5, 10, 31 microseconds, 11 days
        metrics.request('limits', 'predict', 'REST', 'OK', seconds)
    name, labels = ':tensorflow:serving:request_latency', 'model_name="limits",API="predict",entrypoint="REST"'
    buckets = [re.fullmatch(rf'{name}_bucket\{{{labels},le="(.*)"\}} ([0-9]+)', line)
               for line in series(f'{name}_bucket', labels)]
    limits, counts = zip(*(match.groups() for match in buckets if match), strict=True)
    assert len(limits) == 34
    assert limits[:7] == ('10', '18', '32.4', '58.32', '104.976', '188.957', '340.122')
    assert limits[-2:] == ('1.47476e+09', '+Inf')
    assert [int(count) for count in counts][:4] == [1, 2, 3, 3]  # a value that equals a limit is above it
    assert counts[-2:] == ('3', '4')
    assert series(f'{name}_sum', labels) == [f'{name}_sum{{{labels}}} 1e+12']
    assert series(f'{name}_count', labels) == [f'{name}_count{{{labels}}} 4']
    # Failed requests are counted, but have no latency.
    metrics.request('limits', 'predict', 'REST', 'INTERNAL', 1.0)
    assert series(f'{name}_count', labels) == [f'{name}_count{{{labels}}} 4']
    assert series(':tensorflow:serving:request_count', 'model_name="limits",status="INTERNAL"')


@pytest.mark.parametrize('name, first, count', [
    ('serving:request_example_counts', ['1', '2', '4'], 16),
    ('serving:batching_session:queuing_latency', ['100', '120', '144', '172.8', '207.36', '248.832'], 53),
    ('serving:batching_session:input_batch_size', ['1', '2', '4', '8'], 15)])
def test_limits_of_the_other_histograms(name, first, count):
    metrics.examples('limits', 1)
    metrics.batch_queued(0.001)
    metrics.batch_input(1)
    limits = re.findall('le="(.*?)"', '\n'.join(series(f':tensorflow:{name}_bucket')))
    assert limits[:len(first)] == first
    assert limits.index('+Inf') == count - 1


def test_labels_from_clients_are_bounded():
    counter = metrics.Counter('test_bounded', 'name')
    try:
        for i in range(1500):
            counter.add(str(i))
        assert len(counter.lines()) == 1 + 1000 + 1
        assert counter.value(metrics.OTHER) == 500
        assert counter.value('7') == 1
    finally:
        metrics._METRICS.remove(counter)
    names = {metrics.bounded_name(f'strange {i}') for i in range(300)}
    assert len(names) <= 101
    assert metrics.OTHER in names


def test_nothing_is_lost_between_threads():
    def work():
        for _ in range(2000):
            metrics.refused('threads')
            metrics.signature('threads', 's', 'OK', 0.001, 2)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert series('polyvit_refusals_total', 'bound="threads"') == ['polyvit_refusals_total{bound="threads"} 8000']
    labels = 'model_name="threads",signature="s"'
    assert series('polyvit_signature_examples_sum', labels) == [f'polyvit_signature_examples_sum{{{labels}}} 16000.0']
