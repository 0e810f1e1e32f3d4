"""Three nodes, one replica: nodes killed −9 and frozen while generations are swapped under a constant load of queries."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from elasticsearch import Elasticsearch

from resilience.command import cli, index
from resilience.outcome import Outcome
from resilience.world import K, World, count_lost
from resilience.writer import judge_finished
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.layout import generations
from sparcode_es.engines.node import LocalNode
from sparcode_es.engines.plans import Limits
from sparcode_es.errors import EngineUnavailableError, SparcodeError
from sparcode_es.serving.recommender import Recommender

SINGLE, BATCH = 4, 16
"""Of each 20 recommendations, 4 are asked one by one and 16 in one `_msearch`."""


class Cluster:
    """The nodes of a running `LocalNode` of three, by number."""

    def __init__(self, node: LocalNode) -> None:
        self.node = node
        found = self.server(node.url).call("GET", "/_nodes/http", params={"filter_path": "nodes.*.name,nodes.*.http"})
        addresses = {each["name"]: each["http"]["publish_address"] for each in found["nodes"].values()}
        self.urls = [f"http://{addresses[f'node-{number}']}" for number in range(node.nodes)]

    @staticmethod
    def server(url: str) -> Server:
        """A connection to one node."""
        return Server(ConnectionConfig(url=url))

    def signal(self, number: int, what: int) -> None:
        """Send a signal to all processes of a node."""
        os.killpg(self.node.state.pids[number], what)

    def settled(self, nodes: int, seconds: float = 180.0) -> bool:
        """Whether the cluster has so many nodes and every replica in place, waited for."""
        params = {"wait_for_nodes": str(nodes), "wait_for_status": "green", "timeout": "5s"}
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            for url in self.urls:
                with contextlib.suppress(SparcodeError):
                    health = self.server(url).call("GET", "/_cluster/health", params=params, attempts=1, timeout=8)
                    if not health["timed_out"]:
                        return True
        return False

    def holder(self, name: str) -> int:
        """A node, not the first, to which `index` talks, that holds a copy of what an alias of items stands for."""
        server = self.server(self.urls[0])
        shards = server.call("GET", f"/_cat/shards/{name}", params={"format": "json", "h": "state,node"})
        return min(int(row["node"][-1]) for row in shards if row["state"] == "STARTED" and row["node"] != "node-0")

    def loading_on(self, name: str, worker: threading.Thread) -> tuple[int, bool]:
        """Wait until a shard of a generation that is being loaded lies on another node than the first, to which `index` talks:
        that node, the one with the items if it can be; the last node, where `index` ends before."""
        server = self.server(self.urls[0])
        while worker.is_alive():
            loading = [s for s, meta in generations(server, name).items() if meta.get("state") == "loading"]
            shards = server.call("GET", f"/_cat/shards/{name}*", params={"format": "json", "h": "index,state,node"})
            holders = {
                row["index"]: row["node"]
                for row in shards
                if row["state"] == "STARTED" and row["index"].endswith(tuple(loading)) and row["node"] != "node-0"
            }
            if holders:
                items = next((each for each in holders if each.removeprefix(f"{name}-") in loading), min(holders))
                return int(holders[items][-1]), True
        return self.node.nodes - 1, False


@dataclass
class Event:
    """Something that happens once so many recommendations were asked for."""

    at: int
    act: Callable[[], Any]


class Load:
    """Threads that ask without pause; every answer is judged."""

    def __init__(self, cluster: Cluster, name: str, world: World, outcome: Outcome, threads: int = 4) -> None:
        self.world, self.outcome, self.asked, self.ended = world, outcome, 0, threading.Event()
        client = Elasticsearch(cluster.urls, connections_per_node=2 * threads)
        self.recommender = Recommender.from_elasticsearch(client, name, limits=Limits(budget=4.0, attempts=4))
        self.recommender.warm()
        self._count_failed_requests()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._ask, args=(number,)) for number in range(threads)]

    def _count_failed_requests(self) -> None:
        perform = self.recommender._perform

        def counted(wanted: Any) -> Any:
            try:
                return perform(wanted)
            except EngineUnavailableError:
                self.outcome.seen["requests that failed"] += 1
                raise

        self.recommender._perform = counted

    def _ask(self, number: int) -> None:
        step = number
        while not self.ended.is_set():
            users = [self.world.users[(step * 7 + i) % len(self.world.users)] for i in range(SINGLE + BATCH)]
            step += 1
            try:
                answers = [self.recommender.recommend(user, k=K) for user in users[:SINGLE]]
                answers += self.recommender.recommend_many(users[SINGLE:], k=K)
            except Exception as error:
                with self._lock:
                    self.outcome.unhandled += 1
                    self.outcome.say(f"{type(error).__name__}: {error}")
                continue
            with self._lock:
                self.asked += len(users)
                for user, answer in zip(users, answers, strict=True):
                    self.world.judge(user, answer, self.outcome)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Ask for as long as the `with` block."""
        for thread in self._threads:
            thread.start()
        try:
            yield
        finally:
            self.ended.set()
            for thread in self._threads:
                thread.join()
            self.recommender.close()
            self.outcome.cases += self.asked


