"""The page in a real headless Chromium, on the embedded engine and on real servers."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engines.shelf import make_shelf
from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, Server
from sparcode_es.engines.elasticsearch.generations import delete
from sparcode_es.engines.elasticsearch.index import IndexOptions, index
from sparcode_es.engines.elasticsearch.layout import generations
from sparcode_es.postings.artifact import Artifact
from sparcode_es.ui.places import ArtifactPlaces, IndexPlaces, Places
from ui_page.page_world import HOSTILE, build, maker, page_of, served

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from browser import chromium, find_chromium

pytestmark = pytest.mark.slow
SERVERS = [pytest.param(name, marks=pytest.mark.elasticsearch) for name in ("elasticsearch_7", "elasticsearch_9")]
ALIAS = "page"
TIMEOUT = 60_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if os.environ.get("SPARCODE_REQUIRE_BROWSER") != "1":
        pytest.importorskip("playwright")
        if find_chromium() is None:
            pytest.skip("there is no Chromium on the PATH")
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> list[Artifact]:
    folder = tmp_path_factory.mktemp("browser")
    return [build(folder / "one"), build(folder / "two", seed=1)]


@pytest.fixture(scope="module", params=["embedded", *SERVERS])
def address(request: pytest.FixtureRequest, browser: Any, artifacts: list[Artifact]) -> Iterator[str]:
    """The page over two artifacts, or over two generations of them, the first of them live."""
    if request.param == "embedded":
        with served(page_of(ArtifactPlaces(artifacts, maker(artifacts[0])))) as url:
            yield url
        return
    server = Server(ConnectionConfig(url=request.getfixturevalue(request.param).url))
    for artifact in reversed(artifacts):
        index(server, artifact, IndexOptions(ALIAS), lambda what, more, total: None)
    places: Places = IndexPlaces(server, ALIAS, [], maker(artifacts[0]))
    with served(page_of(places)) as url:
        yield url
    for suffix in generations(server, ALIAS):
        delete(server, ALIAS, suffix)
    server.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """An empty page. At the end: nothing on the console, nobody else asked, no hostile text obeyed."""
    yield from fresh(browser, address)


def fresh(browser: Any, address: str, **options: Any) -> Iterator[Any]:
    context = browser.new_context(base_url=address, reduced_motion="reduce", **options)
    opened = context.new_page()
    opened.set_default_timeout(TIMEOUT)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    opened.on("request", lambda asked: None if asked.url.startswith(address) else said.append(asked.url))
    opened.goto("/")
    opened.wait_for_selector("#left-title")
    yield opened
    title = opened.title()
    context.close()
    assert said == []
    assert "owned" not in title


def settled(page: Any, words: str) -> None:
    page.wait_for_function(
        "words => document.getElementById('status').textContent.includes(words) && !document.body.hasAttribute('data-busy')",
        arg=words,
    )


def listed(page: Any, side: str = "left") -> list[str]:
    found: list[str] = page.eval_on_selector_all(f"#{side} button.item", "all => all.map((each) => each.value)")
    return found


def choose(page: Any, user: str = "u3") -> None:
    page.fill("#user", user)
    page.get_by_role("option", name=user, exact=True).click()
    settled(page, f"for user {user}")


def test_a_user_and_a_link_that_gives_the_same_view(page: Any) -> None:
    choose(page)
    assert "u3" in page.url
    assert len(listed(page)) == 10
    assert page.locator("#history-list > li").count() == 6
    assert page.locator("#codes-list > li").count() == 3
    page.click("#left button.item >> nth=1")
    page.wait_for_selector("#why-body table")
    before = [page.inner_text(f"#{part}") for part in ("history", "codes", "why-body")], listed(page)
    page.goto(page.url)
    page.wait_for_selector("#why-body table")
    assert ([page.inner_text(f"#{part}") for part in ("history", "codes", "why-body")], listed(page)) == before
    page.go_back()
    page.goto("/?user=nobody")
    settled(page, "for user nobody")
    assert "no user 'nobody'" in page.inner_text("#left .problem")


def test_the_reasons_add_up_to_the_score(page: Any) -> None:
    choose(page)
    for place in (0, 4, 9):
        with page.expect_response("**/api/why") as answered:
            page.click(f"#left button.item >> nth={place}")
        told = answered.value.json()
        page.wait_for_selector("#why-body .sum")
        page.check("#exact")
        page.wait_for_selector("#why-body table.exact")
        values = [float(text) for text in page.eval_on_selector_all("#why-body tbody tr", LAST_CELLS)]
        total = float(page.inner_text("#why-body tfoot td"))
        if told["arithmetic"].startswith("float32"):
            assert float(np.float32(sum(values))) == total == told["score"]
        else:
            exact = 0.0
            for part in told["parts"]:
                exact += part["value"]
            assert exact == total == told["score"]
        assert sorted(values) == sorted(part["value"] for part in told["parts"])
        assert page.inner_text("#why-body .sum").startswith("✓ Adds up to the score")


LAST_CELLS = "rows => rows.map((row) => row.lastElementChild.textContent)"


def test_keyboard_alone(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.inner_text(":focus") == "Skip to the answer"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "user"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.type("u1")
    page.wait_for_selector("#user-list [role=option] >> nth=1")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    settled(page, "for user u10")
    for _ in range(60):
        if page.evaluate("document.activeElement.classList.contains('item')"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_selector("#why-body table")
    chosen = listed(page)[1]
    assert page.evaluate("document.activeElement.value") == chosen
    assert page.get_attribute(":focus", "aria-pressed") == "true"
    for _ in range(60):
        if page.evaluate("document.activeElement.closest('#why-body') !== null"):
            break
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[open]")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog:not([open])", state="attached")
    assert page.evaluate("document.activeElement.closest('#why-body') !== null")


def test_keys_that_are_faster_than_the_suggestions(page: Any) -> None:
    """Enter and the arrows mean the list of what stands in the box, not the one that is still shown."""
    for box, typed, keys, words in (
        ("user", "u1", ("ArrowDown", "ArrowDown", "Enter"), "for user u10"),
        ("title", "river 9", ("Enter",), "a history of 1 item"),
    ):
        page.focus(f"#{box}")
        page.wait_for_selector(f"#{box}-list [role=option] >> nth=1")
        page.keyboard.type(typed)
        for key in keys:
            page.keyboard.press(key)
        settled(page, words)
    assert page.inner_text("#history-list .name > bdi") == "Dark river 9"


def test_a_history_by_title(page: Any) -> None:
    for words, count in (("star w", 1), ("river 9", 2), ("river 12", 3)):
        page.fill("#title", words)
        page.wait_for_selector("#title-list [role=option]:not(.none)")
        page.press("#title", "Enter")
        settled(page, f"a history of {count} item")
    assert page.eval_on_selector_all("#history-list .name > bdi", "all => all.map((each) => each.textContent)") == [
        "Dark river 12",
        "Dark river 9",
        HOSTILE[2],
    ]
    assert not {"i2", "i9", "i12"} & set(listed(page))
    page.click("#history-list li >> nth=1 >> button")
    settled(page, "a history of 2 items")
    page.reload()
    settled(page, "a history of 2 items")
    assert "item=i2&item=i12" in page.url
    page.click("text=Clear")
    page.wait_for_selector("text=Whom is it about?")


def test_filters_and_boosts(page: Any) -> None:
    choose(page)
    before = listed(page)
    page.fill("#value", "war")
    page.get_by_role("option", name="War", exact=True).click()
    page.wait_for_selector("#chips li")
    settled(page, "for user u3")
    after = listed(page)
    assert after
    assert after != before
    assert all(int(item[1:]) % 2 for item in after if item != "<b>&id")
    page.select_option("#name", "year")
    page.select_option("#sign", ">=")
    page.fill("#value", "3000")
    page.press("#value", "Enter")
    page.wait_for_selector("#left .empty")
    page.click("#chips button >> nth=1")
    settled(page, "for user u3")
    page.click("#chips button >> nth=0")
    page.wait_for_function("() => document.querySelectorAll('#chips li').length === 0")
    settled(page, "for user u3")
    assert listed(page) == before
    page.select_option("#name", "genre")
    page.select_option("#sign", "*")
    page.fill("#weight", "50")
    page.fill("#value", "Drama")
    page.press("#value", "Enter")
    page.wait_for_selector("#chips li")
    settled(page, "for user u3")
    assert int(listed(page)[0][1:]) % 2 == 0
    page.click("#left button.item >> nth=0")
    page.wait_for_selector("#why-body .right")
    assert "the boosts" in page.inner_text("#why-body tfoot")


def test_two_side_by_side(page: Any) -> None:
    choose(page)
    page.select_option("#other", index=1)
    page.wait_for_selector("#right button.item")
    settled(page, "in both")
    here, there = listed(page), listed(page, "right")
    assert here != there
    assert f"{len(set(here) & set(there))} item" in page.inner_text("#status")
    only = page.locator("#left .only").count()
    assert only == len(set(here) - set(there))
    assert page.locator("#right .move").count() == 10


def test_why_not(page: Any) -> None:
    choose(page)
    page.fill("#asked", "i3")
    page.get_by_role("option", name=re.compile("right")).click()
    page.wait_for_selector("#why-body h3")
    assert page.inner_text("#why-body .verdict")
    assert "\\u202e" in page.inner_text("#why-body h3")


def test_hostile_texts_are_inert(page: Any) -> None:
    page.goto("/?" + "&".join(f"item={item}" for item in ("i0", "%3Cb%3E%26id", "i2", "i3", "i4")) + "&k=50&seen=1")
    settled(page, "a history of 5 items")
    page.click('#left button.item[value="i0"]')
    page.wait_for_selector("#why-body h3")
    shown = page.inner_text("#left")
    assert HOSTILE[0] in shown
    assert HOSTILE[1] in shown
    assert "\u202e" not in page.inner_text("body")
    assert "\\u202eright to\\u202c" in shown
    assert "bell ␇ escape ␛[31m two␊lines" in shown
    assert page.locator("#panels script, #panels img, #panels b, #panels u").count() == 0
    page.goto("/?user=%3Cu%3E'er%22")
    settled(page, "<u>'er\"")
    assert page.locator("#history-list > li").count() == 6


def test_on_a_phone_in_the_dark(browser: Any, address: str) -> None:
    for page in fresh(browser, address, viewport={"width": 360, "height": 740}, color_scheme="dark", has_touch=True):
        choose(page)
        page.select_option("#other", index=1)
        page.wait_for_selector("#right button.item")
        page.click("#left button.item >> nth=0")
        page.wait_for_selector("#why-body table")
        page.check("#exact")
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, re.findall(r"\d+", paper))) < 200


def test_every_control_has_a_name(page: Any) -> None:
    choose(page)
    page.click("#left button.item >> nth=0")
    page.wait_for_selector("#why-body table")
    tree = page.locator("body").aria_snapshot()
    assert not re.search(r"^\s*- (?:button|textbox|combobox|checkbox|spinbutton)(?: \[[^\]]*\])?:?$", tree, re.M), tree
    for landmark in ("banner", "main", "contentinfo", "region", 'form "The question"'):
        assert f"- {landmark}" in tree, tree


def test_a_server_that_is_gone(browser: Any, artifacts: list[Artifact]) -> None:
    """A sentence and a way to try again; the page stays."""
    with served(page_of(ArtifactPlaces(artifacts, maker(None)), histories=False)) as address:
        page = browser.new_page(base_url=address)
        page.goto("/?user=u3")
        settled(page, "for user u3")
        assert page.is_disabled("#title")
        assert "--encoder" in page.inner_text("#no-histories")
        page.route("**/api/answer", lambda route: route.abort())
        page.select_option("#k", "5")
        page.wait_for_selector("#problem button")
        assert "does not answer" in page.inner_text("#problem")
        page.unroute("**/api/answer")
        page.click("#problem button")
        page.wait_for_function("() => document.querySelectorAll('#left button.item').length === 5")
        assert page.inner_text("#problem") == ""
        refused = {"error": "the cluster sleeps"}
        page.route("**/api/why", lambda route: route.fulfill(status=503, body=json.dumps(refused)))
        page.click("#left button.item >> nth=0")
        page.wait_for_selector("text=the cluster sleeps")
        # The policy takes no text as markup, whoever should try; the browser says so on the console.
        assert page.evaluate("try { document.body.innerHTML = '<b>x</b>'; 'taken' } catch { 'refused' }") == "refused"
        page.context.close()


def test_an_older_question_is_given_up(browser: Any, artifacts: list[Artifact]) -> None:
    with served(page_of(ArtifactPlaces(artifacts, maker(None)), histories=False)) as address:
        page = browser.new_page(base_url=address)
        page.goto("/?user=u3")
        settled(page, "for user u3")
        held: list[Any] = []
        page.route("**/api/answer", lambda route: held.append(route) if not held else route.continue_())
        page.select_option("#k", "20")
        page.wait_for_selector('#panels[aria-busy="true"]')
        page.select_option("#k", "5")
        page.wait_for_function("() => document.querySelectorAll('#left button.item').length === 5")
        settled(page, "5 items")
        assert page.get_attribute("#panels", "aria-busy") == "false"
        page.context.close()


def test_codes_of_another_model_are_not_ours(browser: Any, artifacts: list[Artifact], tmp_path: Path) -> None:
    """The other side says in a sentence why it cannot answer a history."""
    other = make_shelf(tmp_path / "other")
    places = ArtifactPlaces([artifacts[0], other], maker(artifacts[0]))
    other_hash = other.model_hash
    assert other_hash == artifacts[0].model_hash
    with served(page_of(places)) as address:
        page = browser.new_page(base_url=address)
        page.goto(f"/?user=u3&other={other.path}")
        settled(page, "for user u3")
        assert "no user 'u3'" in page.inner_text("#right .problem")
        page.context.close()
