"""A thousand damaged and hostile inputs: accepted, or refused in a sentence. `make fuzz` has the hundred thousand."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from sparcode_es.errors import SparcodeError

# Libraries leave files to the collector where a reader of theirs fails.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
SHARES = {
    "csv, tsv": 90, "parquet": 60, "sequences": 90, "movielens": 90, "side tables": 60, "deezer, vectors": 1, "data folder": 120,
    "artifact": 120, "training folder": 90, "checkpoint": 60, "encoder": 40, "configuration": 90, "http requests": 60,
    "command line": 30, "answers": 90,
}  # fmt: skip
FOUND = {
    "movielens": [0, 2, 11, 2393],  # zlib's errors, an archive without its directory
    "data folder": [
        10,
        23,
        148,
        212,
        1525,
    ],  # files that are no tables; numpy's header parser; counts and titles that lack
    "artifact": [249, 267, 1096, 1500, 2143, 2275, 31359],  # item numbers that ask for 22 GiB, or point nowhere
    "sequences": [1004],  # identifiers of 5,000 digits
    "csv, tsv": [1084],  # no header
    "side tables": [
        782,
        10756,
        11168,
        68233,
    ],  # a lone surrogate in a feature; Parquet with damaged metadata of pandas, or text
    "parquet": [1261],  # texts that are not UTF-8
    "http requests": [11],  # NaN in what is refused
    "answers": [
        2,
        13,
        21,
        5376,
        10266,
        54298,
    ],  # nesting without end, codes without terms, an infinite boost, odd names
    "checkpoint": [30142, 31098],  # no attention heads; offsets of a sparse table that point outside it
    "configuration": [50490],  # one key of two thousand parts, twice
    "encoder": [101, 112, 124, 243],  # metadata of other types; ten to the thirty codes a token
}
"""Cases that were defects once."""


def run(target: str, seed: int, seeds: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    from mutation.targets import run_case

    monkeypatch.setenv("SPARCODE_DEBUG", "1")
    # A damaged argument may be the name of a file to write.
    monkeypatch.chdir(work)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            run_case(target, seed, seeds, work)
        except SparcodeError as error:
            return "refused" if str(error).strip() else pytest.fail(f"{target} {seed}: refused without a word")
        except Exception as error:
            pytest.fail(f"python benchmarks/fuzz.py --repeat '{target}' {seed}: {type(error).__name__}: {error}")
    return "accepted"


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("target", SHARES)
def test_no_damage_is_a_traceback(target: str, seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes = [run(target, seed, seeds, tmp_path, monkeypatch) for seed in range(SHARES[target])]
    assert len(outcomes) == 1 or "refused" in outcomes


@pytest.mark.slow
@pytest.mark.parametrize(("target", "seed"), [(target, seed) for target, found in FOUND.items() for seed in found])
def test_what_was_found_stays_mended(
    target: str, seed: int, seeds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(target, seed, seeds, tmp_path, monkeypatch)


@pytest.mark.slow
def test_every_target_takes_part_and_a_case_is_its_number(seeds: Path, tmp_path: Path) -> None:
    from mutation.mutate import mutate_bytes, mutate_value
    from mutation.targets import TARGETS, generator

    assert SHARES.keys() == TARGETS.keys()
    assert sum(SHARES.values()) >= 1000
    draws: list[Any] = [mutate_bytes(generator("x", 7), bytes(range(256))) for _ in range(2)]
    assert draws[0] == draws[1] != mutate_bytes(generator("x", 8), bytes(range(256)))
    value = {"a": [1, {"b": "c"}], "d": None}
    assert repr(mutate_value(generator("y", 1), value)) == repr(mutate_value(generator("y", 1), value))
    assert value == {"a": [1, {"b": "c"}], "d": None}


@pytest.mark.slow
def test_the_workers_count_what_breaks(seeds: Path, tmp_path: Path) -> None:
    from fuzz import Tally, fuzz, table

    tally = fuzz("configuration", 0, 5, seeds, tmp_path / "work")
    assert tally.cases == 5
    assert not tally.found
    assert 0 < tally.peak_mib < 1024
    broken = Tally("x")
    for case in (
        {"outcome": "traceback"},
        {"outcome": "hang"},
        {"outcome": "refused", "peak_mib": 2000.0},
        {"outcome": "crash"},
    ):
        broken.add(case)
    assert table([broken])[2] == "| x | 4 | 0 | 0 | 2 | 1 | 1 | 2000 |"
