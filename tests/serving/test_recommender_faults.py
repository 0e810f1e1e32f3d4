"""Servers that are busy, slow, gone or something else: a retry inside the budget or popular items marked as such, never an
unhandled exception. The server is made up; real ones are killed elsewhere."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.small_world import USERS, FakeServer, Fault
from sparcode_es import AsyncRecommender, Dsl, Limits, Recommendations, Recommender
from sparcode_es.codes import UserCodes
from sparcode_es.engines.base import Contribution, Query
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.local_source import LocalSource
from sparcode_es.engines.plans import Pause, Plan
from sparcode_es.errors import (
    ConfigError,
    EngineAuthError,
    EngineUnavailableError,
    MismatchError,
    NotFoundError,
    SparcodeError,
)
from sparcode_es.postings.artifact import Artifact
from sparcode_es.serving.ask import Ask
from sparcode_es.serving.core import Core
from sparcode_es.tables import StringTable

QUICK = Limits(timeout=5, budget=10, attempts=3, pause=0.001)
IMPATIENT = Limits(timeout=0.1, budget=0.15, attempts=3, pause=0.001)
FAULTS: list[Fault] = [429, 502, 503, 504, "drop", "cut"]
LASTING: list[Fault] = [*FAULTS, 401, 403, 404, 500, "garbage"]


Asked = Callable[..., list[Recommendations]]


def ask(fake: FakeServer, limits: Limits, users: list[str], before: Callable[[], None], **options: Any) -> Any:
    """What a warm recommender answers after `before`."""
    with Recommender.from_elasticsearch(fake.url, "recs", limits=limits) as recommender:
        recommender.warm()
        before()
        return [recommender.recommend(user, **options) for user in users]


async def ask_async(
    fake: FakeServer, limits: Limits, users: list[str], before: Callable[[], None], **options: Any
) -> Any:
    async with AsyncRecommender.from_elasticsearch(fake.url, "recs", limits=limits) as recommender:
        await recommender.warm()
        before()
        return [await recommender.recommend(user, **options) for user in users]


@pytest.fixture(params=["blocking", "asynchronous"])
def asked(request: pytest.FixtureRequest) -> Asked:
    if request.param == "blocking":
        return ask
    return lambda *arguments, **options: asyncio.run(ask_async(*arguments, **options))


def plain(artifact: Artifact, user: str = "user 3") -> list[str]:
    return [item.id for item in Recommender.from_artifact(artifact.path).recommend(user)]


@pytest.mark.parametrize("fault", FAULTS)
def test_what_passes_is_not_noticed(fake: FakeServer, artifact: Artifact, asked: Asked, fault: Fault) -> None:
    (answer,) = asked(fake, QUICK, ["user 3"], lambda: fake.faults.extend([fault, fault]))
    assert (answer.source, answer.reason) == ("codes", None)
    assert [item.id for item in answer] == plain(artifact)


@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("where", ["_mget", "_search", "_mapping"])
def test_what_lasts_gives_popular_items(
    fake: FakeServer, artifact: Artifact, asked: Asked, fault: Fault, where: str
) -> None:
    def begin() -> None:
        fake.always = lambda path: fault if path.endswith(where) else None

    (answer,) = asked(fake, QUICK, ["user 3"], begin, k=3)
    if where == "_mapping":  # remembered since the recommender was warmed
        assert answer.source == "codes"
        return
    assert answer.source == "popular"
    assert answer.reason
    assert [item.id for item in answer] == artifact.popular(3)
    assert {item.title is None for item in answer} == {False}


def test_what_the_server_refuses_of_a_query_of_our_own_gives_popular_items(
    fake: FakeServer, artifact: Artifact, asked: Asked
) -> None:
    def begin() -> None:
        fake.always = lambda path: 400 if path.endswith("_search") else None

    (answer,) = asked(fake, QUICK, ["user 3"], begin, k=3)
    assert (answer.source, [item.id for item in answer]) == ("popular", artifact.popular(3))
    assert "(400)" in str(answer.reason)


def test_what_the_server_refuses_of_a_query_of_the_callers_own_is_theirs_to_change(
    fake: FakeServer, asked: Asked
) -> None:
    def begin() -> None:
        fake.always = lambda path: 400 if path.endswith("_search") else None

    with pytest.raises(ConfigError, match=r"\(400\).*`Dsl`"):
        asked(fake, QUICK, ["user 3"], begin, filter=Dsl({"no such query": {}}))


def test_a_refused_part_of_a_batch_is_its_callers_own(fake: FakeServer) -> None:
    wrong = {"status": 400, "error": {"type": "parsing_exception", "reason": "unknown query"}}
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        recommender.warm()
        reply = fake.reply
        fake.reply = lambda path, body: (  # type: ignore[method-assign]
            {"responses": [wrong, wrong]} if path.endswith("_msearch") else reply(path, body)
        )
        plain_ones = recommender.recommend_many(["user 3", "user 4"])
        assert [answer.source for answer in plain_ones] == ["popular", "popular"]
        with pytest.raises(ConfigError, match="unknown query"):
            recommender.recommend_many(["user 3", "user 4"], filter=Dsl({"no such query": {}}))


def test_a_silent_server_costs_no_more_than_the_budget(fake: FakeServer, artifact: Artifact, asked: Asked) -> None:
    def begin() -> None:
        fake.always = lambda path: "silent"

    (answer,) = asked(fake, IMPATIENT, ["user 3"], begin)
    assert answer.source == "popular"
    assert "in time" in str(answer.reason) or "used up" in str(answer.reason)
    assert answer.items[0].id == artifact.popular(1)[0]


def test_a_server_that_was_never_there() -> None:
    with Recommender.from_elasticsearch("http://127.0.0.1:1", "recs", limits=QUICK) as recommender:
        answer = recommender.recommend("user 3", pin=["a1"])
        assert (answer.source, [item.id for item in answer]) == ("popular", ["a1"])
        assert "cannot reach" in str(answer.reason)
        assert "no popular items are known yet" in str(answer.reason)
        with pytest.raises(EngineUnavailableError):
            recommender.warm()


def test_a_server_that_was_never_there_and_its_artifact(artifact: Artifact) -> None:
    """The artifact's popular items are known before the server has answered."""
    with Recommender.from_elasticsearch(
        "http://127.0.0.1:1", "recs", artifact=artifact.path, limits=QUICK
    ) as recommender:
        answer = recommender.recommend("user 3", k=3)
    assert (answer.source, [item.id for item in answer]) == ("popular", artifact.popular(3))
    assert {item.title is None for item in answer} == {False}
    assert "cannot reach" in str(answer.reason)
    assert "known yet" not in str(answer.reason)


