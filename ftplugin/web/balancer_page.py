"""Balancers (guide 4 and 5): a configuration from the settings to take away, and a file in use compared with them.

To compare asks for "operate": it changes nothing, but takes a file in, which no mere viewer may send.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from flask import Response, abort, request, send_file
from flask_wtf.file import FileField
from werkzeug.exceptions import RequestEntityTooLarge

from ftplugin.balancer.compare import compare
from ftplugin.balancer.exports import EXPORTS, make
from ftplugin.balancer.plan import Follow, Options
from ftplugin.balancer.probers import drifted, seen
from ftplugin.balancer.reading import BYTES_MAX, Unreadable, read
from ftplugin.core.settings import SettingsError
from ftplugin.extension import portal

from .access import Route
from .forms import SafeForm
from .i18n import translate as _
from .page import csrf_text, show

FORM_BYTES_MAX = BYTES_MAX + 8 * 1024  # the file, the token and what a browser writes around them
TEXTS = ("vip", "interface", "full_name", "script_path", "script_user", "ca_file")
FAILBACK = {"": None, "on": True, "off": False}


class CheckForm(SafeForm):
    """One file."""

    file = FileField()


def balancer() -> Response:
    """Choice, the files made of it, who asks, and the upload."""
    return _page(request.args)


def _options(values: Mapping[str, str]) -> Options:
    """What the form says; an empty field is the default. Raises SettingsError."""
    given: dict[str, Any] = {name: values[name].strip() for name in TEXTS if values.get(name, "").strip()}
    failback, bits = values.get("failback", ""), values.get("prefix_length", "").strip()
    if failback not in FAILBACK:
        raise SettingsError("failback", "must be on, off or empty", failback[:40])
    if bits and not (bits.isascii() and bits.isdecimal() and len(bits) < 4):
        raise SettingsError("prefix_length", "must be a whole number, or empty", bits[:40])
    prefix = portal().config.url_prefix.strip("/")
    return Options(
        url_prefix=f"/{prefix}" if prefix else "",
        follow=values.get("follow", ""),
        failback=FAILBACK[failback],
        prefix_length=int(bits) if bits else None,
        **given,
    )


def _page(values: Mapping[str, str], code: int = 200, **more: Any) -> Response:
    ft = portal()
    revision, settings = ft.settings.cached()
    name = values.get("name", "")
    files: tuple[Any, ...] = ()
    problem: SettingsError | None = None
    if name:
        if name not in EXPORTS:
            abort(404)
        try:
            files = make(name, settings, revision, _options(values))
        except SettingsError as error:
            problem, code = error, 400
    clock = ft.clock
    probers = seen(ft.runtime.fetch_many, clock.boot_id, clock.now_s())
    return show(
        "balancer.html",
        code,
        **{"checked": None, "check_problem": "", "drift": drifted(probers, settings)} | more,
        exports=EXPORTS.values(),
        follows=list(Follow),
        asked=values,
        kept={
            key: value
            for key, value in values.items()
            if key in (*TEXTS, "follow", "failback", "prefix_length", "name")
        },
        name=name,
        files=files,
        problem=problem,
        probers=probers,
        revision=revision,
        form=CheckForm(formdata=None),
        defaults=Options(),
        limit_kb=BYTES_MAX // 1024,
    )


def balancer_file(name: str, file: str) -> Any:
    """One file of an export, to keep."""
    if name not in EXPORTS:
        abort(404)
    revision, settings = portal().settings.cached()
    try:
        files = make(name, settings, revision, _options(request.args))
    except SettingsError:
        return _page({**request.args, "name": name}, 400)
    text = next((made.text for made in files if made.name == file), None)
    if text is None:
        abort(404)
    return send_file(
        io.BytesIO(text.encode()), mimetype="text/plain", as_attachment=True, download_name=file, max_age=0
    )


def check() -> Response:
    """Where the file differs from the settings. It is not kept."""
    request.max_content_length = FORM_BYTES_MAX
    ft = portal()
    try:
        form = CheckForm()
        valid = form.validate_on_submit()
    except RequestEntityTooLarge:
        return _page({}, 413, check_problem=_("The file is larger than %(limit)s kB.", limit=BYTES_MAX // 1024))
    if not valid:
        return _page({}, 400, check_problem=csrf_text(form))
    if not form.file.data:
        return _page({}, 400, check_problem=_("Choose a file first."))
    revision, settings = ft.settings.cached()
    try:
        reading = read(form.file.data.read(BYTES_MAX + 1))
        found = compare(reading, settings, revision, _options({}))
    except (Unreadable, SettingsError) as error:
        return _page({}, 400, check_problem=_("This file cannot be compared: it %(why)s.", why=str(error).rstrip(".")))
    return _page({}, checked=found, checked_title=EXPORTS[reading.kind].title)


ROUTES = (
    Route("/balancer", "balancer", "view", balancer),
    Route("/balancer/file/<name>/<file>", "balancer_file", "view", balancer_file),
    Route("/balancer/check", "check_balancer", "operate", check, ("POST",)),
)
