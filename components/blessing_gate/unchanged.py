"""Tasks that were not trained (TrainingConfig.train_only): the new model must answer them as the one being served.

Nobody evaluates them again. In place of that, what they are made of is compared in the two exported models, bit for
bit: the weights of the encoder, of their tokenizers and heads, what the cards say of them, and what both models answer
to the warm-up requests of the one being served, real media, by each signature of these tasks that clients ask.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import trackable_object_graph_pb2
from tensorflow_serving.apis import prediction_log_pb2

from components.blessing_gate.judgement import Judgement
from model_code import model_directory, signature_names, words
from model_code.tasks import Task

_LONGEST = 300  # characters of an error
# What Keras adds to the objects of a SavedModel: other ways to the same variables.
_KERAS = ('variables', 'trainable_variables', 'regularization_losses', 'keras_api')


@dataclasses.dataclass(frozen=True)
class Comparison:
    """differences: task -> a clause about what is not the same; '' if all is. weights, answers: how many arrays and how
    many answers of signatures were compared.
    """
    differences: dict[str, str]
    weights: int = 0
    answers: int = 0


def compare(candidate: str, baseline: str, tasks: Sequence[Task]) -> Comparison:
    """Compares two SavedModels. baseline: an empty directory if nothing is being served. tasks: those that must be
    the same."""
    if not model_directory.has_model(baseline):
        return Comparison({task.name: 'nothing is being served that it could be compared with' for task in tasks})
    try:
        differences = _cards(model_directory.read_card(candidate), model_directory.read_card(baseline), tasks)
        weights = _weights(candidate, baseline, tasks, differences)
        answers = _answers(candidate, baseline, tasks, differences)
    except Exception as error:  # a damaged model may raise anything
        first = (str(error).strip().splitlines() or [''])[0]
        problem = f'the two models cannot be compared ({type(error).__name__}: {first[:_LONGEST]})'
        return Comparison({task.name: problem for task in tasks})
    return Comparison({task.name: differences.get(task.name, '') for task in tasks}, weights, answers)


def _cards(new: dict, old: dict, tasks: Sequence[Task]) -> dict[str, str]:
    """Task -> what its entries in the cards differ in."""
    entries = [{entry['name']: entry for entry in card.get('tasks', ())} for card in (new, old)]
    found = {}
    for task in tasks:
        now, before = (of.get(task.name) for of in entries)
        if now is None or before is None:
            found[task.name] = 'one of the two models does not have it'
        elif keys := [key for key in now if key in before and now[key] != before[key]]:
            found[task.name] = f'its {keys[0].replace("_", " ")} changed'
        elif new.get('inputs', {}).get(task.modality) != old.get('inputs', {}).get(task.modality):
            found[task.name] = f'the {task.modality} input changed'
    return found


def _weights(candidate: str, baseline: str, tasks: Sequence[Task], differences: dict[str, str]) -> int:
    """Compares the weights that the tasks pass through. Adds to `differences`; returns how many there are."""
    (now, keys), (before, keys_before) = map(_variables, (candidate, baseline))
    count = 0
    for name in sorted({*keys, *keys_before}):
        concerned = [task.name for task in tasks if _passes(task, name)]
        if not concerned:
            continue
        count += 1
        if name not in keys or name not in keys_before:
            problem = f'only one of the two models has the weights {name}'
        elif not _same(now.get_tensor(keys[name]), before.get_tensor(keys_before[name])):
            problem = f'the weights {name} changed'
        else:
            continue
        for task in concerned:
            differences.setdefault(task, problem)
    return count


def _passes(task: Task, name: str) -> bool:
    """Whether the task's answers depend on the variable at this path."""
    part, of = name.split('/')[:2]
    if part == 'encoder':
        return of != 'modality_blocks' or name.split('/')[2] == task.modality
    return (part, of) in (('tokenizers', task.modality), ('heads', task.name))


def _variables(model_dir: str):
    """A reader of a SavedModel's variables, and path in the PolyViT, such as 'encoder/norm/gamma' -> key."""
    reader = tf.train.load_checkpoint(os.path.join(model_dir, 'variables', 'variables'))
    nodes = trackable_object_graph_pb2.TrackableObjectGraph.FromString(
        reader.get_tensor('_CHECKPOINTABLE_OBJECT_GRAPH')).nodes
    root = next(child.node_id for child in nodes[0].children if child.local_name == 'model')
    keys, seen, waiting = {}, {root}, [('', root)]
    while waiting:
        path, number = waiting.pop(0)
        for attribute in nodes[number].attributes:
            if attribute.name == 'VARIABLE_VALUE':
                keys[path[1:]] = attribute.checkpoint_key
        for child in nodes[number].children:
            if child.node_id not in seen and child.local_name not in _KERAS and not child.local_name.startswith('_'):
                seen.add(child.node_id)
                waiting.append((f'{path}/{child.local_name}', child.node_id))
    return reader, keys


