"""`sparcode-es demo`: the main job on MovieLens-100K, from the log to recommendations and the quality table."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.connection import connection_config, connection_given, connection_options
from sparcode_es_cli.engine_options import AnyEngine
from sparcode_es_cli.options import PATH, json_option

from sparcode_es.visible import visible

if TYPE_CHECKING:
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.models.sparcode import SparCode
    from sparcode_es.postings.artifact import Artifact

Quality = dict[str, dict[str, dict[str, float]]]
"""Model → view (`all` or `unseen` items) → metric."""
KS = (10, 50)
COLUMNS = [f"{metric}@{k}" for k in KS for metric in ("precision", "recall", "ndcg")]


@click.command(epilog="\b\nExample:\n  sparcode-es demo --out runs/demo")
@click.option("--out", type=PATH, default=Path("runs/demo"), show_default=True)
@click.option("--user", "user_id", default="1", show_default=True, help="Whose recommendations are printed.")
@click.option("-k", "count", type=click.IntRange(1), default=10, show_default=True, help="Recommendations to print.")
@click.option("--index", default="sparcode-demo", show_default=True, help="The alias, where a server is named.")
@connection_options
@json_option("Print everything as one JSON document.")
def command(out: Path, user_id: str, count: int, as_json: bool, index: str, **flags: Any) -> None:
    """Fetch MovieLens-100K, train SparCode and its two-tower twin, index, ask the engine.

    The engine is the Elasticsearch that --url or ES_URL names, else the embedded one. Everything is written under --out. A
    second run takes up what the first one left there.
    """
    from sparcode_es_cli.extras import need_training

    need_training()
    seconds: dict[str, float] = {}
    with _timed("fetch", seconds):
        dataset = _data(out / "data")
    with _timed("train", seconds):
        model_path, twin_path = _train(dataset, out / "model")
    with _timed("postings", seconds):
        artifact, model = _postings(dataset, model_path, out / "postings")
    with _timed("index", seconds):
        engine = _engine(artifact, index, flags)
    with _timed("verify", seconds):
        checked = _verify(engine, artifact, model)
    with _timed("evaluate", seconds):
        quality = _quality(dataset, engine, model, twin_path)
    shown = _recommendations(dataset, engine, user_id, count)
    if as_json:
        document = {"quality": quality, "recommendations": shown, "verify": checked, "seconds": seconds}
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    _print_recommendations(shown)
    _print_quality(quality)
    click.echo(
        f"\nverify: {checked['users']} users on the {engine.info().engine} engine, recall@{checked['k']} "
        f"{checked['recall']:.4f}, largest relative error {checked['rounded_error']:.1e} against the rounded scores, "
        f"{checked['unrounded_error']:.1e} against the model"
    )
    click.echo("seconds: " + ", ".join(f"{step} {value:.0f}" for step, value in seconds.items()))


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
    from sparcode_es.data.importer import ImportOptions, import_file
    from sparcode_es.data.write import Preparation

    if path.exists():
        _note(f"taking up {path}; remove it to begin again")
        return Dataset.open(path)
    archive = Fetcher(default_cache()).archive("ml-100k", _note)
    return import_file(archive, path, "ml-100k", Preparation(), ImportOptions("movielens"))


def _train(dataset: Dataset, out: Path) -> tuple[Path, Path | None]:
    """Train with the preset `demo`: the checkpoints of SparCode and of its two-tower twin."""
    from sparcode_es.config import load_config
    from sparcode_es.training.loop import train

    if out.exists():
        _note(f"taking up {out}; remove it to begin again")
    result = train(load_config(preset="demo"), dataset, out, echo=_note)
    return result.model_path, result.two_tower_path


def _postings(dataset: Dataset, checkpoint: Path, out: Path) -> tuple[Artifact, SparCode]:
    """Score all pairs and encode all users from their whole histories."""
    from sparcode_es.serving.encoder import HistoryEncoder
    from sparcode_es.serving.pipeline import build_from_data

    encoder = HistoryEncoder.from_checkpoint(checkpoint)
    return build_from_data(encoder, dataset, out), encoder.model


def _engine(artifact: Artifact, index: str, flags: dict[str, Any]) -> AnyEngine:
    """The artifact in Elasticsearch where a server is named, else behind the embedded engine."""
    if not connection_given(flags):
        from sparcode_es.engines.embedded import EmbeddedEngine

        return EmbeddedEngine(artifact)
    from sparcode_es_cli.index import load

    from sparcode_es.engines.elasticsearch.connection import Server
    from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
    from sparcode_es.engines.elasticsearch.index import IndexOptions

    server = Server(connection_config(flags))
    load(server, artifact, IndexOptions(index))
    return ElasticsearchEngine(server, index)


def _verify(engine: AnyEngine, artifact: Artifact, model: SparCode) -> dict[str, Any]:
    """The engine beside the model. Raises `VerificationError` when they differ."""
    from sparcode_es.serving.pipeline import encode_known
    from sparcode_es.serving.verify import verify

    found = verify(engine, artifact, model, partial(encode_known, model, artifact))
    found.require()
    return asdict(found)


def _quality(dataset: Dataset, engine: AnyEngine, model: SparCode, twin_path: Path | None) -> Quality:
    """Test metrics: SparCode as the engine answers, its twin and popularity from their own scores."""
    from sparcode_es.baselines.popularity import popularity
    from sparcode_es.evaluation.ranking import rank_metrics
    from sparcode_es.serving.encoder import encode_histories
    from sparcode_es.serving.measure import measure
    from sparcode_es.training.checkpoint import read_checkpoint

    cases = dataset.cases("test")
    codes = encode_histories(model, cases.history_offsets, cases.history_items, cases.users)
    found = {"SparCode": measure(engine, cases, codes, dataset.item_ids, model.shared_heads, KS)}
    if twin_path is not None:
        twin = read_checkpoint(twin_path).model
        found["two-tower"] = rank_metrics(twin.case_scores(cases), cases, dataset.num_items, KS)
    counted = popularity(model.config, dataset).case_scores(cases)
    found["popularity"] = rank_metrics(counted, cases, dataset.num_items, KS)
    return found


def _recommendations(dataset: Dataset, engine: AnyEngine, user_id: str, count: int) -> dict[str, Any]:
    """The user's latest items beside the best unseen ones. Raises `NotFoundError` for an unknown user."""
    from sparcode_es.serving.recommender import Recommender

    answer = Recommender.for_engine(engine, fallback=False).recommend(user_id, k=count, exclude_seen=True)
    user = dataset.user_ids.find(user_id)
    history = [] if user is None else dataset.full_histories()[user].tolist()
    return {
        "user": user_id,
        "history": [dataset.item_title(item) for item in history[::-1][:count]],
        "items": [{"item": found.id, "title": found.title or found.id, "score": found.score} for found in answer],
    }


def _print_recommendations(shown: dict[str, Any]) -> None:
    click.echo(f"user {shown['user']}\n\n{'watched last':<44} recommended")
    items = [f"{hit['score']:8.4f}  {visible(hit['title'])}" for hit in shown["items"]]
    history = shown["history"]
    for i in range(max(len(items), len(history))):
        left = visible(history[i])[:42] if i < len(history) else ""
        click.echo(f"{left:<44} {items[i] if i < len(items) else ''}")


def _print_quality(quality: Quality) -> None:
    for view, title in (("all", "all items ranked"), ("unseen", "unseen items ranked")):
        click.echo(f"\n{title}, per cent")
        click.echo(f"{'':<12}" + "".join(f"{name:>14}" for name in COLUMNS))
        for model, views in quality.items():
            click.echo(f"{model:<12}" + "".join(f"{100 * views[view][name]:>14.2f}" for name in COLUMNS))
