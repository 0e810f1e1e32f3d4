"""The page: well-formed, alone in the world, and made of text where it is made of data."""

from __future__ import annotations

import base64
import hashlib
import re
import unicodedata
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from html_page import Page
from sparcode_es.engines.inspector import Dead, Group
from sparcode_es.evaluation.ranking import VIEWS
from sparcode_es.evaluation.slices import Slice
from sparcode_es.postings.profile import ITEM, LEARNED, CodeProfile, TopItem
from sparcode_es.report import facts
from sparcode_es.report.evaluation import METRICS, SLICED
from sparcode_es.report.markup import element, escaped, lines
from sparcode_es.report.page import page

HOSTILE = [
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></style></svg><b>",
    "' onmouseover='alert(1)",
    "&lt;b&gt; &amp; <!-- ]]>",
    "http://example.org/x.js",
    "\x1b[31mred\u202e\x00\ufffe\ud800",
    "two\nlines\tand a tab",
    "",
]


def whole_report(text: str) -> facts.Report:
    """Every section, with `text` wherever somebody else's text can be."""
    histogram = facts.Histogram((0.0, 1.0, 2.0), {LEARNED: (1.0, 2.0), ITEM: (0.0, 4.0)})
    one = {LEARNED: facts.Histogram((0.0, 2.0), {"codes": (3.0,)})}
    curve = ((0.0, 0.1), (1.0, 0.5), (2.0, 0.4))
    group = Group(9, (text,))
    profile = CodeProfile(text, LEARNED, text, None, 3, 2, 0.5, (TopItem(text, text, 1.0),), (), None, "0" * 16)
    points = tuple(
        facts.MapPoint(f"{i}{text}", f"{text} · {text}", i, i * i, 1, 1, 0.1 * i, (text, text)) for i in range(4)
    )
    share = facts.NamedShare(text, text, ITEM, 0.5)
    shown = facts.Recommended(text, text, 1.5, (share, facts.NamedShare(text, text, LEARNED, 1.0)))
    shares = {view: dict.fromkeys(METRICS, 0.25) for view in VIEWS}
    sliced = {by: (Slice(0, 0, 2, shares), Slice(1, 30_000, 7, shares)) for by in SLICED}
    quantiles = {"min": 0.0, "p50": 1.0, "max": 2.0}
    return facts.Report(
        title=text,
        made_at="now",
        version="1",
        places=(facts.Place(text, text, text, text, text, {"items": 3, text: 1}, -0.5, 0.9, 12, text, text, 2),),
        training=facts.Training(
            text,
            text,
            "ndcg@50",
            True,
            (facts.StageCurve(text, curve, {"ndcg@50": curve, text: curve}, curve, 1, 3.0),),
            {text: curve},
            f"model = 1\n{text}",
        ),
        quality=facts.Quality(
            "ndcg@50", (facts.QualityRow(text, {"ndcg@50": 0.1, text: 0.2}), facts.QualityRow("b", {}))
        ),
        evaluation=facts.Evaluation(
            *(text, text, text, text, 9), tuple(facts.Evaluated(f"{n}{text}", text, shares, sliced) for n in range(2))
        ),
        latency=facts.Latency("embedded", text, text, text, text, 10, 3, 2, 1, {"p50": 0.5, text: 2.0}),
        usage=facts.Usage(
            {LEARNED: facts.KindUsage(2, 1, 1, 5, 0.5)},
            0.5,
            {LEARNED: curve},
            one,
            one,
            (profile,),
            Dead({LEARNED: group}, {LEARNED: group}, group),
        ),
        code_map=facts.CodeMap("rows", (0.4, 0.2), points, 5),
        scores=facts.Scores(True, histogram, {LEARNED: quantiles, ITEM: quantiles}, curve),
        documents=facts.Documents(3, 1, 1.5, quantiles, facts.Histogram((0.0, 1.0), {"items": (3.0,)})),
        examples=(
            facts.Example(text, 2, (facts.NamedItem(text, text), facts.NamedItem(text, None)), (share,), (shown,)),
        ),
    )


SECTIONS = {
    "quality": "quality",
    "evaluation": "evaluation",
    "examples": "examples",
    "code_map": "map",
    "usage": "usage",
    "scores": "scores",
    "documents": "documents",
    "latency": "latency",
    "training": "training",
    "places": "facts",
}


def anchors(found: Page) -> list[str | None]:
    return [each.get("id") for each in found.named("section")]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_is_data_stays_text(text: str) -> None:
    plain, found = Page(page(whole_report("plain"))), Page(page(whole_report(text)))
    found.check_alone()
    # The same elements with the same attributes' names: nothing of the text became markup.
    assert [(tag, sorted(each)) for tag, each in found.elements] == [
        (tag, sorted(each)) for tag, each in plain.elements
    ]
    shown = found.text()
    assert not any(unicodedata.category(letter) in ("Cc", "Cf", "Cs") for letter in shown if letter not in "\n")


OURS = {"items", "item_codes", "p50", "recall@10", "recall@50", "ndcg@10", "ndcg@50"}
"""Names of counts, stages and metrics that the page knows: where a text is one of them, `whole_report` means something else."""


@settings(max_examples=25)
@given(st.text().filter(lambda text: text not in OURS))
@example("other")
def test_any_text_is_harmless(text: str) -> None:
    content = page(whole_report(text))
    content.encode()
    found = Page(content)
    found.check_alone()
    assert len(found.elements) == len(Page(page(whole_report("plain"))).elements)


@given(st.text())
def test_escaping_gives_the_visible_text_back(text: str) -> None:
    found = Page(element("p", text, title=text))
    from sparcode_es.visible import visible

    assert "".join(data for _, data in found.texts) == visible(text)
    assert found.elements == [("p", {"title": visible(text)})]
    assert escaped(text) in element("b", [text])
    assert lines("a\n<b>\n") == "a\n&lt;b&gt;\n"


def test_the_whole_page() -> None:
    content = page(whole_report("plain"))
    found = Page(content)
    found.check_alone()
    assert content.startswith('<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">')
    assert anchors(found) == list(SECTIONS.values())
    assert [each["href"] for each in found.named("a")] == [f"#{anchor}" for anchor in SECTIONS.values()]
    style = next(data for path, data in found.texts if path[-1:] == ("style",))
    assert base64.b64encode(hashlib.sha256(style.encode()).digest()).decode() in content
    assert "prefers-color-scheme: dark" in style
    assert "url(" not in style
    assert "@import" not in style
    assert len(list(found.named("h1"))) == 1
    for picture in found.named("svg"):
        assert picture.get("aria-label") or picture.get("aria-hidden") == "true"
    assert len(list(found.named("figcaption"))) == len(list(found.named("figure")))
    assert len(list(found.named("caption"))) == len(list(found.named("table")))


@pytest.mark.parametrize("name", SECTIONS)
def test_a_missing_section_is_absent(name: str) -> None:
    report = whole_report("plain")
    without = Page(page(replace(report, **{name: () if name == "places" else None})))
    without.check_alone()
    assert anchors(without) == [anchor for section, anchor in SECTIONS.items() if section != name]
    assert name not in replace(report, **{name: () if name == "places" else None}).sections()
    assert sorted(report.sections()) == sorted(SECTIONS)


def test_nothing_at_all_is_a_page() -> None:
    found = Page(page(facts.Report("nothing", "now", "1")))
    found.check_alone()
    assert anchors(found) == []


def test_colours_are_those_that_the_style_sheet_has() -> None:
    content = page(whole_report("plain"))
    used = set(re.findall(r'class="[^"]*\bk(\d+)', content))
    assert used <= {str(number) for number in range(8)}