def _answers(candidate: str, baseline: str, tasks: Sequence[Task], differences: dict[str, str]) -> int:
    """Compares what both models answer to the warm-up requests of the baseline, as `_weights`."""
    before, now = ({(signature, output): value for signature, outputs in _asked(path, baseline, tasks)
                    for output, value in outputs.items()} for path in (baseline, candidate))
    count = 0
    for (signature, output), value in before.items():
        concerned = [task.name for task in tasks if signature in _parts(task)[output if output in _parts(task) else '']]
        if not concerned:
            continue
        count += 1
        other = now.get((signature, output))
        if other is None or not _same(other, value):
            for task in concerned:
                differences.setdefault(task, f'the signature {signature} gives another {output} to the same media')
    return count


def _parts(task: Task) -> dict[str, tuple[str, ...]]:
    """Output name -> the signatures whose output of this name is the task's; '' for all outputs but those named."""
    own = (task.name, signature_names.scores(task.name), signature_names.safe(task.name),
           signature_names.examples(task.name), signature_names.label(task.name),
           signature_names.embedding(task.modality))
    return {'': own, signature_names.scores(task.name): (signature_names.all_tasks(task.modality),)}


def _asked(model_dir: str, requests_of: str, tasks: Sequence[Task]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Yields (signature, {output: value}) of a model's answers to the warm-up requests in another's directory."""
    wanted = {name for task in tasks for names in _parts(task).values() for name in names}
    records = tf.data.TFRecordDataset(model_directory.warmup_path(requests_of)).as_numpy_iterator()
    # Optimising the graph of each signature for its one call would take about twice as long.
    before = tf.config.optimizer.get_experimental_options()['disable_meta_optimizer']
    tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': True})
    try:
        model = tf.saved_model.load(model_dir)
        for record in records:
            request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            name = request.model_spec.signature_name
            if name in wanted and name in model.signatures:
                inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
                yield name, {key: value.numpy() for key, value in model.signatures[name](**inputs).items()}
    finally:
        tf.config.optimizer.set_experimental_options({'disable_meta_optimizer': before})


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.dtype == other.dtype and one.shape == other.shape and (
        one.tolist() == other.tolist() if one.dtype == object else one.tobytes() == other.tobytes())


def add(decision: dict, mixture_tasks: Sequence[Task], compared: Comparison, card: dict, version: str) -> dict:
    """The decision with the tasks that were not trained, among the others in the order of the mixture.

    A task that is the same has the metrics of the served version. One that is not rejects the model: nobody measured
    it. decision: decide(...). card, version: of the model being served.
    """
    if not compared.differences:
        return decision
    served = f'version {version}' if version else 'a served version'
    entries, judgements = {entry['name']: entry for entry in decision['tasks']}, []
    for task in mixture_tasks:
        problem = compared.differences.get(task.name)
        if problem is None:
            continue
        sentence = (f'{task.name}: it was neither trained nor evaluated, so it must answer as {served} does, bit for '
                    f'bit, but {problem}.' if problem else
                    f'{task.name}: it was not trained. Its weights and answers are those of {served}, bit for bit.')
        judgements.append(Judgement('unchanged', task.name, bool(problem), 'missed' if problem else 'met', sentence))
        entries[task.name] = _entry(task, card, version, sentence if problem else '')
    reasons = [found.sentence for found in judgements if found.rejects]
    same = [name for name, problem in compared.differences.items() if not problem]
    remarks = [f'Unchanged, and so not evaluated: {", ".join(same)}. '
               f'{words.count(compared.weights, "array")} of weights and {words.count(compared.answers, "answer")} are '
               f'those of {served}, bit for bit.'] if same else []
    return {**decision, 'blessed': decision['blessed'] and not reasons, 'reasons': [*decision['reasons'], *reasons],
            'remarks': [*decision['remarks'], *remarks], 'tasks': [entries[task.name] for task in mixture_tasks],
            'judgements': [*decision['judgements'], *map(dataclasses.asdict, judgements)]}


def _entry(task: Task, card: dict, version: str, reason: str) -> dict:
    """The task's entry in the decision. Its numbers are those in the card of the served version."""
    metrics = {} if reason else card.get('metrics', {}).get(task.name, {})
    evaluated = {} if reason else card.get('evaluation', {}).get(task.name, {})
    limits = evaluated.get('metrics', {}).get(task.primary_metric, {})
    examples, groups = evaluated.get('examples', 0), evaluated.get('groups')
    value = metrics.get(task.primary_metric)
    return {
        'name': task.name, 'modality': task.modality, 'examples': examples,
        'groups': None if groups == examples else groups, 'too_small': False,
        'metrics': metrics, 'baseline_metrics': metrics or None, 'baseline_version': version if metrics else '',
        'primary_metric': task.primary_metric, 'floor': task.gate.floor, 'max_drop': task.gate.max_drop,
        'value': value, 'low': limits.get('low'), 'high': limits.get('high'),
        'change': None if value is None else 0.0, 'change_low': None, 'change_high': None,
        'outcome': None if reason else 'unchanged', 'blessed': not reason, 'reason': reason}
