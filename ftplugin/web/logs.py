"""The FT_REPORT files of either server, and the zip for support (guide 6.1.2; "MENU>Support>Zip Logs").

Zipping asks for "operate": it holds more than the pages show, questions both servers and takes a while, so a mere viewer
may not start it; whoever handles a fault at night must be able to, without the right to change settings.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, flash, redirect, request, send_file, url_for
from werkzeug.wrappers import Response as BaseResponse

from ftplugin.extension import SOURCE, portal
from ftplugin.peer_client import PeerClient
from ftplugin.logs.peer import LogWanted, peer_bytes, peer_page
from ftplugin.logs.reader import SEARCH_CHARS_MAX, LogPage, ReportReader
from ftplugin.logs.support_zip import DAYS_MAX, ZipError, make_zip

from .access import Route, actor_name
from .forms import ActionForm
from .i18n import translate as _
from .page import csrf_text, show

SERVERS = ("here", "peer")
SOURCE_CHARS_MAX = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked(LogWanted):
    """What the page was asked for, checked; server: "here" or "peer"."""

    server: str = "here"


class AskedWrong(ValueError):
    """A value that cannot be used; the message names field, value and way out."""


def log() -> Response:
    """One day's log, the matching lines with their numbers, the newest last."""
    try:
        asked = _asked(request.args)
    except AskedWrong as error:
        return _page(Asked(), LogPage(name=""), ReportReader(portal().report).days(), str(error), 400)
    if asked.server == "peer":
        page, days, problem, code = peer_page(PeerClient(portal()), asked)
        return _page(asked, page, days, problem, code)
    reader = ReportReader(portal().report)
    days = reader.days()
    name = asked.day or (days[0] if days else "")
    if not name:
        return _page(asked, LogPage(name=""), days)
    try:
        page = reader.page(name, search=asked.search, source=asked.source, before=asked.before)
    except FileNotFoundError as error:
        return _page(asked, LogPage(name=name), days, str(error), 404)
    except ValueError as error:
        return _page(asked, LogPage(name=""), days, str(error), 400)
    except OSError as error:
        return _page(asked, LogPage(name=name), days, f"{name}: {error.strerror}", 503)
    return _page(asked, page, days)


def _asked(values: Mapping[str, str]) -> Asked:
    server, search, source = (values.get(name, "") for name in ("server", "search", "source"))
    if server not in ("", *SERVERS):
        raise AskedWrong(f"server: must be here or peer (got {server[:40]!r})")
    if len(search) > SEARCH_CHARS_MAX:
        raise AskedWrong(
            f"search: at most {SEARCH_CHARS_MAX} characters (got {len(search)}, {search[:30]!r}…); shorten it"
        )
    if len(source) > SOURCE_CHARS_MAX:
        raise AskedWrong(f"source: at most {SOURCE_CHARS_MAX} characters (got {len(source)}); take one of the list")
    before = values.get("before", "")
    if before and not (before.isascii() and before.isdecimal() and len(before) <= 12 and int(before)):
        raise AskedWrong(f"before: must be a line number from 1 (got {before[:40]!r}); or leave it out")
    return Asked(
        server=server or "here",
        day=values.get("day", ""),
        search=search,
        source=source,
        before=int(before) if before else None,
    )


def _page(asked: Asked, page: LogPage, days: list[str], problem: str = "", code: int = 200) -> Response:
    kept = {"server": asked.server, "search": asked.search or None, "source": asked.source or None}
    at = days.index(page.name) if page.name in days else None
    return show(
        "log.html",
        code,
        asked=asked,
        page=page,
        day=page.name,
        days=days,
        sources=page.sources,
        kept=kept,
        later_day=days[at - 1] if at else "",
        earlier_day=days[at + 1] if at is not None and at + 1 < len(days) else "",
        problem=problem,
    )


def log_file() -> BaseResponse:
    """The raw file of one day."""
    day = request.args.get("day", "")
    try:
        asked = _asked(request.args)
        path = None if asked.server == "peer" else ReportReader(portal().report).path(day)
    except FileNotFoundError as error:
        return _plain(str(error), 404)
    except ValueError as error:
        return _plain(str(error), 400)
    if path is not None:
        return send_file(path, mimetype="text/plain", as_attachment=True, download_name=day, max_age=0)
    parts: Iterator[bytes] = peer_bytes(portal(), day)
    try:
        first = next(parts, b"")
    except FileNotFoundError as error:
        return _plain(str(error), 404)
    except OSError as error:
        return _plain(str(error), 502)

    def rest() -> Iterator[bytes]:
        yield first
        try:
            yield from parts
        except OSError as error:
            yield f"\n[the rest is missing: {error}]\n".encode()

    name = "".join(c for c in day if c.isalnum() or c in "_.")[:40]
    return Response(
        rest(), mimetype="text/plain", headers={"Content-Disposition": f'attachment; filename="peer_{name}"'}
    )


def _plain(text: str, code: int) -> Response:
    return Response(text + "\n", status=code, content_type="text/plain; charset=utf-8")


def zip_logs() -> Any:
    """Everything that support needs, as one file, without secrets."""
    ft, form = portal(), ActionForm()
    if not form.validate_on_submit():
        flash(csrf_text(form), "ft-error")
        return redirect(url_for(".log"))
    text = request.form.get("days", "")
    if not (text.isascii() and text.isdecimal() and len(text) <= 3 and 1 <= int(text) <= DAYS_MAX):
        problem = _(
            "days: must be a whole number from 1 to %(most)s, not %(value)s", most=DAYS_MAX, value=repr(text[:40])
        )
        flash(problem, "ft-error")
        return redirect(url_for(".log"))
    ft.report.line(SOURCE, f"logs zipped for support by {actor_name()}")
    try:
        file = make_zip(ft, days=int(text), peer=request.form.get("peer") == "1")
    except ZipError as error:
        flash(_("The zip could not be made: %(why)s", why=str(error)), "ft-error")
        return redirect(url_for(".log"))
    name = f"ft-logs-{ft.designation() or 'server'}-{datetime.datetime.now():%y%m%d-%H%M}.zip"
    return send_file(file, mimetype="application/zip", as_attachment=True, download_name=name, max_age=0)


ROUTES = (
    Route("/log", "log", "view", log),
    Route("/log/file", "log_file", "view", log_file),
    Route("/log/zip", "zip_logs", "operate", zip_logs, ("POST",)),
)
