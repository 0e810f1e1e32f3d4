"""The speed benchmarks, smallest runs; the loops that they time find the same postings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import speed
import speed_build
import speed_encode
import speed_training
import torch
from click.testing import CliRunner

from sparcode_es.data.dataset import Dataset

TASK = {"items": 300, "dim": 8, "item_tokens": 2, "codebooks": 1, "codes": 16, "hidden": 4, "sparsity": 0.9, "seed": 0,
        "sample": 300, "threads": 1, "device": "cpu"}  # fmt: skip


@pytest.mark.parametrize("codebooks", [1, 2])
def test_the_build_and_the_plain_loops_find_as_many_postings(codebooks: int, tmp_path: Path) -> None:
    model, codes = speed_build.synthetic({**TASK, "codebooks": codebooks})
    assert codes.shape == (16, 1 + codebooks)
    bias = speed_build.bias_of(model, codes, 0.9)
    found = speed_build.build(model, codes, bias, tmp_path / "postings").num_postings
    loops = [loop(model, codes, 300, bias, batch) for loop in speed_build.PLAIN.values() for batch in (7, 5000)]
    assert loops == [pytest.approx(found, abs=2)] * 4
    assert found == pytest.approx(0.1 * 16 * 300, rel=0.3)


def test_the_report_of_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed_build, "child", lambda _script, task, _threads: speed_build.run_child(task))
    flags = [
        "--items",
        "200,300",
        "--codes",
        "16",
        "--dims",
        "8",
        "--item-tokens",
        "1",
        "--hidden",
        "4",
        "--sample",
        "50",
    ]
    result = CliRunner().invoke(speed_build.main, [*flags, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "speed-build.json").read_text())
    assert [row["items"] for row in report["rows"]] == [200, 300]
    row = report["rows"][1]
    assert row["pair_by_pair"]["seconds"] == pytest.approx(6 * min(row["pair_by_pair"]["seconds_of_sample"].values()))
    assert row["build"]["peak_mib"] >= row["build"]["model_mib"] > 0
    text = (tmp_path / "speed-build.md").read_text()
    assert f"{row['ratio_to_code_by_code']:.1f} ×" in text
    assert "50 items sampled, batches of 800 pairs and of 50 items" in text
    assert (tmp_path / "speed-build.png").read_bytes().startswith(b"\x89PNG")


def test_the_batches_of_a_plain_loop_are_no_larger_than_its_sample() -> None:
    (flag,) = (option for option in speed_build.main.params if option.name == "sample")
    for what, sizes in speed_build.BATCHES.items():
        assert speed_build.batch_sizes(what, flag.default, 16) == list(sizes)
    assert speed_build.batch_sizes("code_by_code", 5000, 16) == [256, 1024, 4096]
    assert speed_build.batch_sizes("pair_by_pair", 50, 100) == [1024, 4096]
    assert speed_build.batch_sizes("code_by_code", 50, 100) == [50]


def test_a_child_answers_with_its_last_line_or_says_why_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "__file__", str(tmp_path / "speed.py"))
    (tmp_path / "script.py").write_text(
        "import json, os, sys\nprint('noise')\ntask = json.loads(sys.argv[2])\n"
        "assert task['right'], 'wrong task'\nprint(json.dumps({**task, 'threads': os.environ['OMP_NUM_THREADS']}))\n"
    )
    assert speed.child("script.py", {"right": True}, 3) == {"right": True, "threads": "3"}
    with pytest.raises(Exception, match="wrong task"):
        speed.child("script.py", {"right": False}, 3)


@pytest.mark.slow
def test_encoding(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    flags = ["--items", "50", "--dim", "8", "--layers", "1", "--codes", "16", "--lengths", "3", "--batches", "1,4"]
    threads = torch.get_num_threads()
    result = CliRunner().invoke(speed_encode.main, [*flags, "--repeats", "20", "--out", str(tmp_path)])
    torch.set_num_threads(threads)
    assert result.exit_code == 0, result.output
    rows = json.loads((tmp_path / "speed-encode.json").read_text())["rows"]
    assert [(row["batch"], row["length"], row["same_codes"]) for row in rows] == [(1, 3, 1.0), (4, 3, 1.0)]
    assert all(0 < row[name]["p50_ms"] <= row[name]["p99_ms"] for row in rows for name in ("torch", "exported"))
    assert f"| 4 | 3 | {rows[1]['torch']['p50_ms']:.3f} |" in (tmp_path / "speed-encode.md").read_text()


def of_recbole(task: dict[str, Any]) -> dict[str, Any]:
    """What RecBole's side would print."""
    epochs = [{"seconds": 2.0, "ndcg@10": 0.01}, {"seconds": 4.0, "ndcg@10": 0.0}]
    timed = {"seconds": 2.0, "cpu_seconds": 1.0, "steps": task["steps"], "targets": 100, "targets_an_epoch": 400}
    return {**timed, "steps_an_epoch": 5, "recbole": "1.2.1", "torch": "2", "epochs": epochs}


