"""History: switches and incidents of both servers, one of them in full, and their export."""

from __future__ import annotations

import datetime
import io
import json
from typing import Any

from flask import Response, request
from sqlalchemy.exc import SQLAlchemyError

from ftplugin.extension import portal
from ftplugin.history import export
from ftplugin.history.story import Incident
from ftplugin.history.merge import merged_lines
from ftplugin.history.query import PER_PAGE, Query, QueryError, id_of, moment_of, query_of
from ftplugin.history.source import Found, find, read
from ftplugin.peer_client import PeerClient
from ftplugin.store.database import DatabaseUnreachable

from .access import Route
from .i18n import N_
from .i18n import translate as _
from .page import clock, show

KINDS = {
    "failover": N_("Failover"),
    "switchover": N_("Switchover"),
    "forced takeover": N_("Forced takeover"),
    "failback": N_("Failback"),
    "vip switch": N_("Followed the VIP"),
    "start": N_("Start"),
    "demotion": N_("Demotion"),
    "split": N_("Split-brain healed"),
    "switch": N_("Switch"),
    "lease lost": N_("Lease lost"),
    "freeze": N_("Freeze"),
    "clock step": N_("Clock step"),
    "clock skew": N_("Clocks far apart"),
    "clock skew over": N_("Clocks far apart: over"),
    "two owners": N_("Two owners"),
    "two owners over": N_("Two owners: over"),
}
OUTCOMES = {
    "done": N_("done"),
    "failed": N_("failed"),
    "aborted": N_("given up"),
    "refused": N_("refused"),
    "undone": N_("interrupted and undone"),
    "running": N_("running"),
    "noted": N_("noted"),
}
WHYS = (  # of figures that are not known; written by the pure part
    N_("no server was active before, as far as the records go"),
    N_("a record of when a server began or ended being active is missing"),
    N_("the other server's records could not be read"),
    N_("a clock made a step in this time"),
    N_("the offset of the two clocks is not known for this time"),
    N_("a server was down before it could record the end of its active time"),
    N_("no switch"),
)
FAILURES = (DatabaseUnreachable, SQLAlchemyError)


def history() -> Response:
    """The list: newest first, a page at a time."""
    today = datetime.date.today()
    try:
        query = query_of(request.args, today)
    except QueryError as error:
        return show("history.html", 400, query=query_of({}, today), problem=str(error), **_words())
    try:
        found = read(portal(), query.since_s, query.until_s, PeerClient(portal()))
    except FAILURES:
        return show("history.html", 503, query=query, problem=_unreadable(), **_words())
    wanted = query.wanted(found)
    pages = max(1, -(-len(wanted) // PER_PAGE))
    if query.page > pages:
        problem = _(
            "page: there are only %(pages)s pages (got %(page)s); go back to the first", pages=pages, page=query.page
        )
        return show("history.html", 404, query=query, problem=problem, **_words())
    shown = wanted[(query.page - 1) * PER_PAGE : query.page * PER_PAGE]
    return show(
        "history.html",
        query=query,
        found=found,
        incidents=shown,
        count=len(wanted),
        pages=pages,
        kept=_kept(query),
        problem="",
        **_words(),
    )


def history_json() -> Response:
    """What the list shows, all pages of it, as JSON."""
    return _exported("json")


def history_csv() -> Response:
    """The same as CSV."""
    return _exported("csv")


def incident(incident_id: str) -> Response:
    """One incident with both servers' steps and log lines."""
    try:
        wanted, at_s = id_of(incident_id), moment_of(request.args.get("at", ""))
        one, found, client = _one(wanted, at_s)
    except QueryError as error:
        return show("switch_detail.html", 400, incident=None, problem=str(error), found=None, **_words())
    except FAILURES:
        return show("switch_detail.html", 503, incident=None, problem=_unreadable(), found=None, **_words())
    if one is None:
        problem = _("id: no incident %(id)s is known to this server; take it from the list", id=wanted)
        return show("switch_detail.html", 404, incident=None, problem=problem, found=found, **_words())
    merged = merged_lines(portal(), one, None if found.missing else client)
    return show("switch_detail.html", incident=one, found=found, merged=merged, problem="", **_words())


def incident_json(incident_id: str) -> Response:
    """One incident as JSON."""
    try:
        one, found, _client = _one(id_of(incident_id), moment_of(request.args.get("at", "")))
    except QueryError as error:
        return _plain(str(error), 400)
    except FAILURES:
        return _plain(_unreadable(), 503)
    if one is None:
        return _plain(_("id: no incident %(id)s is known to this server; take it from the list", id=incident_id), 404)
    text = json.dumps({"schema": export.SCHEMA, **export.document(one)}, indent=1, default=str)
    return _download(text, "application/json", f"incident-{datetime.date.today()}.json")


def _one(incident_id: str, at_s: float | None) -> tuple[Incident | None, Found, PeerClient]:
    client = PeerClient(portal())  # one limit for all of its questions
    one, found = find(portal(), incident_id, client, at_s)
    return one, found, client


def _exported(form: str) -> Response:
    try:
        query = query_of(request.args, datetime.date.today())
        found = read(portal(), query.since_s, query.until_s, PeerClient(portal()))
    except QueryError as error:
        return _plain(str(error), 400)
    except FAILURES:
        return _plain(_unreadable(), 503)
    incidents = query.wanted(found)
    name = f"history-{query.since}-to-{query.until}.{form}"
    if form == "json":
        return _download(json.dumps(export.listing(incidents, found), indent=1, default=str), "application/json", name)
    out = io.StringIO(newline="")
    export.write_csv(incidents, out)
    return _download(out.getvalue(), "text/csv; charset=utf-8", name)


def _download(text: str, kind: str, name: str) -> Response:
    return Response(text, content_type=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _plain(text: str, code: int) -> Response:
    return Response(text + "\n", status=code, content_type="text/plain; charset=utf-8")


def _unreadable() -> str:
    if portal().designation() is None:
        return _("There is no history before this server knows which one it is: enter both addresses in the settings.")
    return _("The history cannot be read: the database of this server did not answer. Try again in a minute.")


def _kept(query: Query) -> dict[str, Any]:
    """The filters for a link, without the page."""
    kept: dict[str, Any] = {"from": str(query.since), "to": str(query.until)}
    return kept | {name: "1" for name in ("failed", "automatic") if getattr(query, name)}


def _words() -> dict[str, Any]:
    return {
        "kinds": KINDS,
        "outcomes": OUTCOMES,
        "evidence_text": export.evidence_text,
        "promoted": export.promoted,
        "exact": _exact,
        "day": lambda moment_s: clock(moment_s)[:10],
    }


def _exact(moment_s: float | None) -> str:
    """Local time with milliseconds."""
    if moment_s is None:
        return ""
    return f"{clock(moment_s)}.{int(moment_s % 1 * 1000):03d}"


ROUTES = (
    Route("/history", "history", "view", history),
    Route("/history.json", "history_json", "view", history_json),
    Route("/history.csv", "history_csv", "view", history_csv),
    Route("/history/<incident_id>", "incident", "view", incident),
    Route("/history/<incident_id>/json", "incident_json", "view", incident_json),
)
