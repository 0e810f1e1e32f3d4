"""`sparcode-es demo`: the main job on MovieLens-100K, from the log to recommendations and the quality table."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

if TYPE_CHECKING:
    from sparcode_es.data.dataset import Cases, Dataset

Scores = Callable[[np.ndarray], np.ndarray]
KS = (10, 50)
COLUMNS = [f"{metric}@{k}" for k in KS for metric in ("precision", "recall", "ndcg")]


@click.command(epilog="\b\nExample:\n  sparcode-es demo --out runs/demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("runs/demo"), show_default=True)
@click.option("--user", "user_id", default="1", show_default=True, help="Whose recommendations are printed.")
@click.option("-k", "count", default=10, show_default=True, help="Recommendations to print.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON document.")
def command(out: Path, user_id: str, count: int, as_json: bool) -> None:
    """Fetch MovieLens-100K, train SparCode and its two-tower twin, print recommendations and quality.

    Everything is written under --out. A second run takes up what the first one left there.
    """
    from sparcode_es_cli.extras import need_training

    need_training()
    seconds: dict[str, float] = {}
    with _timed("fetch", seconds):
        dataset = _data(out / "data")
    with _timed("train", seconds):
        scores = _train(dataset, out / "model")
    with _timed("evaluate", seconds):
        quality = _quality(dataset, scores)
    shown = _recommendations(dataset, scores["SparCode"], user_id, count)
    if as_json:
        click.echo(json.dumps({"quality": quality, "recommendations": shown, "seconds": seconds}, ensure_ascii=False))
        return
    _print_recommendations(shown)
    _print_quality(quality)
    click.echo("\nseconds  " + "  ".join(f"{step} {value:.0f}" for step, value in seconds.items()))


@contextmanager
def _timed(step: str, seconds: dict[str, float]) -> Iterator[None]:
    _note(f"== {step}")
    begin = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - begin, 1)


def _note(text: str) -> None:
    click.echo(text, err=True)


def _data(path: Path) -> Dataset:
    """The data folder at `path`, fetched when it is not there."""
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.data.fetch import Fetcher, default_cache
    from sparcode_es.data.importer import import_movielens
    from sparcode_es.data.write import Preparation

    if path.exists():
        _note(f"taking up {path}; remove it to begin again")
        return Dataset.open(path)
    return import_movielens(Fetcher(default_cache()).archive("ml-100k", _note), path, "ml-100k", Preparation())


def _train(dataset: Dataset, out: Path) -> dict[str, Scores]:
    """Train with the preset `demo`; each model's scores of the test cases, by its name."""
    from sparcode_es.baselines.popularity import Popularity
    from sparcode_es.baselines.two_tower import TwoTower
    from sparcode_es.config import load_config
    from sparcode_es.training.checkpoint import load_checkpoint, read_checkpoint
    from sparcode_es.training.loop import train
    from sparcode_es.training.validation import code_scores, tower_scores

    if out.exists():
        _note(f"taking up {out}; remove it to begin again")
    result = train(load_config(preset="demo"), dataset, out, echo=_note)
    cases = dataset.cases("test")
    scores: dict[str, Scores] = {"SparCode": code_scores(load_checkpoint(result.model_path), cases)}
    if result.two_tower_path is not None:
        twin = read_checkpoint(result.two_tower_path).model
        if isinstance(twin, TwoTower):
            scores["two-tower"] = tower_scores(twin, cases)
    scores["popularity"] = Popularity(dataset.train_sequences().items, dataset.num_items).scores
    return scores


def _quality(dataset: Dataset, scores: dict[str, Scores]) -> dict[str, dict[str, dict[str, float]]]:
    """Model → view (`all` or `unseen` items) → metric, on the test split."""
    from sparcode_es.evaluation.ranking import rank_metrics

    cases = dataset.cases("test")
    return {model: rank_metrics(score, cases, dataset.num_items, KS) for model, score in scores.items()}


def _recommendations(dataset: Dataset, scores: Scores, user_id: str, count: int) -> dict[str, Any]:
    """The user's latest items and the best items not among all of theirs. Raises `NotFoundError`."""
    cases = dataset.cases("test")
    row = _case_of(dataset, cases, user_id)
    history = cases.history[row].astype(np.int64)
    line = np.array(scores(np.array([row]))[0])
    line[history] = 0.0
    best = [int(item) for item in np.argsort(-line, kind="stable")[:count] if line[item] > 0]
    return {
        "user": user_id,
        "history": [dataset.item_title(int(item)) for item in history[::-1][:count]],
        "items": [
            {"item": dataset.item_ids[item], "title": dataset.item_title(item), "score": round(float(line[item]), 4)}
            for item in best
        ],
    }


def _case_of(dataset: Dataset, cases: Cases, user_id: str) -> int:
    from sparcode_es.errors import NotFoundError

    user = dataset.user_ids.find(user_id)
    rows = np.flatnonzero(cases.users == user) if user is not None else np.array([], dtype=np.int64)
    if not len(rows):
        raise NotFoundError(f"MovieLens-100K has no test case of a user {user_id!r}; its users are 1 to 943")
    return int(rows[0])


def _print_recommendations(shown: dict[str, Any]) -> None:
    click.echo(f"user {shown['user']}\n\n{'watched last':<44} recommended")
    items = [f"{hit['score']:8.4f}  {hit['title']}" for hit in shown["items"]]
    history = shown["history"]
    for i in range(max(len(items), len(history))):
        left = history[i][:42] if i < len(history) else ""
        click.echo(f"{left:<44} {items[i] if i < len(items) else ''}")


def _print_quality(quality: dict[str, dict[str, dict[str, float]]]) -> None:
    for view, title in (("all", "all items ranked"), ("unseen", "unseen items ranked")):
        click.echo(f"\n{title}, per cent")
        click.echo(f"{'':<12}" + "".join(f"{name:>14}" for name in COLUMNS))
        for model, views in quality.items():
            click.echo(f"{model:<12}" + "".join(f"{100 * views[view][name]:>14.2f}" for name in COLUMNS))
