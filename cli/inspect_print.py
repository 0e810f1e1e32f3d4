"""What `sparcode-es inspect` prints for people, and the JSON of reasons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.tables import cut, room_on_screen, table
from sparcode_es_cli.words import counted
from tqdm import tqdm

from sparcode_es.visible import visible

if TYPE_CHECKING:
    from sparcode_es.engines.base import ItemDocument
    from sparcode_es.engines.inspector import Dead, Group, Reasons
    from sparcode_es.inspection.diff import Change, Diff
    from sparcode_es.inspection.views import CodeView, ItemView, UserView
    from sparcode_es.inspection.why import Why, WhyNot
    from sparcode_es.postings.profile import CodeProfile


def code(found: CodeView) -> None:
    """A code."""
    profile = found.profile
    _facts(
        {
            "code": profile.code,
            "name": profile.name,
            "kind": profile.kind if profile.item is None else f"{profile.kind}: {profile.item}",
            "items": profile.items,
            "users": profile.users,
            "traffic": f"{100 * profile.traffic:.3f} %",
            "scores": "  ".join(f"{name} {value:.4g}" for name, value in (profile.scores or {}).items()) or None,
        }
    )
    if profile.top_items:
        _table(
            ("score", "item", "top items"),
            [(each.score, each.item, each.title or each.item) for each in profile.top_items],
        )
    if profile.neighbours:
        rows = [(each.cosine, each.code, found.neighbour_names.get(each.code)) for each in profile.neighbours]
        _table(("cosine", "code", "neighbours"), rows)


def item(found: ItemView) -> None:
    """An item."""
    own = (
        None
        if found.own is None
        else f"{found.own.code}: {counted(found.own.items, 'item')}, {counted(found.own.users, 'user')}"
    )
    attributes = {name: _joined(value) for name, value in found.document.attributes.items()}
    _facts({**_of_item(found.document), **attributes})
    _facts({"postings": found.postings, "own code": own})
    if found.top_codes:
        rows = [(score, term, found.names.get(term)) for term, score in found.top_codes.items()]
        _table(("score", "code", "strongest codes"), rows)


def user(found: UserView) -> None:
    """A user."""
    events = f"{counted(found.seen, 'event')} on {counted(len(set(found.history)), 'item')}"
    _facts({"user": found.user, "codes": len(found.clauses), "history": events})
    if found.clauses:
        rows = [
            (c.boost, f"{100 * found.shares[c.term]:.1f} %", c.term, found.names.get(c.term)) for c in found.clauses
        ]
        _table(("boost", "share", "code", "name"), rows)
    if found.latest:
        _table(
            ("item", "latest items, the latest first"), [(each.item, each.title or each.item) for each in found.latest]
        )


def codes(found: Sequence[CodeProfile]) -> None:
    """Codes, one a line."""
    rows = [(f"{100 * c.traffic:.3f} %", c.users, c.items, c.code, c.name) for c in found]
    _table(("traffic", "users", "items", "code", "name"), rows, first=True)


def why(found: Why) -> None:
    """The reasons of a score."""
    _facts({**_of_item(found.document), "score": repr(found.reasons.score), "rank": _rank(found)})
    _reasons(found.reasons, found.names)


def why_not(found: WhyNot) -> None:
    """What keeps an item away."""
    document = {"item": found.item} if found.document is None else _of_item(found.document)
    needed = "any" if found.needed is None else f"{found.needed:.6g} (place {found.k})"
    _facts(
        {
            **document,
            "score": repr(found.score),
            "needed": needed,
            "rank": _rank(found),
            "seen": "yes" if found.seen else "no",
        }
    )
    for sentence in found.verdict:
        click.echo(f"- {visible(sentence)}")
    if found.reasons is not None and found.reasons.parts:
        _reasons(found.reasons, found.names)
    if found.without_posting:
        rows = [(clause.boost, clause.term, found.names.get(clause.term)) for clause in found.without_posting]
        _table(("boost", "code", "codes without a posting for it"), rows)


def why_json(found: Why) -> dict[str, Any]:
    """For --json."""
    ranks = {name: getattr(found, name) for name in ("rank", "unseen_rank", "seen")}
    return {**asdict(found.document), **ranks, **_reasons_json(found.reasons, found.names)}


def why_not_json(found: WhyNot) -> dict[str, Any]:
    """For --json."""
    document = {"item": found.item} if found.document is None else asdict(found.document)
    without = [{"code": c.term, "name": found.names.get(c.term), "boost": c.boost} for c in found.without_posting]
    named = ("k", "rank", "unseen_rank", "needed", "seen", "excluded", "failed_filters", "verdict")
    plain = {name: getattr(found, name) for name in named}
    reasons = {"score": 0.0} if found.reasons is None else _reasons_json(found.reasons, found.names)
    exists = {"exists": found.document is not None, "recommended": found.recommended}
    return {**document, **exists, **plain, **reasons, "codes_without_posting": without}


def dead(found: Dead) -> None:
    """What no query can make use of."""
    rows = [
        *((group.count, f"{kind} codes that no user has", group) for kind, group in found.codes_without_users.items()),
        *((group.count, f"{kind} codes without items", group) for kind, group in found.codes_without_items.items()),
        (found.items_without_postings.count, "items without a posting", found.items_without_postings),
    ]
    _table(
        ("count", "what", "the first of them"),
        [(count, what, _first(group)) for count, what, group in rows],
        first=True,
    )


def diff(found: Diff) -> None:
    """What changed."""
    sides = [
        (each.items, each.codes, each.postings, each.model_hash, each.label) for each in (found.before, found.after)
    ]
    _table(("items", "codes", "postings", "model", "before and after"), sides, first=True)
    changes: list[tuple[Any, ...]] = [("items", *_counts(found.items), _named(found.items))]
    if found.codes is not None and found.postings is not None:
        changes.append(("codes", *_counts(found.codes), _named(found.codes)))
        changes.append(("postings", found.postings.added, found.postings.removed, found.postings.changed, ""))
    _table(("", "added", "removed", "changed", "the first of them"), changes)
    if not found.same_model:
        click.echo(
            "of different models: a code of one means nothing in the other, so codes and postings are not compared"
        )


@contextmanager
def bar(what: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar that appears with its first step; none when stderr is no terminal."""
    bars: list[tqdm[Any]] = []

    def progress(more: int, total: int) -> None:
        if not bars:
            bars.append(tqdm(total=total, desc=what, disable=None, leave=False))
        bars[0].update(more)

    try:
        yield progress
    finally:
        for each in bars:
            each.close()


