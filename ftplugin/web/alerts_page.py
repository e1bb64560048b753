"""Alerts: where they go, what is open now, what was delivered and what is tried again; and the button for a test.

Reads the node's Redis alone, where the tick worker leaves what it knows; the button leaves a wish there.
"""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, url_for

from ftplugin.alerts import page
from ftplugin.extension import SOURCE, portal

from .access import Route, actor_name
from .forms import ActionForm
from .i18n import N_
from .i18n import translate as _
from .page import csrf_text, show

PHASES = {
    "once": N_("happened"),
    "raised": N_("begins"),
    "repeated": N_("still lasts"),
    "resolved": N_("is over"),
    "test": N_("test"),
}
WORDS = {"delivered": N_("delivered"), "given up": N_("given up")}


def alerts() -> Response:
    """The page."""
    ft = portal()
    found = page.shown(ft.runtime, ft.clock.boot_id, ft.clock.now_s())
    return show(
        "alerts.html",
        found=found,
        silent=found.age_s is None and ft.runtime.read_role() is None,
        phases=PHASES,
        words=WORDS,
        repeat_s=ft.config.alert_repeat_s,
        ended={row.get("target"): row for row in reversed(found.history)},
        due_in_s=lambda row: _due_in_s(row, found.age_s or 0.0),
    )


def _due_in_s(row: Any, age_s: float) -> float | None:
    """When it is tried again, in seconds from now; None: it is being sent."""
    next_in_s = row.get("next_in_s")
    return max(0.0, next_in_s - age_s) if isinstance(next_in_s, (int, float)) else None


def test_alerts() -> Any:
    """Leave the wish for a test with the tick worker."""
    ft, form = portal(), ActionForm()
    boot_id, now_s = ft.clock.boot_id, ft.clock.now_s()
    found = page.shown(ft.runtime, boot_id, now_s)
    if not form.validate_on_submit():
        flash(csrf_text(form), "ft-error")
    elif found.old or not found.targets:
        flash(_("Nothing was sent: the agent has no target, or does not run."), "ft-error")
    elif page.ask_for_test(ft.runtime, boot_id, now_s, actor_name()):
        ft.report.line(SOURCE, f"test of the alerts asked for by {actor_name()}")
        flash(_("A test goes to every target. Look again in a few seconds: the result is in the list below."), "ft")
    else:
        flash(_("The Redis of this server does not answer; nothing was done. Try again."), "ft-error")
    return redirect(url_for(".alerts"))


ROUTES = (
    Route("/alerts", "alerts", "view", alerts),
    Route("/alerts/test", "test_alerts", "operate", test_alerts, ("POST",)),
)
