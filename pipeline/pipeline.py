"""create_pipeline, the only place where components are wired. Runners only choose paths.

One lane per task, then the join:

    MediaExampleGen -> TaskSchemaGen -> StatisticsGen -> TaskValidator -> Transform  (each named <component>_<task>)
    DataDrift -> CoTrainer -> ServingBaseline -> TaskEvaluator_<task>, ServingCheck -> BlessingGate
    -> AtomicPusher, Report

Every exec property follows from the config, the data, the code and what is being served. So when one of these changes,
TFX's cache re-runs exactly what it affects.

On one machine the data and what is being served are looked at before a run. On a cluster three more components do that
when the run gets there: MediaListing, before each MediaExampleGen, ServedDataLookup, before DataDrift, and
BaselineLookup, before ServingBaseline.
"""

import dataclasses
import uuid

from tfx.components.statistics_gen.component import StatisticsGen
from tfx.dsl.components.base import base_beam_component
from tfx.orchestration import data_types
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.proto import pusher_pb2

from components.atomic_pusher.component import AtomicPusher
from components.baseline_lookup.component import BaselineLookup
from components.blessing_gate.component import BlessingGate
from components.co_trainer.component import CoTrainer
from components.data_drift.component import DataDrift
from components.media_example_gen.component import MediaExampleGen
from components.media_listing.component import MediaListing
from components.report.component import Report
from components.run_parameters import DATA_VERSION, FORCE, SEED, floor, steps
from components.served_data_lookup.component import ServedDataLookup
from components.serving_baseline.component import ServingBaseline
from components.serving_check.component import ServingCheck
from components.task_evaluator.component import TaskEvaluator
from components.task_schema_gen.component import TaskSchemaGen
from components.task_validator.component import TaskValidator
from components.transform.component import Transform
from components.verdict.component import Verdict
from model_code.data import Columns, Data
from model_code.modalities import Input, get_modality
from model_code.probe import Probe
from model_code.serialization import to_json
from model_code.tasks import DRIFT_FIELDS, Checks, Gate, Mixture, Recipe, Task
from pipeline import run_parameters
from pipeline.checks import DataSummary
from pipeline.config import PipelineConfig
from pipeline.fingerprints import component_version


