"""`sparcode-es inspect`: what lies in an index, and why an item is or is not recommended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from sparcode_es_cli import inspect_print as show
from sparcode_es_cli.connection import connection_given, open_server
from sparcode_es_cli.encoder_options import asked_options, check_asked, check_encoder, open_encoder, parse_history
from sparcode_es_cli.engine_options import chosen_inspector, engine_options
from sparcode_es_cli.options import json_option
from sparcode_es_cli.query import parse_filter
from sparcode_es_cli.query_notes import left_out

if TYPE_CHECKING:
    from sparcode_es.engines.base import Query, UserEntry
    from sparcode_es.engines.inspector import Contents, Inspector

F = TypeVar("F", bound=Callable[..., Any])
COUNT = click.IntRange(1, 1000)
as_json_option = json_option("Print one JSON document.")


@click.group(
    epilog="\b\nExamples:\n  sparcode-es inspect code 201\n"
    "  sparcode-es inspect why --user 123 --item 42\n"
    "  sparcode-es inspect diff runs/postings runs/fresh"
)
def command() -> None:
    """Look into an index or a postings artifact; needs no model."""


@command.command(epilog="\b\nExample:\n  sparcode-es inspect code 201")
@click.argument("term")
@as_json_option
@engine_options
def code(term: str, as_json: bool, **flags: Any) -> None:
    """What a code stands for: its items, users, scores and neighbours."""
    from sparcode_es.inspection.views import code_view

    with chosen_inspector(flags) as inspector:
        found = code_view(inspector, term)
        named = [{**asdict(n), "name": found.neighbour_names.get(n.code)} for n in found.profile.neighbours]
        _answer(inspector, {**found.profile.as_dict(), "neighbours": named}, as_json, lambda: show.code(found))


@command.command(epilog="\b\nExample:\n  sparcode-es inspect item 42")
@click.argument("item_id", metavar="ITEM")
@click.option("-n", "count", type=COUNT, default=20, show_default=True, help="How many of its codes.")
@as_json_option
@engine_options
def item(item_id: str, count: int, as_json: bool, **flags: Any) -> None:
    """An item's title, attributes and strongest codes."""
    from sparcode_es.inspection.views import item_view

    with chosen_inspector(flags) as inspector:
        found = item_view(inspector, item_id, count)
        document = {
            **asdict(found.document),
            "postings": found.postings,
            "own_code": found.own.as_dict() if found.own else None,
            "top_codes": [
                {"code": term, "name": found.names.get(term), "score": score} for term, score in found.top_codes.items()
            ],
        }
        _answer(inspector, document, as_json, lambda: show.item(found))


@command.command(epilog="\b\nExample:\n  sparcode-es inspect user 123")
@click.argument("user_id", metavar="USER")
@click.option("-n", "count", type=COUNT, default=10, show_default=True, help="How many of the latest items.")
@as_json_option
@engine_options
def user(user_id: str, count: int, as_json: bool, **flags: Any) -> None:
    """A user's codes, with names, how many events they have on how many items, and the latest items."""
    from sparcode_es.inspection.views import user_view

    with chosen_inspector(flags) as inspector:
        found = user_view(inspector, user_id, count)
        codes = [
            {
                "code": each.term,
                "name": found.names.get(each.term),
                "boost": each.boost,
                "share": found.shares[each.term],
            }
            for each in found.clauses
        ]
        latest = [{"item": each.item, "title": each.title} for each in found.latest]
        seen = {"seen": found.seen, "seen_items": len(set(found.history))}
        document = {"user": user_id, "codes": codes, **seen, "latest": latest}
        _answer(inspector, document, as_json, lambda: show.user(found))


@command.command(
    epilog="\b\nExamples:\n  sparcode-es inspect why --user 123 --item 42\n"
    "  sparcode-es inspect why --user 123 --item 42 --why-not --exclude-seen\n"
    '  sparcode-es inspect why --history "12 55 7" --checkpoint runs/ml-100k/model.pt --item 42'
)
@asked_options(
    checkpoint="The model that encodes --history.",
    encoder="As in `query`: an exported encoder, needs no torch.",
)
@click.option("--item", "item_id", required=True, help="The item.")
@click.option("--why-not", "negative", is_flag=True, help="Say what keeps it from the first k.")
@click.option(
    "-k", "count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many items are shown."
)
@click.option("--exclude-seen", is_flag=True, help="As in `query`.")
@click.option("--filter", "filters", multiple=True, metavar="NAME=VALUE", help="As in `query`.")
@as_json_option
@engine_options
def why(
    user_id: str | None,
    history: str | None,
    checkpoint: Path | None,
    exported: Path | None,
    item_id: str,
    negative: bool,
    count: int,
    exclude_seen: bool,
    filters: tuple[str, ...],
    as_json: bool,
    **flags: Any,
) -> None:
    """Why an item has its score for a user, or why it is not among the first k.

    The rank counts the items that the user has already seen, as `query` does, and is told without them too.

    The values add up to the score: on the embedded engine in float64 in the order printed, on Elasticsearch as float32
    numbers whose sum is rounded to float32.
    """
    from sparcode_es.engines.base import Query
    from sparcode_es.engines.conditions import parse_filter as parse_conditions
    from sparcode_es.inspection import why as reasons

    check_asked(user_id, history)
    with chosen_inspector(flags) as inspector:
        if user_id is None:
            entry = _encoded(inspector, parse_history(history or ""), checkpoint, exported)
        else:
            entry = inspector.engine.user(user_id)
        exclude = frozenset(entry.seen) if exclude_seen else frozenset()
        conditions = parse_conditions([parse_filter(text) for text in filters])
        query: Query = Query(entry.clauses, count, exclude, conditions)
        if negative:
            absence = reasons.why_not(inspector, query, item_id, entry.seen, filters)
            _answer(inspector, show.why_not_json(absence), as_json, lambda: show.why_not(absence))
        else:
            found = reasons.why(inspector, query, item_id, entry.seen)
            _answer(inspector, show.why_json(found), as_json, lambda: show.why(found))


