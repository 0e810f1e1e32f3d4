"""Every benchmark says what it does; a smallest run of a table and of a figure, whole."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from benchmarks.tiny import BENCHMARKS, TINY, import_sequences
from sparcode_es.errors import ConfigError, DataError

SCRIPTS = sorted(path.stem for path in BENCHMARKS.glob("*.py") if "@click.command" in path.read_text(encoding="utf-8"))
README = (BENCHMARKS / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script: str) -> None:
    result = CliRunner().invoke(importlib.import_module(script).main, ["--help"])
    assert result.exit_code == 0, result.output
    assert "--out" in result.output
    assert result.output.count("\n") > 8


@pytest.mark.parametrize("script", SCRIPTS)
def test_the_readme_names_it(script: str) -> None:
    assert f"`{script}.py`" in README


def test_the_readme_names_no_other() -> None:
    assert set(re.findall(r"benchmarks/(\w+)\.py", README)) <= set(SCRIPTS)


def run(script: str, data: Path, out: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """As from a shell, with `--scale small` and the smallest trainings."""
    flags = ["--data", str(data), "--preset", "ml-100k", "--scale", "small", "--runs", str(out / "runs")]
    command = [sys.executable, str(BENCHMARKS / f"{script}.py"), *flags, *TINY, "--out", str(out / "results"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def read(folder: Path, stem: str) -> tuple[dict[str, Any], str]:
    """The JSON and the Markdown of a run; its picture is there."""
    assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    return json.loads((folder / f"{stem}.json").read_text()), (folder / f"{stem}.md").read_text()


@pytest.mark.slow
def test_a_table(ring: Path, tmp_path: Path) -> None:
    chosen = ("--rows", "dnn-ttm,dnn-dot-4,dnn-inner_pdnn", "--seeds", "0,1")
    done = run("table3_interactions", ring, tmp_path, *chosen)
    assert done.returncode == 0, done.stderr
    found, text = read(tmp_path / "results", "table3-ring-small")
    assert text == done.stdout.rstrip("\n") + "\n"
    assert (found["data"], found["scale"], found["seeds"], found["test_cases"]) == ("ring", "small", [0, 1], 80)
    assert "(80 users, 100 items, 80 test cases), preset" in text
    assert found["environment"]["packages"]["torch"]
    assert [row["name"] for row in found["rows"]] == ["dnn-ttm", "dnn-dot-4", "dnn-inner_pdnn"]
    assert found["rows"][2]["paper_per_cent"]["ndcg@50"] == 19.96
    values = found["rows"][1]["per_cent_of_seeds"]["all"]["recall@50"]
    assert len(values) == 2
    mean, spread = sum(values) / 2, abs(values[0] - values[1]) / 2
    line = next(line for line in text.splitlines() if line.startswith("| DNN: dot product (K_c = 4) | all |"))
    cells = [cell.strip() for cell in line.split("|")[3:-1]]
    assert cells[1::2] == ["1.45", "3.51", "9.93", "9.69"]
    ours, deviation = (float(part) for part in cells[2].split("±"))
    assert ours == pytest.approx(mean, abs=0.006)
    assert deviation == pytest.approx(spread, abs=0.006)
    assert "Nothing is converged" in text
    assert "Trained and measured on " in text
    # One tower a seed for all three rows, and nothing is trained again.
    assert len(list((tmp_path / "runs").rglob("tower.state"))) == 2
    assert len(list((tmp_path / "runs").rglob("model.pt"))) == 4
    again = run("table3_interactions", ring, tmp_path, *chosen)
    assert again.returncode == 0, again.stderr
    assert "epoch" not in again.stderr


@pytest.mark.slow
def test_query_times(ring: Path, tmp_path: Path) -> None:
    done = run("figure6_time", ring, tmp_path, "--seeds", "0", "--queries", "20")
    assert done.returncode == 0, done.stderr
    found, text = read(tmp_path / "results", "figure6-time-ring-small")
    points = {(point["label"], point["note"]): point for point in found["points"]}
    exact = points["two-tower, FlatIP", "exact"]
    widest = points["two-tower, HNSW", "ef 256"]
    for view in ("all", "unseen"):
        by_metric = exact["per_cent_of_seeds"][view], widest["per_cent_of_seeds"][view]
        assert all(by_metric[0][name][0] == pytest.approx(value[0], abs=2) for name, value in by_metric[1].items())
    assert all(0 < point["p50_ms"] <= point["p95_ms"] for point in found["points"])
    sparse = [point for point in found["points"] if point["label"] == "SparCode without item codes"]
    assert [point["sparsity"] for point in sparse] == sorted(point["sparsity"] for point in sparse)
    assert sparse[0]["mebibytes"] > sparse[-1]["mebibytes"]
    assert f"| two-tower, FlatIP | exact | {exact['p50_ms']:.3f} |" in text
    assert "similar to the two-tower's with FlatIP" in text


def test_a_model_that_is_not_there_is_one_sentence(ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    systems = importlib.import_module("systems")
    monkeypatch.setattr(systems, "MODELS", {"popularity": None, "two_tower": None})
    flags = ["--data", str(ring), "--preset", "ml-100k", "--runs", str(tmp_path), "--out", str(tmp_path)]
    result = CliRunner().invoke(importlib.import_module("table4_tdm").main, flags)
    assert result.exit_code == ConfigError.exit_code
    assert "no model sparcode, tdm; it has: popularity, two_tower; for the rest give --rows ttm-dnn" in result.output
    assert "Traceback" not in result.output


def test_wrong_flags_are_one_sentence(ring: Path, tmp_path: Path) -> None:
    main = importlib.import_module("table2_sequences").main
    flags = ["--data", str(ring), "--preset", "ml-100k", "--runs", str(tmp_path), "--out", str(tmp_path)]
    for wrong, code, said in (
        ([*flags, "--rows", "nothing"], ConfigError.exit_code, "the rows are: popularity,ttm-dnn"),
        ([*flags, "--seeds", "one"], 2, "numbers with commas"),
        (["--data", str(tmp_path), *flags[2:]], DataError.exit_code, "not a data folder"),
    ):
        result = CliRunner().invoke(main, wrong)
        assert result.exit_code == code
        assert said in result.output


def test_errors_of_speed_benchmarks_are_one_sentence_too(tmp_path: Path) -> None:
    flags = ["--data", str(tmp_path), "--out", str(tmp_path / "results")]
    result = CliRunner().invoke(importlib.import_module("speed_training").main, flags)
    assert result.exit_code == DataError.exit_code
    assert result.output.count("\n") == 1
    assert "is not a data folder" in result.output


def test_recbole_is_compared_on_its_own_split_alone(ring: Path, tmp_path: Path) -> None:
    data = import_sequences(ring.parent / "log.txt", tmp_path / "data", "--split", "users")
    flags = ["--data", str(data), "--out", str(tmp_path / "results")]
    result = CliRunner().invoke(importlib.import_module("speed_training").main, flags)
    assert result.exit_code == ConfigError.exit_code
    assert "must be split leave-one-out" in result.output
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_the_ablation(ring: Path, tmp_path: Path) -> None:
    rows = "two-tower,whole,learned,nearest,from-scratch,literal"
    done = run("ablation", ring, tmp_path, "--rows", rows, "--seeds", "0", "--set", "training.codes.epochs=2")
    assert done.returncode == 0, done.stderr
    found, text = read(tmp_path / "results", "ablation-ring-small")
    assert [row["name"] for row in found["rows"]] == rows.split(",")
    assert text.count("\n| ") >= 10
    assert found["rows"][3]["overrides"]["quantizer.assignment"] == "nearest"


@pytest.mark.slow
def test_quality_with_controls_and_refit(ring: Path, tmp_path: Path) -> None:
    done = run("quality", ring, tmp_path, "--seeds", "0,1", "--refit", "--own-epochs", "3")
    assert done.returncode == 0, done.stderr
    found, text = read(tmp_path / "results", "quality-ring-small")
    labels = [system["label"] for system in found["systems"]]
    assert len(labels) == len(set(labels)) == 10
    assert {"SparCode, trained on validation too", "two-tower, trained on validation too"} <= set(labels)
    tests = found["paired_tests"]
    assert set(tests) == {
        "SparCode − two-tower",
        "SparCode − two-tower, trained as long as is best for itself",
        "SparCode − two-tower, untied items (control)",
        "SparCode − two-tower + last-item codes (control)",
        "SparCode − SparCode without ridge weights",
        "SparCode, trained on validation too − two-tower, trained on validation too",
    }
    assert all(0 <= t["p"] <= 1 for views in tests.values() for cells in views.values() for t in cells.values())
    assert all(label in text for label in labels)


@pytest.mark.slow
def test_the_published_sasrec_with_and_without_the_validation_events(ring: Path, tmp_path: Path) -> None:
    flags = [
        "--data",
        str(ring),
        "--seeds",
        "0,1",
        "--dim",
        "16",
        "--epochs",
        "4",
        "--patience",
        "2",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / "published_sasrec.py"), *flags], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found, text = read(tmp_path, "published-ring")
    without, with_validation = found["runs"].values()
    assert [run["seed"] for run in without] == [run["seed"] for run in with_validation] == [0, 1]
    assert [run["epochs"] for run in without] == [run["epochs"] for run in with_validation]
    assert all(0 < run["test"]["unseen"]["recall@50"] <= 1 for run in (*without, *with_validation))
    assert all(run["test"]["unseen"]["recall@10"] >= run["test"]["all"]["recall@10"] for run in without)
    assert text.count("| all |") == 2
    assert "9.21" in text