def _counts(change: Change) -> tuple[int, int, int]:
    return change.added.count, change.removed.count, change.changed.count


def _named(change: Change) -> str:
    parts = (("+", change.added), ("-", change.removed), ("~", change.changed))
    return "  ".join(f"{sign}{name}" for sign, group in parts for name in group.examples)


def _first(group: Group) -> str:
    return " ".join(group.examples) + (" …" if len(group.examples) < group.count else "")


def _rank(found: Why | WhyNot) -> str | None:
    """Its place with the items already seen, and without them, which `--exclude-seen` leaves out."""
    if found.rank is None:
        hit = found.reasons is not None and found.reasons.parts
        met = "; already seen" if found.seen else ""
        return f"none: the query's exclusions or filters leave it out{met}" if hit else None
    if found.seen:
        return f"{found.rank}; already seen: `--exclude-seen` leaves it out"
    unseen = f", {found.unseen_rank} without the items already seen"
    return f"{found.rank}{unseen if found.unseen_rank != found.rank else ''}"


def _of_item(document: ItemDocument) -> dict[str, Any]:
    return {"item": document.item, "title": document.title or document.item}


def _reasons(reasons: Reasons, names: Mapping[str, str]) -> None:
    if not reasons.parts:
        click.echo("none of the codes has a posting for it")
        return
    rows = [
        (
            part.value,
            part.contribution.boost,
            part.contribution.score,
            part.contribution.term,
            names.get(part.contribution.term),
        )
        for part in sorted(reasons.parts, key=lambda part: -part.value)
    ]
    _table(("gives", "boost", "× score", "code", "name"), rows)
    click.echo(f"{reasons.total!r} in all: {reasons.arithmetic}")


def _reasons_json(reasons: Reasons, names: Mapping[str, str]) -> dict[str, Any]:
    parts = [
        {"code": p.contribution.term, "name": names.get(p.contribution.term), "boost": p.contribution.boost}
        | {"posting": p.contribution.score, "value": p.value}
        for p in reasons.parts
    ]
    return {"score": reasons.score, "sum": reasons.total, "arithmetic": reasons.arithmetic, "contributions": parts}


def _facts(facts: Mapping[str, Any]) -> None:
    """Name and value, one a line; what is None is left out."""
    room = room_on_screen()
    for name, value in facts.items():
        if value is not None:
            line = f"{visible(name):<12}  {visible(str(value))}"
            click.echo(line if room is None else cut(line, room))


def _joined(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]], first: bool = False) -> None:
    """Print a table, an empty line before it unless it is the first thing."""
    if not first:
        click.echo()
    for line in table(headers, rows, room_on_screen()):
        click.echo(line)
