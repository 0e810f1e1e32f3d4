"""Reasons on the embedded engine, for any boosts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.shelf import CODES, ITEMS, make_shelf
from sparcode_es.codes import Clause
from sparcode_es.engines.base import Query
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import EmbeddedInspector
from sparcode_es.inspection.why import why, why_not


@pytest.fixture(scope="module")
def inspector(tmp_path_factory: pytest.TempPathFactory) -> EmbeddedInspector:
    folder: Path = tmp_path_factory.mktemp("why")
    return EmbeddedInspector(EmbeddedEngine(make_shelf(folder / "postings")))


TERMS = [str(code) for code in range(CODES)] + ["item_0", "item_4", "no_such_code"]
CLAUSES = st.lists(
    st.builds(Clause, st.sampled_from(TERMS), st.floats(1e-6, 1e6, allow_subnormal=False)),
    min_size=1,
    max_size=20,
    unique_by=lambda clause: clause.term,
)


@settings(max_examples=60)
@given(CLAUSES, st.integers(0, ITEMS - 1), st.integers(1, 40))
def test_reasons_add_up_and_places_are_those_of_the_ranking(
    inspector: EmbeddedInspector, clauses: list[Clause], number: int, k: int
) -> None:
    """Σ of the printed values, one after the other, is the score of the search, bit for bit."""
    item = inspector.engine.artifact.item_ids[number]
    query = Query(tuple(clauses), k)
    ranking = inspector.engine.search(replace(query, k=ITEMS))
    scores = {hit.item: hit.score for hit in ranking}
    found = why(inspector, query, item)
    total = 0.0
    for part in found.reasons.parts:
        total += part.contribution.boost * part.contribution.score
    assert total == found.reasons.total == found.reasons.score == scores.get(item, 0.0)
    place = [hit.item for hit in ranking].index(item) + 1 if item in scores else None
    assert found.rank == place
    absence = why_not(inspector, query, item, ())
    assert absence.rank == place
    assert absence.recommended == (place is not None and place <= k)
    assert absence.needed == (ranking[k - 1].score if len(ranking) >= k else None)
    hit = {part.contribution.term for part in found.reasons.parts}
    assert {clause.term for clause in absence.without_posting} == {clause.term for clause in clauses} - hit


def test_nothing_is_ranked_to_say_why(inspector: EmbeddedInspector, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums are compared; no identifiers are read but the item's own."""
    query = Query(inspector.engine.user("user 3").clauses, 10)
    third = inspector.engine.search(query)[2]
    monkeypatch.setattr(inspector.engine, "search", None)
    found = why(inspector, query, third.item)
    assert (found.rank, found.reasons.score) == (3, third.score)
