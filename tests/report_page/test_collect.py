"""A report's numbers are those of the place that it is of: an artifact, or an index on a real server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines.shelf import CODES, ITEMS, Scorer, make_shelf
from html_page import Page
from sparcode_es.codes import ITEM_HEAD
from sparcode_es.config import to_mapping
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import live_generation
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.errors import MismatchError, NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.profile import ITEM, LEARNED
from sparcode_es.report.collect import Wanted, collect
from sparcode_es.report.facts import Example, Report
from sparcode_es.report.holding import ArtifactHolding, Holding, ScoreCounts
from sparcode_es.report.indexed import IndexHolding
from sparcode_es.report.latency import latency_of
from sparcode_es.report.page import page
from sparcode_es.report.sections import histogram, perplexity, quantiles_of

MARKS = (pytest.mark.slow, pytest.mark.elasticsearch)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return make_shelf(tmp_path_factory.mktemp("report") / "postings")


@pytest.fixture(
    scope="module",
    params=["embedded", *(pytest.param(name, marks=MARKS) for name in ("elasticsearch_7", "elasticsearch_9"))],
)
def holding(request: pytest.FixtureRequest, artifact: Artifact) -> Iterator[Holding]:
    if request.param == "embedded":
        yield ArtifactHolding(artifact)
        return
    server = Server(ConnectionConfig(url=str(request.getfixturevalue(request.param).url)))
    index(server, artifact, IndexOptions("told-of"), lambda what, more, total: None)
    yield IndexHolding(server, "told-of")
    delete(server, "told-of", live_generation(server, "told-of") or "")
    server.close()


@pytest.fixture(scope="module")
def report(holding: Holding) -> Report:
    return collect(Wanted("a shelf", "now", holdings=[holding], examples=3))


def learned(artifact: Artifact) -> np.ndarray:
    return np.asarray(artifact.codes[:, 0]) != ITEM_HEAD


def test_the_place(report: Report, holding: Holding, artifact: Artifact) -> None:
    (place,) = report.places
    assert (place.model_hash, place.codebook_hash) == (artifact.model_hash, artifact.codebook_hash)
    assert place.counts == to_mapping(artifact.manifest.counts)
    assert place.sparsity == pytest.approx(artifact.manifest.sparsity)
    assert place.bias == artifact.manifest.bias
    assert place.bytes is not None
    assert place.bytes > 0
    assert report.sections() == ["places", "usage", "code_map", "scores", "documents", "examples"]


def test_latency(holding: Holding) -> None:
    """On the engine that the report is of. Nothing is said of how long it took: that is the machine's affair."""
    found = latency_of(holding, 7, "now")
    assert found is not None
    place = holding.place()
    assert (found.engine, found.where, found.requests, found.users, found.k) == (place.engine, place.where, 7, 7, 10)
    assert re.fullmatch(r"(sparcode-es|Elasticsearch) \d+\.\d+\.\d+", found.version)
    assert list(found.milliseconds) == ["p50", "p95", "p99"]
    assert 0 < found.milliseconds["p50"] <= found.milliseconds["p95"] <= found.milliseconds["p99"]
    assert "cores" in found.machine
    assert latency_of(holding, 0, "now") is None


def test_usage(report: Report, artifact: Artifact) -> None:
    usage = report.usage
    assert usage is not None
    counts = np.diff(artifact.code_offsets.astype(np.int64))
    users = np.bincount(artifact.user_codes, minlength=artifact.num_codes)
    for kind, rows in ((LEARNED, learned(artifact)), (ITEM, ~learned(artifact))):
        found = usage.kinds[kind]
        assert (found.codes, found.postings) == (rows.sum(), counts[rows].sum())
        assert (found.with_users, found.with_items) == ((users[rows] > 0).sum(), (counts[rows] > 0).sum())
        for histograms, values in ((usage.items, counts), (usage.users, users)):
            (layer,) = histograms[kind].layers.values()
            assert sum(layer) == rows.sum()
            assert layer == tuple(np.histogram(values[rows], histograms[kind].edges)[0])
        curve = usage.cumulative[kind]
        assert (curve[0], curve[-1]) == ((0.0, 0.0), (1.0, pytest.approx(1.0)))
        assert list(curve) == sorted(curve)
    assert sum(kind.traffic for kind in usage.kinds.values()) == pytest.approx(1)
    assert usage.dead.items_without_postings.count == artifact.manifest.counts.items_without_postings == 10
    traffic = [profile.traffic for profile in usage.busiest]
    assert traffic == sorted(traffic, reverse=True)
    assert usage.perplexity is not None
    assert 0.3 < usage.perplexity < 1


