"""`sparcode-es query`: recommend for a user or for a history."""

from __future__ import annotations

import math
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from sparcode_es_cli import query_print as show
from sparcode_es_cli.encoder_options import (
    asked_options,
    check_asked,
    check_encoder,
    open_encoder,
    parse_history,
)
from sparcode_es_cli.engine_options import AnyEngine, chosen_engine, engine_note, engine_options
from sparcode_es_cli.log_options import chosen_log, log_options
from sparcode_es_cli.options import json_option
from sparcode_es_cli.query_notes import notes
from sparcode_es_cli.words import counted

from sparcode_es.errors import ConfigError, EngineUnavailableError, SparcodeError

if TYPE_CHECKING:
    from sparcode_es.serving.ask import Ask, Options
    from sparcode_es.serving.encoding import Encoder
    from sparcode_es.serving.results import Recommendations

FILTER = re.compile(r"([^<>=!]+)(>=|<=|!=|=|>|<)(.+)", re.DOTALL)
BOUNDS = {">=": "gte", "<=": "lte", ">": "gt", "<": "lt"}


NO_REQUEST = "there is no request to show: popular items answer without one"


@click.command(
    epilog="\b\nExamples:\n  sparcode-es query --user 123 -k 20 --exclude-seen\n"
    "  sparcode-es query --user 123 --filter genre=Drama --filter 'year>=1990' --max-per genre=3\n"
    '  sparcode-es query --history "12 55 7" --checkpoint runs/ml-100k/model.pt --explain'
)
@asked_options(
    checkpoint="The model that encodes --history; with --user, refused when the index is another model's.",
    encoder="In place of --checkpoint: a file of `sparcode-es export`; needs no torch.",
)
@click.option("-k", "count", type=click.IntRange(1, 10_000), default=10, show_default=True, help="How many items.")
@click.option("--page", type=click.IntRange(1), default=1, show_default=True, help="Which k items of the list.")
@click.option("--exclude-seen", is_flag=True, help="Leave out the user's own items.")
@click.option(
    "--filter",
    "filters",
    multiple=True,
    metavar="NAME=VALUE",
    help="Only items with this attribute; also != and < <= > >=, for numbers and for texts such as dates. All given must hold.",
)
@click.option("--boost", "boosts", multiple=True, metavar="NAME=VALUE:WEIGHT", help="Multiply these items' scores.")
@click.option("--pin", "pins", multiple=True, metavar="PLACE=ITEM", help="Show this item at this place.")
@click.option("--max-per", metavar="NAME=COUNT", help="At most COUNT items with one value of this attribute.")
@click.option(
    "--mmr", type=click.FloatRange(0, 1), help="Weigh dissimilar items up: 0 is the ranking, 1 variety alone."
)
@click.option("--text", help="Words to look for in the titles, too (Elasticsearch only).")
@click.option(
    "--fallback",
    is_flag=True,
    help="Popular items, marked: for an unknown user; while the server cannot be reached, those of --postings.",
)
@click.option("--explain", is_flag=True, help="Show which codes gave each item its score, the most first.")
@click.option("--show-history", is_flag=True, help=f"Show the user's latest {show.LATEST} items, too.")
@click.option(
    "--show-request",
    is_flag=True,
    help="Print the request for Kibana's Dev Tools, alone on stdout; the list goes to stderr.",
)
@json_option("Print one JSON document.")
@log_options
@engine_options
def command(
    user_id: str | None,
    history: str | None,
    checkpoint: Path | None,
    exported: Path | None,
    fallback: bool,
    show_history: bool,
    show_request: bool,
    as_json: bool,
    **flags: Any,
) -> None:
    """Recommend items for a user that the index knows, or for a history."""
    from sparcode_es.serving.ask import Ask

    check_asked(user_id, history)
    check_encoder(checkpoint, exported, needed=history is not None)
    options = recommend_options(flags)
    if history is not None:
        options["history"] = parse_history(history)
    ask = Ask.of(user_id, **options)

    def told(engine: AnyEngine, answer: Recommendations, elapsed: float) -> show.Shown:
        document = show.as_json(engine, answer, elapsed, show_history, show_request)
        asked = [NO_REQUEST] if show_request and not document["request"] else []
        what = f"{counted(len(answer), 'item')} in {1000 * elapsed:.1f} ms"
        return show.Shown(answer, document, [*notes(engine, answer, ask), *asked, engine_note(engine, what)])

    try:
        with chosen_engine(flags) as engine:
            if show_request and engine.info().engine == "embedded":
                raise ConfigError(
                    "--show-request: the embedded engine sends no request; name a server with --url (ES_URL)"
                )
            encoder = open_encoder(checkpoint, exported)
            shown = told(engine, *_recommended(engine, encoder, ask, fallback, flags))
    except EngineUnavailableError as error:
        if not fallback:
            raise
        shown = told(*_stand_in(error, ask, flags))
    show.answer(shown, as_json)


