"""Two models over the same users and items, whose answers are known and can be told apart, and what a server holds of them.

Scores are whole numbers and boosts powers of two: sums are exact in float32 too, so that an answer is right or wrong to the
last digit. Titles name their model.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from resilience.outcome import Outcome
from sparcode_es.codes import UserCodes
from sparcode_es.engines.base import Query
from sparcode_es.engines.elasticsearch.connection import Server
from sparcode_es.engines.elasticsearch.layout import aliases_of
from sparcode_es.engines.elasticsearch.reading import each_document
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.engines.plans import Limits
from sparcode_es.errors import NotFoundError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.serving.recommender import Recommender
from sparcode_es.serving.results import Recommendations
from sparcode_es.tables import StringTable

BOOSTS = (1.0, 0.5, 0.25)
K = 10
Ranking = tuple[tuple[str, float], ...]
"""(item, score), best first."""


@dataclass(frozen=True)
class Size:
    """How large the artifacts are."""

    items: int = 300
    codes: int = 32
    users: int = 120


class Scorer:
    """Scores 1 … 200 of one seed; another seed is another model."""

    shared_heads, bias, item_codes = True, 0.0, None

    def __init__(self, size: Size, seed: int) -> None:
        self.num_items, self.num_possible_codes = size.items, size.codes
        self.table = np.random.default_rng(seed).integers(1, 201, (size.codes, size.items)).astype(np.float32)
        self.model_hash, self.codebook_hash = f"feed{seed:04}", f"beef{seed:04}"

    def all_codes(self) -> np.ndarray:
        """[N, 2] uint32"""
        return np.stack([np.zeros(len(self.table)), np.arange(len(self.table))], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        """[len(codes), len(items)] float32"""
        return self.table[codes[:, 1]][:, items]


class Seen:
    """Three items a user; low numbers most often, so that some items are popular."""

    def __init__(self, size: Size) -> None:
        self.offsets = np.arange(0, 3 * size.users + 1, 3).astype(np.uint64)
        self.items = (np.arange(3 * size.users) * np.arange(3 * size.users) % min(97, size.items)).astype(np.uint32)


def make_artifact(folder: Path, seed: int, size: Size) -> Artifact:
    """The model of a seed: other scores, other codes for every user, other titles."""
    rng = np.random.default_rng((seed, 1))
    rows = np.concatenate([rng.choice(size.codes, len(BOOSTS), replace=False) for _ in range(size.users)])
    offsets = np.arange(0, len(rows) + 1, len(BOOSTS)).astype(np.uint64)
    scorer = Scorer(size, seed)
    return build_postings(
        scorer,
        folder,
        item_ids=StringTable.build(f"item {i}" for i in range(size.items)),
        item_docs=({"title": f"{i} of {seed}", "attributes": {}} for i in range(size.items)),
        user_ids=StringTable.build(f"user {u}" for u in range(size.users)),
        user_codes=UserCodes(offsets, scorer.all_codes()[rows], np.tile(BOOSTS, size.users).astype(np.float32)),
        user_seen=Seen(size),
    )


class World:
    """Two artifacts and every user's answer under each, and under a mixture of the two."""

    def __init__(self, folder: Path, size: Size | None = None) -> None:
        self.size = size or Size()
        self.artifacts = tuple(make_artifact(folder / f"model-{seed}", seed, self.size) for seed in (1, 2))
        self.users = [f"user {u}" for u in range(self.size.users)]
        engines = [EmbeddedEngine(artifact) for artifact in self.artifacts]
        self.right: dict[str, dict[str, Ranking]] = {}
        self.mixtures: dict[str, set[Ranking]] = {user: set() for user in self.users}
        for which, artifact in enumerate(self.artifacts):
            answers = Recommender.for_engine(engines[which]).recommend_many(self.users, k=K)
            self.right[artifact.generation_hash] = dict(zip(self.users, map(ranking, answers), strict=True))
            for user in self.users:
                hits = engines[which].search(Query(engines[1 - which].user(user).clauses, K))
                self.mixtures[user].add(tuple((hit.item, float(hit.score)) for hit in hits))
        self.popular = [artifact.popular(K) for artifact in self.artifacts]

    def judge(self, user: str, answer: Recommendations, outcome: Outcome) -> None:
        """Count an answer: exactly that of the generation it names, or popular items that say so and why."""
        if answer.source == "popular":
            outcome.seen["marked as popular"] += 1
            told = [item.id for item in answer]
            if answer.reason is None or (told and told not in self.popular):
                outcome.wrong += 1
            outcome.say(f"popular: {answer.reason}")
            return
        digest = str(answer.generation).rpartition("-")[2]
        number = {a.generation_hash: i + 1 for i, a in enumerate(self.artifacts)}.get(digest)
        titles = {str(item.title).rpartition(" ")[2] for item in answer}
        if number is not None and ranking(answer) == self.right[digest][user] and titles == {str(number)}:
            outcome.seen[f"answers of model {number}"] += 1
        elif ranking(answer) in self.mixtures[user] or len(titles) > 1 or titles != {str(number)}:
            outcome.mixed += 1
        else:
            outcome.wrong += 1

    def ask_all(
        self, url: str, name: str, outcome: Outcome, expected: Artifact | None = None, users: list[str] | None = None
    ) -> None:
        """Judge the answers of every user (or some), in batches; `expected`: only this artifact's are right."""
        asked = self.users if users is None else users
        with Recommender.from_elasticsearch(url, name, limits=Limits(timeout=5, budget=15)) as recommender:
            for start in range(0, len(asked), 100):
                part = asked[start : start + 100]
                for user, answer in zip(part, recommender.recommend_many(part, k=K), strict=True):
                    self.judge(user, answer, outcome)
                    if expected is not None and not str(answer.generation).endswith(expected.generation_hash):
                        outcome.wrong += 1


def ranking(answer: Recommendations) -> Ranking:
    """Items and scores of an answer."""
    return tuple((item.id, float(item.score or 0.0)) for item in answer)


def count_lost(server: Server, name: str, artifact: Artifact, outcome: Outcome) -> None:
    """Count the items, users and codes of an artifact that the aliases of `name` do not hold."""
    codes = [artifact.term(row) for row in range(artifact.num_codes)]
    expected = (set(artifact.item_ids), set(artifact.user_ids), set(codes))
    for alias, key, ids in zip(aliases_of(name), ("item", "user", "code"), expected, strict=True):
        try:
            server.call("POST", f"/{alias}/_refresh")
            found = {row["_source"][key] for row in each_document(server, alias, key, [key])}
        except NotFoundError:
            found = set()
        outcome.lost += len(ids - found)