def create_pipeline(config: PipelineConfig, data: DataSummary | None, *, pipeline_root: str, serving_dir: str,
                    served_version: str = '', data_baseline: str = '', push_nonce: str = '', model_key: str = '',
                    unfinished_dir: str = '', fail_if_rejected: bool = False, force: str = '',
                    metadata_connection_config=None) -> tfx_pipeline.Pipeline:
    """The pipeline of one config.

    data: checks.check(config); None for a pipeline that finds out itself when it runs, on a cluster. There the cache of
      the components that look must be switched off (kubeflow/compiler.py: UNCACHED).
    pipeline_root: the folder for artifacts. serving_dir: the folder in which AtomicPusher puts version directories.
    unfinished_dir: see CoTrainer; on a cluster each run has other output folders, so it must be given.

    On one machine only:
    served_version, push_nonce: another value makes ServingBaseline, or the pusher, run again although nothing else
      changed (see local_runner.baseline).
    data_baseline: the version with whose data these are compared (data_drift.served_data.choose), '' for none.
    model_key: fingerprints.model_key; it goes into the pushed model's card.
    force: why a model that the gate rejects is pushed all the same, '' for no; on a cluster a parameter of the run.
    fail_if_rejected: add Verdict, which fails the run if the gate rejects the model. For clusters.
    """
    parameters = {} if data is not None else _runtime_parameters(config)
    lanes = {task.name: _lane(task, config, data, parameters) for task in config.mixture.tasks}
    *data_lookup, drift = _drift(config, lanes, serving_dir, None if data is None else data_baseline)
    trainer = _trainer(config, lanes, parameters, unfinished_dir)
    # No artifact goes from it to the trainer, whose cache is its own, but what it finds may stop the run.
    trainer.add_upstream_node(drift)
    model, examples = trainer.outputs['model'], _outputs(lanes, 'MediaExampleGen', 'examples')
    *lookup, baseline = _baseline(model, serving_dir, None if data is None else served_version)
    evaluators = _evaluators(config, lanes, model, baseline.outputs['model'])
    serving_check = ServingCheck(
        mixture=to_json(trained_tasks(config.mixture)), model=model, examples=examples,
        code_version=component_version('ServingCheck'))
    gate = BlessingGate(
        mixture=to_json(judged_tasks(config.mixture)), model=model, baseline_model=baseline.outputs['model'],
        evaluations={name: e.outputs['evaluation'] for name, e in evaluators.items()},
        infra_blessing=serving_check.outputs['infra_blessing'],
        run_parameters={FORCE: force} | _named(parameters, FORCE, *map(floor, lanes)),
        code_version=component_version('BlessingGate'))
    card = {} if data is None else {'model_key': model_key, 'push_nonce': push_nonce, 'served_version': served_version}
    pusher = AtomicPusher(
        model=model, model_blessing=gate.outputs['blessing'], infra_blessing=serving_check.outputs['infra_blessing'],
        data_statistics=drift.outputs['data_statistics'],
        evaluations={name: e.outputs['evaluation'] for name, e in evaluators.items()},
        push_destination=pusher_pb2.PushDestination(
            filesystem=pusher_pb2.PushDestination.Filesystem(base_directory=serving_dir)),
        custom_config={**card, **{name: value for name, value in (
            ('overrides', list(config.overrides)), ('intended_use', config.intended_use), ('limits', config.limits))
            if value}},
        code_version=component_version('AtomicPusher'))
    report = Report(
        mixture=to_json(config.mixture), model=model, model_run=trainer.outputs['model_run'],
        blessing=gate.outputs['blessing'], infra_blessing=serving_check.outputs['infra_blessing'],
        rejected=_outputs(lanes, 'MediaExampleGen', 'rejected'),
        statistics=_outputs(lanes, 'StatisticsGen', 'statistics'), data_statistics=drift.outputs['data_statistics'],
        evaluation={name: evaluator.outputs['evaluation'] for name, evaluator in evaluators.items()},
        intended_use=config.intended_use, limits=config.limits, code_version=component_version('Report'))

    components = [*(c for lane in lanes.values() for c in lane.values()), *data_lookup, drift, trainer, *lookup,
                  baseline, *evaluators.values(), serving_check, gate, pusher, report]
    if fail_if_rejected:
        components.append(_verdict(gate, report))
    for component in components:
        if isinstance(component, base_beam_component.BaseBeamComponent):
            component.with_beam_pipeline_args(config.beam.arguments(component.id.partition('_')[0]))
    return tfx_pipeline.Pipeline(
        pipeline_name=pipeline_name(config), pipeline_root=pipeline_root, components=components, enable_cache=True,
        metadata_connection_config=metadata_connection_config)


def node_id(component: str, task: str) -> str:
    """The id of a task's component. It has an underscore because Kubeflow's names may not have a dot."""
    return f'{component}_{task}'


def pipeline_name(config: PipelineConfig) -> str:
    """The pipeline's name: lower-case letters, digits and hyphens, as Kubeflow requires."""
    return 'polyvit-' + config.name.lower().replace('_', '-')


def new_nonce() -> str:
    return uuid.uuid4().hex


# Each component gets only those parts of the config that it uses, so that other parts do not re-run it.

def trained_tasks(mixture: Mixture) -> Mixture:
    """The mixture for the trainer: of the data only the kind of label and the captions, and neither checks nor gate.

    Otherwise another floor, or another limit on file sizes, would re-train.
    """
    return dataclasses.replace(mixture, dropped_tasks=(), tasks=tuple(
        Task(t.name, t.modality, recipe=t.recipe, data=Data(
            label_kind=t.data.label_kind, label_groups=t.data.label_groups,
            columns=Columns(text=t.data.columns.text if t.source.captioned else ''))) for t in mixture.tasks))


