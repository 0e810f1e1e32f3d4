"""`sparcode-es query`: recommend for a user or for a history."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.engine_options import chosen_engine, engine_options, note_engine

from sparcode_es.errors import ConfigError

if TYPE_CHECKING:
    from sparcode_es.serving.encoder import HistoryEncoder
    from sparcode_es.serving.exported import ExportedEncoder
    from sparcode_es.serving.recommender import Answer, Recommendation, Recommender


@click.command(
    epilog="\b\nExamples:\n  sparcode-es query --user 123 -k 20 --exclude-seen\n"
    '  sparcode-es query --history "12 55 7" --checkpoint runs/ml-100k/model.pt --explain'
)
@click.option("--user", "user_id", help="A user that the index knows; needs no model.")
@click.option(
    "--history",
    help="Somebody new's item ids, oldest first, between spaces or as JSON; needs --checkpoint or --encoder.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="The model that encodes --history; with --user, refused when the index is another model's.",
)
@click.option(
    "--encoder",
    type=click.Path(path_type=Path),
    help="In place of --checkpoint: a file of `sparcode-es export`; needs no torch.",
)
@click.option("-k", "count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many items.")
@click.option("--exclude-seen", is_flag=True, help="Leave out the user's own items.")
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="Only items with this attribute.")
@click.option("--explain", is_flag=True, help="Show which codes gave each item its score.")
@click.option("--show-history", is_flag=True, help="Show the user's latest items, too.")
@click.option("--show-request", is_flag=True, help="Print the request for Kibana's Dev Tools.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@engine_options
def command(
    user_id: str | None,
    history: str | None,
    checkpoint: Path | None,
    encoder: Path | None,
    count: int,
    exclude_seen: bool,
    filters: tuple[str, ...],
    explain: bool,
    show_history: bool,
    show_request: bool,
    as_json: bool,
    **engine_flags: Any,
) -> None:
    """Recommend items for a user that the index knows, or for a history."""
    from sparcode_es.serving.recommender import Recommender, Request

    if (user_id is None) == (history is None):
        raise click.UsageError("give either --user or --history")
    if checkpoint is not None and encoder is not None:
        raise click.UsageError("give either --checkpoint or --encoder")
    request = Request(count, exclude_seen, explain, tuple(parse_filter(text) for text in filters))
    with chosen_engine(engine_flags) as engine:
        recommender = Recommender(engine)
        started = time.perf_counter()
        if user_id is not None:
            _encoder(recommender, checkpoint, encoder)
            answer = recommender.for_user(user_id, request)
        else:
            encode = _encoder(recommender, checkpoint, encoder)
            if encode is None:
                raise click.UsageError(
                    "--history needs --checkpoint or --encoder, of the model that the index was built from"
                )
            answer = recommender.for_history(parse_history(history or ""), encode, encode.shared_heads, request)
        elapsed = time.perf_counter() - started
        titles = _titles(recommender, answer, count) if show_history else []
        if as_json:
            click.echo(json.dumps(_as_json(recommender, answer, titles, elapsed, show_request), ensure_ascii=False))
        else:
            _print(answer, titles)
            if show_request:
                click.echo(engine.request(answer.query) or "the embedded engine has no request to show")
        if filters and not answer.recommendations:
            click.echo(f"none of the user's items fits {', '.join(filters)}; is there such an attribute?", err=True)
        note_engine(engine, f"{len(answer.recommendations)} items in {1000 * elapsed:.1f} ms")


def parse_filter(text: str) -> tuple[str, str]:
    """`genre=Comedy` → ("genre", "Comedy")."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise ConfigError(f"--filter takes NAME=VALUE, not {text!r}")
    return name, value


def parse_history(text: str) -> list[str]:
    """`12 55 7`, or a JSON list for identifiers with spaces in them."""
    if not text.lstrip().startswith("["):
        return text.split()
    try:
        return [str(item) for item in json.loads(text)]
    except ValueError as error:
        raise ConfigError(f"--history is not a JSON list: {error}") from error


def _encoder(
    recommender: Recommender, checkpoint: Path | None, exported: Path | None
) -> HistoryEncoder | ExportedEncoder | None:
    """What encodes histories, of a checkpoint or an exported file; None for neither. Raises `MismatchError` when the index is
    another model's."""
    encoder: HistoryEncoder | ExportedEncoder
    if exported is not None:
        from sparcode_es.serving.exported import ExportedEncoder

        encoder = ExportedEncoder.open(exported)
    elif checkpoint is not None:
        from sparcode_es_cli.extras import need_training

        need_training()
        from sparcode_es.serving.encoder import HistoryEncoder

        encoder = HistoryEncoder.from_checkpoint(checkpoint)
    else:
        return None
    recommender.require_model(*encoder.hashes)
    return encoder


def _titles(recommender: Recommender, answer: Answer, count: int) -> list[str]:
    """The titles of the user's latest items, the latest first."""
    latest = list(reversed(answer.seen[-count:]))
    documents = recommender.engine.documents(latest)
    return [(documents[item].title or item) if item in documents else item for item in latest]


def _as_json(
    recommender: Recommender, answer: Answer, titles: list[str], elapsed: float, show_request: bool
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "engine": asdict(recommender.engine.info()),
        "milliseconds": round(1000 * elapsed, 3),
        "clauses": [asdict(clause) for clause in answer.query.clauses],
        "items": [_item_json(item) for item in answer.recommendations],
    }
    if answer.code_items:
        found["code_items"] = {
            term: {"item": item.item, "title": item.title} for term, item in answer.code_items.items()
        }
    if titles:
        found["history"] = titles
    if show_request:
        found["request"] = recommender.engine.request(answer.query)
    return found


def _item_json(item: Recommendation) -> dict[str, Any]:
    document = item.document
    shown: dict[str, Any] = {"item": document.item, "score": item.score, "title": document.title}
    shown["attributes"] = dict(document.attributes)
    if item.explanation is not None:
        shown["explanation"] = asdict(item.explanation)
    return shown


def _print(answer: Answer, titles: list[str]) -> None:
    if titles:
        click.echo("latest items of the user")
        for title in titles:
            click.echo(f"    {title}")
        click.echo("recommended")
    for place, item in enumerate(answer.recommendations, start=1):
        document = item.document
        click.echo(f"{place:>3}  {item.score:>10.4f}  {document.item:<12}  {document.title or ''}".rstrip())
        if item.explanation is not None:
            for part in item.explanation.contributions:
                given = part.boost * part.score
                name = _code_name(answer, part.term)
                click.echo(f"       {given:>10.4f}  = {part.boost:.4f} × {part.score:.4f}   code {name}")


def _code_name(answer: Answer, term: str) -> str:
    """A code's term, and for an item code the item of the history that it is."""
    item = answer.code_items.get(term)
    return term if item is None else f"{term}, after {item.title or item.item}"
