"""A small HTTP service around a recommender: `/recommend`, `/explain`, two probes, `/metrics`. Needs the extra `serve`."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import asdict
from typing import Annotated, Any, Literal

import anyio.to_thread
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import CounterMetricFamily
from prometheus_client.registry import Collector
from pydantic import BaseModel

from sparcode_es import __version__
from sparcode_es.errors import EngineUnavailableError, NotFoundError, SparcodeError
from sparcode_es.serving.arrival import CLOSE, Whole
from sparcode_es.serving.bodies import Id, Json, RecommendBody, status_of
from sparcode_es.serving.crowd import Bounded, Crowd, Gate
from sparcode_es.serving.log import QueryLog
from sparcode_es.serving.recommender import Recommender
from sparcode_es.serving.results import Reason, Recommendations

SPARE_THREADS = 8
"""Threads beyond the calls that are carried out at once: they answer those that are shed."""
PROBES = 4
"""Requests of /healthz at once: it has places of its own."""


class ReasonOut(BaseModel):
    """What one code gave: boost × score."""

    term: str
    boost: float
    score: float
    because: str | None
    """The item of the history that the code stands for."""


class ItemOut(BaseModel):
    """An item to show."""

    id: str
    title: str | None
    score: float | None
    attributes: dict[str, Any]
    pinned: bool
    reasons: list[ReasonOut] | None


class RecommendOut(BaseModel):
    """A page of items, and where they come from."""

    items: list[ItemOut]
    source: Literal["codes", "popular"]
    reason: str | None
    page: int
    k: int
    generation: str | None
    unknown: list[str]
    """Items of the history that the model does not know: they were left out of it."""


class ExplainOut(BaseModel):
    """Which codes give a user's item what; Σ boost × score = total."""

    reasons: list[ReasonOut]
    total: float


class LiveOut(BaseModel):
    """The release that answers."""

    version: str


class HealthOut(BaseModel):
    """What answers."""

    engine: str
    generation: str
    items: int
    users: int


class ErrorOut(BaseModel):
    """What is wrong, in a sentence."""

    error: str


WRONG: dict[int | str, dict[str, Any]] = {400: {"model": ErrorOut}}
BODY: dict[int | str, dict[str, Any]] = {408: {"model": ErrorOut}, 413: {"model": ErrorOut}}
DOWN: dict[int | str, dict[str, Any]] = {502: {"model": ErrorOut}, 503: {"model": ErrorOut}}


class Metrics:
    """What Prometheus collects, in a registry of its own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.answers = Counter("sparcode_recommendations", "Answers by source.", ["source"], registry=self.registry)
        self.errors = Counter("sparcode_errors", "Requests that ended in an error.", ["kind"], registry=self.registry)
        self.seconds = Histogram(
            "sparcode_recommend_seconds",
            "Seconds from a request to its answer.",
            registry=self.registry,
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5),
        )

    def watch(self, **gates: Gate) -> None:
        """Show what is inside of each gate, and what was shed there since the start."""
        for name, gate in gates.items():
            inside = Gauge(f"sparcode_{name}_in_flight", f"How many {name} are in work.", registry=self.registry)
            inside.set_function(lambda gate=gate: gate.inside)  # type: ignore[misc]
            shed = Gauge(f"sparcode_{name}_shed", f"How many {name} were shed.", registry=self.registry)
            shed.set_function(lambda gate=gate: gate.shed)  # type: ignore[misc]


class LogCollector(Collector):
    """What became of the query log's documents, as of now."""

    def __init__(self, log: QueryLog) -> None:
        self._log = log

    def collect(self) -> Iterator[CounterMetricFamily]:
        """A counter with a label: written, dropped (the queue was full), lost (they could not be written)."""
        found = CounterMetricFamily("sparcode_query_log", "Documents of the query log.", labels=["outcome"])
        for outcome, count in asdict(self._log.counts).items():
            found.add_metric([outcome], count)
        yield found


