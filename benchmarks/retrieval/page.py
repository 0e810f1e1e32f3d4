"""SPEED.md: the goals, where they were measured, and the figures behind them."""

from __future__ import annotations

from collections.abc import Sequence

from report import markdown_table

from retrieval.goals import Outcome, outcomes
from retrieval.other_goals import other_outcomes
from retrieval.record import Row
from retrieval.results import Record, Results

MARK = {True: "yes", False: "**no**", None: "not measured"}
HEAD = """# Speed

Made by `make speed-report` from the files `results/speed-*.json`; do not edit. Ratios are taken between systems that answered in
turns in one run, after warming up. `recall` is the share of the exact answer of the same scores (Faiss and kNN: of all inner
products; SparCode: of Eq. 11 over the postings). `uncut` is the share of the answer that keeping every positive posting would
give; for the dense systems it is their recall. Items, codes and users are synthetic, by the recipe in `retrieval/recipe.py`."""


def page(results: Results, pictures: Sequence[str], reasons: dict[str, str]) -> str:
    """The whole text. reasons: goal → why it is not reached, for those that are not."""
    parts = [
        HEAD,
        "## Goals",
        _goals([*outcomes(results), *other_outcomes(results)], reasons),
        "Where these come from:",
        _sources(results.records),
    ]
    parts += [f"![{name}](results/{name}.png)" for name in pictures]
    for record in (*results.retrieval(), *results.clusters()):
        parts += [f"## {record.items:,} items: {_place(record)}", _figures(record.rows)]
        if "stages_ms" in record.content:
            parts.append(_stages(record))
    for record in results.sweeps():
        parts += [f"## Sparsity and clauses, {record.items:,} items", _sweep(record.rows)]
    for record in results.uploads():
        parts += [f"## Upload, {record.items:,} items", _upload(record)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _goals(found: list[Outcome], reasons: dict[str, str]) -> str:
    lines = []
    for each in found:
        value = "" if each.value is None else f"{each.value:,.0f}" if each.value > 1000 else f"{each.value:.2f}"
        why = reasons.get(each.goal, "") if each.reached is False else ""
        cell = MARK[each.reached] + (f": {why}" if why else "")
        measured = each.measured + (f"; {each.note}" if each.note else "")
        lines.append([each.goal, measured, value, cell, ", ".join(f"`{name}`" for name in each.records)])
    return _left(["goal", "measured", "ratio or value", "reached", "record"], lines)


def _sources(records: list[Record]) -> str:
    lines = []
    for each in records:
        environment = each.content["environment"]
        machine = environment["machine"]
        names = ("numpy", "faiss-cpu", "elasticsearch", "orjson", "scipy", "torch")
        versions = ", ".join(f"{n} {environment['packages'][n]}" for n in names if n in environment["packages"])
        where = (
            f"{machine['cores']} cores {machine['cpu']}, {machine['memory_gib']} GiB, load {machine['load_1min']:.1f}"
        )
        command = f"`{each.content['command']}`" if "command" in each.content else ""
        lines.append([f"`{each.name}`", environment["date"][:10], str(environment["commit"]), where, versions, command])
    return _left(["record", "date", "commit", "machine", "versions", "command"], lines)


def _place(record: Record) -> str:
    server, nodes = record.content.get("server"), record.content.get("nodes", 1)
    if server is None:
        return "in one process"
    return (
        f"Elasticsearch {server}, {nodes} nodes on this machine"
        if nodes > 1
        else f"Elasticsearch {server}, and beside it"
    )


def _figures(rows: list[Row]) -> str:
    lines = [
        [
            " ".join(filter(None, (row["system"], row["setting"]))), row["ask"], str(row["clients"]), str(row["threads"]),
            *(f"{row[name]:.3f}" for name in ("p50_ms", "p95_ms", "p99_ms")),
            *(f"{row[name]:.3f}" if name in row else "" for name in ("recall", "uncut")),
            f"{row['queries_per_second']:,.0f}" if "queries_per_second" in row else "",
            *(str(row[name]) if row.get(name) is not None else "" for name in ("mebibytes", "build_s")),
        ]
        for row in rows
    ]  # fmt: skip
    columns = [
        "system",
        "ask",
        "clients",
        "threads",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "recall",
        "uncut",
        "queries/s",
        "MiB",
        "built in s",
    ]
    return markdown_table(columns, lines)


def _stages(record: Record) -> str:
    parts = "; ".join(f"{name} {value:.3f}" for name, value in record.content["stages_ms"].items())
    memory = f"{record.content['server_mebibytes']:,} MiB with a heap of {record.content['heap']}"
    peak = record.content["client_peak_mebibytes"]
    return f"One request, ms: {parts}. The server's memory: {memory}; the client's peak: {peak:,.0f} MiB."


def _sweep(rows: list[Row]) -> str:
    lines = [
        [row["system"], row["setting"], str(row.get("clauses", 18)), f"{row['p50_ms']:.3f}", f"{row['p95_ms']:.3f}",
         f"{row['uncut']:.3f}" if "uncut" in row else ""]
        for row in rows
    ]  # fmt: skip
    return markdown_table(["system", "setting", "clauses", "p50 ms", "p95 ms", "uncut"], lines)


def _upload(record: Record) -> str:
    lines = []
    for row in record.rows:
        workers = f"{row['workers']} workers, {row['chunk_mib']:g} MiB a chunk" if "workers" in row else ""
        seconds = row.get("searchable_s", row.get("seconds", ""))
        lines.append([row["what"], row.get("server", ""), workers or (f"{row['items']:,} items" if "items" in row else ""),
                      f"{row['weights_per_second']:,}" if "weights_per_second" in row else "", str(seconds),
                      str(row.get("bytes_per_posting", ""))])  # fmt: skip
    peak = record.content["client_peak_mebibytes"] - record.content["peak_before_mebibytes"]
    columns = ["what", "server", "how", "weights/s", "searchable after s", "bytes a posting"]
    return markdown_table(columns, lines) + f"\n\nThe client's peak memory rose by {peak:,.0f} MiB."


def _left(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A Markdown table of texts."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [columns, ["---"] * len(columns), *lines])
