"""What every benchmark's command has: how errors end it, and lists of names and of numbers as options."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import click

from sparcode_es.errors import SparcodeError


class Numbers(click.ParamType):
    """`64,128` → (64, 128)."""

    name = "numbers"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Fails for what is not whole numbers with commas between."""
        try:
            return tuple(int(part) for part in value.split(","))
        except ValueError:
            self.fail(f"whole numbers with commas between, not {value!r}", param, ctx)


class BenchCommand(click.Command):
    """Errors of ours end it with one line on stderr and their own exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except SparcodeError as error:
            failure = click.ClickException(str(error))
            failure.exit_code = error.exit_code
            raise failure from error


def some_of(text: str, known: Collection[str], option: str, separator: str = ",") -> list[str]:
    """The names that an option's text gives, apart by the separator. Raises `click.UsageError` for one that is not known."""
    chosen = text.split(separator)
    if not set(chosen) <= set(known):
        raise click.UsageError(f"{option} takes some of {f'{separator} '.join(known)}, not {text!r}")
    return chosen