def _recommended(
    engine: AnyEngine,
    encoder: Encoder | None,
    ask: Ask,
    fallback: bool,
    flags: dict[str, Any],
) -> tuple[Recommendations, float]:
    """The answer, and the seconds that it took."""
    from sparcode_es.engines.plans import Limits
    from sparcode_es.serving.recommender import Recommender

    limits = Limits(flags["timeout"], math.inf, attempts=4, pause=0.1)
    recommender = Recommender.for_engine(
        engine, encoder=encoder, limits=limits, fallback=fallback, log=chosen_log(flags, engine)
    )
    if encoder is not None:
        recommender.require_model(*encoder.hashes)
    with recommender:
        if fallback:
            # The popular items now: when they are needed, the server may be away.
            recommender.warm()
        started = time.perf_counter()
        answer = recommender.recommend_many([ask])[0]
        return answer, time.perf_counter() - started


def _stand_in(
    error: EngineUnavailableError, ask: Ask, flags: dict[str, Any]
) -> tuple[AnyEngine, Recommendations, float]:
    """Popular items of the artifact, for a server that cannot be reached, logged as the embedded engine logs. Raises the same
    error, with why there are none."""
    from sparcode_es.engines.embedded import EmbeddedEngine
    from sparcode_es.engines.local_source import LocalSource
    from sparcode_es.postings.artifact import Artifact
    from sparcode_es.serving.fallback import popular_offline, some_popular_of
    from sparcode_es.serving.log_entry import Asked, entries
    from sparcode_es.serving.work import Work

    postings, begun, started = flags["postings"], time.time(), time.perf_counter()
    try:
        engine = EmbeddedEngine(Artifact.open(postings))
        answer = popular_offline(engine, some_popular_of(engine), ask, f"{error} These are of {postings}")
    except SparcodeError as missing:
        raise EngineUnavailableError(f"{error} --fallback has no popular items either: {missing}") from error
    elapsed = time.perf_counter() - started
    log = chosen_log(flags, engine)
    if log is not None:
        asked = Asked(begun, elapsed, batch=1)
        log.add(entries(log, LocalSource(engine), asked, [Work(ask, error=error)], [answer]))
        log.close()
    return engine, answer, elapsed


def recommend_options(flags: dict[str, Any]) -> Options:
    """What the flags ask of a recommender. Raises `ConfigError`."""
    from sparcode_es.serving.arrange import MaxPer, Mmr

    if flags["max_per"] is not None and flags["mmr"] is not None:
        raise click.UsageError("--max-per and --mmr do different things; give one of them")
    diversify: MaxPer | Mmr | None = None if flags["mmr"] is None else Mmr(flags["mmr"])
    if flags["max_per"] is not None:
        name, count = _pair("--max-per", "NAME=COUNT", flags["max_per"])
        diversify = MaxPer(name, int(_number("--max-per", count)))
    boosts: dict[str, dict[str, float]] = {}
    for text in flags["boosts"]:
        name, value = _pair("--boost", "NAME=VALUE:WEIGHT", text)
        value, _, weight = value.rpartition(":")
        boosts.setdefault(name, {})[value] = _number("--boost", weight)
    pins = [_pair("--pin", "PLACE=ITEM", text) for text in flags["pins"]]
    return {
        "k": flags["count"],
        "page": flags["page"],
        "exclude_seen": flags["exclude_seen"],
        "filter": [parse_filter(text) for text in flags["filters"]],
        "boost": boosts,
        "pin": {int(_number("--pin", place)): item for place, item in pins},
        "diversify": diversify,
        "text": flags["text"],
        "explain": flags["explain"],
    }


def parse_filter(text: str) -> dict[str, Any]:
    """`genre=Comedy` → {"genre": "Comedy"}; `genre!=War` → none of "War"; `year>=1990` → {"year": {"gte": 1990.0}}, and
    `released>=1990-01-01` → {"released": {"gte": "1990-01-01"}}."""
    match = FILTER.fullmatch(text)
    if match is None:
        raise ConfigError(f"--filter takes NAME=VALUE, NAME!=VALUE or a bound such as NAME>=VALUE, not {text!r}")
    name, sign, value = match.groups()
    if sign == "=":
        return {name: value}
    return {name: {"none": [value]}} if sign == "!=" else {name: {BOUNDS[sign]: _bound(value)}}


def _bound(text: str) -> float | str:
    """A number where it reads as one, else a text, such as a date."""
    try:
        return float(text)
    except ValueError:
        return text


def _pair(flag: str, form: str, text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise ConfigError(f"{flag} takes {form}, not {text!r}")
    return name, value


def _number(flag: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"{flag} takes a number where it has {text!r}") from error
