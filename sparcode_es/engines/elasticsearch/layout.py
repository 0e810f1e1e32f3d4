"""Names and metadata of generations: alias NAME → NAME-<time>-<hash>, and the companions of the same time and hash, alias
NAME-users → NAME-users-… (users' codes) and alias NAME-codes → NAME-codes-… (a profile a code)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any
from urllib.parse import quote

from sparcode_es.engines.elasticsearch.connection import Server, understood
from sparcode_es.engines.plans import Call, Plan
from sparcode_es.errors import ConfigError, EngineError, NotFoundError

SCHEMA_VERSION = 1
STAMP = "%Y%m%d%H%M%S"
SUFFIX = re.compile(r"[1-9]\d{3}(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])([01]\d|2[0-3])([0-5]\d){2}-[0-9a-f]{12}")
NAME = re.compile(r"[a-z0-9][a-z0-9_.\-]{0,180}")
COMPANIONS = {
    "-users": "users' companion",
    "-codes": "codes index",
    "-queries": "query log",
    "-generations": "list of generations",
}
"""What the names beside an alias end in."""
LOADING, LOADED, READY = "loading", "loaded", "ready"
"""States of a generation, in its metadata: uploaded to, all uploaded but not yet live, live now or once."""
OURS = {"model_hash", "artifact"}
"""By what the metadata of a generation are told from another's."""
WITHDRAWN = "withdrawn"
"""In the metadata of a generation that a rollback left behind: true."""


def check_name(name: str) -> str:
    """`name` when it can be an alias, else `ConfigError`."""
    if NAME.fullmatch(name) is None:
        raise ConfigError(f"{name!r} cannot name an index: use lower-case letters, digits, '-', '_' and '.'")
    for ending, what in COMPANIONS.items():
        if name.endswith(ending):
            other = name.removesuffix(ending)
            raise ConfigError(f"{name!r} would be the {what} of {other!r}; choose a name without {ending!r}")
    return name


def born(suffix: str) -> datetime:
    """When a generation was begun, by its suffix (UTC)."""
    first = datetime.strptime(suffix[:6], "%Y%m").replace(tzinfo=timezone.utc)
    day, hours, minutes, seconds = (int(part) for part in re.findall(r"\d\d", suffix[6:14]))
    return first + timedelta(days=day - 1, hours=hours, minutes=minutes, seconds=seconds)


def users_name(name: str) -> str:
    """The alias of the users' companion index."""
    return f"{name}-users"


def codes_name(name: str) -> str:
    """The alias of the codes index."""
    return f"{name}-codes"


def queries_name(name: str) -> str:
    """The query log of an alias: a data stream, or an alias where there are none: see `query_log`."""
    return f"{name}-queries"


def chronicle_name(name: str) -> str:
    """The index that lists the generations of an alias, removed ones too: see `chronicle`."""
    return f"{name}-generations"


def state_of(meta: dict[str, Any]) -> str:
    """loading, loaded, ready, updating or withdrawn, by a generation's metadata; unfinished where there is none."""
    if meta.get("update"):
        return "updating"
    return WITHDRAWN if meta.get(WITHDRAWN) else str(meta.get("state", "unfinished"))


def aliases_of(name: str) -> tuple[str, str, str]:
    """The aliases of a generation: items, users, codes."""
    return name, users_name(name), codes_name(name)


@dataclass(frozen=True)
class Indices:
    """Where items, users' codes and codes are asked for: the aliases, or the indices of one generation."""

    items: str
    users: str
    codes: str

    @classmethod
    def of(cls, name: str, suffix: str | None = None) -> Indices:
        """Of the alias `name`, or of its generation `suffix`. Raises `ConfigError`."""
        check_name(name)
        return cls(*aliases_of(name) if suffix is None else (f"{alias}-{suffix}" for alias in aliases_of(name)))


def path_of(*parts: str) -> str:
    """A request's path from parts that may hold any character."""
    return "/" + "/".join(quote(part, safe="_-*,.") for part in parts)


def generations(server: Server, name: str) -> dict[str, dict[str, Any]]:
    """Every generation of an alias, loading ones too: suffix → the items index's `_meta` ({} when only companions exist)."""
    params = {"filter_path": "*.mappings._meta", "expand_wildcards": "open,closed"}
    answer = server.call("GET", path_of(f"{name}-*", "_mapping"), params={**params, "ignore_unavailable": "true"})
    listed = server.call("GET", path_of(f"{name}-*", "_settings"), params={"filter_path": "*.settings.index.uuid"})
    found: dict[str, dict[str, Any]] = {}
    with understood(server.where):
        for index in dict(listed or {}):
            for prefix in (f"{alias}-" for alias in aliases_of(name)):
                suffix = index.removeprefix(prefix)
                if index.startswith(prefix) and SUFFIX.fullmatch(suffix):
                    meta = (answer or {}).get(index, {}).get("mappings", {}).get("_meta", {})
                    if prefix == f"{name}-":
                        found[suffix] = dict(meta)
                    else:
                        found.setdefault(suffix, {})
    return dict(sorted(found.items()))


