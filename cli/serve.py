"""`sparcode-es serve`: recommendations over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli.engine_options import chosen_engine, engine_options
from sparcode_es_cli.listening import host_option, listening, serve, what_answers
from sparcode_es_cli.log_options import chosen_log, log_options
from sparcode_es_cli.options import PATH

from sparcode_es.errors import EngineUnavailableError, MissingExtraError, SparcodeError

if TYPE_CHECKING:
    from sparcode_es.serving.recommender import Recommender

KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than proxies keep theirs, so that none is closed while a request begins."""


@click.command(epilog="\b\nExample:\n  sparcode-es serve --url http://localhost:9200 --index recs --port 8000")
@host_option
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option(
    "--budget", type=click.FloatRange(0, min_open=True), default=2.0, show_default=True, help="Seconds a request."
)
@click.option(
    "--in-flight",
    type=click.IntRange(1),
    default=16,
    show_default=True,
    help="Recommendations at once; one more is answered with popular items, marked as shed.",
)
@click.option(
    "--most",
    type=click.IntRange(1),
    default=48,
    show_default=True,
    help="Requests at once, waiting ones too; one more is answered with 503 and Retry-After.",
)
@click.option(
    "--max-connections",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="Requests at once with those that are still on their way; one more is answered with 503 before it is read.",
)
@click.option(
    "--max-body",
    type=click.IntRange(1),
    default=1_000_000,
    show_default=True,
    help="Bytes of a request's body; a longer one is answered with 413.",
)
@click.option("--encoder", type=PATH, help="A file of `sparcode-es export`, for histories.")
@log_options
@engine_options
def command(
    host: str,
    port: int,
    budget: float,
    in_flight: int,
    most: int,
    max_connections: int,
    max_body: int,
    encoder: Path | None,
    **flags: Any,
) -> None:
    """Serve /recommend, /explain, /livez, /healthz and /metrics; /docs describes them. There is no log-in: put
    it behind your own.

    While the server that --url names cannot be reached, everybody gets popular items: its own of before, or, where it was down
    from the start, those of --postings.
    """
    try:
        import uvicorn

        from sparcode_es.serving.crowd import Crowd
        from sparcode_es.serving.service import make_app
    except ImportError as error:
        raise MissingExtraError.of(f"serving needs {error.name}", "serve") from error
    from sparcode_es.engines.plans import Limits
    from sparcode_es.serving.exported import ExportedEncoder
    from sparcode_es.serving.recommender import Recommender

    limits = Limits(flags["timeout"], budget, in_flight=in_flight)
    with listening(host, port) as opened_port, chosen_engine(flags) as engine:
        opened = None if encoder is None else ExportedEncoder.open(encoder)
        log = chosen_log(flags, engine)
        with Recommender.for_engine(engine, encoder=opened, limits=limits, log=log) as recommender:
            app = make_app(recommender, Crowd(most, max_connections, most_bytes=max_body))
            config = uvicorn.Config(app, log_level="warning", timeout_keep_alive=KEEP_ALIVE)
            serve(config, opened_port, _warmed(recommender, flags["postings"]))


def _warmed(recommender: Recommender, postings: Path) -> str:
    """What answers: the engine, or, while it cannot be reached, popular items of an artifact. Raises what is wrong with the
    engine, with why there is no artifact."""
    from sparcode_es.postings.artifact import Artifact

    try:
        return what_answers(recommender.warm())
    except EngineUnavailableError as error:
        try:
            recommender.stand_in(Artifact.open(postings))
        except SparcodeError as missing:
            raise EngineUnavailableError(
                f"{error} There are no popular items to begin with either: {missing}"
            ) from error
        return f"{error} Until it answers, popular items of {postings}"
