"""Exit codes: each class of error has its own, and the README's table lists exactly those."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import click
import pytest
from sparcode_es_cli.entry import INTERRUPTED
from sparcode_es_cli.listening import TERMINATED
from sparcode_es_cli.main import CLOSED_PIPE, cli, main

from sparcode_es import errors
from sparcode_es.errors import SparcodeError

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.split("## Exit codes\n", 1)[1].split("\n## ", 1)[0]
CLASSES = [
    found
    for _, found in inspect.getmembers(errors, inspect.isclass)
    if issubclass(found, SparcodeError) and found.__module__ == errors.__name__
]


def test_the_readme_lists_every_class_with_its_code_and_its_own_words() -> None:
    rows = re.findall(r"^\| (\d+) \| (.*) \| `(\w+)` \|$", SECTION, re.MULTILINE)
    listed = [(int(code), name, text) for code, text, name in rows]
    expected = [(c.exit_code, c.__name__, " ".join(str(c.__doc__).split()).rstrip(".")) for c in CLASSES]
    assert listed == sorted(expected)


def test_the_readme_names_the_codes_that_are_no_class() -> None:
    others = {int(code) for code in re.findall(r"\b\d+\b", SECTION.rsplit("|\n", 1)[1])}
    assert others == {0, 2, INTERRUPTED, CLOSED_PIPE, TERMINATED}


def test_no_two_classes_share_a_code_and_none_takes_one_that_is_spoken_for() -> None:
    codes = [found.exit_code for found in CLASSES]
    assert len(codes) == len(set(codes))
    assert not {0, 2, INTERRUPTED, CLOSED_PIPE} & set(codes)
    assert [found for found in CLASSES if found.exit_code == 1] == [SparcodeError]


@pytest.mark.parametrize("found", CLASSES, ids=lambda found: found.__name__)
def test_the_command_line_ends_with_the_code_of_the_error(
    found: type[SparcodeError], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _exit_code(monkeypatch, found("the reason")) == found.exit_code
    assert capsys.readouterr().err == "error: the reason\n"


def test_an_interrupt_has_its_code(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert _exit_code(monkeypatch, KeyboardInterrupt()) == INTERRUPTED
    assert "interrupted" in capsys.readouterr().err


def test_a_defect_is_one_sentence_unless_its_traceback_is_wanted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SPARCODE_DEBUG", raising=False)
    assert _exit_code(monkeypatch, RuntimeError("what nobody foresaw")) == 1
    error = capsys.readouterr().err
    assert "RuntimeError: what nobody foresaw" in error
    assert error.count("\n") == 1
    monkeypatch.setenv("SPARCODE_DEBUG", "1")
    monkeypatch.setattr(cli, "get_command", lambda ctx, name: _raising(RuntimeError("again")))
    with pytest.raises(RuntimeError, match="again"):
        main(["anything"])


def _raising(raised: BaseException) -> click.Command:
    @click.command()
    def command() -> None:
        raise raised

    return command


def _exit_code(monkeypatch: pytest.MonkeyPatch, raised: BaseException) -> object:
    """What `main` exits with when a command raises."""
    monkeypatch.setattr(cli, "get_command", lambda ctx, name: _raising(raised))
    with pytest.raises(SystemExit) as ended:
        main(["anything"])
    return ended.value.code
