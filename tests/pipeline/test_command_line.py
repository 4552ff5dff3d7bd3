"""Wrong command lines end with a sentence and exit code 2; help, versions, and completion in a shell."""

import argparse
import shlex
import subprocess
import sys
from importlib import metadata

import pytest

from model_code.errors import ConfigError
from pipeline import arguments, cli, completion
from pipeline.config import config_names
from tests import terminals


@pytest.mark.parametrize('line, sentence', [
    ('rnu', "There is no command 'rnu'. Did you mean 'run'? Commands: demo, init, data, "),
    ('xyzzy', "There is no command 'xyzzy'. Commands: demo, init, data, "),
    ('data chekc demo', "There is no command 'chekc' of polyvit data. Did you mean 'check'? Commands: demo, check, "),
    ('run', 'CONFIG must be given. `polyvit run --help` explains its arguments.'),
    ('predict', 'TASK and FILE must be given. `polyvit predict --help`'),
    ('run demo --rot x', "polyvit run has no option '--rot'. Did you mean '--root'? Options: --help, "),
    ('run demo --zzz=3', "polyvit run has no option '--zzz'. Options: --help, "),
    ('--zzz run demo', "polyvit has no option '--zzz'. Options: --help, --debug, --version."),
    ('plan demo more', "'more' is one argument too many. `polyvit plan --help` explains the arguments."),
    ('serve x --port http', "--port is 'http'; it must be a whole number."),
    ('plan demo --flops many', "--flops is 'many'; it must be a number."),
    ('run demo --root', '--root needs one value after it.'),
    ('compile demo', '--output must be given.'),
    ('predict digits a.png --url x --model y', 'Give --model or --url, not both.'),
    ('completion fish', "SHELL is 'fish'; it must be one of: bash, zsh, tcsh."),
])
def test_a_wrong_command_line(capsys, line, sentence):
    assert cli.main(shlex.split(line)) == 2
    out, err = capsys.readouterr()
    assert not out and err.startswith('polyvit: ') and err.count('\n') == 1 and err.endswith('.\n')
    assert sentence in err


@pytest.mark.parametrize('line', ['', 'data'])
def test_a_command_that_lacks_its_end(capsys, line):
    """It prints the commands, one per line."""
    assert cli.main(line.split()) == 2
    out, err = capsys.readouterr()
    listed = [text.split()[0] for text in err.splitlines() if text.startswith('  ')]
    wanted = {name.split()[-1] if line else name.split()[0] for name in cli.COMMANDS if name.startswith(line)}
    assert not out and set(listed) == wanted


@pytest.mark.parametrize('columns', [80, 120])
@pytest.mark.parametrize('word', ['', 'rnu'])
def test_on_a_terminal_no_word_is_broken(columns, word):
    session = terminals.run([sys.executable, '-m', 'polyvit', *word.split()], columns=columns)
    words = {part.strip(',.') for line in session.lines for part in line.split()}
    assert session.exit_code == 2 and session.widest() <= columns
    assert {name.split()[0] for name in cli.COMMANDS} <= words


def test_every_command_of_the_parser_has_its_function():
    def names(parser):
        for name in parser.commands():
            command = next(a for a in parser._actions if a.choices and name in a.choices).choices[name]
            yield from names(command)
            if command.get_default('command') in cli.COMMANDS or not command.commands():
                yield command.get_default('command')
    assert sorted(names(arguments.build_parser())) == sorted(cli.COMMANDS)


def test_the_parser_raises_and_does_not_exit():
    with pytest.raises(ConfigError):
        arguments.build_parser().parse_args(['rnu'])


def test_versions_are_those_of_the_metadata_and_nothing_is_imported(capsys):
    code = ("import sys; from pipeline import cli; code = cli.main(['--version']);"
            "print(code, 'tensorflow' in sys.modules, 'tfx' in sys.modules)")
    lines = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert lines[0].startswith('polyvit ') and lines[2] == '0 False False'
    assert lines[1] == 'Python {}.{}.{}, TensorFlow {}, TFX {}'.format(
        *sys.version_info[:3], metadata.version('tensorflow'), metadata.version('tfx'))


@pytest.fixture(scope='module')
def completed(tmp_path_factory):
    """completed(typed) -> what bash offers for the last word of a command line, in a folder with a few files."""
    folder = tmp_path_factory.mktemp('completion')
    (folder / 'mine.py').write_text('')
    (folder / 'cat.png').write_text('')
    (folder / 'my folder').mkdir()
    script = folder / 'script.bash'
    script.write_text(completion.script(arguments.build_parser(), 'bash'))

    def complete(typed: str) -> list[str]:
        words = typed.split(' ')
        code = (f'source {shlex.quote(str(script))}; COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; '
                '_shtab_polyvit; printf "%s\\n" "${COMPREPLY[@]}"')
        done = subprocess.run(['bash', '--norc', '-c', code], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [line for line in done.stdout.splitlines() if line and line != 'script.bash']
    return complete


def test_every_argument_has_a_help():
    parsers = [arguments.build_parser()]
    for parser in parsers:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                parsers += action.choices.values()
            else:
                assert action.help, (parser.prog, action.dest)
    assert len(parsers) > len(cli.COMMANDS)


class TestBash:
    def test_commands(self, completed):
        assert set(completed('polyvit ')) == {name.split()[0] for name in cli.COMMANDS}
        assert completed('polyvit rep') == ['report']
        assert completed('polyvit data ') == ['demo', 'check', 'scenes', 'show', 'export']

    def test_options(self, completed):
        assert '--root' in completed('polyvit run demo --')
        assert completed('polyvit serve --grpc') == ['--grpc-port']

    def test_configs_are_names_and_python_files(self, completed):
        assert set(completed('polyvit run ')) == {*config_names(), 'mine.py', 'my folder'}
        assert completed('polyvit plan m') == completed('polyvit data show m') == ['mine.py', 'my folder']

    def test_files(self, completed):
        assert completed('polyvit predict animals c') == ['cat.png']

    def test_folders(self, completed):
        assert completed('polyvit serve ') == ['my folder']
        assert completed('polyvit run demo --root ') == ['my folder']
        assert completed('polyvit data demo m') == ['my folder']
        assert completed('polyvit init m') == ['my folder']

    def test_choices(self, completed):
        assert completed('polyvit completion z') == ['zsh']


@pytest.mark.parametrize('shell, parts', [
    ('zsh', ['#compdef polyvit', f'compadd -- {" ".join(config_names())}', 'file:_polyvit_config_files"']),
    ('tcsh', ['complete polyvit', "'n/serve/d/'", "'n/run/f:{*.py}/'"])])
def test_other_shells(shell, parts, capsys):
    assert cli.main(['completion', shell]) == 0
    script = capsys.readouterr().out
    assert all(part in script for part in [*parts, *(name.split()[0] for name in cli.COMMANDS)])


def test_bash_accepts_the_script(tmp_path, capsys):
    assert cli.main(['completion', 'bash']) == 0
    path = tmp_path / 'script.bash'
    path.write_text(capsys.readouterr().out)
    code = f'source {path}; complete -p polyvit'
    done = subprocess.run(['bash', '--norc', '-c', code], capture_output=True, text=True)
    assert done.returncode == 0 and 'polyvit' in done.stdout and not done.stderr
