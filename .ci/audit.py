"""Hold the locked packages against a copy of PyPA's advisory database, where no service can be asked.

    make audit-offline ADVISORIES=path/to/advisory-database

Prints a line an advisory that applies to a pinned version, then what was looked through. Exit code 1 when one applies.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from packaging.utils import canonicalize_name
from packaging.version import Version

LOCK = Path(__file__).resolve().parent.parent / ".requirements" / "dev.txt"
PIN = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def pinned(text: str) -> dict[str, set[str]]:
    """Canonical name → the versions that a lock pins (one a Python or platform)."""
    found: dict[str, set[str]] = {}
    for name, version in PIN.findall(text):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def within(events: list[dict[str, str]], version: Version) -> bool:
    """Whether a version lies in an OSV range, whose events are in the order of versions (the OSV schema)."""
    inside = False
    for event in events:
        (kind, text), *_ = event.items()
        if kind == "introduced":
            inside = inside or text == "0" or version >= Version(text)
        elif kind == "fixed":
            inside = inside and version < Version(text)
        elif kind == "last_affected":
            inside = inside and version <= Version(text)
    return inside


def applies(advisory: dict[str, Any], version: str) -> bool:
    """Whether an advisory names the version, or a range that it lies in. Withdrawn ones apply to nothing."""
    if advisory.get("withdrawn"):
        return False
    for affected in advisory.get("affected", ()):
        if version in affected.get("versions", ()):
            return True
        ranges = (each for each in affected.get("ranges", ()) if each["type"] == "ECOSYSTEM")
        if any(within(each["events"], Version(version)) for each in ranges):
            return True
    return False


def advisories(database: Path, names: set[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and content of every advisory on some packages."""
    for file in sorted(database.glob("vulns/*/*.yaml")):
        name = canonicalize_name(file.parent.name)
        if name in names:
            yield name, yaml.safe_load(file.read_text(encoding="utf-8"))


def main(database: Path, lock: Path) -> int:
    """Print what applies; the exit code."""
    pins, looked, found = pinned(lock.read_text(encoding="utf-8")), 0, 0
    for name, advisory in advisories(database, set(pins)):
        looked += 1
        for version in sorted(pins[name]):
            if applies(advisory, version):
                found += 1
                print(f"{advisory['id']}  {name} {version}  {advisory['details'].splitlines()[0]}")
    if not looked:
        print(f"there is no advisory on a locked package in {database / 'vulns'}: is it a copy of PyPA's database?")
        return 2
    print(f"{len(pins)} packages, {looked} advisories on them, {found} apply to the pinned versions")
    return int(found > 0)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), LOCK))
