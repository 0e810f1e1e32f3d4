"""`sparcode-es postings update`: later events into the postings, without training."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.options import PATH, json_option, postings_option
from sparcode_es_cli.reading_options import import_options, reading_options
from sparcode_es_cli.words import counted

if TYPE_CHECKING:
    from sparcode_es.postings.artifact import Artifact
    from sparcode_es.serving.new_events import Fold, Log


@click.command(
    epilog="\b\nExample:\n"
    "  sparcode-es postings update --checkpoint runs/mine/model.pt --data data/mine today.txt --format sequences\n"
    "  sparcode-es postings update --checkpoint runs/mine/model.pt --data data/mine --fold valid --out runs/fresh"
)
@click.argument("log", type=PATH, required=False)
@postings_option("The artifact to update.")
@click.option("--checkpoint", type=PATH, required=True, help="The model.pt that it was built from.")
@click.option("--data", "data_path", type=PATH, required=True, help="The data folder that it was built from.")
@click.option("--out", type=PATH, help="Where the updated artifact is written.  [default: in place of the old one]")
@click.option(
    "--fold",
    "splits",
    type=click.Choice(["valid", "test"]),
    multiple=True,
    help="Count the data folder's own held-out events too; do not evaluate on them afterwards. Repeatable.",
)
@json_option()
@reading_options
def update(
    log: Path | None,
    postings: Path,
    checkpoint: Path,
    data_path: Path,
    out: Path | None,
    splits: Any,
    as_json: bool,
    **flags: Any,
) -> None:
    """Fold the events of LOG, which came after the data folder's, into the postings.

    Users with new events get new codes (unknown users become known), and what followed what is counted on: the postings of
    those pairs of code and item change, and codes that nobody had before get theirs; all others are copied. Events on items
    that the model does not know are left out; those items need a training.

    The result is what `postings build` would make of all counts with the same bias, but that codes which nobody has any more
    stay. How often a code and an item occur at all stays that of training, so train again before the new events are many
    beside the old ones. A run that is killed leaves the artifact that was there. A log that was folded in before is refused,
    and one that goes back behind the last events of its users. Without an event to fold, as of a day on which nothing happened,
    nothing is written. Postings that were cut by traffic, or per item, cannot be updated: some codes alone cannot be cut again.
    """
    from sparcode_es_cli.extras import need_tables, need_training

    if log is None and not splits:
        raise click.UsageError("Give a LOG of new events, or --fold.")
    need_tables()
    from sparcode_es.data.dataset import Dataset
    from sparcode_es.files import only_writer
    from sparcode_es.postings.artifact import Artifact
    from sparcode_es.postings.manifest import read_manifest
    from sparcode_es.serving.new_events import checked_fold

    started = time.perf_counter()
    read_manifest(postings)
    with only_writer(out or postings, "updating"):
        artifact, dataset = Artifact.open(postings, verify=True), Dataset.open(data_path)
        events = None if log is None else _read(log, flags)
        fold = checked_fold(artifact, dataset, out or postings, events, tuple(dict.fromkeys(splits)))
        if fold.is_empty:
            _report_nothing(fold, as_json)
            return
        need_training()
        from sparcode_es.serving.encoder import HistoryEncoder
        from sparcode_es.serving.fresh import update_from_data

        updated = update_from_data(HistoryEncoder.from_checkpoint(checkpoint), fold)
    _report(updated, time.perf_counter() - started, as_json)


def _read(path: Path, flags: dict[str, Any]) -> Log:
    from sparcode_es.data.importer import read_log
    from sparcode_es.files import sha256_of
    from sparcode_es.serving.new_events import Log

    events = read_log(path, import_options(flags))
    return Log(path.name, sha256_of(path), events)


def _report_nothing(fold: Fold, as_json: bool) -> None:
    """Of a log without an event that could be folded in; the artifact stays as it is."""
    _tell_left_out(fold.new.unknown_events, fold.new.unknown_items)
    path, elsewhere = fold.artifact.path, fold.out.resolve() != fold.artifact.path.resolve()
    unwritten = f", and {fold.out} is not written" if elsewhere else ""
    click.echo(f"there is no event to fold in: {path} stays as it is{unwritten}", err=True)
    if as_json:
        unknown = {"unknown_item_events": fold.new.unknown_events, "unknown_items": fold.new.unknown_items}
        generation = fold.artifact.generation_hash
        click.echo(json.dumps({"postings": str(path), "generation": generation, "events": 0, **unknown}))


def _tell_left_out(events: int, items: int) -> None:
    if events:
        click.echo(
            f"left out {counted(events, 'event')} on {counted(items, 'item')} "
            "that the model does not know, which have no vectors and no codes: train again to recommend them",
            err=True,
        )


def _report(artifact: Artifact, seconds: float, as_json: bool) -> None:
    manifest, record = artifact.manifest, artifact.manifest.updates[-1]
    _tell_left_out(record.unknown_item_events, record.unknown_items)
    report = {
        "postings": str(artifact.path),
        "generation": artifact.generation_hash,
        "updated_from": manifest.updated_from,
        "model_hash": artifact.model_hash,
        "events": record.events,
        "unknown_item_events": record.unknown_item_events,
        "unknown_items": record.unknown_items,
        "new_users": record.new_users,
        "new_codes": record.new_codes,
        **{f"changed_{name}": count for name, count in asdict(record.changed).items()},
        "num_postings": artifact.num_postings,
        "folded_events": manifest.counts.folded_events,
        "seconds": round(seconds, 2),
    }
    if as_json:
        click.echo(json.dumps(report))
        return
    for name, value in report.items():
        click.echo(f"{name.replace('_', ' '):<32} {value}")
