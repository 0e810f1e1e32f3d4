"""Metrics of every test case, over seeds: what tables print and what tests of significance need."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from environment import describe_environment, environment_line
from systems import Bench, Row, flat, targets_of

from sparcode_es import csr
from sparcode_es.config import Config, read_by_model, to_mapping
from sparcode_es.data.dataset import Cases, Dataset, ScoreFunction
from sparcode_es.errors import ConfigError, DataError
from sparcode_es.evaluation.metrics import convention_of, measure_ranks
from sparcode_es.evaluation.ranking import VIEWS, Ranking, rank_cases
from sparcode_es.files import atomic_write
from sparcode_es.training.checkpoint import FORMAT
from sparcode_es.training.trainer import examples, with_epochs

CaseMetrics = dict[str, dict[str, np.ndarray]]
"""View → metric → float64 [n], one number a case."""


def measure(dataset: Dataset, cases: Cases, scores: ScoreFunction) -> CaseMetrics:
    """Rank every item for every case, in both views, by the data folder's convention."""
    return _metrics(dataset, cases, rank_cases(scores, cases, dataset.num_items, ks=()), targets_of(cases))


@dataclass(frozen=True)
class Run:
    """One trained system on the test cases: its metrics, what the training said, and where that was (`describe_environment`)."""

    metrics: CaseMetrics
    report: dict[str, Any]
    environment: dict[str, Any]


Scored = Callable[[], tuple[ScoreFunction, dict[str, Any]]]
"""Makes a system's scores of the test cases, and what is reported of it."""


def measure_trained(bench: Bench, model: str, overrides: Mapping[str, Any], seed: int) -> Run:
    """Train what is missing and measure it; what was measured before is read."""

    def scored() -> tuple[ScoreFunction, dict[str, Any]]:
        trained = bench.train(model, overrides, seed)
        return bench.load(trained).case_scores(bench.cases), trained.report

    return measure_variant(bench, model, overrides, seed, "model", scored)


def measure_variant(
    bench: Bench, model: str, overrides: Mapping[str, Any], seed: int, name: str, scored: Scored
) -> Run:
    """Measure what is made of a training, under a name of its own.

    The ranks stay in ranks-NAME.npz beside it and are read next time. They take a thousandth of a checkpoint's size: a table
    can be made where its trainings are not. Raises `ConfigError` for ranks of other data or of another configuration (a release
    may change defaults, and with them what a folder's name stands for), `DataError` for a damaged file.
    """
    trained_as = bench.trained_as(model, overrides, seed)

    def windows() -> int:
        return len(examples(trained_as, bench.dataset.train_sequences(trained_as.training.with_validation)))

    config = read_by_model(with_epochs(trained_as, windows)) | {"checkpoint": FORMAT}
    path = bench.folder(trained_as) / f"ranks-{name}.npz"
    if path.exists():
        return _read(bench, path, config)
    scores, report = scored()
    found = rank_cases(scores, bench.cases, bench.dataset.num_items, ks=())
    about = {
        "cases": _key(bench),
        "config": config,
        "report": report,
        "environment": describe_environment(),
    }
    with atomic_write(path) as file:
        np.savez_compressed(
            file,
            about=np.array(json.dumps(about)),
            **{f"ranks_{view}": ranks.astype(np.float32) for view, ranks in found.ranks.items()},
            **{f"ties_{view}": ties.astype(np.float32) for view, ties in found.ties.items()},
        )
    return Run(_metrics(bench.dataset, bench.cases, found, bench.measured_targets), report, about["environment"])


def _read(bench: Bench, path: Path, config: dict[str, Any]) -> Run:
    try:
        with path.open("rb") as file, np.load(file) as kept:
            about = json.loads(str(kept["about"]))
            arrays = {name: kept[name].astype(np.float64) for name in kept.files if name != "about"}
        ranks, ties = ({view: arrays[f"{what}_{view}"] for view in VIEWS} for what in ("ranks", "ties"))
        key, kept_config, report, environment = (about[name] for name in ("cases", "config", "report", "environment"))
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} is not a whole file of ranks ({error}); delete it to measure again") from error
    if key != _key(bench):
        raise ConfigError(
            f"{path} is of other data than {bench.dataset.path}; choose another --runs, or delete the folder {path.parent}"
        )
    if not _same(kept_config, config):
        raise ConfigError(
            f"{path} was measured with another configuration, perhaps with another release's defaults; choose another --runs, or "
            f"delete the folder {path.parent}"
        )
    ranking = Ranking(ranks, ties, {})
    return Run(_metrics(bench.dataset, bench.cases, ranking, bench.measured_targets), report, environment)


