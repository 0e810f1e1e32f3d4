"""`LocalNode`: a throw-away server of one or more nodes on this machine."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import shutil
import ssl
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from sparcode_es.engines.node import docker, process
from sparcode_es.engines.node.folders import cache_folder
from sparcode_es.engines.node.install import RELEASES
from sparcode_es.engines.node.security import Security
from sparcode_es.engines.processes import runs_here
from sparcode_es.errors import ConfigError, EngineUnavailableError
from sparcode_es.files import atomic_write, storage_errors

VERSIONS = tuple(RELEASES)
START_SECONDS = 180.0


@dataclass(frozen=True)
class NodeState:
    """What `status` and `down` need to know of a server that another process started."""

    name: str
    version: str
    port: int
    nodes: int
    folder: str
    pids: tuple[int, ...] = ()
    container: str | None = None
    scheme: str = "http"
    owner: int = 0
    """The process that started it."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def is_running(self) -> bool:
        """Whether all its processes, or its container, still run."""
        if self.container is not None:
            return docker.is_running(self.container)
        return bool(self.pids) and all(process.is_ours(pid, Path(self.folder)) for pid in self.pids)

    def is_attended(self) -> bool:
        """Whether another process, which still runs, started it and will end it: a test, not a `node up`."""
        return self.owner not in (0, os.getpid()) and runs_here(self.owner)

    def remove(self) -> None:
        """End it and delete its data."""
        if self.container is not None:
            docker.end(self.container)
        for pid in self.pids:
            process.end(pid, Path(self.folder))
        shutil.rmtree(self.folder, ignore_errors=True)


def running_nodes() -> list[NodeState]:
    """The servers that `node up` or tests started and that were not taken down, running or not."""
    found = []
    for file in sorted((cache_folder() / "nodes").glob("*/state.json")):
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:  # taken down by another process since it was listed
            continue
        # What is removed is the folder that the state was found in, whatever it says.
        found.append(NodeState(**{**content, "folder": str(file.parent), "pids": tuple(content["pids"])}))
    return found


