"""The class of every benchmark's command."""

from __future__ import annotations

from typing import Any

import click

from sparcode_es.errors import SparcodeError


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
