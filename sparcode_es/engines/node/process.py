"""One Elasticsearch process: its folder, its start, its end."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from sparcode_es.engines.node.folders import own, server_user
from sparcode_es.engines.node.install import Release, install
from sparcode_es.engines.node.java import find_java, java_options
from sparcode_es.errors import ConfigError, EngineUnavailableError
from sparcode_es.files import storage_errors

STOP_SECONDS = 20.0
PORTS = range(20_000, 32_000)


def free_port() -> int:
    """A TCP port that nobody uses now, below those that the system gives to connections: a server takes minutes to bind it."""
    for port in random.SystemRandom().sample(PORTS, len(PORTS)):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise EngineUnavailableError(f"no port from {PORTS[0]} to {PORTS[-1]} is free")


def need_free(port: int) -> None:
    """Raise `ConfigError` when no server can listen on `port`: something does already."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise ConfigError(
                f"cannot start a server on port {port}: {error.strerror}; choose another with --port, or leave it out for a free "
                "one (`sparcode-es node status` lists the servers of this account)"
            ) from error


def launch(
    release: Release,
    folder: Path,
    settings: dict[str, str],
    heap: str,
    password: str | None,
    files: Mapping[str, str],
) -> int:
    """Lay out `folder` (config, data, logs), start a server there and return its process id, which leads its process group.

    files: what else lies in its config folder.
    """
    environment = _environment(release, folder, heap)
    home = install(release)
    with storage_errors(folder):
        shutil.copytree(home / "config", folder / "config")
        for name in ("data", "logs", "tmp", "config/jvm.options.d"):
            (folder / name).mkdir(exist_ok=True)
        _keep_logs_out_of_home(folder / "config" / "jvm.options")
        lines = {**settings, "path.logs": str(folder / "logs")}
        text = "".join(f"{key}: {value}\n" for key, value in lines.items())
        for name, content in {**files, "elasticsearch.yml": text}.items():
            (folder / "config" / name).write_text(content, encoding="utf-8")
        own(folder)
    if password is not None:
        _set_password(home, folder, environment, password)
    return spawn(release, folder, heap)


def _environment(release: Release, folder: Path, heap: str) -> dict[str, str]:
    java = find_java(release.lowest_java, release.highest_java)
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "ES_JAVA_HOME": str(java),
        "ES_PATH_CONF": str(folder / "config"),
        "ES_TMPDIR": str(folder / "tmp"),
        "ES_JAVA_OPTS": java_options(heap),
    }


def spawn(release: Release, folder: Path, heap: str) -> int:
    """Start the server whose folder is laid out, for the first time or again, and return its process id."""
    with (folder / "output.log").open("ab") as output:
        process = subprocess.Popen(
            # The data is named here and not in the settings: `is_ours` tells by the command line, the script's and Java's.
            [str(install(release) / "bin" / "elasticsearch"), f"-Epath.data={folder / 'data'}"],
            cwd=folder,
            env=_environment(release, folder, heap),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=server_user(),
        )
    # The caller may be a command that ends while the server goes on: what is kept is the process id.
    process.returncode = 0
    return process.pid


def _keep_logs_out_of_home(options: Path) -> None:
    """Drop the Java options that write below the unpacked server, which the server's user may not write to."""
    kept = [line for line in options.read_text(encoding="utf-8").splitlines() if "logs/" not in line]
    options.write_text("\n".join(kept) + "\n", encoding="utf-8")


def _set_password(home: Path, folder: Path, environment: dict[str, str], password: str) -> None:
    """Put the password of the user `elastic` into a new keystore."""
    tool = str(home / "bin" / "elasticsearch-keystore")
    small = {**environment, "ES_JAVA_OPTS": "-Xmx128m"}
    for arguments, text in ((["create"], ""), (["add", "--stdin", "bootstrap.password"], password)):
        done = subprocess.run(
            [tool, *arguments],
            cwd=folder,
            env=small,
            input=text,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            user=server_user(),
        )
        if done.returncode != 0:
            raise EngineUnavailableError(f"elasticsearch-keystore {arguments[0]} failed: {done.stderr.strip()[-300:]}")


def command_line(pid: int) -> str:
    """The command line of a process, "" when it has ended."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    done = subprocess.run(
        ["ps", "-ww", "-o", "stat=,command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    line = done.stdout.strip()
    return "" if line.startswith("Z") else line


def is_ours(pid: int, folder: Path) -> bool:
    """Whether the process still runs and serves a node below `folder`: the id may have gone to another program since."""
    return f"{folder}/" in command_line(pid)


def end(pid: int, folder: Path) -> None:
    """End a server whose node lies below `folder`, and its children: politely, then by force."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        if not is_ours(pid, folder):
            break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, number)
        deadline = time.monotonic() + patience
        while is_ours(pid, folder) and time.monotonic() < deadline:
            time.sleep(0.1)


def last_words(folder: Path, lines: int = 8) -> str:
    """The last lines that a server wrote, and its last errors, for an error message."""
    try:
        text = (folder / "output.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    written = text.strip().splitlines()
    errors = [line for line in written[:-lines] if "][ERROR]" in line or "Exception: " in line]
    return "\n".join([*errors[-3:], *written[-lines:]]) or "(the log is empty)"
