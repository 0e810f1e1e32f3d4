"""What a server would say of the seeds' artifact, and a node of elasticsearch-py that says it, damaged."""

from __future__ import annotations

import json
import random
from typing import Any

from elastic_transport import ApiResponseMeta, BaseNode, HttpHeaders, NodeConfig
from elastic_transport._node import NodeApiResponse

from mutation.mutate import json_bytes, mutate_bytes
from sparcode_es.engines.base import Clause, Query
from sparcode_es.engines.embedded import EmbeddedEngine

NAME, SUFFIX = "recs", "20260101000000-0123456789ab"
HEADERS = {"x-elastic-product": "Elasticsearch", "content-type": "application/json"}


class Replies:
    """Answers as `index` would have left them."""

    def __init__(self, engine: EmbeddedEngine) -> None:
        self.engine, self.artifact = engine, engine.artifact

    def reply(self, path: str, body: bytes) -> Any:
        """The answer to a request."""
        parts = path.partition("?")[0].strip("/").split("/")
        index, what = parts[0], parts[-1]
        whole = f"{NAME}-{SUFFIX}"
        if path == "/":
            return {"version": {"number": "9.4.5", "build_flavor": "default"}, "tagline": "You Know, for Search"}
        if what == "_mapping":
            properties = {"codes": {"type": "rank_features"}}
            return {whole: {"mappings": {"_meta": self._meta(), "properties": properties}}}
        if what == "_alias":
            return {whole: {"aliases": {NAME: {}}}}
        if what == "_settings":
            return {whole: {"settings": {"index": {"uuid": "u", "number_of_shards": "1"}}}}
        if what == "_mget":
            find = self._user if index.startswith(f"{NAME}-users") else self._item
            return {"docs": [find(each) for each in json.loads(body)["ids"]]}
        if what == "_count":
            return {"count": self.artifact.num_items}
        if what == "_msearch":
            return {"responses": [self._search(json.loads(line)) for line in body.splitlines()[1::2]]}
        return self._search(json.loads(body)) if what == "_search" else {"acknowledged": True}

    def _meta(self) -> dict[str, Any]:
        artifact = self.artifact
        counts = {"items": artifact.num_items, "users": artifact.num_users, "codes": artifact.num_codes}
        hashes = {"model_hash": artifact.model_hash, "codebook_hash": artifact.codebook_hash}
        made = {"artifact": artifact.generation_hash, "popular": artifact.popular(20)}
        return {"schema_version": 1, "field_type": "rank_features", "counts": counts, "M": 1, **hashes, **made}

    def _user(self, user: str) -> dict[str, Any]:
        entry = self.engine.user(user)
        source = {"codes": [{"term": c.term, "boost": c.boost} for c in entry.clauses], "seen": list(entry.seen)}
        return {"_index": f"{NAME}-users-{SUFFIX}", "_id": user, "found": True, "_source": source}

    def _item(self, item: str) -> dict[str, Any]:
        document = self.engine.documents([item]).get(item)
        source = None if document is None else {"title": document.title, "attributes": dict(document.attributes)}
        return {"_id": item, "found": source is not None, "_source": source}

    def _search(self, body: dict[str, Any]) -> dict[str, Any]:
        should = body.get("query", {}).get("bool", {}).get("should", [])
        found = [each["rank_feature"] for each in should if "rank_feature" in each]
        clauses = tuple(Clause(each["field"].partition(".")[2], each.get("boost", 1.0)) for each in found)
        hits = self.engine.search(Query(clauses, min(100, max(1, body.get("size", 10))))) if clauses else []
        rows = [{"_id": hit.item, "_score": hit.score, "fields": {"item": [hit.item]},
                 "_source": {"code": "1", "title": "t", "attributes": {}, "item": hit.item}} for hit in hits]  # fmt: skip
        return {"hits": {"total": {"value": len(rows)}, "hits": rows}, "timed_out": False}


class Damaged(BaseNode):
    """A node that answers out of `Replies`, and damages an answer now and then."""

    replies: Replies
    rng: random.Random
    share = 0.5

    def __init__(self, config: NodeConfig) -> None:
        super().__init__(config)

    def perform_request(  # type: ignore[override]
        self, method: str, target: str, body: Any = None, headers: Any = None, request_timeout: Any = None
    ) -> NodeApiResponse:
        """The answer, damaged or not."""
        value = self.replies.reply(target, body if isinstance(body, bytes) else b"".join(body or []))
        content, status, said = json.dumps(value).encode(), 200, dict(HEADERS)
        if self.rng.random() < self.share:
            content = json_bytes(self.rng, value) if self.rng.random() < 0.85 else mutate_bytes(self.rng, content)
            status = self.rng.choice((200, 200, 200, 200, 400, 404, 429, 500, 503))
            if self.rng.random() < 0.1:
                said["content-type"] = self.rng.choice(("text/html", "application/json; charset=x", "image/png", ""))
        meta = ApiResponseMeta(
            status=status, http_version="1.1", headers=HttpHeaders(said), duration=0.0, node=self.config
        )
        return NodeApiResponse(meta, content)

    def close(self) -> None:
        """Nothing is open."""
