"""The WSGI layer around the portal: believes what the other server passes on, and passes on what ``marks`` has handed over.

Passing on happens here and not in a view, so that no ``after_request`` function, session or compression of this portal
touches what the active server answers: a session saved here would undo the log-in that was just made there. It comes before
all of the portal's own checks too, which the active server makes, and so before anything has read the body.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.wrappers import Response
from werkzeug.wsgi import get_host

from ftplugin import protocol

from . import hop
from .forward import Forwarder, Order
from .where import Finder

if TYPE_CHECKING:
    from ftplugin.extension import Portal

SLIP = "ftplugin.standby"
Environ = dict[str, Any]
StartResponse = Callable[..., Any]


@dataclass(slots=True)
class Slip:
    """What is known of one request. It rides in the WSGI environment.

    passed_on: the other server has passed it on to this one. hop_epoch: of the redirect that brought it here, None without.
    looked: it is decided where it runs. order: it is to be passed on.
    """

    passed_on: bool = False
    hop_epoch: int | None = None
    looked: bool = False
    order: Order | None = None


class Door:
    """Stands before ``app.wsgi_app``.

    at_once_max: requests that are passed on at a time in this process. threads: functions that start a thread of this process
    unless it runs; they are called at each request, since a server may fork after the portal was made. at_once: answers what
    does not wait for the portal (``ftplugin.web.at_once``), and None for all else.
    """

    def __init__(
        self,
        app: Flask,
        ft: Portal,
        at_once_max: int,
        threads: Sequence[Callable[[], None]],
        at_once: Callable[[Environ], Response | None],
    ) -> None:
        self._inner, self._ft, self._threads, self._logger = app.wsgi_app, ft, threads, app.logger
        self._at_once = at_once
        self._forwarder = Forwarder(app, ft, at_once_max)
        self.finder = Finder(ft)

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        for ensure in self._threads:
            try:
                ensure()
            except RuntimeError as error:  # no more threads here: the request is answered all the same
                self._logger.error("ftplugin: %s: %s; the next request tries again", ensure.__qualname__, error)
        said = self._at_once(environ)
        if said is not None:
            return said(environ, start_response)
        environ[SLIP] = slip = Slip()
        if hop.QUERY_NAME in environ.get("QUERY_STRING", ""):
            environ["QUERY_STRING"], slip.hop_epoch = hop.unmarked(environ["QUERY_STRING"])
        if hop.ENVIRON in environ:
            slip.passed_on = self._believe(environ, environ.pop(hop.ENVIRON))

        def begin(*head: Any) -> Any:
            return start_response(*head) if slip.order is None else _thrown_away

        answer = self._inner(environ, begin)
        if slip.order is None:
            return answer
        close = getattr(answer, "close", None)
        if close is not None:
            close()
        return self._forwarder(environ, start_response, slip.order)

    def _believe(self, environ: Environ, header: str) -> bool:
        """True when the other server has signed it for this request; then client, scheme and prefix are the original's."""
        me = self._ft.designation()
        try:
            if me is None:
                raise protocol.ProtocolError("unconfigured", "the addresses of the two servers are not set here")
            host, target = get_host(environ), hop.target_of(environ)
            passed = hop.read(self._ft.config.secret_keys, me, header, environ["REQUEST_METHOD"], host, target)
        except protocol.ProtocolError as error:
            self._ft.refuse(error.cause, f"{error} (from {environ.get('REMOTE_ADDR', '')})")
            return False
        environ |= {"REMOTE_ADDR": passed.client, "wsgi.url_scheme": passed.scheme, "SCRIPT_NAME": passed.prefix}
        return True

    def close(self) -> None:
        """Let go of the kept connections."""
        self._forwarder.close()


def _thrown_away(data: bytes) -> None:
    """``write`` of an answer that nobody gets, since the active server's takes its place."""
