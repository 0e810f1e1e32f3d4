"""Local servers: what is missing is named, a fetched zip is unpacked whole or not at all, ended servers are cleared away."""

from __future__ import annotations

import json
import os
import signal
import socket
import zipfile
from pathlib import Path

import pytest
from click.testing import CliRunner
from sparcode_es_cli.main import cli

from sparcode_es.engines.node import LocalNode, folders, install, java, local, process, running_nodes
from sparcode_es.engines.node.install import RELEASES
from sparcode_es.errors import ConfigError, EngineUnavailableError, NotFoundError, StorageError


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of this test's own."""
    folder = tmp_path / "cache"
    for module in (install, local):
        monkeypatch.setattr(module, "cache_folder", lambda: folder)
    monkeypatch.setenv("MAVEN_REPO_LOCAL", str(tmp_path / "m2"))
    return folder


def fake_maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    """Put a shell script in the place of `mvn`."""
    (tmp_path / "bin").mkdir()
    maven = tmp_path / "bin" / "mvn"
    maven.write_text(f"#!/bin/sh\n{script}\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"version": "8.0.0"}, "9.4.5, not 8.0.0"),
        ({"nodes": 0}, "at least one"),
        ({"nodes": 2, "security": True}, "one node"),
    ],
)
def test_what_cannot_be_started_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LocalNode(**options)  # type: ignore[arg-type]


def test_a_taken_port_is_named(cache: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port}: Address already in use; choose another with --port"):
            LocalNode(port=port).start()
    assert running_nodes() == []


def test_without_maven_the_message_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(EngineUnavailableError, match="Install maven, or start Docker"):
        install.install(RELEASES["9.4.5"])


