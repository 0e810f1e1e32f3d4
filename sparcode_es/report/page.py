"""A report's facts as one HTML page: a pure function. No script, nothing from elsewhere, and a policy that forbids both."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib import resources

from sparcode_es.report.facts import Place, Report
from sparcode_es.report.markup import Child, Html, element
from sparcode_es.report.numbers import decimal, percent, size, whole
from sparcode_es.report.parts import Section, code, facts_list, tiles
from sparcode_es.report.show_codes import documents_section, map_section, scores_section, usage_section
from sparcode_es.report.show_evaluation import evaluation_section
from sparcode_es.report.show_examples import examples_section
from sparcode_es.report.show_latency import latency_section
from sparcode_es.report.show_training import quality_section, training_section


def page(report: Report) -> str:
    """The whole document."""
    style = resources.files("sparcode_es.report").joinpath("page.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=policy),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        element("title", report.title),
        element("style", Html(style)),
    )
    sections = _sections(report)
    body = element(
        "body", _header(report, sections), element("main", [each.drawn() for each in sections]), _footer(report)
    )
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def _sections(report: Report) -> list[Section]:
    """Those that there is something to say in, in the order of the page."""
    made = [
        quality_section(report.quality) if report.quality else None,
        evaluation_section(report.evaluation) if report.evaluation else None,
        examples_section(report.examples) if report.examples else None,
        map_section(report.code_map) if report.code_map else None,
        usage_section(report.usage) if report.usage else None,
        scores_section(report.scores) if report.scores else None,
        documents_section(report.documents) if report.documents else None,
        latency_section(report.latency) if report.latency else None,
        training_section(report.training) if report.training else None,
        _places_section(report.places) if report.places else None,
    ]
    return [section for section in made if section is not None]


def _header(report: Report, sections: Sequence[Section]) -> Html:
    links = [element("li", element("a", each.title, href=f"#{each.anchor}")) for each in sections]
    contents = element("nav", element("ol", links), aria_label="Contents")
    return element(
        "header",
        element("p", "sparcode-es report", class_="kicker"),
        element("h1", report.title),
        _tiles(report),
        contents,
    )


def _tiles(report: Report) -> Html | None:
    found: list[tuple[str, Child]] = []
    if report.places:
        place = report.places[0]
        counts = place.counts
        item_codes = counts.get("item_codes", 0)
        found += [("items", whole(counts.get("items", 0))), ("users", whole(counts.get("users", 0)))]
        found.append(("learned codes", whole(counts.get("codes", 0) - item_codes)))
        if item_codes:
            found.append(("item codes", whole(item_codes)))
        found += [
            ("postings", whole(counts.get("postings", 0))),
            ("sparsity", percent(place.sparsity)),
            ("on disk", size(place.bytes)),
        ]
    if report.quality:
        metric = report.quality.metric
        reached = [row.metrics[metric] for row in report.quality.rows if metric in row.metrics]
        if reached:
            found.append((f"validation {metric}", percent(reached[-1])))
    return tiles(found) if found else None


def _places_section(places: Sequence[Place]) -> Section:
    return Section("facts", "Facts", [facts_list(_facts(place)) for place in places])


def _facts(place: Place) -> list[tuple[str, Child]]:
    counts = [(name.replace("_", " "), whole(count)) for name, count in sorted(place.counts.items())]
    return [
        ("engine", place.engine if place.field_type is None else f"{place.engine} ({place.field_type})"),
        ("where", code(place.where)),
        ("generation", code(place.generation)),
        ("model", code(place.model_hash)),
        ("codebooks", code(place.codebook_hash)),
        ("made at", place.created_at),
        ("updates since", whole(place.updates) if place.updates else None),
        ("size", None if place.bytes is None else size(place.bytes)),
        ("sparsity", None if place.sparsity is None else percent(place.sparsity, 2)),
        ("bias (Eq. 15)", None if place.bias is None else decimal(place.bias)),
        *counts,
    ]


def _footer(report: Report) -> Html:
    return element(
        "footer",
        element(
            "p", f"Made {report.made_at} by sparcode-es {report.version}. This page loads nothing and runs no script."
        ),
    )
