"""The saved objects: shapes that Kibana takes, stable ids, no reference out of the file, and what `kibana export` writes."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sparcode_es_mappings
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from sparcode_es_cli.main import cli, main

from kibana.drawn import urls_of
from sparcode_es.engines.elasticsearch.layout import COMPANIONS, NAME
from sparcode_es.errors import ConfigError
from sparcode_es.kibana.objects import VERSIONS, ndjson, saved_objects

ATTRIBUTES = {
    "index-pattern": {"title", "name", "fieldFormatMap"},
    "search": {"title", "description", "columns", "sort", "kibanaSavedObjectMeta"},
    "visualization": {"title", "description", "visState", "uiStateJSON", "version", "kibanaSavedObjectMeta"},
    "dashboard": {
        "title", "description", "panelsJSON", "optionsJSON", "timeRestore", "version", "kibanaSavedObjectMeta",
    },
}  # fmt: skip
"""What every Kibana from 7.17 to 9 takes of each type: 7.17's mappings are strict, 9's schemas forbid the rest."""
VIEWS = (("items", "items-rank_features"), ("users", "users"), ("codes", "codes"), ("generations", "generations"))
"""Data views and the index bodies that they show."""
OPTIONAL = {kind: {"timeFieldName"} if kind == "index-pattern" else set() for kind in ATTRIBUTES}
LATEST = {
    "7.17": {"index-pattern": "7.11.0", "search": "7.9.3", "visualization": "7.17.0", "dashboard": "7.17.3"},
    "8": {"index-pattern": "8.0.0", "search": "8.0.0", "visualization": "8.0.0", "dashboard": "8.0.0"},
    "9": {"index-pattern": "8.0.0", "search": "8.8.0", "visualization": "8.5.0", "dashboard": "8.9.0"},
}
"""The last migration of each type in the first release that a file is for: a later one would be refused."""
aliases = st.from_regex(NAME, fullmatch=True).filter(lambda name: not name.endswith(tuple(COMPANIONS)))
every_version = pytest.mark.parametrize("version", VERSIONS)


def texts(value: Any) -> Iterator[str]:
    """Every string in it, and in the JSON that its strings hold; an expression of Vega's may look like JSON, and is not."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from [each] if key in ("signal", "update") and isinstance(each, str) else texts(each)
    elif isinstance(value, list):
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value
        if value.startswith(("{", "[")):
            yield from texts(json.loads(value))


def aggregated(aggs: dict[str, Any]) -> Iterator[str]:
    """The fields that aggregations are of."""
    for each in aggs.values():
        yield from aggregated(each.get("aggs", {}))
        for kind, body in each.items():
            if kind != "aggs":
                yield from body["term"] if kind == "filter" else [body["field"]]


def view_of(index: str) -> str:
    """The data view of an index of the alias `a`."""
    return index.removeprefix("a").removeprefix("-") or "items"


