"""The worked example of docs/elasticsearch.md: its numbers recomputed, and asked of real servers; the picture of it."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from doc_pages import PAGES, ROOT, story
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server

PAGE = "docs/elasticsearch.md"
REQUEST = re.compile(r"^(PUT|POST|GET) (\S+)\n(.*?)(?=^\w+ \S+\n|\Z)", re.DOTALL | re.MULTILINE)


def table() -> list[tuple[str, str, float]]:
    """item, sum, score of the page's table."""
    rows = re.findall(r"^\| (i\d) \| ([\d.×+ ]+) \| ([\d.]+) \|$", PAGES[PAGE], re.MULTILINE)
    return [(item, text, float(score)) for item, text, score in rows]


def requests(name: str) -> list[tuple[str, str, Any]]:
    (block,) = story(PAGE, f"console {name}")
    return [(way, path, json.loads(body) if body.strip() else None) for way, path, body in REQUEST.findall(block.text)]


def boosts(clauses: list[Any]) -> dict[str, float]:
    """Term → boost of either kind of clause."""
    found = {}
    for each in clauses:
        if "term" in each:
            found[each["term"]["codes"]["value"]] = each["term"]["codes"]["boost"]
        else:
            assert each["rank_feature"]["linear"] == {}
            found[each["rank_feature"]["field"].removeprefix("codes.")] = each["rank_feature"]["boost"]
    return found


@pytest.mark.parametrize("name", ["rank_features", "sparse_vector"])
def test_the_sums_are_recomputed(name: str) -> None:
    asked = requests(name)
    documents = {body["item"]: body["codes"] for _, path, body in asked if "/_doc/" in path}
    weights = boosts(asked[-1][2]["query"]["bool"]["should"])
    sums = {item: sum(weights[term] * score for term, score in codes.items()) for item, codes in documents.items()}
    assert sorted(sums.items(), key=lambda each: -each[1]) == [(item, score) for item, _, score in table()]


def test_the_table_says_how_each_score_comes_about() -> None:
    assert len(table()) == 4
    for _, text, score in table():
        products = [[float(number) for number in part.split("×")] for part in text.split("+")]
        assert sum(a * b for a, b in products) == score


def test_the_picture_has_the_same_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import flow_picture

    assert list(flow_picture.sums(flow_picture.BOOSTS, flow_picture.POSTINGS).items()) == [
        (item, score) for item, _, score in table()
    ]
    assert (ROOT / "docs" / "pictures" / "flow.svg").read_text("utf-8") == flow_picture.flow()
    sys.modules.pop("flow_picture")


@pytest.mark.slow
@pytest.mark.elasticsearch
@pytest.mark.parametrize(("node", "name"), [("elasticsearch_7", "rank_features"), ("elasticsearch_9", "sparse_vector")])
def test_real_servers_give_these_scores(node: str, name: str, request: pytest.FixtureRequest) -> None:
    server = Server(ConnectionConfig(url=request.getfixturevalue(node).url))
    asked = requests(name)
    answers = [server.call("POST" if way == "GET" else way, f"/{path}", body) for way, path, body in asked]
    hits = answers[-1]["hits"]["hits"]
    assert [(hit["_id"], hit["_score"]) for hit in hits] == [(item, score) for item, _, score in table()]
    server.call("DELETE", "/toy")
    server.close()


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "pictures").iterdir()), ids=lambda path: path.name)
def test_pictures_are_small_and_shown(path: Path) -> None:
    assert path.stat().st_size < 150_000
    assert any(f"pictures/{path.name}" in page for page in PAGES.values())
