"""Pictures as inline SVG: lines, histograms, a scatter, bars in a table. Colours come from the style sheet by class: `k0` …

A picture is for eyes; what it shows is in its label and, point by point, in `<title>`s, which browsers show on hover.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from sparcode_es.report.facts import Histogram, Points
from sparcode_es.report.markup import Html, element
from sparcode_es.report.numbers import short, ticks

WIDTH, HEIGHT = 480.0, 270.0
LEFT, RIGHT, TOP, BOTTOM = 72.0, 24.0, 12.0, 44.0
DOTTED = 60
"""Points up to which a line shows each of them."""
Format = Callable[[float], str]


@dataclass(frozen=True)
class Axis:
    """What lies along one side."""

    label: str
    low: float
    high: float
    format: Format = short
    marks: Sequence[float] = ()
    """Where it is marked; at round values, where none is named."""

    @classmethod
    def over(cls, label: str, values: Sequence[float], format: Format = short) -> Axis:
        """An axis that holds some values, with a little room."""
        low, high = min(values), max(values)
        room = (high - low or abs(high) or 1.0) * 0.06
        return cls(label, low - room, high + room, format)

    def share(self, value: float) -> float:
        """Where on the axis, from 0 to 1."""
        return (value - self.low) / (self.high - self.low or 1.0)


@dataclass(frozen=True)
class Frame:
    """A picture's axes, and where on it a value lies."""

    x: Axis
    y: Axis
    width: float = WIDTH
    height: float = HEIGHT

    def left(self, value: float) -> float:
        """Pixels from the left."""
        return LEFT + self.x.share(value) * (self.width - LEFT - RIGHT)

    def top(self, value: float) -> float:
        """Pixels from the top."""
        return self.height - BOTTOM - self.y.share(value) * (self.height - TOP - BOTTOM)

    def drawn(self, label: str, *content: Html) -> Html:
        """The whole picture."""
        return svg(label, self.width, self.height, self._grid(), *content)

    def _grid(self) -> Html:
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        parts = []
        for value in ticks(self.y.low, self.y.high):
            at = self.top(value)
            parts.append(element("line", x1=LEFT, x2=right, y1=at, y2=at, class_="grid"))
            parts.append(element("text", self.y.format(value), x=LEFT - 7, y=at + 4, class_="end"))
        for value in self.x.marks or ticks(self.x.low, self.x.high, 6):
            parts.append(element("text", self.x.format(value), x=self.left(value), y=bottom + 17, class_="mid"))
        parts.append(element("line", x1=LEFT, x2=right, y1=bottom, y2=bottom, class_="axis"))
        parts.append(element("text", self.x.label, x=(LEFT + right) / 2, y=self.height - 6, class_="mid label"))
        middle = (TOP + bottom) / 2
        turn = f"rotate(-90 12 {middle:g})"
        parts.append(element("text", self.y.label, x=12, y=middle, transform=turn, class_="mid label"))
        return element("g", parts, aria_hidden="true")


def svg(label: str, width: float, height: float, *content: Html) -> Html:
    """A picture of its own, with a text for those who cannot see it."""
    return element(
        "svg", element("title", label), *content, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label
    )


def lines(
    label: str,
    frame: Frame,
    series: Mapping[str, Points],
    colours: Mapping[str, int],
    marked: Mapping[str, float] | None = None,
) -> Html:
    """One line a name. colours: name → number; marked: name → the x of a point that gets a ring."""
    rings = marked or {}
    return frame.drawn(
        label, *(_line(frame, f"k{colours[name]}", name, points, rings.get(name)) for name, points in series.items())
    )


def _line(frame: Frame, colour: str, name: str, points: Points, marked: float | None) -> Html:
    path = "M" + "L".join(f"{frame.left(x):.1f} {frame.top(y):.1f}" for x, y in points)
    parts = [element("path", d=path, class_="line")]
    for x, y in points:
        if x == marked or len(points) <= DOTTED:
            text = f"{name}: {frame.y.format(y)} at {frame.x.label} {frame.x.format(x)}"
            radius = 6.0 if x == marked else 2.6
            kind = "ring" if x == marked else "dot"
            parts.append(
                element("circle", element("title", text), cx=frame.left(x), cy=frame.top(y), r=radius, class_=kind)
            )
    return element("g", parts, class_=colour)


def histogram(label: str, x_label: str, y_label: str, found: Histogram, colours: Mapping[str, int]) -> Html:
    """Bars; of several layers each as shares of its own sum, over one another. colours: layer → number."""
    layers = {name: counts for name, counts in found.layers.items() if sum(counts)}
    if len(layers) > 1:
        layers = {name: tuple(count / sum(counts) for count in counts) for name, counts in layers.items()}
    shown: Format = short if len(layers) < 2 else lambda share: f"{100 * share:.3g}%"
    top = max((count for counts in layers.values() for count in counts), default=1.0)
    frame = Frame(Axis(x_label, found.edges[0], found.edges[-1]), Axis(y_label, 0.0, top * 1.06, shown))
    drawn = [
        element("g", _bars(frame, name, found.edges, counts), class_=f"k{colours[name]} bars")
        for name, counts in layers.items()
    ]
    return frame.drawn(label, *drawn)


