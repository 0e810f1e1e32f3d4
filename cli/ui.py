"""`sparcode-es ui`: a live page over an artifact or an index."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.connection import connection_given, open_server
from sparcode_es_cli.encoder_options import encoder_options, open_encoder
from sparcode_es_cli.engine_options import engine_options
from sparcode_es_cli.listening import host_option, listening, serve, what_answers
from sparcode_es_cli.options import PATH

from sparcode_es.errors import ConfigError, MissingExtraError

if TYPE_CHECKING:
    from sparcode_es.ui.places import MakeRecommender, Places


@click.command(
    epilog="\b\nExamples:\n  sparcode-es ui --postings runs/postings --checkpoint runs/mine/model.pt\n"
    "  sparcode-es ui --url http://localhost:9200 --index recs --encoder runs/mine/encoder.onnx"
)
@host_option
@click.option("--port", type=click.IntRange(0, 65535), default=8001, show_default=True, help="0: any free one.")
@click.option(
    "--allow-host", "allowed", multiple=True, metavar="NAME", help="A further name that the page is asked by."
)
@click.option("--compare", "others", type=PATH, multiple=True, help="A further artifact, to compare with.")
@encoder_options(
    checkpoint="The model, for histories put together on the page; needs torch.",
    encoder="In its place: a file of `sparcode-es export`.",
)
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), default=10.0, show_default=True, help="Seconds an answer."
)
@engine_options
def command(
    host: str,
    port: int,
    allowed: tuple[str, ...],
    others: tuple[Path, ...],
    checkpoint: Path | None,
    exported: Path | None,
    budget: float,
    **flags: Any,
) -> None:
    """Show who is recommended what, and why, on a page of this machine. It reads only, and loads nothing from elsewhere.

    Generations of the index, and artifacts that --compare names, can be looked at side by side. There is no log-in: whoever
    reaches the port sees all users.
    """
    try:
        import uvicorn

        from sparcode_es.ui.app import make_app
        from sparcode_es.ui.guard import Hosts
    except ImportError as error:
        raise MissingExtraError.of(f"the page needs {error.name}", "serve") from error
    from sparcode_es.engines.plans import Limits
    from sparcode_es.serving.encoding import require_model
    from sparcode_es.serving.recommender import Recommender

    opened = open_encoder(checkpoint, exported)
    flags["timeout"] = min(budget, flags["timeout"])
    limits = Limits(flags["timeout"], budget)
    with _places(flags, others, lambda engine: Recommender.for_engine(engine, encoder=opened, limits=limits)) as places:
        info = places.get("").inspector.engine.info()
        if opened is not None:
            require_model(info, opened.hashes)
        with listening(host, port) as opened_port:
            app = make_app(places, opened is not None, Hosts(host, allowed))
            serve(
                uvicorn.Config(app, log_level="warning", server_header=False, lifespan="off"),
                opened_port,
                what_answers(info),
            )


@contextmanager
def _places(flags: dict[str, Any], others: tuple[Path, ...], make: MakeRecommender) -> Iterator[Places]:
    from sparcode_es.postings.artifact import Artifact
    from sparcode_es.ui.places import ArtifactPlaces, IndexPlaces

    further = [Artifact.open(path) for path in others]
    name = flags["engine"]
    if name == "embedded" or (name == "auto" and not connection_given(flags)):
        yield ArtifactPlaces([Artifact.open(flags["postings"]), *further], make)
        return
    if not connection_given(flags):
        raise ConfigError("--engine elasticsearch needs a server: give --url (ES_URL) or --cloud-id (ES_CLOUD_ID)")
    with open_server(flags) as server:
        yield IndexPlaces(server, flags["index"], further, make)
