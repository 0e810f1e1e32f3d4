"""The `sparcode-es` command: a lazy group, so that `query` never pays for `train`'s imports."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import Any

import click
from sparcode_es_cli.entry import INTERRUPTED

from sparcode_es import __version__
from sparcode_es.errors import SparcodeError, StorageError
from sparcode_es.visible import visible, visible_lines

CLOSED_PIPE = 141
"""128 + SIGPIPE."""

COMMANDS = {
    "demo": "the main job on MovieLens-100K, from the log to recommendations",
    "data": "fetch, import and describe interaction data",
    "train": "train a model on a data folder",
    "postings": "score every (code, item) pair and write the postings artifact",
    "index": "put postings into Elasticsearch as a new generation and swap to it",
    "generations": "list what an alias could answer from, go back, clear away",
    "role": "print what Elasticsearch must allow a reader, a writer or a logger of an alias",
    "log": "make the query log in Elasticsearch, and delete what is old",
    "export": "write the encoder of histories as a file that needs no torch",
    "query": "recommend for a user or for a history",
    "inspect": "look into an index: codes, items, users, and why an item is or is not recommended",
    "report": "write one HTML page of a training, an artifact or an index",
    "kibana": "data views, searches and a dashboard for Kibana",
    "serve": "recommendations over HTTP",
    "ui": "a live page: users, codes, recommendations, reasons",
    "verify": "prove that an engine's answers are the model's",
    "evaluate": "measure quality through an engine",
    "node": "start and stop a throw-away local Elasticsearch",
    "completion": "print the shell's completion script",
}


class ClosedPipe(Exception):
    """Whoever read the output has left."""


class LazyGroup(click.Group):
    """Imports `sparcode_es_cli.<command>` when the command is asked for. Each module holds a `command`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"sparcode_es_cli.{name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. A closed pipe is told apart from what click would make of it, exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise ClosedPipe from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="sparcode-es")
def cli() -> None:
    """Recommendation retrieval on Elasticsearch with learned sparse codes.

    \b
    sparcode-es demo
    sparcode-es index --checkpoint model.pt
    sparcode-es query --user 123
    """


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command line; every expected error becomes one sentence on stderr and its own exit code."""
    try:
        result = cli.main(args=argv, prog_name="sparcode-es", standalone_mode=False)
        sys.exit(result if isinstance(result, int) else 0)
    except SparcodeError as error:
        click.echo(f"error: {visible_lines(str(error))}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except click.Abort:
        click.echo("interrupted", err=True)
        sys.exit(INTERRUPTED)
    except ClosedPipe:
        _drop_output()
        sys.exit(CLOSED_PIPE)
    except OSError as error:
        _drop_output()
        click.echo(f"error: {error.filename or 'the output'}: {error.strerror or error}", err=True)
        sys.exit(StorageError.exit_code)
    except Exception as error:
        if os.environ.get("SPARCODE_DEBUG"):
            raise
        click.echo(
            f"error: a defect of sparcode-es, {type(error).__name__}: {visible(str(error))}; please report it with the "
            "traceback that SPARCODE_DEBUG=1 gives",
            err=True,
        )
        sys.exit(SparcodeError.exit_code)


def _drop_output() -> None:
    """The reader (`head`, say) has left, or the disk is full: else the interpreter complains again when it flushes at exit."""
    sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123
