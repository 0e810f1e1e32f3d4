"""Repeat codes: their boosts add up over what a user met again, their score is chosen where users come back and 0 elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sparcode_es_cli.main import cli

from sparcode_es.codes import REPEAT_HEAD, LatestItems, clauses_of
from sparcode_es.config import ItemCodesConfig, load_config
from sparcode_es.data.dataset import Dataset, Sequences
from sparcode_es.errors import ConfigError
from sparcode_es.evaluation.ranking import VIEWS, rank_metrics
from sparcode_es.models.memory import GAMMA
from sparcode_es.models.repeat import Repeat
from sparcode_es.models.sparcode import SparCode
from sparcode_es.serving.encoder import encode_histories
from sparcode_es.serving.histories import merge_codes, with_item_codes
from sparcode_es.training.checkpoint import load_checkpoint
from sparcode_es.training.loop import train
from sparcode_es.training.memory import POWERS, REPEATS, repeat_counts
from sparcode_es.training.refit import refit_config
from training.small import SMALL

SHORT = SMALL | {
    "training.tower.epochs": 2,
    "training.codes.epochs": 1,
    "item_codes.weight": 2.0,
    "scorer.memory_weight": 0.5,
}


@given(st.lists(st.integers(0, 4), min_size=1, max_size=12), st.integers(1, 15), st.floats(0.1, 1))
def test_boosts_add_up_over_the_latest_events(history: list[int], latest: int, decay: float) -> None:
    nothing = np.zeros((1, 0, 2), np.uint32), np.zeros((1, 0), np.float32)
    kinds = [LatestItems(REPEAT_HEAD, latest, decay)]
    found = merge_codes(
        *with_item_codes(kinds, np.array([0, len(history)]), np.array(history), *nothing), np.zeros(1, int), 1
    )
    wanted: dict[str, float] = {}
    for lag, item in enumerate(reversed(history[-latest:])):
        wanted[f"repeat_{item}"] = wanted.get(f"repeat_{item}", 0.0) + decay**lag
    assert {each.term: each.boost for each in clauses_of(found, 0, True)} == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    "values", [(7, 64, 0.9), (REPEAT_HEAD, -1, 0.9), (REPEAT_HEAD, 2**60, 0.9), (REPEAT_HEAD, 64, 0.0)]
)
def test_what_a_damaged_file_says_of_them_is_refused(values: tuple[int, int, float]) -> None:
    with pytest.raises(ValueError, match="says of no items"):
        LatestItems(*values)


def test_each_finds_its_own_item() -> None:
    repeat = Repeat(3)
    assert not repeat.active
    repeat.weight.fill_(1.5)
    codes = repeat.as_item_codes()
    assert (codes.offsets.tolist(), codes.items.tolist(), codes.scores.tolist()) == ([0, 1, 2, 3], [0, 1, 2], [1.5] * 3)
    assert codes.table(2).tolist() == [[REPEAT_HEAD, item, 0] for item in range(3)]


def test_what_is_bought_again_scores_more() -> None:
    items = np.array([0, 1, 0, 0, 2, 0, 1, 0, 1, 1], np.uint32)
    histories = Sequences(np.array([0, 5, 8, 10], np.uint64), items, np.arange(3, dtype=np.uint32))
    users, again = repeat_counts(histories, 4)
    assert (users.tolist(), again.tolist()) == ([2, 3, 1, 0], [2, 1, 0, 0])
    repeat = Repeat(4)
    repeat.fit(users, again)
    repeat.weight.fill_(2.0)
    assert repeat.scores().tolist() == [2.0] * 4
    repeat.power.fill_(0.5)
    mean = 3 / 6
    rates = (again + GAMMA * mean) / (users + GAMMA) / mean
    np.testing.assert_allclose(repeat.scores(), 2 * rates**0.5, rtol=1e-6)
    np.testing.assert_allclose(repeat.scores(1.0), rates**0.5, rtol=1e-6)
    other = Repeat(4)
    other.load_state_dict(repeat.state_dict())
    np.testing.assert_array_equal(other.as_item_codes().scores, repeat.scores())
    assert other.differs
    other.fit(users, np.zeros(4, np.int64))
    assert other.scores().tolist() == [2.0] * 4
    assert not other.differs


@pytest.mark.parametrize("value", [-0.5, float("inf"), float("nan")])
@pytest.mark.parametrize("name", ["weight", "power", "rates"])
def test_a_state_with_what_is_none_is_refused(name: str, value: float) -> None:
    state = Repeat(3).state_dict()
    state[name] = torch.full_like(state[name], value)
    with pytest.raises(ValueError, match=f"{name} holds"):
        Repeat(3).load_state_dict(state)


@pytest.mark.parametrize(
    "values",
    [
        {"repeat_weight": -1.0},
        {"repeat_power": -0.5},
        {"repeat_power": 5.0},
        {"repeat_latest": 257},
        {"repeat_decay": 1.1},
        {"repeat_weight": 1.0, "latest": 0},
        {"repeat_weight": 1.0, "repeat_latest": 0},
    ],
)
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"item_codes\.{next(iter(values))}"):
        ItemCodesConfig(**values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def faithful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Users who come back, in the end, to what they met first and most: an item that few others know."""
    folder = tmp_path_factory.mktemp("faithful")
    rng = np.random.default_rng(0)
    rows = []
    for user in range(150):
        own, others = int(rng.integers(6, 90)), rng.integers(6, size=12).tolist()
        rows.append(f"u{user} " + " ".join(f"i{item}" for item in [own, own, *others, own, own]))
    (folder / "log.txt").write_text("\n".join(rows) + "\n")
    command = ["data", "import", str(folder / "log.txt"), "--format", "sequences", "--out", str(folder / "data")]
    assert CliRunner().invoke(cli, command).exit_code == 0
    return folder / "data"


