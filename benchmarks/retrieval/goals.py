"""The goals of speed, each looked up in the results: what was measured, the ratio, and whether it is enough."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from retrieval.record import Row
from retrieval.results import Record, Results
from retrieval.systems import EXCLUDED, FILTERS

MIDDLE, LARGE = 54_542, 1_000_000
LIMITED = (*FILTERS, EXCLUDED)


@dataclass(frozen=True)
class Outcome:
    """One row of the table of goals."""

    goal: str
    measured: str = "not measured"
    value: float | None = None
    """What is compared with the limit: mostly a ratio."""
    limit: float = 1.0
    at_least: bool = False
    records: tuple[str, ...] = ()
    note: str = ""

    @property
    def reached(self) -> bool | None:
        """None where nothing was measured."""
        if self.value is None:
            return None
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def ms(row: Row) -> str:
    """`0.123 ms (recall 1.00, uncut 0.97)`"""
    good = f" (recall {row['recall']:.2f}, uncut {row['uncut']:.2f})" if "recall" in row else ""
    return f"{row['p50_ms']:.3f} ms{good}"


def against(
    goal: str, limit: float, record: Record | None, ours: Row | None, other: Row | None, note: str = ""
) -> Outcome:
    """p50 of ours over that of another, of one record."""
    if record is None or ours is None or other is None:
        return Outcome(goal, limit=limit)
    name = " ".join(filter(None, (other["system"], other["setting"])))
    measured = f"{ms(ours)} against {name} {ms(other)}"
    return Outcome(goal, measured, ours["p50_ms"] / other["p50_ms"], limit, records=(record.name,), note=note)


def outcomes(results: Results) -> list[Outcome]:
    """Every goal of retrieval, upload and growth, in the order of the list of goals."""
    return [
        *_embedded(results),
        *_servers(results),
        *_limited(results),
        *_uploads(results),
        *_growth(results),
        *_processes(results),
    ]


def _embedded(results: Results) -> Iterator[Outcome]:
    for items, limit in ((LARGE, 0.1), (MIDDLE, 1 / 3)):
        local = results.local(items)
        pair = (local.pick("embedded"), local.pick("Faiss FlatIP")) if local else (None, None)
        yield against(f"embedded, {items:,} items, k 50: ≤ {_share(limit)} of FlatIP's p50", limit, local, *pair)
    local = results.local(LARGE)
    goal = f"embedded, {LARGE:,} items, k 50: ≤ IVFPQ's p50 at equal or better quality"
    ours = local.pick("embedded") if local else None
    found = sorted(local.picked("Faiss IVFPQ"), key=lambda row: row["p50_ms"]) if local else []
    if local is None or ours is None or not found:
        yield Outcome(goal)
        return
    best = max(found, key=lambda row: row["recall"])
    alike = next((row for row in found if row["recall"] >= ours["uncut"]), best)
    note = "the fastest of its settings with our quality" if alike["recall"] >= ours["uncut"] else "its best setting"
    yield against(goal, 1.0, local, ours, alike, f"{note}; the fastest of all, {found[0]['setting']}: {ms(found[0])}")


def _servers(results: Results) -> Iterator[Outcome]:
    for items, http_limit in ((MIDDLE, 1.3), (LARGE, 0.5)):
        goals = (
            ("kNN int8_hnsw", 1 / 3, f"≤ {_share(1 / 3)} of kNN `int8_hnsw`, same server"),
            ("Faiss FlatIP over HTTP", http_limit, f"≤ {_share(http_limit)} × FlatIP behind HTTP"),
        )
        for other, limit, text in goals:
            found = [r for r in results.servers(items) if r.pick(other)]
            for record in found:
                goal = f"Elasticsearch {record.content['server']}, {items:,} items: {text}"
                yield against(goal, limit, record, record.pick("Elasticsearch"), record.pick(other))
            if not found:
                yield Outcome(f"Elasticsearch, {items:,} items: {text}", limit=limit)


def _limited(results: Results) -> Iterator[Outcome]:
    limit = 1.5
    for items in (MIDDLE, LARGE):
        records = [each for each in (results.local(items), *results.servers(items)) if each is not None]
        for record in records:
            name = "embedded" if record.name.endswith("-local") else "Elasticsearch"
            bare = record.pick(name)
            found = {ask.name: row for ask in LIMITED if (row := record.pick(name, ask.name))}
            if bare and found:
                ratios = {ask: row["p50_ms"] / bare["p50_ms"] for ask, row in found.items()}
                text = "; ".join(f"{ask} {row['p50_ms']:.3f} ms, {ratios[ask]:.2f} ×" for ask, row in found.items())
                goal = f"{bare['system']}, {items:,} items: filters, exclusions ≤ {limit:g} × the bare query"
                measured = f"bare {bare['p50_ms']:.3f} ms; {text}"
                yield Outcome(goal, measured, max(ratios.values()), limit, records=(record.name,))
        if not records:
            yield Outcome(f"{items:,} items: filters, exclusions ≤ {limit:g} × the bare query", limit=limit)


def _uploads(results: Results) -> Iterator[Outcome]:
    rates, sizes = "upload ≥ 200,000 weights a second into one node", "≤ 4.5 bytes a posting after the merge"
    found = [(record, row) for record in results.uploads()[:1] for row in record.rows if row["what"] == "index"]
    if not found:
        yield Outcome(rates, limit=200_000, at_least=True)
        yield Outcome(sizes, limit=4.5)
    for record, row in found:
        about = f"{row['postings']:,} postings of {record.items:,} items"
        name = f"Elasticsearch {row['server']}"
        rate = row["weights_per_second"]
        measured = f"{rate:,} weights/s ({about}, documents of the items, in a whole `index`)"
        yield Outcome(f"{name}: {rates}", measured, rate, 200_000, at_least=True, records=(record.name,))
        size = row["bytes_per_posting"]
        alone = row["codes_bytes_per_posting"]
        measured = f"{size:.2f} bytes, {alone:.2f} without titles, ids and attributes ({about})"
        yield Outcome(f"{name}: {sizes}", measured, size, 4.5, records=(record.name,))


def _growth(results: Results) -> Iterator[Outcome]:
    goal, limit = f"p50 from {MIDDLE:,} to {LARGE:,} items at fixed postings a code: ≤ 2 ×", 2.0
    pairs = [("embedded", results.local(MIDDLE), results.local(LARGE))]
    large = {each.content["server"]: each for each in results.servers(LARGE)}
    pairs += [("Elasticsearch", each, large.get(each.content["server"])) for each in results.servers(MIDDLE)]
    for name, small, big in pairs:
        rows = (small.pick(name) if small else None, big.pick(name) if big else None)
        if small is None or big is None or rows[0] is None or rows[1] is None:
            continue
        measured = f"{ms(rows[0])}, then {ms(rows[1])}"
        ratio = rows[1]["p50_ms"] / rows[0]["p50_ms"]
        yield Outcome(f"{rows[0]['system']}: {goal}", measured, ratio, limit, records=(small.name, big.name))
    if pairs[0][1] is None or pairs[0][2] is None:
        yield Outcome(goal, limit=limit)


def _processes(results: Results) -> Iterator[Outcome]:
    goal = "`sparcode-es query --user`, whole process < 0.5 s"
    found = [r for items in (MIDDLE, LARGE) for r in (results.local(items), *results.servers(items)) if r is not None]
    for record in found:
        process = record.content["query_process"]
        name = "embedded" if record.name.endswith("-local") else f"Elasticsearch {record.content['server']}"
        measured = (
            f"median {process['seconds_p50']:.2f} s, worst of {process['processes']} {process['seconds_worst']:.2f} s"
        )
        yield Outcome(f"{name}, {record.items:,} items: {goal}", measured, process["seconds_p50"], 0.5,
                      records=(record.name,))  # fmt: skip
    if not found:
        yield Outcome(goal, limit=0.5)


def _share(value: float) -> str:
    return {1 / 3: "1/3", 0.1: "1/10", 0.5: "1/2"}.get(value, f"{value:g}")
