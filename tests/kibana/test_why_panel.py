"""The panel "Why this item for this user": what it asks with a dashboard's filters, and what it adds up, on real servers."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import vl_convert

from engines.shelf import make_shelf
from kibana.drawn import ALIAS, EVERYTHING, Shown, answered, keep
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.engine import ElasticsearchEngine
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.inspector import ElasticsearchInspector
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.engines.inspector import Reasons
from sparcode_es.postings.artifact import Artifact

pytestmark = [pytest.mark.slow, pytest.mark.elasticsearch]
PHRASES = {"user": "user 3", "item": "a1"}


def context(*filters: dict[str, Any], **others: list[dict[str, Any]]) -> dict[str, Any]:
    return {"bool": {**EVERYTHING["bool"], "filter": list(filters), **others}}


def phrase(field: str, value: str) -> dict[str, Any]:
    """A filter pill, or what a control makes."""
    return {"match_phrase": {field: value}}


def any_of(*clauses: dict[str, Any]) -> dict[str, Any]:
    return {"bool": {"should": list(clauses), "minimum_should_match": 1}}


def chosen(user: str, item: str) -> dict[str, Any]:
    return context(phrase("user", user), phrase("item", item))


@dataclass(frozen=True)
class Panel(Shown):
    artifact: Artifact
    inspector: ElasticsearchInspector

    def drawn(self, dashboard: dict[str, Any]) -> list[str]:
        return drawn(self.sources("why", dashboard))

    def reasons(self, user: str, item: str) -> Reasons:
        return self.inspector.reasons(Query(self.inspector.engine.user(user).clauses, k=1), item)


def drawn(answers: dict[str, Any]) -> list[str]:
    """Every text of the panel, column by column."""
    svg = vl_convert.vega_to_svg(answered("why", answers))
    return [html.unescape(text) for text in re.findall(r"<text[^>]*>([^<]*)</text>", svg)]


@pytest.fixture(scope="module", params=["elasticsearch_7", "elasticsearch_9"])
def panel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Panel]:
    server = Server(ConnectionConfig(url=request.getfixturevalue(request.param).url))
    artifact = make_shelf(tmp_path_factory.mktemp("why") / "postings")
    index(server, artifact, IndexOptions(ALIAS, store_codes=True), lambda what, more, total: None)
    yield Panel(server, artifact, ElasticsearchInspector(ElasticsearchEngine(server, ALIAS)))
    delete(server, ALIAS, live_generation(server, ALIAS) or "")
    server.close()


@pytest.mark.parametrize(("user", "item"), [("user 3", "a1"), ("user 0", "_2"), ("user 12", "Z3"), ("user 5", "é100")])
def test_the_sum_is_the_engines_score(panel: Panel, user: str, item: str) -> None:
    reasons = panel.reasons(user, item)
    texts = panel.drawn(chosen(user, item))
    clauses = panel.inspector.engine.user(user).clauses
    count = len(clauses)
    _, _, _, _, *rows = texts
    labels, boosts, scores, added = (rows[i * count : (i + 1) * count] for i in range(4))
    posted = {each.contribution.term: each for each in reasons.parts}
    assert len(posted) > 0
    names = panel.inspector.codes([each.term for each in clauses])
    for clause, label, boost, score, product in zip(clauses, labels, boosts, scores, added, strict=True):
        assert label.split(" · ")[0] == clause.term
        assert label == clause.term or label.endswith("…") or names[clause.term].name.split()[0] in label
        assert float(boost) == pytest.approx(clause.boost, abs=6e-6)
        if clause.term in posted:
            assert float(score) * float(boost) == pytest.approx(float(product), rel=1e-2, abs=1e-4)
            assert float(product) == pytest.approx(posted[clause.term].value, rel=1e-6, abs=6e-6)
        else:
            assert (score, product) == ("no posting", "0")
    said, total = rows[4 * count : 4 * count + 2]
    assert said == "sum = the score"
    assert float(total) == pytest.approx(reasons.score, rel=1e-6, abs=6e-6)
    assert texts[-1] == f"score {total}, the sum over {len(posted)} of the user's {count} codes"
    assert texts[-2].endswith(f"for user {user}")
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e]", "".join(texts))


def test_however_they_are_chosen(panel: Panel) -> None:
    """Pills and controls as 8 and 9 send them; with the match_all that 7.17 has for an empty search bar; KQL; Lucene."""
    user, item = (phrase(field, value) for field, value in PHRASES.items())
    words = [any_of({"match": {field: value}}) for field, value in PHRASES.items()]
    lucene = {"query_string": {"query": 'user:"user 3" item:"a1"', "analyze_wildcard": True}}
    pills = panel.drawn(context(user, item))
    assert pills[-1].startswith("score ")
    assert panel.drawn(context({"match_all": {}}, user, item)) == pills
    assert panel.drawn(context(any_of(*words))) == pills
    assert panel.drawn(context(item, any_of({"match": {"user": "user 3"}}))) == pills
    assert panel.drawn(context(must=[lucene])) == pills


@pytest.mark.parametrize("empty", [[], [{"match_all": {}}]])
def test_what_is_missing_is_said(panel: Panel, empty: list[dict[str, Any]]) -> None:
    user, item = (phrase(field, value) for field, value in PHRASES.items())
    for filters in ([], [item], [phrase("user", "nobody"), item], [any_of(phrase("user", "user 1"), user), item]):
        assert panel.drawn(context(*empty, *filters))[-2].startswith("Choose a user above")
    for filters in ([user], [user, phrase("item", "nothing")]):
        assert panel.drawn(context(*empty, *filters))[-2].startswith("Choose an item above")
    nobody = panel.drawn(context(*empty, phrase("user", "user 13"), item))
    assert nobody[-1] == "This user has no codes, so nothing is recommended to them."
    bare = panel.drawn(context(*empty, user, phrase("item", "é140")))
    assert "This item has no postings, so nobody is recommended it." in bare


def test_an_index_that_does_not_show_codes(panel: Panel) -> None:
    answers = panel.sources("why", chosen(*PHRASES.values()))
    (hit,) = answers["items"]["hits"]["hits"]
    del hit["_source"]["codes"]
    assert "Load the index with   sparcode-es index --store-codes" in drawn(answers)


def test_the_picture(panel: Panel) -> None:
    png = bytes(vl_convert.vega_to_png(answered("why", panel.sources("why", chosen(*PHRASES.values())))))
    assert len(png) > len(vl_convert.vega_to_png(answered("why", panel.sources("why")))), "the answer is not in it"
    keep("why", png)
