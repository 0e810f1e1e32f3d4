"""The section of `sparcode-es evaluate`: systems beside each other, over all cases and slice by slice."""

from __future__ import annotations

from collections.abc import Mapping

from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.evaluation.slices import Slice
from sparcode_es.report.charts import Format, groups
from sparcode_es.report.facts import Evaluation
from sparcode_es.report.markup import Child, Html, element
from sparcode_es.report.numbers import percent, short, whole
from sparcode_es.report.parts import Section, figure, grid, note, table

SHOWN = ("recall@10", "ndcg@10", "recall@50", "ndcg@50")
DRAWN = ("unseen", "recall@10")
"""The view and the metric of the charts."""
COLOURS = 8
TITLES = {"history": "By the history's length", "popularity": "By the target's popularity"}
WHAT = {"history": "items in the history", "popularity": "training events of the target"}
EVENTS = {"history": "items", "popularity": "events"}
CAPTIONS = {
    "history": "Quartiles of the cases by how many items their history has, the shortest on the left.",
    "popularity": "Each slice of items has about a quarter of the training events, the rarest items on the left; a case "
    "with several targets is in the slice of each.",
}


def evaluation_section(found: Evaluation) -> Section:
    """All cases, then the slices: a chart and a table each."""
    told = note(
        f"{whole(found.cases)} cases of the {found.split} split of {found.data}, {found.convention} metrics. ",
        "“All” ranks every item, “unseen” leaves out what the user has met. Of several systems the best number is in bold.",
    )
    kinds = [by for by in TITLES if found.systems[0].slices[by]]
    return Section(
        "evaluation",
        "Quality by slice",
        [told, _overall(found), grid(*(_chart(found, by) for by in kinds)), *(_slices(found, by) for by in kinds)],
    )


def _overall(found: Evaluation) -> Html:
    cells = _cells([each.metrics for each in found.systems])
    rows: list[list[Child]] = [[each.system, *own] for each, own in zip(found.systems, cells, strict=True)]
    return table(f"All {whole(found.cases)} cases", ["system", *_headers()], rows)


def _slices(found: Evaluation, by: str) -> Html:
    rows: list[list[Child]] = []
    for i, own in enumerate(found.systems[0].slices[by]):
        cells = _cells([each.slices[by][i].metrics for each in found.systems])
        for n, (each, values) in enumerate(zip(found.systems, cells, strict=True)):
            rows.append([*([_events(own), whole(own.cases)] if n == 0 else ["", ""]), each.system, *values])
    return table(TITLES[by], [EVENTS[by], "cases", "system", *_headers()], rows, texts=(0, 2))


def _headers() -> list[Html]:
    return [element("span", name, element("small", view)) for view in VIEWS for name in SHOWN]


def _cells(metrics: list[dict[str, dict[str, float]]]) -> list[list[Child]]:
    """A row a system; the best of several in bold."""
    found: list[list[Child]] = [[] for _ in metrics]
    for view in VIEWS:
        for name in SHOWN:
            values = [each[view][name] for each in metrics]
            for row, value in zip(found, values, strict=True):
                best = len(values) > 1 and value == max(values) > min(values)
                row.append(element("b", percent(value, 2)) if best else percent(value, 2))
    return found


def _chart(found: Evaluation, by: str) -> Html:
    view, name = DRAWN
    colours = _colours(found)
    series = {each.system: [own.metrics[view][name] for own in each.slices[by]] for each in found.systems}
    marks = [_events(own, short) for own in found.systems[0].slices[by]]
    title = f"{TITLES[by]}, {name}"
    picture = groups(f"{title}, {view} items.", WHAT[by], f"{name}, {view} items", marks, series, colours)
    return figure(title, picture, CAPTIONS[by], colours)


def _colours(found: Evaluation) -> Mapping[str, int]:
    return {each.system: i % COLOURS for i, each in enumerate(found.systems)}


def _events(own: Slice, format: Format = whole) -> str:
    """`19–32`"""
    return format(own.low) if own.low == own.high else f"{format(own.low)}–{format(own.high)}"
