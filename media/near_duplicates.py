"""Near duplicates: examples whose media were re-encoded, resized, slightly cropped, brightened or trimmed.

Each example has a fingerprint (media/fingerprints): hashes, which are nearly the same for near duplicates, and what is
needed to compare two examples closely. All pairs are never compared. The hashes of all examples are put into tables by
some of their bits (locality-sensitive hashing: Indyk and Motwani 1998, Manku et al. 2007 for images of a web). Within a
bucket of a table, each hash is compared with those that follow it, up to a bound on the comparisons in a table; close
hashes make a candidate. Then the fingerprints of each candidate are compared.

The parts are plain functions of packed bytes, so that MediaExampleGen runs them on workers, and `polyvit data check` in
one process, with the same result, whatever the order.
"""

import collections
import functools
import itertools
import math
import os
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from media import rows
from media.findings import Findings
from media.sandbox.parent import Decoded
from model_code import file_io
from model_code.modalities import get_modality

# So many comparisons per hash in a table of a group, and at least so many in all. So a bucket with a million hashes
# costs no more than a thousand buckets with a thousand each, and of a few hundred hashes all are compared.
NEIGHBOURS = 32
LEAST_COMPARISONS = 1 << 22
# About this many hashes in tables are in memory at once.
GROUP_ROWS = 500_000
SHARD_ROWS = 1_024  # examples in one file of fingerprints, in one process
_COMPARED = 256  # pairs of fingerprints that are compared at once
_CACHED_SHARDS = 32  # files of fingerprints in memory, some 1 MB each

# One hash of one example of a shard. row: the example's place in the shard. view: which of the example's hashes it is;
# 0 is that of the whole. tables: bit t is 1 if it is in a bucket of table t.
_HASH = np.dtype([('hash', '<u8'), ('row', '<u2'), ('tables', '<u2'), ('view', 'u1')])
_NUMBER = struct.Struct('<I')  # of the shard, before its hashes; of bytes, before an index


def fingerprinted(modality: str) -> bool:
    """Whether near duplicates are looked for in this modality."""
    return bool(get_modality(modality).fingerprint_module)


def bits(total: int) -> int:
    """The bits of a table's keys among `total` examples: so many that a bucket has but a few hashes by chance."""
    return min(26, max(8, math.ceil(math.log2(max(1, total))) + 2))


def groups(total: int) -> int:
    """In how many groups the buckets are put, each of which fits into memory. An example has some 24."""
    return math.ceil(total * 24 / GROUP_ROWS) or 1


def example_of(decoded: Decoded) -> tuple:
    """(id, split, labels, digest as hex digits, fingerprint) of an example."""
    entry = decoded.entry
    return entry.id, entry.split, entry.labels, decoded.digest.hex(), decoded.fingerprint


# One shard's part: what a worker does with the fingerprints that it has just made.

