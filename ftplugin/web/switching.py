"""Switchover and forced takeover: asked, confirmed, followed; the end of a hold and of a freeze (M1, M2, spec 5.6)."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, abort, current_app, flash, redirect, request, url_for

from ftplugin.core.terms import Designation
from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.switching.force import force_problem, held_back, longest_wait_s, new_force
from ftplugin.prechecks import PreCheck, blocks, prechecks
from ftplugin.status import look, new_order, order_problem, status_of
from ftplugin.switching.story import note_order, story_of

from .access import Route, actor_name
from .forms import ForceForm, SwitchForm
from .i18n import N_
from .i18n import translate as _
from .page import csrf_text, press_button, show

RUNNING_MS, ENDED_MS = 700, 5000
SWITCH_ID_CHARS_MAX = 64
MARK = "X-FT-Status"  # what ft.js takes for a fragment of ours
PERIOD = "X-FT-Refresh-Ms"  # how long ft.js waits before it asks again


def _designation(text: str | None) -> Designation:
    try:
        return Designation(text or "")
    except ValueError:
        abort(400, _("target must be server1 or server2"))


def _app() -> Flask:
    app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
    return app


# --- switchover (M1) -----------------------------------------------------------------------------------------------


def confirm() -> Response:
    """Ask before a switchover: what is known for and against it, what will happen, and why it is wanted."""
    target, status = _designation(request.args.get("target")), status_of(portal())
    look(portal(), status)
    form = SwitchForm(formdata=None, data={"target": target, "expected_active": status["active"] or ""})
    return _confirm_page(form, target, status, _checks(target, status, status["active"]))


def _checks(target: Designation, status: dict[str, Any], expected: str | None) -> list[PreCheck]:
    return prechecks(portal(), _app(), status, target, expected)


def _confirm_page(
    form: SwitchForm,
    target: Designation,
    status: dict[str, Any],
    checks: list[PreCheck],
    code: int = 200,
    problem: str = "",
) -> Response:
    values = {"form": form, "target": target, "status": status, "checks": checks, "blocked": bool(blocks(checks))}
    return show("confirm.html", code, problem=problem, **values)


def switch() -> Any:
    """Send the order to the switch worker, unless a check blocks it, or another server is active than was seen."""
    ft, form = portal(), SwitchForm()
    target, status = _designation(form.target.data), status_of(ft)
    expected = form.expected_active.data or None
    if not form.validate_on_submit():
        return _confirm_page(form, target, status, _checks(target, status, expected), 400, csrf_text(form))
    problem = order_problem(status, target, expected)
    checks = _checks(target, status, expected)
    if problem or blocks(checks):
        return _confirm_page(form, target, status, checks, 409, problem)
    order = new_order(target, expected, actor_name(), form.reason.data or "")
    refused = ft.producer.switch(order)
    if refused:
        return _confirm_page(form, target, status, checks, 503, _("The order was not taken: %(why)s.", why=refused))
    note_order(ft, order)
    ft.report.line(SOURCE, f"switchover to {target} asked by {order['actor']}: {order['reason']}")
    flash(_("Switchover to %(target)s is ordered; follow its steps below.", target=target), "ft")
    return redirect(url_for(".switch_run", switch_id=order["switch_id"]))


# --- one switch, live ----------------------------------------------------------------------------------------------


def switch_run(switch_id: str) -> Response:
    """The page of one ordered switch."""
    return show("switch_run.html", **_story(switch_id))


def switch_steps(switch_id: str) -> Response:
    """Its part that refreshes itself."""
    values = _story(switch_id)
    response = show("_switch_steps.html", **values)
    response.headers[MARK] = "1"
    response.headers[PERIOD] = str(values["refresh_ms"])
    return response


def _story(switch_id: str) -> dict[str, Any]:
    story = story_of(portal(), switch_id) if len(switch_id) <= SWITCH_ID_CHARS_MAX else None
    if story is None and portal().runtime.read_role() is None:
        abort(503, _("The Redis of this server does not answer: how this switch stands is not known now."))
    if story is None:
        abort(404, _("This server knows no switch with this number; see its journal on the other server."))
    look(portal(), story["status"])  # how far a switch has come on the other server is known only while it is asked
    return {"story": story, "status": story["status"], "refresh_ms": ENDED_MS if story["ended"] else RUNNING_MS}


# --- forced takeover (M2) ------------------------------------------------------------------------------------------


def force() -> Response:
    """What a forced takeover of this server risks and passes; its order needs a reason and the server's name."""
    return _force_page(ForceForm(formdata=None))


