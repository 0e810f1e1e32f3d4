"""The page's server: a few JSON routes beside the page's own files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from importlib import resources
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import Field

from sparcode_es import __version__
from sparcode_es.errors import SparcodeError
from sparcode_es.serving.bodies import Id, Json, RecommendBody, status_of
from sparcode_es.ui import answers
from sparcode_es.ui.compare import compare
from sparcode_es.ui.guard import Guard, Hosts
from sparcode_es.ui.places import Places

SCRIPTS = ("page", "state", "ask", "dom", "combobox", "controls", "side", "lists", "reasons")
FILES = {
    "/": ("page.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    **{f"/{name}.js": (f"{name}.js", "text/javascript") for name in SCRIPTS},
}
"""Path → file and its type; there are no others."""
FOUND = 12
"""Users or items that a box suggests."""
Typed = Annotated[str, Query(max_length=512)]
Key = Annotated[str, Query(max_length=4096)]


class AnswerBody(RecommendBody):
    """A question, the place to ask, and another one to compare it with."""

    place: str = Field("", max_length=4096)
    other: str | None = Field(None, max_length=4096)


class WhyBody(RecommendBody):
    """A question, and the item that is asked about."""

    place: str = Field("", max_length=4096)
    item: Id


def make_app(places: Places, histories: bool, hosts: Hosts) -> Guard:
    """The page over some places. histories: whether the recommenders have an encoder."""
    app = FastAPI(title="sparcode-es ui", version=__version__, docs_url=None, redoc_url=None, openapi_url=None)
    _add_files(app)
    _add_errors(app)
    _add_lookups(app, places, histories)
    _add_answers(app, places)
    return Guard(app, hosts)


def _add_files(app: FastAPI) -> None:
    folder = resources.files("sparcode_es.ui").joinpath("static")
    for path, (name, kind) in FILES.items():
        content = folder.joinpath(name).read_bytes()
        app.add_api_route(path, _sender(content, kind), methods=["GET", "HEAD"])


def _sender(content: bytes, kind: str) -> Any:
    def send() -> Response:
        return Response(content, media_type=kind)

    return send


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(SparcodeError)
    def failed(request: Request, error: SparcodeError) -> Json:
        return Json({"error": str(error)}, status_of(error))

    @app.exception_handler(RequestValidationError)
    def misunderstood(request: Request, error: RequestValidationError) -> Json:
        return Json({"error": "; ".join(_told(each) for each in error.errors())}, 422)


def _told(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"][1:])
    return f"{place or 'the question'}: {error['msg']}"


def _add_lookups(app: FastAPI, places: Places, histories: bool) -> None:
    @app.get("/api/about")
    def about(place: Key = "") -> Json:
        """What answers, what else could, and what there is to filter by."""
        chosen = places.get(place)
        info = chosen.inspector.engine.info()
        return Json(
            {
                "version": __version__,
                "place": chosen.key,
                "info": asdict(info),
                "places": [asdict(each) for each in places.listed()],
                "attributes": chosen.lookup.attributes(),
                "histories": histories,
            }
        )

    @app.get("/api/users")
    def users(q: Typed = "", place: Key = "") -> Json:
        """Users whose id begins so."""
        return Json({"users": places.get(place).lookup.users(q, FOUND)})

    @app.get("/api/items")
    def items(q: Typed = "", place: Key = "") -> Json:
        """Items by words of their title, or by the beginning of their id."""
        found = places.get(place).lookup.items(q.strip(), FOUND)
        return Json({"items": [answers.document_json(each) for each in found]})

    @app.get("/api/values")
    def values(name: Typed, place: Key = "") -> Json:
        """The values of an attribute."""
        return Json({"values": [each.text for each in places.get(place).lookup.values(name)]})

    @app.get("/api/code")
    def code(term: Typed, place: Key = "") -> Json:
        """What a code stands for."""
        return Json(answers.code(places.get(place), term))


def _add_answers(app: FastAPI, places: Places) -> None:
    @app.post("/api/answer")
    def answer(body: AnswerBody) -> Json:
        """What is recommended, and why; beside it, another place's answer to the same."""
        ask = body.ask()
        left = answers.answer(places.get(body.place), ask)
        if body.other is None:
            return Json({"left": left})
        try:
            right = answers.answer(places.get(body.other), ask)
        except SparcodeError as error:
            return Json({"left": left, "right": {"error": str(error)}})
        return Json({"left": left, "right": right, "comparison": asdict(compare(_ids(left), _ids(right)))})

    @app.post("/api/why")
    def why(body: WhyBody) -> Json:
        """Why an item, or why not."""
        return Json(answers.why(places.get(body.place), body.ask(), body.item))


def _ids(found: dict[str, Any]) -> Sequence[str]:
    return [item["id"] for item in found["items"]]
