"""docs/scale.md: what 1 million to 1 billion items cost, by formula from the slopes that the speed benchmarks measured.

python benchmarks/speed_scale.py --node-memory 64 --node-price 400
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
from command import BenchCommand
from report import markdown_table
from retrieval.recipe import Recipe
from retrieval.results import Record, Results

from sparcode_es.files import atomic_write

HERE = Path(__file__).parent
SIZES = (1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
TEXT = """# Scale

Made by `python benchmarks/speed_scale.py` from `benchmarks/results/speed-*.json`; do not edit. What lies beyond
the largest size that was measured, {largest:,} items, is computed, not measured.

## Formula

- postings P = C × n + I × m: C codes with at most n postings each, and m for each of the I item codes (one more an item
  with repeat codes). Here C = I / 32,
  n = {postings}, m = {item_postings}, so P ≈ {per_item:.0f} an item. All four are choices: `--max-postings-per-code` sets n.
- disk = b × P × (1 + replicas), b = {bytes_per_posting:.2f} bytes a posting, which grows with the items: {bytes_by_items}
  (after the merge; ids, titles and attributes within).
- memory: the index should lie in the page cache, half of a node's memory. nodes = ⌈disk / (memory / 2)⌉, at least 1 + replicas.
- load = P / rate, rate = {rate:,} weights a second into one node of {cores} cores, the merge within; nodes load side by side.
- p50 of one query over one shard = {intercept:.3f} + {slope:.3f} × log₁₀(I / {smallest:,}) ms, fitted over {sizes}
  items at fixed n, never falling. Lists do not grow with I, so the slope is that of caches and of gaps between numbers. Of
  several shards the slowest counts.
- queries a second = {per_core:,.0f} a core, from {clients} clients on {cores} cores, clients and server on the same machine.

Measured with Elasticsearch {server} on {cpu}, {dates}.

## Figures

Replicas: {replicas}. A node: {memory} GiB, {price} a month (an assumption: give your own as `--node-memory` and `--node-price`).

{table}

## Against what others publish

OpenSearch reports 11.8 ms for its approximate sparse search (SEISMIC) over 1.29 billion documents; Vespa answers such sums by
WAND, exactly. Our lists are bounded by n, so that a query reads {read:,} postings at most, whatever I: far
fewer than text does. What grows is the index, not the query.

## What to change on the way

- 10 million: one index still; from some 50 GiB on, several primary shards. `index --update` in place of whole loads.
- 100 million: leave the item codes of rare items out (m for the popular ones only), shard by item, one replica for reads.
- 1 billion: two-phase answers. A first phase over few, short lists, or SEISMIC-like blocks whose summaries are read first, gives
  some thousand candidates; exact sums of Eq. 11 rank those alone. Exactness is then given up, and has to be measured.
