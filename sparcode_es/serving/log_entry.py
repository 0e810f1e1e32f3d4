"""What the query log says of a request: no filter's values, no titles, and no error's words, which may name the user."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from sparcode_es.engines.base import Source
from sparcode_es.errors import SparcodeError
from sparcode_es.serving.log import QueryLog, plain
from sparcode_es.serving.results import Recommendations
from sparcode_es.serving.work import Work

HISTORY, USER = "history", "user"
ERROR = "error"
"""The source of an answer that was none."""


@dataclass(frozen=True)
class Asked:
    """One call of a recommender: one question, or several at once, which share its times."""

    begun: float
    """Seconds since 1970."""
    whole: float
    """Seconds from the call to its answer."""
    batch: int
    """Questions in it."""


def entries(
    log: QueryLog,
    source: Source,
    asked: Asked,
    works: Sequence[Work],
    outcomes: Sequence[Recommendations | SparcodeError],
) -> list[dict[str, Any]]:
    """A document a question; fields as in `mappings/queries.json`."""
    shared = {
        "@timestamp": datetime.fromtimestamp(asked.begun, timezone.utc).isoformat(timespec="milliseconds"),
        "engine": source.kind,
        "index": source.name,
        "batch": asked.batch,
        "whole_ms": round(1000 * asked.whole, 3),
    }
    return [
        {**shared, **_question(log, work), **_answer(log, work, outcome)}
        for work, outcome in zip(works, outcomes, strict=True)
    ]


def _question(log: QueryLog, work: Work) -> dict[str, Any]:
    ask = work.ask
    found: dict[str, Any] = {
        "asked": HISTORY if ask.user is None else USER,
        "k": ask.k,
        "page": ask.page,
        "filtered": bool(ask.filter),
        "codes": len(work.entry.clauses),
    }
    user = None if ask.user is None else log.user(ask.user)
    if user is not None:
        found["user"] = user
    if work.engine_seconds is not None:
        found["engine_ms"] = round(1000 * work.engine_seconds, 3)
    return found


def _answer(log: QueryLog, work: Work, outcome: Recommendations | SparcodeError) -> dict[str, Any]:
    shown = () if isinstance(outcome, SparcodeError) else outcome.items
    source = ERROR if isinstance(outcome, SparcodeError) else outcome.source
    found: dict[str, Any] = {
        "hits": len(shown),
        "empty": not shown,
        "source": source,
        "fallback": source == "popular",
    }
    if work.error is not None:
        found["why"] = type(work.error).__name__
    if not isinstance(outcome, SparcodeError) and outcome.generation is not None:
        found["generation"] = outcome.generation
    if log.options.items and shown:
        found["items"] = [plain(item.id) for item in shown[: log.options.items]]
    return found
