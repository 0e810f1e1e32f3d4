"""Several logs in one table: the figures are those of the files, a doubtful p is told, another file is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import quality_summary
from click.testing import CliRunner
from quality import METRICS, SPARCODE, TWIN, WITH_ITEM_CODES

VIEWS = ("all", "unseen")


def quality_file(folder: Path, p: float, **more: int) -> Path:
    """As `quality.py` writes it: the two-tower has 10 and 20, SparCode half as much again, the control 15."""
    of_seeds = {TWIN: [10.0, 20.0], SPARCODE: [15.0, 30.0], WITH_ITEM_CODES: [15.0, 15.0]}
    tests = {view: {m: {"difference": 0.075, "p": p, "users": 80} for m in METRICS} for view in VIEWS}
    found: dict[str, Any] = {
        "benchmark": "quality",
        "data": "ring",
        "preset": None,
        "seeds": [0, 1],
        "test_cases": 1234,
        **more,
        "systems": [
            {"label": label, "per_cent_of_seeds": {view: dict.fromkeys(METRICS, values) for view in VIEWS}}
            for label, values in of_seeds.items()
        ],
        "paired_tests": {f"{SPARCODE} − {TWIN}": tests},
    }
    path = folder / f"quality-{p}.json"
    path.write_text(json.dumps(found))
    return path


def test_a_row_a_log_and_view(tmp_path: Path) -> None:
    files = [quality_file(tmp_path, 0.2), quality_file(tmp_path, 1e-300, test_targets=2468)]
    done = CliRunner().invoke(quality_summary.main, [*map(str, files), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    rows = [line for line in done.output.splitlines() if line.startswith("| ring")]
    name = "ring (1,234 cases, 2 seeds, no preset)"
    assert rows[0] == f"| {name} | all |" + " 15.00 → 22.50 (+50 %, p 0.2) |" * 4
    name = "ring (1,234 cases of 2,468 items, 2 seeds, no preset)"
    assert rows[3] == f"| {name} | unseen |" + " 15.00 → 22.50 (+50 %) |" * 4
    written = json.loads((tmp_path / "out" / "quality-summary.json").read_text())
    assert {row["whose"]: row["value"] for row in written["gains"]} == {SPARCODE: 50.0, WITH_ITEM_CODES: 0.0}
    assert {row["system"] for row in written["gains"]} == {
        f"ring{asked}, {view}" for asked in ("", ", 2 asked") for view in VIEWS
    }
    assert (tmp_path / "out" / "quality-summary.png").read_bytes().startswith(b"\x89PNG")


def test_another_file_is_refused(tmp_path: Path) -> None:
    for name, content, message in (
        ("a.json", "{}", "is not what quality.py writes"),
        ("b.json", "{", "cannot be read as JSON"),
    ):
        (tmp_path / name).write_text(content)
        done = CliRunner().invoke(quality_summary.main, [str(tmp_path / name), "--out", str(tmp_path / "out")])
        assert done.exit_code == 4
        assert message in done.output
    assert not (tmp_path / "out").exists()
