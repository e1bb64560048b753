"""The first page: both servers, live, and why they are what they are."""

from __future__ import annotations

from flask import Response

from ftplugin.extension import portal
from ftplugin.status import status_of

from .access import Route
from .page import show

REFRESH_MS = 2000


def index() -> Response:
    """The page."""
    return show("overview.html", status=status_of(portal()), refresh_ms=REFRESH_MS)


def status() -> Response:
    """The part of the page that refreshes itself."""
    return show("_status.html", status=status_of(portal()))


ROUTES = (
    Route("/", "index", "view", index),
    Route("/status", "status", "view", status),
)
