"""`sparcode-es index`: put postings into Elasticsearch as a new generation and swap to it, or update the live one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.connection import connection_options, index_option, open_server
from sparcode_es_cli.generations import keep_option
from sparcode_es_cli.options import PATH, json_option, postings_option
from sparcode_es_cli.postings import built, cut_options, cuts_of
from tqdm import tqdm

from sparcode_es.config import PostingsConfig, to_mapping
from sparcode_es.errors import ArtifactError

if TYPE_CHECKING:
    from sparcode_es.engines.elasticsearch.connection import Server
    from sparcode_es.postings.artifact import Artifact


@click.command(
    epilog="\b\nExample:\n"
    "  sparcode-es index --url http://localhost:9200 --postings runs/postings\n"
    "  sparcode-es index --url http://localhost:9200 --checkpoint runs/ml-100k/model.pt\n"
    "  sparcode-es index --url http://localhost:9200 --postings runs/postings --update"
)
@index_option("name")
@postings_option("The postings artifact; with --checkpoint, where it is written.")
@click.option("--checkpoint", type=PATH, help="Build the postings of this model.pt first.")
@click.option("--data", "data_path", type=PATH, help="The model's data folder; where it was trained when left out.")
@cut_options
@click.option(
    "--field-type",
    type=click.Choice(["auto", "rank_features", "sparse_vector"]),
    default="auto",
    show_default=True,
    help="auto: what the server can do.",
)
@click.option(
    "--store-codes",
    is_flag=True,
    help='Keep the codes in _source too, at about six times the disk; the Kibana dashboard "SparCode why" reads them.',
)
@keep_option
@click.option(
    "--shards", type=click.IntRange(1, 1024), default=1, show_default=True, help="Primary shards of the items' index."
)
@click.option(
    "--replica-seconds",
    type=click.FloatRange(0),
    default=600.0,
    show_default=True,
    help="How long replicas may take before the run ends; the same command waits on.",
)
@click.option("--compact/--no-compact", default=None, help="Wait for the smallest index; on from 10,000 items.")
@click.option(
    "--update",
    "in_place",
    is_flag=True,
    help="Write only what `postings update` changed, into the live generation; it must hold what the postings were updated "
    "from. Searches see the change at its end; no rollback undoes it.",
)
@json_option()
@connection_options
def command(
    name: str,
    postings: Path,
    checkpoint: Path | None,
    data_path: Path | None,
    field_type: str,
    store_codes: bool,
    keep: int,
    shards: int,
    replica_seconds: float,
    compact: bool | None,
    in_place: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Load a new generation, check it, and move the alias to it.

    Until the last request readers see the generation before. A run that is killed leaves it live; the next run removes
    what was left, or, given the same after all was uploaded, finishes it. An --update that is killed is finished by giving
    it again; until then a server that restarts, or has replicas, may show old and new items side by side: where that
    matters, leave out --update.
    """
    if in_place and checkpoint is not None:
        raise click.UsageError(
            "--update loads what `postings update` wrote, --checkpoint builds anew; give one of them"
        )
    from sparcode_es.engines.elasticsearch.index import IndexOptions, check_server

    options = IndexOptions(name, field_type, store_codes, keep, compact, shards, replica_seconds)
    with open_server(flags) as server:
        if checkpoint is not None:
            check_server(server, options)
        artifact = artifact_to_load(postings, checkpoint, data_path, flags)
        report = update(server, artifact, name) if in_place else load(server, artifact, options)
    if as_json:
        click.echo(json.dumps(report))
        return
    print_report(report)


def print_report(report: dict[str, Any]) -> None:
    """A line a value that is not an empty list."""
    for key, value in report.items():
        if value != []:
            click.echo(f"{key:<20}{', '.join(value) if isinstance(value, list) else value}")


def artifact_to_load(
    postings: Path, checkpoint: Path | None, data_path: Path | None, flags: dict[str, Any]
) -> Artifact:
    """The artifact to load, its checksums verified; built first when there is a checkpoint, and then says on stderr when the one
    that was there had been cut otherwise."""
    from sparcode_es.postings.artifact import Artifact

    cuts = cuts_of(flags)
    if checkpoint is None:
        if data_path is not None or cuts != PostingsConfig():
            raise click.UsageError("--data and the flags that cut postings build an artifact: give --checkpoint too")
        return Artifact.open(postings, verify=True)
    before = _cuts_of_what_is_there(postings) or cuts
    artifact = built(checkpoint, data_path, postings, cuts)
    if before != cuts:
        click.echo(
            f"{postings} held postings that were cut otherwise, {_said(before)}; these are built by the flags given here: "
            f"{_said(cuts)}",
            err=True,
        )
    return artifact


def _cuts_of_what_is_there(postings: Path) -> PostingsConfig | None:
    """What cut the artifact in a folder; None where there is none that can be read."""
    from sparcode_es.postings.artifact import Artifact

    try:
        return Artifact.open(postings).manifest.config
    except ArtifactError:
        return None


def _said(cuts: PostingsConfig) -> str:
    """Cuts as flags, those that are not the defaults."""
    changed = to_mapping(cuts).items() - to_mapping(PostingsConfig()).items()
    return " ".join(f"--{name.replace('_', '-')} {value}" for name, value in sorted(changed)) or "uncut"


def load(server: Server, artifact: Artifact, options: Any) -> dict[str, Any]:
    """Run `index` with one progress bar a step (none when not a terminal)."""
    from sparcode_es.engines.elasticsearch.index import index

    with _bars() as progress:
        return index(server, artifact, options, progress).as_dict()


def update(server: Server, artifact: Artifact, name: str) -> dict[str, Any]:
    """Run `index --update` with one progress bar a step (none when not a terminal)."""
    from sparcode_es.engines.elasticsearch.update import update as update_in_place

    with _bars() as progress:
        return update_in_place(server, artifact, name, progress).as_dict()


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int], None]]:
    bars: dict[str, tqdm[Any]] = {}

    def progress(what: str, more: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(total=total, desc=what, disable=None)
        bars[what].update(more)

    try:
        yield progress
    finally:
        for bar in bars.values():
            bar.close()
