"""media.shards: which entries go into which output file."""

from media import shards
from media.entries import Entry, unpack


def _planned(entries, sizes):
    """split -> the entries of each shard."""
    plan, planned = shards.ShardPlan('image'), {'train': [], 'eval': []}
    for entry, size in zip(entries, sizes, strict=True):
        plan.add(entry, size)
    for shard in plan:
        assert shard.index == len(planned[shard.split])
        planned[shard.split].append(unpack(shard.entries))
    assert [shard.count for shard in plan] == [len(planned[shard.split]) for shard in plan]
    return planned


def test_the_number_of_shards_follows_from_the_entries_and_their_bytes():
    entries = [Entry(f'{i}', ('a',), 'train') for i in range(10_000)] + [Entry('e', ('a',), 'eval')]

    def count(sizes):
        return {split: len(planned) for split, planned in _planned(entries, sizes).items()}

    assert count([1] * 10_001) == {'train': 10, 'eval': 1}
    assert count([100_000] * 10_000 + [-1]) == {'train': 15, 'eval': 1}
    planned = _planned(entries, [1] * 10_001)
    assert {len(shard) for shard in planned['train']} == {1_000}
    assert {e.id for shard in planned['train'] for e in shard} == {str(i) for i in range(10_000)}
    # Sorted by a hash of the id: not in the order of the listing, but the same in every run.
    assert [e.id for e in planned['train'][0]] != sorted(e.id for e in planned['train'][0])
    assert planned == _planned(entries[::-1], [1] * 10_001)


def test_a_plan_that_does_not_fit_into_memory_is_the_same_plan(monkeypatch):
    entries = [Entry(f'{i}', ('ä', 'b'), 'train', 0.1, 2.5, extra=(('site', 'x'),)) for i in range(2_500)]
    before = _planned(entries, [1] * len(entries))
    monkeypatch.setattr('media.rows.MEMORY_ROWS', 100)
    assert len(before['train']) == 3 and _planned(entries, [1] * len(entries)) == before
