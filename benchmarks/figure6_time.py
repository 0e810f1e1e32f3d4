"""Figure 6 (c, d): query time against quality and sparsity, the embedded engine beside a two-tower behind Faiss.

    python benchmarks/figure6_time.py --data data/ml-100k --preset ml-100k --seeds 0 --scale small --runs runs/small

The first seed's models are asked. A time is the search alone, from codes or a vector to the best 50: batch 1, one thread, all
systems in one process. Encoding a history is timed apart. "Without item codes" is what it is in `quality.py`.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import altair as alt
import click
import faiss
import numpy as np
import paper
from command import BenchCommand
from cuts import SMALL_SPARSITIES, SPARSITIES, artifact_scores, build
from environment import describe_environment
from faiss_points import faiss_points
from item_codes import WITHOUT_ITEM_CODES, leave_out
from measuring import CaseMetrics, Measured, Run, measure
from options import bench_options
from pictures import trade_off
from report import markdown_table, metric_name, write_report
from systems import Bench
from timing import Times, one_thread, time_queries

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import PostingsConfig
from sparcode_es.data.dataset import ScoreFunction
from sparcode_es.engines.base import Query
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.faiss import NOTHING, FaissIndex, Parameters
from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.models.sparcode import SparCode
from sparcode_es.serving.encoder import encode_histories

K = 50
METRICS = ("recall@50", "ndcg@50")
WITH_ITEM_CODES = "SparCode (embedded engine)"


@dataclass(frozen=True)
class System:
    """One point: how it is asked, what it takes, and how good its answers are."""

    series: str
    note: str
    ask: Callable[[int], Any]
    megabytes: float
    metrics: CaseMetrics
    sparsity: float | None = None

    @property
    def name(self) -> str:
        """Unique."""
        return f"{self.series}: {self.note}"


def faiss_system(bench: Bench, model: TwoTower, series: str, note: str, parameters: Parameters) -> System:
    """A two-tower behind one index."""
    index, vectors = FaissIndex.of_two_tower(model, parameters), model.user_vectors(bench.cases).numpy()
    size = faiss.serialize_index(index.index).nbytes / 2**20
    return System(
        series, note, lambda i: index.search(vectors[i : i + 1], K), size, _faiss_metrics(bench, index, vectors)
    )


def _faiss_metrics(bench: Bench, index: FaissIndex, vectors: np.ndarray) -> CaseMetrics:
    """`all` of the K that are asked for; `unseen` of as many more as the longest history has, less the history."""
    longest = int(np.diff(bench.cases.history_offsets.astype(np.int64)).max())
    more = min(index.num_items, K + longest)
    return {
        view: measure(bench.dataset, bench.cases, _found(index, vectors, k))[view]
        for view, k in (("all", K), ("unseen", more))
    }


def _found(index: FaissIndex, vectors: np.ndarray, k: int) -> ScoreFunction:
    """What an index finds as scores of all items, -inf for what it does not."""

    def score(rows: np.ndarray) -> np.ndarray:
        numbers, scores = index.search(vectors[rows], k)
        block = np.full((len(rows), index.num_items), -np.inf, dtype=np.float32)
        row, place = np.nonzero(numbers != NOTHING)
        block[row, numbers[row, place]] = scores[row, place]
        return block

    return score


def sparcode_system(bench: Bench, model: SparCode, series: str, sparsity: float, folder: Path) -> System:
    """The embedded engine over postings of some sparsity."""
    artifact = build(bench, model, folder, PostingsConfig(sparsity=sparsity))
    engine = EmbeddedEngine(artifact)
    queries = [Query(tuple(artifact.user_clauses(user)), K) for user in range(artifact.num_users)]
    size = 6 * artifact.num_postings / 2**20
    metrics = measure(bench.dataset, bench.cases, artifact_scores(artifact))
    return System(series, f"{100 * sparsity:g} %", lambda i: engine.search(queries[i]), size, metrics, sparsity)


def systems(bench: Bench, folder: Path) -> list[System]:
    """Every point of the figure, from the first seed's trainings."""
    tower, model = _models(bench)
    subvectors = math.gcd(16, tower.config.tokenizer.dim)
    found = [
        faiss_system(bench, tower, f"two-tower, {kind}", setting or "exact", parameters)
        for kind, setting, parameters in faiss_points(bench.dataset.num_items, [subvectors])
    ]
    wanted = SMALL_SPARSITIES if bench.small else SPARSITIES
    for series in (WITH_ITEM_CODES, WITHOUT_ITEM_CODES):
        if series == WITHOUT_ITEM_CODES:
            if model.item_memory is None or not model.item_memory.active:
                break
            leave_out(model, bench.dataset)
        for s in wanted:
            found.append(sparcode_system(bench, model, series, s, folder / f"{series}-{s}"))
    return found