class LocalNode:
    """A server that lives as long as the `with` block, or until `stop`.

    version: one of `VERSIONS`. nodes: how many processes form the cluster. port: where the first listens (None: a free
    one). heap: Java heap of each. security: whether the user `elastic` must give `password`, or more of it: other users,
    roles, a certificate (not in Docker). use_docker: None asks whether an engine answers. Raises `EngineUnavailableError`
    when it does not start.
    """

    def __init__(
        self,
        version: str = VERSIONS[-1],
        *,
        nodes: int = 1,
        port: int | None = None,
        heap: str = "1g",
        security: bool | Security = False,
        use_docker: bool | None = None,
        start_seconds: float = START_SECONDS,
    ) -> None:
        if version not in RELEASES:
            raise ConfigError(f"node knows the versions {', '.join(VERSIONS)}, not {version}")
        if nodes < 1:
            raise ConfigError(f"a cluster has at least one node, not {nodes}")
        if security and nodes > 1:
            raise ConfigError("a cluster with security needs certificates; use one node")
        self.version, self.nodes, self.heap = version, nodes, heap
        self.password = secrets.token_urlsafe(12) if security else None
        self._port, self._start_seconds = port, start_seconds
        self.security = security if isinstance(security, Security) else Security()
        self._use_docker = False if isinstance(security, Security) else use_docker
        self._state: NodeState | None = None

    @property
    def state(self) -> NodeState:
        """What runs. Raises `EngineUnavailableError` before `start`."""
        if self._state is None:
            raise EngineUnavailableError("the local server has not been started")
        return self._state

    @property
    def url(self) -> str:
        """Where it listens."""
        return self.state.url

    def start(self) -> LocalNode:
        """Start it and wait until it answers."""
        port = self._port if self._port is not None else process.free_port()
        process.need_free(port)
        parent = cache_folder() / "nodes"
        folder = parent / f"{self.version}-{port}"
        with storage_errors(folder):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
        self._state = NodeState(folder.name, self.version, port, self.nodes, str(folder), owner=os.getpid())
        self._state = replace(self._state, scheme=self.security.scheme)
        try:
            self._launch(port, folder)
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self, port: int, folder: Path) -> None:
        use_docker = docker.engine_answers() if self._use_docker is None and self.nodes == 1 else self._use_docker
        if use_docker:
            self._save(container=docker.launch(self.version, port, self.heap, self.password))
            return
        transport = [process.free_port() for _ in range(self.nodes)]
        for number in range(self.nodes):
            http_port = port if number == 0 else process.free_port()
            home = folder / f"node-{number}"
            home.mkdir()
            settings = self._settings(folder.name, number, http_port, transport)
            files = self.security.files() if self.password else {}
            pid = process.launch(RELEASES[self.version], home, settings, self.heap, self.password, files)
            self._save(pids=(*self.state.pids, pid))

    def restart(self, number: int) -> None:
        """Start a node whose process has ended once more, on the data that it left. Does not wait until it answers."""
        home = Path(self.state.folder) / f"node-{number}"
        pids = list(self.state.pids)
        pids[number] = process.spawn(RELEASES[self.version], home, self.heap)
        self._save(pids=tuple(pids))

    def _settings(self, cluster: str, number: int, port: int, transport: list[int]) -> dict[str, str]:
        settings = {
            "cluster.name": cluster,
            "node.name": f"node-{number}",
            "network.host": "127.0.0.1",
            "http.port": str(port),
            "transport.port": str(transport[number]),
            "xpack.security.enabled": "true" if self.password else "false",
            # A throw-away server must not stop writing because the machine's disk is nearly full.
            "cluster.routing.allocation.disk.threshold_enabled": "false",
            **self.security.settings(),
        }
        if self.nodes == 1:
            return {**settings, "discovery.type": "single-node"}
        hosts = ", ".join(f'"127.0.0.1:{each}"' for each in transport)
        masters = ", ".join(f'"node-{each}"' for each in range(self.nodes))
        return {**settings, "discovery.seed_hosts": f"[{hosts}]", "cluster.initial_master_nodes": f"[{masters}]"}

    def _save(self, pids: tuple[int, ...] = (), container: str | None = None) -> None:
        self._state = state = replace(self.state, pids=pids, container=container)
        with atomic_write(Path(state.folder) / "state.json", "w") as file:
            json.dump(asdict(state), file)

    def _wait(self) -> None:
        deadline = time.monotonic() + self._start_seconds
        while not self._answers():
            if not self.state.is_running():
                raise EngineUnavailableError(
                    f"Elasticsearch {self.version} did not start; its last lines:\n{self._log()}"
                )
            if time.monotonic() > deadline:
                seconds = int(self._start_seconds)
                raise EngineUnavailableError(
                    f"Elasticsearch {self.version} was not ready in {seconds} s; its last lines:\n{self._log()}"
                )
            time.sleep(0.5)

    def _log(self) -> str:
        return process.last_words(Path(self.state.folder) / "node-0")

    def _answers(self) -> bool:
        """Whether the cluster is complete and usable. `GET /` is not asked: the 9.4.5 zip has no such endpoint."""
        health = self._ask("/_cluster/health")
        if health is None or health["status"] not in ("green", "yellow") or health["number_of_nodes"] != self.nodes:
            return False
        if self.nodes == 1:
            return True
        # A node joins its cluster before it listens.
        listening = self._ask("/_nodes/http?filter_path=nodes.*.http")
        return listening is not None and len(listening.get("nodes", {})) == self.nodes

    def _ask(self, path: str) -> dict[str, Any] | None:
        """What the first node answers; None where it does not."""
        request = urllib.request.Request(f"{self.url}{path}")
        if self.password is not None:
            token = base64.b64encode(f"elastic:{self.password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=5, context=self._trusting()) as answer:
                found: dict[str, Any] = json.load(answer)
                return found
        except (OSError, http.client.HTTPException, ValueError):
            return None

    def _trusting(self) -> ssl.SSLContext | None:
        """Any certificate: this process has just started the server, and sends a password made up for it."""
        if self.security.certificate is None:
            return None
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    @property
    def config_folder(self) -> Path:
        """Where the first node's settings and certificate lie; it reads a changed certificate by itself."""
        return Path(self.state.folder) / "node-0" / "config"

    def stop(self) -> None:
        """End it and delete its data."""
        if self._state is not None:
            self._state.remove()
            self._state = None

    def __enter__(self) -> LocalNode:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
