"""Monitor pages (spec 3, guide 5.2): what balancers and the peer's heartbeat ask. No login, no session, no database.

``/active`` and ``/standby`` are 200 exactly when ``mod=FT`` says that word. ``/live``: the portal answers. ``/ready``
says that this node can do its part: it is not drained, its Redis answers, its agent has ticked within 2 T, and, when the
servers switch on an application error, its health checks are good.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Blueprint, Flask, Request, Response, request
from werkzeug.routing import BaseConverter

from ftplugin import protocol
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing
from ftplugin.extension import Portal, portal
from ftplugin.standing import DRAIN
from ftplugin.health import reading
from ftplugin.state import AGENT, CONTENT, DAILY, agent_age_s, node_state
from ftplugin.store.runtime import Snapshot

from .allowed import barred

MODES = ("NONE", "IPSWS", "FT")
METHODS = ["GET", "HEAD", "OPTIONS"]
QUESTIONS = {mode: f"monitor?mod={mode}" for mode in MODES}
PLAIN_QUERIES = {f"mod={mode}": mode for mode in MODES}  # as balancers ask: parsing costs a tenth of the answer
ASK_ENVIRON = "HTTP_" + protocol.ASK_HEADER.upper().replace("-", "_")
OK, UNAVAILABLE = 200, 503
SERVER_STATE = "HTTP_X_HAPROXY_SERVER_STATE"  # HAProxy's http-check send-state
SERVER_STATE_CHARS_MAX = 100
SWITCH = "switch"
NAME, LEGACY_NAME = "ft_monitor", "ft_monitor_legacy"
LEGACY_PATH = "/ipscfg/admin/monitor.aspx"
Environ = dict[str, Any]
Page = Callable[[Portal, Environ], Response]


class _LegacyPath(BaseConverter):
    """The old address of the monitor in any letter case."""

    regex = f"(?i:{re.escape(LEGACY_PATH[1:])})"
    part_isolating = False


def mount_legacy(app: Flask) -> None:
    """Answer ``/IPSCFG/admin/monitor.aspx`` too (FT_LEGACY_URLS)."""
    app.url_map.converters["ft_legacy_monitor"] = _LegacyPath
    app.add_url_rule(
        "/<ft_legacy_monitor:path>",
        LEGACY_NAME,
        lambda path: answered(monitor),
        methods=METHODS,
        provide_automatic_options=False,
    )


def plain(body: str, status: int = OK) -> Response:
    """A small text answer: every header here is paid for at each heartbeat."""
    return Response(body, status, [("Content-Type", "text/plain"), ("Cache-Control", "no-store")])


def monitor(ft: Portal, environ: Environ) -> Response:
    """``?mod=NONE``, ``IPSWS`` or ``FT``; names and values in any letter case."""
    mode = PLAIN_QUERIES.get(environ.get("QUERY_STRING", "")) or _parsed_mode(environ)
    if mode not in MODES:
        return plain(f"unknown mod: use one of {', '.join(MODES)}\n", 400)
    asked = None
    if ASK_ENVIRON in environ:  # the peer's heartbeat, and no balancer
        ft.probers.flush(ft.clock.now_s())
        asked = read_ask(ft, environ)
    else:
        _note_prober(ft, environ, QUESTIONS[mode], flush=mode != "NONE")
    if asked is None:
        if mode == "FT":
            return plain("ACTIVE" if _is_active(ft) else "STANDBY")
        return plain("OK" if mode == "NONE" else _health_body(ft, ft.runtime.snapshot(reading.DOCUMENTS)))
    designation, _, nonce = asked
    snapshot = answer_snapshot(ft, (AGENT, SWITCH, *reading.DOCUMENTS))
    ft.notice(snapshot.role, snapshot.documents.get(SWITCH))
    if mode == "IPSWS":
        body = _health_body(ft, snapshot)
    else:
        body = "OK" if mode == "NONE" else "ACTIVE" if ft.role.active() else "STANDBY"
    response = plain(body)
    del response.headers["Cache-Control"]
    sign_state(ft, response, designation, nonce, snapshot)
    return response


def _note_prober(ft: Portal, environ: Environ, question: str, *, flush: bool = True) -> None:
    """Who asks (``ftplugin.balancer.probers``). flush False: this question touches no Redis, not even beside the answer."""
    seen_as = environ.get(SERVER_STATE, "")[:SERVER_STATE_CHARS_MAX]
    ft.probers.note(environ.get("REMOTE_ADDR") or "", question, ft.clock.now_s(), seen_as, flush=flush)


def _parsed_mode(environ: Environ) -> str:
    return next((value for name, value in Request(environ).args.items() if name.lower() == "mod"), "").upper()


def read_ask(ft: Portal, environ: Environ) -> tuple[Designation, Designation, str] | None:
    """(own designation, asker, nonce) of a signed question; None when there is none that can be answered.

    A wrong question is counted and logged; it gets the page without the node state.
    """
    header = environ.get(ASK_ENVIRON)
    if header is None:
        return None
    designation = ft.designation()
    if designation is None:
        return None
    try:
        asker, nonce = protocol.read_ask(ft.config.secret_keys, header)
    except protocol.ProtocolError as error:
        ft.refuse(error.cause, f"{error} (from {environ.get('REMOTE_ADDR')})")
        return None
    return designation, asker, nonce


def answer_snapshot(ft: Portal, names: tuple[str, ...]) -> Snapshot:
    """One round trip: keep a new challenge, read what the answer needs and what the node state says beside it."""
    return ft.runtime.snapshot((*names, DAILY, CONTENT), challenge=True)


def sign_state(ft: Portal, response: Response, designation: Designation, nonce: str, snapshot: Snapshot) -> None:
    """Put the signed node state into ``response``; nothing when Redis did not answer."""
    state = node_state(
        snapshot,
        designation=designation,
        settings=ft.settings.cached()[1],
        clock=ft.clock,
        version=ft.version,
    )
    if state is not None:
        response.headers[protocol.STATE_HEADER] = protocol.make_state(
            ft.config.secret_keys, state, nonce, snapshot.challenge
        )


def _health_body(ft: Portal, snapshot: Snapshot) -> str:
    return reading.of(ft, snapshot, ft.settings.cached()[1]).body


def _is_active(ft: Portal) -> bool:
    """``Portal.role.active``; the signals learn what it has read."""
    yes = ft.role.active()
    ft.notice(ft.role.record)
    return yes


def active(ft: Portal, environ: Environ) -> Response:
    _note_prober(ft, environ, "active")
    yes = _is_active(ft)
    return plain("ACTIVE" if yes else "STANDBY", OK if yes else UNAVAILABLE)


def standby(ft: Portal, environ: Environ) -> Response:
    _note_prober(ft, environ, "standby")
    yes = _is_active(ft)
    return plain("ACTIVE" if yes else "STANDBY", UNAVAILABLE if yes else OK)


def live(ft: Portal, environ: Environ) -> Response:
    if environ.get("REMOTE_ADDR") not in ft.config.own_hosts:  # its agent asks too, and is no balancer (P1)
        _note_prober(ft, environ, "live", flush=False)
    return plain("OK")


def ready(ft: Portal, environ: Environ) -> Response:
    _note_prober(ft, environ, "ready")
    reasons = _not_ready(ft)
    return plain("\n".join(reasons) or "OK", UNAVAILABLE if reasons else OK)


def _not_ready(ft: Portal) -> list[str]:
    snapshot = ft.runtime.snapshot((AGENT, DRAIN, *reading.DOCUMENTS))
    if snapshot.role is None:
        return ["the node's Redis did not answer"]
    _, settings = ft.settings.cached()
    now_s = ft.clock.now_s()
    drain = snapshot.documents.get(DRAIN)
    reasons = [f"drained by {drain.get('owner', '')}"] if drain else []
    age_s = agent_age_s(snapshot.documents.get(AGENT), ft.clock.boot_id, now_s)
    if age_s is None or age_s > Timing.of(settings).stale_s:
        reasons.append("the agent has not ticked" + ("" if age_s is None else f" for {age_s:.0f} s"))
    if settings.application_error:
        lines = _health_body(ft, snapshot).splitlines()
        reasons += lines if lines[0] != "IPSWS=OK" else []
    return reasons


PAGES: Mapping[str, Page] = {"monitor": monitor, "active": active, "standby": standby, "live": live, "ready": ready}


def make_blueprint() -> Blueprint:
    """The blueprint ``ft_monitor``."""
    blueprint = Blueprint(NAME, __name__)
    for name, page in PAGES.items():
        view = partial(answered, page)
        blueprint.add_url_rule(f"/{name}", name, view, methods=METHODS, provide_automatic_options=False)
    return blueprint


def answered(page: Page) -> Response:
    """As a view."""
    ft, environ = portal(), request.environ
    return barred(ft, environ) or page(ft, environ)