def test_they_are_taken_where_users_come_back(faithful: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(faithful)
    result = train(load_config(overrides=SHORT), dataset, tmp_path / "with", bars=False)
    assert result.report["repeat_weight"] > 0
    records = [json.loads(line) for line in (tmp_path / "with" / "log.jsonl").read_text().splitlines()]
    (tried,) = [record for record in records if record["stage"] == "repeat"]
    weights, powers = [f"weight {each}" for each in REPEATS], [f"power {each}" for each in POWERS]
    assert set(tried) == {"stage", *weights, *powers}
    top = result.report["repeat_validation"]
    assert top == max(tried[key] for key in weights) == max(tried[key] for key in powers) > tried["weight 0.0"]
    assert tried[f"power {result.report['repeat_power']}"] == top
    without = train(
        load_config(overrides=SHORT | {"item_codes.repeat_weight": 0.0}),
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
    assert found["unseen"] == plain["unseen"]
    assert without.report["repeat_weight"] == 0
    again = refit_config(tmp_path / "with")
    chosen = again.item_codes.repeat_weight, again.item_codes.repeat_power
    assert chosen == (result.report["repeat_weight"], result.report["repeat_power"])
    refitted = load_checkpoint(train(again, dataset, tmp_path / "again", bars=False).model_path)
    assert isinstance(refitted, SparCode)
    assert refitted.repeat is not None
    assert (float(refitted.repeat.weight), float(refitted.repeat.power)) == chosen
    codes = encode_histories(refitted, np.array([0, 3]), np.array([5, 7, 5], dtype=np.uint32))
    boosts = {each.term: each.boost for each in clauses_of(codes, 0, True) if each.term.startswith("repeat_")}
    assert boosts == pytest.approx({"repeat_5": 1 + 0.98**2, "repeat_7": 0.98})


def test_they_say_that_an_item_was_met_before(faithful: Path, tmp_path: Path) -> None:
    fixed = SHORT | {"item_codes.repeat_weight": 50.0, "item_codes.repeat_power": 0.0}
    result = train(load_config(overrides=fixed), Dataset.open(faithful), tmp_path / "run", bars=False)
    assert (result.report["repeat_weight"], result.report["repeat_power"]) == (50.0, 0.0)

    def run(*command: str) -> str:
        done = CliRunner().invoke(cli, list(command))
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    postings = str(tmp_path / "postings")
    run("postings", "build", "--checkpoint", str(result.model_path), "--data", str(faithful), "--out", postings)
    lines = run("query", "--postings", postings, "--user", "u0", "-k", "1", "--explain").splitlines()
    item, reason = lines[0].split()[2], lines[1]
    term = reason.split()[6].removesuffix(",")
    assert reason.endswith(f"× 50.0000   code {term}, {item} again")
    assert term.startswith("repeat_")
    assert f"{term}  {item} again" in run("inspect", "why", "--postings", postings, "--user", "u0", "--item", item)
    profile = json.loads(run("inspect", "code", "--postings", postings, term, "--json"))
    assert (profile["kind"], profile["item"], profile["items"]) == ("item", item, 1)
    run("verify", "--postings", postings, "--checkpoint", str(result.model_path), "--users", "20")


def test_they_are_not_asked_for_where_nobody_does(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    cases = dataset.cases("valid")
    starts = cases.history_offsets.astype(int)
    comes_back = any(cases.targets[i][0] in cases.history_items[starts[i] : starts[i + 1]] for i in range(len(cases)))
    result = train(load_config(overrides=SHORT), dataset, tmp_path, bars=False)
    assert ("repeat" in (tmp_path / "log.jsonl").read_text().split('"')) == comes_back
    assert comes_back or result.report["repeat_weight"] == 0
