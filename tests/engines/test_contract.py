"""The contract suite: what every engine must do, whichever holds the artifact.

`OPENERS` has one way a kind of engine to put an artifact into it; the names of real servers are fixtures of conftest.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from sparcode_es.codes import ITEM_HEAD, REPEAT_HEAD, ItemCodes, UserCodes, side_by_side
from sparcode_es.data.dataset import Cases
from sparcode_es.engines.base import Clause, Engine, Query
from sparcode_es.engines.conditions import AnyOf, parse_filter
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.node import LocalNode
from sparcode_es.errors import NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.postings.grid import from_grid
from sparcode_es.serving.measure import measure
from sparcode_es.tables import StringTable

ITEMS, CODES, USERS = 80, 10, 12
TOLERANCE = 1e-6

Opener = Callable[[pytest.FixtureRequest, Artifact], Engine]


def indexed(request: pytest.FixtureRequest, artifact: Artifact, node: str, shards: int = 1) -> Engine:
    """The artifact in a real server, behind the alias `contract-SHARDS`."""
    server = Server(ConnectionConfig(url=request.getfixturevalue(node).url))
    index(server, artifact, IndexOptions(f"contract-{shards}", shards=shards), lambda what, more, total: None)
    return ElasticsearchEngine(server, f"contract-{shards}")


OPENERS: dict[str, Opener] = {
    "embedded": lambda request, artifact: EmbeddedEngine(artifact),
    "elasticsearch 7.17": lambda request, artifact: indexed(request, artifact, "elasticsearch_7"),
    "elasticsearch 9": lambda request, artifact: indexed(request, artifact, "elasticsearch_9"),
    "elasticsearch 9, three shards": lambda request, artifact: indexed(request, artifact, "elasticsearch_9", 3),
}


class Scorer:
    """Scores of few values, so that sums tie; items 70 … 79 score 0 everywhere."""

    num_items, num_possible_codes, shared_heads = ITEMS, CODES, True
    item_codes = side_by_side(
        [
            ItemCodes(
                np.minimum(np.arange(ITEMS + 1), 70),
                np.arange(70, dtype=np.uint32),
                np.full(70, 2.0, dtype=np.float32),
                (REPEAT_HEAD,),
            ),
            ItemCodes(
                np.minimum(np.arange(ITEMS + 1) * 2, 40),
                np.tile([3, 11], 20).astype(np.uint32),
                np.tile([0.5, 2.0], 20).astype(np.float32),
            ),
        ]
    )
    bias, model_hash, codebook_hash = -0.1, "feed01", "beef02"

    def all_codes(self) -> np.ndarray:
        return np.stack([np.zeros(CODES), np.arange(CODES)], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        table = np.random.default_rng(5).integers(-3, 5, (CODES, ITEMS)).astype(np.float32) / 3
        table[:, 70:] = -1
        return table[codes[:, 1]][:, items]


class Seen:
    offsets = np.arange(0, 4 * USERS + 1, 4).astype(np.uint64)
    items = (np.arange(4 * USERS) * 7 % 70).astype(np.uint32)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    rows = np.concatenate([[u % CODES, (u + 3) % CODES, (u + 5) % CODES] for u in range(USERS - 1)])
    codes = Scorer().all_codes()[rows]
    codes[2::6] = ITEM_HEAD, 4  # the third code of every other user is an item code,
    codes[5::12] = REPEAT_HEAD, 9  # of every fourth a repeat code
    offsets = [*range(0, 3 * USERS - 2, 3), 3 * (USERS - 1)]
    return build_postings(
        Scorer(),
        tmp_path_factory.mktemp("contract") / "postings",
        item_ids=StringTable.build(f"{'éa_Z'[i % 4]}{i}" for i in range(ITEMS)),
        item_docs=[
            {
                "title": f"Title {i}" if i % 5 else None,
                "attributes": {"genre": ["x", "y"] if i % 3 else ["x"], "year": "1999"},
            }
            for i in range(ITEMS)
        ],
        user_ids=StringTable.build(f"user {u}" for u in range(USERS)),
        user_codes=UserCodes(
            np.array(offsets, np.uint64),
            codes,
            np.tile([1.0, 0.5, 0.25], USERS - 1).astype(np.float32),
        ),
        user_seen=Seen(),
    )


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("node", ["elasticsearch_7", "elasticsearch_9"])
def test_the_settings_of_the_load_are_not_those_of_service(
    request: pytest.FixtureRequest, artifact: Artifact, node: str
) -> None:
    server = Server(ConnectionConfig(url=request.getfixturevalue(node).url))
    report = index(server, artifact, IndexOptions("settings"), lambda what, more, total: None)
    found = server.call("GET", f"/{report.generation}/_settings")[report.generation]["settings"]["index"]
    assert (found["refresh_interval"], found["auto_expand_replicas"]) == ("1s", "0-1")
    segments = server.call("GET", f"/{report.generation}/_segments")["indices"][report.generation]["shards"]["0"]
    assert len(segments[0]["segments"]) == 1
    server.close()


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_every_shard_is_compacted(elasticsearch_9: LocalNode, artifact: Artifact) -> None:
    server = Server(ConnectionConfig(url=elasticsearch_9.url))
    options = IndexOptions("shards", shards=3, compact=True)
    report = index(server, artifact, options, lambda what, more, total: None)
    shards = server.call("GET", f"/{report.generation}/_segments")["indices"][report.generation]["shards"]
    stats = server.call("GET", f"/{report.generation}/_stats", params={"level": "shards"})["indices"][report.generation]
    assert sorted(shards) == ["0", "1", "2"]
    documents = 0
    for number, copies in shards.items():
        (segment,) = copies[0]["segments"].values()
        documents += segment["num_docs"]
        # At most the spare document and its deletion are left of the history; both were the shard's last operations.
        assert segment["deleted_docs"] <= 2
        assert stats["shards"][number][0]["seq_no"]["max_seq_no"] == segment["num_docs"] + 1
    assert documents == ITEMS
    server.close()


SERVER_MARKS = (pytest.mark.slow, pytest.mark.elasticsearch)


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=SERVER_MARKS if name.startswith("elasticsearch") else ()) for name in OPENERS],
)
def engine(request: pytest.FixtureRequest, artifact: Artifact) -> Iterator[Engine]:
    opened = OPENERS[request.param](request, artifact)
    yield opened
    opened.close()


def totals(artifact: Artifact, query: Query) -> dict[str, float]:
    """Eq. 11 in float64 from the artifact, positive ones by item id."""
    total = np.zeros(ITEMS)
    for clause in query.clauses:
        row = artifact.code_row(clause.term)
        if row is not None:
            items, grid = artifact.postings(row)
            total[items] += clause.boost * from_grid(grid).astype(np.float64)
    return {artifact.item_ids[i]: float(total[i]) for i in range(ITEMS) if total[i] > 0}


def check(hits: Any, artifact: Artifact, query: Query, allowed: Callable[[str], bool] = lambda item: True) -> None:
    """The hits are the best allowed items in the contract's order."""
    wanted = {i: s for i, s in totals(artifact, query).items() if i not in query.exclude and allowed(i)}
    best = sorted(wanted, key=lambda item: (-wanted[item], item.encode()))[: query.k]
    assert [hit.item for hit in hits] == best
    assert [hit.score for hit in hits] == pytest.approx([wanted[item] for item in best], rel=TOLERANCE)


