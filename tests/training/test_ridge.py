"""Ridge weights: against the dense regression, by hand, and what a memory makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse

from sparcode_es.config import ItemCodesConfig, load_config
from sparcode_es.data.dataset import Dataset, Sequences
from sparcode_es.data.importer import ImportOptions, import_file
from sparcode_es.data.write import Preparation
from sparcode_es.errors import ConfigError
from sparcode_es.evaluation.ranking import VIEWS, rank_metrics
from sparcode_es.models.memory import Memory
from sparcode_es.training import memory as memory_training
from sparcode_es.training import ridge
from sparcode_es.training.checkpoint import load_checkpoint
from sparcode_es.training.loop import train
from sparcode_es.training.memory import SHARES, item_counts
from sparcode_es.training.ridge import PENALTY, ridge_weights
from training.small import SMALL

ITEMS = 6
histories = st.lists(st.lists(st.integers(0, ITEMS - 1), max_size=9), min_size=1, max_size=8)
WINDOW = ItemCodesConfig(window=4)


def sequences_of(rows: list[list[int]]) -> Sequences:
    offsets = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
    items = np.array([item for row in rows for item in row], dtype=np.uint32)
    return Sequences(offsets, items, np.arange(len(rows), dtype=np.uint32))


def regressed(held: np.ndarray) -> np.ndarray:
    """Each column of `held` [n, I] on the others that it is ever beside, weights [I, I], the diagonal 0."""
    weights, beside = np.zeros((held.shape[1],) * 2), held.T @ held > 0
    for item in range(held.shape[1]):
        others = np.flatnonzero(beside[item] & (np.arange(held.shape[1]) != item))
        x = held[:, others]
        weights[others, item] = np.linalg.solve(x.T @ x + PENALTY * np.eye(len(others)), x.T @ held[:, item])
    return weights


@given(histories)
def test_each_item_is_regressed_on_those_beside_it(rows: list[list[int]]) -> None:
    sequences = sequences_of(rows)
    counts = item_counts(WINDOW, sequences, ITEMS)
    held = np.zeros((len(rows), ITEMS))
    for place, row in enumerate(rows):
        held[place, row] = 1
    found = sparse.csr_matrix((ridge_weights(sequences, counts), counts.indices, counts.indptr), shape=counts.shape)
    expected = np.maximum(regressed(held), 0) * (counts.toarray() > 0)
    np.testing.assert_allclose(found.toarray(), expected, rtol=1e-4, atol=1e-9)


def test_an_item_that_another_explains_already_gets_less() -> None:
    """Item 2 follows 1 whenever 1 was there, and 0 only where 1 was there too."""
    sequences = sequences_of([[0, 1, 2]] * 3000 + [[1, 2]] * 3000 + [[0, 3]] * 3000)
    counts = item_counts(WINDOW, sequences, ITEMS)
    weights = sparse.csr_matrix((ridge_weights(sequences, counts), counts.indices, counts.indptr), shape=counts.shape)
    assert counts[0, 2] > 0
    assert weights[0, 2] < 0.1 * weights[1, 2]


def test_a_long_history_counts_piece_by_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "PIECES", (3,))
    whole, pieces = sequences_of([[0, 1, 2, 3, 4], [5, 1]]), sequences_of([[0, 1, 2], [3, 4], [5, 1]])
    counts = item_counts(WINDOW, whole, ITEMS)
    np.testing.assert_array_equal(ridge_weights(whole, counts), ridge_weights(pieces, counts))


def test_where_pairs_would_be_too_many_pieces_are_shorter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, pieces = sequences_of([[0, 1, 2, 3, 4], [5, 1]]), sequences_of([[0, 1, 2], [3, 4], [5, 1]])
    counts = item_counts(WINDOW, whole, ITEMS)
    monkeypatch.setattr(ridge, "PIECES", (5, 3, 1))
    for most, same_as in ((25 + 4, whole), (25 + 3, pieces), (9 + 4 + 4, pieces)):
        monkeypatch.setattr(ridge, "MOST_PAIRS", most)
        found = ridge_weights(whole, counts)
        monkeypatch.setattr(ridge, "MOST_PAIRS", 1 << 29)
        np.testing.assert_array_equal(found, ridge_weights(same_as, counts))
    monkeypatch.setattr(ridge, "MOST_PAIRS", 0)
    assert not ridge_weights(whole, counts).any()


def test_of_many_neighbours_the_nearest_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ridge, "NEIGHBOURS", 1)
    sequences = sequences_of([[0, 2], [0, 2], [1, 2], [1], [1]])
    counts = item_counts(WINDOW, sequences, ITEMS)
    weights = sparse.csr_matrix((ridge_weights(sequences, counts), counts.indices, counts.indptr), shape=counts.shape)
    assert weights[1, 2] == 0
    assert weights[0, 2] == pytest.approx(2 / (2 + PENALTY))


def test_a_log_without_two_items_beside_each_other_has_none() -> None:
    sequences = sequences_of([[0], [0, 0], []])
    assert not ridge_weights(sequences, item_counts(WINDOW, sequences, ITEMS)).any()


def memory_of(rows: list[list[int]], share: float) -> Memory:
    sequences = sequences_of(rows)
    memory = Memory(ITEMS, ITEMS)
    memory.fit(item_counts(WINDOW, sequences, ITEMS), np.bincount(sequences.items, minlength=ITEMS))
    memory.mix(np.arange(len(memory.counts), dtype=np.float32), share)
    return memory


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_a_memory_mixes_folds_and_comes_back(share: float) -> None:
    rows = [[0, 1, 2], [2, 1], [4, 0, 2]]
    plain, memory = memory_of(rows, 0.0), memory_of(rows, share)
    trained = plain.trained()
    beside = sparse.csr_matrix(
        (np.arange(trained.nnz, dtype=np.float32), trained.indices, trained.indptr), trained.shape
    )
    np.testing.assert_allclose(
        memory.lifts.toarray(), (1 - share) * plain.lifts.toarray() + share * beside.toarray(), rtol=1e-6
    )
    added = sparse.csr_matrix(([2.0, 1.0], ([0, 5], [1, 3])), shape=(ITEMS, ITEMS))
    for each in (plain, memory):
        each.fold(added)
    folded = (1 - share) * plain.lifts.toarray() + share * beside.toarray()
    np.testing.assert_allclose(memory.lifts.toarray(), folded, rtol=1e-6)
    again = Memory(ITEMS, ITEMS)
    again.load_state_dict(memory.state_dict())
    again.fold(added)
    np.testing.assert_array_equal(again.lifts.toarray(), memory.lifts.toarray())


@pytest.mark.parametrize(("name", "value"), [("share", 1.0), ("share", 0.0), ("share", -0.5)])
def test_a_state_whose_ridge_weights_do_not_fit_is_refused(name: str, value: float) -> None:
    state = memory_of([[0, 1, 2]], 0.5).state_dict()
    state[name] = state[name].new_tensor(value)
    with pytest.raises(ValueError, match="ridge has 3 weights for 3 counts"):
        Memory(ITEMS, ITEMS).load_state_dict(state)


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_that_leaves_no_lift_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"item_codes\.ridge_share"):
        ItemCodesConfig(ridge_share=share)


def test_ridge_weights_are_taken_where_they_help(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log at random, and weights that know what comes after each user's last event."""
    rng, log = np.random.default_rng(0), tmp_path / "log.txt"
    walks = [" ".join(f"i{item}" for item in rng.permutation(30)[:8]) for _ in range(60)]
    log.write_text("".join(f"u{user} {walk}\n" for user, walk in enumerate(walks)))
    dataset = import_file(log, tmp_path / "data", "random", Preparation(), ImportOptions("sequences"))
    valid = dataset.cases("valid")
    last = valid.history_items[valid.history_offsets[1:].astype(int) - 1]

    def knowing(sequences: Sequences, counts: sparse.csr_matrix) -> np.ndarray:
        pairs = set(zip(last.tolist(), valid.target_items.tolist(), strict=True))
        rows, columns = counts.nonzero()
        return np.array([pair in pairs for pair in zip(rows.tolist(), columns.tolist(), strict=True)], dtype=np.float32)

    monkeypatch.setattr(memory_training, "ridge_weights", knowing)
    nothing_learned = SMALL | {"training.tower.epochs": 0, "training.codes.epochs": 0, "scorer.memory": False}
    config = load_config(overrides=nothing_learned | {"item_codes.weight": 24.0})
    result = train(config, dataset, tmp_path / "run", bars=False)
    assert result.report["ridge_share"] > 0


