"""Open-loop load on a real server: 50, 80 and 120 % of what a closed loop shows that it holds, then half again.

    python benchmarks/load.py
    python benchmarks/load.py --seconds 20 --items 12000 --targets recommender

Requests begin at fixed times (a Poisson process) whatever the answers take, and latencies count from when a request was to begin.
Asked are `Recommender.from_elasticsearch` in this process and `sparcode-es serve` in another. Load generator, client and server
share this machine: "what is held" is that of all three together.
"""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from command import BenchCommand, some_of
from environment import command_line, describe_environment
from marked import fill, row
from pressure.arrivals import THREADS, closed_loop, open_loop, recovery, schedule, summary
from pressure.askers import Asked, by_http, by_recommender, service
from pressure.memory import Memory
from retrieval.postings import write_artifact
from retrieval.recipe import Recipe, make_world

from sparcode_es import Limits, Recommender
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.node import VERSIONS, LocalNode
from sparcode_es.files import atomic_write
from sparcode_es.postings.artifact import Artifact

NAME = "load"
SHARES = (0.5, 0.8, 1.2)
CLIENTS = 16
TARGETS = ("recommender", "service")
ROOT = Path(__file__).resolve().parent.parent


@contextlib.contextmanager
def asked(target: str, url: str, users: Sequence[str]) -> Iterator[Asked]:
    """One of `TARGETS` over the server."""
    if target == "recommender":
        with Recommender.from_elasticsearch(url, NAME, limits=Limits()) as recommender:
            recommender.warm()
            yield Asked(target, by_recommender(recommender, users), os.getpid())
    else:
        with service(url, NAME) as (port, pid):
            yield Asked(target, by_http(port, users), pid)


def stages(target: Asked, seconds: float, closed: float, poisson: bool) -> dict[str, Any]:
    """Capacity, the three loads, and how long it takes after the last until half the capacity is served as before."""
    closed_loop(target.ask, CLIENTS, closed / 4)
    held = closed_loop(target.ask, CLIENTS, closed)
    click.echo(f"{target.name} holds {held:.0f} a second", err=True)
    rows: list[dict[str, Any]] = []
    usual = 0.0
    for number, share in enumerate((*SHARES, SHARES[0])):
        last = number == len(SHARES)
        lasting = min(seconds, 60) if last else seconds
        with Memory(target.pid) as memory:
            record = open_loop(target.ask, schedule(share * held, lasting, poisson, number), lasting, THREADS)
        found = {"share": share, "seconds": lasting, **summary(record), "memory": memory.figures()}
        usual = usual or float(found["codes_p50_ms"] or 0)
        rows.append(found | ({"recovered_after_s": recovery(record, usual)} if last else {}))
        click.echo(json.dumps(rows[-1]), err=True)
    return {"target": target.name, "held_per_second": round(held, 1), "stages": rows}


def table(results: Sequence[dict[str, Any]]) -> list[str]:
    """The document's table: a row a stage."""
    head = ("asked", "load", "a second", "requests", "from codes", "shed, marked", "popular, other reason", "503",
            "errors", "lost", "p50 ms", "p99 ms", "p99.9 ms", "MiB", "MiB a minute")  # fmt: skip
    lines = [row(head), row(["---"] * len(head))]
    for result in results:
        for each in result["stages"]:
            again = "recovered_after_s" in each
            load = f"{each['share']:.0%}{', after it' if again else ''}"
            kinds = [each[kind] for kind in ("codes", "shed", "popular", "refused", "errors", "lost")]
            times = [each[f"codes_{name}_ms"] for name in ("p50", "p99", "p99.9")]
            memory = each["memory"]
            cells = [result["target"], load, each["per_second"], each["sent"], *kinds, *times, memory["end_mib"]]
            lines.append(row([*cells, memory["mib_per_minute"]]))
    return lines


def notes(results: Sequence[dict[str, Any]], about: dict[str, Any]) -> list[str]:
    """What the table needs beside it."""
    held = ", ".join(f"{each['target']} {each['held_per_second']:.0f} a second" for each in results)
    back = ", ".join(f"{each['target']} {_back(each['stages'][-1]['recovered_after_s'])}" for each in results)
    machine = about["machine"]
    return [
        "",
        f"Held ({CLIENTS} clients, closed loop): {held}. Back to the usual after the overload: {back}. Latencies are of answers "
        f"from the codes, from the intended start; {about['items']:,} items, Elasticsearch {about['server']}, {machine['cores']} "
        f"cores that client, service, server and load generator share with whatever else ran (load average "
        f"{machine['load_1min']:.1f} at the end), {about['date'][:10]}: `{about['command']}`.",
    ]


def _back(seconds: float | None) -> str:
    return "not within the stage" if seconds is None else f"in second {seconds + 1:.0f}"


@click.command(cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/load.py --seconds 300")
@click.option("--seconds", default=300.0, show_default=True, help="Of each of the three loads.")
@click.option("--closed", default=30.0, show_default=True, help="Of the closed loop that finds what is held.")
@click.option("--items", default=12_000, show_default=True)
@click.option("--targets", default=",".join(TARGETS), show_default=True)
@click.option("--arrivals", type=click.Choice(["poisson", "constant"]), default="poisson", show_default=True)
@click.option("--version", default=VERSIONS[-1], show_default=True)
@click.option("--heap", default="1g", show_default=True)
@click.option(
    "--keep", is_flag=True, help="Keep what the run before found of other targets, on the same machine and commit."
)
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / "results", show_default=True)
@click.option("--document", type=click.Path(path_type=Path), default=ROOT / "docs" / "resiliency.md", show_default=True)
def main(
    seconds: float, closed: float, items: int, targets: str, arrivals: str, version: str, heap: str, keep: bool,
    out: Path, document: Path,
) -> None:  # fmt: skip
    """Load a real server past what it holds; write OUT/load.json and the document's table."""
    results, chosen = [], some_of(targets, TARGETS, "--targets")
    with tempfile.TemporaryDirectory() as folder, LocalNode(version, heap=heap, start_seconds=600) as node:
        artifact = write_artifact(Path(folder) / "postings", make_world(Recipe(items=items)))
        _load(node.url, artifact)
        users = list(artifact.user_ids)
        for target in chosen:
            with asked(target, node.url, users) as opened:
                results.append(stages(opened, seconds, closed, arrivals == "poisson"))
    about = describe_environment(server=version, heap=heap, items=items, arrivals=arrivals, command=command_line())
    results = [*(kept(out / "load.json", about, chosen) if keep else ()), *results]
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(out / "load.json", "w") as file:
        file.write(json.dumps({"environment": about, "results": results}, indent=1) + "\n")
    fill(document, "load table", [*table(results), *notes(results, about)])


def kept(file: Path, about: dict[str, Any], targets: Sequence[str]) -> list[dict[str, Any]]:
    """What an earlier run found of other targets. Raises `ClickException` where it ran elsewhere or otherwise."""
    before = json.loads(file.read_text(encoding="utf-8"))
    same = ("commit", "server", "heap", "items", "arrivals")
    if any(before["environment"][name] != about[name] for name in same):
        raise click.ClickException(f"{file} is of another commit, server, heap, number of items or kind of arrivals")
    return [each for each in before["results"] if each["target"] not in targets]


def _load(url: str, artifact: Artifact) -> None:
    server = Server(ConnectionConfig(url=url, timeout=120))
    index(server, artifact, IndexOptions(NAME), lambda *_: None)
    server.close()


if __name__ == "__main__":
    main()
