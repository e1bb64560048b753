"""The licence of this server: state, upload, and why a file is refused (spec 8)."""

from __future__ import annotations

from typing import Any

from flask import Response, flash, redirect, request, url_for
from flask_wtf.file import FileField
from werkzeug.exceptions import RequestEntityTooLarge

from ftplugin.extension import SOURCE, portal
from ftplugin.licence.document import BYTES_MAX
from ftplugin.licence.problems import TEXTS, LicenceRefused

from .access import Route, actor_name
from .forms import SafeForm
from .i18n import translate as _
from .page import csrf_text, show

FORM_BYTES_MAX = BYTES_MAX + 8 * 1024  # the file, the token and what a browser writes around them


class LicenceForm(SafeForm):
    """One file."""

    file = FileField()


def licence() -> Response:
    """What is installed, and the upload."""
    return _page()


def _page(code: int = 200, problem: str = "") -> Response:
    form = LicenceForm(formdata=None)
    return show("licence.html", code, form=form, problem=problem, limit_kb=BYTES_MAX // 1024)


def upload() -> Any:
    """Keep the file as the licence of this server, or say what is wrong with it; then nothing has changed."""
    ft = portal()
    request.max_content_length = FORM_BYTES_MAX
    try:
        form = LicenceForm()
        valid = form.validate_on_submit()
    except RequestEntityTooLarge:
        refused = LicenceRefused("too large", limit=BYTES_MAX)
        return _page(413, _(TEXTS[refused.cause], **refused.facts))
    if not valid:
        return _page(400, csrf_text(form))
    if not ft.licence.state().needed:
        return _page(409, _("No licence is needed here: the portal sets no FT_LICENCE_KEY."))
    if not form.file.data:
        return _page(400, _("Choose a file first."))
    try:
        made = ft.licence.install(form.file.data.read(BYTES_MAX + 1))
    except LicenceRefused as refused:
        ft.report.line(SOURCE, f"licence of {actor_name()} refused: {refused}")
        return _page(400, _(TEXTS[refused.cause], **refused.facts))
    except OSError as error:
        ft.report.line(SOURCE, f"licence not kept: {error}")
        return _page(
            503,
            _(
                "The licence could not be kept in %(folder)s: %(error)s",
                folder=ft.config.instance_dir,
                error=error.strerror or error,
            ),
        )
    ft.report.line(
        SOURCE, f"licence {made.serial} for {made.holder}, until {made.expires}, installed by {actor_name()}"
    )
    flash(_("The licence of %(holder)s is installed, until %(day)s.", holder=made.holder, day=made.expires), "ft")
    return redirect(url_for(".licence"))


ROUTES = (
    Route("/licence", "licence", "view", licence),
    Route("/licence", "upload_licence", "configure", upload, ("POST",)),
)
