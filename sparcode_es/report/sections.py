"""The sections of a report that a holding answers, each from a few calls of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from sparcode_es.postings.principal import Rows, principal
from sparcode_es.postings.profile import LEARNED
from sparcode_es.postings.survey import QUANTILES
from sparcode_es.report.facts import CodeMap, Documents, Histogram, KindUsage, MapPoint, Points, Scores, Usage
from sparcode_es.report.holding import Holding, Label, ScoreCounts, Tallies

BARS = 40
"""Bars of a histogram, at most."""
CURVE = 120
"""Points of a curve, at most."""
BUSIEST = 20
"""Codes with most traffic that are listed."""
DEAD = 8
"""Examples of each kind of dead thing."""


def usage_of(holding: Holding, tallies: Mapping[str, Tallies]) -> Usage | None:
    """Who has which codes; None where there are no codes."""
    if not tallies:
        return None
    learned = tallies.get(LEARNED)
    return Usage(
        kinds={kind: _kind_usage(each) for kind, each in tallies.items()},
        perplexity=None if learned is None else perplexity(learned.traffic),
        cumulative={kind: _cumulative(each.traffic) for kind, each in tallies.items() if each.traffic.any()},
        users={kind: histogram({"codes": each.users}) for kind, each in tallies.items()},
        items={kind: histogram({"codes": each.items}) for kind, each in tallies.items()},
        busiest=tuple(holding.inspector.busiest(BUSIEST)),
        dead=holding.inspector.dead(DEAD),
    )


def _kind_usage(tallies: Tallies) -> KindUsage:
    return KindUsage(
        codes=len(tallies.codes),
        with_users=int((tallies.users > 0).sum()),
        with_items=int((tallies.items > 0).sum()),
        postings=int(tallies.items.sum()),
        traffic=float(tallies.traffic.sum()),
    )


def perplexity(traffic: np.ndarray) -> float | None:
    """exp(entropy of the traffic [C]) / C; None without traffic."""
    shares = traffic[traffic > 0] / max(float(traffic.sum()), 1e-300)
    return float(np.exp(-(shares * np.log(shares)).sum())) / len(traffic) if len(shares) else None


def _cumulative(traffic: np.ndarray) -> Points:
    """(share of the codes, busiest first; share of their traffic), float64 [C] → at most `CURVE` + 1 points."""
    sums = np.concatenate([[0.0], np.cumsum(np.sort(traffic)[::-1])])
    places = np.unique(np.linspace(0, len(traffic), min(CURVE, len(traffic)) + 1).astype(int))
    return tuple(zip((places / len(traffic)).tolist(), (sums[places] / sums[-1]).tolist(), strict=True))


def histogram(layers: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray] | None = None) -> Histogram:
    """Numbers [n] a layer, with weights [n], between common edges; whole numbers in bars of whole width."""
    values = np.concatenate([np.zeros(0), *layers.values()])
    if not len(values):
        return Histogram((0.0, 1.0), {})
    whole = all(np.issubdtype(each.dtype, np.integer) for each in layers.values())
    edges = _whole_edges(int(values.max())) if whole else np.linspace(0.0, float(values.max()), BARS + 1)
    counted = {
        name: np.histogram(each, edges, weights=None if weights is None else weights[name])[0]
        for name, each in layers.items()
    }
    return Histogram(tuple(edges.tolist()), {name: tuple(map(float, each)) for name, each in counted.items()})


def _whole_edges(largest: int) -> np.ndarray:
    """Edges from 0 to beyond the largest number, a whole width apart."""
    width = -(-(largest + 1) // BARS)
    return np.arange(0, largest + width + 1, width, dtype=np.float64)


def scores_of(holding: Holding, pairs: int) -> Scores | None:
    """The sizes of the scores; None without postings. pairs: (code, item) pairs of the quantizer, 0 where that is unknown."""
    found = {kind: each for kind, each in holding.scores().items() if each.counts.sum()}
    if not found:
        return None
    return Scores(
        exact=holding.exact,
        histogram=histogram(
            {kind: each.values for kind, each in found.items()}, {kind: each.counts for kind, each in found.items()}
        ),
        quantiles={kind: quantiles_of(each) for kind, each in found.items()},
        sparsity=_sparsity(found[LEARNED], pairs) if pairs and LEARNED in found else (),
    )


def quantiles_of(scores: ScoreCounts) -> dict[str, float]:
    """The same places of the ordered numbers as in `sparcode_es.postings.survey`."""
    ends = np.cumsum(scores.counts)
    last = max(float(ends[-1]) - 1, 0.0)
    places = [
        min(int(np.searchsorted(ends, int(share * last), side="right")), len(ends) - 1) for share in QUANTILES.values()
    ]
    return dict(zip(QUANTILES, scores.values[places].tolist(), strict=True))


def _sparsity(scores: ScoreCounts, pairs: int) -> Points:
    """(s, 1 - postings of at least s / pairs) for s from 0 to the largest score."""
    cuts = np.linspace(0.0, float(scores.values[-1]), CURVE)
    below = np.concatenate([[0.0], np.cumsum(scores.counts)])
    kept = below[-1] - below[np.searchsorted(scores.values, cuts, side="left")]
    return tuple(zip(cuts.tolist(), (1 - kept / pairs).tolist(), strict=True))


def documents_of(holding: Holding) -> Documents | None:
    """Postings a document; None without documents."""
    found = holding.documents()
    items = sum(found.values())
    if not items:
        return None
    postings = np.array(sorted(found), dtype=np.int64)
    counts = np.array([found[each] for each in postings.tolist()], dtype=np.float64)
    return Documents(
        items=items,
        without=found.get(0, 0),
        mean=float(postings @ counts) / items,
        quantiles=quantiles_of(ScoreCounts(postings.astype(np.float64), counts)),
        histogram=histogram({"items": postings}, {"items": counts}),
    )


def map_of(
    tallies: Tallies | None, terms: Sequence[str], rows: Rows, basis: str, labels: Mapping[str, Label]
) -> CodeMap | None:
    """The codes `terms` in the plane of their rows' principal components. tallies: of all learned codes, None where there is no
    index."""
    if len(terms) < 3:
        return None
    places, explained = principal(rows)
    known = {} if tallies is None else {term: i for i, term in enumerate(tallies.codes)}

    def point(term: str, place: Sequence[float]) -> MapPoint:
        label, i = labels.get(term, Label(term, ())), known.get(term)
        counts = (0, 0, 0.0)
        if tallies is not None and i is not None:
            counts = (int(tallies.items[i]), int(tallies.users[i]), float(tallies.traffic[i]))
        return MapPoint(term, label.name, place[0], place[1], *counts, top=label.top)

    points = tuple(point(term, place) for term, place in zip(terms, places.tolist(), strict=True))
    return CodeMap(basis, explained, points, len(terms) if tallies is None else len(tallies.codes))
