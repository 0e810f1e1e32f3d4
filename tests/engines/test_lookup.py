"""Every lookup, on one artifact: the same finds in the same order, and one generation of several as a place of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engines.shelf import TITLES, make_shelf
from sparcode_es.engines import embedded_lookup
from sparcode_es.engines.base import ItemDocument, Query
from sparcode_es.engines.conditions import parse_filter
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector
from sparcode_es.engines.elasticsearch.layout import generations
from sparcode_es.engines.elasticsearch.lookup import ElasticsearchLookup
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import EmbeddedInspector
from sparcode_es.engines.embedded_lookup import EmbeddedLookup
from sparcode_es.engines.local_source import POPULAR
from sparcode_es.engines.lookup import CANDIDATES, Lookup, Value, in_order, typed_words, words_of
from sparcode_es.postings.artifact import Artifact
from ui_page.page_world import build

MARKS = (pytest.mark.slow, pytest.mark.elasticsearch)
SERVERS = [pytest.param(name, marks=MARKS) for name in ("elasticsearch_7", "elasticsearch_9")]
ALIAS = "lookup"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_shelf(tmp_path_factory.mktemp("shelf") / "postings")


@pytest.fixture(scope="module", params=["embedded", *SERVERS])
def lookup(request: pytest.FixtureRequest, artifact: Artifact) -> Iterator[Lookup]:
    if request.param == "embedded":
        yield EmbeddedLookup(EmbeddedEngine(artifact))
        return
    server = Server(ConnectionConfig(url=request.getfixturevalue(request.param).url))
    index(server, artifact, IndexOptions(ALIAS), lambda what, more, total: None)
    yield ElasticsearchLookup(ElasticsearchEngine(server, ALIAS))
    for suffix in generations(server, ALIAS):
        delete(server, ALIAS, suffix)
    server.close()


def test_users(lookup: Lookup) -> None:
    assert lookup.users("user 1", 3) == ["user 1", "user 10", "user 11"]
    assert lookup.users("", 2) == ["user 0", "user 1"]
    assert lookup.users("nobody", 5) == lookup.users("User 1", 5) == []


@pytest.mark.parametrize(
    "text", ["évil", "ÉVIL 31m", "物 東", "東京", "two lin", "title 1", "é1", "é10", "", "zzz", "-", "a"]
)
def test_items(lookup: Lookup, artifact: Artifact, text: str) -> None:
    found = lookup.items(text, 200)
    assert found == EmbeddedLookup(EmbeddedEngine(artifact)).items(text, 200)
    assert bool(found) == (text not in ("zzz", "-"))
    for document in found:
        words = words_of(document.title or "")
        begun = all(any(word.startswith(each) for word in words) for each in typed_words(text))
        assert document.item.startswith(text) or begun


def test_items_in_order(lookup: Lookup, artifact: Artifact) -> None:
    assert lookup.items("é100", 5)[0].item == "é100"
    popular = artifact.popular(3)
    assert [document.item for document in lookup.items("", 3)] == popular
    evil = [item for item in artifact.popular(1000) if item in {each.item for each in lookup.items("évil", 200)}]
    assert evil
    assert [document.item for document in lookup.items("évil", len(evil))] == evil


TYPED = st.text("aeé1 0ilnstvwéÉ東物-.'\ud800", max_size=8)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TYPED | st.sampled_from([*TITLES[1:3], "t", "title", "é1 é", "a1"]), count=st.sampled_from([1, 7, 200]))
def test_an_artifact_finds_what_reading_every_title_does(artifact: Artifact, text: str, count: int) -> None:
    documents = list(EmbeddedEngine(artifact).documents(list(artifact.item_ids)).values())
    typed, begun = typed_words(text), set(artifact.item_ids.beginning(text, CANDIDATES))

    def fits(document: ItemDocument) -> bool:
        words = words_of(document.title or "")
        titled = bool(typed) and all(any(word.startswith(each) for word in words) for each in typed)
        return document.item in begun or titled

    if text:
        expected = in_order(filter(fits, documents), text, artifact.popular(POPULAR))[:count]
        assert EmbeddedLookup(EmbeddedEngine(artifact)).items(text, count) == expected


def test_titles_are_read_once(artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what is found, only the documents that are shown are read."""
    lookup, read = EmbeddedLookup(EmbeddedEngine(artifact)), []
    lookup.items("t", 3)
    monkeypatch.setattr(artifact, "item_doc", lambda item: read.append(item) or {"title": "", "attributes": {}})
    assert len(lookup.items("title", 3)) == len(read) == 3


def test_attributes(lookup: Lookup) -> None:
    assert lookup.attributes() == ["genre", "year"]
    assert lookup.values("genre") == [Value("x", 150), Value("y", 100)]
    assert lookup.values("year") == [Value("1980", 149), Value("1999", 1)]
    assert lookup.values("colour") == []


def test_names(lookup: Lookup, artifact: Artifact, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the profiles, which know all postings."""
    terms = ["3", "19", "item_5", "nothing"]
    known = EmbeddedInspector(EmbeddedEngine(artifact)).codes(terms)
    assert lookup.names(terms) == {term: profile.name for term, profile in known.items()}
    assert lookup.names([]) == lookup.names(["nothing"]) == {}
    if isinstance(lookup, EmbeddedLookup):
        monkeypatch.setattr(embedded_lookup, "MOST_NAMED", 149)
        assert lookup.names(terms) == {}


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"genre": "y"}, True),
        ({"genre": "Y"}, False),
        ({"gen": "y"}, False),
        ({"gen": {"none": ["y"]}}, True),
        ({"_item": "é28"}, True),
        ({"_item": "28"}, False),
        ({"year": {"gt": 1990}}, True),
        ({"year": {"gt": 1999}}, False),
    ],
)
def test_whether_any_item_fits(lookup: Lookup, asked: dict[str, Any], fits: bool) -> None:
    (condition,) = parse_filter(asked)
    assert lookup.fits(condition) is fits


@pytest.mark.parametrize("node", SERVERS)
def test_one_generation_alone(
    node: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """An older generation answers as its artifact does, users, items and codes, while another one is live."""
    folder = tmp_path_factory.mktemp("generations")
    old, new = build(folder / "old"), build(folder / "new", seed=1)
    server = Server(ConnectionConfig(url=request.getfixturevalue(node).url))
    for artifact in (old, new):
        index(server, artifact, IndexOptions("two"), lambda what, more, total: None)
    suffixes = list(generations(server, "two"))
    for suffix, artifact in zip(suffixes, (old, new), strict=True):
        engine, wanted = ElasticsearchEngine(server, "two", suffix), EmbeddedEngine(artifact)
        assert engine.info().artifact == artifact.generation_hash
        entry = engine.user("u3")
        assert entry.seen == wanted.user("u3").seen
        query = Query(entry.clauses, 10)
        hits = engine.search(query)
        assert [hit.item for hit in hits] == [hit.item for hit in wanted.search(query)]
        inspector = ElasticsearchInspector(engine)
        reasons = inspector.reasons(query, hits[0].item)
        assert reasons.score == reasons.total == pytest.approx(hits[0].score)
        row = artifact.code_row("3")
        assert row is not None
        assert inspector.codes(["3"])["3"].items == len(artifact.postings(row)[0])
    for suffix in suffixes:
        delete(server, "two", suffix)
    server.close()
