"""An item's weight for itself: added to its lift, chosen where users come back, of no matter where they do not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import sparse
from sparcode_es_cli.main import cli

from sparcode_es.config import ItemCodesConfig, load_config
from sparcode_es.data.dataset import Dataset
from sparcode_es.errors import ConfigError
from sparcode_es.evaluation.ranking import VIEWS, rank_metrics
from sparcode_es.models.memory import Memory
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.checkpoint import load_checkpoint
from sparcode_es.training.loop import train
from sparcode_es.training.memory import OWN
from sparcode_es.training.refit import refit_config
from training.small import SMALL

ITEMS = 4
SHORT = SMALL | {"training.tower.epochs": 2, "training.codes.epochs": 1, "item_codes.weight": 2.0}


def memory_of(rows: int = ITEMS) -> Memory:
    memory = Memory(rows, ITEMS)
    counts = sparse.csr_matrix(([2.0, 1.0, 3.0], ([0, 1, 1], [1, 1, 2])), shape=(rows, ITEMS))
    memory.fit(counts, np.arange(1, ITEMS + 1))
    return memory


def test_it_is_added_to_each_items_own_lift() -> None:
    plain, memory = memory_of(), memory_of()
    memory.mix(np.array([0.1, 0.2, 0.3], dtype=np.float32), 0.25)
    plain.mix(np.array([0.1, 0.2, 0.3], dtype=np.float32), 0.25)
    memory.keep(0.5)
    np.testing.assert_allclose(memory.lifts.toarray(), plain.lifts.toarray() + 0.5 * np.eye(ITEMS), rtol=1e-6)
    added = sparse.csr_matrix(([1.0, 1.0], ([1, 3], [1, 0])), shape=(ITEMS, ITEMS))
    for each in (plain, memory):
        each.fold(added)
    np.testing.assert_allclose(memory.lifts.toarray(), plain.lifts.toarray() + 0.5 * np.eye(ITEMS), rtol=1e-6)
    again = Memory(ITEMS, ITEMS)
    again.load_state_dict(memory.state_dict())
    again.fold(added)
    np.testing.assert_array_equal(again.lifts.toarray(), memory.lifts.toarray())
    memory.fit(memory.trained(), np.arange(1, ITEMS + 1))
    assert float(memory.own) == 0


@pytest.mark.parametrize(("rows", "own"), [(ITEMS, -0.5), (ITEMS, float("inf")), (ITEMS, float("nan")), (3, 0.5)])
def test_a_state_with_another_is_refused(rows: int, own: float) -> None:
    state = memory_of(rows).state_dict()
    state["own"] = state["own"].new_tensor(own)
    with pytest.raises(ValueError, match="own is"):
        Memory(rows, ITEMS).load_state_dict(state)


def test_a_negative_one_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"item_codes\.own_weight"):
        ItemCodesConfig(own_weight=-1.0)


@pytest.fixture(scope="module")
def faithful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who come back, in the end, to what they met first: an item that few others know."""
    folder = tmp_path_factory.mktemp("faithful")
    rng = np.random.default_rng(0)
    rows = []
    for user in range(150):
        own, others = int(rng.integers(6, 90)), rng.integers(6, size=3).tolist()
        rows.append(f"u{user} " + " ".join(f"i{item}" for item in [own, *others, own, own]))
    (folder / "log.txt").write_text("\n".join(rows) + "\n")
    command = ["data", "import", str(folder / "log.txt"), "--format", "sequences", "--out", str(folder / "data")]
    assert CliRunner().invoke(cli, command).exit_code == 0
    return folder / "data"


def test_it_is_taken_where_users_come_back(faithful: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(faithful)
    result = train(load_config(overrides=SHORT), dataset, tmp_path / "own", bars=False)
    assert result.report["own_weight"] > 0
    records = [json.loads(line) for line in (tmp_path / "own" / "log.jsonl").read_text().splitlines()]
    (tried,) = [record for record in records if record["stage"] == "own"]
    assert set(tried) == {"stage", *(f"weight {own}" for own in OWN)}
    assert result.report["own_validation"] == max(tried[f"weight {own}"] for own in OWN) > tried["weight 0.0"]
    without = train(
        load_config(overrides=SHORT | {"item_codes.own_weight": 0.0}),
        dataset,
        tmp_path / "none",
        tower=result.two_tower_path,
        bars=False,
    )
    cases = dataset.cases("test")
    found, plain = (
        rank_metrics(load_checkpoint(path).case_scores(cases), cases, dataset.num_items, views=VIEWS)
        for path in (result.model_path, without.model_path)
    )
    assert found["all"]["recall@5"] > plain["all"]["recall@5"]
    assert without.report["own_weight"] == 0
    again = refit_config(tmp_path / "own")
    assert again.item_codes.own_weight == result.report["own_weight"]
    refitted = load_checkpoint(train(again, dataset, tmp_path / "again", bars=False).model_path)
    assert isinstance(refitted, SparCode)
    assert float(refitted.item_memory.own) == result.report["own_weight"]


def test_it_is_not_asked_for_where_nobody_does(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    cases = dataset.cases("valid")
    starts = cases.history_offsets.astype(int)
    comes_back = any(cases.targets[i][0] in cases.history_items[starts[i] : starts[i + 1]] for i in range(len(cases)))
    result = train(load_config(overrides=SHORT), dataset, tmp_path, bars=False)
    assert ("own" in (tmp_path / "log.jsonl").read_text().split('"')) == comes_back
    assert comes_back or result.report["own_weight"] == 0
