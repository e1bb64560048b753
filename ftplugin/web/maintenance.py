"""Pause, resume, drain and its end on the admin page (spec 5.6). Permission "operate"; CSRF token on every form."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, url_for

from ftplugin.core.terms import Designation
from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.standing import DRAIN, PAUSE, OrderError, hand_over
from ftplugin.status import look, new_order, status_of

from ftplugin.switching.story import ORDER, note_order
from ftplugin.switching.telling import tell_peer

from .access import Route, actor_name
from .forms import DrainForm, PauseForm
from .i18n import N_
from .i18n import translate as _
from .page import csrf_text, press_button, show

NOT_PAUSED = N_("The database %(url)s did not take it; nothing is paused. Look at its disk and lock, then try again.")
NOT_DRAINED = N_("The database %(url)s did not take it; nothing is drained. Look at its disk and lock, then try again.")


def switching() -> Any:
    """The page of everything that switches, or holds switching back."""
    return _page(portal())


def _page(ft: Portal, code: int = 200, **values: Any) -> Any:
    forms = {"pause_form": PauseForm(formdata=None), "drain_form": DrainForm(formdata=None)}
    last, status = ft.runtime.fetch(ORDER) or {}, status_of(ft)
    look(ft, status)  # so that the checks of a switchover find a young word of the other server
    return show("switching.html", code, status=status, last_order=last, **{**forms, **values})


def _again(ft: Portal, problem: str, code: int, **forms: Any) -> Any:
    """The page again with what was entered."""
    return _page(ft, code, maintenance_problem=problem, **forms)


def _wrong(form: Any, error: OrderError) -> None:
    field = form[error.field]
    field.errors = [*field.errors, f"{field.label.text} {error.message}."]


def pause() -> Any:
    """Hold back every automatic promotion on both servers."""
    ft, form, actor = portal(), PauseForm(), actor_name()
    if not form.validate_on_submit():
        return _again(ft, csrf_text(form), 400, pause_form=form)
    try:
        minutes = form.minutes_given()
        kept = ft.pause(actor, form.reason.data or "", minutes)
    except OrderError as error:
        _wrong(form, error)
        return _again(ft, _("Nothing is paused: look at the marked field."), 400, pause_form=form)
    if not kept:
        return _again(ft, _(NOT_PAUSED, url=ft.database.shown_url), 503, pause_form=form)
    reason = (form.reason.data or "").strip()
    ft.report.line(SOURCE, f"automatic switching paused by {actor}: {reason}")
    told = tell_peer(ft, "pause", actor, reason=reason, minutes=minutes)
    said = _(" The other server was not told: %(why)s.", why=told) if told else ""
    flash(_("Automatic switching is paused.") + said, "ft")
    return redirect(url_for(".switching"))


def resume() -> Any:
    """End the pause on both servers."""
    return press_button(
        lambda ft: ft.end(PAUSE),
        N_("automatic switching resumed"),
        N_("The database %(url)s did not take it; the pause goes on. Look at its disk and lock, then try again."),
        "resume",
    )


def drain() -> Any:
    """Make this server not eligible; an active one asks the other to take over first."""
    ft, form, actor = portal(), DrainForm(), actor_name()
    if not form.validate_on_submit():
        return _again(ft, csrf_text(form), 400, drain_form=form)
    target, problem = hand_over(status_of(ft))
    if problem:
        return _again(ft, _("Nothing is drained: %(why)s.", why=problem), 409, drain_form=form)
    try:
        kept = ft.drain(actor, form.reason.data or "")
    except OrderError as error:
        _wrong(form, error)
        return _again(ft, _("Nothing is drained: look at the marked field."), 400, drain_form=form)
    if not kept:
        return _again(ft, _(NOT_DRAINED, url=ft.database.shown_url), 503, drain_form=form)
    reason = (form.reason.data or "").strip()
    ft.report.line(SOURCE, f"drain begun by {actor}: {reason}")
    flash(_("This server is drained.") + ordered_text(ft, target, actor, reason), "ft")
    return redirect(url_for(".switching"))


def ordered_text(ft: Portal, target: str | None, actor: str, reason: str) -> str:
    """Order the switchover that a drain of the active server needs; what to say about it."""
    if target is None:
        return ""
    me = str(Designation(target).other)
    order = new_order(Designation(target), me, actor, f"drain of {me}: {reason}")
    refused = ft.producer.switch(order)
    if refused:
        return _(" It is still active: the switchover was not ordered (%(why)s). Switch over by hand.", why=refused)
    note_order(ft, order)
    return _(" A switchover to %(target)s is ordered.", target=target)


def undrain() -> Any:
    """Make this server eligible again."""
    return press_button(
        lambda ft: ft.end(DRAIN),
        N_("drain of this server ended"),
        N_("The database %(url)s did not take it; the drain goes on. Look at its disk and lock, then try again."),
        "",
        ".switching",
    )


ROUTES = (
    Route("/switching", "switching", "view", switching),
    Route("/pause", "pause", "operate", pause, ("POST",)),
    Route("/resume", "resume", "operate", resume, ("POST",)),
    Route("/drain", "drain", "operate", drain, ("POST",)),
    Route("/undrain", "undrain", "operate", undrain, ("POST",)),
)
