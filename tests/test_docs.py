"""README and docs/ say what is so: links lead somewhere, configs load, commands parse, tables agree with the code."""

import collections
import dataclasses
import pathlib
import re
import shlex
import subprocess
import unicodedata

import pytest

import polyvit
from pipeline import arguments, exit_codes, plan
from serving.limits import Limits

PROJECT = pathlib.Path(__file__).resolve().parent.parent
DOCS = PROJECT / 'docs'
PAGES = sorted([*PROJECT.glob('*.md'), *DOCS.glob('*.md')])
# Folders whose files the pages name. (What is under runs/ is written by a run.)
FOLDERS = ('benchmarks', 'components', 'docs', 'kubeflow', 'media', 'model_code', 'pipeline', 'polyvit', 'schemas',
           'scripts', 'serving', 'tests')


def _name(page: pathlib.Path) -> str:
    return str(page.relative_to(PROJECT))


def _blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of each fenced block."""
    return re.findall(r'^```(\w*)\n(.*?)^```', text, re.MULTILINE | re.DOTALL)


def _prose(text: str) -> str:
    """The text without fenced blocks."""
    return re.sub(r'^```.*?^```', '', text, flags=re.MULTILINE | re.DOTALL)


def _anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.+)$', _prose(text), re.MULTILINE)
    kept = (''.join(c for c in heading.lower() if unicodedata.category(c)[0] in 'LN' or c in ' -_')
            for heading in headings)
    return {heading.replace(' ', '-') for heading in kept}


@pytest.mark.parametrize('page', PAGES, ids=_name)
def test_links_lead_to_files_and_headings(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', _prose(page.read_text())):
        if re.match(r'[a-z]+:', target):
            continue
        path, _, anchor = target.partition('#')
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f'{_name(page)} links to {target}'
        if anchor:
            assert anchor in _anchors(file.read_text()), f'{_name(page)} links to {target}'


def test_every_benchmark_is_listed_and_make_bench_runs_those_that_are_said_to():
    benchmarks = {path.stem for path in (PROJECT / 'benchmarks').glob('*.py')
                  if "'__main__'" in path.read_text('utf-8')}
    table = {name.strip('`'): row for name, *row in _table('benchmarks.md', 'benchmark')}
    assert set(table) == benchmarks - {'serving_clients', 'jax_step'}, 'but for those that others start'
    run, = re.findall(r'^BENCHMARKS \?= (.*)$', (PROJECT / 'Makefile').read_text('utf-8'), re.MULTILINE)
    assert run.split() == [name for name, row in table.items() if row[1] == 'yes']


def test_the_index_has_every_page():
    linked = set(re.findall(r'\]\((\w+\.md)\)', (DOCS / 'README.md').read_text()))
    assert linked == {page.name for page in DOCS.glob('*.md')} - {'README.md'}


@pytest.mark.parametrize('page', PAGES, ids=_name)
def test_files_and_folders_that_a_page_names_exist(page):
    named = re.findall(rf'`((?:{"|".join(FOLDERS)})/[\w./-]*)', _prose(page.read_text()))
    assert not [path for path in named if not (PROJECT / path.rstrip('.')).exists()]


def test_the_readme_has_every_folder():
    table = ' '.join(folder for folder, _ in _table('../README.md', 'folder'))
    listed = subprocess.run(['git', 'ls-files'], cwd=PROJECT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip('not a checkout of git')
    folders = {path.split('/')[0] for path in listed.stdout.splitlines() if '/' in path and path[0] != '.'}
    assert folders and not [folder for folder in folders if f'{folder}/' not in table]


def test_the_modules_of_the_model_exist():
    modules = [module for _, module in _table('model.md', 'part')]
    assert modules and not [module for module in modules if not (PROJECT / 'model_code' / module).exists()]


def _python_blocks():
    return [pytest.param(content, id=f'{_name(page)}-{number}') for page in PAGES
            for number, (language, content) in enumerate(_blocks(page.read_text())) if language == 'python']


@pytest.mark.parametrize('content', _python_blocks())
def test_python_is_valid_and_configs_can_be_planned(content, tmp_path):
    if 'def get_config' in content:
        path = tmp_path / 'config.py'
        path.write_text(content)
        made = plan.make_plan(polyvit.load_config(str(path)))
        assert made.total_steps > 0 and all(task.tokens > 1 for task in made.tasks)
    else:
        exec(content, {name: getattr(polyvit, name) for name in polyvit.__all__})


def _commands(text: str) -> set[str]:
    """What a person may type of `polyvit`: lines of code blocks that have no language, and code in the prose.

    Two spaces end a command: what follows says what it does.
    """
    blocks = [content for language, content in _blocks(text) if not language]
    lines = [line for block in blocks for line in block.splitlines()]
    lines += re.findall(r'^ {4,}(.+)$', _prose(text), re.MULTILINE)
    commands = [command for line in lines for command in line.split('&&')] + re.findall(r'`([^`]+)`', _prose(text))
    return {' '.join(re.split(r' {2,}', command.strip())[0].split()) for command in commands
            if re.match(r'polyvit [a-z]', command.strip())}


def _all_commands():
    return sorted({(_name(page), command) for page in PAGES for command in _commands(page.read_text())})


@pytest.mark.parametrize('page, command', _all_commands())
def test_command_lines_parse(page, command, capsys):
    words = shlex.split(command)[1:]
    only_named = not any(word.isupper() or re.search(r'[./-]', word) for word in words) and (
        words in (['run'], ['plan'], ['compile'], ['predict'], ['init'], ['data', 'check'], ['data', 'demo'],
                  ['data', 'show']))
    try:
        arguments.build_parser().parse_args([*words, '--help'] if only_named else words)
    except SystemExit as ended:
        assert ended.code == 0, f'{page}: {command}: {capsys.readouterr().err}'


def test_there_are_commands_and_links_to_test():
    assert len(_all_commands()) > 20
    assert 'a-whole-config' in _anchors((DOCS / 'your_data.md').read_text())


def _table(page: str, first_column: str) -> list[list[str]]:
    """The rows of the page's table whose first column is headed so; cells without backticks."""
    lines = iter((DOCS / page).read_text().splitlines())
    next(line for line in lines if line.startswith(f'| {first_column} |'))
    next(lines)
    rows = []
    for line in lines:
        if not line.startswith('|'):
            return rows
        rows.append([cell.strip().replace('`', '') for cell in line.strip('|').split(' | ')])
    return rows


