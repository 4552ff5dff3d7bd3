"""Label groups: the questions that a task asks of one example, such as ('verb', 'noun'). No TensorFlow here.

All labels of a task are in one vocabulary, where a prefix tells the groups apart: 'verb:cut', 'noun:onion'.
"""

from model_code.errors import ConfigError


def grouped(group: str, label: str) -> str:
    """A group's label as it is in the vocabulary."""
    return f'{group}:{label}'


def check_names(where: str, groups: tuple[str, ...]):
    """Raises ConfigError for names of label groups that cannot be. where: 'Task digits: '."""
    wrong = [name for name in groups if not name or ':' in name or name == 'joint' or groups.count(name) > 1]
    if wrong or len(groups) < 2:
        raise ConfigError(f"{where}label_groups is {groups}; it must be two or more different names without a colon, "
                          "and none of them 'joint', which is all together.")


def class_ids(where: str, groups: tuple[str, ...], labels) -> tuple[tuple[int, ...], ...]:
    """For each label group, the places in `labels` (a vocabulary) of its classes; () without label groups.

    Raises ConfigError where a label is in none of the groups, or a group has no label. where: 'Task digits: '.
    """
    if not groups:
        return ()
    prefixes = [label.split(':', 1)[0] if ':' in label else '' for label in labels]
    for label, prefix in zip(labels, prefixes, strict=True):
        if prefix not in groups:
            raise ConfigError(f'{where}the label {label!r} is in none of its label_groups {groups}; it must be written '
                              f'{groups[0]}:... or another.')
    for group in groups:
        if group not in prefixes:
            raise ConfigError(f'{where}no label starts with {group + ":"!r}; each of its label_groups needs at least '
                              'one.')
    return tuple(tuple(i for i, prefix in enumerate(prefixes) if prefix == group) for group in groups)
