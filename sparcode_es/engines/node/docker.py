"""The official image through testcontainers, where a Docker engine answers."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from sparcode_es.engines.node.java import java_options
from sparcode_es.errors import EngineUnavailableError

CONTAINER_PORT = 9200


def engine_answers() -> bool:
    """Whether testcontainers is installed and a Docker engine answers."""
    try:
        import docker
        from docker.errors import DockerException
        from testcontainers.core import container  # noqa: F401
    except ImportError:
        return False
    # docker-py leaves its socket open when nothing listens: look before asking.
    if "DOCKER_HOST" not in os.environ and not Path("/var/run/docker.sock").exists():
        return False
    try:
        client = docker.from_env(timeout=5)
        with contextlib.closing(client):
            return bool(client.ping())
    except DockerException:
        return False


def launch(version: str, port: int, heap: str, password: str | None) -> str:
    """Start the image on a port of this machine only, and return the container's id."""
    from docker.errors import DockerException
    from testcontainers.core.config import testcontainers_config
    from testcontainers.core.container import DockerContainer

    # The container must outlive this process: `node down` ends it.
    testcontainers_config.ryuk_disabled = True
    container: Any = DockerContainer(f"elasticsearch:{version}")
    container.with_env("discovery.type", "single-node")
    container.with_env("ES_JAVA_OPTS", java_options(heap))
    container.with_env("xpack.security.enabled", "true" if password else "false")
    container.with_env("xpack.security.http.ssl.enabled", "false")
    if password:
        container.with_env("ELASTIC_PASSWORD", password)
    container.with_kwargs(ports={f"{CONTAINER_PORT}/tcp": ("127.0.0.1", port)})
    try:
        container.start()
    except DockerException as error:
        raise EngineUnavailableError(f"Docker could not start elasticsearch:{version}: {error}") from error
    identity: str = container.get_wrapped_container().id
    return identity


def is_running(identity: str) -> bool:
    """Whether the container still runs."""
    found = _container(identity)
    return found is not None and found.status == "running"


def end(identity: str) -> None:
    """Remove the container with its data."""
    if (found := _container(identity)) is not None:
        found.remove(force=True, v=True)


def _container(identity: str) -> Any:
    import docker
    from docker.errors import DockerException

    try:
        return docker.from_env(timeout=10).containers.get(identity)
    except DockerException:
        return None
