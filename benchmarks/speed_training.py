"""Training our two-tower (SASRec) against RecBole's SASRec: steps a second, and time to the best validation NDCG@10.

    python benchmarks/speed_training.py --data data/beauty --steps 50
    python benchmarks/speed_training.py --data data/beauty --steps 50 --epochs 200

Same data, leave-one-out split, batch size, dimension, layers, heads, dropout and number of threads; each system in a process of
its own, one after the other. What a step is differs, so the table says it: our batch is of histories, each trained on all of its
positions at once, under the default's sampled softmax; RecBole's is of (prefix, next item) pairs, one target each, under the full
softmax. *One target a history* is our step with as many targets as RecBole's; *full softmax* scores all items for each of them,
too, as RecBole does: the steps of those two are of like work. What still differs is each system's own: ours pads a batch to its
longest history, RecBole to the longest that is allowed; ours may round matrix products to bfloat16 while it trains. *Targets*
are those pairs, in both; an epoch has as many in both, but for windows of long histories. A CPU second is the process's own: it
counts where other programs take turns. Validation ranks every item in both, and its time counts in both. Rates, their schedules
and how often is evaluated are each system's own default.
"""

from __future__ import annotations

import itertools
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import altair as alt
import click
import numpy as np
import pandas as pd
import torch
from command import BenchCommand
from pictures import COLOURS, styled
from report import markdown_table
from retrieval.other_goals import ALIKE, ONE_EACH, OURS, THEIRS
from speed import child, new_environment, write_speed

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.config import Config, load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError
from sparcode_es.models.losses import NegativeSampler
from sparcode_es.training.build import build_model
from sparcode_es.training.loop import train
from sparcode_es.training.speed import fast_matmul
from sparcode_es.training.trainer import Trainer, make_optimizer

PINS = ("recbole==1.2.1", "numpy==1.26.4", "pandas==2.2.3", "scipy==1.11.4")
"""What works together; RecBole 1.2.1 uses names that numpy 2 has not."""
WARM_UP = 5
COLUMNS = ("system", "steps/s", "steps a CPU second", "targets/s", "seconds an epoch",
           "best N@10, validation", "epochs to it", "seconds to it",
           "seconds to RecBole's best")  # fmt: skip


def recbole_python(folder: Path) -> Path:
    """The interpreter of an environment that has RecBole, made there where there is none."""
    python = folder / "bin" / "python"
    if not python.exists():
        click.echo(f"installing {', '.join(PINS)} into {folder}: torch is large", err=True)
        new_environment(folder, *PINS, f"torch=={torch.__version__.partition('+')[0]}")
    return python


def write_interactions(dataset: Dataset, folder: Path) -> None:
    """RecBole's atomic file of every user's events, in our order: folder/NAME/NAME.inter."""
    sequences = dataset.full_histories()
    offsets = sequences.offsets.astype(np.int64)
    target = folder / dataset.name
    target.mkdir()
    with (target / f"{dataset.name}.inter").open("w", encoding="utf-8") as file:
        file.write("user_id:token\titem_id:token\ttimestamp:float\n")
        for user, (start, stop) in enumerate(itertools.pairwise(offsets.tolist())):
            items = sequences.items[start:stop].tolist()
            file.writelines(f"{user}\t{item}\t{place}\n" for place, item in enumerate(items))


def recbole_settings(folder: Path, flags: dict[str, Any]) -> dict[str, Any]:
    """RecBole's configuration with our sizes; the loss and the rate are its own defaults."""
    return {
        "data_path": str(folder), "checkpoint_dir": str(folder / "saved"), "use_gpu": False, "show_progress": False,
        "USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp",
        "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
        "eval_args": {"split": {"LS": "valid_and_test"}, "order": "TO", "group_by": "user", "mode": "full"},
        "MAX_ITEM_LIST_LENGTH": flags["max_length"], "hidden_size": flags["dim"], "inner_size": 4 * flags["dim"],
        "n_layers": flags["layers"], "n_heads": flags["heads"], "hidden_dropout_prob": flags["dropout"],
        "attn_dropout_prob": flags["dropout"], "train_batch_size": flags["batch"], "eval_batch_size": 4096,
        "train_neg_sample_args": None, "metrics": ["NDCG"], "topk": [10], "valid_metric": "NDCG@10",
        "metric_decimal_place": 6, "seed": flags["seed"], "log_wandb": False,
    }  # fmt: skip


def our_config(flags: dict[str, Any]) -> Config:
    """The defaults with these sizes."""
    return load_config(
        overrides={
            "model": "two_tower",
            "tokenizer.dim": flags["dim"],
            "tokenizer.layers": flags["layers"],
            "tokenizer.attention_heads": flags["heads"],
            "tokenizer.dropout": flags["dropout"],
            "tokenizer.max_length": flags["max_length"],
            "tokenizer.use_features": False,
            "training.tower.batch_size": flags["batch"],
            "training.tower.patience": flags["patience"],
            "training.metric": "ndcg@10",
            "training.validation_users": 1_000_000,
            "training.seed": flags["seed"],
            "training.device": "cpu",
        }
    )


