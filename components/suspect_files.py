"""The names of the files in which TaskEvaluator lists suspect labels for the report (task_evaluator/suspects.py)."""

SUSPECTS, SUSPECT_EXAMPLES = 'suspects.json', 'suspects.tfrecord.gz'