def test_the_artifacts_popular_items_while_the_servers_cannot_be_read(fake: FakeServer, artifact: Artifact) -> None:
    """The server answers that it does not know the user, and not which items are popular."""
    fake.always = lambda path: 503 if path.endswith("_mget") and "recs-users" not in path else None
    with Recommender.from_elasticsearch(fake.url, "recs", artifact=artifact.path, limits=QUICK) as recommender:
        answer = recommender.recommend("nobody", k=3)
    assert (answer.source, [item.id for item in answer]) == ("popular", artifact.popular(3))
    assert "nobody" in str(answer.reason)


def test_who_stands_in_knows_what_was_seen_and_what_is_there(fake: FakeServer, artifact: Artifact) -> None:
    """As `query --fallback` does; once the server has answered, only what it said counts."""
    engine, fake.always = EmbeddedEngine(artifact), lambda path: 503
    seen, popular = engine.user("user 3").seen, artifact.popular(1000)
    assert set(popular[:5]) & set(seen)
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        recommender.stand_in(artifact)
        answer = recommender.recommend("user 3", k=5, exclude_seen=True, pin={2: "nope", 4: seen[0]})
        fresh = [item for item in popular if item not in seen]
        assert [item.id for item in answer] == [*fresh[:3], seen[0], fresh[3]]
        read = recommender.recommend("user 3", k=5)
        assert [item.id for item in read] == popular[:5]
        fake.always = lambda path: None
        assert recommender.recommend("user 3").source == "codes"
        fake.always = lambda path: 503
        assert [item.id for item in recommender.recommend("user 3", k=1, pin={1: "nope"})] == ["nope"]


def test_without_fallback_the_error_is_raised(fake: FakeServer) -> None:
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK, fallback=False) as recommender:
        with pytest.raises(NotFoundError, match="nobody"):
            recommender.recommend("nobody")
        fake.always = lambda path: 401
        with pytest.raises(EngineAuthError, match="credentials"):
            recommender.recommend("user 3")
        with pytest.raises(SparcodeError):
            recommender.recommend_many(["user 3", "user 4"])


def test_popular_items_are_kept_from_the_last_good_answer(fake: FakeServer, artifact: Artifact) -> None:
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        assert recommender.recommend("user 3").source == "codes"
        fake.always = lambda path: 503
        found = recommender.recommend("user 4", k=5, filter={"genre": "Drama"}, exclude_seen=True)
        assert found.source == "popular"
        assert found.items
        assert all("Drama" in item.attributes["genre"] for item in found)
        fake.always = lambda path: None
        assert recommender.recommend("user 4").source == "codes"


