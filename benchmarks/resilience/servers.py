"""What may be wrong with a single server or around it: full disks, red indices, foreign templates, aliases, clocks, versions."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from resilience.command import cli, environment, index, run
from resilience.outcome import Outcome
from resilience.world import World
from resilience.writer import judge_finished
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.layout import aliases_of, generations, live_generation
from sparcode_es.postings.artifact import Artifact

DISK = "cluster.routing.allocation.disk"


def flooded(url: str, world: World, name: str = "flooded") -> Outcome:
    """Disks above the flood-stage watermark: `index` says so (8), the live generation answers; below it again all is well."""
    outcome, server = Outcome("flood-stage disk watermark", cases=1), Server(ConnectionConfig(url=url))
    outcome.command(index(url, name, world.artifacts[0]), 0)
    low = {f"{DISK}.watermark.{stage}": "1%" for stage in ("low", "high", "flood_stage")}
    _settings(server, {**low, f"{DISK}.threshold_enabled": True, "cluster.info.update.interval": "10s"})
    try:
        _wait(lambda: _is_blocked(server, name))
        world.ask_all(url, name, outcome, world.artifacts[0])
        outcome.command(index(url, name, world.artifacts[1], "--timeout", "5"), 8)
        world.ask_all(url, name, outcome, world.artifacts[0])
    finally:
        _settings(
            server, {**dict.fromkeys(low), f"{DISK}.threshold_enabled": None, "cluster.info.update.interval": None}
        )
        _unblock(server, name)
    outcome.command(index(url, name, world.artifacts[1]), 0)
    judge_finished(url, name, world, 1, outcome)
    return outcome


def blocked(url: str, world: World, name: str = "blocked") -> Outcome:
    """The block that the flood stage sets, set by hand on every index of the alias as soon as it is made."""
    outcome, server = Outcome("index blocked as at the flood stage", cases=1), Server(ConnectionConfig(url=url))
    outcome.command(index(url, name, world.artifacts[0]), 0)
    body = {"index_patterns": [f"{name}-*"], "template": {"settings": {BLOCK: True}}, "priority": 900}
    server.call("PUT", "/_index_template/full-disk", body)
    try:
        outcome.command(index(url, name, world.artifacts[1]), 8)
        world.ask_all(url, name, outcome, world.artifacts[0])
    finally:
        server.call("DELETE", "/_index_template/full-disk")
    outcome.command(index(url, name, world.artifacts[1]), 0)
    judge_finished(url, name, world, 1, outcome)
    return outcome


BLOCK = "index.blocks.read_only_allow_delete"


def _settings(server: Server, values: dict[str, object]) -> None:
    server.call("PUT", "/_cluster/settings", {"persistent": values})


def _is_blocked(server: Server, name: str) -> bool:
    found = server.call("GET", f"/{name}/_settings/{BLOCK}", params={"flat_settings": "true"})
    return any(BLOCK in body["settings"] for body in found.values())


def _unblock(server: Server, name: str) -> None:
    server.call("PUT", f"/{name}-*/_settings", {BLOCK: None})


def _wait(condition: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the server never came to the state that was wanted")
        time.sleep(0.5)


def red(url: str, world: World, name: str = "red") -> Outcome:
    """The live generation's files are gone from the disk: readers get popular items, marked; a new generation heals it."""
    outcome, server = Outcome("red index", cases=1), Server(ConnectionConfig(url=url))
    outcome.command(index(url, name, world.artifacts[0]), 0)
    live = [f"{alias}-{live_generation(server, name)}" for alias in aliases_of(name)]
    for each in live:
        server.call("POST", f"/{each}/_close", params={"wait_for_active_shards": "0"})
        _remove_files(server, each)
        server.call("POST", f"/{each}/_open", params={"wait_for_active_shards": "0"})
    _wait(lambda: server.call("GET", f"/_cluster/health/{live[0]}")["status"] == "red")
    world.ask_all(url, name, outcome, users=world.users[:10])
    outcome.command(cli("query", "--url", url, "--index", name, "--user", "user 1", "--timeout", "5"), 8)
    outcome.command(index(url, name, world.artifacts[1]), 0)
    judge_finished(url, name, world, 1, outcome)
    return outcome


