"""The picture of the data flow, with the numbers of the worked example in docs/elasticsearch.md."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping

BOOSTS = {"12": 0.75, "7": 0.5, "item_3": 1.0}
"""The user's codes."""
POSTINGS = {"12": {"i1": 2.5, "i2": 1.25, "i4": 0.5}, "7": {"i1": 1.0, "i3": 3.0}, "item_3": {"i2": 0.75, "i4": 2.25}}
"""code → item → score."""
COLOURS = {"12": "#1f6fb2", "7": "#d1495b", "item_3": "#3a8f4d"}
WIDTH, HEIGHT, TOP, ROW = 1040, 330, 78, 70
GREY, INK = "#667078", "#20262b"


def sums(boosts: Mapping[str, float], postings: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Eq. 11: Σ boost × score of each item, the best first."""
    found: dict[str, float] = {}
    for code, boost in boosts.items():
        for item, score in postings[code].items():
            found[item] = found.get(item, 0.0) + boost * score
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def text(x: float, y: float, words: str, size: int = 15, colour: str = INK, weight: str = "normal") -> str:
    """Words that begin at x, on the line y."""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" font-weight="{weight}">{html.escape(words)}</text>'
    )


def box(x: float, y: float, width: float, words: str, colour: str, height: float = 34) -> str:
    """A rounded box with words in it."""
    place = f'x="{x}" y="{y}" width="{width}" height="{height}" rx="6"'
    shape = f'<rect {place} fill="{colour}" fill-opacity="0.12" stroke="{colour}"/>'
    return shape + text(x + 10, y + height / 2 + 5, words)


def arrow(x1: float, y1: float, x2: float, y2: float, colour: str = GREY) -> str:
    """A curve from left to right."""
    middle = (x1 + x2) / 2
    path = f"M{x1},{y1} C{middle},{y1} {middle},{y2} {x2 - 7},{y2}"
    head = f"M{x2 - 8},{y2 - 4} L{x2},{y2} L{x2 - 8},{y2 + 4}"
    return f'<path d="{path} {head}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _headings() -> Iterable[str]:
    places = {
        20: ("history", "what a user read"),
        210: ("codes", "tokenizer, quantizer"),
        400: ("clauses", "term × boost"),
    }
    places |= {600: ("postings", "item: score, made ahead"), 850: ("sum", "Eq. 11: Σ boost × score")}
    for x, (heading, below) in places.items():
        yield text(x, 30, heading, 18, weight="bold")
        yield text(x, 50, below, 13, GREY)


def _codes() -> Iterable[str]:
    for row, (code, boost) in enumerate(BOOSTS.items()):
        y, colour = TOP + row * ROW, COLOURS[code]
        yield box(20, y, 130, ["book A", "book B", "book C (no. 3)"][row], GREY)
        yield box(210, y, 130, code, colour)
        yield box(400, y, 140, f"{code} × {boost:g}", colour)
        yield box(600, y, 190, ", ".join(f"{item}: {score:g}" for item, score in POSTINGS[code].items()), colour)
        yield arrow(340, y + 17, 400, y + 17, colour)
        yield arrow(540, y + 17, 600, y + 17, colour)
    for book in range(3):
        for code in ("12", "7"):
            yield arrow(150, TOP + book * ROW + 17, 210, TOP + list(BOOSTS).index(code) * ROW + 17)
    yield arrow(150, TOP + 2 * ROW + 17, 210, TOP + 2 * ROW + 17)


def _sums() -> Iterable[str]:
    scale = 48
    for row, (item, total) in enumerate(sums(BOOSTS, POSTINGS).items()):
        x, y = 880.0, TOP + row * 52
        yield text(850, y + 22, item, weight="bold")
        for code, boost in BOOSTS.items():
            width = boost * POSTINGS[code].get(item, 0.0) * scale
            yield f'<rect x="{x:.1f}" y="{y + 6}" width="{width:.1f}" height="22" fill="{COLOURS[code]}" fill-opacity="0.8"/>'
            x += width
        yield text(880, y + 44, f"{total:g}", 13, GREY)
    for row, code in enumerate(BOOSTS):
        yield arrow(790, TOP + row * ROW + 17, 840, TOP + 78, COLOURS[code])


def flow() -> str:
    """History → codes → clauses → postings → sum, as SVG."""
    notes = [
        text(20, 304, "The model is needed up to the codes; known users' codes are stored.", 13, GREY),
        text(600, 304, "All that is left for the search engine: add up boosted postings.", 13, GREY),
    ]
    body = "".join([*_headings(), *_codes(), *_sums(), *notes])
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
    return f'{head}font-family="DejaVu Sans, Arial, sans-serif"><rect width="100%" height="100%" fill="white"/>{body}</svg>\n'
