"""Sections of what lies in the postings: code usage, the map, scores, documents."""

from __future__ import annotations

from sparcode_es.engines.inspector import Group
from sparcode_es.postings.places import MAPPED
from sparcode_es.postings.profile import LEARNED
from sparcode_es.report.charts import Axis, Dot, Frame, histogram, lines, scatter
from sparcode_es.report.facts import CodeMap, Documents, MapPoint, Scores, Usage
from sparcode_es.report.markup import Child, Html
from sparcode_es.report.numbers import decimal, percent, whole
from sparcode_es.report.parts import KIND_COLOURS, KIND_NAMES, Section, chip, code, figure, grid, note, table

LABELLED = 40
"""Codes on the map whose names are written, where there is room."""


def usage_section(usage: Usage) -> Section:
    """Items, users and traffic of the codes; which are dead."""
    told = note(
        "Traffic is the share of all users' boosts that a code has. ",
        ""
        if usage.perplexity is None
        else f"The learned codes' perplexity is {percent(usage.perplexity)} of their number: 100 % would be all used alike.",
    )
    shown = [_counted(usage), _carriers(usage) if usage.cumulative else None]
    return Section("usage", "Code usage", [told, grid(*shown), _counts(usage), _busiest(usage), _dead(usage)])


def _counted(usage: Usage) -> Html:
    """A column a kind, which a narrow place holds."""
    kinds = usage.kinds.values()
    rows: list[list[Child]] = [
        ["codes", *(whole(kind.codes) for kind in kinds)],
        ["with users", *(whole(kind.with_users) for kind in kinds)],
        ["with postings", *(whole(kind.with_items) for kind in kinds)],
        ["postings", *(whole(kind.postings) for kind in kinds)],
        ["postings a code", *(f"{kind.postings / max(kind.codes, 1):,.1f}" for kind in kinds)],
        ["traffic", *(percent(kind.traffic) for kind in kinds)],
    ]
    return table("Codes by kind", ["", *(KIND_NAMES[kind] for kind in usage.kinds)], rows)


def _carriers(usage: Usage) -> Html:
    shares = Axis("share of the codes, the busiest first", 0.0, 1.0, lambda v: percent(v, 0))
    frame = Frame(shares, Axis("share of the traffic", 0.0, 1.0, lambda v: percent(v, 0)))
    series = {KIND_NAMES[kind]: points for kind, points in usage.cumulative.items()}
    colours = {KIND_NAMES[kind]: KIND_COLOURS[kind] for kind in usage.cumulative}
    caption = "The farther above the diagonal, the fewer codes carry the traffic."
    picture = lines("Share of the traffic by share of the codes.", frame, series, colours)
    return figure("Who carries the traffic", picture, caption, colours)


def _counts(usage: Usage) -> Html:
    found = []
    for what, kinds, text in (
        ("users", usage.users, "Left is rare: a code that few users have says little."),
        ("items", usage.items, "Long rows cost memory and time, short ones recall."),
    ):
        for kind, counts in kinds.items():
            title = f"{what.capitalize()} a code, {KIND_NAMES[kind]}"
            picture = histogram(f"{title}.", f"{what} that a code has", "codes", counts, {"codes": KIND_COLOURS[kind]})
            found.append(figure(title, picture, text))
    return grid(*found)


def _busiest(usage: Usage) -> Html:
    rows: list[list[Child]] = [
        [
            chip(each.code, each.name, each.kind),
            code(each.code),
            percent(each.traffic, 2),
            whole(each.users),
            whole(each.items),
            ", ".join(item.title or item.item for item in each.top_items[:3]),
        ]
        for each in usage.busiest
    ]
    headers = ["name", "code", "traffic", "users", "items", "best items"]
    return table("The codes with most traffic", headers, rows, texts=(0, 1, 5))


def _dead(usage: Usage) -> Html:
    dead = usage.dead
    rows: list[list[Child]] = [
        *([f"{KIND_NAMES[kind]} that no user has", *_first(group)] for kind, group in dead.codes_without_users.items()),
        *([f"{KIND_NAMES[kind]} without items", *_first(group)] for kind, group in dead.codes_without_items.items()),
        ["items without a posting: no query finds them", *_first(dead.items_without_postings)],
    ]
    return table("What no query can make use of", ["what", "count", "the first of them"], rows, texts=(0, 2))


def _first(group: Group) -> list[Child]:
    more = "…" if group.count > len(group.examples) else ""
    return [whole(group.count), [[code(each), " "] for each in group.examples] + [[more]]]


