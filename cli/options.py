"""Flags that several commands have, each written once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])
PATH = click.Path(path_type=Path)
POSTINGS = Path("runs/postings")
"""The artifact of a call that names none."""
POSTINGS_VARIABLE = "SPARCODE_POSTINGS"


def add_options(function: F, options: Sequence[Callable[[F], F]]) -> F:
    """Add flags to a command; `--help` shows them in this order."""
    for option in reversed(options):
        function = option(function)
    return function


def json_option(text: str = "Print the report as JSON.") -> Callable[[F], F]:
    """Add --json, whose value comes as the parameter `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=text)


def postings_option(text: str | None, flag: str = "--postings", default: Path | None = POSTINGS) -> Callable[[F], F]:
    """Add the flag that names a postings artifact; without it the environment does, or `default`."""
    return click.option(
        flag, type=PATH, default=default, envvar=POSTINGS_VARIABLE, show_envvar=True, show_default=True, help=text
    )
