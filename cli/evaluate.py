"""`sparcode-es evaluate`: measure quality through an engine."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.engine_options import chosen_engine, engine_options, note_engine
from sparcode_es_cli.options import PATH, json_option

if TYPE_CHECKING:
    from sparcode_es.data.dataset import Cases, Dataset
    from sparcode_es.evaluation.ranking import Ranking
    from sparcode_es.serving.encoder import HistoryEncoder
    from sparcode_es.training.checkpoint import Checkpoint

Metrics = dict[str, dict[str, float]]
"""View (`all` or `unseen` items) → metric."""
METRICS = ("precision", "recall", "ndcg", "coverage")


@click.command(
    epilog="\b\nExample:\n  sparcode-es evaluate --checkpoint runs/ml-100k/model.pt --data data/ml-100k --split test"
)
@click.option("--checkpoint", type=PATH, required=True, help="The model that encodes histories.")
@click.option("--data", "data_path", type=PATH, required=True, help="The data folder.")
@click.option("--split", type=click.Choice(["valid", "test"]), default="test", show_default=True)
@click.option(
    "--metrics",
    "convention",
    type=click.Choice(["standard", "deezer"]),
    help="precision divides by k, or by min(k, targets).  [default: deezer where the data came with their split]",
)
@json_option("Print the metrics as JSON, with slices.")
@engine_options
def command(checkpoint: Path, data_path: Path, split: Any, convention: Any, as_json: bool, **engine_flags: Any) -> None:
    """Encode the histories of a split, ask the engine for 50 items, and print precision, recall, NDCG and coverage.

    A checkpoint of another system than SparCode, such as two_tower.pt, needs no engine: it ranks every item itself. The JSON
    also has recall and NDCG by slice, by the history's length and by the target's popularity; `sparcode-es report` reads it.
    What makes the figures look better than they are, such as a model or postings that have seen the answers, is said on
    stderr and is `doubts` in the JSON.
    """
    from sparcode_es_cli.extras import need_training

    need_training()
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.errors import DataError
    from sparcode_es.evaluation.metrics import convention_of
    from sparcode_es.evaluation.ranking import mean_metrics
    from sparcode_es.evaluation.slices import slices
    from sparcode_es.models.sparcode import SparCode
    from sparcode_es.serving.encoder import HistoryEncoder
    from sparcode_es.training.checkpoint import read_checkpoint

    dataset = Dataset.open(data_path)
    cases = dataset.cases(split)
    if len(cases) == 0:
        raise DataError(f"{data_path} has no cases in its {split} split; import it with another --split")
    convention = convention or convention_of(dataset)
    trained = read_checkpoint(checkpoint)
    doubts = Doubts()
    learned = trained.model.config.training.learned_splits
    if split in learned:
        judge = "the test split says" if "test" not in learned else "nothing here can say"
        doubts.tell(f"{checkpoint} has learned from these events (train --refit): {judge} what it is worth")
    if trained.events != dataset.events_hash:
        doubts.tell(
            f"{checkpoint} was trained on other events than those of {data_path}, or another split of them: it may have learned "
            "what is asked here"
        )
    if isinstance(trained.model, SparCode):
        encoder = HistoryEncoder(trained.model, trained.item_ids)
        ranking = _ranked_by_engine(encoder, dataset, cases, split, doubts, engine_flags)
    else:
        ranking = _ranked_by_model(trained, dataset, cases)
    found = mean_metrics(ranking, cases, convention=convention)
    if not as_json:
        _print(found)
        return
    what = {
        "model": trained.model.config.model,
        "data": dataset.name,
        "data_hash": dataset.events_hash,
        "split": split,
        "convention": convention,
        "cases": len(cases),
        "doubts": doubts,
    }
    sliced = slices(ranking, cases, dataset, convention=convention)
    click.echo(
        json.dumps(what | found | {"slices": {by: [each.as_dict() for each in own] for by, own in sliced.items()}})
    )


class Doubts(list[str]):
    """What makes the figures look better than they are. Each is told on stderr before anything is measured."""

    def tell(self, doubt: str) -> None:
        """Add one."""
        self.append(doubt)
        click.echo(doubt, err=True)


def _ranked_by_engine(
    encoder: HistoryEncoder,
    dataset: Dataset,
    cases: Cases,
    split: str,
    doubts: Doubts,
    engine_flags: dict[str, Any],
) -> Ranking:
    """The cases ranked through the engine that the flags choose; a doubt is told of postings that have seen the answers."""
    from sparcode_es.serving.measure import rank_by_engine
    from sparcode_es.serving.pipeline import encode_cases
    from sparcode_es.serving.recommender import Recommender

    with chosen_engine(engine_flags) as engine:
        Recommender.for_engine(engine).require_model(*encoder.hashes)
        info = engine.info()
        if split in info.splits_seen:
            doubts.tell(
                f"the postings of {info.where} have seen the answers of the {split} split (`postings update --fold`, or a cut by "
                "traffic): measure with postings that have not"
            )
        codes = encode_cases(encoder, dataset, cases)
        started = time.perf_counter()
        found = rank_by_engine(engine, cases, codes, dataset.item_ids, encoder.model.shared_heads)
        note_engine(engine, f"{2 * len(cases)} queries in {time.perf_counter() - started:.1f} s")
        return found


def _ranked_by_model(trained: Checkpoint, dataset: Dataset, cases: Cases) -> Ranking:
    """A system without codes has no index to ask: it ranks every item itself."""
    from sparcode_es.evaluation.ranking import rank_cases
    from sparcode_es.training.build import load_user_features, require_same_items
    from sparcode_es.training.trainer import pick_device

    require_same_items(trained.item_ids, dataset)
    load_user_features(trained.model, dataset)
    started = time.perf_counter()
    model = trained.model.to(pick_device("auto"))
    found = rank_cases(model.case_scores(cases), cases, dataset.num_items)
    seconds = time.perf_counter() - started
    click.echo(f"{trained.model.config.model} itself, no engine: {len(cases)} cases in {seconds:.1f} s", err=True)
    return found


def _print(found: Metrics) -> None:
    for view, title in (("all", "all items"), ("unseen", "unseen items only")):
        click.echo(f"\n{title}, per cent")
        click.echo(f"{'k':>4}" + "".join(f"{name:>12}" for name in METRICS))
        for k in (5, 10, 20, 50):
            click.echo(f"{k:>4}" + "".join(f"{100 * found[view][f'{name}@{k}']:>12.2f}" for name in METRICS))