@pytest.mark.parametrize("k", [1, 3, 10, 50, 200])
@pytest.mark.parametrize("user", [0, 4, 7])
def test_boosted_sums(engine: Engine, artifact: Artifact, user: int, k: int) -> None:
    query = Query(engine.user(f"user {user}").clauses, k)
    check(engine.search(query), artifact, query)


@pytest.mark.parametrize("k", [1, 2, 5, 9, 30])
def test_ties_go_by_item_id(engine: Engine, artifact: Artifact, k: int) -> None:
    query = Query((Clause("3", 1.0),), k)
    check(engine.search(query), artifact, query)


def test_many_as_one(engine: Engine, artifact: Artifact) -> None:
    queries = [Query(engine.user(f"user {u}").clauses, k=1 + u) for u in range(USERS)]
    assert engine.search_many(queries) == [engine.search(query) for query in queries]
    assert engine.search_many([]) == []


def test_no_clauses_and_unknown_terms(engine: Engine, artifact: Artifact) -> None:
    assert engine.search(Query(())) == []
    assert engine.search(Query((Clause("12345", 1.0),))) == []
    query = Query((Clause("12345", 1.0), Clause("1", 2.0)))
    check(engine.search(query), artifact, query)


@pytest.mark.parametrize("count", [1, 5, 60])
def test_exclusions(engine: Engine, artifact: Artifact, count: int) -> None:
    everything = Query(engine.user("user 1").clauses, 200)
    hidden = frozenset(hit.item for hit in engine.search(everything)[:count]) | {"no such item"}
    query = Query(everything.clauses, 7, hidden)
    check(engine.search(query), artifact, query)


def test_filters(engine: Engine, artifact: Artifact) -> None:
    query = Query(engine.user("user 2").clauses, 9, filter=parse_filter({"genre": "y", "year": 1999}))
    check(engine.search(query), artifact, query, lambda item: int(item[1:]) % 3 != 0)
    assert engine.search(Query(query.clauses, filter=(AnyOf("genre", ("z",)),))) == []


def test_users(engine: Engine, artifact: Artifact) -> None:
    entry = engine.user("user 5")
    assert sorted(entry.clauses, key=str) == sorted(artifact.user_clauses(5), key=str)
    assert entry.seen == tuple(artifact.item_ids[int(i)] for i in artifact.user_seen(5))
    assert engine.user(f"user {USERS - 1}").clauses == ()
    with pytest.raises(NotFoundError, match="nobody"):
        engine.user("nobody")


