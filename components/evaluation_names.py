"""The names of the files of an evaluation, for those who read them without TaskEvaluator's code.

task_evaluator/evaluation_files.py says what is in them, task_evaluator/suspects.py what in the last two.
"""

EVALUATION, RESAMPLES, OUTCOMES, SHOWN = 'evaluation.json', 'resamples.npz', 'outcomes.npz', 'shown.tfrecord.gz'
SUSPECTS, SUSPECT_EXAMPLES = 'suspects.json', 'suspects.tfrecord.gz'


def probe_metrics(evaluation: dict) -> dict[str, dict]:
    """'linear_probe_accuracy', '5_shot_accuracy' and so on -> {'value', 'low', 'high'}; {} without a probe.

    evaluation: the content of evaluation.json.
    """
    probe = evaluation.get('probe') or {'linear': None, 'few_shot': []}
    rows = [('linear_probe', probe['linear'])] * bool(probe['linear']) + [
        (f'{row["shots"]}_shot', row) for row in probe['few_shot']]
    return {f'{name}_{probe["metric"]}': {key: row[key] for key in ('value', 'low', 'high')} for name, row in rows}
