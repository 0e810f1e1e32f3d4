"""SparCode without its codes of items, their ridge weights or the repeat codes, and a two-tower with the codes of items, each at
weights of its own, which validation chooses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sparcode_es.baselines.two_tower import TwoTower
from sparcode_es.data.dataset import Cases, Dataset, ScoreFunction
from sparcode_es.models.case_scores import CodeTable, ItemPart
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.memory import REPEATS, WEIGHTS, best_weight
from sparcode_es.training.trainer import sample_cases, validation_metrics

WITHOUT_ITEM_CODES = "SparCode without item codes"
WITHOUT_RIDGE, WITHOUT_REPEAT = "SparCode without ridge weights", "SparCode without repeat codes"


def leave_out(model: SparCode, dataset: Dataset) -> float:
    """Take the weights of the codes of items from a model; see `_weigh_lifts`."""
    for part in (model.item_memory, model.repeat):
        if part is not None:
            part.weight.zero_()
    return _weigh_lifts(model, dataset)


def leave_out_ridge(model: SparCode, dataset: Dataset) -> float:
    """Take the ridge weights from a model's item codes, whose weight was chosen without them; see `_weigh_lifts`."""
    assert model.item_memory is not None
    model.item_memory.mix(np.zeros(0, dtype=np.float32), 0.0)
    return _weigh_lifts(model, dataset)


def leave_out_repeat(model: SparCode, dataset: Dataset) -> float:
    """Take the repeat codes' weight from a model; see `_weigh_lifts`."""
    assert model.repeat is not None
    model.repeat.weight.zero_()
    return _weigh_lifts(model, dataset)


def _weigh_lifts(model: SparCode, dataset: Dataset) -> float:
    """Give the lifts of a model's learned codes the weight that is best for them on validation now, or that the configuration
    names. Returns it, 0 where the model has none."""
    memory = model.memory
    if memory is None:
        return 0.0
    if model.config.scorer.memory_weight is None:
        memory.weight.zero_()
        valid = validation_cases(model, dataset)
        table = CodeTable(model, valid)
        memory.weight.fill_(_best(model, dataset, valid, table.score_function))
    return float(memory.weight)


def beside_tower(
    twin: TwoTower, model: SparCode, dataset: Dataset, cases: Cases
) -> tuple[ScoreFunction, dict[str, float]]:
    """The two-tower's scores plus SparCode's codes of items, at the weights that are best for the two-tower on validation: of the
    item codes, then of the repeat codes where SparCode has them."""
    valid = validation_cases(model, dataset)

    def scores_at(weight: float, repeat_weight: float, cases: Cases) -> ScoreFunction:
        towers, items = twin.case_scores(cases), ItemPart(model, cases)

        def score(rows: np.ndarray) -> np.ndarray:
            found = towers(rows)
            items.add_to(found, rows, weight, repeat_weight)
            return found

        return score

    weight = _best(model, dataset, valid, lambda weight: scores_at(weight, 0.0, valid))
    repeat_weight = 0.0
    if model.repeat is not None and model.repeat.active:
        repeat_weight = _best(model, dataset, valid, lambda tried: scores_at(weight, tried, valid), REPEATS)
    return scores_at(weight, repeat_weight, cases), {"item_codes_weight": weight, "repeat_weight": repeat_weight}


def validation_cases(model: SparCode, dataset: Dataset) -> Cases:
    """The cases that chose the model's weights."""
    settings = model.config.training
    return sample_cases(dataset.cases("valid"), settings.validation_users, settings.seed)


def _best(
    model: SparCode,
    dataset: Dataset,
    valid: Cases,
    scores_at: Callable[[float], ScoreFunction],
    tried: Sequence[float] = WEIGHTS,
) -> float:
    """The weight whose scores of the validation cases are best by the metric that chose the model's."""
    metric = model.config.training.metric
    return best_weight(lambda weight: validation_metrics(scores_at(weight), valid, dataset)[metric], tried)[0]
