"""A service controlled over HTTP (spec 6). It knows the epoch and its lease, and can therefore watch them itself.

    POST /promote {"epoch", "lease_s"}   starts to own; answers at once
    POST /demote  {"epoch"}              stops to own
    POST /renew   {"epoch", "lease_s"}   the lease was renewed
    POST /restart                        starts afresh and owns nothing until it is promoted
    GET  /status  {"state", "progress", "total", "epoch", "detail"}; state: standby, starting, active, stopping
                  and, if it can tell, {"waiting_s", "also_owned": {what: owner}}; see docs/services.md

A command under a lower epoch than the service has seen is refused with 409. Every answer may carry the status
document.
"""

from __future__ import annotations

import json
import math
import time
from typing import Any, Mapping
from urllib.parse import urlsplit

from ftplugin.core.terms import ServiceState
from ftplugin.core.view import ServiceReading
from workers.adapters.http_client import Answer, HttpClient, HttpFailure

from .common import Common

POLL_S = 0.03
BYTES_MAX = 65_536
DETAIL_CHARS_MAX = 300
WAITING_S_MAX = 86_400.0
ALSO_OWNED_MAX, WORD_CHARS_MAX = 500, 80

_STATES = {
    "standby": ServiceState.STANDBY,
    "starting": ServiceState.STARTING,
    "active": ServiceState.ACTIVE,
    "stopping": ServiceState.STOPPING,
}


class HttpService:
    """ServicePort over the control API above. ``token`` goes out as a bearer token (RFC 6750)."""

    KEYS, REQUIRED = ("url", "token"), ("url",)
    STATUS_LIMIT_S = 1.0  # of one request; starting and stopping have limits of their own

    def __init__(self, common: Common, *, url: str, token: str = "") -> None:
        """Raises ValueError naming the field."""
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"url: must be http://address:port or https://address:port (got {url!r})")
        if not isinstance(token, str) or not token.isprintable():
            raise ValueError("token: must be a line of text")
        self.name, self.status_limit_s = common.name, common.status_limit_s
        self.start_limit_s, self.stop_limit_s = common.start_limit_s, common.stop_limit_s
        self._url = f"{parts.scheme}://{parts.netloc}"
        self._path = parts.path.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = HttpClient()

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        """Ask to own under ``epoch``; what it says at once, "starting" as a rule."""
        return self._call("POST", "/promote", {"epoch": epoch, "lease_s": max(0.0, lease_left_s)})

    def demote(self, epoch: int) -> ServiceReading:
        """Ask to own nothing and wait until it says so, ``stop_limit_s`` seconds at most.

        A command that was lost is sent again: it does no harm twice.
        """
        deadline_s = time.monotonic() + self.stop_limit_s
        reading = ServiceReading(name=self.name, state=ServiceState.UNKNOWN, detail="stop limit reached")
        asked = False
        while (left_s := deadline_s - time.monotonic()) > 0:
            if not asked:
                reading = self._call("POST", "/demote", {"epoch": epoch}, left_s)
                if reading.detail.startswith("refused"):
                    return reading
                asked = reading.state is not ServiceState.UNKNOWN
            else:
                reading = self._call("GET", "/status", None, left_s)
                asked = reading.state is not ServiceState.ACTIVE
            if reading.state in (ServiceState.STANDBY, ServiceState.DEAD):
                break
            time.sleep(max(0.0, min(POLL_S, deadline_s - time.monotonic())))
        return reading

    def status(self) -> ServiceReading:
        return self._call("GET", "/status", None)

    def restart(self, own: bool) -> ServiceReading:
        """It comes back owning nothing, whether it is to own (``own``) or not: promote follows."""
        return self._call("POST", "/restart", {})

    def renew(self, epoch: int, lease_left_s: float, limit_s: float = STATUS_LIMIT_S) -> None:
        """Hand on the renewed lease; a service that does not hear it stops by itself."""
        self._call("POST", "/renew", {"epoch": epoch, "lease_s": max(0.0, lease_left_s)}, limit_s)

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, limit_s: float = float("inf")
    ) -> ServiceReading:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = self._client.ask(
                method,
                self._url,
                self._path + path,
                limit_s=min(limit_s, self.status_limit_s),
                headers=headers,
                body=None if body is None else json.dumps(body).encode(),
                bytes_max=BYTES_MAX,
            )
        except HttpFailure as failure:
            state = ServiceState.DEAD if failure.kind == "refused" else ServiceState.UNKNOWN
            return ServiceReading(name=self.name, state=state, detail=failure.detail)
        if answer.status == 200 and method == "POST" and not _has_state(answer):
            return self._call("GET", "/status", None, limit_s)
        return self._read(answer)

    def _read(self, answer: Answer) -> ServiceReading:
        document = _document(answer)
        detail = str(document.get("detail") or document.get("error") or "")[:DETAIL_CHARS_MAX]
        state = ServiceState.UNKNOWN
        if answer.status != 200:
            word = "refused" if answer.status in (401, 403, 409) else "failed"
            detail = f"{word} with HTTP status {answer.status}" + (f": {detail}" if detail else "")
        elif not _has_state(answer):
            detail = "the answer is no status document"
        else:
            state = _STATES[document["state"]]
        return ServiceReading(
            name=self.name,
            state=state,
            progress=_count(document, "progress"),
            total=_count(document, "total"),
            detail=detail,
            waiting_s=_waiting_s(document) if state is ServiceState.STARTING else None,
            also_owned=_also_owned(document) if state is not ServiceState.UNKNOWN else None,
        )


def _document(answer: Answer) -> dict[str, Any]:
    try:
        value = json.loads(answer.body) if answer.body else {}
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _has_state(answer: Answer) -> bool:
    state = _document(answer).get("state")
    return isinstance(state, str) and state in _STATES


def _count(document: Mapping[str, Any], key: str) -> int:
    value = document.get(key, 0)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _waiting_s(document: Mapping[str, Any]) -> float | None:
    value = document.get("waiting_s")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    return min(max(0.0, float(value)), WAITING_S_MAX)


def _also_owned(document: Mapping[str, Any]) -> tuple[tuple[str, str], ...] | None:
    """(what, owner) of everything that another owns too; None: the service does not say, or not in this form."""
    value = document.get("also_owned")
    if not isinstance(value, dict):
        return None
    found = [(what, owner) for what, owner in value.items() if what and isinstance(owner, str) and owner]
    return tuple((_word(what), _word(owner)) for what, owner in found[:ALSO_OWNED_MAX])


def _word(text: str) -> str:
    """One line for log and page."""
    return "".join(c if c.isprintable() else " " for c in text)[:WORD_CHARS_MAX]
