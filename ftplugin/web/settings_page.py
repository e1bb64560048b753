"""The settings of the Hot Standby screen (spec 4; guide 3): edit, check in a preview, save.

Validate shows the preview; Save is there. Whatever goes wrong on the way, the form comes back with what was typed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, flash, redirect, request, url_for
from sqlalchemy.exc import SQLAlchemyError
from werkzeug.exceptions import RequestEntityTooLarge

from ftplugin.core.settings import NAMES, Problem, Settings
from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.licence.problems import TEXTS
from ftplugin.preview import preview as preview_of
from ftplugin.replication import replication_of
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.settings_history import Revision, lost_settings, revision_of
from ftplugin.store.settings_store import Conflict, Contradictions, WarningsNeedReason

from .access import Route, actor_name
from .i18n import translate as _
from .page import csrf_text, show
from .settings_form import OWN_ADDRESS, ROWS, SECTIONS, SettingsForm, as_typed, filled, idle, shown
from .timeline_svg import FAULTS, SERVERS, draw, event_text, seconds

SHOWN: dict[str, Any] = {
    "sections": SECTIONS,
    "rows": ROWS,
    "own_address": OWN_ADDRESS,
    "shown": shown,
    "seconds": seconds,
}
MARK = "X-FT-Status"  # what ft-settings.js takes for a fragment of ours; a portal's log-in page has it not
FORM_BYTES_MAX = 512 * 1024  # every field as long as it may be, each character as nine bytes
Then = Callable[[Portal, SettingsForm], Any]


def settings() -> Response:
    """The form with what is saved, or with an old revision to be looked at and checked again."""
    ft = portal()
    revision, current = ft.settings.current()
    wanted = request.args.get("revision", "")
    if conflict := request.args.get("conflict", "")[:64]:
        return _lost(ft, conflict)
    if not wanted:
        return _page(ft, filled(current, revision))
    old = _old_revision(ft, wanted)
    if old is None:
        return _page(ft, filled(current, revision), 404, notice=_("There is no such revision of the settings."))
    return _page(ft, filled(old.settings, revision, current), loaded=old)


def _lost(ft: Portal, conflict: str) -> Response:
    """The form with an edit that gave way to one of the other server."""
    revision, current = ft.settings.current()
    try:
        found = lost_settings(ft.database, conflict)
    except (DatabaseUnreachable, SQLAlchemyError):
        found = None
    if found is None:
        notice = _("This edit is not known here, or the database cannot be read now.")
        return _page(ft, filled(current, revision), 404, notice=notice)
    facts, values = found
    names = {"revision": facts.get("revision"), "saved_wall_s": facts.get("saved_at"), "actor": facts.get("actor")}
    return _page(ft, filled(values, revision, current), loaded=names)


def replication() -> Response:
    """Whether the other server has it, for the page's own refresh."""
    response = show("_replication.html", **_replicated(portal()))
    response.headers[MARK] = "1"
    return response


def preview() -> Any:
    """What would change, before it is saved."""
    return _guarded(_preview)


def edit() -> Any:
    """Back from the preview: the form with what was typed."""
    return _guarded(_page)


def save() -> Any:
    """Save, or show what is wrong."""
    return _guarded(_save)


# --- what is posted ----------------------------------------------------------------------------------------------------


def _guarded(then: Then) -> Any:
    """``then`` with the posted form; else the form again, with what was typed and the reason."""
    ft = portal()
    limit = request.max_content_length = min(request.max_content_length or FORM_BYTES_MAX, FORM_BYTES_MAX)
    try:
        form = SettingsForm()
    except RequestEntityTooLarge:
        revision, current = ft.settings.current()
        text = _(
            "Nothing was saved: more was sent than a form of the settings can hold (%(limit)s bytes).", limit=limit
        )
        return _page(ft, filled(current, revision), 413, notice=text)
    try:
        if not form.validate_on_submit():
            said = csrf_text(form)
            kept = _("What you typed is kept: validate it again.") if said else ""
            return _page(ft, form, 400, notice=f"{said} {kept}".strip() or _marked())
        if form.base() is None:
            text = _("Nothing was saved: the form has no base revision. Open the page again.")
            return _page(ft, form, 400, notice=text)
        return then(ft, form)
    except Contradictions as error:
        return _wrong(ft, form, error)
    except Conflict:
        return _conflict(ft, form)
    except (DatabaseUnreachable, SQLAlchemyError) as error:
        ft.report.line(SOURCE, f"settings not saved: {error}")
        url = ft.database.shown_url
        text = _("Nothing was saved: the database %(url)s did not take it. What you typed is kept.", url=url)
        return _page(ft, form, 503, notice=text)


def _marked() -> str:
    return _("Nothing was saved: look at the marked fields.")