def _remove_files(server: Server, name: str) -> None:
    """Delete what the node of this machine keeps of an index's shards; moved away first, for the node may be writing there."""
    uuid = server.call("GET", f"/{name}/_settings")[name]["settings"]["index"]["uuid"]
    found = server.call("GET", "/_nodes/_local/stats/fs", params={"filter_path": "nodes.*.fs.data.path"})
    for node in found["nodes"].values():
        for data in node["fs"]["data"]:
            for shard in Path(data["path"]).glob(f"**/indices/{uuid}/[0-9]*"):
                away = shard.rename(Path(data["path"]) / f"removed-{uuid}-{shard.name}")
                shutil.rmtree(away, ignore_errors=True)


TEMPLATES: dict[str, dict[str, object]] = {
    "codes are a keyword": {"mappings": {"properties": {"codes": {"type": "keyword"}}}},
    "items are a date": {"mappings": {"properties": {"item": {"type": "date"}, "user": {"type": "date"}}}},
    "documents lose their codes": {"settings": {"index.default_pipeline": "drops-codes"}},
}


def conflicting(url: str, world: World, name: str = "conflict") -> Outcome:
    """Somebody's index template or pipeline fits our names: loaded as it should be, or refused with the old generation live."""
    outcome, server = Outcome("mapping conflict"), Server(ConnectionConfig(url=url))
    outcome.command(index(url, name, world.artifacts[0]), 0)
    removal = [{"remove": {"field": "codes"}}] if _has_processors(server) else []
    server.call("PUT", "/_ingest/pipeline/drops-codes", {"processors": removal})
    for template in TEMPLATES.values():
        body = {"index_patterns": [f"{name}-*"], "template": template, "priority": 900}
        server.call("PUT", "/_index_template/foreign", body)
        done = index(url, name, world.artifacts[1])
        outcome.command(done, 0, 10, 12)
        server.call("DELETE", "/_index_template/foreign")
        world.ask_all(url, name, outcome, world.artifacts[done.returncode == 0])
        outcome.command(index(url, name, world.artifacts[0]), 0)
        outcome.cases += 1
    judge_finished(url, name, world, 0, outcome)
    return outcome


def _has_processors(server: Server) -> bool:
    """The bare builds for tests come without the module of processors."""
    found = server.call("GET", "/_nodes/ingest", params={"filter_path": "nodes.*.ingest.processors"})
    return "remove" in {each["type"] for node in found["nodes"].values() for each in node["ingest"]["processors"]}


def alias_deleted(url: str, world: World, name: str = "aliasless") -> Outcome:
    """Each alias, then all, deleted by hand: answers are right or marked, `rollback --to` and `index` put them back."""
    outcome, server = Outcome("alias deleted by hand"), Server(ConnectionConfig(url=url))
    outcome.command(index(url, name, world.artifacts[0]), 0)
    for aliases in (*((alias,) for alias in aliases_of(name)), aliases_of(name)):
        live = max(generations(server, name))
        for alias in aliases:
            server.call("DELETE", f"/{alias}-{live}/_alias/{alias}")
        world.ask_all(url, name, outcome)
        flags = ("--url", url, "--index", name)
        if name in aliases:
            outcome.command(cli("generations", "rollback", *flags), 5)
            outcome.command(cli("generations", "rollback", *flags, "--to", f"{name}-{live}"), 0)
        else:
            outcome.command(index(url, name, world.artifacts[0]), 0)
        judge_finished(url, name, world, 0, outcome)
        outcome.cases += 1
    return outcome