@contextlib.asynccontextmanager
async def _threads(count: int) -> AsyncIterator[None]:
    """So many requests are worked on at once, and no fewer than the recommender takes."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = count
    yield


def make_app(recommender: Recommender, crowd: Crowd | None = None) -> FastAPI:
    """The service; requests are answered by a pool of threads, within the recommender's own limits and `crowd`'s.

    Of more calls than the recommender carries out at once, the others get popular items, marked as shed; of more requests than
    `crowd` holds, the others a 503 with Retry-After; those whose body is not there yet have a bound of their own.
    /livez and /metrics are always answered, and /healthz when the others' places are taken, too.
    """
    crowd = crowd or Crowd()
    requests, connections = Gate(crowd.most), Gate(crowd.most_connections)
    app = FastAPI(
        title="sparcode-es",
        version=__version__,
        description="Recommendations from learned sparse codes.",
        lifespan=lambda app: _threads(min(recommender.gate.most, crowd.most) + SPARE_THREADS),
    )
    watched = dict.fromkeys(("/livez", "/metrics", "/healthz"))
    app.add_middleware(Bounded, crowd=crowd, gate=requests, own={**watched, "/healthz": Gate(PROBES)})
    app.add_middleware(Whole, crowd=crowd, bodiless=watched)
    app.add_middleware(Bounded, crowd=crowd, gate=connections, own=watched, headers=CLOSE)
    metrics = Metrics()
    metrics.watch(calls=recommender.gate, requests=requests, connections=connections)
    if recommender.log is not None:
        metrics.registry.register(LogCollector(recommender.log))

    @app.exception_handler(SparcodeError)
    def failed(request: Request, error: SparcodeError) -> Json:
        metrics.errors.labels(type(error).__name__).inc()
        return Json({"error": str(error)}, status_of(error))

    @app.exception_handler(RequestValidationError)
    def not_understood(request: Request, error: RequestValidationError) -> Json:
        """What is wrong and where, without what was sent: it may hold what no JSON can."""
        metrics.errors.labels("RequestValidationError").inc()
        detail = [{"type": each["type"], "loc": list(each["loc"]), "msg": each["msg"]} for each in error.errors()]
        if any(each["type"] == "model_attributes_type" and each["loc"] == ["body"] for each in detail):
            # What is no JSON by its header is not read as such.
            given = request.headers.get("content-type", "none")
            sentence = f"the body is read with the header Content-Type: application/json, which was {given[:100]}"
            detail.append({"type": "content_type", "loc": ["header", "content-type"], "msg": sentence})
        return Json({"detail": detail}, 422)

    @app.post("/recommend", responses={**WRONG, **BODY, **DOWN})
    def recommend(body: RecommendBody) -> RecommendOut:
        """A page of items for a user or a history; popular ones, marked as such, where the codes cannot answer."""
        begin = time.perf_counter()
        answer = recommender.recommend_many([body.ask()])[0]
        metrics.seconds.observe(time.perf_counter() - begin)
        metrics.answers.labels(answer.source).inc()
        return _page(answer)

    @app.get("/explain", responses={**WRONG, 404: {"model": ErrorOut}, **DOWN})
    def explain(user: Annotated[Id, Query()], item: Annotated[Id, Query()]) -> ExplainOut:
        """Which codes give a known user's item its score, none where no code leads to it; 404 without such a user or item."""
        answer = recommender.recommend(user, k=1)
        if answer.source != "codes":
            raise NotFoundError(f"nothing to explain: {answer.reason}")
        reasons = recommender.reasons(answer, item)
        return ExplainOut(reasons=[_reason(each) for each in reasons], total=sum(each.given for each in reasons))

    @app.get("/livez")
    async def livez() -> LiveOut:
        """200 while the service runs, whatever becomes of the engine: for who restarts it and who sends it requests."""
        return LiveOut(version=__version__)

    @app.get("/healthz", responses=DOWN)
    def healthz() -> HealthOut:
        """200 while the engine answers; recommendations go on without it, from what is popular: an alarm, no cause to restart."""
        try:
            info = recommender.check()
        except NotFoundError as error:  # the alias is gone: the engine's fault, not that of who asks for its health
            raise EngineUnavailableError(str(error)) from error
        return HealthOut(engine=info.engine, generation=info.generation, items=info.num_items, users=info.num_users)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def collected() -> PlainTextResponse:
        """For Prometheus."""
        return PlainTextResponse(generate_latest(metrics.registry).decode(), media_type=CONTENT_TYPE_LATEST)

    return app


def _page(answer: Recommendations) -> RecommendOut:
    items = [
        ItemOut(
            id=item.id,
            title=item.title,
            score=item.score,
            attributes=dict(item.attributes),
            pinned=item.pinned,
            reasons=None if item.reasons is None else [_reason(each) for each in item.reasons],
        )
        for item in answer
    ]
    return RecommendOut(
        items=items,
        source=answer.source,
        reason=answer.reason,
        page=answer.page,
        k=answer.k,
        generation=answer.generation,
        unknown=list(answer.unknown),
    )


def _reason(reason: Reason) -> ReasonOut:
    because = None if reason.because is None else reason.because.item
    return ReasonOut(term=reason.term, boost=reason.boost, score=reason.score, because=because)
