"""The admin page (spec 4; guide 3, 6.1.2): settings, status of both servers, switch buttons, log.

Three permissions: "view" to see the page and the log, "operate" for the buttons, "configure" to save settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import (
    Blueprint,
    Response,
    abort,
    current_app,
    flash,
    make_response,
    redirect,
    render_template,
    request,
    url_for,
)
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.wrappers import Response as BaseResponse

from ftplugin.core.settings import Problem
from ftplugin.core.terms import Designation
from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.status import new_order, order_problem, status_of
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.settings_store import Conflict, Contradictions, WarningsNeedReason

from .forms import SECTIONS, ActionForm, DrainForm, PauseForm, SettingsForm, SwitchForm, filled

REFRESH_MS = 2000
POLICY = "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'self'"
View = Callable[[], Any]


def make_blueprint() -> Blueprint:
    """The blueprint ``ft_admin``, below ``<prefix>/admin``."""
    from . import maintenance  # its pages are parts of this one

    blueprint = Blueprint(
        "ft_admin", __name__, url_prefix="/admin", template_folder="templates", static_folder="static"
    )
    rules: tuple[tuple[str, str, str, View, list[str]], ...] = (
        ("/", "index", "view", index, ["GET"]),
        ("/", "save", "configure", save, ["POST"]),
        ("/status", "status", "view", status, ["GET"]),
        ("/switch", "confirm", "operate", confirm, ["GET"]),
        ("/switch", "switch", "operate", switch, ["POST"]),
        ("/release-hold", "release_hold", "operate", release_hold, ["POST"]),
        ("/acknowledge-freeze", "acknowledge_freeze", "operate", acknowledge_freeze, ["POST"]),
        ("/pause", "pause", "operate", maintenance.pause, ["POST"]),
        ("/resume", "resume", "operate", maintenance.resume, ["POST"]),
        ("/drain", "drain", "operate", maintenance.drain, ["POST"]),
        ("/undrain", "undrain", "operate", maintenance.undrain, ["POST"]),
        ("/log", "log", "view", log, ["GET"]),
    )
    for path, name, permission, view, methods in rules:
        blueprint.add_url_rule(path, name, _guarded(permission, view), methods=methods)
    blueprint.after_request(_protect)
    return blueprint


def _guarded(permission: str, view: View) -> View:
    @wraps(view)
    def inner() -> Any:
        answer = _allowed(portal(), permission)
        if answer is not True:
            return answer
        if not current_app.secret_key:
            current_app.logger.error("ftplugin: the admin page needs SECRET_KEY in the portal's configuration")
            abort(500)
        return view()

    return inner


def _allowed(ft: Portal, permission: str) -> Any:
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


def _protect(response: Response) -> Response:
    response.headers.setdefault("Content-Security-Policy", POLICY)
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("Referrer-Policy", "same-origin")
    if request.endpoint != "ft_admin.static":
        response.headers["Cache-Control"] = "no-store"
    return response


def _clock(wall_s: object) -> str:
    if not isinstance(wall_s, (int, float)) or wall_s <= 0:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))


def show_page(form: SettingsForm, code: int = 200, **values: Any) -> Response:
    ft = portal()
    page = render_template(
        "ftplugin/index.html",
        ft=ft,
        form=form,
        sections=SECTIONS,
        status=status_of(ft),
        action=ActionForm(formdata=None),
        clock=_clock,
        refresh_ms=REFRESH_MS,
        days=ft.report.days(),
        **{"pause_form": PauseForm(formdata=None), "drain_form": DrainForm(formdata=None), **values},
    )
    return make_response(page, code)


def index() -> Response:
    """The page."""
    revision, settings = portal().settings.current()
    return show_page(filled(settings, revision))


def status() -> Response:
    """The part of the page that refreshes itself."""
    text = render_template(
        "ftplugin/_status.html", status=status_of(portal()), action=ActionForm(formdata=None), clock=_clock
    )
    return make_response(text)


def save() -> Any:
    """Save the settings, or show the page again with what is wrong beside its field."""
    ft, form = portal(), SettingsForm()
    if not form.validate_on_submit():
        return show_page(form, 400, notice=csrf_text(form) or "Nothing was saved: look at the marked fields.")
    base = form.base_revision.data or ""
    if not base.isdecimal() or len(base) > 9:
        return show_page(form, 400, notice="Nothing was saved: the form has no base revision. Open the page again.")
    try:
        revision = ft.settings.save(form.values(), actor_name(), int(base), form.override_reason.data or "")
    except Contradictions as error:
        for problem in error.problems:
            if problem.field in form:
                form.add_error(problem.field, problem.message)
        own = [p.message for p in error.problems if p.field not in form]
        return show_page(form, 400, notice="Nothing was saved: look at the marked fields.", own_errors=own)
    except WarningsNeedReason as error:
        return show_page(form, 400, warnings=_by_field(error.problems))
    except Conflict as error:
        changed = _differences(ft, form)
        return show_page(form, 409, notice=f"Nothing was saved: {error}.", changed=changed)
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        ft.report.line(SOURCE, f"settings not saved: {error}")
        return show_page(form, 503, notice=f"Nothing was saved: the database {ft.database.shown_url} did not take it.")
    why = f", against warnings: {form.override_reason.data}" if form.override_reason.data else ""
    ft.report.line(SOURCE, f"settings revision {revision} saved by {actor_name()}{why}")
    flash(f"Saved as revision {revision}.", "ft")
    return redirect(url_for("ft_admin.index"))


def csrf_text(form: Any) -> str:
    if not form.csrf_token.errors:
        return ""
    return f"Nothing was done: the form was too old or came from elsewhere ({form.csrf_token.errors[0]}). Try again."


def _by_field(problems: tuple[Problem, ...]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for problem in problems:
        found.setdefault(problem.field, []).append(problem.message)
    return found


def _differences(ft: Portal, form: SettingsForm) -> dict[str, str]:
    """Settings whose saved value is not what the form holds, for an administrator whose edit came second."""
    revision, settings = ft.settings.current()
    saved = filled(settings, revision).values()
    return {name: str(value) for name, value in saved.items() if value != form[name].data}


def _designation(text: str | None) -> Designation:
    try:
        return Designation(text or "")
    except ValueError:
        abort(400, "target must be server1 or server2")


def confirm() -> Response:
    """Ask before a switchover: what will happen, and why it is wanted."""
    target, status_now = _designation(request.args.get("target")), status_of(portal())
    form = SwitchForm(formdata=None, data={"target": target, "expected_active": status_now["active"] or ""})
    return _confirm_page(form, target, status_now, order_problem(status_now, target, status_now["active"]))


def _confirm_page(
    form: SwitchForm, target: Designation, status: dict[str, Any], problem: str, code: int = 200
) -> Response:
    page = render_template("ftplugin/confirm.html", form=form, target=target, status=status, problem=problem)
    return make_response(page, code)


def switch() -> Any:
    """Send the order to the switch worker, unless another server is active than the administrator saw."""
    ft, form = portal(), SwitchForm()
    target, status_now = _designation(form.target.data), status_of(ft)
    if not form.validate_on_submit():
        return _confirm_page(form, target, status_now, csrf_text(form), 400)
    expected = form.expected_active.data or None
    problem = order_problem(status_now, target, expected)
    if problem:
        return _confirm_page(form, target, status_now, problem, 409)
    order = new_order(target, expected, actor_name(), form.reason.data or "")
    refused = ft.producer.switch(order)
    if refused:
        return _confirm_page(form, target, status_now, f"The order was not taken: {refused}.", 503)
    ft.report.line(SOURCE, f"switchover to {target} asked by {order['actor']}: {order['reason']}")
    flash(f"Switchover to {target} is ordered; follow its steps below.", "ft")
    return redirect(url_for("ft_admin.index"))


def press_button(done: Callable[[Portal], bool], text: str, failed: str, command: str) -> Any:
    """``command``: what the switch worker tells the other server, since this counts for both; "" for what does not."""
    ft, form = portal(), ActionForm()
    if not form.validate_on_submit():
        flash(csrf_text(form), "ft-error")
    elif done(ft):
        ft.report.line(SOURCE, f"{text} by {actor_name()}")
        order = {"kind": "tell_peer", "command": command, "actor": actor_name()}
        told = ft.producer.switch(order) if command else ""
        flash(f"Done: {text}." + (f" The other server was not told: {told}." if told else ""), "ft")
    else:
        flash(failed, "ft-error")
    return redirect(url_for("ft_admin.index"))


def release_hold() -> Any:
    """End the hold of B1 and F2 that a switchover left (M1), on both servers."""
    return press_button(
        lambda ft: ft.journal.set_manual_hold(False),
        "manual hold released",
        "The database did not take it; the hold is still on.",
        "release_hold",
    )


def acknowledge_freeze() -> Any:
    """Let automatic switches go on after the flap budget was used up (spec 5.6)."""
    actor, clock = actor_name(), portal().clock
    document = {"actor": actor, "at_s": clock.now_s(), "boot_id": clock.boot_id}
    return press_button(
        lambda ft: ft.runtime.publish("ack_freeze", document),
        "freeze acknowledged",
        "The Redis of this server did not take it; the freeze is still on.",
        "acknowledge_freeze",
    )


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
    return make_response(render_template("ftplugin/log.html", days=days, day=day, text=text))