"""


@dataclass(frozen=True)
class Slopes:
    """What was measured."""

    p50: dict[int, float]
    """Items → ms."""
    bytes_by_items: dict[int, float]
    """Items → bytes a posting."""
    rate: int
    queries_per_second: float
    clients: int
    record: Record
    dates: list[str]
    """The days of the measurements, ascending."""

    @property
    def bytes_per_posting(self) -> float:
        """At the largest size."""
        return self.bytes_by_items[max(self.bytes_by_items)]

    @property
    def line(self) -> tuple[float, float]:
        """Intercept and slope of p50 over log₁₀(I / the smallest I); where it falls, the largest p50 and 0."""
        sizes = sorted(self.p50)
        if len(sizes) == 1:
            return self.p50[sizes[0]], 0.0
        slope, intercept = np.polyfit(np.log10(np.array(sizes) / sizes[0]), [self.p50[size] for size in sizes], 1)
        return (float(intercept), float(slope)) if slope >= 0 else (max(self.p50.values()), 0.0)


def measured(results: Results, server: str) -> Slopes:
    """The slopes of one server. Raises `ClickException` when something was not measured."""
    records = [each for each in results.retrieval() if each.content.get("server") == server]
    rows = {each.items: row for each in records if (row := each.pick("Elasticsearch"))}
    if not rows:
        raise click.ClickException(f"no retrieval of Elasticsearch {server}; `make speed` measures it")
    crowds = [r for r in records[-1].rows if r.get("crowd") and r["system"].startswith("Elasticsearch")]
    best = max(crowds, key=lambda row: row["queries_per_second"])
    largest = rows[max(rows)]
    rate = round(largest["mebibytes"] * 2**20 / largest["bytes_per_posting"] / largest["build_s"])
    dates = sorted({record.content["environment"]["date"][:10] for record in records})
    p50, sizes = ({items: row[key] for items, row in rows.items()} for key in ("p50_ms", "bytes_per_posting"))
    return Slopes(p50, sizes, rate, best["queries_per_second"], best["clients"], records[-1], dates)


def line_of(items: int, slopes: Slopes, recipe: Recipe, replicas: int, memory: float, price: float) -> list[str]:
    """One size."""
    postings = per_item(recipe) * items
    disk = postings * slopes.bytes_per_posting * (1 + replicas) / 2**30
    nodes = max(1 + replicas, math.ceil(disk / (memory / 2)))
    intercept, slope = slopes.line
    p50 = intercept + slope * math.log10(items / min(slopes.p50))
    hours = postings / slopes.rate / 3600 / max(1, nodes // (1 + replicas))
    return [f"{items:,}", f"{postings / 1e6:,.0f} M", f"{disk:,.1f} GiB", f"{nodes:,}", f"{hours:,.1f} h", f"{p50:.2f} ms",
            f"{nodes * price:,.0f}"]  # fmt: skip


def per_item(recipe: Recipe) -> float:
    """Postings an item of the recipe, where codes grow with the items."""
    return recipe.postings / 32 + recipe.item_postings


def text(slopes: Slopes, replicas: int, memory: float, price: float) -> str:
    """The whole page."""
    recipe, environment = Recipe(max(slopes.p50)), slopes.record.content["environment"]
    lines = [line_of(items, slopes, recipe, replicas, memory, price) for items in SIZES]
    columns = ["items", "postings", "disk", "nodes", "load", "p50", "a month"]
    intercept, slope = slopes.line
    growth = ", ".join(f"{size:.2f} at {items:,}" for items, size in sorted(slopes.bytes_by_items.items()))
    return TEXT.format(
        largest=max(slopes.p50), smallest=min(slopes.p50), sizes=", ".join(f"{size:,}" for size in sorted(slopes.p50)),
        postings=recipe.postings, item_postings=recipe.item_postings, per_item=per_item(recipe),
        bytes_per_posting=slopes.bytes_per_posting,
        bytes_by_items=growth, rate=slopes.rate, intercept=intercept, slope=slope,
        per_core=slopes.queries_per_second / environment["machine"]["cores"], clients=slopes.clients,
        cores=environment["machine"]["cores"], cpu=environment["machine"]["cpu"], dates=", ".join(slopes.dates),
        server=slopes.record.content["server"], replicas=replicas, memory=f"{memory:g}", price=f"{price:g}",
        table=markdown_table(columns, lines), read=recipe.nearest * recipe.postings + 10 * recipe.item_postings,
    )  # fmt: skip


@click.command(
    cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/speed_scale.py --server 9.4.5 --node-memory 128"
)
@click.option("--results", type=click.Path(path_type=Path), default=HERE / "results", show_default=True)
@click.option("--server", default="9.4.5", show_default=True, help="Whose slopes.")
@click.option("--replicas", default=1, show_default=True)
@click.option("--node-memory", default=64.0, show_default=True, help="GiB of a node.")
@click.option("--node-price", default=400.0, show_default=True, help="Of a node and month, in your currency.")
@click.option("--out", type=click.Path(path_type=Path), default=HERE.parent / "docs" / "scale.md", show_default=True)
def main(results: Path, server: str, replicas: int, node_memory: float, node_price: float, out: Path) -> None:
    """Write docs/scale.md from measured slopes."""
    page = text(measured(Results(results), server), replicas, node_memory, node_price)
    out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(out, "w") as file:
        file.write(page)
    click.echo(out)


if __name__ == "__main__":
    main()
