"""Histories and codes in numpy: what encoding a few users needs, without torch and without the cost of its calls.

n histories, K tokens each, R codes a token, M codebooks of N entries of size D / M, H codebook sets (1 when shared).
"""

from __future__ import annotations

import numpy as np


def padded_histories(
    offsets: np.ndarray, items: np.ndarray, rows: np.ndarray, max_length: int
) -> tuple[np.ndarray, np.ndarray]:
    """The latest `max_length` events of some sequences: histories int64 [B, L] and the flat position of each one's last."""
    ends = offsets[1:][rows].astype(np.int64)
    begins = np.maximum(offsets[:-1][rows].astype(np.int64), ends - max_length)
    lengths = ends - begins
    index = begins[:, None] + np.arange(lengths.max())
    histories = items[np.minimum(index, ends[:, None] - 1)].astype(np.int64)
    return histories, np.arange(len(rows)) * histories.shape[1] + lengths - 1


def latest_events(
    offsets: np.ndarray, items: np.ndarray, latest: int, decay: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """The L = `latest` latest items of n histories in CSR form, latest first: numbers uint32 [n, L], boosts float32 [n, L].

    The boost of the k-th latest is decayᵏ⁻¹, and 0 where a history is shorter.
    """
    ends, lag = offsets[1:].astype(np.int64)[:, None], np.arange(latest)
    places = ends - 1 - lag
    there = places >= offsets[:-1].astype(np.int64)[:, None]
    numbers = np.where(there, items[np.where(there, places, 0)], 0) if len(items) else np.zeros(there.shape)
    return numbers.astype(np.uint32), np.where(there, decay**lag, 0).astype(np.float32)


def codes_of(tokens: np.ndarray, codebooks: np.ndarray, codes_per_token: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Tokens float32 [n, K, D], codebooks [H, M, N, D / M] → codes uint32 [n, K·R, 1 + M] (head set, sub-codes), boosts [n, K·R].

    codes_per_token: R of `pursuit`; None for the nearest entry (Eq. 7). See `Quantizer.assign` for both.
    """
    (n, K, _D), (H, M, _N, d) = tokens.shape, codebooks.shape
    found, boosts = [], []
    for k in range(K):
        books = codebooks[k if H > 1 else 0]
        if codes_per_token is None:
            subs = tokens[:, k].reshape(n, M, d)
            codes = np.stack([_nearest(subs[:, m], book) for m, book in enumerate(books)], axis=-1)[:, None]
            weights = np.ones((n, 1), dtype=np.float32)
        else:
            codes, weights = pursuit(tokens[:, k], books[0], codes_per_token)
            codes = codes[..., None]
        head = np.full((*codes.shape[:2], 1), k if H > 1 else 0)
        found.append(np.concatenate([head, codes], axis=-1))
        boosts.append(weights)
    return np.concatenate(found, axis=1).astype(np.uint32), np.concatenate(boosts, axis=1).astype(np.float32)


def _nearest(x: np.ndarray, book: np.ndarray) -> np.ndarray:
    """argmin of Eq. 7: [n, d], [N, d] → int64 [n]."""
    nearest: np.ndarray = (np.square(book).sum(1) - 2 * x @ book.T).argmin(1)
    return nearest


def pursuit(x: np.ndarray, dictionary: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """`sparcode_es.models.quantizer.pursuit` for few tokens: x [n, d], dictionary [N, d] → int64 [n, steps], weights [n, steps].

    Only the products of entries that were taken are formed, not all N².
    """
    everybody = np.arange(len(x))
    correlation = left = x @ dictionary.T  # [n, N]
    indices, weights = np.zeros((len(x), 0), dtype=np.int64), np.zeros((len(x), 0), dtype=x.dtype)
    for _ in range(steps):
        left = left.copy()
        left[everybody[:, None], indices] = -np.inf
        indices = np.concatenate([indices, left.argmax(1)[:, None]], axis=1)
        atoms = dictionary[indices]  # [n, r, d]
        weights = _non_negative_fit(correlation[everybody[:, None], indices], atoms @ atoms.transpose(0, 2, 1))
        left = (x - (weights[:, None] @ atoms)[:, 0]) @ dictionary.T
    return indices, weights


def _non_negative_fit(target: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """Solve gram · w = target by least squares, dropping negative weights until none is left. [n, r], [n, r, r] → [n, r]."""
    r = target.shape[1]
    diagonal, ridge = np.eye(r, dtype=target.dtype), np.float32(1e-6)
    active, weights = np.ones_like(target), target
    for _ in range(r):
        masked = gram * active[:, None] * active[:, :, None] + diagonal * (1 - active + ridge)[:, None]
        weights = np.linalg.solve(masked, (target * active)[..., None])[..., 0]
        negative = (weights < 0) & (active > 0)
        if not negative.any():
            break
        active = active * ~negative
    return np.maximum(weights * active, 0)
