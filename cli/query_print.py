"""What `sparcode-es query` prints for people, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.engine_options import AnyEngine, lookup_of

from sparcode_es.codes import in_words
from sparcode_es.errors import SparcodeError
from sparcode_es.visible import visible

if TYPE_CHECKING:
    from sparcode_es.serving.results import Item, Reason, Recommendations

LATEST = 5
"""Items of the history that --show-history shows, whatever -k is."""


@dataclass(frozen=True)
class Shown:
    """An answer, and what there is to tell of it."""

    answer: Recommendations
    document: dict[str, Any]
    """For --json."""
    notes: list[str]
    """For stderr: what went otherwise than asked, and what answered."""


def as_json(
    engine: AnyEngine, answer: Recommendations, elapsed: float, show_history: bool, show_request: bool
) -> dict[str, Any]:
    """The answer's document."""
    found: dict[str, Any] = {
        "engine": asdict(engine.info()),
        "milliseconds": round(1000 * elapsed, 3),
        "source": answer.source,
        "reason": answer.reason,
        "page": answer.page,
        "unknown": list(answer.unknown),
        "clauses": [] if answer.query is None else [asdict(clause) for clause in answer.query.clauses],
        "items": [_item_json(item) for item in answer],
    }
    named = {
        reason.term: {"item": reason.because.item, "title": reason.because.title}
        for item in answer
        for reason in item.reasons or ()
        if reason.because is not None
    }
    if named:
        found["code_items"] = named
    if any(item.reasons for item in answer):
        found["code_names"] = _names(engine, answer)
    if show_history:
        found["history"] = _titles(engine, answer)
    if show_request:
        found["request"] = None if answer.query is None else engine.request(answer.query)
    return found


def _names(engine: AnyEngine, answer: Recommendations) -> dict[str, str]:
    """Learned codes' readable names by term, where the engine has them at hand."""
    reasons = (reason for item in answer for reason in item.reasons or ())
    terms = list(dict.fromkeys(reason.term for reason in reasons if reason.because is None))
    try:
        return lookup_of(engine).names(terms, answer.generation)
    except SparcodeError:
        return {}


def _titles(engine: AnyEngine, answer: Recommendations) -> list[str]:
    """The titles of the user's latest items, the latest first."""
    latest = list(reversed(answer.seen[-LATEST:]))
    documents = engine.documents(latest)
    return [(documents[item].title or item) if item in documents else item for item in latest]


def _item_json(item: Item) -> dict[str, Any]:
    shown: dict[str, Any] = {"item": item.id, "score": item.score, "title": item.title, "pinned": item.pinned}
    shown["attributes"] = dict(item.attributes)
    if item.reasons is not None:
        parts = [{"term": each.term, "boost": each.boost, "score": each.score} for each in item.reasons]
        shown["explanation"] = {"contributions": parts, "total": sum(each.given for each in item.reasons)}
    return shown


def answer(shown: Shown, whole: bool) -> None:
    """Print an answer. whole: as one JSON document."""
    if whole:
        click.echo(json.dumps(shown.document, ensure_ascii=False))
    else:
        _print(shown.answer, shown.document)
    for sentence in shown.notes:
        click.echo(visible(sentence), err=True)


def _print(found: Recommendations, document: Mapping[str, Any]) -> None:
    """The list on stdout, or on stderr where a request is to be pasted from stdout."""
    asked = "request" in document
    for line in _lines(found, document):
        click.echo(line, err=asked)
    if document.get("request"):
        click.echo(document["request"])


def _lines(found: Recommendations, document: Mapping[str, Any]) -> list[str]:
    lines = []
    if document.get("history"):
        lines = ["latest items of the user", *(f"    {visible(title)}" for title in document["history"]), "recommended"]
    titled = any(item.title for item in found)
    for place, item in enumerate(found, start=1 + (found.page - 1) * found.k):
        score = "" if item.score is None else f"{item.score:.4f}"
        title = (item.title or item.id) if titled else ""
        lines.append(f"{place:>3}  {score:>10}  {visible(item.id):<12}  {visible(title)}".rstrip())
        for part in sorted(item.reasons or (), key=lambda part: -part.given):
            lines.append(
                f"       {part.given:>10.4f}  = {part.boost:.4f} × {part.score:.4f}   code {_code_name(part, document)}"
            )
    return lines


def _code_name(part: Reason, document: Mapping[str, Any]) -> str:
    """A code's term and readable name; of the code of an item, the item of the history that it is."""
    if part.because is not None:
        return f"{part.term}, {in_words(part.term, visible(part.because.title or part.because.item))}"
    name = document["code_names"].get(part.term, part.term)
    return part.term if name == part.term else f"{part.term}, {visible(name)}"
