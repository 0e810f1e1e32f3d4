"""From whatever there is (a training's folder, an artifact, an index, a checkpoint) to a report's facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sparcode_es import __version__
from sparcode_es.errors import MismatchError
from sparcode_es.postings.places import MAPPED
from sparcode_es.postings.profile import LEARNED
from sparcode_es.report.checkpoint import CodeVectors
from sparcode_es.report.evaluation import evaluations_in, read_evaluations
from sparcode_es.report.examples import examples_of
from sparcode_es.report.facts import CodeMap, Place, Report, possible_pairs
from sparcode_es.report.holding import Holding, Tallies
from sparcode_es.report.latency import latency_of
from sparcode_es.report.sections import documents_of, map_of, scores_of, usage_of
from sparcode_es.report.training import quality_of, read_training


@dataclass(frozen=True)
class Wanted:
    """What a report is made from, and of whom it tells. A part that is None or empty is left out."""

    title: str
    made_at: str
    training: Path | None = None
    holdings: Sequence[Holding] = ()
    """The first answers; the others are listed, and must hold the same model's codes."""
    checkpoint: Path | None = None
    users: tuple[str, ...] = ()
    examples: int = 5
    evaluations: Sequence[Path] = ()
    """Files of `sparcode-es evaluate --json`; where none is named, those of the training's folder."""
    latency: int = 0
    """Recommendations that are timed; none, unless somebody asks: they cost time, and no two runs give the same."""


def collect(wanted: Wanted) -> Report:
    """The facts. Raises what the parts raise, and `MismatchError` when they are not of one model."""
    training = None if wanted.training is None else read_training(wanted.training)
    evaluations = wanted.evaluations or ([] if wanted.training is None else evaluations_in(wanted.training))
    evaluation = read_evaluations(evaluations)
    vectors = None if wanted.checkpoint is None else CodeVectors(wanted.checkpoint)
    places = tuple(holding.place() for holding in wanted.holdings)
    _same_model(places, vectors)
    holding = wanted.holdings[0] if wanted.holdings else None
    tallies = {} if holding is None else holding.tallies()
    return Report(
        title=wanted.title,
        made_at=wanted.made_at,
        version=__version__,
        places=places,
        training=training,
        quality=None if training is None else quality_of(training),
        evaluation=evaluation,
        usage=None if holding is None else usage_of(holding, tallies),
        code_map=_map(holding, vectors, tallies.get(LEARNED)),
        scores=None if holding is None else scores_of(holding, possible_pairs(places[0].counts)),
        documents=None if holding is None else documents_of(holding),
        examples=None if holding is None else examples_of(holding, wanted.users, wanted.examples),
        latency=None if holding is None else latency_of(holding, wanted.latency, wanted.made_at),
    )


def _same_model(places: Sequence[Place], vectors: CodeVectors | None) -> None:
    named = [(f"{place.engine} {place.generation} ({place.where})", place.model_hash) for place in places]
    named += [] if vectors is None else [(str(vectors.path), vectors.model_hash)]
    for where, model_hash in named[1:]:
        if model_hash != named[0][1]:
            raise MismatchError(
                f"{named[0][0]} is of model {named[0][1]}, {where} of model {model_hash}; one report tells of one model"
            )


def _map(holding: Holding | None, vectors: CodeVectors | None, learned: Tallies | None) -> CodeMap | None:
    """Of code vectors where there is a checkpoint, else of postings."""
    terms = [] if learned is None else _busiest(learned)
    if vectors is not None:
        terms = terms if holding is not None else vectors.terms(MAPPED)
        rows, basis = vectors.rows(terms), "the vectors that the scorer reads of them"
    elif holding is not None:
        rows, basis = holding.rows(terms)
    else:
        return None
    return map_of(learned, terms, rows, basis, {} if holding is None else holding.labels(terms))


def _busiest(learned: Tallies) -> list[str]:
    """At most `MAPPED` codes that have postings, those with most traffic, in order of the terms as they came."""
    order = np.lexsort((np.arange(len(learned.codes)), -learned.users, -learned.traffic))
    order = order[learned.items[order] > 0][:MAPPED]
    return [learned.codes[row] for row in np.sort(order).tolist()]
