"""Which entries go into which output file."""

from media import shards
from media.entries import Entry


def test_shards_follow_the_number_of_entries_and_their_bytes():
    entries = [Entry(f'{i}', ('a',), 'train') for i in range(10_000)] + [Entry('e', ('a',), 'eval')]

    def count(sizes):
        return {split: len(s) for split, s in shards.plan_shards(entries, sizes, 'image').items()}

    assert count([1] * 10_001) == {'train': 10, 'eval': 1}
    assert count([100_000] * 10_000 + [-1]) == {'train': 15, 'eval': 1}
    planned = shards.plan_shards(entries, [1] * 10_001, 'image')
    assert {len(shard) for shard in planned['train']} == {1_000}
    assert {e.id for shard in planned['train'] for e in shard} == {str(i) for i in range(10_000)}
    # By a hash of the id: neither in the order of the list nor another one at the next run.
    assert [e.id for e in planned['train'][0]] != sorted(e.id for e in planned['train'][0])
    assert planned == shards.plan_shards(entries[::-1], [1] * 10_001, 'image')
