"""What `train` prints: a line an epoch on stderr, the report once on stdout, shares as shares."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.training.checkpoint import read_checkpoint
from sparcode_es.training.stage import shown
from training.small import SMALL


def test_shares_are_per_cent() -> None:
    assert shown("codes_used", 1.0) == "100 %"
    assert shown("perplexity", 0.83712, ".4f") == "83.71 %"
    assert (shown("loss", 2.05812), shown("loss", 2.05812, ".1f"), shown("epoch", 4)) == ("2.058", "2.1", "4")


def test_the_report_is_printed_once_and_kept_in_the_log(chain: Path, tmp_path: Path) -> None:
    short = SMALL | {"training.tower.epochs": 2, "training.codes.epochs": 1}
    settings = [f"--set={key}={json.dumps(value)}" for key, value in short.items()]
    done = CliRunner().invoke(cli, ["train", "--data", str(chain), "--out", str(tmp_path / "out"), *settings])
    assert done.exit_code == 0, done.output
    last = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[-1])
    assert last.pop("stage") == "done"
    assert f"perplexity  {100 * last['perplexity']:.4g} %  of the finished codes" in done.stdout
    assert f"memory_validation  {last['memory_validation']:.4f}  ndcg@50 on the validation split\n" in done.stdout
    tower = read_checkpoint(tmp_path / "out" / "two_tower.pt").report
    assert [line.split("  ")[0] for line in done.stdout.splitlines()] == ["checkpoint", *tower, *last]
    assert f"tower_validation  {tower['tower_validation']:.4f}  ndcg@50 on the validation split\n" in done.stdout
    assert "stage tower  epochs_at_most 2  steps_an_epoch" in done.stderr
    assert "stage done" not in done.stderr
    assert "stage codes  epoch 1" in done.stderr
