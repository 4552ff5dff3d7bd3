"""`polyvit card`: the model card of a pushed version, also as a bill of materials."""

import os

from model_code import model_directory
from model_code.errors import PipelineStop
from pipeline import cyclonedx
from serving.local_model import find_model, read_card


def content(directory: str, as_bom: bool) -> dict:
    """The card of the newest version in a directory, or cyclonedx.bom of it.

    Raises ConfigError if there is no version, PipelineStop if it has no card, or a damaged one.
    """
    version_dir = find_model(directory)
    card = read_card(version_dir)
    path = model_directory.card_path(version_dir)
    if not card:
        raise PipelineStop(f'{version_dir} has no model card ({path}), so no run pushed it.')
    if not as_bom:
        return card
    try:
        libraries = model_directory.read_libraries(version_dir)
        return cyclonedx.bom(card, libraries, os.path.basename(os.path.abspath(version_dir)))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise PipelineStop(f'{path}, or libraries.json beside it, has another form than a run writes '
                           f'({type(error).__name__}: {error}). The version is damaged; push it again.') from error
