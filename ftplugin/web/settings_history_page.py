"""Which settings were in force when, who saved them and why (spec 4). Nothing is changed here: an old revision is loaded
into the form, from where it goes through the preview like any other edit."""

from __future__ import annotations

from flask import Response, request
from sqlalchemy.exc import SQLAlchemyError

from ftplugin.extension import portal
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.settings_history import PAGE, changes_between, conflicts, history, revision_of

from .access import Route
from .i18n import translate as _
from .page import show
from .settings_page import SHOWN

NUMBER_MAX = 2**31 - 1


def settings_history() -> Response:
    """The newest revisions, ``below`` one if asked for."""
    ft, text = portal(), request.args.get("below", "")
    below = int(text) if text.isdecimal() and len(text) <= 9 else None
    try:
        found = history(ft.database, below=below, limit=PAGE)
        lost = conflicts(ft.database) if below is None else []
    except (DatabaseUnreachable, SQLAlchemyError):
        return _unreadable()
    more = found[-1].revision if found and found[-1].revision > 1 and len(found) == PAGE else None
    return show("settings_history.html", revisions=found, conflicts=lost, more=more, **SHOWN)


def settings_revision(number: int) -> Response:
    """One revision with every value, and how it differs from what is saved now."""
    ft = portal()
    try:
        found = revision_of(ft.database, number) if number <= NUMBER_MAX else None
    except (DatabaseUnreachable, SQLAlchemyError):
        return _unreadable()
    if found is None:
        return show("settings_history.html", 404, problem=_("There is no such revision of the settings."), **SHOWN)
    revision, current = ft.settings.current()
    changes = changes_between(current, found.settings)
    return show("settings_revision.html", found=found, current=revision, changes=changes, **SHOWN)


def _unreadable() -> Response:
    url = portal().database.shown_url
    return show("settings_history.html", 503, problem=_("The database %(url)s cannot be read now.", url=url), **SHOWN)


ROUTES = (
    Route("/settings/history", "settings_history", "view", settings_history),
    Route("/settings/history/<int:number>", "settings_revision", "view", settings_revision),
)
