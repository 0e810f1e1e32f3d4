"""Synthetic items, codes and users of any number, by a recipe that stands here whole.

- Items lie about I / 200 centres on the unit sphere: v = (centre + 0.6 noise) normalised, times 1 + 0.1 p, where p is the
  standardised logarithm of a Zipf popularity. So norms differ and popular items score higher, as trained ones do.
- Codes are centroids: I / 32 of the items' directions, blurred, at least 1,024. The score of (code, item) is the ReLU of their
  inner product (a dot-product scorer), and the best `postings` of a code are kept.
- Every item is a code of its own, too: `item_postings` popular items of its cluster "followed" it, with exponential scores.
- A user likes one place in space: the codes nearest to it (eight), with softmax weights, and the ten latest of `seen` items,
  drawn by popularity from the clusters about it, with boosts 0.8ⁿ⁻¹. The dense user vector is Σ boost × centroid, so that the
  dense and the uncut sparse scores differ by the ReLU and the item codes only.
- Attributes: `half` holds for 50 % of items, `hundredth=7` for 1 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

CLUSTER = 200
LATEST = 10
ITEM_WEIGHT = 0.5
BLOCK = 256


@dataclass(frozen=True)
class Recipe:
    """How much of what."""

    items: int
    postings: int = 545
    """Postings a code, at most: 1 % of 54,542 items, at which the paper loses nothing on as many (§4.4, Figure 6a)."""
    item_postings: int = 32
    """Postings an item code."""
    users: int = 2000
    seen: int = 200
    nearest: int = 8
    """Codes of a user, besides the latest items."""
    dim: int = 64
    seed: int = 0

    @property
    def codes(self) -> int:
        """Codes that are not items."""
        return max(1024, self.items // 32)


@dataclass(frozen=True)
class World:
    """What the recipe makes, but for the postings."""

    recipe: Recipe
    vectors: np.ndarray
    """float32 [I, D]"""
    centroids: np.ndarray
    """float32 [C, D]"""
    centres: np.ndarray
    """float32 [clusters, D]"""
    members: list[np.ndarray]
    """The items of each cluster, most popular first."""
    user_codes: np.ndarray
    """int64 [U, nearest]"""
    user_weights: np.ndarray
    """float32 [U, nearest]"""
    user_seen: np.ndarray
    """int64 [U, seen], oldest first"""

    @property
    def user_vectors(self) -> np.ndarray:
        """float32 [U, D]: Σ weight × centroid."""
        vectors: np.ndarray = np.einsum("uj,ujd->ud", self.user_weights, self.centroids[self.user_codes])
        return vectors.astype(np.float32)


def make_world(recipe: Recipe) -> World:
    """Draw everything from the seed."""
    rng = np.random.default_rng(recipe.seed)
    count = max(8, recipe.items // CLUSTER)
    centres = _unit(rng.standard_normal((count, recipe.dim), dtype=np.float32))
    cluster = rng.integers(count, size=recipe.items)
    popularity = np.log(1.0 / (1 + rng.permutation(recipe.items)))
    popularity = ((popularity - popularity.mean()) / popularity.std()).astype(np.float32)
    vectors = _unit(centres[cluster] + _noise(rng, recipe.items, recipe.dim, 0.6))
    vectors *= 1 + np.float32(0.1) * np.clip(popularity, -2, 4)[:, None]
    order = np.lexsort((-popularity, cluster))
    members = np.split(order, np.searchsorted(cluster[order], np.arange(1, count)))
    drawn = rng.choice(recipe.items, recipe.codes, replace=recipe.codes > recipe.items)
    centroids = _unit(vectors[drawn] + _noise(rng, recipe.codes, recipe.dim, 0.3))
    taste = _unit(vectors[rng.integers(recipe.items, size=recipe.users)] + _noise(rng, recipe.users, recipe.dim, 0.3))
    codes, weights = _assignment(taste, centroids, recipe.nearest)
    seen = np.stack([_seen(rng, recipe, each @ centres.T, members) for each in taste])
    return World(recipe, vectors, centroids, centres, members, codes, weights, seen)


def _noise(rng: np.random.Generator, rows: int, dim: int, length: float) -> np.ndarray:
    """Normal vectors whose expected length is about `length`, float32 [rows, dim]."""
    drawn: np.ndarray = rng.standard_normal((rows, dim), dtype=np.float32)
    drawn *= np.float32(length / dim**0.5)
    return drawn


def _unit(vectors: np.ndarray) -> np.ndarray:
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors


def _assignment(taste: np.ndarray, centroids: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The `count` nearest codes of each user and their softmax weights: int64 [U, count], float32 [U, count]."""
    codes = np.empty((len(taste), count), dtype=np.int64)
    weights = np.empty((len(taste), count), dtype=np.float32)
    for start in range(0, len(taste), BLOCK):
        near = taste[start : start + BLOCK] @ centroids.T
        best = np.argsort(-near, axis=1)[:, :count]
        logits = 8 * np.take_along_axis(near, best, axis=1)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        codes[start : start + BLOCK] = best
        weights[start : start + BLOCK] = share / share.sum(axis=1, keepdims=True)
    return codes, weights


def _seen(rng: np.random.Generator, recipe: Recipe, near: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Items of the four nearest clusters, the popular ones more often."""
    pool = np.concatenate([members[c] for c in np.argsort(-near)[:4]])
    chance = 1.0 / (1 + np.arange(len(pool)) % CLUSTER)
    chosen = rng.choice(pool, min(recipe.seen, len(pool)), replace=False, p=chance / chance.sum())
    return np.resize(chosen, recipe.seen)


def best_of_code(world: World, code: int) -> tuple[np.ndarray, np.ndarray]:
    """The best items of a code among the clusters nearest to it: numbers int64 [n], ascending, and scores float32 [n]."""
    wanted = world.recipe.postings
    clusters = min(len(world.members), 8 + 3 * wanted // CLUSTER)
    near = np.argpartition(-(world.centres @ world.centroids[code]), clusters - 1)[:clusters]
    items = np.concatenate([world.members[c] for c in near])
    scores = world.vectors[items] @ world.centroids[code]
    if len(items) > wanted:
        kept = np.argpartition(-scores, wanted - 1)[:wanted]
        items, scores = items[kept], scores[kept]
    kept = np.argsort(items)[: len(items)]
    positive = kept[scores[kept] > 0]
    return items[positive], scores[positive]


def followers(world: World, rng: np.random.Generator, cluster: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Item codes of a cluster: its items int64 [m], their followers int64 [m, n], ascending, and scores float32 [m, n]."""
    members = world.members[cluster]
    count = min(world.recipe.item_postings, len(members) - 1)
    chance = 1.0 / np.arange(1, len(members))
    steps = rng.choice(np.arange(1, len(members)), count, replace=False, p=chance / chance.sum())
    places = (np.arange(len(members))[:, None] + steps) % len(members)
    scores = ITEM_WEIGHT * rng.exponential(0.5, places.shape).astype(np.float32) + np.float32(1e-3)
    numbers = members[places]
    order = np.argsort(numbers, axis=1)
    return members, np.take_along_axis(numbers, order, axis=1), np.take_along_axis(scores, order, axis=1)
