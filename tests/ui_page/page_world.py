"""An artifact with hostile titles, another one of the same model, an encoder, and the page over them. Not a test module."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn

from sparcode_es.codes import ItemCodes, UserCodes
from sparcode_es.engines.plans import Limits
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.serving.recommender import Recommender
from sparcode_es.tables import StringTable
from sparcode_es.ui.app import make_app
from sparcode_es.ui.guard import Guard, Hosts
from sparcode_es.ui.places import MakeRecommender, Places

ITEMS, CODES, USERS = 40, 12, 30
HOSTILE = [
    "<script>document.title='owned'</script>",
    '"><img src=x onerror="document.title=\'owned\'">',
    "Star Wars 🚀 'quoted' & \"double\"",
    "left \u202eright to\u202c \u05e9\u05dc\u05d5\u05dd",
    "bell \x07 escape \x1b[31m two\nlines",
]
MODEL = ("feed01", "beef02")


class Scorer:
    """Scores of many sizes, at least one posting an item."""

    num_items, num_possible_codes, shared_heads, bias = ITEMS, CODES, True, -0.2
    model_hash, codebook_hash = MODEL
    item_codes = ItemCodes(np.zeros(ITEMS + 1, np.int64), np.zeros(0, np.uint32), np.zeros(0, np.float32))

    def __init__(self, seed: int) -> None:
        self.table = np.random.default_rng(seed).normal(size=(CODES, ITEMS)).astype(np.float32) + 0.4

    def all_codes(self) -> np.ndarray:
        return np.stack([np.zeros(CODES), np.arange(CODES)], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        return self.table[codes[:, 1]][:, items]


class Seen:
    offsets = np.arange(0, 6 * USERS + 1, 6).astype(np.uint64)
    items = (np.arange(6 * USERS) * 7 % ITEMS).astype(np.uint32)


class Encoder:
    """Makes codes of a history: those of its items' numbers."""

    shared_heads, hashes = True, MODEL

    def __init__(self, item_ids: StringTable) -> None:
        self.item_ids = item_ids

    def __call__(self, items: Sequence[str]) -> UserCodes:
        rows = sorted({(self.item_ids.find(item) or 0) % CODES for item in items})
        codes = np.array([[0, row] for row in rows], np.uint32)
        boosts = np.linspace(1, 0.3, len(rows)).astype(np.float32)
        return UserCodes(np.array([0, len(rows)], np.uint64), codes, boosts)


def title(item: int) -> str:
    return HOSTILE[item] if item < len(HOSTILE) else f"{('Dark', 'Quiet', 'Red')[item % 3]} river {item}"


def build(folder: Path, seed: int = 0) -> Artifact:
    codes = np.array(
        [[0, code] for u in range(USERS) for code in sorted({u % CODES, (u + 4) % CODES, (u + 7) % CODES})]
    )
    return build_postings(
        Scorer(seed),
        folder,
        item_ids=StringTable.build("<b>&id" if i == 1 else f"i{i}" for i in range(ITEMS)),
        item_docs=[
            {"title": title(i), "attributes": {"genre": ["<i>x</i>", "War"] if i % 2 else ["Drama"], "year": 1980 + i}}
            for i in range(ITEMS)
        ],
        user_ids=StringTable.build("<u>'er\"" if u == 0 else f"u{u}" for u in range(USERS)),
        user_codes=UserCodes(
            np.arange(0, 3 * USERS + 1, 3).astype(np.uint64),
            codes.astype(np.uint32),
            np.random.default_rng(3).uniform(0.1, 1, 3 * USERS).astype(np.float32),
        ),
        user_seen=Seen(),
    )


def maker(artifact: Artifact | None) -> MakeRecommender:
    """Recommenders that encode histories, or none."""
    encoder = None if artifact is None else Encoder(artifact.item_ids)
    limits = Limits(timeout=20, budget=60)
    return lambda engine: Recommender.for_engine(engine, encoder=encoder, limits=limits)


def page_of(places: Places, histories: bool = True) -> Guard:
    return make_app(places, histories, Hosts("127.0.0.1"))


@contextmanager
def served(app: Any) -> Iterator[str]:
    """The page on a free port of this machine."""
    config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [socket]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{socket.getsockname()[1]}/"
    finally:
        server.should_exit = server.force_exit = True
        thread.join()