def test_many_users_as_each_alone(engine: Engine) -> None:
    known = ["user 5", f"user {USERS - 1}", "user 0", "user 5"]
    assert engine.users([*known, "nobody"]) == {user: engine.user(user) for user in known}
    assert engine.users([]) == engine.users(["nobody"]) == {}


def test_documents(engine: Engine, artifact: Artifact) -> None:
    first, second = artifact.item_ids[0], artifact.item_ids[1]
    found = engine.documents([first, second, "no such item"])
    assert found.keys() == {first, second}
    assert found[first].title is None
    assert found[second].title == "Title 1"
    assert found[second].attributes["genre"] == ["x", "y"]
    assert engine.documents([]) == {}


def test_explanations_add_up(engine: Engine, artifact: Artifact) -> None:
    query = Query(engine.user("user 3").clauses, 10)
    for hit in engine.search(query):
        parts = engine.explain(query, hit.item)
        assert sum(part.boost * part.score for part in parts) == pytest.approx(hit.score, rel=TOLERANCE)
        assert {part.term for part in parts} <= {clause.term for clause in query.clauses}
    with pytest.raises(NotFoundError):
        engine.explain(query, "no such item")


def test_an_item_that_nothing_hits_has_no_explanation(engine: Engine, artifact: Artifact) -> None:
    assert engine.explain(Query(engine.user("user 3").clauses), artifact.item_ids[75]) == []


def test_many_items_are_explained_as_each_alone(engine: Engine, artifact: Artifact) -> None:
    query, nothing = Query(engine.user("user 3").clauses, 5), artifact.item_ids[75]
    shown = [hit.item for hit in engine.search(query)]
    found = engine.explain_many(query, [*shown, nothing, "no such item"])
    assert found == {item: engine.explain(query, item) for item in shown} | {nothing: [], "no such item": []}
    assert all(found[item] for item in shown)
    assert engine.explain_many(query, []) == {}


def test_item_codes_name_the_items_they_stand_for(engine: Engine, artifact: Artifact) -> None:
    terms = [clause.term for clause in engine.user("user 0").clauses]
    assert "item_4" in terms
    found = engine.code_items([*terms, "item_5", "repeat_4", "item_999"])
    assert {term: document.item for term, document in found.items()} == {
        "item_4": artifact.item_ids[4],
        "repeat_4": artifact.item_ids[4],
        "item_5": artifact.item_ids[5],
    }
    assert found["item_4"].title == "Title 4"
    assert found["item_5"].title is None


def test_quality_is_that_of_the_best_items(engine: Engine, artifact: Artifact) -> None:
    """`evaluate` through any engine prints what a dense ranking of the same sums gives."""
    users = np.arange(USERS - 1, dtype=np.uint32)
    rng = np.random.default_rng(1)
    targets = rng.integers(0, 70, 2 * len(users)).astype(np.uint32)
    histories = Seen.items[: 4 * len(users)]
    cases = Cases(
        users, Seen.offsets[: len(users) + 1], histories, np.arange(0, len(targets) + 1, 2).astype(np.uint64), targets
    )
    entries = [artifact.user_code_offsets[: len(users) + 1], artifact.user_codes, artifact.user_boosts]
    codes = UserCodes(entries[0], artifact.codes[entries[1]], entries[2])
    found = measure(engine, cases, codes, artifact.item_ids, True, ks=(5, 10))
    lists = [[hit.item for hit in engine.search(Query(artifact.user_clauses(u), 10))] for u in range(len(users))]
    hits = [
        [
            artifact.item_ids[int(t)] in best[:k]
            for best, pair in zip(lists, targets.reshape(-1, 2), strict=True)
            for t in pair
        ]
        for k in (5, 10)
    ]
    assert [found["all"][f"recall@{k}"] for k in (5, 10)] == pytest.approx([np.mean(row) for row in hits])
    assert 0 < found["all"]["recall@5"] < 1
    shown = {item for best in lists for item in best}
    assert found["all"]["coverage@10"] == pytest.approx(len(shown) / ITEMS)
    assert found["unseen"]["ndcg@10"] != found["all"]["ndcg@10"]
    had = Cases(users, cases.history_offsets, histories, np.arange(len(users) + 1).astype(np.uint64), histories[::4])
    assert measure(engine, had, codes, artifact.item_ids, True, ks=(10,))["unseen"]["recall@10"] == 0


def test_info(engine: Engine, artifact: Artifact) -> None:
    info = engine.info()
    assert (info.model_hash, info.codebook_hash) == ("feed01", "beef02")
    assert (info.num_items, info.num_users) == (ITEMS, USERS)
    assert artifact.generation_hash in info.generation
