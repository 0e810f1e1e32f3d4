"""S of Eq. 9 for fixed codes and all items, in tiles that stay in the cache: what building postings spends its time on.

C codes, n items, K_c tokens an item, D, h units of the first hidden layer. An item's tokens are linear in its vector e,
T_j = L_j e + l_j, and the first layer of every scorer but CrossNet is linear in T_j. So token layer and first layer become
one matrix a code, made once, whatever K_c is: unit u of `inner_pdnn` (Eq. 9) is <a_qu, [e; 1]> with
a_qu = Σ_j [L_j l_j]ᵀ (T̃_q ⊙ W_uj), and a pair costs h · (D + 1) products. With M ≥ 2 sub-codes a_qu is a sum of one vector a
sub-code: where sub-codes are less than half as many as codes, the product is formed once per (sub-code, item), and a pair
costs M - 1 additions a unit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es import csr
from sparcode_es.models.products import product
from sparcode_es.models.scorers import DNN, CrossNet, DotProduct, InnerPDNN, MaxSim

if TYPE_CHECKING:
    from sparcode_es.models.sparcode import SparCode

TILE_ITEMS = 1024
TILE_NUMBERS = {"cpu": 1 << 20, "cuda": 1 << 26}
"""Numbers of the first hidden layer that a tile has: 4 MB on a CPU, so that every later step finds them in the cache."""
TABLE_NUMBERS = 1 << 21
"""Numbers of the first hidden layer that are kept for all sub-codes and a tile's items."""
KEPT_NUMBERS = 1 << 26
"""Numbers of the codes' matrices that are kept from one tile of items to the next."""

ALIGNED = 256
"""Pairs are filled up to a multiple of this, so that a pair's score is the same to the bit whichever pairs stand beside it."""


