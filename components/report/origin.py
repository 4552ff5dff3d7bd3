"""The report's part on what made the model: hashes and versions of libraries."""

_NAMES = {'config_digest': 'Config', 'code_version': 'Code'}


def lines(card: dict, parent: str) -> list[tuple[str, str]]:
    """(name, text) of what the model card says of where the model comes from. parent: the version compared with."""
    found = [(name, card[key]) for key, name in _NAMES.items() if card.get(key)]
    found += [(f'Media of {task}', digest) for task, digest in (card.get('media_fingerprints') or {}).items()]
    found += [(library, version) for library, version in (card.get('versions') or {}).items()]
    if card.get('parent'):
        of = card['parent']
        found.append(('Weights from', f'{"version " + of["version"] if of["version"] else of["model_digest"]}, but for '
                                      f'{", ".join(of["trained"])}'))
    return found + ([('Compared with', f'version {parent}')] if parent else [])