@pytest.mark.slow
def test_training(ring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def child(script: str, task: dict[str, Any], _threads: int, _python: str = sys.executable) -> dict[str, Any]:
        asked.append(task)
        return speed_training.ours(task) if script == "speed_training.py" else of_recbole(task)

    monkeypatch.setattr(speed_training, "child", child)
    monkeypatch.setattr(speed_training, "recbole_python", lambda folder: folder)
    flags = ["--data", str(ring), "--steps", "3", "--epochs", "4", "--batch", "16", "--dim", "8", "--layers", "1"]
    result = CliRunner().invoke(speed_training.main, [*flags, "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    assert asked[1]["settings"]["inner_size"] == 4 * asked[1]["settings"]["hidden_size"] == 32
    report = json.loads((tmp_path / "speed-training-ring.json").read_text())
    row = report["rows"][speed_training.OURS]
    assert (row["steps"], len(row["epochs"])) == (3, 2)
    for name in (speed_training.ONE_EACH, speed_training.ALIKE):
        assert report["rows"][name]["targets"] <= 3 * 16 < row["targets"]
    assert row["epochs"][0]["seconds"] < row["epochs"][1]["seconds"]
    assert (
        "| RecBole SASRec | 1.5 | 3.0 | 50 | 8.0 | 1.00 | 1 | 2 | 2 |"
        in (tmp_path / "speed-training-ring.md").read_text()
    )


def test_a_step_of_like_work_scores_every_item(ring: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored: dict[tuple[str, int | None], int] = {}

    def timed(trainer: Any, _config: Any, steps: int, sampler: Any, each: int | None = None) -> dict[str, Any]:
        scored[sampler.config.negatives, each] = len(sampler.draw(torch.tensor([0])).items)
        return {"steps": steps}

    monkeypatch.setattr(speed_training, "time_steps", timed)
    sizes = {"batch": 16, "dim": 8, "layers": 1, "heads": 1, "dropout": 0.0, "max_length": 9, "patience": 1}
    rows = speed_training.ours({"data": str(ring), "threads": 1, "steps": 1, "epochs": 0, "seed": 0, **sizes})
    assert list(rows) == [speed_training.OURS, speed_training.ONE_EACH, speed_training.ALIKE]
    assert list(scored) == [("mixed", None), ("mixed", 1), ("all", 1)]
    assert scored["all", 1] == Dataset.open(ring).num_items


def test_recbole_reads_our_events_in_our_order(ring: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(ring)
    speed_training.write_interactions(dataset, tmp_path)
    head, *lines = (tmp_path / dataset.name / f"{dataset.name}.inter").read_text().splitlines()
    assert head == "user_id:token\titem_id:token\ttimestamp:float"
    table = np.array([line.split("\t") for line in lines], dtype=np.int64)
    sequences = dataset.full_histories()
    np.testing.assert_array_equal(table[:, 1], sequences.items)
    np.testing.assert_array_equal(np.bincount(table[:, 0]), np.diff(sequences.offsets.astype(np.int64)))
    assert (table[:, 2][np.flatnonzero(np.diff(table[:, 0])) + 1] == 0).all()