def _same(kept: Mapping[str, Any], config: Mapping[str, Any]) -> bool:
    """Whether two configurations are one; a key that only the newer has did then what its default does."""
    standard, then, now = flat(to_mapping(Config())), flat(kept), flat(config)
    return all(now.get(key) == then.get(key, standard.get(key)) for key in now.keys() | then.keys())


def _key(bench: Bench) -> str:
    """Changes with the cases' users, targets and histories, in which the training events are but those of users too short to be
    asked; with any other split than leave-one-out more users are not asked, and it changes with all events."""
    cases, digest = bench.cases, hashlib.sha256()
    if bench.dataset.manifest.split.protocol != "leave-one-out":
        digest.update(bench.dataset.events_hash.encode())
    for part in (cases.users, cases.target_offsets, cases.target_items, cases.history_offsets, cases.history_items):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()[:16]


def _metrics(dataset: Dataset, cases: Cases, ranking: Ranking, kept: np.ndarray) -> CaseMetrics:
    """kept: how many targets of each case are measured, its earliest, int64 [n]."""
    places, offsets = csr.ranges(cases.target_offsets[:-1].astype(np.int64), kept), csr.offsets_of(kept)
    convention = convention_of(dataset)
    return {
        view: measure_ranks(ranking.ranks[view][places], ranking.ties[view][places], offsets, convention=convention)
        for view in VIEWS
    }


def origins(measured: Sequence[Measured]) -> str:
    """A sentence: the machines and days of the trainings; and one on rows that are what they began from."""
    places = {place for system in measured for place in system.places}
    as_begun = [system.label for system in measured if system.is_as_begun]
    told = f" No epoch was better on validation than what it begins from, the two-tower: {', '.join(as_begun)}."
    return f"Trained and measured on {'; '.join(sorted(places))}.{told if as_begun else ''}"


@dataclass(frozen=True)
class Measured:
    """One system on the test cases, once a seed."""

    label: str
    runs: tuple[Run, ...]

    @property
    def places(self) -> list[str]:
        """The machines and days of the measurements, each once."""
        return sorted({environment_line(run.environment) for run in self.runs})

    @property
    def reports(self) -> list[dict[str, Any]]:
        """What the trainings said, one a seed."""
        return [run.report for run in self.runs]

    @property
    def is_as_begun(self) -> bool:
        """Whether in every seed validation kept the weights from which the last stage began."""
        ends = ("codes_best_epoch", "model_best_epoch", "learned_share")
        return all(0 in [report.get(name) for name in ends] for report in self.reports)

    def by_case(self, view: str, metric: str) -> np.ndarray:
        """[seeds, n]."""
        return np.stack([run.metrics[view][metric] for run in self.runs])

    def of_seeds(self, view: str, metric: str) -> np.ndarray:
        """Means over the cases, per cent, [seeds]."""
        means: np.ndarray = 100 * self.by_case(view, metric).mean(1)
        return means

    def mean(self, view: str, metric: str) -> float:
        """Per cent, over seeds and cases."""
        return float(self.of_seeds(view, metric).mean())

    def spread(self, view: str, metric: str) -> float:
        """Standard deviation over seeds, per cent points."""
        return float(self.of_seeds(view, metric).std())

    def cell(self, view: str, metric: str) -> str:
        """`12.34 ± 0.56`; the mean alone for one seed."""
        spread = f" ± {self.spread(view, metric):.2f}" if len(self.runs) > 1 else ""
        return f"{self.mean(view, metric):.2f}{spread}"

    def as_json(self) -> dict[str, Any]:
        """View → metric → per cent of each seed."""
        metrics = self.runs[0].metrics[VIEWS[0]]
        found = {view: {m: self.of_seeds(view, m).round(4).tolist() for m in metrics} for view in VIEWS}
        return {"label": self.label, "per_cent_of_seeds": found, "training": self.reports, "measured_on": self.places}


def measure_row(bench: Bench, row: Row) -> Measured:
    """Train a row's system for every seed, and measure it on the test cases."""
    return Measured(row.label, tuple(measure_trained(bench, row.model, row.overrides, seed) for seed in bench.seeds))


def comparison_lines(measured: Sequence[Measured], rows: Sequence[Row], metrics: Sequence[str]) -> list[list[str]]:
    """Cells of a table: system, view, and for each metric ours and the paper's, which stands in the view `all`."""
    lines = []
    for found, row in zip(measured, rows, strict=True):
        for view in VIEWS:
            printed = row.paper if view == "all" else {}
            cells = [
                cell
                for metric in metrics
                for cell in (found.cell(view, metric), f"{printed[metric]:.2f}" if metric in printed else "–")
            ]
            lines.append([found.label, view, *cells])
    return lines