def ours(task: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Our rows of what `recbole_sasrec.py` measures."""
    torch.set_num_threads(task["threads"])
    dataset, config = Dataset.open(Path(task["data"])), our_config(task)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, dataset, Path(folder) / "steps", lambda _: None, bars=False)
        tower = trainer.config.training.tower
        steps = tower.steps(len(trainer.windows))
        result = {"targets_an_epoch": trainer.windows.num_targets, "steps_an_epoch": steps}
        rows = {OURS: result}
        if task["steps"]:
            result |= time_steps(trainer, config, task["steps"], trainer.sampler)
            every_item = NegativeSampler(replace(config.loss, negatives="all"), trainer.sampler.share)
            for name, sampler in ((ONE_EACH, trainer.sampler), (ALIKE, every_item)):
                rows[name] = time_steps(trainer, config, task["steps"], sampler, each=1)
        if task["epochs"]:
            # No more epochs than the default for this log: the learning rate falls over them.
            fewer = replace(tower, epochs=min(task["epochs"], tower.epochs_for(steps)))
            config = replace(config, training=replace(config.training, tower=fewer))
            train(config, dataset, Path(folder) / "run", bars=False)
            result["epochs"] = epochs_of(Path(folder) / "run" / "log.jsonl")
    return rows


def time_steps(
    trainer: Trainer, config: Config, steps: int, sampler: NegativeSampler, each: int | None = None
) -> dict[str, Any]:
    """Steps as `Trainer.train_whole` makes them, data included; with `each`, of so many targets a history."""
    torch.manual_seed(config.training.seed)
    model = build_model(config, trainer.dataset).train()
    assert isinstance(model, TwoTower)
    settings, generator = config.training.tower, np.random.default_rng(config.training.seed)
    optimizer = make_optimizer(model, settings)
    began, cpu, done, targets = 0.0, 0.0, -WARM_UP, 0
    with fast_matmul(config.training.fast_matmul):
        while done < steps:
            for batch in trainer.windows.batches(settings.batch_size, generator):
                if done == 0:
                    began, cpu, targets = time.perf_counter(), time.process_time(), 0
                batch = batch if each is None else batch.some(each)
                trainer.step(model, optimizer, model.loss(batch, sampler))
                done, targets = done + 1, targets + len(batch.targets)
                if done == steps:
                    break
    took = {"seconds": time.perf_counter() - began, "cpu_seconds": time.process_time() - cpu}
    return {**took, "steps": steps, "targets": targets}


def epochs_of(log: Path) -> list[dict[str, float]]:
    """Every evaluated epoch of a training: seconds since the beginning, evaluations included, and NDCG@10 on validation."""
    found, seconds = [], 0.0
    for line in log.read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        if record.get("epoch"):
            seconds += record["seconds"]
            if "ndcg@10" in record:
                found.append({"epoch": record["epoch"], "seconds": seconds, "ndcg@10": record["ndcg@10"]})
    return found


def best_of(row: dict[str, Any]) -> tuple[float, int, float] | None:
    """The best NDCG@10, after how many epochs, and after how many seconds."""
    epochs = row.get("epochs")
    if not epochs:
        return None
    best = max(range(len(epochs)), key=lambda epoch: epochs[epoch]["ndcg@10"])
    return epochs[best]["ndcg@10"], epochs[best].get("epoch", best + 1), epochs[best]["seconds"]


def line_of(name: str, row: dict[str, Any], aim: float | None) -> list[str]:
    """A row of the table; aim: RecBole's best NDCG@10."""
    cells = [name]
    if "steps" in row:
        rate, epoch = row["targets"] / row["seconds"], row.get("targets_an_epoch")
        cells += [f"{row['steps'] / row[seconds]:.1f}" for seconds in ("seconds", "cpu_seconds")]
        cells += [f"{rate:,.0f}", "–" if epoch is None else f"{epoch / rate:,.1f}"]
    else:
        cells += ["–"] * 4
    best = best_of(row)
    if best is None or aim is None:
        return [*cells, *["–"] * 4]
    reached = next((epoch["seconds"] for epoch in row["epochs"] if epoch["ndcg@10"] >= aim), None)
    return [
        *cells, f"{100 * best[0]:.2f}", str(best[1]), f"{best[2]:,.0f}", "never" if reached is None else f"{reached:,.0f}"
    ]  # fmt: skip


def chart_of(rows: dict[str, dict[str, Any]], title: str, subtitle: str) -> alt.TopLevelMixin | None:
    """Validation quality against time; None where nothing was trained."""
    records = [
        {"system": name, "seconds": epoch["seconds"], "ndcg": 100 * epoch["ndcg@10"]}
        for name, row in rows.items() for epoch in row.get("epochs", [])
    ]  # fmt: skip
    if not records:
        return None
    colour = alt.Color("system:N", title=None, scale=alt.Scale(domain=[OURS, THEIRS], range=COLOURS[:2]),
                       legend=alt.Legend(orient="bottom"))  # fmt: skip
    lines = alt.Chart(pd.DataFrame(records), width=520, height=300).mark_line(strokeWidth=2)
    return styled(
        lines.encode(
            alt.X("seconds:Q", title="seconds, evaluations included"),
            alt.Y("ndcg:Q", title="ndcg@10 on validation, per cent"),
            colour,
        ),
        title,
        subtitle,
    )


@click.command(
    cls=BenchCommand,
    epilog="\b\nExample:\n  python benchmarks/speed_training.py --data data/beauty --steps 50 --epochs 200",
)
@click.option("--data", type=click.Path(path_type=Path), help="A data folder with a leave-one-out split.")
@click.option("--steps", default=50, show_default=True, help="Steps to time, after 5 to warm up; 0: none.")
@click.option(
    "--epochs",
    default=0,
    show_default=True,
    help="At most so many epochs, ours at most its default, for the time to quality; 0: none.",
)
@click.option(
    "--recbole-epochs", type=int, help="RecBole at most so many: an epoch of it takes minutes.  [default: as --epochs]"
)
@click.option("--patience", default=10, show_default=True, help="Evaluations without a gain that end a training.")
@click.option("--batch", default=256, show_default=True, help="Histories, or prefixes, a step.")
@click.option("--dim", default=64, show_default=True)
@click.option("--layers", default=2, show_default=True)
@click.option("--heads", default=2, show_default=True)
@click.option("--dropout", default=0.5, show_default=True)
@click.option("--max-length", default=50, show_default=True)
@click.option("--threads", default=1, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option(
    "--recbole", type=click.Path(path_type=Path), default=Path(tempfile.gettempdir()) / "sparcode-es-recbole",
    show_default=True, help="Its virtual environment; made there, with pinned versions, where there is none.",
)  # fmt: skip
@click.option("--without-recbole", is_flag=True, help="Measure ours alone.")
@click.option(
    "--label", default="", metavar="NAME", help="Stands in the names of the files, so that they overwrite none."
)
@click.option("--out", type=click.Path(path_type=Path), default=Path(__file__).parent / "results", show_default=True)
@click.option("--child", "child_task", hidden=True)
def main(
    data: Path | None, recbole: Path, without_recbole: bool, recbole_epochs: int | None, label: str, out: Path,
    child_task: str | None, **flags: Any,
) -> None:  # fmt: skip
    """Time the training of our two-tower beside RecBole's SASRec."""
    if child_task is not None:
        click.echo(json.dumps(ours(json.loads(child_task))))
        return
    if data is None:
        raise click.UsageError("give --data, a data folder")
    dataset, threads = Dataset.open(data), flags["threads"]
    if dataset.manifest.split.protocol != "leave-one-out":
        raise ConfigError(
            f"{data} must be split leave-one-out, as RecBole splits it here, not {dataset.manifest.split.protocol}"
        )
    rows = child("speed_training.py", {**flags, "data": str(data)}, threads)
    if not without_recbole:
        python = recbole_python(recbole)
        with tempfile.TemporaryDirectory() as folder:
            write_interactions(dataset, Path(folder))
            settings = recbole_settings(Path(folder), flags)
            epochs = flags["epochs"] if recbole_epochs is None else recbole_epochs
            task = {**flags, "epochs": epochs, "dataset": dataset.name, "settings": settings}
            rows[THEIRS] = child("recbole_sasrec.py", task, threads, str(python))
    title = f"Training on {dataset.name}: batch {flags['batch']}, D {flags['dim']}, {flags['layers']} layers"
    best = best_of(rows.get(THEIRS, {}))
    lines = [line_of(name, row, None if best is None else best[0]) for name, row in rows.items()]
    body = f"{markdown_table(COLUMNS, lines)}\n\n{(__doc__ or '').partition('--epochs 200')[2].strip()}\n\n{_note(rows, threads)}"
    result = {"data": dataset.name, "settings": flags, "rows": rows, "pins": list(PINS)}
    stem = "-".join(filter(None, ("speed-training", dataset.name, label)))
    write_speed(out, stem, title, body, result, chart_of(rows, title, f"{threads} thread(s)"))


def _note(rows: dict[str, dict[str, Any]], threads: int) -> str:
    versions = {name: row[name] for row in rows.values() for name in ("recbole", "torch") if name in row}
    theirs = f" RecBole {versions['recbole']} ran with torch {versions['torch']}." if versions else ""
    return f"{threads} thread(s), Python {sys.version.split()[0]}.{theirs}"


if __name__ == "__main__":
    main()
