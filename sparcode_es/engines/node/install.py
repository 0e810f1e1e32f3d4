"""The real Elasticsearch without Docker: its zip through Maven, unpacked once into the cache folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from sparcode_es.engines.node.folders import cache_folder
from sparcode_es.errors import EngineUnavailableError
from sparcode_es.files import atomic_folder

GROUP = "org.elasticsearch.distribution.integ-test-zip"
PLUGIN_GROUP = "org.elasticsearch.plugin"
FETCH_SECONDS = 900


@dataclass(frozen=True)
class Release:
    """A version that `node` knows how to start."""

    version: str
    lowest_java: int
    highest_java: int | None
    needs_mapper_extras: bool
    """Whether the module with `rank_features` is laid in beside the zip."""


RELEASES = {
    "7.17.29": Release("7.17.29", 17, 17, needs_mapper_extras=True),
    "9.4.5": Release("9.4.5", 21, None, needs_mapper_extras=False),
}


def local_repository() -> Path:
    """Maven's local repository."""
    return Path(os.environ.get("MAVEN_REPO_LOCAL") or Path.home() / ".m2" / "repository")


def fetch(group: str, name: str, version: str, kind: str) -> Path:
    """A file out of Maven's local repository, fetched first when it is not there; Maven verifies its checksum."""
    file = local_repository().joinpath(*group.split("."), name, version, f"{name}-{version}.{kind}")
    if file.exists():
        return file
    maven = shutil.which("mvn")
    if maven is None:
        raise EngineUnavailableError(
            f"Elasticsearch {version} is fetched with Maven, and there is no `mvn`. Install maven, or start Docker."
        )
    coordinates = f"{group}:{name}:{version}:{kind}"
    command = [maven, "-q", "-B", "dependency:get", f"-Dartifact={coordinates}", "-Dtransitive=false"]
    command.append(f"-Dmaven.repo.local={local_repository()}")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise EngineUnavailableError(f"Maven did not fetch {coordinates} in {FETCH_SECONDS} s; try again.") from error
    if done.returncode != 0 or not file.exists():
        reason = (done.stdout + done.stderr).strip().splitlines()[:3]
        raise EngineUnavailableError(f"Maven could not fetch {coordinates}: {' '.join(reason)}")
    return file


def install(release: Release) -> Path:
    """The folder of an unpacked server, fetched and unpacked when it is not there yet."""
    home = cache_folder() / f"elasticsearch-{release.version}"
    if home.is_dir():
        return home
    archive = fetch(GROUP, "elasticsearch", release.version, "zip")
    with atomic_folder(home) as work:
        _unpack(archive, work)
        if release.needs_mapper_extras:
            _add_mapper_extras(work, release.version)
        for path in work.rglob("*"):
            path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
    return home


def _unpack(archive: Path, folder: Path) -> None:
    """Unpack the zip without its top folder."""
    with zipfile.ZipFile(archive) as packed:
        for member in packed.infolist():
            parts = Path(member.filename).parts[1:]
            if not parts or ".." in parts:
                continue
            target = folder.joinpath(*parts)
            if member.is_dir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            with packed.open(member) as source, target.open("wb") as sink:
                shutil.copyfileobj(source, sink)


def _add_mapper_extras(home: Path, version: str) -> None:
    jar = fetch(PLUGIN_GROUP, "mapper-extras-client", version, "jar")
    module = home / "modules" / "mapper-extras"
    module.mkdir(parents=True)
    shutil.copyfile(jar, module / jar.name)
    descriptor = {
        "name": "mapper-extras",
        "description": "rank_features and other field types",
        "version": version,
        "elasticsearch.version": version,
        "java.version": "1.8",
        "classname": "org.elasticsearch.index.mapper.MapperExtrasPlugin",
        "extended.plugins": "",
        "has.native.controller": "false",
    }
    text = "".join(f"{key}={value}\n" for key, value in descriptor.items())
    (module / "plugin-descriptor.properties").write_text(text, encoding="utf-8")