def _bars(frame: Frame, name: str, edges: Sequence[float], counts: Sequence[float]) -> list[Html]:
    found = []
    for start, stop, count in zip(edges, edges[1:], counts, strict=False):
        if count:
            text = f"{frame.x.format(start)} to {frame.x.format(stop)}: {frame.y.format(count)} {name}"
            left, right, top = frame.left(start), frame.left(stop), frame.top(count)
            height = max(frame.top(0.0) - top, 0.8)
            bar = {"x": left + 0.5, "y": frame.top(0.0) - height, "width": max(right - left - 1, 0.6), "height": height}
            found.append(element("rect", element("title", text), **bar))
    return found


def groups(
    label: str,
    x_label: str,
    y_label: str,
    names: Sequence[str],
    series: Mapping[str, Sequence[float]],
    colours: Mapping[str, int],
) -> Html:
    """Bars of shares side by side, a group a name. series: bar → its value in each group; colours: the same → number."""
    top = max((value for values in series.values() for value in values), default=0.0) or 1.0
    x = Axis(x_label, -0.5, len(names) - 0.5, lambda place: names[round(place)], range(len(names)))
    frame = Frame(x, Axis(y_label, 0.0, top * 1.06, lambda share: f"{100 * share:.3g}%"))
    width = 0.76 / max(len(series), 1)
    found = []
    for n, (name, values) in enumerate(series.items()):
        bars = []
        for place, value in enumerate(values):
            left, right = (frame.left(place - 0.38 + width * edge) for edge in (n, n + 1))
            text, height = f"{names[place]}: {100 * value:.2f}% {name}", max(frame.top(0.0) - frame.top(value), 0.8)
            sides = {"x": left + 0.8, "y": frame.top(0.0) - height, "width": right - left - 1.6, "height": height}
            bars.append(element("rect", element("title", text), **sides))
        found.append(element("g", bars, class_=f"k{colours[name]} groups"))
    return frame.drawn(label, *found)


def bar(share: float, colour: int = 0) -> Html:
    """A bar for a cell of a table, as long as a share of 1."""
    width = max(0.0, min(share, 1.0)) * 100
    drawn = element("rect", x=0.0, y=0.0, width=width, height=10.0, rx=1.5, class_=f"k{colour}")
    return element("svg", drawn, class_="bar", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true")


def stack(parts: Sequence[tuple[float, int, str]], whole: float) -> Html:
    """A bar of pieces (size, colour, title), as long as their sum is of `whole`."""
    found, left = [], 0.0
    for size, colour, text in parts:
        width = 100 * size / whole if whole > 0 else 0.0
        piece = {"x": left, "y": 0.0, "width": max(width - 0.6, 0.3), "height": 10.0}
        found.append(element("rect", element("title", text), class_=f"k{colour}", **piece))
        left += width
    return element(
        "svg", found, class_="bar stack", viewBox="0 0 100 10", preserveAspectRatio="none", aria_hidden="true"
    )


@dataclass(frozen=True)
class Dot:
    """A point of a scatter."""

    x: float
    y: float
    radius: float
    colour: int
    title: str
    label: str | None = None
    """Written beside it, where there is room."""


def scatter(label: str, dots: Sequence[Dot]) -> Html:
    """Points without axes. Small ones lie on large ones; labels are written in the order given, those that fit."""
    width, height, room = 960.0, 620.0, 14.0
    xs, ys = [dot.x for dot in dots], [dot.y for dot in dots]
    x, y = Axis.over("", xs), Axis.over("", ys)
    places = [
        (room + x.share(dot.x) * (width - 2 * room), height - room - y.share(dot.y) * (height - 2 * room))
        for dot in dots
    ]
    pairs = list(zip(dots, places, strict=True))
    circles = [
        element("circle", element("title", dot.title), cx=left, cy=top, r=dot.radius, class_=f"k{dot.colour}")
        for dot, (left, top) in sorted(pairs, key=lambda pair: -pair[0].radius)
    ]
    return svg(
        label, width, height, element("g", circles, class_="dots"), element("g", _labels(pairs, width), class_="names")
    )


def _labels(pairs: Sequence[tuple[Dot, tuple[float, float]]], width: float) -> list[Html]:
    """Labels that do not lie on one another."""
    taken: list[tuple[float, float, float, float]] = []
    found = []
    for dot, (left, top) in pairs:
        if dot.label is None:
            continue
        long = 7.2 * len(dot.label)
        start = left + dot.radius + 4 if left + dot.radius + long < width else left - dot.radius - 4 - long
        box = (start, top - 9, start + long, top + 9)
        if all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in taken):
            taken.append(box)
            found.append(element("text", dot.label, x=start, y=top + 4, aria_hidden="true"))
    return found
