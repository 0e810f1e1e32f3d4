"""`.ci/audit.py`: which pinned versions an advisory of PyPA's database applies to."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
import yaml


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    place = Path(__file__).resolve().parent.parent / ".ci" / "audit.py"
    spec = importlib.util.spec_from_file_location("audit", place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def advisory(database: Path, package: str, **more: object) -> None:
    folder = database / "vulns" / package
    folder.mkdir(parents=True, exist_ok=True)
    content = {"id": f"PYSEC-{len(list(folder.iterdir()))}", "details": f"about {package}\nmore", **more}
    (folder / f"{content['id']}.yaml").write_text(yaml.safe_dump(content))


def ranged(*events: dict[str, str]) -> list[dict[str, object]]:
    return [{"ranges": [{"type": "ECOSYSTEM", "events": list(events)}]}]


@pytest.mark.parametrize(
    ("version", "expected"),
    [("0.9", False), ("1.0", True), ("1.9.1", True), ("2.0", False), ("3.1", True), ("4", False)],
)
def test_ranges(audit: ModuleType, version: str, expected: bool) -> None:
    events = [{"introduced": "1.0"}, {"fixed": "2.0"}, {"introduced": "3.0"}, {"last_affected": "3.2"}]
    assert audit.applies({"affected": ranged(*events)}, version) is expected
    assert not audit.applies({"affected": ranged(*events), "withdrawn": "2020-01-01"}, version)


def test_a_lock_is_held_against_the_database(
    audit: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = tmp_path / "lock.txt"
    lock.write_text("Some_Thing==1.5 ; python_version < '3.11' \\\n    --hash=sha256:00\nsome-thing==2.5\nother==1\n")
    assert audit.main(tmp_path, lock) == 2
    advisory(tmp_path, "some.thing", affected=ranged({"introduced": "0"}, {"fixed": "1.0"}))
    advisory(tmp_path, "unknown", affected=ranged({"introduced": "0"}))
    assert audit.main(tmp_path, lock) == 0
    assert capsys.readouterr().out.endswith("2 packages, 1 advisories on them, 0 apply to the pinned versions\n")
    advisory(tmp_path, "some.thing", affected=[*ranged({"introduced": "2.0"}), {"versions": ["1.5"]}])
    assert audit.main(tmp_path, lock) == 1
    first, second, last = capsys.readouterr().out.splitlines()
    assert first == "PYSEC-1  some-thing 1.5  about some.thing"
    assert second == "PYSEC-1  some-thing 2.5  about some.thing"
    assert last == "2 packages, 2 advisories on them, 2 apply to the pinned versions"
