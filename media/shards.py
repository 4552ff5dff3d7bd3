"""Plans which entries go into which output file."""

import hashlib
import itertools
import math

from media.entries import SPLITS, Entry
from model_code.modalities import get_modality

# The limit on an output file, beside its modality's `shard_entries`. A file is also one element of MediaExampleGen's
# Beam pipeline: small enough for workers to share the data evenly, and large enough for the overhead per element and
# file not to matter.
SHARD_BYTES = 64 << 20


def plan_shards(entries: list[Entry], sizes: list[int], modality: str) -> dict[str, list[list[Entry]]]:
    """split -> the entries of each output file. A split has at least one file, which may be empty.

    Entries are sorted by a hash of their ids, so the files are the same in every run and not ordered by class. sizes:
    bytes of each entry.
    """
    max_entries, shards = get_modality(modality).shard_entries, {}
    for split in SPLITS:
        hashed = [(hashlib.sha256(entry.id.encode()).digest(), entry) for entry in entries if entry.split == split]
        total = sum(max(size, 0) for entry, size in zip(entries, sizes, strict=True) if entry.split == split)
        ordered = [entry for _, entry in sorted(hashed, key=lambda pair: pair[0])]
        count = max(1, math.ceil(total / SHARD_BYTES), math.ceil(len(ordered) / max_entries))
        bounds = [len(ordered) * i // count for i in range(count + 1)]
        shards[split] = [ordered[begin:end] for begin, end in itertools.pairwise(bounds)]
    return shards
