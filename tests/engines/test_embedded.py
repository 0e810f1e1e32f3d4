"""The embedded engine: against a sum by hand, ties, exclusions, filters, damage."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sparcode_es.codes import UserCodes
from sparcode_es.config import PostingsConfig
from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.conditions import parse_boosts, parse_filter
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.errors import MismatchError, NotFoundError, VerificationError
from sparcode_es.postings.build import build_postings
from sparcode_es.postings.grid import from_grid, to_grid
from sparcode_es.serving import verify as verification
from sparcode_es.serving.recommender import Recommender
from sparcode_es.serving.verify import EncodeUsers, verify
from sparcode_es.tables import StringTable

ITEMS, CODES, USERS = 60, 6, 8


class Scorer:
    """Few distinct scores, so that sums tie often."""

    num_items, num_possible_codes, shared_heads = ITEMS, CODES, False
    item_codes = None
    bias, model_hash, codebook_hash = 0.0, "aa", "bb"

    def __init__(self) -> None:
        self.scores = np.random.default_rng(0).integers(-2, 4, (CODES, ITEMS)).astype(np.float32)

    def all_codes(self) -> np.ndarray:
        return np.stack([np.arange(CODES) // 3, np.arange(CODES) % 3], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        return self.scores[codes[:, 0] * 3 + codes[:, 1], items]


class Seen:
    offsets = np.arange(0, 3 * USERS + 1, 3).astype(np.uint64)
    items = (np.arange(3 * USERS) % ITEMS).astype(np.uint32)


@pytest.fixture
def scorer() -> Scorer:
    return Scorer()


@pytest.fixture
def engine(scorer: Scorer, tmp_path: Path) -> EmbeddedEngine:
    rows = np.concatenate([[u % CODES, (u + 1) % CODES] for u in range(USERS)])
    artifact = build_postings(
        scorer,
        tmp_path / "postings",
        item_ids=StringTable.build(f"{'é' if i % 2 else 'a'}{i}" for i in range(ITEMS)),
        item_docs=[{"title": f"T{i}", "attributes": {"genre": ["x", "y"] if i % 4 else "x"}} for i in range(ITEMS)],
        user_ids=StringTable.build(f"u{u}" for u in range(USERS)),
        user_codes=UserCodes(
            np.arange(0, 2 * USERS + 1, 2).astype(np.uint64),
            scorer.all_codes()[rows],
            np.tile([1.0, 0.5], USERS).astype(np.float32),
        ),
        user_seen=Seen(),
        config=PostingsConfig(block_items=7, block_codes=4),
    )
    return EmbeddedEngine(artifact)


def expected(engine: EmbeddedEngine, scorer: Scorer, query: Query) -> list[tuple[str, float]]:
    """Eq. 11 on rounded scores, sorted in plain Python."""
    total = np.zeros(ITEMS)
    for clause in query.clauses:
        row = engine.artifact.code_row(clause.term)
        if row is not None:
            total += clause.boost * from_grid(to_grid(scorer.scores[row])).astype(np.float64)
    ids = list(engine.artifact.item_ids)
    found = [(ids[i], float(total[i])) for i in range(ITEMS) if total[i] > 0 and ids[i] not in query.exclude]
    return sorted(found, key=lambda hit: (-hit[1], hit[0].encode()))[: query.k]


@pytest.mark.parametrize("k", [1, 2, 5, 17, 59, 60, 61, 1000])
@pytest.mark.parametrize("boosts", [(1.0,), (1.0, 1.0), (0.3, 2.0, 1.0), (1.0, 1.0, 1.0, 1.0, 1.0, 1.0)])
def test_against_a_sum_by_hand(engine: EmbeddedEngine, scorer: Scorer, k: int, boosts: tuple[float, ...]) -> None:
    clauses = tuple(Clause(engine.artifact.term(row), boost) for row, boost in enumerate(boosts))
    for exclude in (frozenset[str](), frozenset({"a0", "é1", "nothing"})):
        query = Query((*clauses, Clause("h9_9", 1.0)), k, exclude)
        for _ in range(2):
            assert [(hit.item, hit.score) for hit in engine.search(query)] == expected(engine, scorer, query)
    assert not engine._sums.any()


def test_a_user_without_codes_gets_nothing(engine: EmbeddedEngine) -> None:
    assert engine.search(Query(())) == []
    assert engine.search_many([Query(()), Query(())]) == [[], []]


def test_filter(engine: EmbeddedEngine) -> None:
    clauses = engine.user("u0").clauses
    everything = engine.search(Query(clauses, k=ITEMS))
    found = engine.search(Query(clauses, k=5, filter=parse_filter({"genre": {"all": ["x", "y"]}})))
    assert found == [hit for hit in everything if int(hit.item[1:]) % 4][:5]
    assert engine.search(Query(clauses, filter=parse_filter({"genre": "z"}))) == []
    assert engine.search(Query(clauses, filter=parse_filter({"colour": "x"}))) == []


@pytest.mark.parametrize("wanted", [{"filter": {"genre": "x"}}, {"boost": {"genre": {"x": 2.0}}}])
def test_documents_that_are_read_hold_up_nobody_else(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, wanted: dict[str, Any]
) -> None:
    plain = Query(engine.user("u0").clauses)
    expected, item_doc = engine.search(plain), engine.artifact.item_doc
    query = replace(plain, filter=parse_filter(wanted.get("filter")), boosts=parse_boosts(wanted.get("boost")))
    with ThreadPoolExecutor(1) as pool:

        def read(item: int) -> Any:
            assert pool.submit(engine.search, plain).result(timeout=10) == expected
            return item_doc(item)

        monkeypatch.setattr(engine.artifact, "item_doc", read)
        first = engine.search(query)  # from its own items' documents
        assert engine.search(query) == first  # from all


@pytest.mark.parametrize("k", [1, 5, 60])
def test_the_first_query_with_a_filter_answers_as_the_later_ones(engine: EmbeddedEngine, k: int) -> None:
    for user in ("u0", "u1", "u2"):
        everything = engine.search(Query(engine.user(user).clauses, ITEMS))
        for wanted in ("x", "y", {"all": ["y", "x"]}):
            shown = [hit for hit in everything if int(hit.item[1:]) % 4 or wanted == "x"]
            query = Query(engine.user(user).clauses, k, filter=parse_filter({"genre": wanted}))
            assert engine.search(query) == shown[:k]


def test_more_excluded_than_there_are_and_names_that_are_asked_twice(engine: EmbeddedEngine) -> None:
    clauses = engine.user("u4").clauses
    everything = engine.search(Query(clauses, ITEMS))
    for count in (len(everything), len(everything) - 1, 1):
        hidden = frozenset(hit.item for hit in everything[:count]) | {f"no{i}" for i in range(100)}
        assert engine.search(Query(clauses, 4, hidden)) == everything[count : count + 4]


@pytest.mark.parametrize("exclude", [frozenset[str](), frozenset({"a0", "é1", "nothing"})])
def test_scored_is_the_search_for_all_items(engine: EmbeddedEngine, exclude: frozenset[str]) -> None:
    clauses, genre, boosts = (
        engine.user("u4").clauses,
        parse_filter({"genre": "y"}),
        parse_boosts({"genre": {"y": 0.3}}),
    )
    for query in (Query(clauses), Query(()), Query(clauses, filter=genre), Query(clauses, boosts=boosts)):
        query = replace(query, exclude=exclude)
        items, scores = engine.scored(query)
        assert items.tolist() == sorted(set(items.tolist()))
        found = dict(zip(engine.artifact.item_ids.texts(items), scores.tolist(), strict=True))
        assert found == dict(engine.search(replace(query, k=ITEMS)))
        assert not engine._sums.any()


def test_explanations_add_up(engine: EmbeddedEngine) -> None:
    answer = Recommender.for_engine(engine).recommend("u3", k=10, explain=True, exclude_seen=True)
    assert answer.seen == tuple(engine.artifact.item_ids[i] for i in (9, 10, 11))
    assert answer.items
    for item in answer:
        assert item.reasons is not None
        assert sum(reason.given for reason in item.reasons) == pytest.approx(item.score)
        assert item.id not in answer.seen
        assert item.title == f"T{item.id[1:]}"


def test_unknown_user_and_item(engine: EmbeddedEngine) -> None:
    with pytest.raises(NotFoundError, match="--history"):
        engine.user("nobody")
    with pytest.raises(NotFoundError):
        engine.explain(Query(engine.user("u0").clauses), "nothing")
    assert engine.documents(["nothing", "a0"]).keys() == {"a0"}


def test_no_request_and_k_of_nothing(engine: EmbeddedEngine) -> None:
    assert engine.request(Query(())) is None
    with pytest.raises(ValueError):
        Query((), k=0)


def codes_of(scorer: Scorer, rows: np.ndarray) -> UserCodes:
    """What the model gives these users: two codes each, as the fixture `engine` stores them."""
    table = scorer.all_codes()[np.stack([rows % CODES, (rows + 1) % CODES], axis=1).ravel()]
    offsets = np.arange(0, 2 * len(rows) + 1, 2).astype(np.uint64)
    return UserCodes(offsets, table, np.tile([1.0, 0.5], len(rows)).astype(np.float32))


@pytest.fixture
def encode(scorer: Scorer) -> EncodeUsers:
    return partial(codes_of, scorer)


def test_verify_passes_and_fails(engine: EmbeddedEngine, scorer: Any, encode: EncodeUsers) -> None:
    result = verify(engine, engine.artifact, scorer, encode, users=100, k=5)
    assert result.users == USERS
    assert result.passed
    assert result.ties > 0
    scorer.scores = scorer.scores * np.float32(1.01)
    result = verify(engine, engine.artifact, scorer, encode, users=100, k=5)
    assert result.rounded_error == 0
    assert not result.passed


def test_verify_asks_for_many_users_at_once(
    engine: EmbeddedEngine, scorer: Any, encode: EncodeUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verification, "TOGETHER", 5)
    users, asked = engine.users, []
    monkeypatch.setattr(engine, "users", lambda ids: asked.append(len(ids)) or users(ids))
    assert verify(engine, engine.artifact, scorer, encode, k=5).passed
    assert asked == [5, USERS - 5]
    monkeypatch.setattr(engine, "users", lambda ids: {})
    with pytest.raises(NotFoundError, match="no user 'u0'"):
        verify(engine, engine.artifact, scorer, encode, k=5)


def test_users_with_codes_of_others_do_not_verify(engine: EmbeddedEngine, scorer: Any, encode: EncodeUsers) -> None:
    """The items and scores fit the codes that the engine has; only the model knows that they are somebody else's."""
    result = verify(engine, engine.artifact, scorer, lambda rows: encode(rows + 1), k=5)
    assert (result.recall, result.rounded_error, result.other_codes) == (1.0, 0.0, USERS)
    assert not result.passed
    with pytest.raises(VerificationError, match=f"{USERS} of {USERS} users"):
        result.require()


def test_a_lossy_engine_does_not_verify(
    engine: EmbeddedEngine, scorer: Any, encode: EncodeUsers, monkeypatch: pytest.MonkeyPatch
) -> None:
    search = engine.search
    monkeypatch.setattr(engine, "search", lambda query: search(query)[:-1])
    assert verify(engine, engine.artifact, scorer, encode, k=5).recall < 1


def test_codes_of_another_model(engine: EmbeddedEngine, scorer: Any, encode: EncodeUsers) -> None:
    with pytest.raises(MismatchError):
        Recommender.for_engine(engine).require_model("cc", "bb")
    with pytest.raises(MismatchError):
        Recommender.for_engine(engine).require_model("aa", "cc")
    Recommender.for_engine(engine).require_model("aa", "bb")
    scorer.model_hash = "cc"
    with pytest.raises(MismatchError):
        verify(engine, engine.artifact, scorer, encode)
