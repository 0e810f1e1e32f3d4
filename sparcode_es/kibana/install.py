"""Putting saved objects into Kibana through its public import API, `POST /api/saved_objects/_import`.

`overwrite=true` replaces objects of the same type and id only, and ours are ids that nobody else makes (`objects.object_id`).
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sparcode_es.engines.elasticsearch.connection import ConnectionConfig, api_error, sound_options, translate_errors
from sparcode_es.errors import ConfigError, EngineError
from sparcode_es.kibana.objects import DASHBOARD, VERSIONS, SavedObject, ndjson

if TYPE_CHECKING:
    from elastic_transport import Urllib3HttpNode

PORT = 5601
"""Of an http:// URL that names none."""
HEADERS = {"kbn-xsrf": "sparcode-es", "accept": "application/json"}
"""Kibana refuses a POST without the first, whatever its value."""
TLS = ("verify_certs", "ca_certs", "ssl_assert_fingerprint", "ssl_show_warn")


@dataclass(frozen=True)
class Imported:
    """What an import did."""

    objects: int
    dashboard: str
    """URL of the dashboard."""


class Kibana:
    """One Kibana, or one space of it when the URL's path says so (`…/s/NAME`). Errors are ours, and show no secret."""

    def __init__(self, config: ConnectionConfig) -> None:
        self.where = config.where.rstrip("/")
        self._node = _connect(config)

    def version(self) -> str:
        """The shape of saved objects that this Kibana reads, one of `VERSIONS`."""
        status = self._call("GET", "/api/status", b"", {})
        told = status.get("version")
        number = str(told.get("number")) if isinstance(told, Mapping) else ""
        numbers = re.match(r"(\d+)\.(\d+)", number)
        if numbers is None:
            raise EngineError(f"{self.where} does not say which Kibana it is; give --kibana-version.")
        major, minor = (int(part) for part in numbers.groups())
        if (major, minor) < (7, 17):
            raise ConfigError(f"{self.where} is Kibana {number}; the dashboard needs 7.17 or later.")
        return "7.17" if major == 7 else str(min(major, int(VERSIONS[-1])))

    def install(self, objects: Sequence[SavedObject]) -> Imported:
        """Import `objects`, over older ones of the same ids. Raises `EngineError` unless Kibana took every one."""
        boundary = secrets.token_hex(16)
        body = _multipart(ndjson(list(objects)), boundary)
        kind = {"content-type": f"multipart/form-data; boundary={boundary}"}
        answer = self._call("POST", "/api/saved_objects/_import?overwrite=true", body, kind)
        if not isinstance(answer.get("success"), bool):
            raise EngineError(f"{self.where} answered an import with something else; is it Kibana?")
        errors = answer.get("errors") or []
        if errors or not answer["success"]:
            raise EngineError(_refusal(self.where, answer.get("successCount", 0), len(objects), errors))
        return Imported(len(objects), f"{self.where}/app/dashboards#/view/{_dashboard_id(objects, answer)}")

    def close(self) -> None:
        """Close the connections."""
        self._node.close()

    def _call(self, method: str, target: str, body: bytes, headers: Mapping[str, str]) -> dict[str, Any]:
        from elastic_transport import HttpHeaders

        with translate_errors(self.where):
            answer = self._node.perform_request(method, target, body, HttpHeaders({**HEADERS, **headers}))
        try:
            found = json.loads(answer.body)
        except ValueError:
            found = None
        if answer.meta.status != 200:
            message = found.get("message") if isinstance(found, Mapping) else None
            raise api_error(self.where, answer.meta.status, {"error": message or "no reason given; is it Kibana?"})
        if not isinstance(found, dict):
            raise EngineError(f"{self.where} answered something that is not JSON; is it Kibana?")
        return found


def _connect(config: ConnectionConfig) -> Urllib3HttpNode:
    from elastic_transport import HttpHeaders, Urllib3HttpNode
    from elastic_transport.client_utils import basic_auth_to_header, url_to_node_config

    options = config.client_options()
    base = url_to_node_config(options["hosts"][0])
    headers = HttpHeaders()
    if "basic_auth" in options:
        headers["authorization"] = basic_auth_to_header(options["basic_auth"])
    if "api_key" in options:
        headers["authorization"] = f"ApiKey {options['api_key']}"
    tls = {key: options[key] for key in TLS if key in options}
    with sound_options(config):
        return Urllib3HttpNode(replace(base, headers=headers, request_timeout=config.timeout, **tls))


def _multipart(content: bytes, boundary: str) -> bytes:
    """One form field, `file`; Kibana asks for a name that ends in .ndjson."""
    head = (
        f'--{boundary}\r\ncontent-disposition: form-data; name="file"; filename="sparcode.ndjson"\r\n'
        "content-type: application/x-ndjson\r\n\r\n"
    )
    return head.encode() + content + f"\r\n--{boundary}--\r\n".encode()


def _refusal(where: str, taken: Any, wanted: int, errors: Sequence[Any]) -> str:
    """What Kibana did not take, in a sentence: the first of it, and how many others."""
    if not errors:
        return f"{where} took {taken} of {wanted} objects and does not say why not the rest."
    first = errors[0]
    error = first.get("error") or {}
    title = first.get("title") or (first.get("meta") or {}).get("title") or first.get("id")
    missing = ", ".join(f"{each.get('type')} {each.get('id')}" for each in error.get("references") or [])
    reason = " ".join(str(part) for part in (error.get("type"), error.get("message") or missing) if part)
    others = f", and {len(errors) - 1} more" if len(errors) > 1 else ""
    return f"{where} took {taken} of {wanted} objects; it refused the {first.get('type')} {title!r} ({reason[:300]}){others}."


def _dashboard_id(objects: Sequence[SavedObject], answer: Mapping[str, Any]) -> str:
    """The last dashboard's id there: a space may give an object another (`destinationId`)."""
    ours = str([each["id"] for each in objects if each["type"] == DASHBOARD][-1])
    for each in answer.get("successResults") or []:
        if (each.get("type"), each.get("id")) == (DASHBOARD, ours):
            return str(each.get("destinationId") or ours)
    return ours
