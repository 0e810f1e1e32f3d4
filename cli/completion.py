"""`sparcode-es completion`: the shell's completion script, made by click."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SHELLS = ("bash", "zsh", "fish")


@click.command(
    epilog="\b\nExample:\n  sparcode-es completion bash > ~/.local/share/bash-completion/completions/sparcode-es"
)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell; source it, or save it where the shell looks for such scripts."""
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"this version of click has no completion for {shell}")
    click.echo(made(ctx.find_root().command, {}, "sparcode-es", "_SPARCODE_ES_COMPLETE").source())
