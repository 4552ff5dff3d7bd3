"""Runs of TFMA take seconds each, so the tests of evaluation, gate, pusher and report share two of them."""

import types

import numpy as np
import pytest

from tests import testing


@pytest.fixture(scope='session')
def evaluated(tmp_path_factory):
    """The results of TaskEvaluator for the two tasks of `scoring_model`.

    digits: 20 examples. The candidate is right on 14 (0.70), the baseline (version 3) on 16 (0.80). So the floor of 0.5
      is met, but the fall is more than 0.05. The baseline does not know the class f, which 2 examples have. Its
      card names no classes.
    tags: 30 random examples. The baseline does not have this task.
    """
    from tfx.types import standard_artifacts

    from components.task_evaluator import executor
    from model_code import serialization
    from tests import artifacts
    from tests.components import scoring_model as sm

    root = tmp_path_factory.mktemp('evaluated')
    rng = np.random.default_rng(0)

    ids = np.array([0, 1, 2, 3] * 4 + [4, 4] + [5, 5])
    given = np.eye(6)[ids] * 0.8 + rng.random((20, 6)) * 0.1
    candidate = np.eye(6)
    candidate[:, [0, 1]] = candidate[:, [1, 0]]
    # Exchanging the classes a and b makes 8 of 20 wrong. The scores of two of these examples make them right again.
    given[[0, 1]] = given[[1, 0]]
    sm.write_examples(root / 'digits', [[sm.CLASSES[i]] for i in ids], given)

    tag_labels = rng.random((30, 6)) < 0.3
    tag_labels[:, 0] = True
    tag_scores = np.round(rng.random((30, 6)), 1)
    tags = [[c for c, on in zip(sm.CLASSES, row, strict=True) if on] for row in tag_labels]
    sm.write_examples(root / 'tags', tags, tag_scores)

    older = testing.changed(sm.SINGLE, classes=sm.CLASSES[:5])
    sm.export(root / 'candidate', {'digits': candidate, 'tags': np.eye(6)}, (sm.SINGLE, sm.MULTI))
    baseline_weights = np.eye(6)[:, :5]
    sm.export(root / 'baseline', {'digits': baseline_weights}, (older,), card={'name': 'scorer'})

    def model(name, number):
        artifact = standard_artifacts.Model()
        artifact.uri, artifact.id = str(root / name), number
        return artifact

    result = types.SimpleNamespace(root=root, candidate=model('candidate', 7), baseline=model('baseline', 8),
                                   digit_ids=ids, digit_scores=given @ candidate,
                                   tag_labels=tag_labels, tag_scores=tag_scores, evaluations={})
    result.baseline.set_string_custom_property('version', '3')
    for task in (sm.SINGLE, sm.MULTI):
        examples = standard_artifacts.Examples()
        examples.uri, examples.split_names = str(root / task.name), '["eval"]'
        evaluation = standard_artifacts.ModelEvaluation()
        evaluation.uri = str(root / f'{task.name}_evaluation')
        executor.Executor().Do(
            {'examples': [examples], 'model': [result.candidate], 'baseline_model': [result.baseline],
             'classes': [artifacts.classes(root / f'{task.name}_classes', sm.CLASSES)]},
            {'evaluation': [evaluation]},
            {'source': serialization.to_json(task.source), 'code_version': ''})
        result.evaluations[task.name] = evaluation
    return result
