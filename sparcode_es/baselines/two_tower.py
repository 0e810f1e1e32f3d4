"""The two-tower twin: the same tokenizer, a dot product, no quantizer (Eq. 1)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from sparcode_es.data.dataset import Cases, ScoreFunction
from sparcode_es.models.base import TokenModel
from sparcode_es.models.batches import Batch
from sparcode_es.models.encode import encode_tokens
from sparcode_es.models.losses import NegativeSampler, sampled_softmax

BLOCK = 32_768
"""Items embedded at once."""


class TwoTower(TokenModel):
    """score(user, item) = scale · <mean of the user's tokens, item vector>, the vector as in `ItemEmbedder.as_targets`.

    The embedding is the tokenizer's own, unless `two_tower.untied_items` gives the item tower one.
    """

    def build(self) -> None:
        """Make the layers."""
        config = self.config
        self.build_tower()
        self.output_item_embedding: nn.Embedding | None = None
        if config.two_tower.untied_items:
            self.output_item_embedding = nn.Embedding(self.num_items, config.tokenizer.dim)
            self.output_item_embedding.load_state_dict(self.tokenizer.item_embedding.state_dict())

    def items(self, items: Tensor) -> Tensor:
        """The item tower: int64 [n] → [n, D] (Eq. 5, summed), as in `ItemEmbedder.as_targets`."""
        embedded = self.tokenizer.items(items)
        if self.output_item_embedding is not None:
            embedded = embedded - self.tokenizer.item_embedding(items) + self.output_item_embedding(items)
        return self.tokenizer.as_targets(embedded)

    def member_scores(self, tokens: Tensor, items: Tensor) -> Iterator[Tensor]:
        """Each member's scores, whose mean is the tower's: tokens [P, K, D], items int64 [n] → [P, n]."""
        members = self.config.tokenizer.members
        scale = members * self.log_scale.exp()
        for user, item in zip(tokens.mean(1).chunk(members, -1), self.items(items).chunk(members, -1), strict=True):
            yield scale * user @ item.T

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """The sampled softmax (Eq. 12) of the dot products; of an ensemble the sum of its members', each by its own scores."""
        candidates = sampler.draw(batch.targets)
        tokens = self.tokens(batch.histories, batch.positions, batch.users)
        scores = self.member_scores(tokens, candidates.items)
        return torch.stack([sampled_softmax(batch.spread(member), candidates) for member in scores]).sum()

    @torch.inference_mode()
    def item_vectors(self) -> Tensor:
        """Every item's vector, scaled, on the CPU: a user's score is a dot product with it. [I, D]."""
        parts = torch.arange(self.num_items, device=self.log_scale.device).split(BLOCK)
        items = torch.cat([self.items(part).cpu() for part in parts])
        return items * float(self.log_scale.exp())

    def user_vectors(self, cases: Cases) -> Tensor:
        """The vector of each case's history, on the CPU, [n, D]."""
        return encode_tokens(self, cases.history_offsets, cases.history_items, cases.users).mean(1)

    def case_scores(self, cases: Cases) -> ScoreFunction:
        """Eq. 1 of the cases' histories."""
        device = self.log_scale.device
        users, items = self.user_vectors(cases).to(device), self.item_vectors().to(device)
        return lambda rows: (users[torch.from_numpy(rows).to(device)] @ items.T).cpu().numpy()
