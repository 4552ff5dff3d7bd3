"""Text is UTF-8 wherever it is read or written, whatever the locale says: what ruff's PLW1514 does not see."""

import ast
import pathlib

PROJECT = pathlib.Path(__file__).resolve().parents[1]
PACKAGES = ('polyvit', 'pipeline', 'components', 'serving', 'media', 'model_code', 'scripts', 'benchmarks')


def _lacks_encoding(call: ast.Call) -> bool:
    name, owner = getattr(call.func, 'attr', ''), getattr(getattr(call.func, 'value', None), 'id', '')
    words = {word.arg for word in call.keywords}
    return 'text' in words if owner == 'subprocess' else (
        name in ('read_text', 'write_text') and owner != 'file_io' and 'encoding' not in words)


def test_every_text_names_its_encoding():
    calls = [(f'{path.relative_to(PROJECT)}, line {node.lineno}', node)
             for package in PACKAGES for path in sorted((PROJECT / package).rglob('*.py'))
             for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Call)]
    assert [where for where, call in calls if _lacks_encoding(call)] == []
    assert sum(getattr(call.func, 'attr', '') == 'read_text' for _, call in calls) > 5
