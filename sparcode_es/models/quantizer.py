"""Quantizer: tokens → codes (Eq. 7 and 8), codebooks learned by EMA (§3.2.4) from a k-means start.

P positions, K = K_u tokens each, R codes a token, M codebooks of N entries of size D / M, H codebook sets (1 when shared).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sparcode_es.config import QuantizerConfig


@dataclass(frozen=True)
class Assignment:
    """The codes of a batch of tokens.

    codes: int64 [P, K, R, M]; boosts: [P, K, R], 0 where a token has fewer than R codes.
    """

    codes: Tensor
    boosts: Tensor


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """x: [n, d], y: [m, d] → ‖x - y‖² [n, m]."""
    return x.square().sum(-1, keepdim=True) - 2 * x @ y.T + y.square().sum(-1)


def kmeans(x: Tensor, clusters: int, iterations: int, spherical: bool) -> tuple[Tensor, Tensor]:
    """Lloyd's algorithm from distinct random points. x: [n, d] → centres [clusters, d], counts [clusters].

    An empty cluster is set on the point farthest from its centre. `spherical` keeps centres at length 1.
    """
    n = x.shape[0]
    picks = torch.randperm(n, device=x.device)[:clusters]
    if n < clusters:
        picks = torch.cat([picks, torch.randint(n, (clusters - n,), device=x.device)])
    centres = x[picks] + 1e-4 * torch.randn_like(x[picks])
    counts = torch.zeros(clusters, device=x.device)
    for _ in range(iterations):
        nearest, distance = _nearest(x, centres)
        counts = torch.bincount(nearest, minlength=clusters).to(x.dtype)
        sums = torch.zeros_like(centres).index_add_(0, nearest, x)
        centres = torch.where(counts.unsqueeze(-1) > 0, sums / counts.clamp(min=1).unsqueeze(-1), centres)
        empty = (counts == 0).nonzero().flatten()
        centres[empty] = x[distance.topk(min(len(empty), n)).indices] if len(empty) <= n else centres[empty]
        if spherical:
            centres = F.normalize(centres, dim=-1)
    return centres, counts


def _nearest(x: Tensor, centres: Tensor, block: int = 8192) -> tuple[Tensor, Tensor]:
    """For each row of x: the nearest centre and its squared distance, in blocks."""
    parts = [squared_distances(part, centres).min(-1) for part in x.split(block)]
    return torch.cat([p.indices for p in parts]), torch.cat([p.values for p in parts])


def pursuit(x: Tensor, dictionary: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Non-negative orthogonal matching pursuit: x ≈ Σ_r weight_r · dictionary[index_r], weights ≥ 0.

    x: [n, d], dictionary: [N, d] of unit rows → indices int64 [n, steps], weights [n, steps]. Each step takes the entry
    nearest in direction to what is left, then refits all weights by least squares; an entry whose weight turns negative
    gets weight 0 and the rest are refitted. (Pati et al. 1993; Bruckstein et al. 2008 for the non-negative form.)
    Only the products of entries that were taken are formed, not all N².
    """
    correlation = left = x @ dictionary.T  # [n, N]
    indices = torch.zeros(len(x), 0, dtype=torch.int64, device=x.device)
    weights = torch.zeros(len(x), 0, dtype=x.dtype, device=x.device)
    for step in range(1, steps + 1):
        best = left.scatter(1, indices, -torch.inf).argmax(-1, keepdim=True)
        indices = torch.cat([indices, best], dim=1)
        atoms = dictionary[indices]  # [n, r, d]
        weights = _non_negative_fit(correlation.gather(1, indices), atoms @ atoms.mT)
        if step < steps:
            left = (x - (weights.unsqueeze(1) @ atoms).squeeze(1)) @ dictionary.T
    return indices, weights


def _non_negative_fit(target: Tensor, gram: Tensor) -> Tensor:
    """Solve gram · w = target by least squares, dropping negative weights until none is left. [n, r], [n, r, r] → [n, r]."""
    r = target.shape[1]
    ridge = 1e-6 * torch.eye(r, device=target.device)
    active = torch.ones_like(target)
    weights = target
    for _ in range(r):
        masked = gram * active.unsqueeze(1) * active.unsqueeze(2) + torch.diag_embed(1 - active) + ridge
        weights = torch.linalg.solve(masked, (target * active).unsqueeze(-1)).squeeze(-1)
        negative = (weights < 0) & (active > 0)
        if not negative.any():
            break
        active = active * (~negative)
    return (weights * active).clamp(min=0)


