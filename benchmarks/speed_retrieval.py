"""Retrieval side by side: the embedded engine, Elasticsearch, its kNN, Faiss in process and over HTTP, scipy sparse.

    python benchmarks/speed_retrieval.py --items 54542
    python benchmarks/speed_retrieval.py --items 12000 --queries 200 --parts local,servers --versions 9.4.5

Items, codes and users are synthetic; `retrieval/recipe.py` is the recipe. Every part writes its own JSON, and can be run
alone; in each, systems answer in turns after warming up, one thread each unless the row says otherwise, and the rows hold the
share of the exact answer beside the time. Ratios count between rows of one file only.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import click
import faiss
import psutil
from command import BenchCommand, some_of
from retrieval import http_service, servers, stages, sweeps
from retrieval.answers import Exact
from retrieval.local import embedded, faiss_systems, scipy_sparse
from retrieval.postings import user_codes, write_artifact
from retrieval.recipe import Recipe, World, make_world
from retrieval.record import write_record
from retrieval.rounds import time_asks, time_crowds, warm
from retrieval.serving import serving_command
from retrieval.systems import BARE, Queries
from timing import one_thread

from sparcode_es.engines.node import VERSIONS, LocalNode
from sparcode_es.postings.artifact import Artifact

PARTS = ("local", "servers", "sweeps", "cluster")
NODES, SHARDS = 3, (1, 3)


@dataclass(frozen=True)
class Run:
    """What a run asks for."""

    recipe: Recipe
    queries: int
    judged: int
    versions: tuple[str, ...]
    heap: str
    out: Path


@dataclass(frozen=True)
class Made:
    """What the recipe gave."""

    world: World
    artifact: Artifact
    queries: Queries
    exact: Exact


def make(recipe: Recipe, folder: Path) -> Made:
    """Draw, write, open."""
    world = make_world(recipe)
    artifact = write_artifact(folder / "postings", world)
    queries = Queries(world, user_codes(world))
    return Made(world, artifact, queries, Exact(world, artifact, queries))


def run_local(run: Run, made: Made) -> None:
    """In this process: one thread, then all; several clients; and whole `query --user` processes."""
    systems = [embedded(made.artifact, made.queries), *faiss_systems(made.world, made.queries)]
    with one_thread():
        both = [*systems, scipy_sparse(made.artifact, made.queries)]
        rows = time_asks(both, made.exact, run.queries, run.judged, 1)
        rows += time_crowds([systems[0]], run.queries, len(made.queries), 1)
    cores = os.cpu_count() or 1
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(cores)
    rows += time_asks(systems, made.exact, run.queries, 1, cores, (BARE,))
    faiss.omp_set_num_threads(before)
    process = stages.whole_process(serving_command(), ["--postings", str(made.artifact.path)], 10)
    write_record(run.out, f"speed-retrieval-{run.recipe.items}-local", run.recipe, rows, query_process=process)


@contextmanager
def started(version: str, heap: str, nodes: int = 1) -> Iterator[LocalNode]:
    """A server for as long as it is asked."""
    with LocalNode(version, nodes=nodes, heap=heap, start_seconds=600) as node:
        yield node


def run_server(run: Run, made: Made, version: str, folder: Path) -> None:
    """One server: our engine, its own kNN where it has one, FlatIP over HTTP and the embedded engine beside."""
    service = http_service.flat_over_http(made.world, made.queries, folder)
    with started(version, run.heap) as node, service as flat, one_thread():
        ours = servers.ours(node.url, made.artifact, made.queries, version, None)
        systems = [ours, flat, embedded(made.artifact, made.queries)]
        if int(version.split(".")[0]) >= 9:
            knn = (made.world, made.artifact, made.queries, version)
            systems[1:1] = [servers.knn(node.url, *knn, kind) for kind in servers.KNN_KINDS]
        warm(systems[:-1], run.queries, len(made.queries))
        rows = time_asks(systems, made.exact, run.queries, run.judged, 1)
        rows += time_crowds(systems[:-1], run.queries, len(made.queries), 1)
        parts = stages.request_stages(node.url, made.queries, str(ours.about["field_type"]), run.queries)
        process = stages.whole_process(serving_command(), ["--url", node.url, "--index", servers.NAME], 10)
        memory = server_mebibytes(node)
    name = f"speed-retrieval-{run.recipe.items}-es-{version}"
    more = {"server": version, "heap": run.heap, "server_mebibytes": memory, "stages_ms": parts}
    write_record(run.out, name, run.recipe, rows, **more, query_process=process)


def server_mebibytes(node: LocalNode) -> int:
    """Resident memory of the server's processes; 0 for a server in a container."""
    processes = [psutil.Process(pid) for pid in node.state.pids]
    return round(sum(each.memory_info().rss for one in processes for each in (one, *one.children(True))) / 2**20)