def test_a_busy_part_of_a_batch_falls_back_alone(fake: FakeServer, artifact: Artifact) -> None:
    users = [f"user {u}" for u in range(USERS - 1)]
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        recommender.warm()
        reply = fake.reply

        def busy(path: str, body: bytes) -> Any:
            answer = reply(path, body)
            if path.endswith("_msearch"):
                answer["responses"][2] = {"status": 429, "error": {"type": "busy", "reason": "queue full"}}
                answer["responses"][4] = {"status": 500, "error": {"type": "odd", "reason": "because"}}
            return answer

        fake.reply = busy  # type: ignore[method-assign]
        found = recommender.recommend_many(users)
        assert [number for number, answer in enumerate(found) if answer.source == "popular"] == [4]
        assert [item.id for item in found[2]] == plain(artifact, "user 2")
        assert sum(path.endswith("_msearch") for path in fake.asked) == 1


def test_a_generation_that_is_gone_is_followed(fake: FakeServer, artifact: Artifact) -> None:
    """The users' alias was read, then the generation was removed: the successor answers, from both its indices."""
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        assert recommender.recommend("user 3").generation == f"recs-{fake.suffix}"
        old = fake.suffix
        reply = fake.reply

        def moving(path: str, body: bytes) -> Any:
            answer = reply(path, body)
            if path == "/recs-users/_mget":
                fake.suffix = "20270101000000-0123456789ab"
            return answer

        fake.reply = moving  # type: ignore[method-assign]
        fake.always = lambda path: 404 if old in path and fake.suffix != old else None
        answer = recommender.recommend("user 3")
        assert (answer.source, answer.generation) == ("codes", "recs-20270101000000-0123456789ab")


def test_a_history_follows_a_generation_that_is_gone(fake: FakeServer, artifact: Artifact) -> None:
    """What was live a moment ago was removed since: the alias is asked again, once, and its generation answers."""
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        core: Core = recommender._core
        core.encoder = Encoder(("feed01", "beef02"), artifact)
        assert recommender.recommend(history=["known"]).generation == f"recs-{fake.suffix}"
        old, fake.suffix = fake.suffix, "20270101000000-0123456789ab"
        fake.always = lambda path: 404 if old in path else None
        for _ in range(2):
            answer = recommender.recommend(history=["known"])
            assert (answer.source, answer.generation) == ("codes", f"recs-{fake.suffix}")
            assert [item.id for item in answer] == plain(artifact)
        assert fake.asked.count(f"POST /recs-{old}/_search") == 2, "once before, once after it was removed"


class Encoder:
    """The codes of user 3 for everybody."""

    shared_heads, item_ids = True, StringTable.build(["known"])

    def __init__(self, hashes: tuple[str, str], artifact: Artifact) -> None:
        self.hashes = hashes
        row = artifact.user_ids.find("user 3")
        assert row is not None
        first, last = (int(artifact.user_code_offsets[row + i]) for i in (0, 1))
        codes, boosts = artifact.codes[artifact.user_codes[first:last]], artifact.user_boosts[first:last]
        self._codes = UserCodes(np.array([0, len(boosts)], np.uint64), codes, boosts)

    def __call__(self, items: Sequence[str]) -> UserCodes:
        assert list(items) == ["known"]
        return self._codes


def test_histories(fake: FakeServer, artifact: Artifact) -> None:
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        core: Core = recommender._core
        core.encoder = Encoder(("feed01", "beef02"), artifact)
        assert [item.id for item in recommender.recommend(history=["known", "unknown"])] == plain(artifact)
        unknown = recommender.recommend(history=["x"])
        assert (unknown.source, "none of the history" in str(unknown.reason)) == ("popular", True)
        recommender.require_model("feed01", "beef02")
        core.encoder = Encoder(("another", "beef02"), artifact)
        with pytest.raises(MismatchError, match="another"):
            recommender.warm()
        assert "another" in str(recommender.recommend(history=["known"]).reason)


def test_users_beside_a_history_of_another_model(fake: FakeServer, artifact: Artifact) -> None:
    with Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK) as recommender:
        recommender.warm()
        recommender._core.encoder = Encoder(("another", "beef02"), artifact)
        found = recommender.recommend_many([Ask.of("user 3"), Ask.of(history=["known"]), Ask.of("user 4")])
    assert [answer.source for answer in found] == ["codes", "popular", "codes"]
    assert "another" in str(found[1].reason)
    assert [item.id for item in found[0]] == plain(artifact)


