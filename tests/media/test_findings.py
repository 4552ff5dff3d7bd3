"""media.findings and media.verdict: what is counted and named, and what stops a run."""

from media import checks, verdict
from media import entries as entries_module
from media.entries import Entry, Listing
from media.findings import Findings, LongTally
from media.rejections import Rejection
from media.sandbox.parent import Decoded
from model_code.tasks import Checks


def _gather(rows, rejected=()):
    """rows: (id, label, split, digest, notes or a Rejection)."""
    entries = [Entry(name, (label,), split) for name, label, split, _, _ in rows]
    decoded = [Decoded(entry, rejection=outcome) if isinstance(outcome, Rejection)
               else Decoded(entry, {}, outcome, digest)
               for entry, (_, _, _, digest, outcome) in zip(entries, rows, strict=True)]
    return checks.gather(Listing(entries, list(rejected)), decoded)


def _plain(count, label='a', split='train', start=0):
    return [(f'{split}/{label}/{i}', label, split, f'{label}{split}{i}'.encode(), ()) for i in range(start, count)]


def test_every_entry_becomes_an_example_or_a_rejection_and_is_counted():
    findings, rejected = _gather(
        _plain(3) + _plain(2, 'b') + _plain(1, split='eval')
        + [('x', 'a', 'train', b'', Rejection('empty', 'No bytes.'))],
        [Rejection('bad_label', 'It is empty.', 'line 3')])
    assert findings.examples == {'train': 5, 'eval': 1} and findings.total == 8 == 6 + len(rejected)
    assert findings.classes == {'a': {'train': 3, 'eval': 1}, 'b': {'train': 2}}
    assert rejected == [Rejection('bad_label', 'It is empty.', 'line 3'), Rejection('empty', 'No bytes.', 'x')]
    assert {reason: tally.count for reason, tally in findings.rejected.items()} == {'bad_label': 1, 'empty': 1}


def test_what_a_data_set_says_of_itself_stays_with_its_findings():
    findings = Findings()
    findings.add_listing(Listing([], [], about={'license': 'CC0'}))
    assert Findings.from_dict(Findings().merge(findings).to_dict()).about == {'license': 'CC0'}


def test_the_same_media_are_a_duplicate_a_leak_or_a_contradiction():
    findings, _ = _gather([
        ('t1', 'a', 'train', b'1', ()), ('t2', 'a', 'train', b'1', ()),
        ('t3', 'a', 'train', b'2', ()), ('e3', 'a', 'eval', b'2', ()),
        ('t4', 'a', 'train', b'3', ()), ('t5', 'b', 'train', b'3', ()), ('e5', 'b', 'eval', b'3', ()),
        ('t6', 'a', 'train', b'4', ())])
    assert findings.duplicates == LongTally(2, [['e5', 't4', 't5'], ['t1', 't2']])
    assert findings.leaks == LongTally(2, [['e3', 't3'], ['e5', 't4']])
    assert findings.contradictions == LongTally(1, [['e5', 't4', 't5']])
    stop, = verdict.stops('shapes', Checks(), findings)
    assert stop.startswith('Task shapes: equal media are both in train and in eval (2 groups)')
    assert 'e3 = t3; e5 = t4' in stop
    assert verdict.stops('shapes', Checks(allow_leaks=True), findings) == []
    remarks = verdict.remarks(Checks(), findings)
    assert any(line.startswith('2 groups of equal media both in train and in eval') for line in remarks)


def test_missing_files_have_a_limit_of_their_own():
    gone = [(f'g{i}', 'a', 'train', b'', Rejection('missing', 'There is no such file.')) for i in range(2)]
    bad = [('bad', 'a', 'train', b'', Rejection('truncated', 'It ends.'))]
    findings, _ = _gather(_plain(97) + gone + bad)
    stop, = verdict.stops('shapes', Checks(), findings)
    assert '2 of 100 files (2.0%) are missing, more than the 1.0%' in stop and 'max_missing_share' in stop
    assert verdict.stops('shapes', Checks(max_missing_share=0.02), findings) == []
    findings, _ = _gather(_plain(96) + gone + bad * 2)
    assert 'could not be read' in verdict.stops('shapes', Checks(max_missing_share=0.02), findings)[0]


