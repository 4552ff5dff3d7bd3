"""The names of the files of an evaluation, for those who read them without TaskEvaluator's code.

task_evaluator/evaluation_files.py says what is in them, task_evaluator/suspects.py what in the last two.
"""

EVALUATION, RESAMPLES, OUTCOMES, SHOWN = 'evaluation.json', 'resamples.npz', 'outcomes.npz', 'shown.tfrecord.gz'
SUSPECTS, SUSPECT_EXAMPLES = 'suspects.json', 'suspects.tfrecord.gz'
