"""The FT_REPORT files (guide 6.1.2)."""

from __future__ import annotations

from flask import Response, abort, request

from ftplugin.extension import portal

from .access import Route
from .page import show


def log() -> Response:
    """One day's log."""
    ft = portal()
    days = ft.report.days()
    day = request.args.get("day") or (days[0] if days else "")
    try:
        text = ft.report.read(day) if day else ""
    except ValueError:
        abort(400, "day must be the name of a log file, as FT_REPORT_250131.txt")
    except OSError:
        abort(404)
    return show("log.html", days=days, day=day, text=text)


ROUTES = (Route("/log", "log", "view", log),)
