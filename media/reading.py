"""From entries to examples: media is decoded, and what became of each entry is counted."""

import dataclasses
from collections.abc import Iterable

from media.entries import Entry
from media.findings import Findings
from media.rejections import Rejection
from media.sandbox.parent import Decoded, Decoder
from model_code.modalities import get_modality


def decode(decoder: Decoder, entries: list[Entry], modality: str) -> Iterable[Decoded]:
    """One Decoded per entry, in their order; what TensorFlow could not decode in training is rejected (tf_check)."""
    return get_modality(modality).only_decodable(decoder.read(entries))


@dataclasses.dataclass
class Gathered:
    """What is known of some of a task's entries once they are decoded; equal media are still to be found.

    copies: (digest, id, split, labels) of each example, as Findings.add_copies takes them. rejected is not yet counted
    in findings: those of the listing are added to it first.
    """
    findings: Findings = dataclasses.field(default_factory=Findings)
    rejected: list[Rejection] = dataclasses.field(default_factory=list)
    copies: list[tuple[bytes, str, str, tuple[str, ...]]] = dataclasses.field(default_factory=list)

    def add(self, decoded: Decoded):
        """Counts a decoded entry; keeps nothing of its media."""
        entry = decoded.entry
        if decoded.rejection:
            self.rejected.append(decoded.rejection.at(entry.id))
        else:
            self.findings.add_example(entry, decoded.notes)
            self.copies.append((decoded.digest, entry.id, entry.split, entry.labels))
