"""The flags that name what encodes histories, and the encoder that they choose."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from sparcode_es_cli.options import PATH, add_options

from sparcode_es.errors import ConfigError
from sparcode_es.files import parse_json

if TYPE_CHECKING:
    from sparcode_es.serving.encoding import Encoder

F = TypeVar("F", bound=Callable[..., Any])
ASKED = (
    click.option("--user", "user_id", help="A user that the index knows; needs no model."),
    click.option(
        "--history",
        help="Somebody new's item ids, oldest first, between spaces or as JSON; needs --checkpoint or --encoder.",
    ),
)


def encoder_options(checkpoint: str, encoder: str) -> Callable[[F], F]:
    """Add --checkpoint and --encoder with these help texts; their values come as `checkpoint` and `exported`."""
    options = (
        click.option("--checkpoint", type=PATH, help=checkpoint),
        click.option("--encoder", "exported", type=PATH, help=encoder),
    )
    return lambda function: add_options(function, options)


def asked_options(checkpoint: str, encoder: str) -> Callable[[F], F]:
    """Add --user and --history, whose values come as `user_id` and `history`, before those of `encoder_options`."""
    return lambda function: add_options(encoder_options(checkpoint, encoder)(function), ASKED)


def check_asked(user_id: str | None, history: str | None) -> None:
    """Raise a usage error unless one of --user and --history is given."""
    if (user_id is None) == (history is None):
        raise click.UsageError("give either --user or --history")


def check_encoder(checkpoint: Path | None, exported: Path | None, needed: bool = False) -> None:
    """Raise a usage error where both --checkpoint and --encoder are given, or neither though it is needed for a history."""
    if checkpoint is not None and exported is not None:
        raise click.UsageError("give either --checkpoint or --encoder")
    if needed and checkpoint is None and exported is None:
        raise click.UsageError("--history needs --checkpoint or --encoder, of the model that the index was built from")


def open_encoder(checkpoint: Path | None, exported: Path | None) -> Encoder | None:
    """What encodes histories, of a checkpoint or an exported file; None for neither."""
    check_encoder(checkpoint, exported)
    if exported is not None:
        from sparcode_es.serving.exported import ExportedEncoder

        return ExportedEncoder.open(exported)
    if checkpoint is None:
        return None
    from sparcode_es_cli.extras import need_training

    need_training()
    from sparcode_es.serving.encoder import HistoryEncoder

    return HistoryEncoder.from_checkpoint(checkpoint)


def parse_history(text: str) -> list[str]:
    """`12 55 7`, or a JSON list for identifiers with spaces in them."""
    if not text.lstrip().startswith("["):
        return text.split()
    try:
        return [str(item) for item in parse_json(text)]
    except ValueError as error:
        raise ConfigError(f"--history is not a JSON list: {error}") from error
