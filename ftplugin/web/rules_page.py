"""The whole rule table in the core's own words; the row that holds now is marked."""

from __future__ import annotations

from typing import Any

from flask import Response

from ftplugin.core.forced import M2
from ftplugin.core.rulebook import holds_now, rows
from ftplugin.core.terms import Designation
from ftplugin.extension import Portal, portal
from ftplugin.status import status_of

from .access import Route
from .page import show


def rules() -> Response:
    """The page."""
    ft = portal()
    status = status_of(ft)
    return show("rules.html", status=status, tables=tables(ft, status), forced=M2)


def tables(ft: Portal, status: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """(role, its rows), for page and command line. ``status``: of ``status_of``; old data marks no row."""
    me = Designation(status["designation"] or Designation.SERVER1)
    here = next((server for server in status["servers"] if server["here"]), None)
    why = {} if here is None or status["problem"] else here["why"]
    found: dict[str, list[dict[str, Any]]] = {}
    for row in (r.to_json() for r in rows(ft.settings.current()[1], me)):
        held = bool(why) and holds_now(row, why["role"], why["diagnosis"], why["rule"], why["row"])
        found.setdefault(row["role"], []).append({**row, "now": held})
    return list(found.items())


ROUTES = (Route("/rules", "rules", "view", rules),)