JUMPS = {"a day back": -86_400, "an hour on": 3_600, "ten years on": 315_360_000, "back to now": 0}


def clock_jumps(url: str, world: World, name: str = "clock", jumps: Sequence[str] = tuple(JUMPS)) -> Outcome:
    """`index` on machines whose clocks are wrong, one after the other: each becomes the live generation."""
    outcome = Outcome("clock jumps")
    for number, jump in enumerate(jumps):
        outcome.command(run(_at(JUMPS[jump], url, name, world.artifacts[number % 2])), 0)
        judge_finished(url, name, world, number % 2, outcome)
        outcome.cases += 1
    return outcome


def _at(seconds: int, url: str, name: str, artifact: Artifact) -> list[str]:
    """`index` in a process whose clocks, `time.time` and `datetime.now`, are off by some seconds."""
    words = ["index", "--url", url, "--index", name, "--postings", str(artifact.path)]
    script = (
        "import datetime, time\n"
        f"off, real, kind = {seconds}, time.time, datetime.datetime\n"
        "class Clock(kind):\n"
        "    @classmethod\n"
        "    def now(cls, tz=None):\n"
        "        return kind.now(tz) + datetime.timedelta(seconds=off)\n"
        "from sparcode_es.engines.elasticsearch import index\n"
        "time.time, index.datetime = (lambda: real() + off), Clock\n"
        "from sparcode_es_cli.main import main\n"
        f"main({words!r})\n"
    )
    return [sys.executable, "-c", script]


BUILD = (
    "import sys\n"
    "sys.path.insert(0, sys.argv[1])\n"
    "from pathlib import Path\n"
    "from resilience.world import Size, make_artifact\n"
    "from sparcode_es.errors import SparcodeError\n"
    "try:\n"
    "    make_artifact(Path(sys.argv[2]), int(sys.argv[3]), Size(4_000, 64, 500))\n"
    "except SparcodeError as error:\n"
    "    print(f'error: {error}', file=sys.stderr)\n"
    "    sys.exit(error.exit_code)\n"
)


SIZES = (3_000, 3_200, 3_500, 4_000, 5_000)


def disk_full(folder: Path, sizes: Sequence[int] = SIZES) -> Outcome:
    """Two builds of an artifact, one after the other, on a file system (tmpfs, mounted by root) of so many KiB."""
    outcome = Outcome("full disk under the artifact")
    here = str(Path(__file__).resolve().parents[1])
    for kibibytes in sizes:
        mount = folder / f"disk-{kibibytes}"
        mount.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kibibytes}k", "tmpfs", str(mount)], check=True)
        try:
            first = run([sys.executable, "-c", BUILD, here, str(mount / "postings"), "1"], environment())
            before = Artifact.open(mount / "postings", verify=True).generation_hash if first.returncode == 0 else None
            second = run([sys.executable, "-c", BUILD, here, str(mount / "postings"), "2"], environment())
            for done in (first, second):
                outcome.command(done, 0, 14)
            _judge_disk(mount, before, second.returncode, outcome)
        finally:
            subprocess.run(["umount", "--lazy", str(mount)], check=True)
        outcome.cases += 1
    return outcome


def _judge_disk(mount: Path, before: str | None, code: int, outcome: Outcome) -> None:
    """The old artifact is whole, or the new one; nothing lies beside it."""
    outcome.mixed += sum(path.name != "postings" for path in mount.iterdir())
    if before is not None:
        after = Artifact.open(mount / "postings", verify=True).generation_hash
        outcome.lost += (code != 0) and after != before


def upgraded(old: str, new: str, world: World, name: str = "upgraded") -> Outcome:
    """One artifact in the old server and in the new one: every answer is the same."""
    outcome = Outcome("server upgraded between runs", cases=2)
    for url in (old, new):
        outcome.command(index(url, name, world.artifacts[0]), 0)
        judge_finished(url, name, world, 0, outcome)
    return outcome
