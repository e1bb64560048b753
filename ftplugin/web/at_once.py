"""Monitor, node API and metrics, answered before the portal's own functions run: what those ask can hold up no heartbeat.

A portal that reads its user from a database before each request would make the heartbeats and the fence of both servers depend
on that database, and ``mod=NONE`` touches none (spec 3); one that demands a log-in would answer balancer and peer with its form.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from flask import Flask, request
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response

from ftplugin.extension import Portal

from .allowed import barred
from .monitor import LEGACY_NAME, LEGACY_PATH, METHODS, NAME, PAGES, Page, monitor

VIEWS = (
    "ft_node.",
    "ft_metrics.",
)  # endpoints that need a request context, and nothing of what the portal does around it
logger = logging.getLogger(__name__)


class AtOnce:
    """Left to Flask, as every other request: a portal that has put a WSGI layer of its own inside (what it does to the client's
    address is not known here), one that tells its pages apart by host, and whatever goes wrong in a monitor page, since the
    portal knows where to report it.
    """

    def __init__(self, app: Flask, ft: Portal) -> None:
        self._app, self._ft = app, ft
        self._own = getattr(app.wsgi_app, "__func__", None) is Flask.wsgi_app
        prefix = "/" + ft.config.url_prefix.strip("/") if ft.config.url_prefix.strip("/") else ""
        self._below = (f"{prefix}/node/", f"{prefix}/metrics")
        self._pages: Mapping[str, Page] | None = None
        self._legacy: Page | None = None

    def __call__(self, environ: dict[str, Any]) -> Response | None:
        """None: it is none of these pages, or is left to Flask."""
        if self._pages is None:
            self._pages = dict(self._found())
        path = environ.get("PATH_INFO", "")
        page = self._pages.get(path) or (self._legacy if path.lower() == LEGACY_PATH else None)
        if page is None:
            return self._viewed(environ) if self._pages and path.startswith(self._below) else None
        if environ["REQUEST_METHOD"] not in METHODS:
            return None
        try:
            return barred(self._ft, environ) or page(self._ft, environ)
        except Exception as error:  # the view will raise it again, and there it is the portal's
            logger.debug("left to the view: %s", error)
            return None

    def _viewed(self, environ: dict[str, Any]) -> Response | None:
        """By its view, in a request context of the portal, without what is called before and after one."""
        with self._app.request_context(environ):
            if not (request.endpoint or "").startswith(VIEWS):
                return None
            try:
                return self._app.make_response(self._app.dispatch_request())
            except HTTPException as error:
                return error.get_response(environ)
            except Exception as error:
                return self._app.handle_exception(error)

    def _found(self) -> Iterator[tuple[str, Page]]:
        """Each page of the monitor at its path, unless a rule of the portal's own has taken that."""
        urls = self._app.url_map
        if not self._own or urls.host_matching or self._app.subdomain_matching:
            return
        if LEGACY_NAME in self._app.view_functions:
            self._legacy = monitor
        adapter = urls.bind("localhost")
        for name, page in PAGES.items():
            for rule in urls.iter_rules(f"{NAME}.{name}"):
                with suppress(HTTPException):  # a rule of the portal's own that redirects
                    if adapter.match(rule.rule, "GET")[0] == rule.endpoint:
                        yield rule.rule, page
