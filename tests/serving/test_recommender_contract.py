"""What a recommender answers, alike on every engine: filters, boosts, pins, diversity, pages, batches, asynchronously."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from serving.small_world import USERS, attributes_of
from sparcode_es import Ask, AsyncRecommender, Dsl, Limits, MaxPer, Mmr, Recommendations, Recommender, Text
from sparcode_es.engines.conditions import FilterLike, holds, parse_boosts, parse_filter, weight_of
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.errors import ConfigError, NotFoundError
from sparcode_es.postings.artifact import Artifact

PATIENT = Limits(timeout=20, budget=60)
SERVERS = {"elasticsearch 7.17": "elasticsearch_7", "elasticsearch 9": "elasticsearch_9"}
MARKS = (pytest.mark.slow, pytest.mark.elasticsearch)


@dataclass
class Place:
    """One engine with the artifact in it."""

    artifact: Artifact
    recommender: Recommender
    url: str | None = None

    def ids(self, user: str = "user 3", **options: Any) -> list[str]:
        answer = self.recommender.recommend(user, **options)
        assert answer.source == "codes", answer.reason
        return [item.id for item in answer]

    def ranking(self, user: str = "user 3", boost: Any = None, filter: FilterLike = None) -> list[tuple[str, float]]:
        """Eq. 11 in plain Python, times the boosts, of the items that fit."""
        entry = self.artifact.user_ids.find(user)
        assert entry is not None
        scores: dict[int, float] = {}
        for clause in self.artifact.user_clauses(entry):
            row = self.artifact.code_row(clause.term)
            assert row is not None
            from sparcode_es.postings.grid import from_grid

            for number, grid in zip(*self.artifact.postings(row), strict=True):
                scores[int(number)] = scores.get(int(number), 0.0) + clause.boost * float(from_grid(grid[None])[0])
        found = []
        for number, score in scores.items():
            item, own = self.artifact.item_ids[number], attributes_of(number)
            if all(holds(each, item, own) for each in parse_filter(filter)):
                found.append((item, score * weight_of(parse_boosts(boost), item, own)))
        return sorted(found, key=lambda pair: (-pair[1], pair[0].encode()))


@pytest.fixture(
    scope="module",
    params=["embedded", *[pytest.param(name, marks=MARKS) for name in SERVERS]],
    ids=lambda name: str(name),
)
def place(request: pytest.FixtureRequest, artifact: Artifact) -> Iterator[Place]:
    if request.param == "embedded":
        with Recommender.from_artifact(artifact.path) as recommender:
            yield Place(artifact, recommender)
        return
    url = request.getfixturevalue(SERVERS[request.param]).url
    server = Server(ConnectionConfig(url=url))
    index(server, artifact, IndexOptions("recs-api"), lambda what, more, total: None)
    server.close()
    with Recommender.from_elasticsearch(url, "recs-api", limits=PATIENT) as recommender:
        yield Place(artifact, recommender, url)


FILTERS: list[FilterLike] = [
    {"genre": "Drama"},
    {"genre": ["Drama", "Comedy"]},
    {"genre": {"all": ["Drama", "Comedy"]}},
    {"genre": {"none": ["Drama"]}},
    {"genre": {"any": ["Drama"], "none": ["Comedy"]}, "year": {"gte": 1990, "lt": 2005}},
    {"year": 1985},
    {"year": {"gte": "1990", "lte": "1999"}},
    {"year": {"gt": 2008.5}},
    {"rating": 0.75},
    {"rating": 1},
    {"year": {"none": [1985.0]}, "rating": {"none": ["1"]}},
    {"rating": {"gte": 0.5, "lte": 1.25}},
    {"children": True},
    {"price": {"lt": 20}},
    {"price": "free"},
    {"price": {"none": ["free"], "gt": 30}},
    {"genre": {"gte": 12}},
    {"released": {"gte": "1995-01-10", "lt": "2001"}},
    {"_item": ["a1", "_2", "Z3", "é4", "nothing"]},
    {"_item": {"none": ["a1", "_2"]}},
    {"_item": {"gte": "a", "lt": "b"}},
    {"nothing": {"none": ["x"]}},
    [{"genre": "Drama"}, {"genre": "Comedy"}],
]


@pytest.mark.parametrize("given", FILTERS, ids=str)
def test_filters(place: Place, given: FilterLike) -> None:
    wanted = [item for item, _ in place.ranking(filter=given)]
    assert place.ids(k=50, filter=given) == wanted[:50]


def test_a_filter_that_nothing_fits(place: Place) -> None:
    assert place.ids(filter={"genre": "none such"}) == []
    assert place.ids(filter={"genre": {"gte": 13}}) == []


BOOSTS = [
    {"genre": {"Drama": 3.0}},
    {"genre": {"Drama": 2.0, "Comedy": 0.25}, "children": {True: 1.5}},
    {"_item": {"a1": 100.0, "Z7": 0.001, "nothing": 5}},
    {"year": {1990: 8}},
    {"year": {1990.0: 8}, "rating": {1: 3}},
]


@pytest.mark.parametrize("boost", BOOSTS, ids=str)
def test_boosts_multiply(place: Place, boost: Any) -> None:
    wanted = place.ranking(boost=boost)
    answer = place.recommender.recommend("user 3", k=60, boost=boost)
    assert [item.id for item in answer] == [item for item, _ in wanted[:60]]
    assert [item.score for item in answer] == pytest.approx([score for _, score in wanted[:60]], rel=1e-6)


def test_exclusions_and_seen_items(place: Place) -> None:
    answer = place.recommender.recommend("user 3", k=70, exclude_seen=True, exclude=["a1", "none such"])
    left_out = {"a1", *answer.seen}
    assert [item.id for item in answer] == [item for item, _ in place.ranking() if item not in left_out]
    assert len(answer.seen) == 4


def test_pins(place: Place) -> None:
    best = [item for item, _ in place.ranking()]
    pinned, other = best[30], "é76"  # the second has no score at all
    found = place.recommender.recommend(
        "user 3", k=5, pin={1: other, 3: pinned, 4: "none such"}, filter={"genre": "Drama"}
    )
    rest = [item for item, _ in place.ranking(filter={"genre": "Drama"}) if item != pinned]
    assert [item.id for item in found] == [other, rest[0], pinned, rest[1], rest[2]]
    assert [item.pinned for item in found] == [True, False, True, False, False]
    assert found.items[0].score is None
    assert found.items[0].attributes["year"] == attributes_of(76)["year"]
    assert place.ids(k=3, pin=[pinned]) == [pinned, *best[:2]]


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("name", ["genre", "year", "nothing"])
def test_at_most_so_many_a_value(place: Place, name: str, count: int) -> None:
    shown: dict[str, int] = {}
    wanted = []
    for item, _ in place.ranking():
        number = place.artifact.item_ids.find(item)
        assert number is not None
        value = attributes_of(number).get(name, [])
        values = set(value if isinstance(value, list) else [value])
        if all(shown.get(each, 0) < count for each in values):
            wanted.append(item)
            shown.update({each: shown.get(each, 0) + 1 for each in values})
    assert place.ids(k=12, diversify=MaxPer(name, count)) == wanted[:12]


def test_marginal_relevance_is_the_same_everywhere(place: Place, artifact: Artifact) -> None:
    local = Recommender.from_artifact(artifact.path)
    for user, how in itertools.product(["user 0", "user 3"], [Mmr(0.0), Mmr(0.4, pool=20), Mmr(1.0, pool=7)]):
        found = place.ids(user, k=30, diversify=how)
        assert found == [item.id for item in local.recommend(user, k=30, diversify=how)]
        plain = place.ids(user, k=30)
        assert sorted(found[: how.pool]) == sorted(plain[: how.pool]) or how.pool > 30
        assert found[how.pool :] == plain[how.pool :]
        assert (found == plain) is (how.weight == 0)


OPTIONS: list[dict[str, Any]] = [
    {},
    {"exclude_seen": True, "filter": {"genre": ["Drama", "Comedy"]}},
    {"pin": {2: "a1", 9: "é76", 11: "none such"}},
    {"diversify": MaxPer("year", 1), "pin": {1: "Z3"}},
    {"diversify": Mmr(0.5, pool=15), "exclude": ["a1"]},
    {"boost": {"genre": {"Drama": 2}}},
]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("k", [1, 4, 7])
def test_pages_are_one_list(place: Place, k: int, options: dict[str, Any]) -> None:
    whole = place.ids(k=6 * k, **options)
    pages = [place.ids(k=k, page=page, **options) for page in range(1, 7)]
    assert list(itertools.chain(*pages)) == whole
    assert len(set(whole)) == len(whole)


def test_pages_beyond_the_end_are_empty(place: Place) -> None:
    assert place.ids(k=50, page=5) == []


def test_many_are_as_one(place: Place) -> None:
    users = [f"user {u}" for u in range(USERS)]
    asks = [Ask.of(user, k=1 + i, **OPTIONS[i % len(OPTIONS)]) for i, user in enumerate([*users, "nobody", "user 1"])]
    found = place.recommender.recommend_many(asks)
    assert [answer.source for answer in found] == ["codes"] * (USERS - 1) + ["popular", "popular", "codes"]
    for ask, answer in zip(asks, found, strict=True):
        assert answer == place.recommender.recommend_many([ask])[0]
    assert place.recommender.recommend_many([]) == []
    assert place.recommender.recommend_many(users[:2], k=3) == [place.recommender.recommend(u, k=3) for u in users[:2]]


def test_reasons_at_once_and_on_demand(place: Place) -> None:
    answer = place.recommender.recommend("user 0", k=30, explain=True)
    for item in answer:
        assert item.reasons is not None
        assert sum(reason.given for reason in item.reasons) == pytest.approx(item.score, rel=1e-6)
    named = {reason.term: reason.because for item in answer for reason in item.reasons or ()}
    assert named["item_4"] is not None
    assert named["item_4"].item == place.artifact.item_ids[4]
    later = place.recommender.recommend("user 0", k=3)
    assert later.items[0].reasons is None
    assert place.recommender.reasons(later, later.items[0]) == answer.items[0].reasons
    assert place.recommender.reasons(later, "é76") == ()  # no score at all
    with pytest.raises(NotFoundError, match="no item 'nope'"):
        place.recommender.reasons(later, "nope")


def test_unknown_users_and_those_without_codes_get_popular_items(place: Place, artifact: Artifact) -> None:
    place.recommender.warm()
    popular = artifact.popular(100)
    for user, why in (("nobody", "no user 'nobody'"), (f"user {USERS - 1}", "no codes")):
        answer = place.recommender.recommend(user, k=4)
        assert (answer.source, [item.id for item in answer]) == ("popular", popular[:4])
        assert why in str(answer.reason)
        assert {item.score for item in answer} == {None}
        assert answer.items[0].attributes.keys() >= {"year", "genre"}
        assert place.recommender.reasons(answer, answer.items[0]) == ()


def test_popular_items_keep_to_filters_exclusions_pins_limits_and_pages(place: Place, artifact: Artifact) -> None:
    place.recommender.warm()
    numbers = [number for item in artifact.popular(100) if (number := artifact.item_ids.find(item)) is not None]
    fitting = [artifact.item_ids[n] for n in numbers if "Drama" in attributes_of(n)["genre"]]
    options: dict[str, Any] = {"filter": {"genre": "Drama"}, "exclude": [fitting[0]], "pin": {2: "é76"}}
    wanted = [fitting[1], "é76", *fitting[2:]]
    pages = [place.recommender.recommend("nobody", k=2, page=page, **options) for page in (1, 2)]
    assert [item.id for page in pages for item in page] == wanted[:4]
    one = place.recommender.recommend("nobody", k=9, filter={"genre": "Drama"}, diversify=MaxPer("genre", 1))
    assert [item.id for item in one] == fitting[:1]


def test_what_the_caller_must_change_is_raised(place: Place) -> None:
    for options, words in (
        ({"k": 0}, "at least 1"),
        ({"k": 101, "page": 100}, "at most 10000"),
        ({"filter": {"genre": {"like": "x"}}}, "knows gt"),
        ({"filter": {"genre": []}}, "no value"),
        ({"boost": {"genre": {"Drama": 0}}}, "filter or exclude"),
        ({"pin": {0: "a1"}}, "from 1 on"),
        ({"pin": ["a1"], "exclude": ["a1"]}, "both pinned and excluded"),
        ({"history": ["a1"]}, "give one of them"),
        ({"colour": "red"}, "not \\['colour'\\]"),
    ):
        with pytest.raises(ConfigError, match=words):
            place.recommender.recommend("user 3", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="checkpoint"):
        place.recommender.recommend(history=["a1"])
    if place.url is None:
        for options in ({"filter": Dsl({"match_all": {}})}, {"text": "star"}):
            with pytest.raises(ConfigError, match="ask Elasticsearch"):
                place.recommender.recommend("user 3", **options)  # type: ignore[arg-type]


def needs_a_server(place: Place) -> str:
    if place.url is None:
        pytest.skip("Elasticsearch alone")
    return place.url


def test_a_query_of_elasticsearchs_own(place: Place) -> None:
    needs_a_server(place)
    both: FilterLike = [Dsl({"prefix": {"attributes.year": "199"}}), {"genre": "Drama"}]
    wanted = place.ranking(filter={"genre": "Drama", "year": {"gte": 1990, "lte": 1999}})
    assert place.ids(k=50, filter=both) == [item for item, _ in wanted]
    answer = place.recommender.recommend("nobody", filter=both, pin=["a1"])
    assert [item.id for item in answer] == ["a1"]
    assert "only Elasticsearch can tell" in str(answer.reason)
    with pytest.raises(Exception, match="400"):
        place.recommender.recommend("user 3", filter=Dsl({"no such query": {}}))


def test_text_and_codes_add_up_with_their_weights(place: Place) -> None:
    server = Server(ConnectionConfig(url=needs_a_server(place)))
    body = {"size": 100, "query": {"match": {"title": "dark river"}}}
    by_text = {row["_id"]: row["_score"] for row in server.call("POST", "/recs-api/_search", body)["hits"]["hits"]}
    server.close()
    by_codes = dict(place.ranking())
    for text in (Text("dark river"), Text("dark river", 0.25, 2.0), Text("dark river", 3.0, 0.5, required=True)):
        among = by_text.keys() if text.required else by_text.keys() | by_codes.keys()
        scores = {i: text.weight * by_text.get(i, 0) + text.codes_weight * by_codes.get(i, 0) for i in among}
        answer = place.recommender.recommend("user 3", k=100, text=text)
        assert {item.id for item in answer} == scores.keys()
        for item in answer:
            assert item.score == pytest.approx(scores[item.id], rel=1e-5)
        assert [item.score for item in answer] == sorted((item.score or 0 for item in answer), reverse=True)
    boosted = place.recommender.recommend("user 3", k=1, text="dark river", boost={"_item": {"Z7": 1000}})
    assert boosted.items[0].id == "Z7"
    unknown = place.recommender.recommend("nobody", text=Text("dark", required=True))
    assert (unknown.source, unknown.items) == ("popular", ())


def test_scores_from_the_artifact_are_those_of_the_embedded_engine(place: Place, artifact: Artifact) -> None:
    url = needs_a_server(place)
    local = Recommender.from_artifact(artifact.path)
    boost = {"genre": {"Drama": 1.1}}
    with Recommender.from_elasticsearch(url, "recs-api", artifact=artifact.path, limits=PATIENT) as exact:
        assert exact.warm().artifact == artifact.generation_hash
        for user in range(USERS - 1):
            found = exact.recommend(f"user {user}", k=12, boost=boost)
            assert found.items == local.recommend(f"user {user}", k=12, boost=boost).items


def test_asynchronously_the_same(place: Place) -> None:
    url = needs_a_server(place)
    asks = [Ask.of(f"user {i}", **options) for i, options in enumerate(OPTIONS)] + [Ask.of("nobody")]

    async def ask() -> list[Recommendations]:
        async with AsyncRecommender.from_elasticsearch(url, "recs-api", limits=PATIENT) as recommender:
            await recommender.warm()
            together = await asyncio.gather(*[recommender.recommend_many([each]) for each in asks])
            single = await recommender.recommend("user 0", k=2)
            assert await recommender.reasons(single, single.items[0])
            assert await recommender.recommend_many(asks) == [answer for answers in together for answer in answers]
            return [answer for answers in together for answer in answers]

    assert asyncio.run(ask()) == place.recommender.recommend_many(asks)