class Unexplained(LocalSource):
    """Cannot say which codes gave what."""

    def contributions(self, query: Query, items: Sequence[str]) -> Plan[dict[str, list[Contribution]]]:
        yield Pause(0)
        raise EngineUnavailableError("busy")


def unexplained(artifact: Artifact, fallback: bool) -> Recommender:
    core = Core(Unexplained(EmbeddedEngine(artifact)), QUICK, fallback)
    return Recommender(core, lambda wanted: None, lambda: None)


def test_a_ranking_stays_where_its_explanation_fails(artifact: Artifact) -> None:
    asks = [Ask.of("user 3", explain=True), Ask.of("user 4"), Ask.of("user 5", explain=True)]
    for ask, answer in zip(asks, unexplained(artifact, fallback=True).recommend_many(asks), strict=True):
        assert ask.user is not None
        assert (answer.source, [item.id for item in answer]) == ("codes", plain(artifact, ask.user))
        assert {item.reasons for item in answer} == {None}
    with pytest.raises(EngineUnavailableError, match="busy"):
        unexplained(artifact, fallback=False).recommend_many(asks)


def test_an_artifact_of_another_generation_is_refused_or_not_used(
    fake: FakeServer, artifact: Artifact, tmp_path: Path
) -> None:
    with Recommender.from_elasticsearch(fake.url, "recs", artifact=artifact.path, limits=QUICK) as recommender:
        assert recommender.warm().artifact == artifact.generation_hash
        meta = fake.meta()
        fake.meta = lambda: {**meta, "artifact": "other"}  # type: ignore[method-assign]
        fake.suffix = "20270101000000-0123456789ab"
        with pytest.raises(MismatchError, match="holds the artifact other"):
            recommender.warm()
        assert [item.id for item in recommender.recommend("user 3")] == plain(artifact)


@pytest.mark.parametrize("engine", ["embedded", "elasticsearch"])
def test_threads_do_not_disturb_each_other(fake: FakeServer, artifact: Artifact, engine: str) -> None:
    users = [f"user {u}" for u in range(USERS - 1)] * 4
    wanted = {user: plain(artifact, user) for user in set(users)}
    if engine == "embedded":
        recommender = Recommender.from_artifact(artifact.path)
    else:
        recommender = Recommender.from_elasticsearch(fake.url, "recs", limits=QUICK)
    with recommender, ThreadPoolExecutor(6) as pool:
        for user, answer in zip(users, pool.map(recommender.recommend, users), strict=True):
            assert [item.id for item in answer] == wanted[user]


def test_clients_of_the_callers_own(fake: FakeServer, artifact: Artifact) -> None:
    from elasticsearch import AsyncElasticsearch, Elasticsearch

    with Recommender.from_elasticsearch(Elasticsearch(fake.url, max_retries=9), "recs", limits=QUICK) as recommender:
        assert [item.id for item in recommender.recommend("user 3")] == plain(artifact)
        fake.asked.clear()
        fake.always = lambda path: 503
        assert fake.url in str(recommender.recommend("user 3").reason)
        assert len(fake.asked) == QUICK.attempts
    fake.always = lambda path: None
    config = ConnectionConfig(url=fake.url.replace("http://", "http://jo:secret@"))
    with Recommender.from_elasticsearch(config, "recs", limits=QUICK) as recommender:
        fake.always = lambda path: 500
        assert "secret" not in str(recommender.recommend("user 3"))
    fake.always = lambda path: None

    async def ask_one() -> Recommendations:
        async with AsyncRecommender.from_elasticsearch(AsyncElasticsearch(fake.url), "recs", limits=QUICK) as opened:
            return await opened.recommend("user 3")

    assert [item.id for item in asyncio.run(ask_one())] == plain(artifact)


def test_a_known_user_needs_neither_torch_nor_pandas(fake: FakeServer, artifact: Artifact) -> None:
    code = (
        "import sys\n"
        "for name in ('torch', 'pandas', 'scipy', 'numba', 'sklearn', 'pyarrow', 'aiohttp'):\n"
        "    sys.modules[name] = None\n"
        "import sparcode_es\n"
        "assert set(sys.modules) & {'numpy', 'click', 'elasticsearch', 'orjson'} == set(), 'import sparcode_es is not light'\n"
        f"here = sparcode_es.Recommender.from_artifact({str(artifact.path)!r})\n"
        "assert here.recommend('user 3', diversify=sparcode_es.Mmr()).source == 'codes'\n"
        "assert 'elasticsearch' not in sys.modules\n"
        f"there = sparcode_es.Recommender.from_elasticsearch({fake.url!r}, 'recs')\n"
        "assert there.recommend('user 3').source == 'codes'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
