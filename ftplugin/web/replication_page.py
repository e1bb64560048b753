"""What replicates, what is behind and by how much, and what lost against an edit on the other server (spec 7).

Reads the store alone. "Synchronise now" leaves a note for the two threads that do the work.
"""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, request, url_for
from sqlalchemy.exc import SQLAlchemyError

from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.replicate.conflicts import SETTINGS, ConflictStore, Lost
from ftplugin.replicate.engine import ORDER, SYNC
from ftplugin.replicate.put_back import put_back
from ftplugin.replicate.shown import summary
from ftplugin.replicate.thing import ReplicationError
from ftplugin.replication import replication_of
from ftplugin.state import CONTENT
from ftplugin.store.database import DatabaseUnreachable

from .access import Route, actor_name
from .forms import ActionForm
from .i18n import N_
from .i18n import translate as _
from .page import csrf_text, show

CONFLICTS = "conflicts"
NOT_DONE = N_("The Redis of this server does not answer; nothing was done. Try again.")
UNREADABLE = N_("The database cannot be read or written now; nothing was done. Try again.")


def replication_page() -> Response:
    """The page."""
    ft = portal()
    documents = ft.runtime.fetch_many((CONTENT, CONFLICTS))
    found = summary(documents[CONTENT], documents[CONFLICTS], boot_id=ft.clock.boot_id, now_s=ft.clock.now_s())
    registered = ft.replicator.things if ft.replicator is not None else {}
    values: dict[str, Any] = {"found": found, "registered": registered, "imported": _imported(ft)}
    try:
        values |= {
            "replicated": replication_of(ft),
            "conflicts": ConflictStore(ft.database).listed(),
            "unreadable": False,
        }
    except (DatabaseUnreachable, SQLAlchemyError):
        values |= {"replicated": None, "conflicts": [], "unreadable": True}
    return show(
        "replication.html", **values, here=str(ft.designation() or ""), summary_of=_facts, settings_subject=SETTINGS
    )


def _imported(ft: Portal) -> list[str]:
    return ft.replicator.imported if ft.replicator is not None else []


def _facts(lost: Lost) -> list[tuple[str, str]]:
    """What lost, in a few words."""
    if lost.subject == SETTINGS:
        return [(name, str(value)) for name, value in dict(lost.lost.get("values") or {}).items()]
    if "values" in lost.lost:
        return [(name, str(value)[:200]) for name, value in dict(lost.lost["values"]).items()]
    if lost.lost.get("file"):
        return [(_("size"), _("%(count)s bytes", count=lost.lost.get("size")))]
    return []


def _checked() -> str:
    form = ActionForm()
    return "" if form.validate_on_submit() else csrf_text(form)


def _back(said: str, *, wrong: bool = False) -> Any:
    flash(said, "ft-error" if wrong else "ft")
    return redirect(url_for(".replication_page"))


def synchronise() -> Any:
    """Have both threads look and exchange at once."""
    ft = portal()
    if problem := _checked():
        return _back(problem, wrong=True)
    note = {"at_s": ft.clock.now_s(), "boot_id": ft.clock.boot_id, "actor": actor_name()}
    if not ft.runtime.publish(SYNC, note):
        return _back(_(NOT_DONE), wrong=True)
    ft.report.line(SOURCE, f"'Synchronise now' by {actor_name()}")
    return _back(_("Synchronisation is ordered; what comes of it is shown below in a few seconds."))


def acknowledge() -> Any:
    """One conflict, or all: the alert ends on both servers."""
    ft, wanted = portal(), request.form.get("conflict", "")[:64]
    if problem := _checked():
        return _back(problem, wrong=True)
    try:
        count = ConflictStore(ft.database).acknowledge(wanted, actor_name())
    except (DatabaseUnreachable, SQLAlchemyError):
        return _back(_(UNREADABLE), wrong=True)
    ft.report.line(SOURCE, f"{count} conflicts of replication acknowledged by {actor_name()}")
    return _back(_("Acknowledged. What lost stays in the list."))


def restore() -> Any:
    """Put back what lost, as an edit of now: it goes to the other server like any other."""
    ft, wanted = portal(), request.form.get("conflict", "")[:64]
    if problem := _checked():
        return _back(problem, wrong=True)
    try:
        lost = ConflictStore(ft.database).one(wanted)
        thing = ft.replicator.things.get(lost.subject) if lost is not None and ft.replicator is not None else None
        if lost is None or not put_back(thing, lost):
            return _back(
                _("This edit is not here any more, or was kept on the other server: open its page."), wrong=True
            )
        ConflictStore(ft.database).acknowledge(wanted, actor_name())
    except (DatabaseUnreachable, SQLAlchemyError):
        return _back(_(UNREADABLE), wrong=True)
    except (ReplicationError, ValueError, OSError) as error:
        return _back(_("Nothing was put back: %(why)s", why=str(error)), wrong=True)
    ft.report.line(SOURCE, f"{lost.subject} {lost.item} put back by {actor_name()}")
    return _back(_("Put back; it replicates like any other edit."))


def gone() -> Any:
    """What to do with very much that is gone at once: delete it there too, or take it back from there."""
    ft = portal()
    if problem := _checked():
        return _back(problem, wrong=True)
    order = {"thing": request.form.get("thing", "")[:100], "what": request.form.get("what", "")[:20]}
    if order["what"] not in ("delete", "restore"):
        return _back(_("Choose what to do."), wrong=True)
    stamp = {"at_s": ft.clock.now_s(), "boot_id": ft.clock.boot_id}
    if not ft.runtime.publish(ORDER, {**order, **stamp}):
        return _back(_(NOT_DONE), wrong=True)
    ft.report.line(SOURCE, f"what is gone of {order['thing']}: {order['what']}, said {actor_name()}")
    return _back(_("Ordered; look again in a few seconds."))


ROUTES = (
    Route("/replication", "replication_page", "view", replication_page),
    Route("/replication/synchronise", "synchronise", "configure", synchronise, ("POST",)),
    Route("/replication/acknowledge", "acknowledge_conflict", "configure", acknowledge, ("POST",)),
    Route("/replication/restore", "restore_conflict", "configure", restore, ("POST",)),
    Route("/replication/gone", "decide_gone", "configure", gone, ("POST",)),
)
