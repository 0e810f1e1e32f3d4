"""Time and quality against sparsity and against the number of clauses."""

from __future__ import annotations

from dataclasses import replace

from retrieval.answers import Exact
from retrieval.recipe import LATEST, Recipe
from retrieval.record import Row
from retrieval.rounds import time_ask
from retrieval.systems import BARE, System

SPARSITIES = (0.9, 0.95, 0.98, 0.99, 0.995, 0.999, 0.9995)
CLAUSES = (1, 2, 4, 8, 16, 32)

Setting = tuple[str, Recipe, tuple[int | None, ...]]


def settings(recipe: Recipe) -> list[Setting]:
    """Label, recipe and numbers of clauses (None: all) of every artifact of the sweeps."""
    found: list[Setting] = [
        (f"sparsity {100 * s:g} %", replace(recipe, postings=max(1, round((1 - s) * recipe.items))), (None,))
        for s in SPARSITIES
    ]
    wide = replace(recipe, nearest=CLAUSES[-1] - LATEST)
    return [*found, ("clauses", wide, CLAUSES)]


def time_point(systems: list[System], exact: Exact, queries: int, judged: int, clauses: int | None) -> list[Row]:
    """Rows of one point; `uncut` is the quality, and left out where only some clauses are asked."""
    rows = time_ask(systems, BARE, exact, queries, judged, 1)
    if clauses is None:
        return [{**row, "postings_per_code": exact.world.recipe.postings} for row in rows]
    return [
        {name: value for name, value in row.items() if name not in ("recall", "uncut")} | {"clauses": clauses}
        for row in rows
    ]
