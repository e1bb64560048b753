"""What a visitor gets when a request must run on the active server and cannot: 503 with Retry-After, and why."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape  # nosec B406 # writes XML, reads none

from flask import Response, current_app, make_response, render_template, request, url_for

from ftplugin.said import Said

from .hop import target_of

if TYPE_CHECKING:
    from ftplugin.extension import Portal

PHONE = "phone"
RETRY_S_MIN, RETRY_S_MAX = 1, 60
PHONE_TITLE = Said("Not available now")


def unavailable(ft: Portal, why: Said, by: str, status: int = 503) -> Response:
    """A page, plain text for programs, or XML for phones (``by``). ``why`` is shown, so it names no address.

    Needs a request context. Retry-After is about one heartbeat interval: that is when this server knows more.
    """
    from ftplugin.web.i18n import language, translate

    retry_s = min(RETRY_S_MAX, max(RETRY_S_MIN, math.ceil(ft.settings.cached()[1].interval_s)))
    if by == PHONE:
        title, text = escape(translate(PHONE_TITLE)), escape(translate(why))
        body = f"<CiscoIPPhoneText><Title>{title}</Title><Text>{text}</Text></CiscoIPPhoneText>"
        response = Response(body, content_type="text/xml; charset=utf-8")
    elif request.accept_mimetypes.best_match(["text/plain", "text/html"], "text/plain") == "text/html":
        again = request.script_root + target_of(request.environ) if request.method in ("GET", "HEAD") else ""
        shown = {"why": translate(why), "retry_s": retry_s, "again": again, "sheet": _sheet()}
        page = render_template("ftplugin/not_available.html", language=language(), _=translate, **shown)
        response = make_response(page)
    else:
        response = Response(f"{translate(why)}\n", content_type="text/plain; charset=utf-8")
    response.status_code = status
    response.headers["Retry-After"] = str(retry_s)
    response.headers["Cache-Control"] = "no-store"
    return response


def _sheet() -> str:
    """URL of the style sheet of the admin pages, wherever the portal has nested them; "" when they are not registered."""
    found = (name for name in current_app.view_functions if f".{name}".endswith(".ft_admin.static"))
    return next((url_for(name, filename="ft.css") for name in found), "")
