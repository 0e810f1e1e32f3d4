"""One question on its way to an answer, and the page that it becomes."""

from __future__ import annotations

from dataclasses import dataclass, field

from sparcode_es.engines.base import Hit, ItemDocument, Query, UserEntry
from sparcode_es.engines.conditions import item_values
from sparcode_es.errors import SparcodeError
from sparcode_es.serving.arrange import pinned
from sparcode_es.serving.ask import Ask
from sparcode_es.serving.results import Item, Reason, Recommendations


@dataclass
class Work:
    """A question and what is known so far. Filled in by `sparcode_es.serving.core`, step by step."""

    ask: Ask
    entry: UserEntry = field(default_factory=lambda: UserEntry(()))
    unknown: tuple[str, ...] = ()
    """Items of the history that the model does not know."""
    query: Query | None = None
    ranking: list[Hit] = field(default_factory=list)
    documents: dict[str, ItemDocument] = field(default_factory=dict)
    pins: dict[int, str] = field(default_factory=dict)
    reasons: dict[str, tuple[Reason, ...]] | None = None
    error: SparcodeError | None = None
    engine_seconds: float | None = None
    """How long the engine took to rank, its network counted; None where it was not asked."""

    def fail(self, error: SparcodeError) -> None:
        """Keep the first thing that went wrong."""
        self.error = self.error or error


def values(work: Work, name: str, item: str) -> list[str]:
    """The texts of an attribute of one of the question's items."""
    document = work.documents.get(item)
    return item_values(name, item, document.attributes if document else {})


def shown(work: Work) -> list[str]:
    """The ids on the page."""
    listed = pinned([hit.item for hit in work.ranking], work.pins, work.ask.length)
    return listed[work.ask.length - work.ask.k :]


def page(work: Work) -> Recommendations:
    """The answer, once ranking and documents are known."""
    scores = {hit.item: hit.score for hit in work.ranking}
    items = []
    for item in shown(work):
        document = work.documents.get(item, ItemDocument(item, None))
        reasons = None if work.reasons is None else work.reasons.get(item, ())
        items.append(Item(item, document.title, scores.get(item), document.attributes, item not in scores, reasons))
    ask, entry = work.ask, work.entry
    return Recommendations(
        tuple(items), "codes", None, ask.page, ask.k, entry.generation, work.query, entry.seen, work.unknown
    )