def test_validation_chooses_the_share_in_both_views_or_it_is_given(chain: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(chain)
    short = SMALL | {"training.tower.epochs": 2, "training.codes.epochs": 1, "scorer.memory": False}
    result = train(load_config(overrides=short), dataset, tmp_path / "chosen", bars=False)
    records = map(json.loads, (tmp_path / "chosen" / "log.jsonl").read_text().splitlines())
    (tried,) = [record for record in records if record["stage"] == "ridge"]
    by_share = {share: tried[f"share {share}"] for share in SHARES}
    share = result.report["ridge_share"]
    assert by_share[share] == max(by_share.values())
    model, valid = load_checkpoint(result.model_path), dataset.cases("valid")
    found = rank_metrics(model.case_scores(valid), valid, dataset.num_items)
    metric = load_config(overrides=short).training.metric
    assert by_share[share] == pytest.approx(np.mean([found[view][metric] for view in VIEWS]), abs=1e-6)
    assert result.report["ridge_validation"] == pytest.approx(found["all"][metric], abs=1e-6)
    for given_share in (0.0, 0.25):
        config = load_config(overrides=short | {"item_codes.ridge_share": given_share})
        given_result = train(config, dataset, tmp_path / str(given_share), bars=False)
        assert given_result.report["ridge_share"] == given_share
        assert "ridge_validation" not in given_result.report
        memory = load_checkpoint(given_result.model_path).item_memory
        assert memory is not None
        assert float(memory.share) == given_share
        assert len(memory.ridge) == (len(memory.counts) if given_share else 0)
