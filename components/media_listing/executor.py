"""MediaListing's executor: parses its arguments and calls media.checked_listing."""

from tfx.dsl.components.base import base_beam_executor
from tfx.types import artifact_utils

from media.checked_listing import list_checked
from model_code import remote_files, words
from model_code.data import Source
from model_code.logger import logger
from model_code.serialization import from_json
from model_code.tasks import Checks
from model_code.urls import is_url


class Executor(base_beam_executor.BaseBeamExecutor):
    """See component.MediaListing for output and properties."""

    def Do(self, input_dict, output_dict, exec_properties):
        """Raises ConfigError if the media cannot be listed, or if their names show that the run would stop."""
        source = from_json(Source, exec_properties['source']).at_version(exec_properties.get('data_version', ''))
        if is_url(source.data.folder):
            remote_files.use_options(self._beam_pipeline_args or ())
        checked = list_checked(source, from_json(Checks, exec_properties['checks']))
        artifact_utils.get_single_instance(output_dict['media_fingerprint']).write(checked.media_fingerprint)
        logger.info('%s: %s of %s, fingerprint %s', source.name, words.count(len(checked.listing.entries), 'file'),
                    words.count(len(checked.classes), 'class', 'classes'), checked.media_fingerprint)
