"""Sections of a training: curves, weights, quality."""

from __future__ import annotations

from sparcode_es.report.charts import Axis, Frame, bar, lines
from sparcode_es.report.facts import Points, Quality, StageCurve, Training
from sparcode_es.report.markup import Html, element
from sparcode_es.report.markup import lines as text_lines
from sparcode_es.report.numbers import percent, span
from sparcode_es.report.parts import Section, facts_list, figure, grid, note, table

STAGES = {
    "tower": "Stage 1: the two-tower",
    "codes": "Stage 2: codes and scorer",
    "model": "The whole model",
}
SHOWN = ("recall@10", "recall@50", "ndcg@10", "ndcg@50")
"""Metrics that are drawn, beside the one that chooses."""
MEMORIES = {
    "item_codes": "Weight of the item codes",
    "repeat": "Weight of the repeat codes",
    "memory": "Weight of the memory",
}


def training_section(training: Training) -> Section:
    """Loss and validation, epoch by epoch; the weights that were tried; the configuration."""
    curves = [each for stage in training.stages for each in _curves(stage, training.metric)]
    weights = [_weights(name, points, training.metric) for name, points in training.weights.items() if points[1:]]
    seconds = sum(stage.seconds for stage in training.stages)
    told = facts_list(
        [
            ("folder", element("code", training.folder)),
            ("model", training.model),
            ("chosen by", f"{training.metric} on validation"),
            (
                "epochs",
                ", ".join(f"{int(stage.losses[-1][0])} {stage.name}" for stage in training.stages if stage.losses),
            ),
            ("time in epochs", span(seconds) if seconds else None),
            ("state", "finished" if training.finished else "not finished: there is no model yet"),
        ]
    )
    config = element(
        "details", element("summary", "Configuration (TOML)"), element("pre", text_lines(training.config.strip()))
    )
    return Section("training", "Training", [told, grid(*curves, *weights) if curves or weights else None, config])


def _curves(stage: StageCurve, metric: str) -> list[Html]:
    name, found = STAGES.get(stage.name, stage.name), []
    if stage.losses:
        axis = Axis.over("loss", [y for _, y in stage.losses])
        found.append(_curve(f"{name}, loss", axis, {"loss": stage.losses}, "Falls while the stage learns."))
    names = dict.fromkeys((metric, *SHOWN))
    shown = {key: stage.metrics[key] for key in names if key in stage.metrics}
    if shown:
        axis = Axis.over("value", [y for points in shown.values() for _, y in points], format=percent)
        found.append(_curve(f"{name}, validation", axis, shown, *_kept(stage, metric)))
    if stage.perplexity:
        caption = (
            "exp(entropy) of the codes that training histories get, as a share of all codes: near 0 is a collapse."
        )
        axis = Axis("perplexity / N", 0.0, 1.0, percent)
        found.append(_curve(f"{name}, perplexity", axis, {"perplexity": stage.perplexity}, caption))
    return found


def _kept(stage: StageCurve, metric: str) -> tuple[str, dict[str, float]]:
    """A caption, and where the ring is."""
    if stage.best_epoch is None:
        return f"Nothing was chosen by {metric}.", {}
    best = dict(stage.metrics[metric])[stage.best_epoch]
    caption = f"The ring is the epoch that was kept, {stage.best_epoch}: {metric} {percent(best, 2)}."
    return caption, {metric: float(stage.best_epoch)}


def _curve(
    title: str, y: Axis, series: dict[str, Points], caption: str, marked: dict[str, float] | None = None
) -> Html:
    epochs = [x for points in series.values() for x, _ in points]
    frame = Frame(Axis("epoch", min(0.0, *epochs), max(1.0, *epochs)), y)
    colours = {name: i for i, name in enumerate(series)}
    ends = (f"{name} from {y.format(points[0][1])} to {y.format(points[-1][1])}" for name, points in series.items())
    picture = lines(f"{title}: {', '.join(ends)}.", frame, series, colours, marked)
    return figure(title, picture, caption, colours)


def _weights(memory: str, points: Points, metric: str) -> Html:
    title = MEMORIES.get(memory, memory)
    best = max(points, key=lambda point: point[1])
    frame = Frame(Axis("weight", 0.0, points[-1][0]), Axis.over(metric, [y for _, y in points], format=percent))
    caption = f"Each weight that was tried on validation; the ring is the one that was kept, {best[0]:g}: {percent(best[1], 2)}."
    picture = lines(f"{title}: best at {best[0]:g}.", frame, {metric: points}, {metric: 0}, {metric: best[0]})
    return figure(title, picture, caption)


def quality_section(quality: Quality) -> Section:
    """Validation of the two-tower and of what was built on it."""
    names = list(dict.fromkeys(name for row in quality.rows for name in row.metrics))
    names = [quality.metric, *(name for name in names if name != quality.metric)]
    best = max((row.metrics.get(quality.metric, 0.0) for row in quality.rows), default=0.0)
    rows = [
        [
            row.system,
            bar(row.metrics.get(quality.metric, 0.0) / best if best else 0.0, 2 if row.system == "two-tower" else 0),
            *(percent(row.metrics.get(name), 2) for name in names),
        ]
        for row in quality.rows
    ]
    told = note(
        "On the validation events, every item ranked, each system at its best epoch or weight. Each row contains ",
        "those above it. These numbers chose the model, so the test split gives a little less; ",
        element("code", "sparcode-es evaluate"),
        " measures it.",
    )
    shown = table(f"Validation quality; {quality.metric} chose", ["system", "", *names], rows, texts=(0, 1))
    return Section("quality", "Quality beside the two-tower" if len(rows) > 1 else "Quality", [told, shown])
