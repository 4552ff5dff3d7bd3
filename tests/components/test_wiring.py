"""The components of evaluation and publishing can be wired together and keep their channels' names."""

from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts

from components.artifacts import RejectedMedia
from components.atomic_pusher.component import AtomicPusher
from components.blessing_gate.component import BlessingGate
from components.classes import Classes
from components.data_drift.component import DataDrift
from components.data_statistics import DataStatistics
from components.served_data_lookup.component import ServedDataLookup
from components.serving_baseline.component import ServingBaseline
from components.task_evaluator.component import TaskEvaluator


def test_components_take_each_others_outputs():
    model = channel.Channel(type=standard_artifacts.Model)
    examples = channel.Channel(type=standard_artifacts.Examples)
    infra = channel.Channel(type=standard_artifacts.InfraBlessing)
    baseline = ServingBaseline(candidate=model, serving_dir='/serving', served_version='3')
    classes = channel.Channel(type=Classes)
    evaluators = {name: TaskEvaluator(source='{}', classes=classes, examples=examples, model=model,
                                      baseline_model=baseline.outputs['model'], code_version='c').with_id(name)
                  for name in ('a', 'b')}
    gate = BlessingGate(
        mixture='{}', model=model, baseline_model=baseline.outputs['model'], infra_blessing=infra,
        evaluations={name: e.outputs['evaluation'] for name, e in evaluators.items()})
    assert sorted(gate.inputs) == [
        'baseline_model', 'evaluation_a', 'evaluation_b', 'infra_blessing', 'model']
    by_task = {'a': channel.Channel(type=Classes), 'b': channel.Channel(type=Classes)}
    lookup = ServedDataLookup(by_task, '/serving')
    drift = DataDrift(
        mixture='{}', serving_dir='/serving', served_version=lookup.outputs['version'].future()[0].value,
        statistics={'a': channel.Channel(type=standard_artifacts.ExampleStatistics)},
        rejected={'a': channel.Channel(type=RejectedMedia)}, classes={'a': by_task['a']})
    assert sorted(lookup.inputs) == ['classes_a', 'classes_b']
    assert {'statistics_a', 'rejected_a', 'classes_a'} <= set(drift.inputs)
    assert drift.outputs['data_statistics'].type is DataStatistics
    pusher = AtomicPusher(
        model=model, model_blessing=gate.outputs['blessing'], infra_blessing=infra,
        data_statistics=drift.outputs['data_statistics'],
        evaluations={name: e.outputs['evaluation'] for name, e in evaluators.items()},
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory='/serving')),
        custom_config={'model_key': 'k'})
    assert pusher.exec_properties['custom_config'] == '{"model_key": "k"}'
    assert {'evaluation_a', 'evaluation_b', 'model_blessing'} <= set(pusher.inputs)
    assert pusher.outputs['pushed_model'].type is standard_artifacts.PushedModel
