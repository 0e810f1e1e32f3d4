"""Several logs in one table and one picture, from what `quality.py` wrote: what SparCode gains over its two-tower.

python benchmarks/quality_summary.py benchmarks/results/quality-beauty.json benchmarks/results/quality-games.json
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from command import BenchCommand
from pictures import comparison
from quality import METRICS, SPARCODE, TWIN, WITH_ITEM_CODES, probability
from report import markdown_table, metric_name, write_files

from sparcode_es.errors import DataError
from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.files import parse_json

CERTAIN = 0.01
"""A p below it goes without saying."""


def read_quality(path: Path) -> dict[str, Any]:
    """What `quality.py` wrote. Raises `DataError` for another file."""
    try:
        found = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}") from error
    if not isinstance(found, dict) or found.get("benchmark") != "quality":
        raise DataError(f"{path} is not what quality.py writes; give files such as results/quality-beauty.json")
    return found


def asked_a_case(found: Mapping[str, Any]) -> float:
    """How many items a case asks for, on average."""
    cases: int = found["test_cases"]
    return float(found.get("test_targets", cases) / cases)


def log_name(found: Mapping[str, Any]) -> str:
    """`beauty (22,363 cases, 5 seeds)`; `943 cases of 4,715 items` where a case asks for several."""
    seeds, cases = len(found["seeds"]), found["test_cases"]
    several = f" of {found['test_targets']:,} items" if asked_a_case(found) > 1 else ""
    label = "" if found["preset"] else ", no preset"
    return f"{found['data']} ({cases:,} cases{several}, {seeds} seed{'s' if seeds > 1 else ''}{label})"


def short_name(found: Mapping[str, Any]) -> str:
    """`beauty`; `ml-100k, 5 asked` where a case asks for several."""
    several = f", {asked_a_case(found):.3g} asked" if asked_a_case(found) > 1 else ""
    return f"{found['data']}{several}"


def mean_of(found: Mapping[str, Any], system: str, view: str, metric: str) -> float:
    """Per cent, mean of the seeds."""
    by_label = {each["label"]: each for each in found["systems"]}
    return fmean(by_label[system]["per_cent_of_seeds"][view][metric])


def gain(found: Mapping[str, Any], system: str, view: str, metric: str) -> float:
    """How far a system is ahead of the two-tower, in per cent of that one's figure."""
    return 100 * (mean_of(found, system, view, metric) / mean_of(found, TWIN, view, metric) - 1)


def summary_table(logs: Sequence[Mapping[str, Any]]) -> str:
    """A row a log and view: `two-tower → SparCode`, the gain, and p where it is not below `CERTAIN`."""

    def cell(found: Mapping[str, Any], view: str, metric: str) -> str:
        ours, twin = (mean_of(found, system, view, metric) for system in (SPARCODE, TWIN))
        p = found["paired_tests"][f"{SPARCODE} − {TWIN}"][view][metric]["p"]
        doubt = f", p {probability(p)}" if p >= CERTAIN else ""
        return f"{twin:.2f} → {ours:.2f} ({gain(found, SPARCODE, view, metric):+.0f} %{doubt})"

    lines = [[log_name(found), view, *(cell(found, view, m) for m in METRICS)] for found in logs for view in VIEWS]
    return markdown_table(["log", "view", *map(metric_name, METRICS)], lines)


def gains(logs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For `pictures.comparison`: the gains of SparCode and of the two-tower with its item codes, by log and view."""
    return [
        {
            "system": f"{short_name(found)}, {view}",
            "metric": m,
            "whose": system,
            "value": gain(found, system, view, m),
            "spread": 0.0,
        }
        for found in logs
        for view in VIEWS
        for m in METRICS
        for system in (SPARCODE, WITH_ITEM_CODES)
    ]


@click.command(cls=BenchCommand)
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path), default=Path("benchmarks/results"), show_default=True,
              help="Where JSON, Markdown and picture go.")  # fmt: skip
def main(files: tuple[Path, ...], out: Path) -> None:
    """SparCode and its two-tower on several logs: a table of both with p, and a picture of the gains, beside those of the
    two-tower that is given SparCode's item codes.

    FILES: the JSON that `quality.py` wrote, one a log.
    """
    logs = [read_quality(path) for path in files]
    title = "What SparCode gains over its two-tower"
    text = (
        f"# {title}\n\nTest split, per cent, mean of the seeds: two-tower → SparCode (gain in per cent of the two-tower's; "
        f"p of the paired test over users where it is not below {CERTAIN}). `all`: every item ranked; `unseen`: items of the "
        f"history left out.\n\n{summary_table(logs)}\n\n![{title}](quality-summary.png)\n"
    )
    records = gains(logs)
    chart = comparison(
        records, METRICS, title, "test split, mean of the seeds; gain in per cent of the two-tower's figure"
    )
    write_files(
        out,
        "quality-summary",
        text,
        {"benchmark": "quality_summary", "files": [p.name for p in files], "gains": records},
        chart,
    )


if __name__ == "__main__":
    main()