def _number(cell: str) -> float:
    return float(cell.split(' ')[0].replace(',', ''))


def test_the_table_of_the_nine_data_sets_is_the_config():
    config = polyvit.load_config('nine')
    rows = _table('model.md', 'task')
    assert [row[0] for row in rows] == [task.name for task in config.mixture.tasks]
    for task, (_, kind, *numbers, size) in zip(config.mixture.tasks, rows, strict=True):
        data, recipe = task.data, task.recipe
        assert kind == data.label_kind
        assert [_number(number) for number in numbers] == [
            data.num_classes, data.num_train_examples, recipe.learning_rate_coefficient, recipe.batch_size,
            recipe.steps]
        assert [int(n) for n in size.split(' x ')] == [n for n in config.model.input(task.modality).shape if n != 3]


def test_the_table_of_exit_codes_is_the_code(capsys):
    rows = _table('operations.md', 'exit code')
    assert {int(code): meaning for code, meaning in rows} == exit_codes.MEANINGS
    with pytest.raises(SystemExit):
        arguments.build_parser().parse_args(['--help'])
    lines = [line.split(maxsplit=1) for line in capsys.readouterr().out.partition('exit codes:')[2].splitlines()]
    assert [line for line in lines if line] == rows
    assert '(docs/operations.md#exit-codes)' in (PROJECT / 'README.md').read_text()


def test_the_table_of_reasons_is_the_code():
    from media.rejections import REASONS
    assert sorted(reason for reason, *_ in _table('your_data.md', 'reason')) == sorted(REASONS)


def test_the_table_of_augmentations_is_the_code():
    from model_code.modalities import MODALITIES
    documented = {(name, modality) for name, modalities, _ in _table('model.md', 'name | modality')
                  for modality in modalities.split(', ')}
    assert documented == {(name, row.name) for row in MODALITIES.values() for name in row.augmentations}


def test_the_table_of_edits_is_that_of_the_test():
    from tests.pipeline.test_fingerprints import ALL, EDITS
    documented, tested = collections.defaultdict(set), collections.defaultdict(set)
    for edit, components in _table('architecture.md', 'edit'):
        named = {component for component in ALL if component in components}
        for file in re.findall(r'[\w/]+\.\w+', edit):
            documented[file] |= ALL - named if components.startswith('all but ') else named
    for file, _, _, components in EDITS:
        tested[file] |= components
    assert documented == tested


def test_the_table_of_bounds_is_the_code():
    rows = re.findall(r'^\| `--([a-z-]+)` \| ([0-9.]+) \|', (DOCS / 'serving.md').read_text(), re.MULTILINE)
    assert dict(rows) == {field.name.replace('_', '-'): str(field.default) for field in dataclasses.fields(Limits)}


def test_the_table_of_signatures_is_the_exported_model():
    from model_code import export, signature_names
    from model_code.polyvit import PolyViT
    from tests import testing
    mixture = polyvit.Mixture((testing.task('digits', 'image'),))
    config = polyvit.ModelConfig(layers=1, width=8, heads=2, mlp_width=8, inputs=testing.IMAGE_SPEC)
    served = export.ServedModel(PolyViT(mixture, {'digits': 2}, config), mixture, {'digits': ['a', 'b']}, {})
    signatures = served.signatures('{}')
    rows = {signature.replace('T', 'digits').replace('M', 'image'): (given, answer)
            for signature, given, answer in _table('serving.md', 'signature')}
    assert rows.keys() == signatures.keys() == {name for name, _ in signature_names.names([('digits', 'image')])}
    for name, (given, answer) in rows.items():
        if 'the same' not in given:
            (taken,), outputs = signatures[name].structured_input_signature[1], signatures[name].structured_outputs
            assert given == 'encoded media' if taken == 'image' else given.startswith(f'{taken} [N]')
            assert re.findall(r'(\w+) \[N', answer.replace('T_', 'digits_')) == list(outputs)
