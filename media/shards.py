"""Which entries go into which output file."""

import hashlib
import itertools
import math

from media.entries import SPLITS, Entry
from model_code.modalities import get_modality

# What one output file holds at most, beside its modality's `shard_entries`. It is also one element of MediaExampleGen's
# Beam pipeline: small enough that workers share the data evenly, large enough that an element's overhead and a file's
# do not count.
SHARD_BYTES = 64 << 20


def plan_shards(entries: list[Entry], sizes: list[int], modality: str) -> dict[str, list[list[Entry]]]:
    """The entries of each output file: split -> files. At least one per split, which may be empty.

    An entry's place follows from a hash of its id: the files are the same at every run, and their order is not that of
    the classes. sizes: bytes of each entry.
    """
    most, shards = get_modality(modality).shard_entries, {}
    for split in SPLITS:
        chosen = [(hashlib.sha256(e.id.encode()).digest(), e) for e in entries if e.split == split]
        total = sum(max(size, 0) for entry, size in zip(entries, sizes, strict=True) if entry.split == split)
        ordered = [entry for _, entry in sorted(chosen, key=lambda pair: pair[0])]
        count = max(1, math.ceil(total / SHARD_BYTES), math.ceil(len(ordered) / most))
        bounds = [len(ordered) * i // count for i in range(count + 1)]
        shards[split] = [ordered[a:b] for a, b in itertools.pairwise(bounds)]
    return shards
