"""Label groups: the questions that a task asks about one example, such as ('verb', 'noun'). No TensorFlow here.

All labels of a task are in one vocabulary. A prefix names the group of each: 'verb:cut', 'noun:onion'.
"""

from model_code.errors import ConfigError


def grouped(group: str, label: str) -> str:
    """The label of a group as the vocabulary has it."""
    return f'{group}:{label}'


def check_names(where: str, groups: tuple[str, ...]):
    """Raises ConfigError if names of label groups are not valid. where: such as 'Task digits: '."""
    wrong = [name for name in groups if not name or ':' in name or name == 'joint' or groups.count(name) > 1]
    if wrong or len(groups) < 2:
        raise ConfigError(f"{where}label_groups is {groups}; it must be two or more different names without a colon, "
                          "and none may be 'joint', which stands for all groups together.")


def class_ids(where: str, groups: tuple[str, ...], labels) -> tuple[tuple[int, ...], ...]:
    """For each label group, the ids of its classes: their places in `labels`, a vocabulary. () without label groups.

    Raises ConfigError if a label belongs to no group, or a group has no label. where: such as 'Task digits: '.
    """
    if not groups:
        return ()
    prefixes = [label.split(':', 1)[0] if ':' in label else '' for label in labels]
    for label, prefix in zip(labels, prefixes, strict=True):
        if prefix not in groups:
            raise ConfigError(f'{where}the label {label!r} is in none of its label_groups {groups}. Write it as '
                              f'<group>:<label>, such as {groups[0]}:{label}.')
    for group in groups:
        if group not in prefixes:
            raise ConfigError(f'{where}no label starts with {group + ":"!r}; each label group needs at least one '
                              'label.')
    return tuple(tuple(i for i, prefix in enumerate(prefixes) if prefix == group) for group in groups)
