"""Questions to a portal: a page as the balancer asks it, and the signed node state as the peer's agent asks it.

``http.client`` rather than ``requests``: no proxy of the environment, the system's trust as the agent uses it. Its
timeout is of one read; the limit of the whole question is kept by ``run.side_by_side``, which leaves a late one behind.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ftplugin import protocol
from ftplugin.core.settings import Address
from ftplugin.core.terms import Designation
from ftplugin.core.view import NodeState
from ftplugin.tls import TlsFiles, problem_within

BYTES_MAX = 4096
FAILURES = (OSError, http.client.HTTPException, ValueError)


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One HTTP answer; header names are lower case. ``wall_s``: own wall clock half-way, ``took_s``: round trip."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    wall_s: float = 0.0
    took_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Heard:
    """What a portal said of its node. Without a ``state``, ``problem`` says why and ``cause`` is one of

    silent (no HTTP answer), status, redirect, unsigned (a key does not fit), unconfigured, unreadable, no state (its
    Redis is silent).
    """

    state: NodeState | None = None
    cause: str = "silent"
    problem: str = "it was not asked"
    page: Page | None = None

    @property
    def skew_s(self) -> float | None:
        """How far its clock is ahead of ours, seconds."""
        return None if self.state is None or self.page is None else self.state.wall_clock_s - self.page.wall_s


def fetch(
    address: Address,
    target: str,
    limit_s: float,
    headers: Mapping[str, str] | None = None,
    tls: TlsFiles | None = None,
) -> Page:
    """GET ``target``; redirects are not followed. tls: for https; None: the system's trust. Raises one of FAILURES."""
    if address.scheme == "https":
        context = (tls or TlsFiles()).context()
        made: http.client.HTTPConnection = http.client.HTTPSConnection(
            address.host, address.port, timeout=limit_s, context=context
        )
    else:
        made = http.client.HTTPConnection(address.host, address.port, timeout=limit_s)
    with contextlib.closing(made) as connection:
        connection.connect()
        started_s, wall_s = time.monotonic(), time.time()
        connection.request("GET", target, headers=dict(headers or {}))
        response = connection.getresponse()
        took_s = time.monotonic() - started_s
        body = response.read(BYTES_MAX).decode("utf-8", "replace")
        found = {name.lower(): value for name, value in response.getheaders()}
    return Page(status=response.status, headers=found, body=body, wall_s=wall_s + took_s / 2, took_s=took_s)


def in_words(error: Exception, limit_s: float) -> str:
    """Why there was no answer."""
    if isinstance(error, TimeoutError):
        return f"no answer within {limit_s:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if problem := problem_within(error, "that server"):
        return problem
    if isinstance(error, http.client.HTTPException):
        return f"the answer is not HTTP ({type(error).__name__})"
    return str(getattr(error, "strerror", None) or error)


def hear(
    keys: Sequence[str],
    me: Designation,
    expected: Designation | None,
    address: Address,
    paths: tuple[str, str],
    limit_s: float,
    tls: TlsFiles | None = None,
) -> Heard:
    """The signed node state of the portal at ``address``. expected: who should answer; None: either server, at the VIP.

    paths: of the monitor and of the node API's state, which says why the monitor sent none.
    """
    nonce = protocol.new_nonce()
    if not keys:
        return Heard(cause="unsigned", problem="this server has no key of the pair yet: run 'ft pair'")
    ask = {protocol.ASK_HEADER: protocol.make_ask(keys, me, nonce)}
    try:
        page = fetch(address, f"{paths[0]}?mod=IPSWS", limit_s, ask, tls)
    except FAILURES as error:
        return Heard(cause="silent", problem=in_words(error, limit_s))
    if page.status != 200:
        cause = "redirect" if 300 <= page.status < 400 else "status"
        to = f" to {page.headers.get('location', '?')}" if cause == "redirect" else ""
        return Heard(cause=cause, problem=f"HTTP status {page.status}{to}", page=page)
    header = page.headers.get(protocol.STATE_HEADER.lower(), "")
    if not header:
        return _why(address, paths[1], limit_s, ask, page, tls)
    try:
        state, _ = protocol.read_state(keys, header, nonce, expected)
    except protocol.ProtocolError as error:
        return Heard(cause=error.cause, problem=str(error), page=page)
    return Heard(state=state, cause="", problem="", page=page)


def _why(
    address: Address, path: str, limit_s: float, ask: Mapping[str, str], monitor: Page, tls: TlsFiles | None
) -> Heard:
    try:
        page = fetch(address, path, limit_s, ask, tls)
        said = json.loads(page.body or "{}")
        cause, text = str(said.get("cause", "")), str(said.get("error", ""))[:200]
    except (*FAILURES, AttributeError):
        cause, text = "", ""
    if cause in ("unsigned", "unconfigured"):
        return Heard(cause=cause, problem=text, page=monitor)
    return Heard(cause="no state", problem="its answer has no signed node state", page=monitor)