def order(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


@every_version
@given(alias=aliases)
def test_every_line_is_an_object_that_kibana_takes(version: str, alias: str) -> None:
    lines = ndjson(saved_objects(alias, version)).decode().splitlines()
    seen: set[tuple[str, str]] = set()
    for line in lines:
        found = json.loads(line)
        kind = found["type"]
        assert found["attributes"].keys() - OPTIONAL[kind] == ATTRIBUTES[kind]
        assert uuid.UUID(found["id"]).version == 5
        for each in found["references"]:
            assert (each["type"], each["id"]) in seen, "referred to before it is there"
        assert (kind, found["id"]) not in seen
        seen.add((kind, found["id"]))
        of_type = found["migrationVersion"][kind] if version != "9" else found["typeMigrationVersion"]
        assert order(of_type) <= order(LATEST[version][kind])
        assert order(found["coreMigrationVersion"]) <= order(f"{version}.0" if version == "7.17" else f"{version}.0.0")
        assert all("{alias}" not in text for text in texts(found))
        for key in ("visState", "uiStateJSON", "panelsJSON", "optionsJSON", "fieldFormatMap"):
            json.loads(found["attributes"].get(key, "{}"))
        source = found["attributes"].get("kibanaSavedObjectMeta", {}).get("searchSourceJSON", "{}")
        named = json.loads(source).get("indexRefName")
        assert named is None or named in {each["name"] for each in found["references"]}
    assert {kind for kind, _ in seen} == ATTRIBUTES.keys()


@every_version
def test_data_views_name_the_aliases(version: str) -> None:
    views = [each["attributes"] for each in saved_objects("recs", version) if each["type"] == "index-pattern"]
    assert [each["title"] for each in views] == ["recs", *(f"recs{ending}" for ending in COMPANIONS)]
    assert [each.get("timeFieldName") for each in views if each["title"] == "recs-queries"] == ["@timestamp"]


@every_version
def test_the_dashboards_show_every_visualization_once_and_panels_do_not_overlap(version: str) -> None:
    objects = saved_objects("recs", version)
    dashboards = [each for each in objects if each["type"] == "dashboard"]
    for each in dashboards:
        panels_of(each)
    shown = [each["id"] for board in dashboards for each in board["references"] if each["type"] == "visualization"]
    assert sorted(shown) == sorted(each["id"] for each in objects if each["type"] == "visualization")


@every_version
def test_controls_are_of_data_views_in_the_file(version: str) -> None:
    """As Kibana reads them: each control names a reference, and the visualization itself searches nothing."""
    objects = {each["id"]: each for each in saved_objects("recs", version)}
    states = {key: json.loads(each["attributes"].get("visState", "{}")) for key, each in objects.items()}
    ((key, state),) = [(key, each) for key, each in states.items() if each.get("type") == "input_control_vis"]
    named = {each["name"]: objects[each["id"]] for each in objects[key]["references"]}
    controls = state["params"]["controls"]
    shown = [(each["fieldName"], named[each["indexPatternRefName"]]["attributes"]["title"]) for each in controls]
    assert shown == [("user", "recs-users"), ("item", "recs")]
    assert len({each["id"] for each in controls}) == len(controls) == len(named)
    assert not any(each["options"]["multiselect"] or each["parent"] for each in controls)
    assert "indexRefName" not in json.loads(objects[key]["attributes"]["kibanaSavedObjectMeta"]["searchSourceJSON"])


def panels_of(dashboard: dict[str, Any]) -> None:
    panels = json.loads(dashboard["attributes"]["panelsJSON"])
    named = {each["name"]: each for each in dashboard["references"]}
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        reference = named.pop(f"{panel['panelIndex']}:{panel['panelRefName']}")
        assert reference["type"] == panel["type"]
        grid = panel["gridData"]
        assert grid["i"] == panel["panelIndex"]
        cells = {(grid["x"] + x, grid["y"] + y) for x in range(grid["w"]) for y in range(grid["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 48
        taken |= cells
    assert not named


def test_fields_are_those_of_the_mappings() -> None:
    """Columns, sorts and aggregations name fields that `mappings/*.json` have."""
    fields = {view: set(sparcode_es_mappings.load(body)["mappings"]["properties"]) for view, body in VIEWS}
    fields["queries"] = set(sparcode_es_mappings.load("queries")["template"]["mappings"]["properties"])
    for each in sparcode_es_mappings.kibana("searches", "a").values():
        assert {*each["columns"], *(field for field, _ in each["sort"])} <= fields[each["view"]]
        assert set(re.findall(r"(\w+):", each["query"])) <= fields[each["view"]]
    for each in sparcode_es_mappings.kibana("metrics", "a").values():
        assert {aggregation["field"] for aggregation in each["aggs"] if "field" in aggregation} <= fields[each["view"]]
    for each in sparcode_es_mappings.kibana("controls", "a").values():
        assert all(control["field"] in fields[control["view"]] for control in each["controls"])
    views = sparcode_es_mappings.kibana("data-views", "a")
    for name in sparcode_es_mappings.vega_names():
        for url in urls_of(sparcode_es_mappings.kibana(f"vega/{name}", "a")["spec"]).values():
            body, known = url["body"], fields[view_of(url["index"])]
            assert set(aggregated(body.get("aggs", {}))) <= known
            assert url.get("%timefield%") == views[view_of(url["index"])].get("time")
            assert ("%context%" in url) == ("query" not in body)
            shown = {field.partition(".")[0] for field in body.get("_source", [])}
            assert {*shown, *(field for each in body.get("sort", []) for field in each)} <= known
    for name, each in views.items():
        assert each["formats"].keys() <= fields[name]


@given(one=aliases, other=aliases)
def test_ids_are_an_aliases_own_and_the_same_for_every_version(one: str, other: str) -> None:
    ids = [[each["id"] for each in saved_objects(one, version)] for version in VERSIONS]
    assert ids[0] == ids[1] == ids[2]
    if one != other:
        assert not set(ids[0]) & {each["id"] for each in saved_objects(other, "9")}


def test_ids_never_change() -> None:
    """An import finds its own older objects by them: a change here leaves people with two dashboards."""
    dashboard = saved_objects("recs", "9")[-1]
    assert dashboard["id"] == "a0555368-da0c-5ab1-a2d2-f6c1c02fbf92"


@pytest.mark.parametrize("name", ["", "Recs", "recs/1", "recs-users", "recs-codes", 'a"b', "{alias}", "a b", "*", "é"])
def test_a_name_that_is_no_alias(name: str) -> None:
    with pytest.raises(ConfigError):
        saved_objects(name, "9")


@every_version
def test_export(version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SPARCODE_INDEX", raising=False)
    out = tmp_path / "folder" / "recs.ndjson"
    flags = ["kibana", "export", "--index", "odd_na.me-1", "--kibana-version", version]
    done = CliRunner().invoke(cli, [*flags, "--out", str(out)])
    assert done.exit_code == 0, done.exception
    assert (
        out.read_bytes() == CliRunner().invoke(cli, flags).stdout_bytes == ndjson(saved_objects("odd_na.me-1", version))
    )
    assert done.stdout == ""


def test_export_for_the_newest_kibana_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPARCODE_INDEX", "recs")
    assert CliRunner().invoke(cli, ["kibana", "export"]).stdout_bytes == ndjson(saved_objects("recs", "9"))


def test_what_was_exported_as_json(tmp_path: Path) -> None:
    done = CliRunner().invoke(
        cli, ["kibana", "export", "--index", "recs", "--out", str(tmp_path / "recs.ndjson"), "--json"]
    )
    assert json.loads(done.stdout) == {
        "objects": (tmp_path / "recs.ndjson").read_bytes().count(b"\n"),
        "file": str(tmp_path / "recs.ndjson"),
    }


@pytest.mark.parametrize(
    ("flags", "code"),
    [(["--index", "Recs"], 3), (["--kibana-version", "6"], 2), (["--json"], 2), (["--out", "/proc/x"], 14)],
)
def test_export_errors(flags: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["kibana", "export", *flags])
    assert ended.value.code == code
    assert "rror: " in capsys.readouterr().err


def test_compose_installs_the_dashboard() -> None:
    """The one-shot container's command and flags are real."""
    text = (Path(__file__).parents[2] / "compose.yaml").read_text(encoding="utf-8")
    words = re.search(r"^    command: (kibana import .*)$", text, re.MULTILINE)
    assert words
    group = cli.get_command(None, "kibana")  # type: ignore[arg-type]
    command = group.commands["import"]  # type: ignore[union-attr]
    known = {name for parameter in command.params for name in parameter.opts}
    assert {word for word in words.group(1).split() if word.startswith("--")} <= known
