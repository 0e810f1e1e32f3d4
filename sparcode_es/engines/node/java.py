"""Finding a Java that a server's version runs on."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from sparcode_es.errors import EngineUnavailableError

FOLDERS = ("/usr/lib/jvm", "/opt/java", "/Library/Java/JavaVirtualMachines", "/opt/homebrew/opt")
VERSION = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)', re.MULTILINE)


def java_version(home: Path) -> int | None:
    """The major version of a Java home, read from its `release` file; None when it is not one."""
    try:
        found = VERSION.search((home / "release").read_text(encoding="utf-8"))
    except OSError:
        return None
    return int(found.group(1)) if found and (home / "bin" / "java").exists() else None


def candidates() -> list[Path]:
    """Java homes: JAVA_HOME, the `java` of the path, then the folders where packages put them."""
    homes = [Path(os.environ["JAVA_HOME"])] if os.environ.get("JAVA_HOME") else []
    if found := shutil.which("java"):
        homes.append(Path(found).resolve().parent.parent)
    for folder in map(Path, FOLDERS):
        for entry in sorted(folder.iterdir()) if folder.is_dir() else ():
            homes += [entry, entry / "Contents" / "Home"]
    return homes


def find_java(lowest: int, highest: int | None) -> Path:
    """The home of the oldest Java in the range. Raises `EngineUnavailableError`, naming those that were found."""
    versions = {home: version for home in candidates() if (version := java_version(home)) is not None}
    fitting = [(version, str(home)) for home, version in versions.items() if lowest <= version <= (highest or version)]
    if fitting:
        return Path(min(fitting)[1])
    wanted = str(lowest) if lowest == highest else f"{lowest} to {highest}" if highest else f"{lowest} or newer"
    found = ", ".join(sorted({str(version) for version in versions.values()}, key=int)) or "none"
    raise EngineUnavailableError(
        f"this Elasticsearch needs Java {wanted}; found: {found}. Install one, or name it in JAVA_HOME."
    )


def java_options(heap: str) -> str:
    """A server's ES_JAVA_OPTS: its heap, then what this process's own ES_JAVA_OPTS says."""
    return f"-Xms{heap} -Xmx{heap} {os.environ.get('ES_JAVA_OPTS', '')}".rstrip()
