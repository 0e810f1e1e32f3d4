"""What Elasticsearch costs: time of a query, bytes of a posting, speed of loading, on synthetic postings of a given size."""

from __future__ import annotations

import json
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np
from command import BenchCommand
from environment import describe_environment
from retrieval.postings import synthetic_manifest
from timing import Times

from sparcode_es import csr
from sparcode_es.codes import UserCodes
from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.node import LocalNode
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import to_grid
from sparcode_es.postings.write import write_items, write_manifest, write_users
from sparcode_es.tables import StringTable

NAME = "benchmark-cost"
COLUMNS = ("version", "items", "codes_per_item", "postings", "load_s", "bytes_per_posting", "p50_ms", "p95_ms", "date")


class _Nothing:
    """Seen items of no users."""

    offsets = np.zeros(1, dtype=np.uint64)
    items = np.zeros(0, dtype=np.uint32)


def synthetic_artifact(folder: Path, items: int, codes_per_item: int, codes: int, seed: int) -> Artifact:
    """Postings of random codes with exponential scores, uniform over codes; no users."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, codes, (items, codes_per_item), dtype=np.int64)
    keys = np.unique((drawn * items + np.arange(items)[:, None]).ravel())
    rows, present = np.unique(keys // items, return_inverse=True)
    folder.mkdir(parents=True)
    table = np.stack([np.zeros_like(rows), rows], axis=1).astype(np.uint32)
    offsets = csr.offsets_of(np.bincount(present))
    np.save(folder / "codes.npy", table)
    np.save(folder / "code_offsets.npy", offsets)
    np.save(folder / "item_numbers.npy", (keys % items).astype(np.uint32))
    np.save(folder / "scores.npy", to_grid(rng.exponential(size=len(keys)).astype(np.float32) + np.float32(1e-3)))
    documents = ({"title": f"Item {i}", "attributes": {}} for i in range(items))
    write_items(folder, StringTable.build(str(i) for i in range(items)), documents)
    nobody = UserCodes(np.zeros(1, np.uint64), np.zeros((0, 2), np.uint32), np.zeros(0, np.float32))
    counts = write_users(folder, StringTable.build([]), nobody, _Nothing(), table)
    counts |= {"codes": len(rows), "items": items, "postings": len(keys), "item_codes": 0, "item_code_postings": 0}
    write_manifest(folder, synthetic_manifest(folder, counts))
    return Artifact.open(folder)


def query_times(server: Server, artifact: Artifact, queries: int, clauses: int, k: int, seed: int) -> list[float]:
    """Milliseconds of `engine.search`, of random codes, after a tenth as many to warm up."""
    rng = np.random.default_rng(seed)
    engine, times = ElasticsearchEngine(server, NAME), []
    for number in range(queries + queries // 10):
        rows = rng.choice(artifact.num_codes, min(clauses, artifact.num_codes), replace=False)
        query = Query(tuple(Clause(artifact.term(int(row)), 1.0) for row in rows), k=k)
        started = time.perf_counter()
        engine.search(query)
        if number >= queries // 10:
            times.append(1000 * (time.perf_counter() - started))
    return times


@click.command(
    cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/elasticsearch_cost.py --version 9.4.5 --items 50000"
)
@click.option("--version", multiple=True, default=["7.17.29", "9.4.5"], show_default=True, help="Servers to start.")
@click.option("--items", default=50_000, show_default=True)
@click.option("--codes-per-item", default=100, show_default=True)
@click.option("--codes", default=65_536, show_default=True, help="Codes that the postings are spread over.")
@click.option("--clauses", default=8, show_default=True, help="Codes of a query.")
@click.option("-k", default=50, show_default=True)
@click.option("--queries", default=2000, show_default=True)
@click.option("--heap", default="1g", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True)
def main(version: tuple[str, ...], items: int, codes_per_item: int, heap: str, out: Path, **flags: int) -> None:
    """Load synthetic postings into throw-away servers and time queries; prints a Markdown table."""
    seed, codes = flags.pop("seed"), flags.pop("codes")
    click.echo(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    with tempfile.TemporaryDirectory() as folder:
        artifact = synthetic_artifact(Path(folder) / "postings", items, codes_per_item, codes, seed)
        for each in version:
            settings = {"items": items, "codes_per_item": codes_per_item, "codes": codes, "seed": seed, **flags}
            result = measure(each, artifact, heap, settings)
            row = {**settings, **result, "date": result["environment"]["date"][:10]}
            click.echo(f"| {' | '.join(str(row[column]) for column in COLUMNS)} |")
            out.mkdir(parents=True, exist_ok=True)
            file = out / f"elasticsearch-cost-{each}-{items}x{codes_per_item}.json"
            file.write_text(json.dumps({**settings, **result}, indent=1) + "\n", encoding="utf-8")


def measure(version: str, artifact: Artifact, heap: str, settings: dict[str, int]) -> dict[str, Any]:
    """Start a server of that version, load, ask, and end it."""
    with LocalNode(version, heap=heap) as node:
        server = Server(ConnectionConfig(url=node.url))
        started = time.perf_counter()
        report = index(server, artifact, IndexOptions(NAME, compact=True), lambda *_: None)
        seconds = time.perf_counter() - started
        asked = {name: settings[name] for name in ("queries", "clauses", "k", "seed")}
        times = query_times(server, artifact, **asked)
        delete(server, NAME, report.generation.removeprefix(f"{NAME}-"))
        server.close()
    return {
        "version": version,
        "field_type": report.field_type,
        "postings": report.postings,
        "load_s": round(seconds, 1),
        "bytes": report.bytes,
        "bytes_per_posting": report.bytes_per_posting,
        **asdict(Times.of(times)),
        "environment": describe_environment(elasticsearch=version),
    }


if __name__ == "__main__":
    main()
