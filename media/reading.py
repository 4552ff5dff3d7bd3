"""From entries to examples: decodes media, and counts what became of each entry."""

import dataclasses
from collections.abc import Iterable

from media.entries import Entry
from media.findings import Findings
from media.rejections import Rejection
from media.rows import Rows
from media.sandbox.parent import Decoded, Decoder
from model_code.modalities import get_modality


def decode(decoder: Decoder, entries: list[Entry], modality: str) -> Iterable[Decoded]:
    """One Decoded per entry, in order. Rejects what TensorFlow could not decode in training (tf_check)."""
    return get_modality(modality).only_decodable(decoder.read(entries))


@dataclasses.dataclass
class Gathered:
    """What is known of some entries of a task once they are decoded.

    copies: (digest as hex digits, id, split, labels) of each example, for Findings.add_copies: the same media are yet
    to be found. They need not fit into memory.
    rejected: not yet in `findings`, because the rejections of the listing are added first.
    """
    findings: Findings = dataclasses.field(default_factory=Findings)
    rejected: list[Rejection] = dataclasses.field(default_factory=list)
    copies: Rows = dataclasses.field(default_factory=Rows)

    def add(self, decoded: Decoded):
        """Counts a decoded entry. Keeps nothing of its media."""
        entry = decoded.entry
        if decoded.rejection:
            self.rejected.append(decoded.rejection.at(entry.place))
        else:
            self.findings.add_example(entry, decoded.notes)
            self.copies.add((decoded.digest.hex(), entry.id, entry.split, entry.labels))
