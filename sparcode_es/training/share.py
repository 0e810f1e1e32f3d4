"""How far what stage `codes` has learned is followed: the weights between those that it began with and those that it ended with.

What begins from a converged two-tower learns its training histories better than new ones. Half of the way is better than either
end (weight-space interpolation, Wortsman et al. 2022), and costs nothing but a few validations.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparcode_es.data.dataset import ScoreFunction
from sparcode_es.models.sparcode import SparCode
from sparcode_es.training.trainer import Trainer

LEARNED_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)


def learned_weights(model: nn.Module) -> dict[str, Tensor]:
    """A copy of the parameters that learn, by name."""
    return {name: value.detach().clone() for name, value in model.named_parameters() if value.requires_grad}


@torch.no_grad()
def follow(model: nn.Module, begun: Mapping[str, Tensor], learned: Mapping[str, Tensor], share: float) -> None:
    """Set the parameters at this share of the way from `begun` to `learned`, exactly so at 0 and 1."""
    parameters = dict(model.named_parameters())
    for name, start in begun.items():
        parameters[name].copy_(torch.lerp(start, learned[name], share))


def follow_learning(trainer: Trainer, model: SparCode, begun: Mapping[str, Tensor]) -> dict[str, float]:
    """Give a model that has learned from `begun` the share of it that the configuration names, or the one whose scores are best
    on validation in the mean of both views; logs all that were tried, and gives what the report says of it."""
    share = trainer.config.training.codes.learned_share
    learned = learned_weights(model)
    if share is not None:
        follow(model, begun, learned, share)
        return {"learned_share": share}
    if all(torch.equal(begun[name], learned[name]) for name in begun):
        return {"learned_share": 1.0}
    trainer.must_choose("the share of what the codes learned")

    def followed(share: float) -> ScoreFunction:
        follow(model, begun, learned, share)
        return model.case_scores(trainer.validation)

    best, validated = trainer.best_share("share", LEARNED_SHARES, followed)
    follow(model, begun, learned, best)
    return {"learned_share": best, "learned_validation": validated}
