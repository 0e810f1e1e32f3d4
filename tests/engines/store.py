"""A server that keeps its indices in memory, for `index`, `--update` and generations: what was sent is what is there. Not a
test module."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import unquote

from sparcode_es.engines.elasticsearch.connection import Server, api_error
from sparcode_es.engines.plans import Call, Operation, Pause
from sparcode_es.errors import NotFoundError

NODE = {"nodes": {"n": {"version": "7.17.29", "modules": [{"name": "mapper-extras"}]}}}
Document = dict[str, Any]


class Index:
    """Documents, mapping, and how many segments hold them."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.mappings: dict[str, Any] = {"properties": {}, **body.get("mappings", {})}
        self.documents: dict[str, Document] = {}
        self.numbers: dict[str, int] = {}
        self.segments, self._next = 0, itertools.count()

    def write(self, name: str, source: Document) -> None:
        """Put a document in the place of the one of its id."""
        self.documents[name], self.numbers[name] = source, next(self._next)
        self.segments += 1


class Store(Server):
    """`call` and `run` are those of a `Server`, retries and all; pauses take no time.

    sent: the requests, such as `PUT /recs/_mapping`. trouble: is told of each before it is carried out, and may raise. missing:
    copies of shards that have not started. merging: how many merges go on, each time this is asked.
    """

    def __init__(self) -> None:
        self.where, self.attempts, self.pause = "http://store", 4, 0.0
        self.indices: dict[str, Index] = {}
        self.aliases: dict[str, str] = {}
        self.sent: list[str] = []
        self.trouble: Callable[[Call], None] = lambda call: None
        self.missing = 0
        self.merging: Callable[[], int] = lambda: 0

    def perform(self, wanted: Operation) -> Any:
        """Carry out a request."""
        if isinstance(wanted, Pause):
            return None
        self.sent.append(f"{wanted.method} {wanted.path}")
        self.trouble(wanted)
        first, *rest = [unquote(part) for part in wanted.path.strip("/").split("/")]
        if first == "_nodes":
            return NODE
        if first == "_aliases":
            return self._move(wanted.body["actions"])
        what = rest[0] if rest else ""
        answer = getattr(self, f"_{wanted.method.lower()}{what}")(first, rest[1:], wanted)
        return json.loads(json.dumps(answer))

    def meta(self, name: str) -> dict[str, Any]:
        """What the mapping of an index says."""
        return dict(self.indices[name].mappings.get("_meta", {}))

    def _named(self, names: str, must: bool = True) -> dict[str, Index]:
        found = {}
        for name in names.split(","):
            real = self.aliases.get(name, name)
            fits = [each for each in self.indices if fnmatchcase(each, real)]
            if not fits and must and "*" not in name:
                raise NotFoundError(f"{self.where} has no such thing (404): {name}")
            found |= {each: self.indices[each] for each in fits}
        return found

    def _one(self, name: str) -> Index:
        (found,) = self._named(name).values()
        return found

    def _move(self, actions: list[dict[str, Any]]) -> Any:
        for action in actions:
            ((kind, each),) = action.items()
            if kind == "remove":
                del self.aliases[each["alias"]]
            else:
                assert each["index"] in self.indices
                self.aliases[each["alias"]] = each["index"]
        return {}

    def _put(self, name: str, rest: list[str], call: Call) -> Any:
        if name in self.indices:
            raise api_error(self.where, 400, {"error": {"type": "resource_already_exists_exception", "reason": name}})
        self.indices[name] = Index(json.loads(json.dumps(call.body)))
        return {}

    def _delete(self, name: str, rest: list[str], call: Call) -> Any:
        self.indices.pop(name, None)
        return {}

    def _get_mapping(self, names: str, rest: list[str], call: Call) -> Any:
        return {name: {"mappings": index.mappings} for name, index in self._named(names).items()}

    def _put_mapping(self, name: str, rest: list[str], call: Call) -> Any:
        body = json.loads(json.dumps(call.body))
        for index in self._named(name).values():
            index.mappings["properties"] |= body.get("properties", {})
            index.mappings |= {"_meta": body["_meta"]} if "_meta" in body else {}
        return {}

    def _get_settings(self, names: str, rest: list[str], call: Call) -> Any:
        return {name: {} for name in self._named(names)}

    def _put_settings(self, names: str, rest: list[str], call: Call) -> Any:
        return {} if self._named(names) else None

    _post_refresh = _post_flush = _put_settings

    def _post_forcemerge(self, names: str, rest: list[str], call: Call) -> Any:
        for index in self._named(names).values():
            index.segments = min(1, index.segments)
        return {}

    def _get_segments(self, names: str, rest: list[str], call: Call) -> Any:
        def copy(index: Index) -> Any:
            segments = {f"_{i}": {"size_in_bytes": 100, "search": True} for i in range(index.segments)}
            return {"routing": {"primary": True}, "num_search_segments": index.segments, "segments": segments}

        return {"indices": {name: {"shards": {"0": [copy(index)]}} for name, index in self._named(names).items()}}

    def _get_stats(self, names: str, rest: list[str], call: Call) -> Any:
        if rest == ["merge"]:
            return {"_all": {"total": {"merges": {"current": self.merging()}}}}
        shards = {name: {"shards": {"0": [{"routing": {"state": "STARTED"}}]}} for name in self._named(names)}
        return {"_shards": {"total": len(shards) + self.missing}, "indices": shards}

    def _get_alias(self, name: str, rest: list[str], call: Call) -> Any:
        return {each: {} for each in self._named(name)}

    def _get_count(self, name: str, rest: list[str], call: Call) -> Any:
        return {"count": len(self._one(name).documents)}

    def _post_bulk(self, name: str, rest: list[str], call: Call) -> Any:
        lines = [json.loads(line) for line in call.body.splitlines()]
        for action, source in zip(lines[::2], lines[1::2], strict=True):
            self._one(name).write(action["index"]["_id"], source)
        return {"errors": False, "items": [{"index": {"status": 201}} for _ in lines[::2]]}

    def _get_doc(self, name: str, rest: list[str], call: Call) -> Any:
        index = self._one(name)
        if rest[0] not in index.documents:
            raise NotFoundError(f"{self.where} has no such thing (404): {rest[0]}")
        return {"_source": index.documents[rest[0]], "_seq_no": index.numbers[rest[0]], "_primary_term": 1}

    def _put_doc(self, name: str, rest: list[str], call: Call) -> Any:
        index = self._one(name)
        wanted = call.params.get("if_seq_no")
        if wanted is not None and int(wanted) != index.numbers.get(rest[0]):
            raise api_error(self.where, 409, {"error": {"type": "version_conflict_engine_exception", "reason": "old"}})
        index.write(rest[0], call.body)
        return {"_seq_no": index.numbers[rest[0]]}

    def _post_search(self, name: str, rest: list[str], call: Call) -> Any:
        scored = [(each, source, score_of(source, call.body)) for each, source in self._one(name).documents.items()]
        rows = [(each, source, score) for each, source, score in scored if score is not None]
        best = sorted(rows, key=lambda row: -row[2])[: call.body["size"]]
        hits = [{"_id": i, "_source": s, "_score": x, "fields": {"item": [s.get("item")]}} for i, s, x in best]
        return {"hits": {"hits": hits}}


def score_of(source: Document, body: dict[str, Any]) -> float | None:
    """What a document gets from a search by codes, kept to some item or not; None where it is not found."""
    asked = body.get("query", {}).get("bool")
    if asked is None:
        return 1.0
    if any(source.get(field) != value for each in asked.get("filter", ()) for field, value in each["term"].items()):
        return None
    parts = [each["rank_feature"] for each in asked["should"]]
    score = float(sum(part["boost"] * source.get("codes", {}).get(part["field"][6:], 0.0) for part in parts))
    return score if score > 0 or "filter" in asked else None
