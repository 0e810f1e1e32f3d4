"""Pictures of the tables and figures: Altair charts with titles, units and a legend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import pandas as pd

OURS, PAPER = "ours", "paper"
COLOURS = ["#1f6fb2", "#d1495b", "#3a8f4d", "#e0912f", "#7a5aa6", "#6b6b6b", "#17a3a8", "#c26fa5"]


def styled(chart: alt.TopLevelMixin, title: str, subtitle: str) -> alt.TopLevelMixin:
    """One look for all pictures."""
    return (
        chart.properties(title=alt.TitleParams(title, subtitle=subtitle, anchor="start", offset=12))
        .configure(font="DejaVu Sans", background="white", padding=16)
        .configure_title(fontSize=16, subtitleFontSize=12, subtitleColor="#444")
        .configure_axis(labelFontSize=11, titleFontSize=12, labelLimit=320, titleFontWeight="normal")
        .configure_legend(labelFontSize=12, titleFontSize=12, labelLimit=480, symbolSize=90)
        .configure_header(labelFontSize=13, labelFontWeight="bold", title=None)
    )


def _panel_title(text: str) -> alt.TitleParams:
    return alt.TitleParams(text, fontSize=13, anchor="middle", frame="group")


def comparison(
    records: Sequence[dict[str, Any]], metrics: Sequence[str], title: str, subtitle: str
) -> alt.TopLevelMixin:
    """Systems down, per cent across, a panel a metric; ours with its spread, the paper's beside it.

    records: system, metric, whose (`ours` or `paper`), value, spread.
    """
    frame = pd.DataFrame(records)
    frame["low"], frame["high"] = frame.value - frame.spread, frame.value + frame.spread
    order, whose = list(dict.fromkeys(frame.system)), list(dict.fromkeys(frame.whose))
    y = alt.Y("system:N", sort=order, title=None, axis=alt.Axis(grid=True))
    colour = alt.Color(
        "whose:N",
        title=None,
        scale=alt.Scale(domain=whose, range=COLOURS[: len(whose)]),
        legend=alt.Legend(orient="bottom"),
    )
    shape = alt.Shape("whose:N", title=None, scale=alt.Scale(domain=whose, range=["circle", "diamond"][: len(whose)]))
    panels = []
    for place, metric in enumerate(metrics):
        base = alt.Chart(frame[frame.metric == metric], height=alt.Step(24), width=230, title=_panel_title(metric))
        labels = y if place == 0 else y.axis(labels=False, ticks=False, grid=True)
        x = alt.X("value:Q", title="per cent", scale=alt.Scale(zero=True))
        points = base.mark_point(filled=True, size=85, opacity=0.95).encode(x, labels, colour, shape)
        bars = base.mark_rule(strokeWidth=2).encode(alt.X("low:Q", title="per cent"), labels, colour, x2="high:Q")
        panels.append(bars + points)
    return styled(alt.hconcat(*panels, spacing=14), title, subtitle)


def curves(
    records: Sequence[dict[str, Any]],
    metrics: Sequence[str],
    x: alt.X,
    title: str,
    subtitle: str,
    level: str | None = None,
) -> alt.TopLevelMixin:
    """A line a series over `x`, a panel a metric, the spread of the seeds as a bar.

    records: series, metric, value, spread, and x's field. A series named `level` is drawn as a dashed line across.
    """
    frame = pd.DataFrame(records)
    frame["low"], frame["high"] = frame.value - frame.spread, frame.value + frame.spread
    order = list(dict.fromkeys(frame.series))
    colour = alt.Color(
        "series:N", title=None, sort=order, scale=alt.Scale(domain=order, range=COLOURS[: len(order)]),
        legend=alt.Legend(orient="bottom", columns=2),
    )  # fmt: skip
    panels = []
    for metric in metrics:
        part = frame[frame.metric == metric]
        y = alt.Y("value:Q", title=f"{metric}, per cent", scale=alt.Scale(zero=False, padding=12))
        base = alt.Chart(part[part.series != level], width=330, height=250, title=_panel_title(metric))
        lines = base.mark_line(strokeWidth=2).encode(x, y, colour)
        points = base.mark_point(filled=True, size=60, opacity=1).encode(x, y, colour)
        bars = base.mark_rule(strokeWidth=1.5).encode(
            x, alt.Y("low:Q", title=f"{metric}, per cent"), colour, y2="high:Q"
        )
        layers = [lines, points, bars]
        if level is not None:
            across = alt.Chart(part[part.series == level].head(1)).mark_rule(strokeDash=[6, 4], strokeWidth=2)
            layers.append(across.encode(y, colour))
        panels.append(alt.layer(*layers))
    return styled(alt.hconcat(*panels, spacing=20), title, subtitle)


def trade_off(records: Sequence[dict[str, Any]], title: str, subtitle: str) -> alt.TopLevelMixin:
    """Two panels: time against quality, and sparsity against time, points joined within a series.

    records: series, place (order within the series), ms, quality (per cent), kept (per cent, None for a system without
    postings), note and note_before (written behind and before the point).
    """
    frame = pd.DataFrame(records)
    order = list(dict.fromkeys(frame.series))
    colour = alt.Color(
        "series:N",
        title=None,
        scale=alt.Scale(domain=order, range=COLOURS[: len(order)]),
        legend=alt.Legend(orient="bottom", columns=3),
    )
    ms = alt.Scale(type="log", nice=False, padding=25)
    quality = alt.Y("quality:Q", title="ndcg@50, per cent", scale=alt.Scale(zero=False, nice=False, padding=25))
    left = alt.Chart(frame, width=430, height=330, title=_panel_title("quality and time"))
    left = left.encode(alt.X("ms:Q", title="p50 of a query, ms (log scale)", scale=ms), quality, colour)
    right = alt.Chart(frame[frame.kept > 0], width=330, height=330, title=_panel_title("time and sparsity"))
    right = right.encode(kept_axis(), alt.Y("ms:Q", title="p50 of a query, ms (log scale)", scale=ms), colour)
    panels = [
        base.mark_line(strokeWidth=1.5, opacity=0.6).encode(order="place:Q")
        + base.mark_point(filled=True, size=70, opacity=1).encode()
        for base in (left, right)
    ]
    panels[0] += left.mark_text(align="left", dx=8, dy=-7, fontSize=11).encode(text="note:N")
    panels[0] += left.mark_text(align="right", dx=-8, dy=-7, fontSize=11).encode(text="note_before:N")
    return styled(alt.hconcat(*panels, spacing=24), title, subtitle)


def kept_axis() -> alt.X:
    """The share of scores that is kept, logarithmic, sparser to the right."""
    return alt.X(
        "kept:Q",
        title="per cent of (code, item) scores kept = 100 − sparsity",
        scale=alt.Scale(type="log", reverse=True, nice=False, padding=15),
        axis=alt.Axis(values=[100, 50, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05]),
    )
