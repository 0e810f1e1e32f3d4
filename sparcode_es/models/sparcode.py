"""SparCode: user → tokens → codes; (code, item) → sparse score; user → Σ of their codes' scores (Eq. 3-11).

B histories, P positions, K = K_u tokens, R codes a token, Q code vectors, n items, D.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import torch
from scipy.sparse import csc_matrix
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.codes import ITEM_HEAD, REPEAT_HEAD, ItemCodes, LatestItems, side_by_side
from sparcode_es.data.dataset import Cases, ScoreFunction
from sparcode_es.models.base import TokenModel, Tower
from sparcode_es.models.batches import Batch
from sparcode_es.models.case_scores import CodeTable
from sparcode_es.models.losses import Candidates, NegativeSampler, sampled_softmax
from sparcode_es.models.memory import Memory
from sparcode_es.models.pair_tables import PairTables
from sparcode_es.models.quantizer import Assignment, Quantizer
from sparcode_es.models.repeat import Repeat
from sparcode_es.models.scorers import make_item_tokens, make_scorer, scaled_scores
from sparcode_es.models.tokenizers import OwnItems


class SparCode(TokenModel):
    """The model of the paper. It is also a `CodeScorer` (see `sparcode_es.postings.score`): `all_codes`, `score_codes`, …"""

    begins_from_tower = True

    def build(self) -> None:
        """Make the layers."""
        config = self.config
        tokenizer, quantizer, scorer = config.tokenizer, config.quantizer, config.scorer
        self.build_tower()
        self.quantizer = Quantizer(quantizer, tokenizer.dim, tokenizer.tokens)
        self.scorer_items = OwnItems(self.num_items, tokenizer.dim) if scorer.untied_items else None
        self.item_tokens = make_item_tokens(scorer, tokenizer.dim, tokenizer.item_tokens)
        self.scorer = make_scorer(scorer, tokenizer.dim, tokenizer.item_tokens)
        codes = torch.zeros_like(self.quantizer.codebooks)
        self.code_offsets = nn.Parameter(codes) if scorer.free_codes else None
        self.bias_parameter = nn.Parameter(torch.zeros(()))
        self.memory = Memory(self.quantizer.sets * quantizer.codes, self.num_items) if scorer.memory else None
        self.item_memory = Memory(self.num_items, self.num_items) if config.item_codes.latest else None
        self.repeat = Repeat(self.num_items) if config.item_codes.latest and config.item_codes.repeat_latest else None

    def begin_from(self, tower: Tower) -> None:
        """The tower's tokenizer and scale, and a copy of its item vectors for the scorer.

        The tower's score is the mean over K_u tokens and Eq. 11 a sum: a token begins with a K_u-th of the scale.
        """
        self.take_tower(tower, self.config.tokenizer.tokens)
        self.untie_items()

    # -- the user's side ------------------------------------------------------------------------------------------

    def code_vectors(self, tokens: Tensor | None, assignment: Assignment) -> Tensor:
        """What the scorer reads of each code, T̃ (+ Δ), [P, K, R, D]. tokens: where a gradient goes to them."""
        vectors = self.quantizer.quantised(tokens, assignment)
        if self.code_offsets is not None:
            vectors = vectors + self.quantizer.entries(self.code_offsets, assignment.codes)  # Δ
        return vectors

    # -- the item's side ------------------------------------------------------------------------------------------

    def untie_items(self) -> None:
        """Begin the scorer's own item vectors so that `items` are the tower's."""
        if self.scorer_items is not None:
            self.scorer_items.begin_from(self.tokenizer)

    def items(self, items: Tensor) -> Tensor:
        """Item tokens T^c of item numbers int64 [n], [n, K_c, D]."""
        tokens: Tensor = self.item_tokens(self.item_vectors(items))
        return tokens

    def item_vectors(self, items: Tensor) -> Tensor:
        """What the tokens of items int64 [n] are linear in, [n, D]."""
        if self.scorer_items is None:
            return self.tokenizer.targets(items)
        return self.scorer_items.vectors(items, self.tokenizer)

    # -- scores ---------------------------------------------------------------------------------------------------

    def pair_scores(self, vectors: Tensor, item_tokens: Tensor) -> Tensor:
        """S of Eq. 9, without memory: [Q, D], [n, K_c, D] → [Q, n]."""
        return scaled_scores(self.config.scorer, self.scorer, vectors, item_tokens, self.log_scale.exp())

    def candidate_scores(self, tokens: Tensor | None, assignment: Assignment, items: Tensor) -> Tensor:
        """ŷ of Eq. 10 and 11 for the same items for everybody. tokens [P, K, D] where they learn, items int64 [n] → [P, n].

        Where a code's vector carries no gradient to the token, each distinct code is scored once and shared.
        """
        P, K, R, _M = assignment.codes.shape
        item_tokens = self.items(items)
        if self._shares_codes():
            rows = self._flat_rows(assignment.codes)
            distinct, inverse = torch.unique(rows, return_inverse=True)
            vectors = self.row_vectors(distinct)
            sparse = F.relu(self.pair_scores(vectors, item_tokens) + self.bias_parameter)  # Eq. 10
            weights = torch.zeros(P, len(distinct), device=items.device)
            weights = weights.scatter_add(1, inverse.view(P, K * R), assignment.boosts.reshape(P, K * R))
            return weights @ sparse  # Eq. 11
        vectors = self.code_vectors(tokens, assignment).reshape(P * K * R, -1)
        sparse = F.relu(self.pair_scores(vectors, item_tokens) + self.bias_parameter).view(P, K * R, -1)
        return torch.einsum("pk,pkn->pn", assignment.boosts.reshape(P, K * R), sparse)

    def position_loss(
        self, tokens: Tensor | None, assignment: Assignment, candidates: Candidates, rows: Tensor | None = None
    ) -> Tensor:
        """Eq. 14 of some positions: their codes, and tokens [T, K, D] where they learn, against the candidates; rows as in
        `Batch`."""
        scores = self.candidate_scores(tokens, assignment, candidates.items)
        loss = sampled_softmax(scores if rows is None else scores[rows], candidates)
        if tokens is not None:
            loss = loss + self.config.quantizer.commitment * self.quantizer.commitment(tokens, assignment)
        return loss

    def loss(self, batch: Batch, sampler: NegativeSampler) -> Tensor:
        """Eq. 14 of a batch, end to end from its histories."""
        tokens = self.tokens(batch.histories, batch.positions, batch.users)
        return self.position_loss(tokens, self.quantizer.assign(tokens), sampler.draw(batch.targets), batch.rows)

    def case_scores(self, cases: Cases) -> ScoreFunction:
        """Σ boost · ReLU(S + b) (Eq. 10 and 11) of the cases' histories, unrounded."""
        return CodeTable(self, cases).score_function()

    def _shares_codes(self) -> bool:
        quantizer = self.config.quantizer
        return quantizer.codebooks == 1 and (quantizer.assignment == "pursuit" or quantizer.gradient == "commitment")

    def _flat_rows(self, codes: Tensor) -> Tensor:
        """Codes of M = 1, int64 [P, K, R, 1] → rows of the (head set, code) table, [P, K, R]."""
        if self.quantizer.sets == 1:
            return codes[..., 0]
        head = torch.arange(codes.shape[1], device=codes.device).view(1, -1, 1)
        return codes[..., 0] + head * self.config.quantizer.codes

    def row_vectors(self, rows: Tensor) -> Tensor:
        """Code vectors of M = 1 table rows, [Q, D]."""
        vectors = self.quantizer.codebooks.flatten(0, 2)[rows]
        return vectors if self.code_offsets is None else vectors + self.code_offsets.flatten(0, 2)[rows]

    # -- the CodeScorer protocol ----------------------------------------------------------------------------------

    @property
    def bias(self) -> float:
        """b of Eq. 10."""
        return float(self.bias_parameter.detach())

    @property
    def shared_heads(self) -> bool:
        """Whether all heads share their codebooks (terms `12_201`) or not (`h3_12_201`)."""
        return self.quantizer.sets == 1

    @property
    def num_possible_codes(self) -> int:
        """N^M, times the heads that have codebooks of their own."""
        return self.quantizer.sets * int(self.config.quantizer.codes**self.config.quantizer.codebooks)

    def all_codes(self) -> np.ndarray:
        """Every possible code, uint32 [C, 1 + M]: head, then M sub-codes. Only to be called where C is small."""
        N, M = self.config.quantizer.codes, self.config.quantizer.codebooks
        index = np.arange(self.num_possible_codes, dtype=np.int64)
        columns = [index // N**M] + [(index // N ** (M - 1 - m)) % N for m in range(M)]
        return np.stack(columns, axis=1).astype(np.uint32)

    @torch.inference_mode()
    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        """S of Eq. 9 with memory, before bias and ReLU: codes uint32 [C, 1 + M] → float32 [C, len(items)]."""
        device = self.bias_parameter.device
        start, stop, _ = items.indices(self.num_items)
        item_tokens = self.items(torch.arange(start, stop, device=device))
        scores = self.pair_scores(self.vectors_of(codes), item_tokens).float().cpu()
        if self.memory is not None and self.memory.active:
            scores = scores + float(self.memory.weight) * self.memory(self.table_rows(codes), start, stop)
        return scores.numpy()

    def score_tiles(self, codes: np.ndarray, most_codes: int, most_items: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """The scores of `score_codes` for all items, in tiles of at most so many codes and items: see `PairTables.tiles`."""
        with torch.inference_mode():
            tables = PairTables(self, codes)
        return tables.tiles(most_codes, most_items)

    def lifts_of(self, codes: np.ndarray) -> csc_matrix | None:
        """The weighted lifts of codes uint32 [C, 1 + M] as they are added to S, float32 [C, I]; None where there are none."""
        if self.memory is None or not self.memory.active:
            return None
        lifts = self.memory.lifts[self.table_rows(codes)].tocsc()
        lifts.data *= np.float32(float(self.memory.weight))
        return lifts

    def table_rows(self, codes: np.ndarray) -> np.ndarray:
        """Codes uint32 [..., 2] of M = 1 → rows of the (head set, code) table and of the memory, int64 [...]."""
        return codes[..., 0].astype(np.int64) * self.config.quantizer.codes + codes[..., 1]

    @property
    def latest_items(self) -> tuple[LatestItems, ...]:
        """Which items of a history give a code: of the kinds to which validation gave a weight, by head."""
        return tuple(latest for _, latest in self._kinds_of_item_codes())

    @property
    def item_codes(self) -> ItemCodes | None:
        """The scores of the codes of items, made anew; None where there are none, see `latest_items`."""
        parts = [part.as_item_codes() for part, _ in self._kinds_of_item_codes()]
        return side_by_side(parts) if parts else None

    def _kinds_of_item_codes(self) -> Iterator[tuple[Repeat | Memory, LatestItems]]:
        settings = self.config.item_codes
        if self.repeat is not None and self.repeat.active:
            yield self.repeat, LatestItems(REPEAT_HEAD, settings.repeat_latest, settings.repeat_decay)
        if self.item_memory is not None and self.item_memory.active:
            yield self.item_memory, LatestItems(ITEM_HEAD, settings.latest, settings.decay)

    def vectors_of(self, codes: np.ndarray) -> Tensor:
        """Code vectors of codes uint32 [C, 1 + M], [C, D] (Eq. 8)."""
        table = self.quantizer.codebooks if self.code_offsets is None else self.quantizer.codebooks + self.code_offsets
        index = torch.from_numpy(codes.astype(np.int64)).to(table.device)
        books = torch.arange(index.shape[1] - 1, device=table.device)
        return table[index[:, :1], books, index[:, 1:]].flatten(1)

    @property
    def codebook_hash(self) -> str:
        """Changes when any code would mean something else: SHA-256 over the codebooks, as 16 hexadecimal digits."""
        return hashlib.sha256(self.quantizer.codebooks.cpu().numpy().tobytes()).hexdigest()[:16]

    @property
    def model_hash(self) -> str:
        """SHA-256 over all weights and buffers, as 16 hexadecimal digits."""
        digest = hashlib.sha256()
        for name, value in sorted(self.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy())  # read in place: a table of items is large
        return digest.hexdigest()[:16]
