"""The goals that other speed benchmarks measure: building, encoding, training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from retrieval.goals import LARGE, Outcome
from retrieval.results import Record, Results

OURS, ONE_EACH, THEIRS = "ours (two-tower, SASRec)", "ours, one target a history", "RecBole SASRec"
ALIKE = f"{ONE_EACH}, full softmax"
"""The rows of `speed_training.py`; a step of `ALIKE` is of like work to RecBole's."""


def other_outcomes(results: Results) -> list[Outcome]:
    """Every such goal, `not measured` where its file is missing."""
    return [*_build(results), *_encode(results), *_training(results)]


def _build(results: Results) -> Iterator[Outcome]:
    ratio = f"`postings build`, {LARGE:,} items × observed codes: ≥ 10 × the plain loop"
    memory = f"`postings build`, {LARGE:,} items: < 2 GiB peak"
    found = [(r, row) for r in results.named("speed-build") for row in r.content["rows"] if row["items"] == LARGE]
    for record, row in found:
        shape = f"D {row['dim']}, K_c {row['item_tokens']}, M {row['codebooks']}, {row['codes']:,} codes"
        loops = {name.replace("_", " "): row[f"ratio_to_{name}"] for name in ("pair_by_pair", "code_by_code")}
        text = "; ".join(f"{value:.1f} × {name}" for name, value in loops.items())
        measured = f"{row['build']['seconds']:.1f} s; {text}"
        yield Outcome(
            f"{ratio} ({shape})", measured, min(loops.values()), 10, True, (record.name,), "the harder loop counts"
        )
        peak = row["build"]["peak_mib"]
        note = f"the process with the model alone: {row['build']['model_mib']:,.0f} MiB"
        yield Outcome(f"{memory} ({shape})", f"{peak:,.0f} MiB", peak / 2048, 1.0, False, (record.name,), note)
    if not found:
        yield from (Outcome(ratio, limit=10, at_least=True), Outcome(memory))


def _encode(results: Results) -> Iterator[Outcome]:
    goal = "encode one user, CPU: < 2 ms"
    found = [(r, row) for r in results.named("speed-encode") for row in r.content["rows"] if row["batch"] == 1]
    for record, row in found:
        p50 = {name: row[name]["p50_ms"] for name in ("exported", "torch")}
        measured = f"exported p50 {p50['exported']:.2f} ms, torch {p50['torch']:.2f} ms"
        yield Outcome(f"{goal}, a history of {row['length']}", measured, p50["exported"], 2.0, records=(record.name,))
    if not found:
        yield Outcome(goal, limit=2.0)


def _training(results: Results) -> Iterator[Outcome]:
    steps = "training: ≥ RecBole SASRec's steps a CPU second"
    quality = "training: time to RecBole's best validation N@10 ≤ its own"
    found = [(r, r.content["rows"]) for r in results.named("speed-training") if THEIRS in r.content["rows"]]
    timed = [(r, rows) for r, rows in found if ALIKE in rows and "steps" in rows[THEIRS]]
    trained = [(r, rows) for r, rows in found if rows[THEIRS].get("epochs")]
    for record, rows in timed:
        alike, sampled, whole, theirs = (
            rows[name]["steps"] / rows[name]["cpu_seconds"] for name in (ALIKE, ONE_EACH, OURS, THEIRS)
        )
        data = record.content["data"]
        measured = f"{alike:.1f} of one target a history under the full softmax against {theirs:.1f} on {data}"
        note = f"of like work; under our sampled softmax {sampled:.1f}, on all positions of a history, too, {whole:.1f}"
        note += _shared(record)
        yield Outcome(steps, measured, alike / theirs, 1.0, True, (record.name,), note)
    for record, rows in trained:
        yield _time_to_quality(quality, record, rows[OURS], rows[THEIRS])
    if not timed:
        yield Outcome(steps, at_least=True)
    if not trained:
        yield Outcome(quality)


def _shared(record: Record) -> str:
    """A word about other programs on the machine, where there were any."""
    machine = record.content["environment"]["machine"]
    if machine["load_1min"] <= machine["cores"]:
        return ""
    return f"; other programs ran on the machine: load {machine['load_1min']:.1f} on {machine['cores']} cores"


def _time_to_quality(goal: str, record: Record, ours: dict[str, Any], theirs: dict[str, Any]) -> Outcome:
    best = max(theirs["epochs"], key=lambda epoch: epoch["ndcg@10"])
    reached = next((epoch["seconds"] for epoch in ours["epochs"] if epoch["ndcg@10"] >= best["ndcg@10"]), None)
    text = f"{best['seconds']:,.0f} s to {100 * best['ndcg@10']:.2f}, the best of {len(theirs['epochs'])} epochs; ours "
    if reached is None:
        top = max(epoch["ndcg@10"] for epoch in ours["epochs"])
        return Outcome(goal, f"RecBole {text}never, at best {100 * top:.2f}", float("inf"), records=(record.name,))
    return Outcome(goal, f"RecBole {text}{reached:,.0f} s", reached / best["seconds"], records=(record.name,))