def _wrong(ft: Portal, form: SettingsForm, error: Contradictions) -> Response:
    refused = ft.licence.state().refused
    if refused is not None and any(problem.field == "licence" for problem in error.problems):
        why = _(TEXTS[refused.cause], **refused.facts)
        return _page(ft, form, 400, notice=_("Nothing was saved. %(why)s What you typed is kept.", why=why))
    for problem in error.problems:
        if problem.field in form:
            form.add_error(problem.field, problem.message)
    other = [problem.message for problem in error.problems if problem.field not in form]
    return _page(ft, form, 400, notice=_marked(), own_errors=other)


def _preview(ft: Portal, form: SettingsForm, code: int = 200) -> Response:
    ft.settings.refuse_if_locked()
    current = _base(ft, form)
    new, warnings = ft.settings.examined(form.values(), current)
    return show(
        "settings_preview.html",
        code,
        form=form,
        found=preview_of(current, new, warnings, ft.config.services),
        draw=draw,
        event_text=event_text,
        faults=FAULTS,
        servers=SERVERS,
        **SHOWN,
    )


def _base(ft: Portal, form: SettingsForm) -> Settings:
    """The current settings, which the edit must be based on. Raises Conflict, or DatabaseUnreachable when unknown."""
    revision, current = ft.settings.current()
    if ft.settings.error:
        raise DatabaseUnreachable(ft.settings.error)
    base = form.base()
    if base is None or base[0] != revision or base[1] not in ("", current.mark):
        raise Conflict(revision)
    return current


def _save(ft: Portal, form: SettingsForm) -> Any:
    base, reason = form.base(), form.override_reason.data or ""
    assert base is not None  # _guarded has asked
    try:
        revision = ft.settings.save(form.values(), actor_name(), base[0], reason, base[1])
    except WarningsNeedReason:
        form.add_error("override_reason", _("Say why it must be so; it is recorded. Nothing was saved yet."))
        return _preview(ft, form, 400)
    why = f", against warnings: {reason}" if reason else ""
    ft.report.line(SOURCE, f"settings revision {revision} saved by {actor_name()}{why}")
    flash(_("Saved as revision %(revision)s.", revision=revision), "ft")
    return redirect(url_for(".settings"))


# --- an edit that came second -------------------------------------------------------------------------------------------


def _conflict(ft: Portal, form: SettingsForm) -> Response:
    """What the other one changed and this one did not is taken over; where both changed it, the typed value stays."""
    revision, current = ft.settings.current()
    before = _base_values(ft, form.base())
    saved, changed, taken = current.to_json(), {}, {}
    for name in NAMES:
        theirs, mine = as_typed(saved[name]), form[name].data
        if _same(mine, theirs):
            continue
        if before is not None and _same(mine, as_typed(before[name])):
            form[name].data, taken[name] = theirs, shown(name, saved[name])
        else:
            changed[name] = shown(name, saved[name])
    form.start_from(revision, current)
    return _page(ft, form, 409, conflict=revision_of(ft.database, revision), changed=changed, taken=taken)


def _same(one: Any, two: Any) -> bool:
    return one.strip() == two.strip() if isinstance(one, str) and isinstance(two, str) else bool(one == two)


def _base_values(ft: Portal, base: tuple[int, str] | None) -> dict[str, Any] | None:
    old = revision_of(ft.database, base[0]) if base is not None else None
    if old is None:
        return Settings().to_json() if base is not None and base[0] == 0 else None
    return old.settings.to_json() if base is not None and base[1] in ("", old.settings.mark) else None


# --- showing ------------------------------------------------------------------------------------------------------------


def _page(ft: Portal, form: SettingsForm, code: int = 200, **values: Any) -> Response:
    _revision, current = ft.settings.current()
    warnings: dict[str, list[str]] = {}
    for problem in _warnings_of(ft, current):
        warnings.setdefault(problem.field, []).append(problem.message)
    return show(
        "settings.html",
        code,
        form=form,
        warnings=warnings if code == 200 and "loaded" not in values else {},
        idle=idle(form.values()),
        database_error=ft.settings.error,
        **SHOWN,
        **_replicated(ft),
        **values,
    )


def _warnings_of(ft: Portal, current: Settings) -> tuple[Problem, ...]:
    """Rules that the saved settings pass with a reason: they stay shown."""
    try:
        return ft.settings.examined({}, current)[1]
    except Contradictions:
        return ()  # saved by an older version, or before the addresses were entered: told when it is validated


def _replicated(ft: Portal) -> dict[str, Any]:
    try:
        return {"replicated": replication_of(ft)}
    except (DatabaseUnreachable, SQLAlchemyError):
        return {"replicated": None}


def _old_revision(ft: Portal, wanted: str) -> Revision | None:
    if not (wanted.isdecimal() and len(wanted) <= 9):
        return None
    try:
        return revision_of(ft.database, int(wanted))
    except (DatabaseUnreachable, SQLAlchemyError):
        return None


ROUTES = (
    Route("/settings", "settings", "view", settings),
    Route("/settings", "save", "configure", save, ("POST",)),
    Route("/settings/preview", "preview_settings", "configure", preview, ("POST",)),
    Route("/settings/edit", "edit_settings", "configure", edit, ("POST",)),
    Route("/settings/replication", "replication", "view", replication),
)