def _models(bench: Bench) -> tuple[TwoTower, SparCode]:
    tower, model = (bench.model(name, {}, bench.seeds[0]) for name in ("two_tower", "sparcode"))
    assert isinstance(tower, TwoTower)
    assert isinstance(model, SparCode)
    return tower, model


def encoding_times(bench: Bench, most: int = 200) -> dict[str, Times]:
    """From one history to a vector, and to codes."""
    tower, model = _models(bench)
    parts = [bench.cases.take(np.array([row])) for row in range(min(most, len(bench.cases)))]

    def to_codes(i: int) -> None:
        encode_histories(model, parts[i].history_offsets, parts[i].history_items, parts[i].users)

    asked: dict[str, Callable[[int], Any]] = {
        "two-tower, to a vector": lambda i: tower.user_vectors(parts[i]),
        "SparCode, to codes": to_codes,
    }
    return time_queries(asked, len(parts))


@click.command(cls=BenchCommand)
@bench_options
@click.option("--queries", default=500, show_default=True, help="Test cases that are asked for, one at a time.")
def main(bench: Bench, queries: int) -> None:
    """Figure 6 (c, d): p50 and p95 of a query, its quality and sparsity: embedded engine, FlatIP, IVFPQ, HNSW."""
    with tempfile.TemporaryDirectory() as folder:
        found = systems(bench, Path(folder))
        asked = min(queries, len(bench.cases))
        with one_thread():
            times = time_queries({system.name: system.ask for system in found}, asked)
            encoding = encoding_times(bench)
    title = "Figure 6 (c, d): query time, quality and sparsity"
    body = markdown_table(
        ["system", "", "p50 ms", "p95 ms", "MiB", *(f"{metric_name(m)} {view}" for view in VIEWS for m in METRICS)],
        [_line(system, times[system.name]) for system in found],
    )
    body += "\n\n" + _notes(asked, encoding)
    here = describe_environment()
    points = [_as_json(system, times[system.name], here) for system in found]
    apart = {name: dataclasses.asdict(each) for name, each in encoding.items()}
    result = {"k": K, "queries": asked, "paper_says": paper.FIGURE_6_TIME_SAYS, "points": points, "encoding": apart}
    write_report(bench, "figure6-time", title, body, result, _chart(bench, title, found, times))


def _line(system: System, times: Times) -> list[str]:
    cells = [f"{100 * system.metrics[view][m].mean():.2f}" for view in VIEWS for m in METRICS]
    return [system.series, system.note, f"{times.p50_ms:.3f}", f"{times.p95_ms:.3f}", f"{system.megabytes:.2f}", *cells]


def _notes(asked: int, encoding: dict[str, Times]) -> str:
    apart = "; ".join(f"{name} {each.p50_ms:.2f} ms (p95 {each.p95_ms:.2f})" for name, each in encoding.items())
    return (
        f"One search for the best {K}: batch 1, one thread, one process, {asked} queries of each system in turns after a tenth "
        "to warm up; the first seed's models. The second column of SparCode is sparsity. MiB: the Faiss index, or six bytes a "
        f"posting. Encoding a history comes before and is not in these times, p50: {apart}. The paper's Figure 6 prints no "
        f"numbers. It says: {paper.FIGURE_6_TIME_SAYS}."
    )


def _as_json(system: System, times: Times, environment: dict[str, Any]) -> dict[str, Any]:
    run = Run(system.metrics, {}, environment)
    figures = {"note": system.note, "sparsity": system.sparsity, "mebibytes": round(system.megabytes, 3)}
    return figures | dataclasses.asdict(times) | Measured(system.series, (run,)).as_json()


def _chart(bench: Bench, title: str, found: list[System], times: dict[str, Times]) -> alt.TopLevelMixin:
    records = []
    for place, system in enumerate(found):
        kept = None if system.sparsity is None else 100 * (1 - system.sparsity)
        densest, sparsest = system.sparsity == 0, system.series not in {s.series for s in found[place + 1 :]}
        records.append(
            {
                "series": system.series,
                "place": place,
                "ms": times[system.name].p50_ms,
                "quality": 100 * float(system.metrics["all"]["ndcg@50"].mean()),
                "kept": kept,
                "note": system.note if densest else "",
                "note_before": system.note if sparsest and kept is not None else "",
            }
        )
    where = f"{bench.told}, test split, every item ranked; batch 1, one thread; beside SparCode's ends: sparsity"
    return trade_off(records, title, where)


if __name__ == "__main__":
    main()
