"""`polyvit data check`: reads every file with the readers of the pipeline; what would be rejected, and what is twice.

Twice within a split is waste; twice between splits is a leak: the model is then evaluated on what it was trained on.
"""

import collections
import hashlib
import posixpath

from model_code.errors import ConfigError

_SHOWN = 10


def check_media(config) -> dict:
    """Reads all media of a config.

    Returns {'config', 'tasks': [{'name', 'modality', 'data', 'files': {split: count}, 'classes': {label: count},
    'rejected': [{'path', 'reason', 'detail'}], 'duplicates': [[path, ...]], 'leaks': [[path, ...]],
    'contradictions': [[path, ...]], 'ok': bool}]}. A duplicate is equal bytes within a split, a leak between splits, a
    contradiction has different labels. ok: rejected files are within the task's limit, and there is no leak.
    Raises ConfigError as the pipeline would.
    """
    return {'config': config.name, 'tasks': [_check_task(t, config.model.input(t.modality))
                                             for t in config.mixture.tasks]}


def _check_task(task, spec) -> dict:
    from components.media_example_gen import listing, readers
    if not task.data:
        raise ConfigError(f'Task {task.name} names no data folder. Set data=... of the task, or give --data.')
    found = listing.list_media(task)
    entries, rejected = found.entries, list(found.rejected)
    copies = collections.defaultdict(list)
    for entry in entries:
        try:
            content = readers.read_bytes(posixpath.join(task.data, entry.path), readers.LIMITS[task.modality].bytes)
            readers.read(task.modality, content, spec)
        except readers.MediaError as error:
            rejected.append({'path': entry.path, 'reason': error.reason, 'detail': error.detail})
            continue
        copies[hashlib.sha256(content).digest()].append(entry)
    twice = [group for group in copies.values() if len(group) > 1]
    leaks = [[e.path for e in group] for group in twice if len({e.split for e in group}) > 1]
    return {
        'name': task.name, 'modality': task.modality, 'data': task.data,
        'files': dict(collections.Counter(e.split for e in entries)),
        'classes': dict(sorted(collections.Counter(label for e in entries for label in e.labels).items())),
        'rejected': rejected,
        'duplicates': [[e.path for e in group] for group in twice if len({e.split for e in group}) == 1],
        'leaks': leaks,
        'contradictions': [[e.path for e in group] for group in twice if len({e.labels for e in group}) > 1],
        'ok': len(rejected) <= task.max_rejected_share * (len(entries) + len(found.rejected)) and not leaks,
    }


def render(found: dict) -> str:
    """The result as text for a terminal."""
    lines = []
    for task in found['tasks']:
        counts = ', '.join(f'{count:,} {split}' for split, count in sorted(task['files'].items(), reverse=True))
        lines.append(f'{task["name"]} ({task["modality"]}, {task["data"]}): {counts} files, '
                     f'{len(task["classes"])} classes')
        reasons = collections.Counter(r['reason'] for r in task['rejected'])
        for reason, count in reasons.most_common():
            lines.append(f'  {count} would be rejected: {reason}')
            shown = [r for r in task['rejected'] if r['reason'] == reason]
            lines += [f'    {r["path"]}: {r["detail"]}' for r in shown[:_SHOWN]]
            lines += [f'    and {count - _SHOWN} more'] * (count > _SHOWN)
        for key, words in (('duplicates', 'the same bytes twice in one split'),
                           ('leaks', 'the same bytes in train and eval: a leak'),
                           ('contradictions', 'the same bytes with different labels')):
            if task[key]:
                lines.append(f'  {len(task[key])} times {words}')
                lines += [f'    {" = ".join(group)}' for group in task[key][:_SHOWN]]
                lines += [f'    and {len(task[key]) - _SHOWN} more'] * (len(task[key]) > _SHOWN)
        lines.append('  ready to run' if task['ok'] else '  not ready: mend or remove the files above')
    return '\n'.join(lines)
