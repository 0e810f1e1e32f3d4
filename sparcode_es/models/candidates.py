"""User against candidate with nothing quantised: the interactions of All-to-All SA (Eq. 2).

P positions of histories, K = K_u tokens, n candidates that all positions share, L events, D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from sparcode_es.config import Config
from sparcode_es.models.dropout import Dropout
from sparcode_es.models.scorers import make_item_tokens, make_scorer, scaled_scores
from sparcode_es.models.tokenizers import Block


@dataclass(frozen=True)
class Reading:
    """What the tokenizer made of P positions in B histories: tokens [P, K, D]; states of the histories, [B, L, D]; the
    history of each position, int64 [P]; which of its states are read, bool [P, L]."""

    tokens: Tensor
    states: Tensor
    owners: Tensor
    visible: Tensor

    @classmethod
    def of_tokens(cls, tokens: Tensor) -> Reading:
        """Tokens of users without a history: there are no states to read."""
        nothing = tokens.new_zeros(0)
        return cls(tokens, nothing, nothing, nothing)


class LateInteraction(nn.Module):
    """SparCode's scorer on the tokens themselves: Eq. 9 without Eq. 7, and Eq. 11's sum over the tokens as their mean."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config.scorer
        dim, item_tokens = config.tokenizer.dim, config.tokenizer.item_tokens
        self.item_tokens = make_item_tokens(config.scorer, dim, item_tokens)
        self.scorer = make_scorer(config.scorer, dim, item_tokens)

    def forward(self, reading: Reading, items: Tensor, scale: Tensor) -> Tensor:
        """items: [n, D] → scores [P, n]."""
        P, K, _ = reading.tokens.shape
        scores = scaled_scores(self.config, self.scorer, reading.tokens.flatten(0, 1), self.item_tokens(items), scale)
        return scores.view(P, K, -1).mean(1)


class CandidateBlock(Block):
    """A Transformer block that also takes candidates, each as the last token of a causal history.

    No state of the history may read what comes after it. So every candidate is computed alone, exactly as if it had been
    appended, while the history's keys and values are made once for all of them.
    """

    def join(self, candidates: Tensor, reading: Reading) -> Tensor:
        """candidates: [P or 1, n, D] → their states after the block, [P, n, D]."""
        _, key, value = (part[reading.owners] for part in self._split(reading.states))  # [P, heads, L, D / heads]
        own_query, own_key, own_value = self._split(candidates)  # [P or 1, heads, n, D / heads]
        own_query = own_query * own_query.shape[-1] ** -0.5
        logits = own_query @ key.transpose(-1, -2)  # [P, heads, n, L]
        logits = logits.masked_fill(~reading.visible[:, None, None, :], -torch.inf)
        itself = (own_query * own_key).sum(-1, keepdim=True).expand(*logits.shape[:-1], 1)
        weights = torch.softmax(torch.cat([logits, itself], -1), -1)
        attended = (weights[..., :-1] @ value + weights[..., -1:] * own_value).transpose(1, 2).flatten(2)
        x = candidates + self.output(attended)
        joined: Tensor = x + self.mlp(self.norm_mlp(x))
        return joined

    def _split(self, x: Tensor) -> tuple[Tensor, ...]:
        """[B, l, D] → query, key, value, each [B, heads, l, D / heads]."""
        B, length, D = x.shape
        projected: Tensor = self.query_key_value(self.norm_attention(x))
        return projected.view(B, length, 3, self.heads, D // self.heads).transpose(1, 3).unbind(2)


class FullInteraction(nn.Module):
    """The candidate as the history's next token, through further self-attention blocks on the tokenizer's states; its last
    state gives what the tower's dot product lacks. That part begins at 0.

    Dropout acts on what the blocks read, once a batch: a mask for each pair would cost as much as the pair.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        dim, settings = config.tokenizer.dim, config.all_to_all
        self.blocks = nn.ModuleList(
            CandidateBlock(dim, settings.attention_heads, 0.0, hidden=settings.hidden) for _ in range(settings.layers)
        )
        self.dropout = Dropout(settings.dropout)
        self.norm, self.score = nn.LayerNorm(dim), nn.Linear(dim, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.zeros_(self.score.bias)

    def forward(self, reading: Reading, items: Tensor, scale: Tensor) -> Tensor:
        """items: [n, D] → scores [P, n]."""
        scores = scale * (reading.tokens.mean(1) @ items.T)
        x, reading = self.dropout(items).unsqueeze(0), replace(reading, states=self.dropout(reading.states))
        for number, block in enumerate(self.blocks):
            if number:
                reading = replace(reading, states=self.blocks[number - 1](reading.states))
            x = block.join(x, reading)  # type: ignore[operator]
        extra: Tensor = self.score(self.norm(x)).squeeze(-1)
        return scores + extra
