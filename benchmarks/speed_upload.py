"""Upload and update: weights a second by workers and chunk sizes, time to searchable, bytes a posting, an update of 1 % of items.

    python benchmarks/speed_upload.py --items 54542 --versions 9.4.5

The postings are those of `speed_retrieval.py`. `raw` rows send the items' documents into a bare index, `index` rows are whole
`sparcode-es index` runs: check, users, refresh, merge and swap of aliases within.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import click
import numpy as np
from command import BenchCommand
from environment import describe_environment, peak_mib
from retrieval.postings import write_artifact
from retrieval.recipe import Recipe, make_world
from retrieval.record import Row, write_record

from sparcode_es.engines.elasticsearch import bulk
from sparcode_es.engines.elasticsearch.capabilities import capabilities, choose_field_type
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.index import IndexOptions, index, loading
from sparcode_es.engines.elasticsearch.templates import items_body
from sparcode_es.engines.elasticsearch.update import update
from sparcode_es.engines.node import VERSIONS, LocalNode
from sparcode_es.files import sums_of
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.manifest import Changed, Update
from sparcode_es.postings.write import write_manifest

NAME = "upload"
WORKERS = (1, 2, 3, 4)
CHUNKS = (1 << 20, 4 << 20, 16 << 20)


def raw_rows(server: Server, artifact: Artifact) -> Iterator[Row]:
    """Documents made and sent, then searchable, for each number of workers and each chunk size; the product's own first."""
    can = capabilities(server)
    body = loading(items_body(choose_field_type(can), can.version))
    pairs = [(bulk.WORKERS, bulk.CHUNK_BYTES), *((workers, bulk.CHUNK_BYTES) for workers in WORKERS)]
    for workers, chunk in dict.fromkeys([*pairs, *((bulk.WORKERS, chunk) for chunk in CHUNKS)]):
        click.echo(f"{workers} workers, chunks of {chunk >> 20} MiB", err=True)
        server.call("PUT", f"/{NAME}-raw", body)
        started = time.perf_counter()
        with mock.patch.object(bulk, "WORKERS", workers), mock.patch.object(bulk.chunks, "__defaults__", (chunk,)):
            bulk.upload(server, f"{NAME}-raw", bulk.item_documents(artifact), lambda more: None)
        sent = time.perf_counter() - started
        server.call("POST", f"/{NAME}-raw/_refresh", timeout=600)
        seconds = time.perf_counter() - started
        server.call("DELETE", f"/{NAME}-raw")
        rates = {"weights_per_second": round(artifact.num_postings / sent), "sent_s": round(sent, 2)}
        yield {
            "what": "raw",
            "workers": workers,
            "chunk_mib": chunk / 2**20,
            "searchable_s": round(seconds, 2),
            **rates,
        }


def documents_row(artifact: Artifact) -> Row:
    """Documents made and not sent: what the client alone costs."""
    started = time.perf_counter()
    size = sum(len(source) for _, source in bulk.item_documents(artifact))
    seconds = time.perf_counter() - started
    rate = round(artifact.num_postings / seconds)
    return {"what": "documents only", "weights_per_second": rate, "json_mib": round(size / 2**20, 1)}


def index_row(server: Server, artifact: Artifact) -> Row:
    """A whole `index`, and the bytes a posting after the merge."""
    started, marks = time.perf_counter(), {}

    def progress(what: str, more: int, total: int) -> None:
        marks.setdefault(what, round(time.perf_counter() - started, 2))

    report = index(server, artifact, IndexOptions(NAME, compact=True), progress)
    whole = time.perf_counter() - started
    sent = min(mark for mark in marks.values() if mark > marks["items"]) - marks["items"]
    about = {"begun_s": marks, "seconds": round(whole, 1), "weights_per_second": round(artifact.num_postings / sent)}
    about |= {"bytes_per_posting": report.bytes_per_posting, "postings": report.postings}
    about["codes_bytes_per_posting"] = round(codes_bytes(server, report.generation) / report.postings, 3)
    return {"what": "index", "field_type": report.field_type, **about}


