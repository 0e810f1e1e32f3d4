"""Proof that an engine's answers are the model's: sampled users, the engine beside the model computed directly."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from sparcode_es.codes import UserCodes, clauses_of
from sparcode_es.engines.base import Clause, Engine, Hit, Query
from sparcode_es.errors import MismatchError, VerificationError
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.score import CodeScorer
from sparcode_es.serving.score_table import ScoreTable

ROUNDED_TOLERANCE, UNROUNDED_TOLERANCE = 1e-4, 5e-3
TIE = 1e-6
"""Engines sum in float32 or float64: scores nearer than this, relatively, count as equal."""
BOOST_TOLERANCE = 1e-3
FLIPPED = 1e-3
"""Share of users whose codes may differ from the model's: a token halfway between two codes can fall on either."""
TOGETHER = 500
"""Users asked for at once: their histories come along."""

EncodeUsers = Callable[[np.ndarray], UserCodes]
"""Rows of users → their codes, computed by the model from their histories; row i belongs to the i-th of them."""


@dataclass(frozen=True)
class Verification:
    """What was found. `rounded` is Eq. 11 on the artifact's scores; `unrounded` on the model's own, S + b."""

    users: int
    k: int
    recall: float
    """Share of the k best items (rounded) that the engine returned, ties as equal."""
    rounded_error: float
    unrounded_error: float
    """Largest relative error of a returned score. Of a pair that the artifact's cuts can have taken, neither side counts."""
    missing: int
    """Pairs of these users' codes with a positive score, which no cut can have taken, but without a posting."""
    ties: int
    """Users whose k-th best score is shared by an item that did not fit in."""
    wrong_order: int
    """Users whose hits are not sorted by score."""
    other_codes: int
    """Users whose codes in the engine are not those that the model gives their history."""
    cut: bool
    """Whether the artifact leaves out positive scores on purpose (by traffic, per code or per item)."""

    @property
    def passed(self) -> bool:
        """Whether every check holds."""
        within = self.rounded_error <= ROUNDED_TOLERANCE and self.unrounded_error <= UNROUNDED_TOLERANCE
        coded = self.other_codes <= math.ceil(FLIPPED * self.users)
        return self.recall == 1.0 and within and self.missing == 0 and self.wrong_order == 0 and coded

    def require(self) -> None:
        """Raise `VerificationError` unless every check holds."""
        if not self.passed:
            raise VerificationError(
                f"the engine's answers are not the model's: recall@{self.k} {self.recall:.6f} (must be 1), relative error "
                f"{self.rounded_error:.2e} against the rounded scores (at most {ROUNDED_TOLERANCE:.0e}) and "
                f"{self.unrounded_error:.2e} against the model (at most {UNROUNDED_TOLERANCE:.1e}), {self.missing} postings "
                f"missing that no cut took, {self.wrong_order} lists out of order, {self.other_codes} of {self.users} users "
                "with other codes than the model's; "
                "build the postings and the index again from this checkpoint"
            )


def verify(
    engine: Engine,
    artifact: Artifact,
    scorer: CodeScorer,
    encode: EncodeUsers,
    users: int = 1000,
    k: int = 50,
    seed: int = 0,
) -> Verification:
    """Compare an engine with the artifact and with the model for `users` users drawn with `seed`: their codes, the items
    found and the scores.

    Raises `MismatchError` when the three are not of one model, or the engine holds another artifact of it.
    """
    _require_one_artifact(engine, artifact, scorer)
    rows = np.sort(np.random.default_rng(seed).permutation(artifact.num_users)[:users])
    queries = _queries(engine, [artifact.user_ids[int(row)] for row in rows], k)
    answers = engine.search_many(queries)
    table = ScoreTable(artifact, scorer)
    own = encode(rows)
    other = sum(not _same(query.clauses, clauses_of(own, i, artifact.shared_heads)) for i, query in enumerate(queries))
    results = [
        _compare(answer, *table.scores(query.clauses), k, artifact)
        for query, answer in zip(queries, answers, strict=True)
    ]
    found, wanted, rounded, unrounded, ties, wrong = np.array(results, dtype=np.float64).reshape(-1, 6).T
    return Verification(
        users=len(rows),
        k=k,
        recall=float(found.sum() / wanted.sum()) if wanted.sum() else 1.0,
        rounded_error=float(rounded.max(initial=0)),
        unrounded_error=float(unrounded.max(initial=0)),
        missing=table.missing,
        ties=int(ties.sum()),
        wrong_order=int(wrong.sum()),
        other_codes=other,
        cut=table.cuts.any,
    )