def swaps_and_death(node: LocalNode, world: World, asked: int, freeze: float, name: str = "constant") -> Outcome:
    """Constant load while generations are loaded, swapped, rolled back, a node that holds the items is frozen for `freeze`
    seconds and one killed −9; after that another generation is loaded on the two that are left."""
    cluster, outcome = Cluster(node), Outcome("generations swapped, a node frozen, a node killed -9, under load")
    first, second = world.artifacts
    url = cluster.urls[0]
    outcome.command(index(url, name, first), 0)
    load = Load(cluster, name, world, outcome)

    def frozen() -> None:
        victim = cluster.holder(name)
        cluster.signal(victim, signal.SIGSTOP)
        time.sleep(freeze)
        cluster.signal(victim, signal.SIGCONT)
        cluster.settled(3)

    events = [
        Event(asked * 1 // 10, lambda: outcome.command(index(url, name, second), 0)),
        Event(
            asked * 3 // 10, lambda: outcome.command(cli("generations", "rollback", "--url", url, "--index", name), 0)
        ),
        Event(asked * 4 // 10, frozen),
        Event(asked * 5 // 10, lambda: outcome.command(index(url, name, second), 0)),
        Event(asked * 6 // 10, lambda: cluster.signal(cluster.holder(name), signal.SIGKILL)),
        Event(asked * 8 // 10, lambda: outcome.command(index(url, name, first), 0)),
        Event(asked, lambda: None),
    ]
    with load.running():
        for event in events:
            while load.asked < event.at:
                time.sleep(0.02)
            event.act()
    judge_finished(url, name, world, 0, outcome)
    return outcome


def death_while_loading(node: LocalNode, world: World, deaths: int, how: int, name: str = "loading") -> Outcome:
    """A node is killed −9 and started again, or frozen for 10 s, while `index` loads: the run ends well or says why not, the
    generation before answers on, and the next run is whole."""
    cluster = Cluster(node)
    outcome = Outcome(f"node {'killed -9' if how == signal.SIGKILL else 'frozen for 10 s'} while loading")
    outcome.command(index(cluster.urls[0], name, world.artifacts[0]), 0)
    for number in range(1, deaths + 1):
        worker = _Index(cluster.urls[0], name, world, number % 2)
        victim, held = cluster.loading_on(name, worker)
        outcome.seen["nodes that held a shard of the load" if held else "nodes that held none"] += 1
        cluster.signal(victim, how)
        if how == signal.SIGKILL:
            time.sleep(1)
            node.restart(victim)
        else:
            time.sleep(10)
            cluster.signal(victim, signal.SIGCONT)
        outcome.command(worker.result(), 0, 8, 10, 12)
        outcome.cases += 1
        cluster.settled(3)
        if worker.done.returncode == 0:
            count_lost(cluster.server(cluster.urls[0]), name, world.artifacts[number % 2], outcome)
        world.ask_all(cluster.urls[0], name, outcome)
    outcome.command(index(cluster.urls[0], name, world.artifacts[0]), 0)
    judge_finished(cluster.urls[0], name, world, 0, outcome)
    count_lost(cluster.server(cluster.urls[0]), name, world.artifacts[0], outcome)
    return outcome


class _Index(threading.Thread):
    """`sparcode-es index` beside this thread."""

    def __init__(self, url: str, name: str, world: World, which: int) -> None:
        super().__init__()
        self._arguments = (url, name, world.artifacts[which], "--timeout", "10")
        self.start()

    def run(self) -> None:
        self.done = index(*self._arguments)

    def result(self) -> Any:
        self.join()
        return self.done
