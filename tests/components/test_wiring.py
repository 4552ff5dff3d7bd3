"""The components of evaluation and publishing can be wired together and keep their channels' names."""

from tfx.proto import pusher_pb2
from tfx.types import channel, standard_artifacts

from components.atomic_pusher.component import AtomicPusher
from components.blessing_gate.component import BlessingGate
from components.classes import Classes
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
    pusher = AtomicPusher(
        model=model, model_blessing=gate.outputs['blessing'], infra_blessing=infra,
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory='/serving')),
        custom_config={'model_key': 'k'})
    assert pusher.exec_properties['custom_config'] == '{"model_key": "k"}'
    assert pusher.outputs['pushed_model'].type is standard_artifacts.PushedModel