def test_scores(report: Report, holding: Holding, artifact: Artifact) -> None:
    scores = report.scores
    assert scores is not None
    border = int(artifact.code_offsets[int(learned(artifact).sum())])
    values = from_grid(np.asarray(artifact.scores)).astype(np.float64)
    for kind, own in ((LEARNED, values[:border]), (ITEM, values[border:])):
        ordered = np.sort(own)
        expected = {"min": ordered[0], "p50": ordered[int(0.5 * (len(own) - 1))], "max": ordered[-1]}
        found = scores.quantiles[kind]
        assert sum(scores.histogram.layers[kind]) == pytest.approx(len(own))
        if scores.exact:
            assert expected.items() <= found.items()
            assert scores.histogram.layers[kind] == tuple(np.histogram(own, scores.histogram.edges)[0])
        else:
            # Each code's own quantiles are exact, what lies between them is not.
            assert found == pytest.approx(found | expected, rel=0.35, abs=0.05)
    start, end = scores.sparsity[0], scores.sparsity[-1]
    assert start == (0.0, pytest.approx(artifact.manifest.sparsity))
    assert end[1] == pytest.approx(1, abs=2 / (CODES * ITEMS))
    cut, share = scores.sparsity[60]
    if scores.exact:
        assert share == pytest.approx(1 - (values[:border] >= cut).sum() / (CODES * ITEMS))
    assert [y for _, y in scores.sparsity] == sorted(y for _, y in scores.sparsity)


def test_documents(report: Report, artifact: Artifact) -> None:
    counts = np.bincount(artifact.item_numbers, minlength=ITEMS)
    found = report.documents
    assert found is not None
    assert (found.items, found.without) == (ITEMS, 10)
    assert found.mean == pytest.approx(counts.mean())
    assert found.quantiles["max"] == counts.max()
    assert found.quantiles["p50"] == np.sort(counts)[int(0.5 * (ITEMS - 1))]
    assert found.histogram.layers["items"] == tuple(np.histogram(counts, found.histogram.edges)[0])


def test_the_map(report: Report, artifact: Artifact) -> None:
    found = report.code_map
    assert found is not None
    assert found.codes == CODES
    # Code 19 has no postings, and so no place.
    assert sorted(point.code for point in found.points) == sorted(str(code) for code in range(CODES) if code != 19)
    assert 0 < found.explained[1] <= found.explained[0] < 1
    for point in found.points:
        row = artifact.code_row(point.code)
        assert row is not None
        assert point.items == len(artifact.postings(row)[0])
        assert point.name
        assert len(point.top) == 3


def test_examples(report: Report, artifact: Artifact) -> None:
    assert report.examples is not None
    assert len(report.examples) == 3
    engine = EmbeddedEngine(artifact)
    for example in report.examples:
        entry = engine.user(example.user)
        assert example.seen == len(entry.seen)
        assert [each.item for each in example.latest] == list(reversed(entry.seen[-8:]))
        expected = engine.search(Query(entry.clauses, 8, exclude=frozenset(entry.seen)))
        assert [each.item for each in example.items] == [hit.item for hit in expected]
        assert sum(each.value for each in example.codes) == pytest.approx(1)
        for item, hit in zip(example.items, expected, strict=True):
            assert item.score == pytest.approx(hit.score, rel=1e-6)
            assert sum(reason.value for reason in item.reasons) == pytest.approx(item.score, rel=1e-5)
            assert [each.value for each in item.reasons] == sorted((r.value for r in item.reasons), reverse=True)


