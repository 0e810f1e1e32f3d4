"""Too many at once: bounded in flight, the others shed and marked as such, nothing lost."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncIterator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serving.small_world import FakeServer
from sparcode_es import AsyncRecommender, Limits, Recommender
from sparcode_es.errors import ConfigError, EngineUnavailableError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.asgi import refuse
from sparcode_es.serving.crowd import Bounded, Crowd, Gate

MOST, CALLS = 3, 12
LIMITS = Limits(timeout=30, budget=60, in_flight=MOST)


class Held(FakeServer):
    """Answers users only when it is told to, and counts who waits for that."""

    def __init__(self, artifact: Artifact) -> None:
        super().__init__(artifact)
        self.go_on, self.waiting, self.most_waiting = threading.Event(), 0, 0
        self.arrived = threading.Semaphore(0)
        self._lock = threading.Lock()

    def reply(self, path: str, body: bytes) -> Any:
        if path.endswith("recs-users/_mget"):
            with self._lock:
                self.waiting += 1
                self.most_waiting = max(self.most_waiting, self.waiting)
            self.arrived.release()
            assert self.go_on.wait(30)
            with self._lock:
                self.waiting -= 1
        return super().reply(path, body)


@pytest.fixture
def held(artifact: Artifact) -> Iterator[Held]:
    server = Held(artifact)
    yield server
    server.go_on.set()
    server.close()


@pytest.fixture(scope="module")
def make_app() -> Any:
    pytest.importorskip("fastapi")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sparcode_es.serving.service import make_app
    return make_app


def test_calls_that_are_too_many_get_popular_items(held: Held, artifact: Artifact) -> None:
    with (
        Recommender.from_elasticsearch(held.url, "recs", limits=LIMITS) as recommender,
        ThreadPoolExecutor(CALLS) as pool,
    ):
        recommender.warm()
        done: list[Any] = []
        calls = [pool.submit(recommender.recommend, "user 3", k=4) for _ in range(CALLS)]
        shed = threading.Semaphore(0)
        for call in calls:
            call.add_done_callback(lambda call: (done.append(call.result()), shed.release()))
        for _ in range(CALLS - MOST):
            assert shed.acquire(timeout=30)
        for _ in range(MOST):
            assert held.arrived.acquire(timeout=30)
        assert {(answer.source, str(answer.reason)[:5]) for answer in done} == {("popular", "shed:")}
        assert {tuple(item.id for item in answer) for answer in done} == {tuple(artifact.popular(4))}
        held.go_on.set()
        answers = [call.result() for call in calls]
        assert [answer.source for answer in answers].count("codes") == MOST == held.most_waiting
        assert (recommender.gate.inside, recommender.gate.shed) == (0, CALLS - MOST)
        assert recommender.recommend("user 3").source == "codes"


def test_without_fallback_the_shed_are_told(held: Held) -> None:
    limits = Limits(timeout=30, budget=60, in_flight=1)
    with Recommender.from_elasticsearch(held.url, "recs", limits=limits, fallback=False) as recommender:
        assert recommender.gate.enter()
        with pytest.raises(EngineUnavailableError, match="shed: 1 calls are in flight already"):
            recommender.recommend("user 3")


def test_the_asynchronous_twin_sheds_alike(held: Held) -> None:
    async def ask() -> list[str]:
        async with AsyncRecommender.from_elasticsearch(held.url, "recs", limits=LIMITS) as recommender:
            await recommender.warm()
            calls = [asyncio.create_task(recommender.recommend("user 3")) for _ in range(CALLS)]
            waiting: set[Any] = set(calls)
            while len(waiting) > MOST:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            abandoned = waiting.pop()
            abandoned.cancel()
            held.go_on.set()
            found = await asyncio.gather(*(call for call in calls if call is not abandoned))
            with pytest.raises(asyncio.CancelledError):
                await abandoned
            assert recommender.gate.inside == 0
            return [answer.source for answer in found]

    assert sorted(asyncio.run(ask())) == ["codes"] * (MOST - 1) + ["popular"] * (CALLS - MOST)


def test_the_service_refuses_what_it_cannot_hold(make_app: Any, held: Held) -> None:
    httpx = pytest.importorskip("httpx")

    async def ask(app: Any) -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            calls = [asyncio.create_task(client.post("/recommend", json={"user": "user 3"})) for _ in range(CALLS)]
            waiting: set[Any] = set(calls)
            while len(waiting) > MOST:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            assert (await client.get("/livez")).status_code == (await client.get("/healthz")).status_code == 200
            metrics = (await client.get("/metrics")).text
            assert f"sparcode_requests_in_flight {MOST}.0" in metrics
            assert f"sparcode_requests_shed {CALLS - MOST}.0" in metrics
            held.go_on.set()
            return list(await asyncio.gather(*calls))

    with Recommender.from_elasticsearch(held.url, "recs", limits=Limits(timeout=30, budget=60)) as recommender:
        recommender.warm()
        answers = asyncio.run(ask(make_app(recommender, Crowd(MOST, retry_after=7))))
    refused = [answer for answer in answers if answer.status_code == 503]
    assert len(refused) == CALLS - MOST
    assert {(answer.headers["retry-after"], answer.json()["error"][:5]) for answer in refused} == {("7", "shed:")}
    assert [answer.json()["source"] for answer in answers if answer.status_code == 200] == ["codes"] * MOST


JSON = {"content-type": "application/json"}


def answers_of(app: Any, bodies: Sequence[AsyncIterator[bytes] | bytes], *probes: str) -> tuple[list[Any], list[Any]]:
    """What is answered to some bodies, and to `probes` meanwhile."""
    httpx = pytest.importorskip("httpx")

    async def ask() -> tuple[list[Any], list[Any]]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            calls = [asyncio.create_task(client.post("/recommend", content=body, headers=JSON)) for body in bodies]
            await asyncio.sleep(0)  # each of them has begun
            answers = [await client.get(probe) for probe in probes]
            return list(await asyncio.gather(*calls)), answers

    return asyncio.run(ask())


async def unfinished(part: bytes) -> AsyncIterator[bytes]:
    yield part
    await asyncio.Event().wait()


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield b"x" * 100


def test_bodies_that_never_end_hold_no_place(make_app: Any, artifact: Artifact) -> None:
    with Recommender.from_artifact(artifact.path) as recommender:
        app = make_app(recommender, Crowd(MOST, body_seconds=0.2))
        slow, meanwhile = answers_of(app, [unfinished(b"{") for _ in range(CALLS)], "/healthz", "/explain", "/metrics")
    assert [answer.status_code for answer in meanwhile] == [200, 422, 200]
    assert "sparcode_requests_in_flight 0.0" in meanwhile[-1].text
    assert {(answer.status_code, answer.headers["connection"]) for answer in slow} == {(408, "close")}
    assert slow[0].json() == {"error": "the request's body was not there after 0.2 s"}


def test_bodies_on_their_way_are_bounded_too(make_app: Any, artifact: Artifact) -> None:
    """One more is answered before its body is read; who watches the service is let in."""
    with Recommender.from_artifact(artifact.path) as recommender:
        app = make_app(recommender, Crowd(most_connections=MOST, retry_after=7, body_seconds=0.2))
        calls, probes = answers_of(app, [unfinished(b"{") for _ in range(CALLS)], "/livez", "/healthz", "/metrics")
    assert [answer.status_code for answer in probes] == [200, 200, 200]
    assert f"sparcode_connections_in_flight {MOST}.0" in probes[-1].text
    assert f"sparcode_connections_shed {CALLS - MOST}.0" in probes[-1].text
    assert [answer.status_code for answer in calls] == [408] * MOST + [503] * (CALLS - MOST)
    assert {(answer.headers["retry-after"], answer.headers["connection"]) for answer in calls[MOST:]} == {
        ("7", "close")
    }


def test_no_body_is_waited_for_where_none_is_read(make_app: Any, artifact: Artifact) -> None:
    """Whoever watches the service is let in without a bound, so nothing may be held for them."""
    httpx = pytest.importorskip("httpx")
    with Recommender.from_artifact(artifact.path) as recommender:
        app = make_app(recommender, Crowd(body_seconds=60))

        async def ask() -> list[int]:
            async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://test") as client:
                return [
                    (await client.request("GET", probe, content=unfinished(b"{"))).status_code
                    for probe in ("/livez", "/healthz", "/metrics")
                ]

        assert asyncio.run(asyncio.wait_for(ask(), 30)) == [200, 200, 200]


def test_bodies_that_are_too_long(make_app: Any, artifact: Artifact) -> None:
    question = b'{"user": "user 3", "k": 2}'
    with Recommender.from_artifact(artifact.path) as recommender:
        app = make_app(recommender, Crowd(most_bytes=len(question)))
        answers, _ = answers_of(app, [question, question + b" ", endless()])
    assert [answer.status_code for answer in answers] == [200, 413, 413]
    assert answers[1].json() == {"error": f"a request's body has at most {len(question)} bytes"}


def test_probes_have_places_of_their_own() -> None:
    """And no more than some: whoever floods /healthz is answered 503, not with requests to the server."""
    gate = Gate(1)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await refuse(send, 200, scope["path"])

    bounded = Bounded(app, Crowd(1), Gate(1), {"/probe": gate, "/always": None})
    assert gate.enter()
    _, answers = answers_of(bounded, [], "/probe", "/always", "/other")
    assert [answer.status_code for answer in answers] == [503, 200, 200]
    assert gate.shed == 1


def test_a_gate_counts() -> None:
    gate = Gate(1)
    assert [gate.enter(), gate.enter()] == [True, False]
    gate.leave()
    assert (gate.enter(), gate.inside, gate.shed) == (True, 1, 1)
    for wrong in ({"most": 0}, {"most_connections": 0}, {"retry_after": -1}, {"most_bytes": 0}, {"body_seconds": 0}):
        with pytest.raises(ConfigError):
            Crowd(**wrong)
    with pytest.raises(ConfigError):
        Limits(in_flight=0)