def test_one_missing_file_is_missing():
    findings = Findings({'train': 2})
    findings.add_rejected(Rejection('missing', 'There is no such file.', 'a.png'))
    stop, = verdict.stops('shapes', Checks(), findings)
    assert stop.startswith('Task shapes: 1 of 3 files (33.3%) is missing, more than the 1.0%')


def test_classes_that_the_evaluation_says_nothing_about():
    some = _plain(3) + _plain(1, 'a', 'eval')
    findings, _ = _gather(some + _plain(1, 'ship'))
    assert '1 class without an eval example: ship (1 train)' in verdict.remarks(Checks(), findings)
    assert verdict.stops('shapes', Checks(), findings) == []
    findings, _ = _gather(some + [entry for i in range(12) for entry in _plain(2, f'c{i:02d}')])
    line, = (line for line in verdict.remarks(Checks(), findings) if 'without an eval' in line)
    assert line.startswith('12 classes without an eval example: c00 (2 train), ') and line.endswith(' and 2 more')
    assert 'c09 (2 train)' in line and 'c10' not in line
    for none in (_plain(3), some):  # an eval split without any example stops a run; a class that has both is measured
        assert not any('without an eval' in line for line in verdict.remarks(Checks(), _gather(none)[0]))


def test_classes_that_are_absent_or_rare():
    findings, _ = _gather(_plain(3) + _plain(1, 'b') + _plain(2, 'c', 'eval'))
    assert verdict.rare_classes(Checks(), findings) == {'c': 0}
    stop, = verdict.stops('shapes', Checks(), findings)
    assert '1 class without a train example: c' in stop
    strict, classes = Checks(min_class_examples=2), ('a', 'b', 'c', 'd')
    assert verdict.rare_classes(strict, findings, classes) == {'b': 1, 'c': 0, 'd': 0}
    stop, = verdict.stops('shapes', strict, findings, classes)
    assert '2 classes without a train example: c, d.' in stop
    assert '1 class with fewer than 2 train examples: b (1)' in verdict.remarks(strict, findings)


def test_labels_that_differ_only_by_case_space_or_unicode_form():
    labels = ['Cat', 'cat', 'guinea pig', 'guinea  pig', 'caf\u00e9', 'cafe\u0301', '\uff46\uff4f\uff58', 'fox', 'dog']
    assert verdict.spelling_variants(labels) == [
        ['Cat', 'cat'], ['cafe\u0301', 'caf\u00e9'], ['fox', '\uff46\uff4f\uff58'], ['guinea  pig', 'guinea pig']]


def test_odd_media_are_kept_counted_and_listed():
    findings, _ = _gather([(f's{i:02d}', 'a', 'train', str(i).encode(), ('silent',)) for i in range(12)])
    assert findings.examples == {'train': 12} and verdict.stops('shapes', Checks(), findings) == []
    assert verdict.remarks(Checks(), findings)[-1] == (
        '12 silent sounds (the first 10): ' + ', '.join(f's{i:02d}' for i in range(10)))


def test_parts_merge_to_the_whole():
    rows = _plain(30) + [('x', 'b', 'train', b'', Rejection('empty', 'No bytes.'))] + [
        (f's{i:02d}', 'b', 'eval', f's{i}'.encode(), ('one_colour',)) for i in range(25)]
    whole, _ = _gather(rows)
    merged = Findings()
    for part in (rows[40:], rows[:7], rows[7:40]):
        merged.merge(Findings.from_dict(_gather(part)[0].to_dict()))
    assert merged.to_dict() == whole.to_dict()


def test_entries_survive_packing():
    entries = [Entry('a/b.tar', ('x', 'y'), 'train', 1.5, None, 512, 20, 'm.jpg', '', 'cam1',
                      (('speaker', 'caf\u00e9'),)),
               Entry('c.jpg', ('x',), 'eval')]
    assert entries_module.unpack(entries_module.pack(entries)) == entries