def run_sweeps(run: Run, folder: Path) -> None:
    """Sparsity and clauses, embedded and in the last of the servers."""
    version = run.versions[-1]
    with started(version, run.heap) as node, one_thread():
        rows = []
        for number, (label, recipe, counts) in enumerate(sweeps.settings(run.recipe)):
            made = make(recipe, folder / f"sweep-{number}")
            loaded = servers.ours(node.url, made.artifact, made.queries, version, False)
            for clauses in counts:
                systems = [
                    embedded(made.artifact, made.queries, label, clauses),
                    replace(servers.asked(node.url, made.queries, version, dict(loaded.about), clauses), setting=label),
                ]
                rows += sweeps.time_point(systems, made.exact, run.queries, run.judged, clauses)
    write_record(run.out, f"speed-retrieval-{run.recipe.items}-sweeps", run.recipe, rows, server=version)


def run_cluster(run: Run, made: Made) -> None:
    """Three nodes on this machine, a replica, one shard beside three; the last of the servers."""
    version = run.versions[-1]
    with started(version, run.heap, NODES) as node, one_thread():
        loaded = [servers.ours(node.url, made.artifact, made.queries, version, None, shards) for shards in SHARDS]
        settings = [f"{shards} shard{'s' * (shards > 1)}, a replica" for shards in SHARDS]
        systems = [replace(system, setting=text) for system, text in zip(loaded, settings, strict=True)]
        warm(systems, run.queries, len(made.queries))
        rows = time_asks([*systems, embedded(made.artifact, made.queries)], made.exact, run.queries, run.judged, 1)
        rows += time_crowds(systems, run.queries, len(made.queries), 1)
        memory = server_mebibytes(node)
    more = {"server": version, "nodes": NODES, "heap": run.heap, "server_mebibytes": memory}
    write_record(run.out, f"speed-retrieval-{run.recipe.items}-cluster", run.recipe, rows, **more)


@click.command(
    cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/speed_retrieval.py --items 54542 --parts local,servers"
)
@click.option("--items", default=54_542, show_default=True)
@click.option("--postings", default=Recipe.postings, show_default=True, help="Postings a code, whatever the items.")
@click.option("--queries", default=1000, show_default=True, help="Timed queries of each system and ask.")
@click.option("--judged", default=100, show_default=True, help="Users whose answers are compared with the exact ones.")
@click.option("--parts", default=",".join(PARTS[:3]), show_default=True, help=f"Some of {', '.join(PARTS)}.")
@click.option("--versions", default=",".join(VERSIONS), show_default=True, help="Servers, one at a time.")
@click.option("--heap", default="1g", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--work", type=click.Path(path_type=Path), help="Where postings go meanwhile.  [default: a new folder]")
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", show_default=True)
def main(
    items: int, postings: int, queries: int, judged: int, parts: str, versions: str, heap: str, seed: int,
    work: Path | None, out: Path,
) -> None:  # fmt: skip
    """Time and quality of retrieval on synthetic items, in parts: local, servers, sweeps, cluster."""
    chosen = some_of(parts, PARTS, "--parts")
    run = Run(Recipe(items, postings, seed=seed), queries, judged, tuple(versions.split(",")), heap, out)
    with tempfile.TemporaryDirectory(dir=work) as name:
        folder = Path(name)
        made = make(run.recipe, folder)
        if "local" in chosen:
            run_local(run, made)
        if "servers" in chosen:
            for version in run.versions:
                run_server(run, made, version, folder)
        if "sweeps" in chosen:
            run_sweeps(run, folder)
        if "cluster" in chosen:
            run_cluster(run, made)


if __name__ == "__main__":
    main()
