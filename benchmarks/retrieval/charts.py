"""Pictures of the results: quality against latency, latency against items, against sparsity and clauses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import altair as alt
import pandas as pd
from pictures import styled

from retrieval.results import Record, Results

MS = alt.Scale(type="log", nice=False, padding=20)


def charts(results: Results) -> dict[str, alt.TopLevelMixin]:
    """File name → picture, of what the results have."""
    found = {}
    rows = list(_points(results.retrieval()))
    if rows:
        found["speed-quality"] = _quality(pd.DataFrame(rows))
        found["speed-items"] = _items(pd.DataFrame(rows))
    sweeps = [row for record in results.sweeps() for row in record.rows]
    if sweeps:
        found["speed-sparsity"] = _sparsity(pd.DataFrame(sweeps), results.sweeps()[0].items)
    return found


def _points(records: Iterable[Record]) -> Iterable[dict[str, Any]]:
    """The bare queries of one client, one thread. A system that stands in several records counts in the part `local`, or the
    first. `index`: what its settings have in common, as in "16 bytes, 4 of 467 lists"."""
    seen = set()
    for record in sorted(records, key=lambda each: not each.name.endswith("-local")):
        for row in record.picked(""):
            series = row["system"]
            key = record.items, row["system"], row["setting"]
            if key not in seen and "uncut" in row:
                seen.add(key)
                yield {"items": record.items, "series": series, "index": row["setting"].rpartition(", ")[0], **row}


def _colour(frame: pd.DataFrame, name: str = "series") -> alt.Color:
    return alt.Color(
        f"{name}:N", title=None, sort=list(dict.fromkeys(frame[name])),
        scale=alt.Scale(scheme="tableau10"), legend=alt.Legend(orient="bottom", columns=3),
    )  # fmt: skip


def _quality(frame: pd.DataFrame) -> alt.TopLevelMixin:
    panels = []
    for items, part in frame.groupby("items"):
        base = alt.Chart(part, width=330, height=250, title=f"{items:,} items").encode(
            alt.X("p50_ms:Q", title="p50 of a query, ms (log scale)", scale=MS),
            alt.Y("uncut:Q", title="share of the uncut answer's best 50", scale=alt.Scale(zero=False, padding=12)),
            _colour(frame),
            detail="index:N",
        )
        panels.append(base.mark_line(strokeWidth=1.5, opacity=0.6) + base.mark_point(filled=True, size=80, opacity=1))
    grid = alt.vconcat(*(alt.hconcat(*panels[i : i + 2]) for i in range(0, len(panels), 2)))
    return styled(grid, "Quality and latency", "k 50, one client, one thread; lines join settings of one index")


def _items(frame: pd.DataFrame) -> alt.TopLevelMixin:
    best = frame.sort_values("p50_ms").groupby(["items", "series"], sort=False, as_index=False).first()
    base = alt.Chart(best, width=560, height=360).encode(
        alt.X("items:Q", title="items (log scale)", scale=alt.Scale(type="log", nice=False, padding=20)),
        alt.Y("p50_ms:Q", title="p50 of a query, ms (log scale)", scale=MS),
        _colour(frame),
    )
    both = base.mark_line(strokeWidth=1.5) + base.mark_point(filled=True, size=70, opacity=1)
    return styled(both, "Latency and items", "k 50, postings a code fixed; of several settings the fastest")


def _sparsity(frame: pd.DataFrame, items: int) -> alt.TopLevelMixin:
    cut = frame[frame.setting.str.startswith("sparsity")].copy()
    cut["kept"] = 100 - cut.setting.str.extract(r"([\d.]+)")[0].astype(float)
    wide = frame[frame.setting == "clauses"]
    kept = alt.X("kept:Q", title="per cent of (code, item) scores kept = 100 − sparsity",
                 scale=alt.Scale(type="log", reverse=True, nice=False, padding=15))  # fmt: skip
    ms = alt.Y("p50_ms:Q", title="p50 of a query, ms (log scale)", scale=MS)
    left = alt.Chart(cut, width=330, height=260, title="latency and sparsity").encode(kept, ms, _colour(cut, "system"))
    middle = alt.Chart(cut[cut.system == "embedded"], width=260, height=260, title="quality and sparsity").encode(
        kept,
        alt.Y("uncut:Q", title="share of the uncut answer's best 50", scale=alt.Scale(zero=False)),
        _colour(cut, "system"),
    )
    right = alt.Chart(wide, width=260, height=260, title="latency and clauses").encode(
        alt.X("clauses:Q", title="clauses", scale=alt.Scale(type="log", base=2)), ms, _colour(cut, "system")
    )
    panels = [each.mark_line() + each.mark_point(filled=True, size=60, opacity=1) for each in (left, middle, right)]
    return styled(alt.hconcat(*panels), "Sparsity and clauses", f"{items:,} items, k 50, one client, one thread")