def _queries(engine: Engine, user_ids: Sequence[str], k: int) -> list[Query]:
    """What the engine asks for some users. Raises its `NotFoundError` for one that it does not have."""
    found = {}
    for start in range(0, len(user_ids), TOGETHER):
        found.update(engine.users(user_ids[start : start + TOGETHER]))
    return [Query((found.get(user_id) or engine.user(user_id)).clauses, k) for user_id in user_ids]


def _same(one: Sequence[Clause], other: Sequence[Clause]) -> bool:
    """Whether two users' clauses are the same codes with nearly the same boosts."""
    boosts, others = ({each.term: each.boost for each in clauses} for clauses in (one, other))
    return boosts.keys() == others.keys() and all(
        abs(boost - others[term]) <= BOOST_TOLERANCE for term, boost in boosts.items()
    )


def _require_one_artifact(engine: Engine, artifact: Artifact, scorer: CodeScorer) -> None:
    info = engine.info()
    hashes = {
        "the engine": (info.model_hash, info.codebook_hash),
        "the postings": (artifact.model_hash, artifact.codebook_hash),
        "the checkpoint": (scorer.model_hash, scorer.codebook_hash),
    }
    if len(set(hashes.values())) > 1:
        named = ", ".join(f"{name} {model}" for name, (model, _) in hashes.items())
        raise MismatchError(
            f"these are not of one model: {named}; use the index, postings and checkpoint that belong together"
        )
    if info.artifact != artifact.generation_hash:
        raise MismatchError(
            f"{info.where} holds the artifact {info.artifact} in {info.generation}, {artifact.path} is another one of the same "
            f"model, {artifact.generation_hash}; give the one that was loaded as --postings, or load this one"
        )


def _compare(
    answer: Sequence[Hit], rounded: np.ndarray, exact: np.ndarray, k: int, artifact: Artifact
) -> tuple[float, float, float, float, float, float]:
    """Found, wanted, rounded error, unrounded error, tie at the cut, wrong order, for one user."""
    positive = int((rounded > 0).sum())
    wanted = min(k, positive)
    if wanted == 0:
        return (0.0, 0.0, float(len(answer) > 0), 0.0, 0.0, 0.0)
    best = np.sort(np.partition(rounded, -min(k + 1, len(rounded)))[-min(k + 1, len(rounded)) :])[::-1]
    threshold = best[wanted - 1]
    tie = len(best) > k and best[k] >= threshold * (1 - TIE)
    numbers = np.array([_number(artifact, hit.item) for hit in answer], dtype=np.int64)
    scores = np.array([hit.score for hit in answer])
    distinct = np.unique(numbers)
    found = int((rounded[distinct] >= threshold * (1 - TIE)).sum())
    wrong = bool((np.diff(scores) > 0).any()) or len(distinct) != len(numbers) or len(numbers) > k
    return (
        min(found, wanted),
        wanted,
        _largest_error(scores, rounded[numbers]),
        _largest_error(scores, exact[numbers]),
        float(tie),
        float(wrong),
    )


def _number(artifact: Artifact, item: str) -> int:
    number = artifact.item_ids.find(item)
    if number is None:
        raise VerificationError(f"the engine returned the item {item!r}, which the postings do not have; index again")
    return number


def _largest_error(scores: np.ndarray, true: np.ndarray) -> float:
    """The largest relative difference; infinite where the true score is 0."""
    if len(scores) == 0:
        return 0.0
    safe = np.where(true > 0, true, 1.0)
    return float(np.where(true > 0, np.abs(scores - true) / safe, np.inf).max())
