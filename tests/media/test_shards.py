"""media.shards: which entries go into which output file."""

from media import shards
from media.entries import Entry


def test_the_number_of_shards_follows_from_the_entries_and_their_bytes():
    entries = [Entry(f'{i}', ('a',), 'train') for i in range(10_000)] + [Entry('e', ('a',), 'eval')]

    def count(sizes):
        return {split: len(planned) for split, planned in shards.plan_shards(entries, sizes, 'image').items()}

    assert count([1] * 10_001) == {'train': 10, 'eval': 1}
    assert count([100_000] * 10_000 + [-1]) == {'train': 15, 'eval': 1}
    planned = shards.plan_shards(entries, [1] * 10_001, 'image')
    assert {len(shard) for shard in planned['train']} == {1_000}
    assert {e.id for shard in planned['train'] for e in shard} == {str(i) for i in range(10_000)}
    # Sorted by a hash of the id: not in the order of the listing, but the same in every run.
    assert [e.id for e in planned['train'][0]] != sorted(e.id for e in planned['train'][0])
    assert planned == shards.plan_shards(entries[::-1], [1] * 10_001, 'image')
