"""A small artifact with attributes of every kind, for recommenders; and it behind a made-up server, with faults on demand."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

from sparcode_es.codes import ITEM_HEAD, ItemCodes, UserCodes
from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.embedded import EmbeddedEngine
from sparcode_es.postings.artifact import Artifact
from sparcode_es.postings.build import build_postings
from sparcode_es.tables import StringTable

ITEMS, CODES, USERS = 80, 10, 12
WORDS = ("dark", "star", "river", "house")


class Scorer:
    """Scores of few values, so that sums tie; items 70 … 79 score 0 everywhere."""

    num_items, num_possible_codes, shared_heads = ITEMS, CODES, True
    item_codes = ItemCodes(
        np.minimum(np.arange(ITEMS + 1) * 2, 40),
        np.tile([3, 11], 20).astype(np.uint32),
        np.tile([0.5, 2.0], 20).astype(np.float32),
    )
    bias, model_hash, codebook_hash = -0.1, "feed01", "beef02"

    def all_codes(self) -> np.ndarray:
        return np.stack([np.zeros(CODES), np.arange(CODES)], axis=1).astype(np.uint32)

    def score_codes(self, codes: np.ndarray, items: slice) -> np.ndarray:
        table = np.random.default_rng(5).integers(-3, 5, (CODES, ITEMS)).astype(np.float32) / 3
        table[:, 70:] = -1
        return table[codes[:, 1]][:, items]


class Seen:
    """Four items a user; the low numbers most often, so that some items are popular."""

    offsets = np.arange(0, 4 * USERS + 1, 4).astype(np.uint64)
    items = (np.arange(4 * USERS) * np.arange(4 * USERS) % 23).astype(np.uint32)


def attributes_of(item: int) -> dict[str, Any]:
    """Lists, texts that read as numbers and texts that do not, numbers, booleans, nothing."""
    found: dict[str, Any] = {"genre": [g for g, n in (("Drama", 2), ("Comedy", 3), ("Sci-Fi 12d", 5)) if item % n == 0]}
    found["year"] = str(1980 + item % 30)
    found["rating"] = item % 7 / 4
    found["children"] = item % 4 == 0
    if item % 6:
        found["price"] = [item, "free"] if item % 5 == 0 else item
    if item % 9:
        found["released"] = f"{1990 + item % 20}-01-{1 + item % 28:02}"
    return found


def build(folder: Path) -> Artifact:
    """The artifact; the last user has no codes."""
    rows = np.concatenate([[u % CODES, (u + 3) % CODES, (u + 5) % CODES] for u in range(USERS - 1)])
    codes = Scorer().all_codes()[rows]
    codes[2::6] = ITEM_HEAD, 4  # the third code of every other user is an item code
    offsets = [*range(0, 3 * USERS - 2, 3), 3 * (USERS - 1)]
    return build_postings(
        Scorer(),
        folder,
        item_ids=StringTable.build(f"{'éa_Z'[i % 4]}{i}" for i in range(ITEMS)),
        item_docs=[
            {"title": f"{WORDS[i % 4]} {WORDS[i % 3]} {i}" if i % 5 else None, "attributes": attributes_of(i)}
            for i in range(ITEMS)
        ],
        user_ids=StringTable.build(f"user {u}" for u in range(USERS)),
        user_codes=UserCodes(
            np.array(offsets, np.uint64), codes, np.tile([1.0, 0.5, 0.25], USERS - 1).astype(np.float32)
        ),
        user_seen=Seen(),
    )


Fault = int | str
"""A status, "drop" (hang up), "cut" (hang up in the middle of an answer), "garbage" or "silent" (answer nothing for ever)."""


class FakeServer:
    """Answers as `index` would have left it, from the embedded engine; `faults` come first, one a request.

    `always`: a fault for every request whose path it is true of.
    """

    def __init__(self, artifact: Artifact, name: str = "recs", suffix: str = "20260101000000-0123456789ab") -> None:
        self.artifact, self.engine, self.name, self.suffix = artifact, EmbeddedEngine(artifact), name, suffix
        self.faults: list[Fault] = []
        self.always: Callable[[str], Fault | None] = lambda path: None
        self.asked: list[str] = []
        self._ended = threading.Event()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        self._thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self.http.shutdown()
        self._thread.join()
        self.http.server_close()

    def _handler(fake) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                path = self.path.partition("?")[0]
                fake.asked.append(f"{self.command} {path}")
                fault = fake.always(path) or (fake.faults.pop(0) if fake.faults else None)
                if fault == "silent":
                    fake._ended.wait(30)
                if fault in ("silent", "drop"):
                    self.close_connection = True
                elif fault == "garbage":
                    self.say(200, b"<html>a proxy says hello</html>")
                elif isinstance(fault, int):
                    self.say(fault, json.dumps({"error": {"type": "made_up", "reason": "because"}}).encode())
                else:
                    self.say(200, json.dumps(fake.reply(path, body)).encode(), whole=fault != "cut")

            def say(self, status: int, body: bytes, whole: bool = True) -> None:
                self.send_response(status)
                self.send_header("x-elastic-product", "Elasticsearch")
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body if whole else body[: len(body) // 2])
                self.close_connection = not whole

            do_GET = do_POST = answer

            def log_message(self, *arguments: Any) -> None:
                pass

        return Handler

    def reply(self, path: str, body: bytes) -> Any:
        """What Elasticsearch would answer."""
        _, index, what = path.split("/")
        if what == "_mapping":
            return {f"{self.name}-{self.suffix}": {"mappings": {"_meta": self.meta(), "properties": self.properties()}}}
        if what == "_mget":
            find = self._user if index.startswith(f"{self.name}-users") else self._item
            return {"docs": [find(each) for each in json.loads(body)["ids"]]}
        if what == "_search":
            return self._search(json.loads(body))
        lines = [json.loads(line) for line in body.splitlines()]
        return {"responses": [self._search(each) for each in lines[1::2]]}

    def meta(self) -> dict[str, Any]:
        counts = {"items": self.artifact.num_items, "users": self.artifact.num_users}
        hashes = {"model_hash": self.artifact.model_hash, "codebook_hash": self.artifact.codebook_hash}
        made = {"artifact": self.artifact.generation_hash, "popular": self.artifact.popular(100)}
        return {"schema_version": 1, "field_type": "rank_features", "counts": counts, **hashes, **made}

    def properties(self) -> dict[str, Any]:
        return {"codes": {"type": "rank_features"}}

    def _user(self, user: str) -> dict[str, Any]:
        row = self.artifact.user_ids.find(user)
        if row is None:
            return {"_id": user, "found": False}
        entry = self.engine.user(user)
        source = {"codes": [{"term": c.term, "boost": c.boost} for c in entry.clauses], "seen": list(entry.seen)}
        return {"_index": f"{self.name}-users-{self.suffix}", "_id": user, "found": True, "_source": source}

    def _item(self, item: str) -> dict[str, Any]:
        document = self.engine.documents([item]).get(item)
        source = None if document is None else {"title": document.title, "attributes": dict(document.attributes)}
        return {"_id": item, "found": source is not None, "_source": source}

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        """Only sums of codes; a test that needs more asks a real server."""
        boosts = [each["rank_feature"] for each in body["query"]["bool"]["should"]]
        clauses = tuple(Clause(each["field"].partition(".")[2], each["boost"]) for each in boosts)
        hits = self.engine.search(Query(clauses, body["size"]))
        return {"hits": {"hits": [{"_score": hit.score, "fields": {"item": [hit.item]}} for hit in hits]}}
