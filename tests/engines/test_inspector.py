"""Every inspector, on one artifact: the same answers, and reasons that add up to the engine's score to the last digit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.shelf import ITEMS, USERS, Scorer, make_shelf
from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.conditions import parse_filter
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector, generation_contents
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.embedded_inspector import ArtifactContents, EmbeddedInspector
from sparcode_es.engines.inspector import Inspector
from sparcode_es.errors import NotFoundError
from sparcode_es.inspection.diff import PostingChange, diff
from sparcode_es.inspection.views import code_view, item_view, user_view
from sparcode_es.inspection.why import why, why_not
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.profile import Profiler

SERVERS = ["elasticsearch_7", "elasticsearch_9"]
MARKS = (pytest.mark.slow, pytest.mark.elasticsearch)
ALIAS = "inspected"


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_shelf(tmp_path_factory.mktemp("shelf") / "postings")


def load(server: Server, artifact: Artifact, alias: str = ALIAS) -> str:
    return index(server, artifact, IndexOptions(alias), lambda what, more, total: None).generation


@pytest.fixture(scope="module", params=["embedded", *(pytest.param(name, marks=MARKS) for name in SERVERS)])
def inspector(request: pytest.FixtureRequest, artifact: Artifact) -> Iterator[Inspector]:
    if request.param == "embedded":
        yield EmbeddedInspector(EmbeddedEngine(artifact))
        return
    server = Server(ConnectionConfig(url=request.getfixturevalue(request.param).url))
    load(server, artifact)
    yield ElasticsearchInspector(ElasticsearchEngine(server, ALIAS))
    delete(server, ALIAS, live_generation(server, ALIAS) or "")
    server.close()


def terms(artifact: Artifact) -> list[str]:
    return [artifact.term(row) for row in range(artifact.num_codes)]


def queries(inspector: Inspector) -> list[Query]:
    return [Query(inspector.engine.user(f"user {u}").clauses, 10) for u in range(USERS)]


def test_codes(inspector: Inspector, artifact: Artifact) -> None:
    every = list(Profiler(artifact).profiles())
    assert inspector.codes(terms(artifact)) == {each.code: each for each in every}
    assert inspector.codes(["3", "no_such", "", "999"]).keys() == {"3"}
    assert inspector.codes([]) == {}
    for count in (1, 5, 999):
        expected = sorted(every, key=lambda each: (-each.traffic, -each.users, each.code))[:count]
        assert inspector.busiest(count) == expected


def test_names(inspector: Inspector, artifact: Artifact) -> None:
    """Those of the profiles, in the order in which they were asked for."""
    wanted = [*terms(artifact)[::-1], "no_such", "", terms(artifact)[0]]
    found = inspector.names(wanted)
    assert list(found.items()) == [(term, each.name) for term, each in inspector.codes(wanted).items()]
    assert inspector.names([]) == inspector.names([""]) == {}


def test_a_name_wants_no_pass_over_the_postings(artifact: Artifact) -> None:
    inspector = EmbeddedInspector(EmbeddedEngine(artifact))
    item, query = artifact.item_ids[5], queries(inspector)[2]
    why(inspector, query, item)
    why_not(inspector, query, item, ())
    assert user_view(inspector, "user 1", 2).names
    assert "survey" not in vars(inspector.profiler)


@pytest.mark.parametrize("item", [0, 1, 5, 77, 149])
def test_the_postings_of_an_item(inspector: Inspector, artifact: Artifact, item: int) -> None:
    expected = {}
    for row in range(artifact.num_codes):
        items, grid = artifact.postings(row)
        if item in items:
            expected[artifact.term(row)] = float(from_grid(grid[items == item])[0])
    found = inspector.item_postings(artifact.item_ids[item])
    assert found == expected
    assert list(found) == sorted(expected, key=lambda term: (-expected[term], term))
    assert (len(found) == 0) == (item >= 140)


def test_reasons_add_up_to_the_engines_score_exactly(inspector: Inspector) -> None:
    """Bit for bit, for every hit of every user, on every server."""
    single = np.float32 if isinstance(inspector, ElasticsearchInspector) else float
    counted = 0
    for query in queries(inspector):
        for hit in inspector.engine.search(query):
            found = inspector.reasons(query, hit.item)
            assert single(found.score) == single(hit.score)
            assert found.total == found.score
            total = 0.0
            for part in found.parts:
                assert part.value == float(single(part.contribution.boost) * single(part.contribution.score))
                total += part.value
            assert float(single(total)) == found.score
            counted += 1
    assert counted > 100


def test_an_items_place_is_that_in_the_ranking(inspector: Inspector) -> None:
    tied = [Query((Clause("3", 0.8),), 10), Query((Clause("3", 1.0),), 10, filter=parse_filter({"genre": "y"}))]
    for plain in [*queries(inspector)[:3], *tied]:
        hidden = frozenset(hit.item for hit in inspector.engine.search(plain)[:2])
        for query in (plain, replace(plain, exclude=hidden)):
            ranking = inspector.engine.search(replace(query, k=ITEMS))
            for place, hit in list(enumerate(ranking))[::9]:
                score = inspector.reasons(query, hit.item).score
                assert inspector.ahead(query, hit.item, score) == place
                assert inspector.passes(query, hit.item)
    assert not inspector.passes(replace(plain, exclude=hidden), next(iter(hidden)))


def test_dead(inspector: Inspector, artifact: Artifact) -> None:
    found = inspector.dead(3)
    every = list(Profiler(artifact).profiles())
    for kind in ("learned", "item"):
        silent = sorted(each.code for each in every if each.kind == kind and not each.users)
        empty = sorted(each.code for each in every if each.kind == kind and not each.items)
        assert found.codes_without_users[kind].count == len(silent) > 0
        assert found.codes_without_users[kind].examples == tuple(silent[:3])
        assert found.codes_without_items[kind].count == len(empty) > 0
        assert found.codes_without_items[kind].examples == tuple(empty[:3])
    unheard = sorted((artifact.item_ids[i] for i in range(140, ITEMS)), key=str.encode)
    assert found.items_without_postings.count == 10
    assert found.items_without_postings.examples == tuple(unheard[:3])


def test_why(inspector: Inspector) -> None:
    query = queries(inspector)[2]
    third = inspector.engine.search(query)[2]
    found = why(inspector, query, third.item)
    assert found.rank == 3
    assert found.document.item == third.item
    assert {part.contribution.term for part in found.reasons.parts} <= found.names.keys()
    assert why(inspector, replace(query, exclude=frozenset([third.item])), third.item).rank is None
    silent = why(inspector, query, "é140")
    assert (silent.reasons.score, silent.reasons.total, silent.reasons.parts, silent.rank) == (0.0, 0.0, (), None)
    with pytest.raises(NotFoundError, match="no item 'nothing'"):
        why(inspector, query, "nothing")


def test_why_not(inspector: Inspector) -> None:
    entry = inspector.engine.user("user 4")
    query = Query(entry.clauses, 5)
    ranking = inspector.engine.search(replace(query, k=ITEMS))
    first, twelfth = ranking[0], ranking[11]
    shown = why_not(inspector, query, first.item, entry.seen)
    assert shown.recommended
    assert shown.verdict == ("it is recommended: place 1 of the first 5",)
    late = why_not(inspector, query, twelfth.item, entry.seen)
    assert (late.rank, late.recommended, late.excluded) == (12, False, False)
    assert late.needed == ranking[4].score
    assert np.float32(late.score) == np.float32(twelfth.score)
    hit = {part.contribution.term for part in late.reasons.parts} if late.reasons else set()
    assert {clause.term for clause in late.without_posting} == {clause.term for clause in entry.clauses} - hit
    assert "place 12" in late.verdict[0]
    hidden = why_not(inspector, replace(query, exclude=frozenset([first.item])), first.item, (first.item,))
    assert (hidden.rank, hidden.excluded, hidden.seen, hidden.recommended) == (1, True, True, False)
    assert hidden.verdict == (
        "the user has met it, and seen items are left out",
        "it would have place 1 of the first 5",
    )
    filtered = why_not(
        inspector,
        replace(query, filter=parse_filter([{"genre": "x"}, {"genre": "z"}])),
        first.item,
        (),
        ("genre=x", "genre=z"),
    )
    assert filtered.failed_filters == ("genre=z",)
    assert filtered.needed is None
    assert not filtered.recommended
    missing = why_not(inspector, query, "nothing", entry.seen)
    assert (missing.document, missing.score, missing.rank, missing.recommended) == (None, 0.0, None, False)
    silent = why_not(inspector, query, "é140", entry.seen)
    assert (silent.rank, silent.score, len(silent.without_posting)) == (None, 0.0, 6)
    nobody = inspector.engine.user(f"user {USERS - 1}")
    assert "no codes" in why_not(inspector, Query(nobody.clauses), first.item, nobody.seen).verdict[0]


def test_views(inspector: Inspector, artifact: Artifact) -> None:
    code = code_view(inspector, "3")
    assert code.neighbour_names.keys() == {each.code for each in code.profile.neighbours}
    with pytest.raises(NotFoundError, match="no code '12_201'"):
        code_view(inspector, "12_201")
    item = item_view(inspector, artifact.item_ids[5], 4)
    assert len(item.top_codes) == 4 < item.postings
    assert item.names.keys() == item.top_codes.keys()
    assert item.own is not None
    assert item.own.code == "item_5"
    with pytest.raises(NotFoundError, match="no item 'nothing'"):
        item_view(inspector, "nothing", 4)
    user = user_view(inspector, "user 1", 2)
    assert [each.boost for each in user.clauses] == sorted((each.boost for each in user.clauses), reverse=True)
    assert sum(user.shares.values()) == pytest.approx(1)
    assert user.seen == 5
    assert [each.item for each in user.latest] == [artifact.item_ids[i] for i in artifact.user_seen(1)[::-1][:2]]
    assert user_view(inspector, f"user {USERS - 1}", 2).clauses == ()
    with pytest.raises(NotFoundError, match="nobody"):
        user_view(inspector, "nobody", 2)


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize("node", SERVERS)
def test_generations_and_artifacts_compare_alike(
    request: pytest.FixtureRequest, artifact: Artifact, tmp_path: Path, node: str
) -> None:
    server = Server(ConnectionConfig(url=request.getfixturevalue(node).url))
    scorer = Scorer()
    scorer.table[4, :6] = [5, -1, 5, -1, 5, 5]
    other, foreign = (
        make_shelf(tmp_path / "other", scorer, "2001"),
        make_shelf(tmp_path / "foreign", Scorer(5, "feed02")),
    )
    names = [load(server, each, "differ") for each in (artifact, other)]
    old, new = (generation_contents(server, "differ", name) for name in (names[0], "live"))
    expected = diff(ArtifactContents(artifact), ArtifactContents(other), 5)
    for left, right in ((old, new), (ArtifactContents(artifact), new), (old, ArtifactContents(other))):
        found = diff(left, right, 5)
        assert (found.items, found.codes, found.postings) == (expected.items, expected.codes, expected.postings)
    assert expected.items.changed.examples == ("Z7",)
    assert expected.codes is not None
    assert expected.codes.changed.examples == ("4",)
    before, after = ({**dict(ArtifactContents(each).row("4"))} for each in (artifact, other))
    assert expected.postings == PostingChange(
        len(after.keys() - before.keys()),
        len(before.keys() - after.keys()),
        sum(before[item] != after[item] for item in before.keys() & after.keys()),
    )
    assert diff(old, ArtifactContents(foreign), 5).postings is None
    with pytest.raises(NotFoundError, match=f"no generation 'nothing' of differ; there are: {names[0]}, {names[1]}"):
        generation_contents(server, "differ", "nothing")
    for name in names:
        delete(server, "differ", name.removeprefix("differ-"))
    server.close()
