"""A small share of `make faults`: nothing lost, wrong, mixed or unhandled."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from resilience import cluster, proxy, servers, writer
from resilience.outcome import Outcome
from resilience.table import BEGIN, END, fill
from resilience.world import World

from conftest import start
from sparcode_es.engines.node import LocalNode

real = [pytest.mark.slow, pytest.mark.elasticsearch]


def survived(outcome: Outcome) -> Outcome:
    """The outcome, whose four counts are zero and in which the fault was made."""
    assert outcome.failures == 0, outcome.as_dict()
    assert outcome.cases > 0, outcome.as_dict()
    return outcome


class TestOneNode:
    pytestmark = real

    def test_the_writer_is_killed(self, elasticsearch_9: LocalNode, world: World) -> None:
        assert survived(writer.killed(elasticsearch_9.url, world, kills=2)).cases == 2

    def test_bulks_are_refused_for_a_while(self, elasticsearch_9: LocalNode, world: World) -> None:
        outcome = survived(writer.refused(elasticsearch_9.url, world, seconds=1))
        assert outcome.seen["answered 429"] > 0
        assert outcome.seen["exit 0"] == 1

    def test_answers_to_the_writer_are_lost(self, elasticsearch_7: LocalNode, world: World) -> None:
        outcome = survived(writer.cut_while_writing(elasticsearch_7.url, world, rounds=1))
        assert outcome.seen["exit 0"] == 1

    def test_answers_to_readers_are_cut(self, elasticsearch_7: LocalNode, world: World) -> None:
        url = elasticsearch_7.url
        outcome = Outcome("")
        outcome.command(writer.index(url, "read", world.artifacts[0]), 0)
        assert survived(outcome.joined(writer.cut_while_reading(url, world, 40, "read"))).seen["asked"] == 40

    def test_the_live_index_is_red(self, elasticsearch_7: LocalNode, world: World) -> None:
        if elasticsearch_7.state.container is not None:
            pytest.skip("the server's files are in a container")
        outcome = survived(servers.red(elasticsearch_7.url, world))
        assert outcome.seen["marked as popular"] == 10

    def test_a_server_of_the_next_version(
        self, elasticsearch_7: LocalNode, elasticsearch_9: LocalNode, world: World
    ) -> None:
        survived(servers.upgraded(elasticsearch_7.url, elasticsearch_9.url, world))

    def test_a_clock_set_back(self, elasticsearch_7: LocalNode, world: World) -> None:
        survived(servers.clock_jumps(elasticsearch_7.url, world, jumps=("an hour on", "back to now")))


@pytest.fixture
def three_nodes() -> Iterator[LocalNode]:
    yield from start("9.4.5", nodes=3, start_seconds=300)


@pytest.mark.slow
@pytest.mark.elasticsearch
def test_swaps_and_a_nodes_death_under_load(three_nodes: LocalNode, world: World) -> None:
    outcome = survived(cluster.swaps_and_death(three_nodes, world, asked=2_000, freeze=1))
    assert outcome.cases >= 2_000
    assert min(outcome.seen["answers of model 1"], outcome.seen["answers of model 2"]) > 0


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a small file system takes root")
    probe = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False)
    if probe.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
    outcome = survived(servers.disk_full(tmp_path, sizes=(3_200,)))
    assert outcome.seen["exit 14"] > 0


def test_what_counts_as_unhandled() -> None:
    outcome = Outcome("")
    outcome.command(subprocess.CompletedProcess([], 8, "", "error: busy\n"))
    assert outcome.failures == 0
    for code, said in ((1, "Traceback\nerror: x"), (-9, ""), (8, "no sentence"), (0, "error: yet it ended well")):
        outcome.command(subprocess.CompletedProcess([], code, "", said), 0, 8)
    assert outcome.unhandled == 4


def test_policies_of_the_proxy() -> None:
    policy = proxy.every(2, (429, "cut"))
    assert [policy("GET", "/") for _ in range(4)] == [None, "cut", None, 429]
    policy = proxy.first_of_each(("lost",))
    assert [policy("GET", path) for path in ("/a", "/a", "/b")] == ["lost", None, "lost"]
    policy = proxy.bulks_for(60, (503,))
    assert (policy("POST", "/i/_search"), policy("POST", "/i/_bulk")) == (None, 503)


def test_the_table(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{BEGIN}\n{END}\nafter\n")
    environment = {"date": "2026-11-25T", "commit": "abc", "machine": {"cores": 2, "cpu": "some"}}
    row = {**Outcome("fault", ("9.4.5",), cases=20_000).as_dict(), "items": 1_000, "environment": environment}
    for _ in range(2):
        fill(page, {"fault": row})
    text = page.read_text()
    assert text.count("| fault | 9.4.5 | 1,000 | 20,000 | 0 | 0 | 0 | 0 |") == 1
    assert text.startswith("before\n")
    assert text.endswith("after\n")