@command.command(epilog="\b\nExample:\n  sparcode-es inspect codes --top 20")
@click.option("--top", type=COUNT, default=20, show_default=True, help="How many codes.")
@as_json_option
@engine_options
def codes(top: int, as_json: bool, **flags: Any) -> None:
    """The codes with most traffic: the share of all users' boosts."""
    with chosen_inspector(flags) as inspector:
        found = inspector.busiest(top)
        _answer(inspector, {"codes": [each.as_dict() for each in found]}, as_json, lambda: show.codes(found))


@command.command(epilog="\b\nExample:\n  sparcode-es inspect dead")
@click.option("-n", "examples", type=COUNT, default=10, show_default=True, help="How many examples of each.")
@as_json_option
@engine_options
def dead(examples: int, as_json: bool, **flags: Any) -> None:
    """Codes that no user has, codes without items, items without a posting."""
    with chosen_inspector(flags) as inspector:
        found = inspector.dead(examples)
        _answer(inspector, asdict(found), as_json, lambda: show.dead(found))


@command.command(
    epilog="\b\nExamples:\n  sparcode-es inspect diff runs/postings runs/fresh\n"
    "  sparcode-es inspect diff --url http://localhost:9200 recs-20261125120000-0123456789ab live"
)
@click.argument("before", metavar="BEFORE")
@click.argument("after", metavar="AFTER")
@click.option("-n", "examples", type=COUNT, default=10, show_default=True, help="How many examples of each.")
@as_json_option
@engine_options
def diff(before: str, after: str, examples: int, as_json: bool, **flags: Any) -> None:
    """What changed from BEFORE to AFTER: items, codes and postings added, removed, changed.

    Each is a postings artifact (its folder) or a generation of the alias --index (`sparcode-es generations list` names them;
    `live` is the one that answers).
    """
    from sparcode_es.inspection.diff import diff as compare

    with _contents((before, after), flags) as (left, right), show.bar("codes") as progress:
        found = compare(left, right, examples, progress)
    if as_json:
        click.echo(json.dumps(found.as_dict(), ensure_ascii=False))
    else:
        show.diff(found)


def _answer(inspector: Inspector, document: dict[str, Any], as_json: bool, printed: Callable[[], None]) -> None:
    """Print what was found, and on stderr where."""
    info = inspector.engine.info()
    if as_json:
        click.echo(json.dumps({"engine": asdict(info), **document}, ensure_ascii=False))
        return
    printed()
    click.echo(f"{info.engine} ({info.where}, generation {info.generation})", err=True)


@contextmanager
def _contents(names: tuple[str, str], flags: dict[str, Any]) -> Iterator[list[Contents]]:
    """Artifacts and generations by name; a server is asked for those names only that are no folder."""
    from sparcode_es.engines.embedded_inspector import ArtifactContents
    from sparcode_es.postings.artifact import Artifact

    if not connection_given(flags) or all(Path(name).is_dir() for name in names):
        yield [ArtifactContents(Artifact.open(name)) for name in names]
        return
    with open_server(flags) as server:
        from sparcode_es.engines.elasticsearch.inspector import generation_contents

        yield [
            ArtifactContents(Artifact.open(name))
            if Path(name).is_dir()
            else generation_contents(server, flags["index"], name)
            for name in names
        ]


def _encoded(inspector: Inspector, history: list[str], checkpoint: Path | None, exported: Path | None) -> UserEntry:
    """The codes of somebody new, without items that the model does not know. Raises `MismatchError` for another model's index."""
    from sparcode_es.engines.base import UserEntry
    from sparcode_es.serving.encoding import history_clauses, require_model, unknown_items

    check_encoder(checkpoint, exported, needed=True)
    encoder = open_encoder(checkpoint, exported)
    assert encoder is not None
    require_model(inspector.engine.info(), encoder.hashes)
    unknown = unknown_items(encoder, history)
    entry = UserEntry(history_clauses(encoder, history, unknown), tuple(history))
    for note in left_out(unknown):
        click.echo(note, err=True)
    return entry
