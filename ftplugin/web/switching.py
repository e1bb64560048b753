"""Switchover, the end of a manual hold, and the acknowledgement of a freeze (M1, spec 5.6)."""

from __future__ import annotations

from typing import Any

from flask import Response, abort, flash, redirect, request, url_for

from ftplugin.core.terms import Designation
from ftplugin.extension import SOURCE, portal
from ftplugin.status import new_order, order_problem, status_of

from .access import Route, actor_name
from .forms import SwitchForm
from .page import csrf_text, press_button, show


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
    return show("confirm.html", code, form=form, target=target, status=status, problem=problem)


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
    return redirect(url_for(".index"))


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


ROUTES = (
    Route("/switch", "confirm", "operate", confirm),
    Route("/switch", "switch", "operate", switch, ("POST",)),
    Route("/release-hold", "release_hold", "operate", release_hold, ("POST",)),
    Route("/acknowledge-freeze", "acknowledge_freeze", "operate", acknowledge_freeze, ("POST",)),
)
