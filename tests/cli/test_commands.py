"""The command line as a person meets it: help, exit codes, completion, interrupts, a light start."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from sparcode_es_cli import main as main_module
from sparcode_es_cli.main import COMMANDS, cli, main

from sparcode_es import errors


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of a command and everything below it."""
    if not isinstance(command, click.Group):
        return [path]
    ctx = click.Context(command)
    below = [(name, command.get_command(ctx, name)) for name in command.list_commands(ctx)]
    return [path, *(leaf for name, child in below if child is not None for leaf in _leaves(child, (*path, name)))]


def _error_classes() -> list[type[errors.SparcodeError]]:
    return [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.SparcodeError)]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_ends_with_an_example(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    for path in _leaves(command, (name,)):
        result = CliRunner().invoke(cli, [*path, "--help"])
        assert result.exit_code == 0, path
        assert f"  sparcode-es {name}" in result.output.partition("Example")[2], path


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_a_module_with_a_docstring(name: str) -> None:
    module = importlib.import_module(f"sparcode_es_cli.{name}")
    assert module.__doc__
    assert isinstance(module.command, click.Command)
    assert module.command.help


def test_no_two_kinds_of_error_share_an_exit_code() -> None:
    codes = [c.exit_code for c in _error_classes()]
    assert len(codes) == len(set(codes))
    assert not {0, 2, main_module.INTERRUPTED, main_module.CLOSED_PIPE} & set(codes)


def test_the_readme_lists_every_exit_code() -> None:
    lines = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8").splitlines()
    listed = {line.split("|")[3].strip(" `"): line.split("|")[1].strip() for line in lines if line.endswith("Error` |")}
    assert listed == {kind.__name__: str(kind.exit_code) for kind in _error_classes()}


@pytest.mark.parametrize("kind", _error_classes(), ids=lambda c: c.__name__)
def test_an_error_is_one_line_and_its_own_exit_code(
    kind: type[errors.SparcodeError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(monkeypatch, kind("what is wrong")) == kind.exit_code
    assert capsys.readouterr().err == "error: what is wrong\n"


def test_an_interrupt_gives_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(monkeypatch, KeyboardInterrupt()) == 130
    assert "interrupted" in capsys.readouterr().err


def _exit_code(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> int:
    """What `main` exits with when a command raises."""

    @click.command()
    def command() -> None:
        raise raised

    monkeypatch.setattr(cli, "get_command", lambda ctx, name: command)
    with pytest.raises(SystemExit) as exit_:
        main(["anything"])
    assert isinstance(exit_.value.code, int)
    return exit_.value.code


def test_an_unknown_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["recommend"])
    assert exit_.value.code == 2
    assert "recommend" in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert "sparcode-es" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(shell: str) -> None:
    result = CliRunner().invoke(cli, ["completion", shell])
    assert result.exit_code == 0
    assert "_SPARCODE_ES_COMPLETE" in result.output


def test_completion_offers_the_commands() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sparcode_es_cli"],
        env={"_SPARCODE_ES_COMPLETE": "bash_complete", "COMP_WORDS": "sparcode-es tra", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "plain,train" in done.stdout, done.stderr


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from sparcode_es_cli.main import COMMANDS, cli\n"
        "for name in COMMANDS:\n"
        "    assert CliRunner().invoke(cli, [name, '--help']).exit_code == 0, name\n"
        "heavy = {'torch', 'pandas', 'scipy', 'numba', 'elasticsearch'} & set(sys.modules)\n"
        "sys.exit(', '.join(sorted(heavy)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
