"""The section of latency."""

from __future__ import annotations

from sparcode_es.report.charts import bar
from sparcode_es.report.facts import Latency
from sparcode_es.report.markup import Child
from sparcode_es.report.numbers import whole
from sparcode_es.report.parts import Section, code, facts_list, grid, note, table


def latency_section(latency: Latency) -> Section:
    """Percentiles, and what they were measured on."""
    slowest = max(latency.milliseconds.values(), default=0.0) or 1.0
    rows: list[list[Child]] = [
        [name, bar(value / slowest), f"{value:.3g}\u00a0ms"] for name, value in latency.milliseconds.items()
    ]
    told = note(
        f"{whole(latency.requests)} recommendations for {whole(latency.users)} users, one at a time, after {latency.warm_up} "
        "that do not count: from the call to the answer, the user's codes and the titles with it."
    )
    facts = facts_list(
        [
            ("engine", f"{latency.engine}, {latency.version}"),
            ("where", code(latency.where)),
            ("items a list (k)", whole(latency.k)),
            ("measured on" if latency.engine == "embedded" else "asked from", latency.machine),
            ("date", latency.measured_at),
        ]
    )
    percentiles = table("Time a recommendation", ["share of the calls", "", "at most"], rows, texts=(0, 1))
    return Section("latency", "Latency", [told, grid(percentiles, facts)])