def judged_tasks(mixture: Mixture) -> Mixture:
    """The mixture for the gate, which has nothing to do with the checks of the data, nor with probes."""
    return dataclasses.replace(mixture, tasks=tuple(
        dataclasses.replace(t, checks=Checks(), probe=Probe()) for t in mixture.tasks))


def compared_tasks(mixture: Mixture) -> Mixture:
    """The mixture for DataDrift: of a task what tells its labels, and what its data may be, compared with others."""
    return Mixture(dropped_tasks=mixture.dropped_tasks, tasks=tuple(
        Task(t.name, t.modality, recipe=Recipe(1, 1), gate=Gate(dropped_classes=t.gate.dropped_classes),
             data=Data(label_kind=t.data.label_kind, label_groups=t.data.label_groups),
             checks=Checks(**{name: getattr(t.checks, name) for name in DRIFT_FIELDS})) for t in mixture.tasks))


def lane_checks(checks: Checks) -> Checks:
    """The checks for a task's own lane, which has nothing to compare its data with."""
    standard = Checks()
    return dataclasses.replace(checks, **{name: getattr(standard, name) for name in DRIFT_FIELDS})


def reader_spec(spec: Input) -> Input:
    """The modality's input with only those fields that its reader uses, such as a video's frame rate and short side.

    Otherwise another patch size or resolution of the model would re-read all media.
    """
    return type(spec)(**{name: getattr(spec, name) for name in get_modality(spec.modality).reader_fields})


def transform_spec(spec: Input) -> Input:
    """The modality's input with one view: the statistics of the train split know no others."""
    return dataclasses.replace(spec, views=1) if spec.views > 1 else spec


def _runtime_parameters(config: PipelineConfig) -> dict[str, data_types.RuntimeParameter]:
    return {name: data_types.RuntimeParameter(name, type(parameter.default), parameter.default)
            for name, parameter in run_parameters.of_config(config).items()}


def _named(parameters: dict, *names: str) -> dict:
    """Those of a run's parameters that have these names; {} on one machine, where there are none."""
    return {name: parameters[name] for name in names if name in parameters}


def _outputs(lanes: dict[str, dict], component: str, output: str) -> dict:
    """Task name -> an output of one of its components."""
    return {name: lane[component].outputs[output] for name, lane in lanes.items()}


def _lane(task: Task, config: PipelineConfig, data: DataSummary | None, parameters: dict) -> dict:
    """One task's components, by component name. parameters: those of a compiled pipeline's runs."""
    spec = config.model.input(task.modality)
    source, checks = to_json(task.source), to_json(lane_checks(task.checks))
    data_version = parameters.get(DATA_VERSION) if task.data.has_version else None
    lane = {}

    def add(component):
        name = type(component).__name__
        lane[name] = component.with_id(node_id(name, task.name))
        return component

    if data is not None:
        media_fingerprint = data.fingerprints[task.name]
    else:
        listing = add(MediaListing(source=source, checks=checks, data_version=data_version,
                                   code_version=component_version('MediaListing')))
        media_fingerprint = listing.outputs['media_fingerprint'].future()[0].value
    generator = add(MediaExampleGen(
        source=source, spec=to_json(reader_spec(spec)), media_fingerprint=media_fingerprint,
        data_version=data_version, code_version=component_version('MediaExampleGen')))
    schema = add(TaskSchemaGen(source=source, classes=generator.outputs['classes'],
                               code_version=component_version('TaskSchemaGen')))
    # The schema says that media are bytes; without it TFDV would count their most frequent values as words.
    statistics = add(StatisticsGen(examples=generator.outputs['examples'], schema=schema.outputs['schema']))
    # The stock component has no parameter for it, but the cache compares everything in its properties.
    statistics.exec_properties['code_version'] = component_version('StatisticsGen')
    validator = add(TaskValidator(
        source=source, checks=checks, statistics=statistics.outputs['statistics'], schema=schema.outputs['schema'],
        rejected=generator.outputs['rejected'], code_version=component_version('TaskValidator')))
    transform = add(Transform(
        source=source, spec=to_json(transform_spec(spec)), examples=generator.outputs['examples'],
        schema=schema.outputs['schema'],
        code_version=component_version('Transform')))
    # No artifact goes from the validator to Transform, but an anomaly must stop the lane.
    transform.add_upstream_node(validator)
    return lane


