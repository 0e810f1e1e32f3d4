"""SparCode, with and without item codes, beside its two-tower twin and popularity, over seeds, on a test split.

    python benchmarks/quality.py --data data/beauty --preset beauty --seeds 0,1,2 --runs runs/beauty

Each seed trains into RUNS/seed-N (a finished training there is not repeated). Hyper-parameters were chosen on validation;
this reads the test split once, at the end. Writes benchmarks/results/quality-NAME.json and prints a Markdown table.
"""

from __future__ import annotations

import json
from pathlib import Path

import click
import numpy as np
from environment import describe_environment

from sparcode_es.baselines.popularity import popularity
from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import load_config
from sparcode_es.data.dataset import Cases, Dataset, ScoreFunction
from sparcode_es.evaluation.ranking import rank_metrics
from sparcode_es.models.case_scores import CodeTable, ItemPart
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.checkpoint import load_checkpoint, read_checkpoint
from sparcode_es.training.loop import train
from sparcode_es.training.memory import WEIGHTS
from sparcode_es.training.trainer import sample_cases

METRICS = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")


def measure(dataset: Dataset, run: Path) -> dict[str, dict[str, dict[str, float]]]:
    """model → view → metric on the test cases."""
    cases = dataset.cases("test")
    twin = read_checkpoint(run / "two_tower.pt").model
    if not isinstance(twin, TwoTower):
        raise click.ClickException(f"{run}/two_tower.pt is not a two-tower")
    model = load_checkpoint(run / "model.pt")
    scores = {"SparCode": model.case_scores(cases)}
    if model.item_memory is not None:
        scores["SparCode without item codes"] = CodeTable(model, cases).score_function(item_weight=0.0)
        scores["two-tower + item codes (control)"] = with_item_codes(twin, model, dataset, cases)
    scores["two-tower"] = twin.case_scores(cases)
    scores["popularity"] = popularity(model.config, dataset).case_scores(cases)
    return {name: rank_metrics(score, cases, dataset.num_items) for name, score in scores.items()}


def with_item_codes(twin: TwoTower, model: SparCode, dataset: Dataset, cases: Cases) -> ScoreFunction:
    """The two-tower's scores plus SparCode's item codes, at the weight that is best for the two-tower on validation."""
    settings = model.config.training
    valid = sample_cases(dataset.cases("valid"), settings.validation_users, settings.seed)

    def scores_at(weight: float, cases: Cases) -> ScoreFunction:
        assert model.item_memory is not None
        towers, items = twin.case_scores(cases), ItemPart(model, model.item_memory, cases)

        def score(rows: np.ndarray) -> np.ndarray:
            found = towers(rows)
            items.add_to(found, rows, weight)
            return found

        return score

    def validated(weight: float) -> float:
        metrics = rank_metrics(scores_at(weight, valid), valid, dataset.num_items, ks=(5, 10, 20, 50))
        return metrics["all"][settings.metric]

    return scores_at(max(WEIGHTS, key=validated), cases)


def table(found: list[dict[str, dict[str, dict[str, float]]]]) -> str:
    """Mean ± standard deviation over seeds, in per cent, as Markdown."""
    lines = ["| model | view | " + " | ".join(METRICS) + " |", "|---|---|" + "---|" * len(METRICS)]
    for model in found[0]:
        for view in ("all", "unseen"):
            values = np.array([[run[model][view][m] for m in METRICS] for run in found]) * 100
            cells = [f"{m:.2f} ± {s:.2f}" for m, s in zip(values.mean(0), values.std(0), strict=True)]
            lines.append(f"| {model} | {view} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


@click.command()
@click.option("--data", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--preset", required=True)
@click.option("--seeds", default="0,1,2", show_default=True)
@click.option("--runs", type=click.Path(path_type=Path), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", show_default=True)
def main(data: Path, preset: str, seeds: str, runs: Path, out: Path) -> None:
    """Train every seed, measure the test split, write JSON and print the table."""
    dataset = Dataset.open(data)
    numbers = [int(seed) for seed in seeds.split(",")]
    reports = []
    for seed in numbers:
        config = load_config(preset=preset, overrides={"training.seed": seed})
        reports.append(
            train(config, dataset, runs / f"seed-{seed}", echo=lambda line: click.echo(line, err=True)).report
        )
    found = [measure(dataset, runs / f"seed-{seed}") for seed in numbers]
    result = {
        "data": dataset.name,
        "preset": preset,
        "seeds": numbers,
        "environment": describe_environment(),
        "training": reports,
        "test": found,
    }
    out.mkdir(parents=True, exist_ok=True)
    (out / f"quality-{dataset.name}.json").write_text(json.dumps(result, indent=1) + "\n")
    click.echo(table(found))


if __name__ == "__main__":
    main()
