"""What a push adds to a model's card (schemas/model_card.schema.json). Plain functions that know no TFX."""

from collections.abc import Mapping

from components.evaluation_names import probe_metrics

INTENDED_USE = ('To tell the classes of each task apart in media like those that it was trained on. No other use was '
                'stated.')
LIMITS = ('It was measured on the eval split of its own data alone, not on media from elsewhere. It names classes also '
          'where none is right. No other limits were stated.')


def stated(custom_config: Mapping[str, str]) -> dict[str, str]:
    """What the config says the model is for, and what not; plain defaults where it says nothing."""
    return {'intended_use': custom_config.get('intended_use') or INTENDED_USE,
            'limits': custom_config.get('limits') or LIMITS}


def data_entry(data: dict[str, dict]) -> dict[str, dict]:
    """Task -> its data. data: model_directory.read_data."""
    return {task: {'examples': of['examples'], 'groups': of.get('groups', {}), 'classes': len(of['labels']),
                   'files': of['files'], 'rejected': sum(of['rejected'].values()), **of.get('about', {})}
            for task, of in data.items()}


def evaluation_entry(evaluation: dict) -> dict:
    """The metrics of one task over all examples of its eval split, with their intervals, None where there is none.

    evaluation: its evaluation.json.
    """
    overall = evaluation['slices'][0]
    return {'examples': overall['examples'], 'groups': overall['groups'], 'metrics': {
        name: {key: values.get(key) for key in ('value', 'low', 'high')}
        for name, values in (overall['metrics'] | probe_metrics(evaluation)).items()}}
