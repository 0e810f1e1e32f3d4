"""Too many at once: bounded in flight, the others shed and marked as such, nothing lost."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from serving.small_world import FakeServer
from sparcode_es import AsyncRecommender, Limits, Recommender
from sparcode_es.errors import ConfigError, EngineUnavailableError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.crowd import Crowd, Gate

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


def test_the_service_refuses_what_it_cannot_hold(held: Held) -> None:
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from sparcode_es.serving.service import make_app

    async def ask(app: Any) -> list[Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://here") as client:
            calls = [asyncio.create_task(client.post("/recommend", json={"user": "user 3"})) for _ in range(CALLS)]
            waiting: set[Any] = set(calls)
            while len(waiting) > MOST:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
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


def test_a_gate_counts() -> None:
    gate = Gate(1)
    assert [gate.enter(), gate.enter()] == [True, False]
    gate.leave()
    assert (gate.enter(), gate.inside, gate.shed) == (True, 1, 1)
    for wrong in ({"most": 0}, {"retry_after": -1}):
        with pytest.raises(ConfigError):
            Crowd(**wrong)
    with pytest.raises(ConfigError):
        Limits(in_flight=0)