def _force_page(form: ForceForm, code: int = 200, problem: str = "") -> Response:
    ft = portal()
    status, settings = status_of(ft), ft.settings.cached()[1]
    values = {
        "status": status,
        "blocked": force_problem(status),
        "held": held_back(status, ft.runtime.fetch("view")),
        "wait_s": longest_wait_s(settings),
        "witness": bool(settings.witness),
    }
    return show("force.html", code, form=form, problem=problem, **values)


def force_now() -> Any:
    """Send the order to the own switch worker: only the server that takes over can judge it."""
    ft, form = portal(), ForceForm()
    if not form.validate_on_submit():
        return _force_page(form, 400, csrf_text(form) or _("Nothing was ordered: look at the marked field."))
    status = status_of(ft)
    me = status["designation"]
    if problem := force_problem(status):
        return _force_page(form, 409, _("Nothing was ordered: %(why)s", why=problem))
    if (form.typed.data or "").strip() != me:
        form.typed.errors = [*form.typed.errors, _("Type %(name)s, the name of this server.", name=me)]
        return _force_page(form, 400, _("Nothing was ordered: look at the marked field."))
    order = new_force(ft, me, actor_name(), form.reason.data or "", checked=bool(form.checked.data))
    refused = ft.producer.switch(order)
    if refused:
        return _force_page(form, 503, _("The order was not taken: %(why)s.", why=refused))
    note_order(ft, order)
    word = ", who says that the other server is off or cut off" if order["checked"] else ""
    ft.report.line(SOURCE, f"forced takeover of {me} asked by {order['actor']}{word}: {order['reason']}")
    flash(_("A forced takeover of %(target)s is ordered; follow its steps below.", target=me), "ft")
    return redirect(url_for(".switch_run", switch_id=order["switch_id"]))


# --- hold and freeze -----------------------------------------------------------------------------------------------


def release_hold() -> Any:
    """End the hold of B1 and F2 that a switchover left (M1), on both servers."""
    return press_button(
        lambda ft: ft.journal.set_manual_hold(False),
        N_("manual hold released"),
        N_("The database %(url)s did not take it; the hold is still on. Look at its disk and lock, then try again."),
        "release_hold",
    )


def acknowledge_freeze() -> Any:
    """Let automatic switches go on after the flap budget was used up (spec 5.6)."""
    return press_button(
        _acknowledged,
        N_("freeze acknowledged"),
        N_("The Redis of this server did not take it; the freeze is still on. Look at that Redis, then try again."),
        "acknowledge_freeze",
    )


def _acknowledged(ft: Portal) -> bool:
    document = {"actor": actor_name(), "at_s": ft.clock.now_s(), "boot_id": ft.clock.boot_id}
    return ft.runtime.publish("ack_freeze", document)


ROUTES = (
    Route("/switch", "confirm", "operate", confirm),
    Route("/switch", "switch", "operate", switch, ("POST",)),
    Route("/switch/<switch_id>", "switch_run", "view", switch_run),
    Route("/switch/<switch_id>/steps", "switch_steps", "view", switch_steps),
    Route("/force", "force", "operate", force),
    Route("/force", "force_now", "operate", force_now, ("POST",)),
    Route("/release-hold", "release_hold", "operate", release_hold, ("POST",)),
    Route("/acknowledge-freeze", "acknowledge_freeze", "operate", acknowledge_freeze, ("POST",)),
)
