"""What the names of media alone show, and reading all of them in several processes."""

from media import checked_listing, checks, listing
from media.findings import LongTally
from tests import testing


def test_the_check_of_names_counts_every_file_as_readable(tmp_path):
    task = testing.audio_task(tmp_path)
    testing.write(tmp_path, 'wav/train_low_0.wav', b'no sound')
    with open(tmp_path / 'manifest.csv', 'a') as manifest:
        manifest.write('../secret.wav,low,train\n')
    listed = listing.list_media(task.source)
    findings = checked_listing.name_findings(listed)
    assert findings.examples == {split: sum(e.split == split for e in listed.entries) for split in ('train', 'eval')}
    assert findings.total == len(listed.entries) + 1 and list(findings.rejected) == ['bad_path']
    assert findings.duplicates == LongTally() and findings.notes == {}
    read = checks.check_media(task.source, task.checks, testing.AUDIO_SPEC, workers=1)
    assert set(read['rejected']) == {'bad_path', 'unsupported'} and read['total'] == findings.total


def test_several_processes_find_the_same_as_one(tmp_path):
    for i in range(600):
        testing.write(tmp_path / 'media', f'train/{"ab"[i % 2]}/{i:03d}.png', testing.image_bytes(seed=i % 590))
    for name in ('003', '301', '599'):
        testing.write(tmp_path / 'media', f'train/b/{name}.png', b'')
    task = testing.image_task(tmp_path / 'unused', folder=str(tmp_path / 'media'), max_rejected_share=0.004)
    reported = []
    by_one = checks.check_media(task.source, task.checks, testing.IMAGE_SPEC, workers=1)
    by_three = checks.check_media(task.source, task.checks, testing.IMAGE_SPEC, workers=3,
                                  progress=lambda *values: reported.append(values))
    assert by_three == by_one
    assert [line['path'] for line in by_one['rejected_lines']] == [f'train/b/{n}.png' for n in ('003', '301', '599')]
    assert by_one['duplicates']['count'] == 8 and by_one['total'] == 600 and not by_one['ok']
    assert [values for values in reported if len(values) == 3] == [
        ('shapes', 0, 600), ('shapes', 256, 600), ('shapes', 512, 600), ('shapes', 600, 600)]
    assert {values[0] for values in reported[4:]} == {'shapes, near duplicates'}