def has_codes(server: Server, name: str, suffix: str) -> bool:
    """Whether a generation's codes index is there: answers do without it, so it may have been deleted by hand."""
    try:
        server.call("GET", path_of(f"{codes_name(name)}-{suffix}", "_alias"))
    except NotFoundError:
        return False
    return True


def require_codes(server: Server, name: str, suffix: str) -> None:
    """Raise `EngineError` for a generation whose codes index was deleted."""
    if not has_codes(server, name, suffix):
        raise without_codes(server, f"{name}-{suffix}")


def without_codes(server: Server, generation: str) -> EngineError:
    """What is said of a generation whose codes nobody can ask for."""
    return EngineError(
        f"{server.where} has no codes index of {generation}: it was deleted, or its alias was; load it again with "
        "`sparcode-es index`."
    )


def live_generation(server: Server, name: str) -> str | None:
    """The suffix that the alias answers from, None when there is no alias. Raises when `name` is an index."""
    try:
        answer = server.call("GET", path_of(name, "_alias"))
    except NotFoundError:
        return None
    if not isinstance(answer, dict):
        raise EngineError(f"{server.where} answered with something of another kind; is it Elasticsearch?")
    if name in answer:
        raise EngineError(f"{name} is an index, not an alias; choose another --index, or delete that index yourself.")
    if len(answer) != 1:
        raise EngineError(f"the alias {name} stands for {len(answer)} indices ({', '.join(sorted(answer))}), not one.")
    index = str(next(iter(answer)))
    suffix = index.removeprefix(f"{name}-")
    if SUFFIX.fullmatch(suffix) is None:
        raise EngineError(f"the alias {name} stands for {index}, which `sparcode-es index` did not make.")
    return suffix


def read_meta(server: Server, name: str) -> dict[str, Any]:
    """The metadata of the live generation, with `generation` and `field_type` checked against the mapping."""
    return server.run(meta_plan(server.where, name))


def meta_of(server: Server, items: str) -> dict[str, Any]:
    """The metadata of a generation as they are, by the name of its items index; {} where there are none."""
    mapping = server.call("GET", path_of(items, "_mapping"))[items]["mappings"]
    return dict(mapping.get("_meta", {}))


def write_meta(server: Server, items: str, meta: dict[str, Any]) -> None:
    """Replace the metadata of a generation, by the name of its items index."""
    server.call("PUT", path_of(items, "_mapping"), {"_meta": meta})


def meta_plan(where: str, name: str, generation: str | None = None) -> Plan[dict[str, Any]]:
    """`read_meta`, of the live generation or of one by the name of its items index."""
    hint = "`sparcode-es index` makes one, --index names another"
    try:
        answer = yield Call("GET", path_of(generation or name, "_mapping"))
    except NotFoundError as error:
        raise NotFoundError(f"{where} has no index alias {generation or name}; {hint}.") from error
    with understood(where):
        return _checked_meta(answer, where, name, hint)


def _checked_meta(answer: Any, where: str, name: str, hint: str) -> dict[str, Any]:
    """The metadata out of a mapping's answer, checked against the mapping."""
    if not isinstance(answer, dict):
        raise TypeError("it is no JSON object")
    if name in answer:
        raise EngineError(f"{name} on {where} is an index, not an alias that `sparcode-es index` made; {hint}.")
    if len(answer) != 1:
        raise EngineError(f"the alias {name} stands for {len(answer)} indices, not one; {hint}.")
    index, body = next(iter(answer.items()))
    index.encode()  # a name that no request can hold again
    mapping = body.get("mappings", {})
    meta: dict[str, Any] | None = mapping.get("_meta")
    if not meta or not meta.keys() >= OURS:
        raise EngineError(f"{index} was not made by `sparcode-es index`: its mapping has no metadata of ours; {hint}.")
    if meta.get("schema_version") != SCHEMA_VERSION:
        raise EngineError(
            f"{index} has schema version {meta.get('schema_version')}, this release reads 1; index again."
        )
    kind = mapping.get("properties", {}).get("codes", {}).get("type")
    if kind != meta.get("field_type"):
        raise EngineError(f"the field `codes` of {index} is {kind}, not {meta.get('field_type')}; index again.")
    return {**meta, "generation": index}
