"""Who may see or do what on the admin pages, under which name, and the headers of every page (design 5).

Three permissions: "view" to see pages and logs, "operate" for switches, pause and drain, "configure" to change settings.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Response, abort, current_app, make_response, request
from werkzeug.wrappers import Response as BaseResponse

from ftplugin.extension import Portal, portal

POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
View = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Route:
    """One URL of the admin blueprint: path below ``<prefix>/admin``, name of the endpoint, permission, view, methods."""

    path: str
    name: str
    permission: str
    view: View
    methods: tuple[str, ...] = ("GET",)


def guarded(permission: str, view: View) -> View:
    @wraps(view)
    def inner(*args: Any, **values: Any) -> Any:
        answer = allowed(portal(), permission)
        if answer is not True:
            return answer
        if not current_app.secret_key:
            current_app.logger.error("ftplugin: the admin page needs SECRET_KEY in the portal's configuration")
            abort(500)
        return view(*args, **values)

    return inner


def allowed(ft: Portal, permission: str) -> Any:
    """True, or the response to send instead of the page."""
    if ft.authorize is not None:
        answer = ft.authorize(permission)
        if answer is True or isinstance(answer, (BaseResponse, tuple, str)):
            return answer if answer is True else make_response(answer)
        abort(403)
    manager = getattr(current_app, "login_manager", None)
    if manager is None:
        current_app.logger.warning(
            "ftplugin: the admin page lets nobody in: give FaultTolerance(app, authorize=...) or set up Flask-Login"
        )
        abort(403)
    from flask_login import current_user

    if current_user.is_authenticated:
        return True
    return make_response(manager.unauthorized())


def actor_name() -> str:
    """Who is at the page; never empty, since an empty actor means an automatic switch."""
    if getattr(current_app, "login_manager", None) is not None:
        from flask_login import current_user

        if current_user.is_authenticated:
            return str(current_user.get_id())[:100]
    name = request.remote_user or (request.authorization.username if request.authorization else None)
    return (name or f"administrator at {request.remote_addr}")[:100]


def protect(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.endpoint != "ft_admin.static":
        response.headers["Cache-Control"] = "no-store"
    return response
