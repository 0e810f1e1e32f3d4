"""Profiles of codes: counts, quantiles, names and neighbours, against sums by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparcode_es.codes import ITEM_HEAD, ItemCodes, UserCodes
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.postings.frequent import Frequent
from sparcode_es.postings.grid import from_grid
from sparcode_es.postings.naming import Catalogue, attribute_features, phrases, short
from sparcode_es.postings.neighbours import CANDIDATES, NEIGHBOURS, STRANGERS, Neighbours
from sparcode_es.postings.profile import TOP_ITEMS, CodeProfile, Profiler
from sparcode_es.postings.survey import KEPT, survey
from sparcode_es.tables import StringTable

ITEMS, CODES, USERS = 120, 12, 9


class Scorer:
    """Few distinct scores, so that they tie; code 11 has none. Item codes remember the next two items."""

    num_items, num_possible_codes, shared_heads, bias = ITEMS, CODES, True, 0.0
    model_hash, codebook_hash = "aa", "bb"
    item_codes = ItemCodes(
        np.minimum(np.arange(ITEMS + 1) * 2, 2 * (ITEMS - 2)),
        np.array([[i + 1, i + 2] for i in range(ITEMS - 2)], dtype=np.uint32).ravel(),
        np.tile([2.0, 0.5], ITEMS - 2).astype(np.float32),
    )

    def __init__(self, seed: int = 0) -> None:
        self.table = np.random.default_rng(seed).integers(-4, 5, (CODES, ITEMS)).astype(np.float32)
        self.table[11] = -1

    def all_codes(self) -> np.ndarray:
        return np.stack([np.zeros(CODES), np.arange(CODES)], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        return self.table[codes[:, 1]][:, items]


class Seen:
    offsets = np.zeros(USERS + 1, dtype=np.uint64)
    items = np.zeros(0, dtype=np.uint32)


def made(folder: Path, documents: Sequence[dict[str, Any]], scorer: Any = None) -> Artifact:
    codes = np.zeros((3 * USERS, 2), dtype=np.uint32)
    codes[:, 1] = np.ravel([[u % 4, u % 3 + 4, u] for u in range(USERS)])
    codes[2::3, 0] = ITEM_HEAD
    return build_postings(
        scorer or Scorer(),
        folder,
        item_ids=StringTable.build(f"{'éa_Z'[i % 4]}{i}" for i in range(ITEMS)),
        item_docs=documents,
        user_ids=StringTable.build(f"u{u}" for u in range(USERS)),
        user_codes=UserCodes(
            np.arange(0, 3 * USERS + 1, 3).astype(np.uint64), codes, np.tile([1.0, 0.5, 0.25], USERS).astype(np.float32)
        ),
        user_seen=Seen(),
    )


NO_TITLES = [{"title": None, "attributes": {}} for _ in range(ITEMS)]


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return made(tmp_path_factory.mktemp("profile") / "p", NO_TITLES)


def test_counts_top_items_and_quantiles(artifact: Artifact) -> None:
    profiles = list(Profiler(artifact).profiles())
    assert [each.code for each in profiles] == [artifact.term(row) for row in range(artifact.num_codes)]
    for row, profile in enumerate(profiles):
        items, grid = artifact.postings(row)
        scores = {artifact.item_ids[i]: s for i, s in zip(items.tolist(), from_grid(grid).tolist(), strict=True)}
        best = sorted(scores, key=lambda item: (-scores[item], item.encode()))[:TOP_ITEMS]
        assert [(each.item, each.score) for each in profile.top_items] == [(item, scores[item]) for item in best]
        assert profile.items == len(scores)
        assert (profile.scores is None) == (not scores)
        if profile.scores:
            ordered = sorted(scores.values())
            places = {"min": 0.0, "p10": 0.1, "p50": 0.5, "p90": 0.9, "max": 1.0}
            assert profile.scores == {k: ordered[int(q * (len(ordered) - 1))] for k, q in places.items()}


def test_users_and_traffic(artifact: Artifact) -> None:
    profiles = {each.code: each for each in Profiler(artifact).profiles()}
    assert sum(each.traffic for each in profiles.values()) == pytest.approx(1)
    assert (profiles["0"].users, profiles["4"].users, profiles["item_0"].users, profiles["11"].users) == (3, 3, 1, 0)
    assert profiles["0"].traffic == pytest.approx(3 / (1.75 * USERS))
    assert profiles["item_0"].kind == "item"
    assert profiles["item_0"].item == artifact.item_ids[0]
    assert (profiles["0"].kind, profiles["0"].item) == ("learned", None)


def test_a_profile_is_read_back_as_it_was_written(artifact: Artifact) -> None:
    for profile in Profiler(artifact).profiles():
        assert CodeProfile.from_dict({**profile.as_dict(), "x": 0.5, "y": 0.1}) == profile


def test_some_profiles_are_those_of_all(artifact: Artifact) -> None:
    every = list(Profiler(artifact).profiles())
    assert list(Profiler(artifact).profiles([5, 0, 40])) == [every[5], every[0], every[40]]
    assert list(Profiler(artifact).profiles([])) == []


def test_a_fingerprint_is_that_of_the_postings(artifact: Artifact, tmp_path: Path) -> None:
    scorer = Scorer()
    scorer.table[3, 7] = 9 if scorer.table[3, 7] != 9 else 8
    other = made(tmp_path / "p", NO_TITLES, scorer)
    before, after = (list(Profiler(each).profiles()) for each in (artifact, other))
    changed = [a.code for a, b in zip(before, after, strict=True) if a.fingerprint != b.fingerprint]
    assert changed == ["3"]


def test_busiest_are_ordered_whatever_ties(artifact: Artifact) -> None:
    profiler = Profiler(artifact)
    every = list(profiler.profiles())
    expected = sorted(every, key=lambda each: (-each.traffic, -each.users, each.code))
    assert [artifact.term(row) for row in profiler.busiest(7)] == [each.code for each in expected[:7]]
    assert len(profiler.busiest(10_000)) == artifact.num_codes


def cosine(artifact: Artifact, left: int, right: int) -> float:
    dense = np.zeros((2, ITEMS))
    for row, out in zip((left, right), dense, strict=True):
        items, grid = artifact.postings(row)
        out[items] = from_grid(grid)
    return float(dense[0] @ dense[1] / np.linalg.norm(dense[0]) / np.linalg.norm(dense[1]))


def test_neighbours_have_their_cosine_and_come_nearest_first(artifact: Artifact) -> None:
    rows = np.arange(artifact.num_codes)
    found = Neighbours(artifact, survey(artifact)).of(rows)
    for row, near in zip(rows.tolist(), found, strict=True):
        assert row not in {other for other, _ in near}
        assert len(near) <= NEIGHBOURS
        assert near == sorted(near, key=lambda pair: (-pair[1], pair[0]))
        for other, value in near:
            assert value == pytest.approx(cosine(artifact, row, other), abs=2e-6)
    assert found[11] == [], "a code without postings has no neighbours"
    assert all(found[row] for row in range(11))


def test_a_copy_of_a_code_is_its_nearest(tmp_path: Path) -> None:
    scorer = Scorer(3)
    scorer.table[9] = 2 * scorer.table[2]
    artifact = made(tmp_path / "p", NO_TITLES, scorer)
    nearest = Neighbours(artifact, survey(artifact)).of(np.array([2, 9]))
    assert [near[0] for near in nearest] == [(9, 1.0), (2, 1.0)]


def test_pairs_grow_with_the_codes_and_not_with_their_square(
    artifact: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = []
    cosines = Neighbours._cosines

    def counted(self: Neighbours, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        compared.append(len(left))
        return cosines(self, left, right)

    monkeypatch.setattr(Neighbours, "_cosines", counted)
    list(Profiler(artifact).profiles())
    assert 0 < sum(compared) <= (CANDIDATES + STRANGERS) * artifact.num_codes


def test_rows_longer_than_what_is_kept_are_cut_at_the_best(artifact: Artifact) -> None:
    found = survey(artifact)
    long = int(np.argmax(found.counts))
    assert found.counts[long] > KEPT
    items, grid = found.top(long, 1000)
    assert len(items) == KEPT
    assert (np.sort(artifact.postings(long)[1])[::-1][:KEPT] == grid).all()


def test_names_without_anything_to_say(artifact: Artifact) -> None:
    profiles = {each.code: each for each in Profiler(artifact).profiles()}
    assert profiles["3"].name == "3"
    assert profiles["11"].name == "11"
    assert profiles["item_5"].name == f"after {artifact.item_ids[5]}"


def star_wars(item: int) -> dict[str, Any]:
    if item < 8:
        return {
            "title": f"Star Wars {item}: Part (197{item})",
            "attributes": {"genre": ["Sci-Fi", "War"], "year": f"197{item}"},
        }
    genres = ["Drama", "Comedy", "War"] if item % 9 == 0 else ["Drama", "Comedy"]
    return {"title": f"Film {item} of the Year", "attributes": {"genre": genres, "year": str(1980 + item % 20)}}


class Planted(Scorer):
    """Code 0 likes items 0 to 7, code 1 item 50 alone."""

    item_codes = None

    def __init__(self) -> None:
        self.table = np.full((CODES, ITEMS), -1, dtype=np.float32)
        self.table[0, :8] = np.arange(8, 0, -1)
        self.table[1, 50] = 1


def test_a_name_says_what_the_best_items_share_and_the_catalogue_does_not(tmp_path: Path) -> None:
    scorer = Planted()
    artifact = made(tmp_path / "p", [star_wars(item) for item in range(ITEMS)], scorer)
    profiles = {each.code: each for each in Profiler(artifact).profiles()}
    assert profiles["0"].name == "Sci-Fi 70s · Star Wars"
    assert profiles["1"].name == "Film 50 of the Year"
    assert profiles["2"].name == "2"


WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
DOCUMENTS = st.fixed_dictionaries(
    {
        "title": st.none() | st.lists(WORDS, max_size=5).map(" ".join),
        "attributes": st.dictionaries(
            st.sampled_from(["genre", "year", "price"]), WORDS | st.lists(WORDS, max_size=3) | st.integers(1800, 2100)
        ),
    }
)


class Shelf:
    """Stands for an artifact that has documents alone."""

    def __init__(self, documents: list[dict[str, Any]]) -> None:
        self.documents, self.num_items = documents, len(documents)

    def item_doc(self, item: int) -> dict[str, Any]:
        return self.documents[item]


@settings(max_examples=30)
@given(st.lists(DOCUMENTS, min_size=1, max_size=12), st.data())
def test_any_documents_have_names_and_always_the_same(documents: list[dict[str, Any]], data: st.DataObject) -> None:
    items = data.draw(st.lists(st.sampled_from(range(len(documents))), unique=True))
    shuffled = [
        {"title": each["title"], "attributes": dict(reversed(each["attributes"].items()))} for each in documents
    ]
    first, second = (Catalogue(Shelf(each)).name(items) for each in (documents, shuffled))  # type: ignore[arg-type]
    assert first == second
    if first is not None:
        assert first.strip()
        assert "\n" not in first
        assert len(first) < 110


@given(st.lists(st.lists(st.integers(0, 30), unique=True, max_size=6), max_size=60), st.integers(1, 40))
def test_counts_in_bounded_memory(met: list[list[int]], most: int) -> None:
    counts: Frequent[int] = Frequent(most)
    for each in met:
        counts.add(each)
        assert len(counts) <= most
    exact = Counter(number for each in met for number in each)
    assert all(exact[number] <= counts[number] <= exact[number] + counts.missed for number in range(31))
    if len(exact) <= most:
        assert counts.missed == 0


def test_a_catalogue_too_large_to_count_exactly_still_has_names() -> None:
    """Eight titles share a phrase among hundreds whose words occur once."""
    titles = [f"Star Wars x{i}y" if i % 50 == 0 else f"a{i}b c{i}d e{i}f g{i}h" for i in range(400)]
    shelf: Any = Shelf([{"title": title, "attributes": {"genre": "War"}} for title in titles])
    items = range(0, 400, 50)
    exact, bounded = Catalogue(shelf), Catalogue(shelf, most=100)
    assert len(bounded._counts) <= 100
    assert bounded.name(items) == exact.name(items) == "Star Wars"


def test_features() -> None:
    attributes = {"genre": ["a", "b"], "year": 1994, "isbn": "x  y", "born": "1805", "empty": "", "none": None}
    assert list(attribute_features(attributes)) == [
        ("genre", "a"),
        ("genre", "b"),
        ("decade", "90s"),
        ("isbn", "x y"),
        ("decade", "1800s"),
    ]
    assert phrases("The Cable Guy (1996): Part 2 Extended") == {
        "the": "The",
        "cable": "Cable",
        "guy": "Guy",
        "the cable": "The Cable",
        "cable guy": "Cable Guy",
        "part": "Part",
        "extended": "Extended",
        "part extended": "Part Extended",
    }
    assert phrases(None) == {}
    assert short("a" * 60) == "a" * 47 + "…"
