"""All-to-All SA, the oracle: every item meets the whole history (Eq. 2), as no index could answer it (§4.1.2, §4.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from sparcode_es.config import StageConfig
from sparcode_es.data.dataset import Cases, ScoreFunction
from sparcode_es.models.base import TokenModel, Tower
from sparcode_es.models.batches import Batch, no_histories
from sparcode_es.models.candidates import FullInteraction, LateInteraction, Reading
from sparcode_es.models.encode import histories_of
from sparcode_es.models.feature_tokenizer import FeatureTokenizer
from sparcode_es.models.losses import NegativeSampler, sampled_softmax
from sparcode_es.models.tokenizers import OwnItems

BLOCKS = {"cpu": (16, 1024), "cuda": (64, 4096)}
"""Cases and items that are scored at once: what is between them stays in a processor's cache, or keeps a GPU busy."""


class AllToAll(TokenModel):
    """SparCode without quantizer and sparse index. It begins with the tower's tokenizer and item vectors, and with its scores
    unless a net (`dnn`, `inner_pdnn`, `crossnet`) is all that there is between them: form `late` without `scorer.residual`."""

    begins_from_tower = True

    def build(self) -> None:
        """Make the layers."""
        config = self.config
        self.build_tower()
        late = config.all_to_all.form == "late"
        own_items = late and config.scorer.untied_items
        self.candidates = OwnItems(self.num_items, config.tokenizer.dim) if own_items else None
        self.interaction = (LateInteraction if late else FullInteraction)(config)

    def begin_from(self, tower: Tower) -> None:
        """The tower's tokenizer and scale; the candidates' own vectors, where there are any, as a copy of its items'."""
        self.take_tower(tower)
        if self.candidates is not None:
            self.candidates.begin_from(self.tokenizer)
        self.tokenizer.requires_grad_(not self.config.training.freeze_tokenizer)

    @property
    def stage_config(self) -> StageConfig:
        """`all_to_all.stage`."""
        return self.config.all_to_all.stage

    def items(self, items: Tensor) -> Tensor:
        """Vectors of candidates int64 [n], with features, [n, D]."""
        if self.candidates is None:
            return self.tokenizer.targets(items)
        return self.candidates.vectors(items, self.tokenizer)

    def read(self, histories: Tensor, positions: Tensor, users: Tensor) -> Reading:
        """See `Tokenizer.forward`."""
        if isinstance(self.tokenizer, FeatureTokenizer):
            return Reading.of_tokens(self.tokenizer(histories, positions, users))
        L = histories.shape[1]
        states = self.tokenizer.states(histories)
        visible = torch.arange(L, device=positions.device) <= (positions % L).unsqueeze(1)
        return Reading(self.tokenizer.tokens_of(states, positions, users), states, positions // L, visible)

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """The sampled softmax (Eq. 12) of some positions of each history."""
        settings = self.config.all_to_all
        batch = batch.some(settings.positions)
        candidates = sampler.drawing(settings.num_negatives).draw(batch.targets)
        reading = self.read(batch.histories, batch.positions, batch.users)
        scores = self.interaction(reading, self.items(candidates.items), self.log_scale.exp())
        return sampled_softmax(batch.spread(scores), candidates)

    def case_scores(self, cases: Cases) -> ScoreFunction:
        """Eq. 2 of the cases' histories; each is read once, and all items are scored in blocks."""

        @torch.inference_mode()
        def score(rows: np.ndarray) -> np.ndarray:
            device, scale = self.log_scale.device, self.log_scale.exp()
            scores = np.empty((len(rows), self.num_items), dtype=np.float32)
            cases_at_once, items_at_once = BLOCKS.get(device.type, BLOCKS["cuda"])
            blocks = [self.items(part) for part in torch.arange(self.num_items, device=device).split(items_at_once)]
            by_length = np.argsort(np.diff(cases.history_offsets.astype(np.int64))[rows], kind="stable")
            for some in np.split(by_length, range(cases_at_once, len(rows), cases_at_once)):
                reading = self._read_cases(cases, rows[some], device)
                parts = [self.interaction(reading, block, scale) for block in blocks]
                scores[some] = torch.cat(parts, dim=1).float().cpu().numpy()
            return scores

        return score

    def _read_cases(self, cases: Cases, rows: np.ndarray, device: torch.device) -> Reading:
        config = self.config.tokenizer
        if config.source == "history":
            histories, positions = histories_of(cases.history_offsets, cases.history_items, rows, config.max_length)
        else:
            histories, positions = no_histories(len(rows))
        users = torch.from_numpy(cases.users[rows].astype(np.int64))
        return self.read(histories.to(device), positions.to(device), users.to(device))
