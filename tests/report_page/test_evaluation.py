"""Evaluations of several systems: read, compared where they may be, shown beside each other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluated import printed, write_evaluation
from html_page import Page
from sparcode_es.errors import DataError, MismatchError
from sparcode_es.report.collect import Wanted, collect
from sparcode_es.report.evaluation import read_evaluations
from sparcode_es.report.latency import percentiles
from sparcode_es.report.page import page
from training_folder import LOG, write


def test_systems_beside_each_other(tmp_path: Path) -> None:
    files = [
        write_evaluation(tmp_path / f"{name}.json", name, value) for name, value in (("sparcode", 0.4), ("pop", 0.2))
    ]
    report = collect(Wanted("two", "now", evaluations=files))
    assert report.evaluation is not None
    assert report.sections() == ["evaluation"]
    assert [each.system for each in report.evaluation.systems] == ["sparcode", "pop"]
    first = report.evaluation.systems[0]
    assert [(each.low, each.high, each.cases) for each in first.slices["history"]] == [(1, 5, 6), (6, 9, 4)]
    assert first.slices["history"][1].metrics["unseen"]["ndcg@20"] == 0.2
    found = Page(page(report))
    found.check_alone()
    assert "10 cases of the test split of shop" in found.text()
    bold = [data for path, data in found.texts if path[-1:] == ("b",)]
    # 8 numbers of each of 1 + 2 + 1 rows of the better system.
    assert bold == ["40.00\u00a0%"] * 16 + ["20.00\u00a0%"] * 8 + ["40.00\u00a0%"] * 8
    bars = {data for path, data in found.texts if path[-2:] == ("rect", "title")}
    assert bars == {
        "1–5: 40.00% sparcode",
        "1–5: 20.00% pop",
        "6–9: 20.00% sparcode",
        "6–9: 10.00% pop",
    }


def test_one_system_has_nothing_in_bold(tmp_path: Path) -> None:
    found = Page(
        page(collect(Wanted("one", "now", evaluations=[write_evaluation(tmp_path / "a.json", "sparcode", 0)])))
    )
    assert not list(found.named("b"))


def test_those_of_a_training(tmp_path: Path) -> None:
    """Where none is named; models of one name are told apart by their files."""
    folder = write(tmp_path / "run", LOG)
    assert collect(Wanted("none", "now", folder)).evaluation is None
    for name in ("evaluation", "evaluation-cut", "other"):
        write_evaluation(folder / f"{name}.json", "sparcode", 0.1)
    found = collect(Wanted("some", "now", folder)).evaluation
    assert found is not None
    assert [each.system for each in found.systems] == ["sparcode (evaluation-cut)", "sparcode (evaluation)"]
    named = collect(Wanted("named", "now", folder, evaluations=[folder / "other.json"])).evaluation
    assert named is not None
    assert [each.system for each in named.systems] == ["sparcode"]


NONE: dict[str, Any] = {"slices": {"history": [], "popularity": []}}


@pytest.mark.parametrize(
    "other",
    [{"data": "games"}, {"data_hash": "00"}, {"split": "valid"}, {"cases": 11}, {"convention": "deezer"}, NONE],
)
def test_only_the_same_cases_compare(tmp_path: Path, other: dict[str, Any]) -> None:
    files = [write_evaluation(tmp_path / "a.json", "a", 0.1), write_evaluation(tmp_path / "b.json", "b", 0.1, **other)]
    with pytest.raises(MismatchError, match=r"a\.json is of 10 cases .*b\.json of") as raised:
        read_evaluations(files)
    assert "\n" not in str(raised.value)
    assert ("other slices" in str(raised.value)) == ("slices" in other)


ALL = printed("m", 0.1)["all"]
WRONG: list[tuple[str, Any]] = [
    ("model", 3),
    ("cases", -1),
    ("cases", True),
    ("cases", 1 << 80),
    ("all", {}),
    ("all", dict.fromkeys(ALL, 2)),
    ("unseen", dict.fromkeys(ALL, float("nan"))),
    ("slices", []),
    ("slices", {"history": [{}]}),
]
BAD = [
    *(b"", b"[]", b"null", b"{", b"\xff\xfe", b"NaN", b"[" * 100_000),
    b'{"split": "test", "cases": 3, "all": {}, "unseen": {}}',
    *(json.dumps(printed("m", 0.1) | {name: value}).encode() for name, value in WRONG),
]


@pytest.mark.parametrize("content", BAD)
def test_what_is_no_evaluation(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    with pytest.raises(DataError, match=r"bad\.json is not what `sparcode-es evaluate --json`"):
        read_evaluations([tmp_path / "bad.json"])


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "nowhere.json", tmp_path):
        with pytest.raises(DataError, match="cannot read"):
            read_evaluations([path])
    assert read_evaluations([]) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=300))
def test_percentiles_are_measured_values(values: list[float]) -> None:
    found = percentiles(np.array(values))
    assert list(found) == ["p50", "p95", "p99"]
    assert list(found.values()) == sorted(found.values())
    assert set(found.values()) <= set(values)
    assert sum(value <= found["p95"] for value in values) >= 0.95 * len(values)
