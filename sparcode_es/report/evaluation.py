"""What `sparcode-es evaluate --json` printed, of one system or several beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sparcode_es.errors import DataError, MismatchError
from sparcode_es.evaluation.metrics import KS
from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.evaluation.slices import MEASURED, Slice
from sparcode_es.files import parse_json
from sparcode_es.report.facts import Evaluated, Evaluation

FILES = "evaluation*.json"
"""Those of a training's folder."""
SLICED = ("history", "popularity")
METRICS = tuple(f"{name}@{k}" for k in KS for name in MEASURED)
NAMES = ("data", "data_hash", "split", "convention")
LONGEST = 200
"""Letters of a name, at most."""
MOST = 100
"""Slices of a kind, at most."""


def evaluations_in(folder: Path) -> list[Path]:
    """The evaluations that lie in a training's folder, by name."""
    return sorted(folder.glob(FILES))


def read_evaluations(files: Sequence[Path]) -> Evaluation | None:
    """The systems of some files beside each other, each named by its model; None of no file.

    Raises `DataError` for a file that is no such JSON, `MismatchError` unless all are of the same cases and slices.
    """
    found = [(file, _read(file)) for file in files]
    if not found:
        return None
    first_file, first = found[0]
    for file, other in found[1:]:
        if _cases(other) != _cases(first):
            raise MismatchError(
                f"{first_file} is of {_said(first)}, {file} of {_said(other)}{_unsaid(first, other)}; only systems measured on "
                "the same cases stand beside each other: name such files alone as --evaluation"
            )
    names = Counter(each.systems[0].system for _, each in found)
    systems = [
        replace(own, system=f"{own.system} ({own.file})") if names[own.system] > 1 else own
        for own in (each.systems[0] for _, each in found)
    ]
    return replace(first, systems=tuple(systems))


def _cases(found: Evaluation) -> Any:
    """What must be the same for numbers to be compared."""
    sliced = {by: [(each.low, each.high, each.cases) for each in own] for by, own in found.systems[0].slices.items()}
    return found.data, found.data_hash, found.split, found.convention, found.cases, sliced


def _said(found: Evaluation) -> str:
    return f"{found.cases} cases of the {found.split} split of {found.data} ({found.data_hash}, {found.convention} metrics)"


def _unsaid(first: Evaluation, other: Evaluation) -> str:
    return " in other slices" if _said(first) == _said(other) else ""


def _read(file: Path) -> Evaluation:
    """One file, with one system."""
    try:
        found = parse_json(file.read_bytes())
        system = Evaluated(
            system=_text(found["model"]),
            file=file.stem,
            metrics=_metrics(found),
            slices={by: tuple(map(_slice, found["slices"][by][:MOST])) for by in SLICED},
        )
        data, data_hash, split, convention = (_text(found[name]) for name in NAMES)
        return Evaluation(data, data_hash, split, convention, _count(found["cases"]), (system,))
    except OSError as error:
        raise DataError(f"cannot read {file}: {error.strerror}; give what `evaluate --json` printed") from error
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} is not what `sparcode-es evaluate --json` of this version prints; run that again and keep what it prints"
        ) from error


def _slice(found: Any) -> Slice:
    return Slice(_count(found["low"]), _count(found["high"]), _count(found["cases"]), _metrics(found))


def _metrics(found: Any) -> dict[str, dict[str, float]]:
    return {view: {name: _share(found[view][name]) for name in METRICS} for view in VIEWS}


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value[:LONGEST]


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 63:
        raise ValueError("not a count")
    return value


def _share(value: Any) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError("not a share")
    return float(value)
