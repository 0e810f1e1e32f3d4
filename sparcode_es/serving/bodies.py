"""Questions to a recommender over HTTP, how answers are written, and the statuses of errors. Needs the extra `serve`."""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from sparcode_es.engines.base import Text
from sparcode_es.errors import (
    ConfigError,
    EngineAuthError,
    EngineError,
    EngineUnavailableError,
    NotFoundError,
    SparcodeError,
)
from sparcode_es.serving.arrange import Diversify, MaxPer, Mmr
from sparcode_es.serving.ask import Ask

Id = Annotated[str, Field(min_length=1, max_length=512)]
Value = bool | int | float | str
"""As JSON says it: a whole number stays whole, since an index holds 1999, not 1999.0."""
STATUSES: tuple[tuple[type[SparcodeError], int], ...] = (
    (ConfigError, 400),
    (NotFoundError, 404),
    (EngineUnavailableError, 503),
    (EngineAuthError, 502),
    (EngineError, 502),
)
"""An error's HTTP status; 500 for any other."""


def status_of(error: SparcodeError) -> int:
    """The HTTP status that an error is answered with."""
    return next((status for kind, status in STATUSES if isinstance(error, kind)), 500)


class Json(JSONResponse):
    """ASCII only, so that any text can be said, half a surrogate pair too; numbers keep every digit."""

    def render(self, content: Any) -> bytes:
        """See `JSONResponse`."""
        return json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Bounds(_Strict):
    """What an attribute's values must be, where a list of values does not say it."""

    gt: float | str | None = None
    gte: float | str | None = None
    lt: float | str | None = None
    lte: float | str | None = None
    any: list[Value] | None = None
    all: list[Value] | None = None
    none: list[Value] | None = None


class MaxPerBody(_Strict):
    """At most `count` items with one value of `field`."""

    field: str = Field(min_length=1)
    count: int = Field(1, ge=1)


class MmrBody(_Strict):
    """Weigh dissimilar items up."""

    weight: float = Field(0.3, ge=0, le=1)
    pool: int = Field(100, ge=1, le=1000)


class TextBody(_Strict):
    """Words for the titles, beside the codes."""

    words: str = Field(min_length=1, max_length=1000)
    weight: float = Field(1.0, gt=0, lt=1e6)
    codes_weight: float = Field(1.0, gt=0, lt=1e6)
    required: bool = False


class RecommendBody(_Strict):
    """See `sparcode_es.serving.ask.Options`."""

    user: Id | None = None
    history: list[Id] | None = Field(None, max_length=1000)
    k: int = Field(10, ge=1, le=1000)
    page: int = Field(1, ge=1, le=10_000)
    filter: dict[str, Value | list[Value] | Bounds] = {}
    exclude: list[Id] = Field([], max_length=10_000)
    exclude_seen: bool = False
    boost: dict[str, dict[str, float]] = {}
    pin: dict[int, Id] = {}
    diversify: MaxPerBody | MmrBody | None = None
    text: TextBody | None = None
    explain: bool = False

    def ask(self) -> Ask:
        """The question. Raises `ConfigError`."""
        wanted = {
            name: value.model_dump(exclude_none=True) if isinstance(value, Bounds) else value
            for name, value in self.filter.items()
        }
        diversify: Diversify | None = None
        if isinstance(self.diversify, MaxPerBody):
            diversify = MaxPer(self.diversify.field, self.diversify.count)
        elif self.diversify is not None:
            diversify = Mmr(self.diversify.weight, self.diversify.pool)
        return Ask.of(
            self.user,
            history=self.history,
            k=self.k,
            page=self.page,
            filter=wanted,
            exclude=self.exclude,
            exclude_seen=self.exclude_seen,
            boost=self.boost,
            pin=self.pin,
            diversify=diversify,
            text=None if self.text is None else Text(**self.text.model_dump()),
            explain=self.explain,
        )
