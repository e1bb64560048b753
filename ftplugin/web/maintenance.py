"""Pause, resume, drain and its end on the admin page (spec 5.6). Permission "operate"; CSRF token on every form."""

from __future__ import annotations

from typing import Any

from flask import flash, redirect, url_for

from ftplugin.core.terms import Designation
from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.standing import DRAIN, PAUSE, OrderError, hand_over
from ftplugin.status import new_order, status_of

from .access import Route, actor_name
from .forms import DrainForm, PauseForm
from .page import csrf_text, press_button, show

NOT_KEPT = "The database {} did not take it; nothing is {}. Look at its disk and lock, then try again."


def switching() -> Any:
    """The page of everything that switches, or holds switching back."""
    return _page(portal())


def _page(ft: Portal, code: int = 200, **values: Any) -> Any:
    forms = {"pause_form": PauseForm(formdata=None), "drain_form": DrainForm(formdata=None)}
    return show("switching.html", code, status=status_of(ft), **{**forms, **values})


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
        return _again(ft, "Nothing is paused: look at the marked field.", 400, pause_form=form)
    if not kept:
        return _again(ft, NOT_KEPT.format(ft.database.shown_url, "paused"), 503, pause_form=form)
    reason = (form.reason.data or "").strip()
    ft.report.line(SOURCE, f"automatic switching paused by {actor}: {reason}")
    order = {"kind": "tell_peer", "command": "pause", "actor": actor, "reason": reason, "minutes": minutes}
    told = ft.producer.switch(order)
    flash("Automatic switching is paused." + (f" The other server was not told: {told}." if told else ""), "ft")
    return redirect(url_for(".switching"))


def resume() -> Any:
    """End the pause on both servers."""
    return press_button(
        lambda ft: ft.end(PAUSE),
        "automatic switching resumed",
        "The database did not take it; the pause goes on.",
        "resume",
    )


def drain() -> Any:
    """Make this server not eligible; an active one asks the other to take over first."""
    ft, form, actor = portal(), DrainForm(), actor_name()
    if not form.validate_on_submit():
        return _again(ft, csrf_text(form), 400, drain_form=form)
    target, problem = hand_over(status_of(ft))
    if problem:
        return _again(ft, f"Nothing is drained: {problem}.", 409, drain_form=form)
    try:
        kept = ft.drain(actor, form.reason.data or "")
    except OrderError as error:
        _wrong(form, error)
        return _again(ft, "Nothing is drained: look at the marked field.", 400, drain_form=form)
    if not kept:
        return _again(ft, NOT_KEPT.format(ft.database.shown_url, "drained"), 503, drain_form=form)
    reason = (form.reason.data or "").strip()
    ft.report.line(SOURCE, f"drain begun by {actor}: {reason}")
    flash("This server is drained." + ordered_text(ft, target, actor, reason), "ft")
    return redirect(url_for(".switching"))


def ordered_text(ft: Portal, target: str | None, actor: str, reason: str) -> str:
    """Order the switchover that a drain of the active server needs; what to say about it."""
    if target is None:
        return ""
    me = str(Designation(target).other)
    refused = ft.producer.switch(new_order(Designation(target), me, actor, f"drain of {me}: {reason}"))
    if refused:
        return f" It is still active: the switchover was not ordered ({refused}). Switch over by hand."
    return f" A switchover to {target} is ordered; follow its steps below."


def undrain() -> Any:
    """Make this server eligible again."""
    return press_button(
        lambda ft: ft.end(DRAIN), "drain of this server ended", "The database did not take it; the drain goes on.", ""
    )


ROUTES = (
    Route("/switching", "switching", "view", switching),
    Route("/pause", "pause", "operate", pause, ("POST",)),
    Route("/resume", "resume", "operate", resume, ("POST",)),
    Route("/drain", "drain", "operate", drain, ("POST",)),
    Route("/undrain", "undrain", "operate", undrain, ("POST",)),
)
