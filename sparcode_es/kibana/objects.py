"""The saved objects of one alias, out of the templates in `sparcode_es_mappings/kibana`: data views, searches,
dashboards.

Kibana reads an object in the shape of the version that it is stamped with and migrates it to its own. The shapes here, and the
versions stamped (`versions.json`), were checked against the public source of elastic/kibana:

- 7.17: the registrations and migrations of `index-pattern` (src/plugins/data/server/saved_objects), `search`
  (src/plugins/discover/server/saved_objects; its mapping is strict, so only attributes that it lists are written),
  `visualization` and `dashboard` (src/plugins/{visualizations,dashboard}/server).
- 8: the same attributes. From 8.0 on these types belong to spaces (`convertToMultiNamespaceTypeVersion: 8.0.0`), and 8.8 renames
  `migrationVersion` to `typeMigrationVersion` but still reads it (document_migrator/migrations/transform_migration_version.ts).
- 9: src/platform/plugins/shared/{dashboard,saved_search,visualizations,data_views}/server. The schemas of `dashboard` 8.9.0,
  `search` 8.8.0 and `visualization` 8.8.0 forbid attributes that they do not know. Kibana 9's own sample data
  (home/server/services/sample_data/data_sets/logs/saved_objects.ts) has the same shapes: Vega-Lite v5 in a visualization of
  7.14.0, a search of 7.9.3, a dashboard of 8.7.0 whose references are called `4:panel_4`.

Panels name their object by `panelRefName` and a reference `N:panel_N`: read so by 7.17 and 8 (src/plugins/dashboard/common/
embeddable/dashboard_container_persistable_state.ts) and by 9 (dashboard/server/api/transforms/out/panel_bwc.ts, as is `title`).
Vega: `%context%` excludes `body.query`; with `%timefield%` it adds the dashboard's time range, and `%autointerval%` becomes the
fixed or calendar interval that fits it (vis_types/vega/public/data_model/es_query_parser.ts at 0273b495d350, and the same in 9,
012f5d9816b7). `timeFieldName` is an attribute of `index-pattern` in all (home/server/services/sample_data).
Where `body.query` has `%dashboard_context-filter_clause%` in a list, the dashboard's filters take its place (from 7.9 on,
elastic/kibana#67963): in `should`, a filter that is another index's hides nothing. `input_control_vis` is registered by all of
them, 9 too, where new ones can no longer be made by hand (input_control_vis/public at 026b9ed46230 and 27e605d76be0; its
references: visualizations/public/utils/saved_visualization_references/controls_references.ts at 22563e251cfb).
Commits read: 1cd9a7df2104 and 0a804db2a8e0 (7.x), 00171f7c9833 (8), 04698d03a652, 01a60f27774a, 385d45e489dc, 162de5e1ddcf and
28ded81c8839 (9).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import sparcode_es_mappings

from sparcode_es.engines.elasticsearch.layout import check_name

VERSIONS = sparcode_es_mappings.KIBANA_VERSIONS
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "sparcode-es/kibana")
DATA_VIEW, SEARCH, VISUALIZATION, DASHBOARD = "index-pattern", "search", "visualization", "dashboard"
SOURCE = "kibanaSavedObjectMeta.searchSourceJSON.index"
"""Name of the reference from a search or a visualization to its data view."""
OVERVIEW = "overview"
DASHBOARDS = ("queries", "why", OVERVIEW)
SavedObject = dict[str, Any]


def object_id(alias: str, kind: str, name: str) -> str:
    """The id of an object: always the same, and no other alias's (an alias holds no `/`)."""
    return str(uuid.uuid5(NAMESPACE, f"{alias}/{kind}/{name}"))


def saved_objects(alias: str, version: str) -> list[SavedObject]:
    """Every object of `alias` in the shape of a Kibana version, one of `VERSIONS`; what is referred to comes first.

    Raises `ConfigError` for a name that cannot be an alias.
    """
    check_name(alias)
    stamp = sparcode_es_mappings.kibana("versions", alias)[version]
    return [_stamped(each, stamp) for each in _Maker(alias, stamp).objects()]


def ndjson(objects: list[SavedObject]) -> bytes:
    """What Kibana's import takes: one JSON object a line."""
    return b"".join(json.dumps(each, ensure_ascii=False).encode() + b"\n" for each in objects)


def _stamped(found: SavedObject, stamp: dict[str, Any]) -> SavedObject:
    """With the versions of its shape: of the core, and of its type, as a mapping up to 8.7 and as a string later."""
    kind = found["type"]
    of_type: dict[str, Any] = {}
    if "migrationVersion" in stamp:
        of_type["migrationVersion"] = {kind: stamp["migrationVersion"][kind]}
    else:
        of_type["typeMigrationVersion"] = stamp["typeMigrationVersion"][kind]
    return {**found, "coreMigrationVersion": stamp["coreMigrationVersion"], **of_type}


