"""docs/configuration.md has every field of a config, as the sources document it."""

import importlib.util
import pathlib


def _generator():
    path = pathlib.Path(__file__).parents[2] / 'scripts' / 'config_reference.py'
    spec = importlib.util.spec_from_file_location('config_reference', path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_file_is_what_the_sources_say():
    generator = _generator()
    assert generator.PATH.read_text() == generator.reference(), 'run `make docs`'


def test_every_part_of_a_config_is_in_it():
    import dataclasses

    from model_code import data, modalities, settings, tasks
    from pipeline.config import PipelineConfig
    text = _generator().reference()
    for part in (PipelineConfig, tasks.Mixture, tasks.Task, data.Data, data.Columns, modalities.Limits, tasks.Recipe,
                 tasks.Checks, tasks.Gate, settings.ModelConfig, settings.TrainingConfig, modalities.ImageInput,
                 modalities.AudioInput, modalities.VideoInput):
        assert f'## {part.__name__}\n' in text
        for field in dataclasses.fields(part):
            assert f'| `{field.name}` |' in text or not field.init
