"""TFX components, one folder each: thin executors over plain functions."""


def __getattr__(name):
    """The artifact types, under the names by which Kubeflow imports them. Only on demand, because they import TFX."""
    if name in ('EvaluationReport', 'RejectedMedia'):
        from components import artifacts
        return getattr(artifacts, name)
    if name == 'Classes':
        from components import classes
        return classes.Classes
    if name == 'DataStatistics':
        from components import data_statistics
        return data_statistics.DataStatistics
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