def _drift(config: PipelineConfig, lanes: dict[str, dict], serving_dir: str, version: str | None) -> list:
    """DataDrift; before it ServedDataLookup if nobody knows with which version it should compare (None)."""
    classes, lookup = _outputs(lanes, 'MediaExampleGen', 'classes'), []
    if version is None:
        lookup = [ServedDataLookup(classes, serving_dir, code_version=component_version('ServedDataLookup'))]
        version = lookup[0].outputs['version'].future()[0].value
    drift = DataDrift(
        mixture=to_json(compared_tasks(config.mixture)), serving_dir=serving_dir, served_version=version,
        statistics=_outputs(lanes, 'StatisticsGen', 'statistics'), classes=classes,
        rejected=_outputs(lanes, 'MediaExampleGen', 'rejected'), code_version=component_version('DataDrift'))
    for lane in lanes.values():  # data that are not good enough in themselves need no comparison
        drift.add_upstream_node(lane['TaskValidator'])
    return [*lookup, drift]


def _trainer(config: PipelineConfig, lanes: dict[str, dict], parameters: dict, unfinished_dir: str) -> CoTrainer:
    training = config.training
    if not parameters:  # on a cluster the run decides the steps, and so the warm-up
        training = dataclasses.replace(training, warmup_steps=training.warmup(config.trained.total_steps))
    return CoTrainer(
        mixture=to_json(trained_tasks(config.mixture)), model=to_json(config.model), training=to_json(training),
        name=config.name, examples=_outputs(lanes, 'Transform', 'transformed_examples'),
        transform_graphs=_outputs(lanes, 'Transform', 'transform_graph'),
        classes=_outputs(lanes, 'MediaExampleGen', 'classes'),
        run_parameters=_named(parameters, SEED, *map(steps, lanes)), unfinished_dir=unfinished_dir,
        code_version=component_version('CoTrainer'))


def _baseline(model, serving_dir: str, served_version: str | None) -> list:
    """ServingBaseline; before it BaselineLookup if nobody knows the version that is served (None)."""
    version = component_version('ServingBaseline')
    if served_version is not None:
        return [ServingBaseline(serving_dir, candidate=model, served_version=served_version, code_version=version)]
    lookup = BaselineLookup(candidate=model, serving_dir=serving_dir, code_version=component_version('BaselineLookup'))
    return [lookup, ServingBaseline(serving_dir, version=lookup.outputs['version'].future()[0].value,
                                    code_version=version)]


def _evaluators(config: PipelineConfig, lanes: dict[str, dict], model, baseline_model) -> dict[str, TaskEvaluator]:
    """Task name -> its TaskEvaluator. The gate does without those of tasks that are not trained."""
    examples, classes = (_outputs(lanes, 'MediaExampleGen', name) for name in ('examples', 'classes'))
    return {task.name: TaskEvaluator(
        source=to_json(task.source), classes=classes[task.name], examples=examples[task.name], model=model,
        baseline_model=baseline_model, probe=to_json(task.probe), code_version=component_version('TaskEvaluator')
        ).with_id(node_id('TaskEvaluator', task.name)) for task in config.trained.tasks}


def _verdict(gate: BlessingGate, report: Report) -> Verdict:
    verdict = Verdict(blessing=gate.outputs['blessing'], code_version=component_version('Verdict'))
    # No artifact goes from the report to the verdict, but the page must be there when the run fails.
    verdict.add_upstream_node(report)
    return verdict