class _Maker:
    """The objects of one alias, before they are stamped."""

    def __init__(self, alias: str, stamp: dict[str, Any]) -> None:
        self.alias, self.panel_version = alias, stamp["coreMigrationVersion"]
        self.titles: dict[tuple[str, str], str] = {}

    def objects(self) -> Iterator[SavedObject]:
        """All of them, the dashboards last, of those the overview."""
        for name, view in self._template("data-views").items():
            yield self._data_view(name, view)
        for name, search in self._template("searches").items():
            yield self._search(name, search)
        for name, metric in self._template("metrics").items():
            yield self._metric(name, metric)
        for name, group in self._template("controls").items():
            yield self._controls(name, group)
        for name in sparcode_es_mappings.vega_names():
            yield self._vega(name, self._template(f"vega/{name}"))
        for name in DASHBOARDS:
            yield self._dashboard(name, self._template(f"dashboards/{name}"))

    def _template(self, name: str) -> dict[str, Any]:
        return sparcode_es_mappings.kibana(name, self.alias)

    def _object(
        self, kind: str, name: str, attributes: dict[str, Any], references: list[dict[str, str]]
    ) -> SavedObject:
        return {
            "type": kind,
            "id": object_id(self.alias, kind, name),
            "attributes": attributes,
            "references": references,
        }

    def _reference(self, label: str, kind: str, name: str) -> dict[str, str]:
        return {"name": label, "type": kind, "id": object_id(self.alias, kind, name)}

    def _titled(self, kind: str, name: str, template: dict[str, Any]) -> dict[str, str]:
        """Title and description; lists of all objects show the title, so it says whose index it is."""
        self.titles[kind, name] = template["title"]
        return {"title": f"{template['title']} ({self.alias})", "description": template["description"]}

    def _data_view(self, name: str, template: dict[str, Any]) -> SavedObject:
        attributes = {
            "title": template["title"],
            "name": template["name"],
            "fieldFormatMap": _text(template["formats"]),
        }
        if "time" in template:
            attributes["timeFieldName"] = template["time"]
        return self._object(DATA_VIEW, name, attributes, [])

    def _search(self, name: str, template: dict[str, Any]) -> SavedObject:
        attributes = {
            **self._titled(SEARCH, name, template),
            "columns": template["columns"],
            "sort": template["sort"],
            "kibanaSavedObjectMeta": _search_source(template["query"], of_view=True),
        }
        return self._object(SEARCH, name, attributes, [self._reference(SOURCE, DATA_VIEW, template["view"])])

    def _metric(self, name: str, template: dict[str, Any]) -> SavedObject:
        params = self._template("metric-params")
        aggregations = [_aggregation(i, each) for i, each in enumerate(template["aggs"], 1)]
        reference = self._reference(SOURCE, DATA_VIEW, template["view"])
        return self._visualization(name, template, "metric", params, aggregations, [reference])

    def _controls(self, name: str, template: dict[str, Any]) -> SavedObject:
        wanted = list(enumerate(template["controls"]))
        params = {
            "controls": [_control(object_id(self.alias, "control", each["label"]), i, each) for i, each in wanted],
            "updateFiltersOnChange": True,
            "useTimeFilter": False,
            "pinFilters": False,
        }
        references = [self._reference(_control_view(i), DATA_VIEW, each["view"]) for i, each in wanted]
        return self._visualization(name, template, "input_control_vis", params, [], references)

    def _vega(self, name: str, template: dict[str, Any]) -> SavedObject:
        return self._visualization(name, template, "vega", {"spec": json.dumps(template["spec"], indent=2)}, [], [])

    def _visualization(
        self,
        name: str,
        template: dict[str, Any],
        kind: str,
        params: dict[str, Any],
        aggregations: list[dict[str, Any]],
        references: list[dict[str, str]],
    ) -> SavedObject:
        titled = self._titled(VISUALIZATION, name, template)
        attributes = {
            **titled,
            "visState": _text({"title": titled["title"], "type": kind, "params": params, "aggs": aggregations}),
            "uiStateJSON": "{}",
            "version": 1,
            "kibanaSavedObjectMeta": _search_source("", of_view=any(each["name"] == SOURCE for each in references)),
        }
        return self._object(VISUALIZATION, name, attributes, references)

    def _dashboard(self, name: str, template: dict[str, Any]) -> SavedObject:
        panels = [self._panel(str(i), each) for i, each in enumerate(template["panels"], 1)]
        references = [
            self._reference(f"{i}:panel_{i}", each["type"], each["name"])
            for i, each in enumerate(template["panels"], 1)
        ]
        attributes = {
            **self._titled(DASHBOARD, name, template),
            "panelsJSON": _text(panels),
            "optionsJSON": _text({"useMargins": True, "hidePanelTitles": False}),
            "timeRestore": False,
            "version": 1,
            "kibanaSavedObjectMeta": _search_source("", of_view=False),
        }
        return self._object(DASHBOARD, name, attributes, references)

    def _panel(self, index: str, template: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": self.panel_version,
            "type": template["type"],
            "gridData": {**{key: template[key] for key in "xywh"}, "i": index},
            "panelIndex": index,
            "embeddableConfig": {},
            "title": self.titles[template["type"], template["name"]],
            "panelRefName": f"panel_{index}",
        }


def _aggregation(number: int, template: dict[str, Any]) -> dict[str, Any]:
    params = {
        key: value for key, value in (("field", template.get("field")), ("customLabel", template["label"])) if value
    }
    return {"id": str(number), "enabled": True, "type": template["type"], "schema": "metric", "params": params}


def _control(control: str, number: int, template: dict[str, Any]) -> dict[str, Any]:
    """A list of one field's values, found by typing; each chosen makes a filter."""
    options = {"type": "terms", "multiselect": False, "dynamicOptions": True, "size": 5, "order": "desc"}
    return {
        "id": control,
        "fieldName": template["field"],
        "parent": "",
        "label": template["label"],
        "type": "list",
        "options": options,
        "indexPatternRefName": _control_view(number),
    }


def _control_view(number: int) -> str:
    return f"control_{number}_index_pattern"


def _search_source(query: str, of_view: bool) -> dict[str, str]:
    """of_view: whether a reference `SOURCE` names the data view."""
    source: dict[str, Any] = {"query": {"query": query, "language": "kuery"}, "filter": []}
    return {"searchSourceJSON": _text({**source, "indexRefName": SOURCE} if of_view else source)}


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)
