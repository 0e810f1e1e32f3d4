"""Fitting the memories: the lifts of the training pairs, and their weights by a search on validation."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from scipy import sparse

from sparcode_es.config import ItemCodesConfig
from sparcode_es.data.dataset import Cases, ScoreFunction, Sequences
from sparcode_es.data.filters import repeats
from sparcode_es.models.case_scores import CodeTable
from sparcode_es.models.memory import Memory
from sparcode_es.models.repeat import Repeat
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.codes import code_positions
from sparcode_es.training.ridge import ridge_weights
from sparcode_es.training.trainer import Trainer

WEIGHTS = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0)
SHARES = (0.0, 0.125, 0.25, 0.375, 0.5, 0.75)
"""Of the ridge weights beside the lifts."""
REPEATS = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)
"""Of the repeat codes."""
POWERS = (0.0, 0.5, 1.0)
"""Of the items' repeat rates."""


def fit_memories(trainer: Trainer, model: SparCode) -> dict[str, float]:
    """Fill the model's memories from the training pairs; each gets the weight that the configuration names, or the one with
    the best validation metric: the item codes, the ridge weights' share of them, the repeat codes, the lifts of the learned
    codes."""
    sequences = trainer.sequences
    popularity = np.bincount(sequences.items, minlength=model.num_items)
    report: dict[str, float] = {}
    if model.item_memory is not None:
        model.item_memory.fit(item_counts(model.config.item_codes, sequences, model.num_items), popularity)
    if model.memory is not None:
        coded = code_positions(trainer, model)
        model.memory.fit(code_counts(model, coded.codes, coded.boosts, coded.targets, coded.rows), popularity)
    table = functools.cache(lambda: CodeTable(model, trainer.validation))
    if model.item_memory is not None:
        given = model.config.item_codes.weight
        report |= _weigh(
            trainer, model.item_memory, "item_codes", given, lambda w: table().score_function(item_weight=w)
        )
        report |= _mix(trainer, model.config.item_codes, model.item_memory, lambda: table().score_function())
    if model.repeat is not None:
        model.repeat.fit(*repeat_counts(sequences, model.num_items))
        report |= _repeat(
            trainer, model.config.item_codes, model.repeat, lambda w: table().score_function(repeat_weight=w)
        )
    memory = model.memory
    if memory is not None:
        item_weight = float(model.item_memory.weight) if model.item_memory is not None else 0.0
        given = model.config.scorer.memory_weight
        report |= _weigh(trainer, memory, "memory", given, lambda w: table().score_function(w, item_weight))
    return report


def _weigh(
    trainer: Trainer, memory: Memory, name: str, given: float | None, scores_with: Callable[[float], ScoreFunction]
) -> dict[str, float]:
    """Give a memory its weight: the given one, or the one whose scores are best on validation; logs all that were tried."""
    if given is not None:
        memory.weight.fill_(given)
        return {f"{name}_weight": given}
    metric = trainer.config.training.metric
    best, found = best_weight(lambda weight: trainer.metrics(scores_with(weight))[metric])
    memory.weight.fill_(best)
    trainer.log.write(stage=name, **{f"weight {weight}": value for weight, value in found.items()})
    return {f"{name}_weight": best, f"{name}_validation": found[best]}


def _mix(
    trainer: Trainer, config: ItemCodesConfig, memory: Memory, scores: Callable[[], ScoreFunction]
) -> dict[str, float]:
    """Give ridge weights their share beside the item codes' lifts: the given one, or the one whose scores are best on validation
    in the mean of both views, since what they tell is mostly of items that are new to a user; logs all that were tried."""
    given = config.ridge_share
    if given == 0 or not memory.active:
        return {"ridge_share": 0.0}
    if given is None:
        trainer.must_choose("the share of ridge weights")
    ridge = ridge_weights(trainer.sequences, memory.trained())
    if not ridge.any():
        return {"ridge_share": 0.0}
    ridge *= np.float32(memory.lifts.data.mean() / ridge.mean())
    if given is not None:
        memory.mix(ridge, given)
        return {"ridge_share": given}

    def mixed(share: float) -> ScoreFunction:
        memory.mix(ridge, share)
        return scores()

    best, validated = trainer.best_share("ridge", SHARES, mixed)
    memory.mix(ridge, best)
    return {"ridge_share": best, "ridge_validation": validated}