def test_places_hold_the_same_users(holding: Holding, artifact: Artifact) -> None:
    ids = sorted(artifact.user_ids, key=str.encode)
    assert holding.users([0, 3, 13]) == [ids[0], ids[3], ids[13]]


def test_named_users(holding: Holding) -> None:
    found = collect(Wanted("t", "now", holdings=[holding], users=("user 13", "user 2"))).examples
    assert found is not None
    assert found[0] == Example("user 13", 0, (), (), ())
    assert found[1].user == "user 2"
    with pytest.raises(NotFoundError, match="nobody"):
        collect(Wanted("t", "now", holdings=[holding], users=("nobody",)))


def test_the_page_says_the_numbers(report: Report, artifact: Artifact) -> None:
    found = Page(page(report))
    found.check_alone()
    shown = found.text()
    for text in (artifact.model_hash, f"{artifact.num_postings:,}", "Évil ␛[31mred\\u202e", "user 1"):
        assert text in shown
    assert [each["id"] for each in found.named("section")] == [
        "examples",
        "map",
        "usage",
        "scores",
        "documents",
        "facts",
    ]
    dots = [each for each in found.named("circle") if str(each.get("class")).startswith("k")]
    assert len(dots) == CODES - 1


def test_two_places_of_one_model(artifact: Artifact, tmp_path: Path) -> None:
    again = ArtifactHolding(make_shelf(tmp_path / "again", attribute="2001"))
    assert len(collect(Wanted("t", "now", holdings=[ArtifactHolding(artifact), again], examples=0)).places) == 2
    foreign = ArtifactHolding(make_shelf(tmp_path / "foreign", Scorer(1, "feed02")))
    with pytest.raises(MismatchError, match=r"feed01, .* of model feed02"):
        collect(Wanted("t", "now", holdings=[ArtifactHolding(artifact), foreign]))


def test_learned_codes_without_a_posting(tmp_path: Path) -> None:
    """A low bias, or a training from which nothing could be learned, leaves the item codes alone."""
    scorer = Scorer()
    scorer.table[:] = -1
    found = collect(Wanted("t", "now", holdings=[ArtifactHolding(make_shelf(tmp_path / "postings", scorer))]))
    assert found.scores is not None
    assert (found.scores.sparsity, list(found.scores.quantiles)) == ((), [ITEM])
    assert list(found.scores.histogram.layers) == [ITEM]
    assert found.code_map is None
    Page(page(found)).check_alone()


def test_nothing_named_is_an_empty_report() -> None:
    assert collect(Wanted("t", "now")).sections() == []


def test_perplexity() -> None:
    assert perplexity(np.full(8, 0.1)) == pytest.approx(1)
    assert perplexity(np.array([0.0, 0.0, 0.7, 0.0])) == pytest.approx(0.25)
    assert perplexity(np.zeros(3)) is None


def test_histograms() -> None:
    found = histogram({"n": np.array([0, 0, 3, 99])})
    assert found.edges[:3] == (0.0, 3.0, 6.0)
    assert (sum(found.layers["n"]), found.layers["n"][:2]) == (4, (2.0, 1.0))
    assert histogram({}).layers == {}
    weighted = histogram({"a": np.array([0.5, 1.0])}, {"a": np.array([2.0, 3.0])})
    assert (weighted.edges[-1], sum(weighted.layers["a"])) == (1.0, 5.0)


def test_quantiles_of_counted_values() -> None:
    rng = np.random.default_rng(0)
    numbers = np.sort(rng.integers(0, 30, 101))
    values, counts = np.unique(numbers, return_counts=True)
    found = quantiles_of(ScoreCounts(values.astype(float), counts.astype(float)))
    assert found == {"min": numbers[0], "p10": numbers[10], "p50": numbers[50], "p90": numbers[90], "max": numbers[-1]}
