"""`sparcode-es report`: one HTML page of a training, an artifact or an index, to read and to hand on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from sparcode_es_cli.connection import connection_given, connection_options, index_option, open_server
from sparcode_es_cli.options import PATH, POSTINGS, json_option, postings_option

from sparcode_es.errors import ConfigError, StorageError

if TYPE_CHECKING:
    from sparcode_es.report.holding import Holding

OTHER_FORMATS = (".json", ".md", ".pdf", ".txt", ".csv")
"""Of a file's name: what a page is not."""


@click.command(
    epilog="\b\nExamples:\n  sparcode-es report --postings runs/postings --training runs/ml-100k --out report.html\n"
    "  sparcode-es report --url http://localhost:9200 --index recs --user 123"
)
@click.option("--training", type=PATH, help="A folder of `sparcode-es train`.")
@postings_option(f"A postings artifact.  [default: {POSTINGS}, where nothing else is named]", default=None)
@index_option("index")
@click.option("--checkpoint", type=PATH, help="Draw the map of codes from this model's code vectors; needs torch.")
@click.option(
    "--evaluation",
    "evaluations",
    type=PATH,
    multiple=True,
    help="What `evaluate --json` printed; may be repeated.  [default: evaluation*.json of the training]",
)
@click.option("--user", "users", multiple=True, help="A user of the examples; may be repeated.")
@click.option(
    "--examples", type=click.IntRange(0, 50), default=5, show_default=True, help="How many users, where none is named."
)
@click.option(
    "--latency",
    type=click.IntRange(0, 1_000_000),
    default=0,
    show_default=True,
    help="Time so many recommendations, one after the other.",
)
@click.option("--title", help="The page's heading.  [default: what the report is of]")
@click.option("--out", type=PATH, default=Path("report.html"), show_default=True, help="The file to write.")
@json_option("Print the page's facts as one JSON document.")
@connection_options
def command(
    training: Path | None,
    checkpoint: Path | None,
    evaluations: tuple[Path, ...],
    users: tuple[str, ...],
    examples: int,
    latency: int,
    title: str | None,
    out: Path,
    as_json: bool,
    **flags: Any,
) -> None:
    """Write one self-contained HTML page: quality and its slices, examples, map and usage of codes, scores, latency, training.

    It is made from whatever is named: a training's folder, a postings artifact, an index, or several of them; where both hold
    the postings, the artifact answers. What is named on the command line is all that counts; the environment is asked where
    nothing is. The page loads nothing and runs no script.
    """
    from sparcode_es.files import atomic_write
    from sparcode_es.report.collect import Wanted, collect
    from sparcode_es.report.page import page

    if out.is_dir():
        raise StorageError(f"cannot write {out}: it is a folder; give a file as --out")
    if out.suffix.lower() in OTHER_FORMATS:
        raise ConfigError(
            f"--out {out}: a report is a page of HTML; name it {out.with_suffix('.html')}, or print its facts with --json"
        )
    if checkpoint is not None:
        from sparcode_es_cli.extras import need_training

        need_training()
    postings, server = _named(flags, any((training, checkpoint, evaluations)))
    with _holdings(flags, postings, server) as holdings:
        if users and not holdings:
            raise ConfigError("--user needs the postings that answer for them: give --postings or --url too")
        if latency and not holdings:
            raise ConfigError("--latency needs the postings that it times: give --postings or --url too")
        made_at = datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        named = title or _title(training or checkpoint or postings or next(iter(evaluations), None), flags)
        report = collect(Wanted(named, made_at, training, holdings, checkpoint, users, examples, evaluations, latency))
    content = page(report).encode()
    with atomic_write(out) as file:
        file.write(content)
    if as_json:
        click.echo(json.dumps({"out": str(out), "bytes": len(content), **report.as_dict()}))
    else:
        click.echo(f"{out}  {len(content):,} bytes  {' '.join(report.sections())}")


def _title(path: Path | None, flags: dict[str, Any]) -> str:
    """The name of the training, the checkpoint or the artifact; where there is none of them, the alias'."""
    if path is None:
        return str(flags["index"])
    return path.resolve().name if path.is_dir() else path.name


@contextmanager
def _holdings(flags: dict[str, Any], postings: Path | None, server: bool) -> Iterator[list[Holding]]:
    """The places that are named, the artifact first."""
    found: list[Holding] = []
    with ExitStack() as stack:
        if postings is not None:
            from sparcode_es.postings.artifact import Artifact
            from sparcode_es.report.holding import ArtifactHolding

            found.append(ArtifactHolding(Artifact.open(postings)))
        if server:
            from sparcode_es.report.indexed import IndexHolding

            found.append(IndexHolding(stack.enter_context(open_server(flags)), flags["index"]))
        yield found


def _named(flags: dict[str, Any], others: bool) -> tuple[Path | None, bool]:
    """The artifact, and whether a server is to be asked: those of the command line, else those of the environment.

    others: whether something else is named, so that neither is needed.
    """
    context = click.get_current_context()

    def said(*names: str) -> bool:
        return any(context.get_parameter_source(name) is ParameterSource.COMMANDLINE for name in names)

    postings, server = flags["postings"], connection_given(flags)
    if said("index") and not server:
        raise ConfigError("--index needs a server: give --url (ES_URL) or --cloud-id (ES_CLOUD_ID)")
    if others or said("postings", "url", "cloud_id", "index"):
        return postings if said("postings") else None, said("url", "cloud_id", "index")
    return postings or (None if server else POSTINGS), server
