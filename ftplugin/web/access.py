"""Who may see or do what on the admin pages, under which name, and the headers of every page (design 5).

Three permissions: "view" to see pages and logs, "operate" for switches, pause and drain, "configure" to change settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Response, abort, current_app, g, make_response, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from ftplugin.extension import Portal, portal

from .i18n import N_, translate

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
View = Callable[..., Any]
SENT_FROM = "Sec-Fetch-Site"  # what a browser says of a request, and no page can change
ELSEWHERE = ("cross-site", "same-site")
REFUSALS = {
    "view": N_("You may not look at the Hot Standby pages."),
    "operate": N_("You may not switch, pause or drain servers."),
    "configure": N_("You may not change the Hot Standby settings."),
}


@dataclass(frozen=True, slots=True)
class Route:
    """One URL of the admin blueprint: path below ``<prefix>/admin``, name of the endpoint, permission, view, methods."""

    path: str
    name: str
    permission: str
    view: View
    methods: tuple[str, ...] = ("GET",)


def guarded(permission: str, view: View) -> View:
    """``view`` for those who have ``permission``; the result names it as ``ft_permission``, for tests and templates."""

    @wraps(view)
    def inner(*args: Any, **values: Any) -> Any:
        answer = allowed(portal(), permission)
        if answer is not True:
            return answer
        if request.method != "GET" and request.headers.get(SENT_FROM) in ELSEWHERE:  # whatever its token says
            abort(403, translate("This form was sent by another site. Nothing was done."))
        if not current_app.secret_key:
            current_app.logger.error("ftplugin: the admin page needs SECRET_KEY in the portal's configuration")
            abort(500)
        return view(*args, **values)

    setattr(inner, "ft_permission", permission)
    return inner


def allowed(ft: Portal, permission: str) -> Any:
    """True, or the response to send instead of the page. Raises Forbidden (403)."""
    answer = _asked(ft, permission)
    if answer is True:
        return True
    if isinstance(answer, (BaseResponse, tuple, str)):
        return make_response(answer)
    manager = getattr(current_app, "login_manager", None)
    if manager is not None and not _user_known():
        return make_response(manager.unauthorized())
    if manager is None and ft.authorize is None:
        current_app.logger.warning(
            "ftplugin: the admin page lets nobody in: give FaultTolerance(app, authorize=...) or set up Flask-Login"
        )
    elif answer:
        current_app.logger.warning(
            "ftplugin: authorize(%r) returned %s; only True lets in", permission, type(answer).__name__
        )
    abort(403, translate(REFUSALS[permission]))


def may(permission: str) -> bool:
    """For templates: has the user this permission? Asked once in a request; a button that is hidden is guarded too."""
    known: dict[str, bool] = g.setdefault("ft_may", {})
    if permission not in known:
        try:
            known[permission] = _asked(portal(), permission) is True
        except HTTPException:  # a portal's own check that refuses by abort()
            known[permission] = False
    return known[permission]


def _asked(ft: Portal, permission: str) -> Any:
    if ft.authorize is not None:
        return ft.authorize(permission)
    return getattr(current_app, "login_manager", None) is not None and _user_known()


def _user_known() -> bool:
    from flask_login import current_user

    return bool(current_user.is_authenticated)


def actor_name() -> str:
    """Who is at the page; never empty, since an empty actor means an automatic switch."""
    named = portal().actor
    if named is not None and (name := str(named()).strip()):
        return name[:100]
    if getattr(current_app, "login_manager", None) is not None and _user_known():
        from flask_login import current_user

        return str(current_user.get_id())[:100]
    if request.remote_user:
        return request.remote_user[:100]
    if request.authorization and request.authorization.username:  # the portal may not have checked it: not alone
        return f"{request.authorization.username[:60]} (HTTP log-in from {request.remote_addr})"
    return f"administrator at {request.remote_addr}"


def protect(response: Response) -> Response:
    """Headers of every page. A portal that sets its own in ``after_request`` wins: its functions run after these."""
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if not (request.endpoint or "").endswith("ft_admin.static"):
        response.headers["Cache-Control"] = "no-store"
    return response
