"""Every fault against real servers, at full size: what was lost, wrong, mixed or unhandled.

    python benchmarks/faults.py
    python benchmarks/faults.py --parts constant,killed --recommendations 20000 --kills 5

Each part starts servers of its own, one after the other, and writes its line as soon as it has ended; lines of other parts stay.
Figures are counts: a busy machine makes the run longer, not the figures other ones.
"""

from __future__ import annotations

import json
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from command import BenchCommand, some_of
from environment import describe_environment
from resilience import cluster, servers, writer
from resilience.outcome import Outcome
from resilience.table import fill
from resilience.world import Size, World

from sparcode_es.engines.node import VERSIONS, LocalNode
from sparcode_es.files import atomic_write

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Run:
    """What a run asks for."""

    world: World
    versions: tuple[str, ...]
    kills: int
    deaths: int
    recommendations: int
    seconds: float
    work: Path


Part = Callable[[Run], Iterator[Outcome]]


def alone(*faults: Callable[[str, Run], Outcome]) -> Part:
    """Faults of one node, on a fresh one of each version."""

    def part(run: Run) -> Iterator[Outcome]:
        for version in run.versions:
            with LocalNode(version, heap="512m", use_docker=False) as node:
                for fault in faults:
                    yield _of(fault(node.url, run), version)

    return part


def together(fault: Callable[[LocalNode, Run], Outcome]) -> Part:
    """A fault of three nodes, of each version."""

    def part(run: Run) -> Iterator[Outcome]:
        for version in run.versions[::-1]:
            with LocalNode(version, nodes=3, heap="512m", start_seconds=300) as node:
                yield _of(fault(node, run), version)

    return part


def upgrade(run: Run) -> Iterator[Outcome]:
    """The oldest and the newest server."""
    with LocalNode(run.versions[0], heap="512m") as old, LocalNode(run.versions[-1], heap="512m") as new:
        outcome = servers.upgraded(old.url, new.url, run.world)
    yield _of(outcome, *dict.fromkeys((run.versions[0], run.versions[-1])))


def _of(outcome: Outcome, *versions: str) -> Outcome:
    outcome.versions = versions
    return outcome


PARTS: dict[str, Part] = {
    "constant": together(lambda node, run: cluster.swaps_and_death(node, run.world, run.recommendations, run.seconds)),
    "killed": alone(lambda url, run: writer.killed(url, run.world, run.kills)),
    "refused": alone(
        lambda url, run: writer.refused(url, run.world, run.seconds),
        lambda url, run: writer.refused_for_ever(url, run.world),
    ),
    "cut": alone(
        lambda url, run: writer.cut_while_writing(url, run.world),
        lambda url, run: writer.cut_while_reading(url, run.world, min(2_000, run.recommendations)),
    ),
    "flooded": alone(lambda url, run: servers.flooded(url, run.world)),
    "red": alone(lambda url, run: servers.red(url, run.world)),
    "conflict": alone(lambda url, run: servers.conflicting(url, run.world)),
    "alias": alone(lambda url, run: servers.alias_deleted(url, run.world)),
    "clock": alone(lambda url, run: servers.clock_jumps(url, run.world)),
    "disk": lambda run: iter([servers.disk_full(run.work)]),
    "upgrade": upgrade,
    "loading-killed": together(
        lambda node, run: cluster.death_while_loading(node, run.world, run.deaths, signal.SIGKILL)
    ),
    "loading-frozen": together(
        lambda node, run: cluster.death_while_loading(node, run.world, run.deaths, signal.SIGSTOP)
    ),
}


def keep(out: Path, page: Path | None, outcome: Outcome, items: int, add: bool = False) -> None:
    """Put an outcome in the place of an older one of the same fault and server, or add it, in the JSON and in the table."""
    file = out / "faults.json"
    rows: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    key = " ".join((outcome.fault, *outcome.versions))
    if add and key in rows:
        outcome = Outcome.kept(rows[key]).joined(outcome)
    rows[key] = {**outcome.as_dict(), "items": items, "environment": describe_environment()}
    out.mkdir(parents=True, exist_ok=True)
    with atomic_write(file, "w") as sink:
        sink.write(json.dumps(rows, indent=1) + "\n")
    if page is not None:
        fill(page, rows)


@click.command(
    cls=BenchCommand, epilog="\b\nExample:\n  python benchmarks/faults.py --parts constant --recommendations 20000"
)
@click.option("--parts", default=",".join(PARTS), show_default=True)
@click.option("--versions", default=",".join(VERSIONS), show_default=True, help="Servers, one at a time.")
@click.option("--kills", default=20, show_default=True, help="Random moments at which the writer is killed.")
@click.option(
    "--deaths", default=3, show_default=True, help="Nodes killed, and nodes frozen, while an index is loaded."
)
@click.option(
    "--recommendations",
    default=100_000,
    show_default=True,
    help="Asked through swaps and a node's death; while answers are cut, 2,000 of them.",
)
@click.option("--seconds", default=10.0, show_default=True, help="How long bulks are refused and a node is frozen.")
@click.option("--items", default=1_000, show_default=True)
@click.option("--add", is_flag=True, help="Add the counts to those of the runs before, instead of replacing them.")
@click.option("--page", type=click.Path(path_type=Path), default=ROOT / "docs" / "resiliency.md", show_default=True,
              help="The page whose table is filled.")  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path), default=ROOT / "benchmarks" / "results", show_default=True)
def main(
    parts: str, versions: str, kills: int, deaths: int, recommendations: int, seconds: float, items: int, add: bool,
    page: Path, out: Path,
) -> None:  # fmt: skip
    """Make faults on real servers, in parts, and count what was lost, wrong, mixed or unhandled. Ends with 1 if anything was."""
    failures = 0
    with tempfile.TemporaryDirectory() as name:
        world = World(Path(name), Size(items, 64, 400))
        run = Run(world, tuple(versions.split(",")), kills, deaths, recommendations, seconds, Path(name))
        for part in some_of(parts, PARTS, "--parts"):
            for outcome in PARTS[part](run):
                keep(out, page, outcome, items, add)
                click.echo(json.dumps({"part": part, **outcome.as_dict()}))
                failures += outcome.failures
    if failures:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