def _repeat(
    trainer: Trainer, config: ItemCodesConfig, repeat: Repeat, scores_with: Callable[[float], ScoreFunction]
) -> dict[str, float]:
    """Give the repeat codes their weight and power: the given ones, or those whose scores are best on validation, with every item
    ranked (where seen ones are left out they change nothing); logs all that were tried. 0 where nobody comes back to an item."""
    weight, power = config.repeat_weight, config.repeat_power
    if weight is None:
        trainer.must_choose("the weight of the repeat codes")
    if weight == 0 or (weight is None and not comes_back(trainer.validation)):
        return {"repeat_weight": 0.0}
    if weight is not None and power is not None:
        repeat.weight.fill_(weight)
        repeat.power.fill_(power)
        return {"repeat_weight": weight, "repeat_power": power}
    trainer.must_choose("what repeat rates say")
    metric, found = trainer.config.training.metric, {}
    powers = POWERS if repeat.differs else POWERS[:1]
    for tried in powers if power is None else (power,):
        repeat.power.fill_(tried)
        best, by_weight = best_weight(
            lambda weight: trainer.metrics(scores_with(weight))[metric], REPEATS if weight is None else (weight,)
        )
        found[tried] = by_weight[best], best, by_weight
    power = max(found, key=lambda tried: found[tried][0])
    top, weight, by_weight = found[power]
    repeat.weight.fill_(weight)
    repeat.power.fill_(power)
    by_power = {f"power {tried}": value for tried, (value, _, _) in found.items()}
    trainer.log.write(stage="repeat", **{f"weight {tried}": value for tried, value in by_weight.items()}, **by_power)
    return {"repeat_weight": weight, "repeat_power": power, "repeat_validation": top}


def comes_back(cases: Cases) -> bool:
    """Whether any case looks for an item of its history."""
    met, asked = cases.history, cases.targets
    pairs = [np.concatenate([met.items, asked.items]), np.concatenate([met.owners, asked.owners])]
    return bool(repeats(pairs)[len(met.items) :].any())


def best_weight(
    metric_at: Callable[[float], float], tried: Sequence[float] = WEIGHTS
) -> tuple[float, dict[float, float]]:
    """The weight by which a metric is best, and the metric at each that was tried."""
    found = {weight: metric_at(weight) for weight in tried}
    return max(found, key=lambda weight: found[weight]), found


def repeat_counts(sequences: Sequences, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """How many users have each item, and how many have it more than once, int64 [I] twice."""
    ones = np.ones(len(sequences.items), dtype=np.int64)
    shape = (len(sequences), num_items)
    events = sparse.coo_matrix((ones, (sequences.owners, sequences.items)), shape=shape).tocsr()
    several = events.indices[events.data > 1]
    return np.bincount(events.indices, minlength=num_items), np.bincount(several, minlength=num_items)


def item_counts(
    config: ItemCodesConfig, sequences: Sequences, num_items: int, counted: np.ndarray | None = None
) -> sparse.csr_matrix:
    """n(j, c) of item codes: what item j counts among the `window` items before each event c, float64 [I, I].

    counted: which events are counted as c, bool, one an event of the sequences; None means all.
    """
    owner = sequences.owners
    counts = sparse.csr_matrix((num_items, num_items), dtype=np.float64)
    for lag in range(1, config.window + 1):
        together = owner[:-lag] == owner[lag:]
        if counted is not None:
            together &= counted[lag:]
        before, after = sequences.items[:-lag][together], sequences.items[lag:][together]
        weights = np.full(len(before), config.window_decay ** (lag - 1))
        counts = counts + sparse.coo_matrix((weights, (before, after)), shape=counts.shape).tocsr()
    return sparse.csr_matrix(counts)


def code_counts(
    model: SparCode, codes: np.ndarray, boosts: np.ndarray, targets: np.ndarray, rows: np.ndarray | None = None
) -> sparse.csr_matrix:
    """n(k, c) of the quantizer's codes (M = 1), float64 [rows, I]: codes and boosts of T positions as of `assign_codes`, and the
    items that followed, [P].

    rows: which position each item followed, [P]; None where each was followed by one.
    """
    has_code = (np.repeat(np.arange(len(codes)), codes.shape[1]), model.table_rows(codes).ravel())
    shape = (len(codes), model.num_possible_codes)
    given = sparse.coo_matrix((boosts.ravel().astype(np.float64), has_code), shape=shape).tocsr()
    after = (np.arange(len(codes)) if rows is None else rows, targets)
    followed = sparse.coo_matrix((np.ones(len(targets)), after), shape=(len(codes), model.num_items)).tocsr()
    counts = sparse.csr_matrix(given.T @ followed)
    counts.eliminate_zeros()
    return counts
