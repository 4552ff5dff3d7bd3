"""Lists a task's media and judges them by their names alone, before anything is read.

The runner of one machine does this before a run, MediaListing on a cluster when the run starts.
"""

import dataclasses

from media import listing
from media.entries import Listing
from media.findings import Findings
from media.verdict import remarks, stops
from model_code import words
from model_code.data import Source
from model_code.errors import ConfigError
from model_code.logger import logger
from model_code.tasks import Checks


@dataclasses.dataclass(frozen=True)
class CheckedListing:
    """A task's media, and what follows from them: all its classes, and listing.media_fingerprint."""
    listing: Listing
    classes: tuple[str, ...]
    media_fingerprint: str


def list_checked(source: Source, checks: Checks) -> CheckedListing:
    """Lists a task's media, and logs what is odd about their names.

    Raises ConfigError if they cannot be listed, if the labels are wrong or too few, and if a run is sure to stop.
    """
    listed = listing.list_media(source)
    classes = listing.classes_of(source, listed)
    least = source.data.kind.least_classes
    if len(classes) < least:
        labels = f'only the label {classes[0]}' if classes else 'no label'
        raise ConfigError(f'Task {source.name}: its train split has {labels}, but a task needs at least '
                          f'{words.count(least, "label")}. Add examples of other classes.')
    if source.data.num_classes and source.data.num_classes != len(classes):
        raise ConfigError(f'Task {source.name}: num_classes is {source.data.num_classes}, but its data have '
                          f'{words.count(len(classes), "label")}. Leave num_classes out, or list the classes.')
    _check_names(source, checks, listed, classes)
    source.group_ids(classes)  # raises for a class that is in no label group
    return CheckedListing(listed, tuple(classes), listing.media_fingerprint(source, listed))


def _check_names(source: Source, checks: Checks, listed: Listing, classes: tuple[str, ...]):
    """An early hint of TaskValidator's verdict. ConfigError if a run is sure to stop."""
    findings = name_findings(listed)
    reasons = stops(source.name, checks, findings, classes)
    if reasons:
        raise ConfigError(' '.join(reasons))
    for remark in remarks(checks, findings):
        logger.warning('%s: %s', source.name, remark)


def name_findings(listed: Listing) -> Findings:
    """The findings from the names alone, as if every file could be read. Reading the files can only add to them."""
    findings = Findings()
    for entry in listed.entries:
        findings.add_example(entry)
    findings.add_torn_groups(listed.entries)
    for rejection in listed.rejected:
        findings.add_rejected(rejection)
    return findings
