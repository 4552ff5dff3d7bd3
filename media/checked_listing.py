"""Lists a task's media and judges them by their names alone, before anything is read.

The runner of one machine does this before a run, MediaListing on a cluster when the run starts.
"""

import dataclasses

from media import listing
from media.entries import Listing
from media.findings import Findings
from media.verdict import reasons_to_stop, remarks
from model_code.data import Source
from model_code.errors import ConfigError
from model_code.logger import logger
from model_code.tasks import Checks


@dataclasses.dataclass(frozen=True)
class CheckedListing:
    """A task's media, and what follows from them: all its classes, listing.media_fingerprint, and split -> groups."""
    listing: Listing
    classes: tuple[str, ...]
    media_fingerprint: str
    groups: dict[str, int]


def list_checked(source: Source, checks: Checks) -> CheckedListing:
    """Lists a task's media, and logs what is odd about their names.

    Raises ConfigError if they cannot be listed, or if their names alone show that a run would stop.
    """
    listed = listing.list_media(source)
    findings = name_findings(listed)
    classes = source.data.classes or sorted(listing.train_labels(listed))
    reasons = reasons_to_stop(source, checks, findings, classes, listed.rejected_labels)
    if reasons:
        raise ConfigError(' '.join(reasons))
    for remark in (*listed.remarks, *remarks(checks, findings)):
        logger.warning('%s: %s', source.name, remark)
    return CheckedListing(listed, tuple(classes), listing.media_fingerprint(source, listed),
                          findings.groups)


def name_findings(listed: Listing) -> Findings:
    """The findings from the names alone, as if every file could be read. Reading the files can only add to them."""
    findings = Findings()
    for entry in listed.entries:
        findings.add_example(entry)
    findings.add_listing(listed)
    for rejection in listed.rejected:
        findings.add_rejected(rejection)
    return findings
