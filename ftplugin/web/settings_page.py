"""The settings of the Hot Standby screen (spec 4; guide 3)."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, url_for
from sqlalchemy.exc import SQLAlchemyError

from ftplugin.core.settings import Problem
from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.status import status_of
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.settings_store import Conflict, Contradictions, WarningsNeedReason

from .access import Route, actor_name
from .forms import SECTIONS, SettingsForm, filled
from .page import csrf_text, show


def _page(form: SettingsForm, code: int = 200, **values: Any) -> Response:
    return show("settings.html", code, form=form, sections=SECTIONS, status=status_of(portal()), **values)


def settings() -> Response:
    """The form with what is saved."""
    revision, current = portal().settings.current()
    return _page(filled(current, revision))


def save() -> Any:
    """Save the settings, or show the page again with what is wrong beside its field."""
    ft, form = portal(), SettingsForm()
    if not form.validate_on_submit():
        return _page(form, 400, notice=csrf_text(form) or "Nothing was saved: look at the marked fields.")
    base = form.base_revision.data or ""
    if not base.isdecimal() or len(base) > 9:
        return _page(form, 400, notice="Nothing was saved: the form has no base revision. Open the page again.")
    try:
        revision = ft.settings.save(form.values(), actor_name(), int(base), form.override_reason.data or "")
    except Contradictions as error:
        for problem in error.problems:
            if problem.field in form:
                form.add_error(problem.field, problem.message)
        own = [p.message for p in error.problems if p.field not in form]
        return _page(form, 400, notice="Nothing was saved: look at the marked fields.", own_errors=own)
    except WarningsNeedReason as error:
        return _page(form, 400, warnings=_by_field(error.problems))
    except Conflict as error:
        changed = _differences(ft, form)
        return _page(form, 409, notice=f"Nothing was saved: {error}.", changed=changed)
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        ft.report.line(SOURCE, f"settings not saved: {error}")
        return _page(form, 503, notice=f"Nothing was saved: the database {ft.database.shown_url} did not take it.")
    why = f", against warnings: {form.override_reason.data}" if form.override_reason.data else ""
    ft.report.line(SOURCE, f"settings revision {revision} saved by {actor_name()}{why}")
    flash(f"Saved as revision {revision}.", "ft")
    return redirect(url_for(".settings"))


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


ROUTES = (
    Route("/settings", "settings", "view", settings),
    Route("/settings", "save", "configure", save, ("POST",)),
)
