"""The first page: both servers, live, and why they are what they are. Reads the store only, never the network."""

from __future__ import annotations

import gzip
from typing import Any

from flask import Response, request

from ftplugin.core.settings import SettingsError, parse_address
from ftplugin.extension import portal
from ftplugin.status import look, status_of

from .access import Route
from .i18n import translate as _
from .page import show

REFRESH_MS = 2000
GZIP_LEVEL = 6
MARK = "X-FT-Status"  # on what is a status; a portal's log-in page has it not, whatever its status code


def index() -> Response:
    """The page."""
    return show("overview.html", refresh_ms=REFRESH_MS, **_values())


def status() -> Response:
    """The part of the page that refreshes itself; compressed, so that it stays below 5 kB on the wire."""
    response = show("_status.html", **_values())
    response.headers[MARK] = "1"
    response.vary.add("Accept-Encoding")
    if request.accept_encodings.quality("gzip"):
        response.set_data(gzip.compress(response.get_data(), GZIP_LEVEL))
        response.headers["Content-Encoding"] = "gzip"
    return response


def _values() -> dict[str, Any]:
    ft = portal()
    found = status_of(ft)
    look(ft, found)
    return {"status": found, "through": _through(found)}


def _through(status: dict[str, Any]) -> dict[str, str]:
    """Who answers, and the VIP if the page was asked for there (guide 4.6): behind it nobody else tells them apart."""
    me = next((server for server in status["servers"] if server["here"]), None)
    server = _("This server")
    if me is not None:
        server = _("%(label)s (%(address)s)", label=me["label"], address=me["address"])
    return {"server": server, "vip": status["vip_address"] if _is_asked(status["vip_address"]) else ""}


def _is_asked(vip_address: str) -> bool:
    """Whether the browser's address is the VIP's. A balancer that writes another ``Host`` hides it."""
    try:
        vip, asked = parse_address("vip_address", vip_address), parse_address("Host", request.host)
    except SettingsError:
        return False  # no VIP, or asked for by a name
    return vip.host == asked.host


ROUTES = (
    Route("/", "index", "view", index),
    Route("/status", "status", "view", status),
)
