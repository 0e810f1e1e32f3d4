"""A page, read as a browser would, and checked on the way. Not a test module."""

from __future__ import annotations

from collections.abc import Iterator
from html.parser import HTMLParser

VOID = {"meta", "br", "img", "input", "link", "hr"}
FETCHING = {
    "script",
    "img",
    "link",
    "iframe",
    "object",
    "embed",
    "form",
    "audio",
    "video",
    "source",
    "base",
    "image",
    "use",
}
Attributes = list[tuple[str, str | None]]


class Page(HTMLParser):
    """Elements with their attributes, and all text. Raises on an end tag that closes nothing, and on what is left open."""

    def __init__(self, content: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self._open: list[str] = []
        self.feed(content)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: Attributes) -> None:
        assert len(dict(attrs)) == len(attrs), attrs
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_startendtag(self, tag: str, attrs: Attributes) -> None:
        raise AssertionError(f"<{tag}/> means nothing in HTML")

    def handle_data(self, data: str) -> None:
        self.texts.append((tuple(self._open), data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        """The attributes of each element of a name."""
        return (attributes for name, attributes in self.elements if name == tag)

    def text(self, without: str = "style") -> str:
        """All text that is shown, pieces apart by spaces."""
        return " ".join(data for path, data in self.texts if without not in path)

    def check_alone(self) -> None:
        """Nothing is loaded, nothing runs, and the page says so itself; what a link names is there."""
        names = {tag for tag, _ in self.elements}
        assert not names & FETCHING, names & FETCHING
        ids = [value for _, attributes in self.elements if (value := attributes.get("id"))]
        assert len(ids) == len(set(ids))
        for tag, attributes in self.elements:
            assert not {"src", "srcset", "style", "xlink:href", "action"} & attributes.keys(), (tag, attributes)
            assert not any(name.startswith("on") for name in attributes), (tag, attributes)
            link = attributes.get("href")
            assert link is None or (link.startswith("#") and link[1:] in ids)
            assert attributes.get("aria-labelledby") in (None, *ids)
        policy = next(each["content"] for each in self.named("meta") if each.get("http-equiv"))
        assert policy is not None
        assert policy.startswith("default-src 'none'; style-src 'sha256-")
        assert "unsafe" not in policy