class Quantizer(nn.Module):
    """M codebooks of N entries for each head set; see `QuantizerConfig` for what each option does."""

    codebooks: Tensor
    ema_counts: Tensor
    ema_sums: Tensor
    usage: Tensor

    def __init__(self, config: QuantizerConfig, dim: int, heads: int) -> None:
        super().__init__()
        if dim % config.codebooks:
            raise ValueError(f"the token size {dim} is not a multiple of the {config.codebooks} codebooks")
        self.config, self.heads = config, heads
        self.sets = 1 if config.shared else heads
        shape = (self.sets, config.codebooks, config.codes, dim // config.codebooks)
        self.register_buffer("codebooks", F.normalize(torch.randn(shape), dim=-1) * config.codebooks**-0.5)
        self.register_buffer("ema_counts", torch.full(shape[:3], 1 / config.codes))
        self.register_buffer("ema_sums", self.codebooks / config.codes)
        self.register_buffer("usage", torch.zeros(shape[:3]), persistent=False)

    def split(self, tokens: Tensor) -> Tensor:
        """tokens: [P, K, D] → sub-embeddings by set and codebook [H, M, P·K/H, D/M]."""
        P, K, D = tokens.shape
        M = self.config.codebooks
        by_set = tokens.reshape(1, P * K, M, D // M) if self.sets == 1 else tokens.view(P, K, M, D // M).transpose(0, 1)
        return by_set.transpose(1, 2)

    def _join(self, values: Tensor, positions: int) -> Tensor:
        """Values by set and codebook [H, M, n, ...] → [P, K, M, ...], the inverse of `split`'s order."""
        joined = values.transpose(1, 2)  # [H, n, M, ...]
        if self.sets == 1:
            return joined.reshape(positions, self.heads, self.config.codebooks, *values.shape[3:])
        return joined.transpose(0, 1)

    @torch.no_grad()
    def warm_start(self, tokens: Tensor) -> None:
        """Set every codebook by k-means on tokens [P, K, D], its moving averages as if all batches before had been like them."""
        spherical = self.config.codebooks == 1
        for h, by_codebook in enumerate(self.split(tokens)):
            for m, x in enumerate(by_codebook):
                centres, counts = kmeans(x, self.config.codes, self.config.kmeans_iterations, spherical)
                share = counts.clamp(min=1e-3) / counts.sum()
                self.codebooks[h, m] = centres
                self.ema_counts[h, m] = share
                self.ema_sums[h, m] = centres * share.unsqueeze(-1)

    def nearest(self, tokens: Tensor) -> Tensor:
        """argmin of Eq. 7. tokens: [P, K, D] → int64 [P, K, M]."""
        subs = self.split(tokens)
        index = torch.stack(
            [
                torch.stack([_nearest(x, book)[0] for x, book in zip(by_codebook, books, strict=True)])
                for by_codebook, books in zip(subs, self.codebooks, strict=True)
            ]
        )  # [H, M, n]
        return self._join(index, tokens.shape[0])

    def lookup(self, codes: Tensor) -> Tensor:
        """Eq. 8: codes int64 [P, K, R, M] → code vectors [P, K, R, D]."""
        return self.entries(self.codebooks, codes)

    def entries(self, table: Tensor, codes: Tensor) -> Tensor:
        """The entries of a table of the codebooks' shape, [H, M, N, D / M], that codes int64 [P, K, R, M] name, [P, K, R, D]."""
        P, K, R, M = codes.shape
        head = torch.zeros(K, dtype=torch.int64) if self.sets == 1 else torch.arange(K)
        rows = table[head.to(codes.device).view(1, K, 1, 1), torch.arange(M, device=codes.device), codes]
        return rows.reshape(P, K, R, -1)

    def assign(self, tokens: Tensor) -> Assignment:
        """tokens: unit [P, K, D] → codes and boosts. Boosts of `pursuit` carry a gradient to the tokens when it is `soft`."""
        if self.config.assignment == "nearest":
            codes = self.nearest(tokens).unsqueeze(2)
            return Assignment(codes, torch.ones(codes.shape[:3], device=tokens.device))
        source = tokens if self.config.gradient == "soft" else tokens.detach()
        P, K, _ = tokens.shape
        by_set = self.split(source)[:, 0]  # [H, n, D]
        with torch.no_grad():
            found = [self._pursue(x, book[0]) for x, book in zip(by_set, self.codebooks, strict=True)]
        indices = torch.stack([f[0] for f in found])  # [H, n, R]
        boosts = torch.stack([f[1] for f in found])
        if source.requires_grad:
            boosts = self._differentiable(by_set, indices, boosts)
        R = indices.shape[-1]
        codes = self._join(indices.unsqueeze(1), P).view(P, K, R, 1)
        return Assignment(codes, self._join(boosts.unsqueeze(1), P).view(P, K, R))

    def _pursue(self, x: Tensor, book: Tensor, block: int = 2048) -> tuple[Tensor, Tensor]:
        parts = [pursuit(part, book, self.config.codes_per_token) for part in x.split(block)]
        return torch.cat([p[0] for p in parts]), torch.cat([p[1] for p in parts])

    def _differentiable(self, x: Tensor, indices: Tensor, boosts: Tensor) -> Tensor:
        """The same boosts, refitted on their fixed support so that d boost / d token is that of least squares."""
        support = (boosts > 0).to(x.dtype)
        atoms = torch.stack([book[0][index] for book, index in zip(self.codebooks, indices, strict=True)])
        atoms = atoms * support.unsqueeze(-1)  # [H, n, R, D]
        gram = atoms @ atoms.transpose(-1, -2) + torch.diag_embed(1 - support)
        gram = gram + 1e-6 * torch.eye(gram.shape[-1], device=x.device)
        projected = torch.einsum("hnrd,hnd->hnr", atoms, x)
        return (torch.linalg.solve(gram, projected.unsqueeze(-1)).squeeze(-1) * support).clamp(min=0)

    def quantised(self, tokens: Tensor | None, assignment: Assignment) -> Tensor:
        """T̃ with the chosen gradient to the tokenizer, [P, K, R, D] (Eq. 7, design decision 3); with none where there are no
        tokens to give it to."""
        hard = self.lookup(assignment.codes)
        if tokens is None or self.config.assignment == "pursuit" or self.config.gradient == "commitment":
            return hard
        if self.config.gradient == "straight_through":
            path = tokens
        else:
            path = self._soft(tokens)
        return path.unsqueeze(2) + (hard - path.unsqueeze(2)).detach()

    def _soft(self, tokens: Tensor, temperature: float = 0.1) -> Tensor:
        """Softmax over distances instead of the argmin of Eq. 7. [P, K, D] → [P, K, D]."""
        subs = self.split(tokens)
        books = self.codebooks
        distance = (
            subs.square().sum(-1, keepdim=True)
            - 2 * subs @ books.transpose(-1, -2)
            + books.square().sum(-1).unsqueeze(2)
        )
        mixed = torch.softmax(-distance / temperature, dim=-1) @ books  # [H, M, n, D/M]
        return self._join(mixed, tokens.shape[0]).reshape(tokens.shape)

    def commitment(self, tokens: Tensor, assignment: Assignment) -> Tensor:
        """Eq. 13, the mean over positions: Σ_i Σ_m ‖T_i - sg[T̃_i]‖²."""
        boosts = assignment.boosts.detach().unsqueeze(-1)
        target = (self.lookup(assignment.codes) * boosts).sum(2).detach()
        return (tokens - target).square().sum((-1, -2)).mean()

    def observe(self, assignment: Assignment) -> None:
        """Count the codes given out, for usage and perplexity."""
        codes, given = assignment.codes, assignment.boosts.detach()
        for m in range(self.config.codebooks):
            for k in range(codes.shape[1]):
                counts = self.usage[0 if self.sets == 1 else k, m]
                counts.index_add_(0, codes[:, k, :, m].flatten(), (given[:, k] > 0).flatten().to(counts.dtype))

    @torch.no_grad()
    def update(self, tokens: Tensor) -> None:
        """The EMA update of §3.2.4 with tokens [P, K, D], then revival of dead codes.

        N_k and the sums are divided by the batch's tokens: their quotient is the same, and all batches count alike.
        """
        nearest = self.nearest(tokens)  # [P, K, M]
        subs = self.split(tokens)
        index = self.split_codes(nearest)
        gamma = self.config.decay
        for h in range(self.sets):
            for m in range(self.config.codebooks):
                x, codes = subs[h, m], index[h, m]
                counts = torch.bincount(codes, minlength=self.config.codes).to(x.dtype)
                sums = torch.zeros_like(self.codebooks[h, m]).index_add_(0, codes, x)
                self.ema_counts[h, m].mul_(gamma).add_(counts, alpha=(1 - gamma) / len(x))
                self.ema_sums[h, m].mul_(gamma).add_(sums, alpha=(1 - gamma) / len(x))
                self._revive(h, m, x)
                centres = self.ema_sums[h, m] / self.ema_counts[h, m].clamp(min=1e-8).unsqueeze(-1)
                self.codebooks[h, m] = F.normalize(centres, dim=-1) if self.config.codebooks == 1 else centres

    def split_codes(self, codes: Tensor) -> Tensor:
        """codes [P, K, M] → [H, M, n] in `split`'s order."""
        return self.split(codes).squeeze(-1)

    def _revive(self, h: int, m: int, x: Tensor) -> None:
        """Set codes whose EMA count is below `revive_below` of the mean on random sub-embeddings x of the batch."""
        counts = self.ema_counts[h, m]
        mean = counts.mean()
        dead = (counts < self.config.revive_below * mean).nonzero().flatten()
        if len(dead) and len(x):
            picks = torch.randint(len(x), (len(dead),), device=x.device)
            self.ema_counts[h, m, dead] = mean
            self.ema_sums[h, m, dead] = x[picks] * mean

    def usage_report(self) -> tuple[float, float]:
        """(share of codes used, perplexity / N) since the last report, the mean over codebooks and sets."""
        share = self.usage / self.usage.sum(-1, keepdim=True).clamp(min=1)
        entropy = -(share * share.clamp(min=1e-12).log()).sum(-1)
        used = (self.usage > 0).float().mean().item()
        perplexity = (entropy.exp() / self.config.codes).mean().item()
        self.usage.zero_()
        return used, perplexity
