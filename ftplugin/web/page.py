"""What every page of the blueprint shares: rendering, times, refused forms, buttons."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from flask import Response, flash, make_response, redirect, render_template, url_for

from ftplugin.extension import SOURCE, Portal, portal
from ftplugin.history.records import MOMENT_S_MAX
from ftplugin.switching.telling import tell_peer

from .access import actor_name
from .forms import ActionForm
from .i18n import translate as _


def show(template: str, code: int = 200, **values: Any) -> Response:
    """The page ``templates/ftplugin/<template>``; every template also gets ft, action (a form with a CSRF token alone), clock."""
    portal().role.active()
    portal().notice(portal().role.record)
    shared = {"ft": portal(), "action": ActionForm(formdata=None), "clock": clock}
    return make_response(render_template(f"ftplugin/{template}", **{**shared, **values}), code)


def clock(wall_s: object) -> str:
    if not isinstance(wall_s, (int, float)) or not 0 < wall_s <= MOMENT_S_MAX:
        return ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(wall_s))


def csrf_text(form: Any) -> str:
    if not form.csrf_token.errors:
        return ""
    why = form.csrf_token.errors[0]
    return _("Nothing was done: the form was too old or came from elsewhere (%(why)s). Try again.", why=why.rstrip("."))


def press_button(done: Callable[[Portal], bool], text: str, failed: str, command: str, back: str = ".index") -> Any:
    """``text``, ``failed``: marked for translation. ``command``: what the switch worker tells the other server, since this
    counts for both; "" for what does not."""
    ft, form = portal(), ActionForm()
    if not form.validate_on_submit():
        flash(csrf_text(form), "ft-error")
    elif done(ft):
        ft.report.line(SOURCE, f"{text} by {actor_name()}")
        told = tell_peer(ft, command, actor_name()) if command else ""
        said = _(" The other server was not told: %(why)s.", why=told) if told else ""
        flash(_("Done: %(what)s.", what=_(text)) + said, "ft")
    else:
        flash(_(failed, url=ft.database.shown_url), "ft-error")
    return redirect(url_for(back))