def map_section(found: CodeMap) -> Section:
    """Each learned code as a point."""
    largest = max((point.traffic for point in found.points), default=0.0) or 1.0
    busiest = sorted(found.points, key=lambda point: -point.traffic)
    named = {point.code for point in busiest[:LABELLED]}
    groups = group_colours(found.points)
    dots = [
        Dot(
            point.x,
            point.y,
            2.5 + 11.5 * (point.traffic / largest) ** 0.5,
            groups.get(group_of(point.name) or "", OTHER) if groups else KIND_COLOURS[LEARNED],
            _tooltip(point),
            point.name if point.code in named and point.name != point.code else None,
        )
        for point in busiest
    ]
    which = (
        "" if len(dots) == found.codes else f", those with postings{'' if len(dots) < MAPPED else ' and most traffic'}"
    )
    colour = "the colour what its name begins with" if groups else "there are no attributes to colour it by"
    caption = (
        f"{whole(len(dots))} of {whole(found.codes)} learned codes{which}, by the first two principal components of "
        f"{found.basis}: {percent(found.explained[0])} and {percent(found.explained[1])} of the variance. The area is a code's "
        f"traffic, {colour}. Point at one to read it."
    )
    legend = {**groups, "all others": OTHER} if groups else {}  # a group is one word
    picture = scatter(f"Map of {len(dots)} codes.", dots)
    return Section(
        "map",
        "Map of codes",
        [figure("Codes that want the same items lie together", picture, caption, legend, wide=True)],
    )


OTHER = 7
"""The colour of a code whose group is none of the largest."""


def group_of(name: str) -> str | None:
    """What a readable name begins with: `Sci-Fi 70s` of `Sci-Fi 70s · Star Wars`; None where it is all one."""
    first, dot, _ = name.partition(" · ")
    return first.split(" ")[0] if dot else None


def group_colours(points: tuple[MapPoint, ...]) -> dict[str, int]:
    """The groups with most traffic and their colours; none where names have no groups."""
    traffic: dict[str, float] = {}
    for point in points:
        group = group_of(point.name)
        if group is not None:
            traffic[group] = traffic.get(group, 0.0) + point.traffic
    largest = sorted(traffic, key=lambda group: (-traffic[group], group))[:OTHER]
    return {group: i for i, group in enumerate(largest)}


def _tooltip(point: MapPoint) -> str:
    counts = f"{whole(point.items)} items, {whole(point.users)} users, {percent(point.traffic, 2)} of the traffic"
    return " | ".join([f"{point.name} ({point.code})", counts, *point.top])


def scores_section(scores: Scores) -> Section:
    """How large scores are, and what a cut would leave."""
    read = "Every posting was read." if scores.exact else "An estimate from the quantiles of each code."
    title, y_label = "How large the scores are", "share of the postings" if len(scores.quantiles) > 1 else "postings"
    picture = histogram(f"{title}.", "score", y_label, scores.histogram, KIND_COLOURS)
    caption = f"{read} A score is what a posting adds to an item for a boost of 1."
    shown = figure(title, picture, caption, {KIND_NAMES[kind]: KIND_COLOURS[kind] for kind in scores.quantiles})
    curve = _sparsity(scores) if scores.sparsity else None
    rows = [[KIND_NAMES[kind], *map(decimal, found.values())] for kind, found in scores.quantiles.items()]
    names = list(next(iter(scores.quantiles.values())))
    return Section(
        "scores", "Scores and sparsity", [grid(shown, curve), table("Quantiles of the scores", ["", *names], rows)]
    )


def _sparsity(scores: Scores) -> Html:
    points = scores.sparsity
    now = points[0][1]
    frame = Frame(
        Axis("postings below this score dropped", 0.0, points[-1][0]),
        Axis("sparsity", now - 0.06 * (1 - now), 1.0, lambda v: percent(v, 3).replace(".000", "")),
    )
    caption = (
        f"Sparsity is the share of all (code, item) pairs that is not kept: {percent(now, 2)} now. The curve says what it would "
        "be if the learned codes' smaller scores were dropped too, as a lower bias (Eq. 15) does."
    )
    picture = lines(
        f"Sparsity by the score below which postings are dropped, from {percent(now)} to 100 %.",
        frame,
        {"sparsity": points},
        {"sparsity": KIND_COLOURS[LEARNED]},
    )
    return figure("What a cut would leave", picture, caption)


def documents_section(documents: Documents) -> Section:
    """Postings a document."""
    quantiles = documents.quantiles
    told = note(
        f"{whole(documents.items)} items have {documents.mean:,.1f} postings on average, "
        f"{whole(quantiles['p50'])} in the middle, from {whole(quantiles['min'])} to {whole(quantiles['max'])}. ",
        f"{whole(documents.without)} have none: no query finds those." if documents.without else "None is without.",
    )
    rows: list[list[Child]] = [[name, whole(value)] for name, value in quantiles.items()]
    places = table("Postings of an item, by share of the items", ["", "postings"], rows)
    title = "Items by their postings"
    picture = histogram(f"{title}.", "postings of an item", "items", documents.histogram, {"items": 0})
    return Section(
        "documents",
        "Postings a document",
        [told, grid(figure(title, picture, "An item with few postings is found by few users."), places)],
    )