class PairTables:
    """The codes' side of every product of one model's scorer, made once. Only for inference."""

    def __init__(self, model: SparCode, codes: np.ndarray) -> None:
        """codes: uint32 [C, 1 + M]."""
        self.model, self.codes, self.scorer = model, codes, model.scorer
        self.vectors = model.vectors_of(codes).double()
        linear, K_c = model.item_tokens.linear, model.item_tokens.tokens
        weight = torch.cat([linear.weight, linear.bias.unsqueeze(1)], dim=1).double()
        self.tokens = weight.view(K_c, -1, weight.shape[1])
        """[L_j l_j], float64 [K_c, D, D + 1]"""
        self.linear = self._linear_rows()
        self.first = _FirstLayer(self) if isinstance(self.scorer, (InnerPDNN, DNN)) else None
        self.lifts = model.lifts_of(codes)

    def _linear_rows(self) -> Tensor | None:
        """What S has that is linear in the item's vector, [g, C, D + 1]: of MaxSim a group a token, of which the best counts."""
        config, scale = self.model.config.scorer, self.model.log_scale.detach().exp().double()
        if isinstance(self.scorer, DotProduct):
            tokens = self.tokens.sum(0, keepdim=True)
        elif isinstance(self.scorer, MaxSim):
            tokens = self.tokens
        elif config.residual:
            tokens = self.tokens[:1]
        else:
            return None
        return (scale * torch.einsum("cd,gdx->gcx", self.vectors, tokens)).float().contiguous()

    @torch.inference_mode()
    def tiles(self, most_codes: int, most_items: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """First code row, first item, S float32 [codes, items]; all codes for some items, then the next."""
        items_at_once, codes_at_once = self._tile(most_codes, most_items)
        for start in range(0, self.model.num_items, items_at_once):
            stop = min(start + items_at_once, self.model.num_items)
            vectors = self.model.item_vectors(torch.arange(start, stop, device=self.vectors.device))
            ones = F.pad(vectors, (0, 1), value=1.0)  # [n, D + 1]
            tables = None if self.first is None else self.first.tables(ones)
            lifts = None if self.lifts is None else self.lifts[:, start:stop].tocsr()
            for code in range(0, len(self.codes), codes_at_once):
                part = slice(code, min(code + codes_at_once, len(self.codes)))
                scores = self._scores(part, vectors, ones, tables).cpu().numpy()
                if lifts is not None:
                    _add_lifts(scores, lifts[part])
                yield code, start, scores

    def _tile(self, most_codes: int, most_items: int) -> tuple[int, int]:
        """How many items and codes a tile has."""
        numbers = TILE_NUMBERS.get(self.vectors.device.type, TILE_NUMBERS["cuda"])
        width = self.first.width if self.first is not None else self.scorer.numbers_a_pair
        items = min(most_items, TILE_ITEMS * numbers // TILE_NUMBERS["cpu"])
        if self.first is not None and self.first.sub_codes:
            items = min(items, max(64, TABLE_NUMBERS // (width * self.first.sub_codes)))
        return items, min(most_codes, max(1, numbers // (items * width)))

    def _scores(self, part: slice, vectors: Tensor, ones: Tensor, tables: list[Tensor] | None) -> Tensor:
        """S [q, n] of some codes: the linear part, and what a network adds."""
        q, n = part.stop - part.start, len(ones)
        if self.linear is None:
            scores = ones.new_zeros(q, n)
        else:
            groups = [product(rows[part], ones) for rows in self.linear]
            scores = groups[0] if len(groups) == 1 else torch.stack(groups).amax(0)
        if self.first is not None and tables is not None:
            scores += self.first.head(self.first.hidden(part, ones, tables)).view(q, n)
        elif isinstance(self.scorer, CrossNet):
            scores += self.scorer(self.vectors[part].float(), self.model.item_tokens(vectors))
        return scores


class _FirstLayer:
    """The first hidden layer of an MLP over pairs, and the layers after it; units come first in every array."""

    def __init__(self, pairs: PairTables) -> None:
        scorer = pairs.scorer
        assert isinstance(scorer, (InnerPDNN, DNN))
        self.pairs, self.layers = pairs, scorer.head
        self.width = int(scorer.head.first_width)
        self.sub_codes = 0
        """How many sub-codes have a table of their own; 0 where every code has its own product."""
        self.kept: dict[int, Tensor] = {}
        if isinstance(scorer, DNN):
            tokens = scorer.item.weight.double().view(self.width, *pairs.tokens.shape[:2])
            self.items = torch.einsum("ujd,jdx->ux", tokens, pairs.tokens).float()
            # In float64 first, as below: a float32 product of one code would be summed in another order than that of many.
            layer = scorer.code
            self.codes = (
                F.linear(pairs.vectors, layer.weight.double(), layer.bias.double()).T.float().contiguous()
            )  # [h, C]
            return
        folded = torch.einsum("ujd,jdx->udx", scorer.weight.double(), pairs.tokens)
        self.folded, self.bias = folded, scorer.bias.double()  # [h, D, D + 1], [h]
        self._split()

    def _split(self) -> None:
        """With M ≥ 2 and few sub-codes: the rows of every sub-code, [h, S_m, D + 1], and which are a code's."""
        codes, M = self.pairs.codes, self.pairs.codes.shape[1] - 1
        self.rows_of: list[Tensor] = []
        self.places: list[Tensor] = []
        found = [np.unique(codes[:, [0, 1 + m]], axis=0, return_index=True, return_inverse=True) for m in range(M)]
        if M == 1 or 2 * sum(len(first) for _, first, _ in found) > len(codes):
            return
        for m, (parts, (_, first, inverse)) in enumerate(zip(self.folded.chunk(M, dim=1), found, strict=True)):
            vectors = self.pairs.vectors.chunk(M, dim=1)[m][torch.from_numpy(first)]
            self.rows_of.append(self._rows(vectors, parts, self.bias if m == 0 else None))
            self.places.append(torch.from_numpy(inverse.reshape(-1)).to(vectors.device))
            self.sub_codes += len(first)

    @staticmethod
    def _rows(vectors: Tensor, folded: Tensor, bias: Tensor | None) -> Tensor:
        """a of every unit and (sub-)code: vectors [c, d], folded [h, d, D + 1] → [h, c, D + 1]."""
        rows = torch.einsum("cd,udx->ucx", vectors, folded)
        if bias is not None:
            rows[..., -1] += bias.unsqueeze(1)
        return rows.float().contiguous()

    def tables(self, ones: Tensor) -> list[Tensor]:
        """What some items [n, D + 1] have in common for all codes: of `dnn` their own part [h, n], of sub-codes their units
        [h, S_m, n]; none where every code has its own product."""
        if isinstance(self.pairs.scorer, DNN):
            return [product(self.items, ones)]
        return [product(rows.flatten(0, 1), ones).view(self.width, -1, len(ones)) for rows in self.rows_of]

    def hidden(self, part: slice, ones: Tensor, tables: list[Tensor]) -> Tensor:
        """ReLU of the first layer for some codes, [h, q · n]."""
        if isinstance(self.pairs.scorer, DNN):
            return (self.codes[:, part].unsqueeze(2) + tables[0].unsqueeze(1)).relu_().view(self.width, -1)
        if not tables:
            return product(self._own_rows(part), ones, relu=True).view(self.width, -1)
        summed = tables[0].index_select(1, self.places[0][part])
        for table, places in zip(tables[1:], self.places[1:], strict=True):
            summed += table.index_select(1, places[part])
        return summed.relu_().view(self.width, -1)

    def _own_rows(self, part: slice) -> Tensor:
        """a of some codes, [h · q, D + 1]; kept for the next items where all of them together are not too many."""
        rows = self.kept.get(part.start)
        if rows is None:
            rows = self._rows(self.pairs.vectors[part], self.folded, self.bias).flatten(0, 1)
            if len(self.pairs.codes) * self.width * rows.shape[1] <= KEPT_NUMBERS:
                self.kept[part.start] = rows
        return rows

    def head(self, x: Tensor) -> Tensor:
        """The layers after the first: [h, pairs] after its ReLU → [pairs]."""
        pairs = x.shape[1]
        if len(self.layers.layers):
            # At the ragged end of a product a processor adds in another order; there no pair must stand, see `ALIGNED`.
            x = F.pad(x, (0, -pairs % ALIGNED))
        for layer in self.layers.layers:
            assert isinstance(layer, nn.Linear)
            x = torch.addmm(layer.bias.unsqueeze(1), layer.weight, x).relu_()
        return torch.mv(x.T, self.layers.output.weight[0]).add_(self.layers.output.bias)[:pairs]


def _add_lifts(scores: np.ndarray, lifts: sparse.csr_matrix) -> None:
    """Add the weighted lifts (Memory) of some codes, CSR [q, n], to their scores in place."""
    scores[csr.owners(lifts.indptr), lifts.indices] += lifts.data
