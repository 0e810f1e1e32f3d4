"""What there is to see of a code, an item and a user."""

from __future__ import annotations

from dataclasses import dataclass

from sparcode_es.codes import is_item_term
from sparcode_es.engines.base import Clause, ItemDocument
from sparcode_es.engines.inspector import Inspector
from sparcode_es.errors import NotFoundError
from sparcode_es.postings.profile import CodeProfile


@dataclass(frozen=True)
class CodeView:
    """A code, and what its neighbours are called."""

    profile: CodeProfile
    neighbour_names: dict[str, str]


@dataclass(frozen=True)
class ItemView:
    """An item and its best postings."""

    document: ItemDocument
    postings: int
    """Codes that have a posting for it."""
    top_codes: dict[str, float]
    """The best of them: term → score, best first."""
    names: dict[str, str]
    """Of `top_codes`."""
    own: CodeProfile | None
    """The code that the item is in a history; None where items have none."""


@dataclass(frozen=True)
class UserView:
    """A user's codes and history."""

    user: str
    clauses: tuple[Clause, ...]
    names: dict[str, str]
    shares: dict[str, float]
    """Term → the code's share of the user's boosts."""
    history: tuple[str, ...]
    """All items, oldest first."""
    latest: tuple[ItemDocument, ...]
    """The latest items, the latest first."""

    @property
    def seen(self) -> int:
        """How many events the history has."""
        return len(self.history)


def code_view(inspector: Inspector, term: str) -> CodeView:
    """Raises `NotFoundError` for a code that the index does not have."""
    profile = inspector.codes([term]).get(term)
    if profile is None:
        info, named = inspector.engine.info(), term.startswith(("item_", "repeat_")) and not is_item_term(term)
        hint = "; an item's code has its number, as item_7, not its id: `sparcode-es inspect item ID` shows it as `own code`"
        raise NotFoundError(
            f"the {info.engine} index {info.generation} has no code {term!r}; `sparcode-es inspect codes` lists codes"
            f"{hint if named else ''}"
        )
    return CodeView(profile, inspector.names([each.code for each in profile.neighbours]))


def item_view(inspector: Inspector, item: str, count: int) -> ItemView:
    """An item with its `count` best codes. Raises `NotFoundError`."""
    postings = inspector.item_postings(item)
    top = dict(list(postings.items())[:count])
    return ItemView(
        document=inspector.engine.documents([item])[item],
        postings=len(postings),
        top_codes=top,
        names=inspector.names(list(top)),
        own=inspector.own_code(item),
    )


def user_view(inspector: Inspector, user_id: str, count: int) -> UserView:
    """A user with the latest `count` items. Raises `NotFoundError`."""
    entry = inspector.engine.user(user_id)
    total = sum(clause.boost for clause in entry.clauses) or 1.0
    latest = list(reversed(entry.seen[-count:])) if count else []
    documents = inspector.engine.documents(latest)
    return UserView(
        user=user_id,
        clauses=tuple(sorted(entry.clauses, key=lambda clause: (-clause.boost, clause.term))),
        names=inspector.names([clause.term for clause in entry.clauses]),
        shares={clause.term: clause.boost / total for clause in entry.clauses},
        history=tuple(entry.seen),
        latest=tuple(documents.get(item, ItemDocument(item, None)) for item in latest),
    )
