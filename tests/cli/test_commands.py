"""The command line as a person meets it: help, completion, a light start."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from sparcode_es_cli.index import print_report
from sparcode_es_cli.main import COMMANDS, cli, main


def _leaves(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of a command and everything below it."""
    if not isinstance(command, click.Group):
        return [path]
    ctx = click.Context(command)
    below = [(name, command.get_command(ctx, name)) for name in command.list_commands(ctx)]
    return [path, *(leaf for name, child in below if child is not None for leaf in _leaves(child, (*path, name)))]


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


def test_a_reader_who_has_left_is_no_defect() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "sparcode_es_cli", "train", "--print-config"]
    done = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_an_empty_list_of_indexs_report_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    print_report({"items": 0, "removed": []})
    print_report({"removed": ["recs-1", "recs-2"]})
    assert capsys.readouterr().out == f"{'items':<20}0\n{'removed':<20}recs-1, recs-2\n"


def test_a_refit_leaves_its_source_alone(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('model = "sparcode"\n')
    (tmp_path / "model.pt").write_bytes(b"")
    command = [sys.executable, "-m", "sparcode_es_cli", "train", "--data", "data", "--refit", str(tmp_path)]
    done = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "which stays as it is; give another folder as --out" in done.stderr
    assert (tmp_path / "config.toml").exists()