def to_rows(modality: str, examples: list[tuple], shard: int, total: int) -> Iterator[tuple[int, bytes]]:
    """(group, hashes that have buckets in it) of the examples of a shard, as from example_of."""
    places = [place for place, example in enumerate(examples) if example[4]]
    if not places:
        return
    module = get_modality(modality).fingerprints
    hashes, owners, views = module.hashes([examples[place][4] for place in places])
    count = len(hashes)
    found = np.zeros(count, _HASH)
    found['hash'], found['row'], found['view'] = hashes, np.array(places)[owners], views
    # Keys are near each other in few bits, so they are spread by a multiplication (Knuth's).
    keys = np.concatenate([table << 26 | _key(hashes, chosen)
                           for table, chosen in enumerate(_chosen_bits(module.TABLES, bits(total)))])
    group = keys.astype(np.uint64) * np.uint64(2654435761) % np.uint64(1 << 32) % np.uint64(groups(total))
    order = np.argsort(group, kind='stable')
    numbers, begins = np.unique(group[order], return_index=True)
    for number, part in zip(numbers, np.split(order, begins[1:]), strict=True):
        tables = np.bincount(part % count, 1 << part // count).astype(np.uint16)
        rows_in_group = np.flatnonzero(tables)
        its = found[rows_in_group]
        its['tables'] = tables[rows_in_group]
        yield int(number), _NUMBER.pack(shard) + its.tobytes()


@functools.lru_cache(maxsize=4)
def _chosen_bits(tables: int, count: int) -> list[list[int]]:
    """For each table `count` of the 64 bits of a hash. The first are the most reliable, so they are preferred."""
    rng = np.random.default_rng(2004)
    weights = np.where(np.arange(64) < 40, 1.0, 0.25)
    return [sorted(rng.choice(64, count, replace=False, p=weights / weights.sum()).tolist()) for _ in range(tables)]


def _key(hashes: np.ndarray, chosen: list[int]) -> np.ndarray:
    key = np.zeros(len(hashes), np.uint32)
    for place, bit in enumerate(chosen):
        key |= ((hashes >> np.uint64(bit)) & np.uint64(1)).astype(np.uint32) << np.uint32(place)
    return key


# One group of buckets.

def candidates(modality: str, packed: Iterable[bytes], total: int) -> tuple[list[tuple[int, int, int, int]], int]:
    """((shard, row, shard, row) of two examples with close hashes, the first the smaller), hashes that were not
    compared with all in their bucket.

    packed: all hashes of a group, from the shards of `total` examples. No pair is twice in the list.
    """
    module = get_modality(modality).fingerprints
    hashes, places, views, tables = _unpacked(packed)
    pairs, cut = [np.zeros((0, 2), np.int64)], 0
    for table, chosen in enumerate(_chosen_bits(module.TABLES, bits(total))):
        inside = np.flatnonzero(tables >> table & 1)
        keys = _key(hashes[inside], chosen)
        order = np.argsort(keys, kind='stable')  # within a bucket, hashes stay sorted
        keys, inside = keys[order], inside[order]
        at, left = np.arange(len(keys)), max(NEIGHBOURS * len(keys), LEAST_COMPARISONS)
        for step in itertools.count(1):
            at = at[:np.searchsorted(at, len(keys) - step)]
            at = at[keys[at] == keys[at + step]]
            left -= len(at)
            if not len(at) or left < 0:
                cut += len(at)
                break
            one, other = inside[at], inside[at + step]
            close = ((views[one] == 0) | (views[other] == 0)) & (places[one] != places[other])
            one, other = one[close], other[close]
            close = _different_bits(hashes[one] ^ hashes[other]) <= module.MAX_DIFFERENT
            pairs.append(np.sort(np.stack([places[one[close]], places[other[close]]], axis=1), axis=1))
    unique = np.unique(np.concatenate(pairs), axis=0)
    return [(int(a >> 16), int(a & 0xffff), int(b >> 16), int(b & 0xffff)) for a, b in unique], cut


def _unpacked(packed: Iterable[bytes]):
    """(hashes, places of their examples, views, tables), each [n], sorted by hash: the same for any order of shards."""
    found, places = [], []
    for content in packed:
        its = np.frombuffer(content, _HASH, offset=_NUMBER.size)
        found.append(its)
        places.append(_NUMBER.unpack_from(content)[0] << 16 | its['row'].astype(np.int64))
    found, places = np.concatenate(found), np.concatenate(places)
    order = np.lexsort((found['view'], places, found['hash']))
    return found['hash'][order], places[order], found['view'][order], found['tables'][order]


def _different_bits(values: np.ndarray) -> np.ndarray:
    """The number of bits that are 1 in each of [n] uint64."""
    return np.unpackbits(np.ascontiguousarray(values).view(np.uint8)).reshape(-1, 64).sum(axis=1)


# The fingerprints of candidates, compared.

def write_fingerprints(folder: str, shard: int, examples: list[tuple]):
    """Keeps the examples of a shard, as from example_of, for `verified`."""
    index = rows.pack([(*example[:4], len(example[4])) for example in examples])
    file_io.write(_path(folder, shard), b''.join(
        [_NUMBER.pack(len(index)), index, *(example[4] for example in examples)]))


def _examples(content: bytes) -> list[tuple]:
    """The examples in a file of write_fingerprints."""
    at = _NUMBER.size + _NUMBER.unpack_from(content)[0]
    examples = []
    for *example, length in rows.unpack(content[_NUMBER.size:at]):
        examples.append((*example, content[at:at + length]))
        at += length
    return examples


def _path(folder: str, shard: int) -> str:
    return os.path.join(folder, f'{file_io.TEMPORARY}fingerprints-{shard}')


class Fingerprints:
    """The fingerprints that write_fingerprints has left in a folder. The last few files are in memory."""

    def __init__(self, folder: str):
        self._folder, self._shards = folder, collections.OrderedDict()

    def __getitem__(self, place: tuple[int, int]) -> tuple:
        shard, row = place
        if shard not in self._shards:
            self._shards[shard] = _examples(file_io.read_bytes(_path(self._folder, shard)))
        self._shards.move_to_end(shard)
        if len(self._shards) > _CACHED_SHARDS:
            self._shards.popitem(last=False)
        return self._shards[shard][row]


def verified(modality: str, pairs: Iterable[tuple[int, int, int, int]], fingerprints: Fingerprints,
             progress: Callable[[int], None] = lambda done: None) -> Findings:
    """The findings of those candidates that are near duplicates. Equal media are none: they are reported as such.

    progress: called after some pairs were compared, with how many were so far.
    """
    module, findings, done = get_modality(modality).fingerprints, Findings(), 0
    pairs = iter(sorted(pairs))
    while chunk := list(itertools.islice(pairs, _COMPARED)):
        examples = [(fingerprints[shard, row], fingerprints[other_shard, other_row])
                    for shard, row, other_shard, other_row in chunk]
        examples = [(one, other) for one, other in examples if one[3] != other[3]]
        differences = module.differences([(one[4], other[4]) for one, other in examples])
        for (one, other), difference in zip(examples, differences, strict=True):
            if difference is not None:
                findings.add_near(tuple(one[:3]), tuple(other[:3]), difference)
        done += len(chunk)
        progress(done)
    return findings


class InOneProcess:
    """Finds near duplicates in one process, with what is not in memory in a temporary folder. `close` removes it."""

    def __init__(self, modality: str, total: int):
        self._modality, self._total = modality, total
        self._folder = tempfile.TemporaryDirectory()
        self._examples, self._shards, self._groups = [], 0, {}

    def add(self, decoded: Decoded):
        self._examples.append(example_of(decoded))
        if len(self._examples) >= SHARD_ROWS:
            self._end_shard()

    def _end_shard(self):
        write_fingerprints(self._folder.name, self._shards, self._examples)
        for group, packed in to_rows(self._modality, self._examples, self._shards, self._total):
            path = os.path.join(self._folder.name, f'group-{group}')
            with open(path, 'ab') as file:
                self._groups.setdefault(group, []).append(file.write(packed))
        self._examples, self._shards = [], self._shards + 1

    def findings(self, progress: Callable[[int, int, str], None] = lambda *unused: None) -> Findings:
        """The findings about near duplicates among all examples that were added.

        progress: called with how much is done, how much there is, and what it is: groups of hashes, then pairs.
        """
        self._end_shard()
        pairs, cut = set(), 0
        for done, (group, sizes) in enumerate(sorted(self._groups.items())):
            progress(done, len(self._groups), 'group')
            with open(os.path.join(self._folder.name, f'group-{group}'), 'rb') as file:
                found, its_cut = candidates(self._modality, [file.read(size) for size in sizes], self._total)
            pairs.update(found)
            cut += its_cut
            progress(done + 1, len(self._groups), 'group')
        findings = verified(self._modality, pairs, Fingerprints(self._folder.name),
                            lambda compared: progress(compared, len(pairs), 'pair'))
        findings.near_cut.count += cut
        self._folder.cleanup()
        return findings
