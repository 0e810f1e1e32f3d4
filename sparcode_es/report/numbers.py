"""Numbers as a person reads them, and round places for an axis."""

from __future__ import annotations

import math

UNITS = ("bytes", "kB", "MB", "GB", "TB")
NOTHING = "–"


def whole(number: float) -> str:
    """`1,682`"""
    return f"{number:,.0f}"


def short(number: float) -> str:
    """A number in the room of an axis: `1.2M`, `340k`, `0.05`."""
    size = abs(number)
    for least, one, unit in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if size >= least:
            return f"{number / one:.3g}{unit}"
    return f"{number:,.0f}" if size >= 1000 else f"{number:.4g}"


def decimal(number: float | None) -> str:
    """Four digits that count."""
    return NOTHING if number is None else f"{number:.4g}"


def percent(share: float | None, digits: int = 1) -> str:
    """`12.4 %`, on one line."""
    return NOTHING if share is None else f"{100 * share:.{digits}f}\u00a0%"


def size(count: int | None) -> str:
    """`11.7 MB`"""
    if count is None:
        return NOTHING
    scaled, unit = float(count), 0
    while scaled >= 1000 and unit < len(UNITS) - 1:
        scaled, unit = scaled / 1000, unit + 1
    return f"{scaled:.3g}\u00a0{UNITS[unit]}"


def span(seconds: float) -> str:
    """`7 min 3 s`"""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers from `low` to `high`, about `count` of them."""
    if not high > low:
        return [low]
    step = (high - low) / max(count - 1, 1)
    power = 10.0 ** math.floor(math.log10(step))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= step * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [round(n * step, 12) for n in range(first, math.floor(high / step + 1e-9) + 1)]