def test_maven_that_fails_is_quoted(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_maven(tmp_path, monkeypatch, "echo no such artifact; exit 1")
    with pytest.raises(EngineUnavailableError, match=r"could not fetch .*:zip: no such artifact"):
        install.install(RELEASES["9.4.5"])
    assert not cache.exists()


def test_a_zip_is_unpacked_without_its_top_folder_and_nothing_outside(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with zipfile.ZipFile(tmp_path / "made.zip", "w") as archive:
        archive.writestr("elasticsearch-9.4.5/bin/elasticsearch", "run")
        archive.writestr("elasticsearch-9.4.5/config/elasticsearch.yml", "")
        archive.writestr("elasticsearch-9.4.5/../../outside", "no")
    group = install.GROUP.replace(".", "/")
    place = tmp_path / "m2" / group / "elasticsearch" / "9.4.5"
    fake_maven(tmp_path, monkeypatch, f"mkdir -p {place}; cp {tmp_path}/made.zip {place}/elasticsearch-9.4.5.zip")
    home = install.install(RELEASES["9.4.5"])
    assert sorted(path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()) == [
        "bin/elasticsearch",
        "config/elasticsearch.yml",
    ]
    assert os.access(home / "bin/elasticsearch", os.X_OK)
    assert not (cache.parent / "outside").exists()
    # At hand now: neither the archive nor Maven is needed again.
    (tmp_path / "bin" / "mvn").unlink()
    assert install.install(RELEASES["9.4.5"]) == home


def test_a_server_gets_its_heap_and_the_environments_java_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_JAVA_OPTS", "-XX:+UseSerialGC")
    assert java.java_options("512m") == "-Xms512m -Xmx512m -XX:+UseSerialGC"
    monkeypatch.delenv("ES_JAVA_OPTS")
    assert java.java_options("1g") == "-Xms1g -Xmx1g"


def test_the_oldest_java_that_fits_is_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for version in ("17.0.1", "21.0.2", "25", "1.8.0"):
        home = tmp_path / f"java-{version}"
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "java").touch()
        (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')
    monkeypatch.setattr(java, "candidates", lambda: [tmp_path / "none", *tmp_path.iterdir()])
    assert java.find_java(17, 17).name == "java-17.0.1"
    assert java.find_java(18, None).name == "java-21.0.2"
    with pytest.raises(EngineUnavailableError, match="Java 26 or newer; found: 8, 17, 21, 25"):
        java.find_java(26, None)


def listed_server(cache: Path, port: int, pid: int, owner: int = 0) -> Path:
    """The folder of a server as `node up` leaves it."""
    folder = cache / "nodes" / f"9.4.5-{port}"
    folder.mkdir(parents=True)
    state = {"name": folder.name, "version": "9.4.5", "port": port, "nodes": 1, "folder": str(folder), "pids": [pid]}
    state["owner"] = owner
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def test_a_server_that_ended_is_listed_and_cleared_away(cache: Path) -> None:
    folder = listed_server(cache, 1, 2**22 + 1)
    listed = CliRunner().invoke(cli, ["node", "status"])
    assert "http://127.0.0.1:1  9.4.5  1 node  ended" in listed.output
    wrong = CliRunner().invoke(cli, ["node", "down", "--port", "2"])
    assert isinstance(wrong.exception, NotFoundError)
    assert CliRunner().invoke(cli, ["node", "down"]).exit_code == 0
    assert running_nodes() == []
    assert not folder.exists()


def test_down_ends_one_server_and_asks_which_where_there_are_more(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for port, pid in ((9201, 1), (9202, 2), (9203, 3)):
        listed_server(cache, port, pid)
    ended: list[int] = []
    monkeypatch.setattr(process, "is_ours", lambda pid, folder: pid != 3)
    monkeypatch.setattr(process, "end", lambda pid, folder: ended.append(pid))
    asked = CliRunner().invoke(cli, ["node", "down"])
    assert asked.exit_code == 2
    assert "http://127.0.0.1:9201 (9.4.5), http://127.0.0.1:9202 (9.4.5); name one with --port" in asked.stderr
    assert ended == [3]  # what had ended is cleared away all the same
    assert [state.port for state in running_nodes()] == [9201, 9202]
    assert CliRunner().invoke(cli, ["node", "down", "--version", "9.4.5"]).exit_code == 2
    named = CliRunner().invoke(cli, ["node", "down", "--port", "9201"])
    assert (named.exit_code, named.stderr, ended) == (0, "ended http://127.0.0.1:9201 (9.4.5)\n", [3, 1])
    assert CliRunner().invoke(cli, ["node", "down"]).exit_code == 0
    assert (ended, running_nodes()) == ([3, 1, 2], [])


def test_down_leaves_the_server_of_a_process_that_runs_unless_it_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of a test's servers, of which one has ended, and one that `node up` left."""
    for port, pid, owner in ((9201, 1, os.getppid()), (9202, 2, os.getppid()), (9203, 3, 2**22 + 1)):
        listed_server(cache, port, pid, owner)
    ended: list[int] = []
    monkeypatch.setattr(process, "is_ours", lambda pid, folder: pid != 2)
    monkeypatch.setattr(process, "end", lambda pid, folder: ended.append(pid))
    assert CliRunner().invoke(cli, ["node", "down"]).exit_code == 0
    assert (ended, [state.port for state in running_nodes()]) == ([3], [9201, 9202])
    assert CliRunner().invoke(cli, ["node", "down", "--port", "9201"]).exit_code == 0
    assert CliRunner().invoke(cli, ["node", "down", "--all"]).exit_code == 0
    assert (ended, running_nodes()) == ([3, 1, 2], [])


def test_down_ends_all_where_all_are_meant(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for port in (9201, 9202):
        listed_server(cache, port, port)
    ended: list[int] = []
    monkeypatch.setattr(process, "is_ours", lambda pid, folder: True)
    monkeypatch.setattr(process, "end", lambda pid, folder: ended.append(pid))
    assert CliRunner().invoke(cli, ["node", "down", "--all"]).exit_code == 0
    assert (sorted(ended), running_nodes()) == ([9201, 9202], [])


def test_a_state_decides_nothing_outside_its_own_folder(cache: Path, tmp_path: Path) -> None:
    """What `down` deletes is the folder that the state lies in, whatever the state says."""
    folder, others = listed_server(cache, 1, 2**22 + 1), tmp_path / "others"
    others.mkdir()
    state = json.loads((folder / "state.json").read_text())
    (folder / "state.json").write_text(json.dumps({**state, "folder": str(others)}))
    assert CliRunner().invoke(cli, ["node", "down"]).exit_code == 0
    assert (others.exists(), folder.exists()) == (True, False)


@pytest.mark.parametrize(
    ("line", "ours"),
    [
        ("S    java -Des.path.conf={}/node-0/config org.elasticsearch.bootstrap.Elasticsearch", True),
        ("S    /bin/bash /opt/bin/elasticsearch -Epath.data={}/node-0/data", True),
        ("S    java -Des.path.conf={}7/node-0/config org.elasticsearch.bootstrap.Elasticsearch", False),
        ("S    java -Des.path.conf=/etc/elasticsearch org.elasticsearch.bootstrap.Elasticsearch", False),
        ("S    sparcode-es serve --engine elasticsearch", False),
        ("", False),
    ],
)
def test_a_process_is_ours_where_it_serves_the_node_s_own_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, ours: bool
) -> None:
    """After a reboot the process id may be another program's, or another Elasticsearch's."""
    folder = tmp_path / "nodes" / "9.4.5-920"
    monkeypatch.setattr(process, "command_line", lambda pid: line.format(folder))
    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, number: (killed.append(pid), monkeypatch.undo()))
    assert process.is_ours(7, folder) is ours
    process.end(2**22 + 1, folder)
    assert bool(killed) is ours


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where root's servers would live, in a folder that everybody writes to."""
    monkeypatch.setattr(folders, "SHARED", tmp_path)
    monkeypatch.setattr(folders, "server_user", lambda: "nobody")
    return tmp_path / f"sparcode-es-{os.geteuid()}"


def test_the_folder_of_root_s_servers_is_made_and_found_again(shared: Path) -> None:
    for _ in range(2):
        assert folders.cache_folder() == shared
        assert shared.stat().st_mode & 0o777 == 0o755
        shared.chmod(0o777)


def test_a_folder_that_somebody_else_has_made_is_not_trusted(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (shared.parent / "elsewhere").mkdir()
    shared.symlink_to("elsewhere")
    with pytest.raises(StorageError, match=r"is a link.*remove it"):
        folders.cache_folder()
    shared.unlink()
    shared.mkdir()
    own = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: own + 1)
    shared.rename(shared.with_name(f"sparcode-es-{own + 1}"))
    with pytest.raises(StorageError, match=f"belongs to the user {own}, not {own + 1}.*remove it"):
        folders.cache_folder()


def test_before_a_start_there_is_no_address() -> None:
    with pytest.raises(EngineUnavailableError, match="has not been started"):
        _ = LocalNode().url


@pytest.mark.slow
def test_a_server_that_dies_while_it_starts_is_reported_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "cache_folder", lambda: tmp_path)
    node = LocalNode("9.4.5", heap="none", use_docker=False)
    with pytest.raises(EngineUnavailableError, match="did not start; its last lines"):
        node.start()
    assert running_nodes() == []
    assert list((tmp_path / "nodes").iterdir()) == []


@pytest.mark.slow
def test_up_status_kill_and_down() -> None:
    made = CliRunner().invoke(cli, ["node", "up", "--version", "7.17.29", "--heap", "512m", "--json"])
    assert made.exit_code == 0, made.output
    row = json.loads(made.stdout)
    port = row["url"].rsplit(":", 1)[1]
    try:
        listed = json.loads(CliRunner().invoke(cli, ["node", "status", "--json"]).stdout)
        assert row["url"] in [each["url"] for each in listed if each["running"]]
        os.killpg(row["pids"][0], signal.SIGKILL)
        while process.command_line(row["pids"][0]):
            pass
        listed = json.loads(CliRunner().invoke(cli, ["node", "status", "--json"]).stdout)
        assert row["url"] in [each["url"] for each in listed if not each["running"]]
    finally:
        assert CliRunner().invoke(cli, ["node", "down", "--port", port]).exit_code == 0
    assert row["url"] not in [state.url for state in running_nodes()]


def test_a_port_is_none_that_a_connection_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PORTS", range(20_000, 20_003))
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 20_000))
        other.bind(("127.0.0.1", 20_002))
        assert process.free_port() == 20_001
        monkeypatch.setattr(process, "PORTS", range(20_000, 20_001))
        with pytest.raises(EngineUnavailableError, match="no port from 20000 to 20000"):
            process.free_port()


def test_last_words_have_the_errors_before_them(tmp_path: Path) -> None:
    written = ["[t][ERROR][o.e.b] bind failed", *(f"[t][INFO ][o.e.n] line {number}" for number in range(20))]
    (tmp_path / "output.log").write_text("\n".join(written))
    assert process.last_words(tmp_path, 2).splitlines() == [written[0], *written[-2:]]