def codes_bytes(server: Server, name: str) -> int:
    """Bytes of the codes alone, without ids, titles and attributes, as the server counts them."""
    answer = server.call("POST", f"/{name}/_disk_usage", params={"run_expensive_tasks": True}, timeout=600)
    return int(answer[name]["fields"]["codes"]["total_in_bytes"])


def update_row(server: Server, artifact: Artifact, folder: Path, share: float) -> Row:
    """`index --update` of an artifact that says that this share of its items changed."""
    changed = touched(artifact, folder, share)
    started = time.perf_counter()
    report = update(server, changed, NAME, lambda *_: None)
    seconds = time.perf_counter() - started
    return {"what": "update", "share": share, "items": report.items, "seconds": round(seconds, 2)}


def touched(artifact: Artifact, folder: Path, share: float) -> Artifact:
    """A copy that says that an update changed some of its items, as `postings update` writes it."""
    shutil.copytree(artifact.path, folder)
    items = np.zeros(artifact.num_items, dtype=np.uint32)
    items[np.random.default_rng(0).choice(len(items), max(1, round(share * len(items))), replace=False)] = 1
    users = np.zeros(artifact.num_users, dtype=np.uint32)
    for name, rows in {"item_updates": items, "user_updates": users, "user_times": artifact.user_times}.items():
        np.save(folder / f"{name}.npy", rows)
    before = artifact.generation_hash
    record = Update(
        sources=(),
        events=0,
        unknown_item_events=0,
        unknown_items=0,
        new_users=0,
        times=None,
        from_=before,
        new_codes=0,
        changed=Changed(codes=0, items=int(items.sum()), postings=0, users=0),
    )
    write_manifest(folder, replace(artifact.manifest, files=sums_of(folder), updates=(record,), updated_from=before))
    return Artifact.open(folder)


def measure(version: str, heap: str, artifact: Artifact, folder: Path, sweep: bool) -> list[Row]:
    """All rows of one server."""
    with LocalNode(version, heap=heap, start_seconds=600) as node:
        server = Server(ConnectionConfig(url=node.url, timeout=120))
        # The first load warms the server up and is not counted.
        rows: list[Row] = list(raw_rows(server, artifact))[1:] if sweep else []
        rows.append(index_row(server, artifact))
        rows += [update_row(server, artifact, folder / version, 0.01)]
        server.close()
    return [{"server": version, **row} for row in rows]


@click.command(
    cls=BenchCommand,
    epilog="\b\nExample:\n  python benchmarks/speed_upload.py --items 12000 --versions 9.4.5 --no-sweep",
)
@click.option("--items", default=54_542, show_default=True)
@click.option("--postings", default=Recipe.postings, show_default=True, help="Postings a code.")
@click.option("--versions", default=",".join(VERSIONS), show_default=True, help="Servers, one at a time.")
@click.option("--sweep/--no-sweep", default=True, show_default=True, help="Workers and chunk sizes, too.")
@click.option("--heap", default="1g", show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", show_default=True)
def main(items: int, postings: int, versions: str, sweep: bool, heap: str, seed: int, out: Path) -> None:
    """Upload and update of synthetic postings: weights a second, time to searchable, bytes a posting, memory."""
    recipe, rows, environment = Recipe(items, postings, seed=seed), [], describe_environment()
    with tempfile.TemporaryDirectory() as name:
        artifact = write_artifact(Path(name) / "postings", make_world(recipe))
        before = peak_mib()
        rows.append(documents_row(artifact))
        for version in versions.split(","):
            rows += measure(version, heap, artifact, Path(name), sweep)
    more: dict[str, Any] = {"peak_before_mebibytes": before, "load_at_start": environment["machine"]["load_1min"]}
    file = write_record(out, f"speed-upload-{items}", recipe, rows, **more)
    click.echo(file.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
