"""Passes one request on to the active server and its answer back, both as streams."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.exceptions import HTTPException, RequestEntityTooLarge
from werkzeug.wsgi import get_content_length, get_host, get_input_stream

from ftplugin import protocol
from ftplugin.core.settings import Address
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing
from ftplugin.http_client import HttpFailure
from ftplugin.said import Said

from . import headers as fields
from . import hop
from .limits import Limits
from .unavailable import unavailable
from .upstream import PIECE_BYTES, Answer, Message, Pool

if TYPE_CHECKING:
    from ftplugin.extension import Portal

SOURCE = "portal"
REPORT_S = 10.0
UNREACHED = Said("The active server cannot be reached from this one.")
LATE = Said("The active server did not answer in time.")
BROKEN = Said("The active server gave an answer that cannot be passed on.")
BUSY = Said("This server is standby, and passes on as many requests to the active one as it may at a time.")
NO_KEY = Said("This server has no key of the pair yet, so that the other one would not trust what it passes on.")
REFUSALS = {"timeout": (504, LATE), "garbage": (502, BROKEN), "too large": (502, BROKEN)}  # others: 503, UNREACHED


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """A request to pass on. ``me``: this server; ``address``: of the other one, which is active. by: as in ``marks``."""

    me: Designation
    address: Address
    limits: Limits
    by: str


class ClientLeft(Exception):
    """The body of a request ended before its end: its client has gone away."""


class AnswerCut(Exception):
    """The active server's answer ended in the middle. What was sent of it cannot be taken back, so the connection ends too."""


class Forwarder:
    """Passes on at most ``at_once_max`` requests at a time, so that threads are left for the monitor when the active
    server hangs: a standby server that does not answer its own heartbeats could not take over."""

    def __init__(self, app: Flask, ft: Portal, at_once_max: int) -> None:
        self._app, self._ft = app, ft
        self._free = threading.BoundedSemaphore(at_once_max)
        self._pool = Pool(ft.config.tls.context, at_once_max)
        self._reported: dict[str, float] = {}

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any], order: Order) -> Iterable[bytes]:
        if not self._free.acquire(blocking=False):
            return self._refused(environ, start_response, order, (503, BUSY), "busy", "no turn left")
        body: Body | None = None
        try:
            answer = self._asked(environ, order)
            body = Body(answer, self._free.release, self._cut(order))
            return self._begun(environ, start_response, order, answer, body)
        except HttpFailure as failure:
            told = REFUSALS.get(failure.kind, (503, UNREACHED))
            return self._refused(environ, start_response, order, told, failure.kind, failure.detail)
        except fields.BadHeader as error:  # of the answer: those of the request are looked at in _asked
            return self._refused(environ, start_response, order, (502, BROKEN), "garbage", f"header {error}")
        except protocol.ProtocolError as error:
            return self._refused(environ, start_response, order, (503, NO_KEY), error.cause, str(error))
        except HTTPException as refusal:  # this portal's own limits: 400, 413
            return refusal(environ, start_response)
        except ClientLeft:
            return _plain(start_response, "400 Bad Request", b"the request ended too early\n")
        finally:
            if body is None:
                self._free.release()
            elif not body.begun:
                body.close()

    def _asked(self, environ: dict[str, Any], order: Order) -> Answer:
        method, host, target = environ["REQUEST_METHOD"], get_host(environ), hop.target_of(environ)
        client, scheme, prefix = (
            environ.get("REMOTE_ADDR", ""),
            environ["wsgi.url_scheme"],
            environ.get("SCRIPT_NAME", ""),
        )
        passed = hop.Passed(client=client, scheme=scheme, prefix=prefix)
        own = own_name(self._ft)
        try:
            if not fields.TOKEN.fullmatch(method):
                raise fields.BadHeader(f"method {method[:20]!r}")
            sent = fields.of_request(
                _headers(environ), method=method, own=own, client=client, scheme=scheme, host=host, prefix=prefix
            )
        except fields.BadHeader as error:
            raise _BadRequest(description=f"header that cannot be passed on: {error}") from None
        signed = hop.make(self._ft.config.secret_keys, order.me, passed, method, host, target)
        body, length = self._body(environ, order.limits)
        message = Message(
            method=method,
            target=target,
            host=host,
            headers=[*sent, (hop.HEADER, signed)],
            body=body,
            length=length,
        )
        connect_s = Timing.of(self._ft.settings.cached()[1]).network_s
        return self._pool.ask(order.address.url, message, order.limits, connect_s)

    def _body(self, environ: dict[str, Any], limits: Limits) -> tuple[Iterator[bytes] | None, int | None]:
        """(pieces, length) of the request's body; (None, None) without one. Raises RequestEntityTooLarge."""
        chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
        length = get_content_length(environ)
        if not chunked and not length:
            return (None, None) if length is None else (iter(()), 0)
        own = self._app.config["MAX_CONTENT_LENGTH"]
        most = limits.request_bytes if own is None else min(own, limits.request_bytes)
        if length is not None and length > most:
            raise RequestEntityTooLarge
        return _pieces(get_input_stream(environ, safe_fallback=False), length, most), length

    def _begun(
        self, environ: dict[str, Any], start_response: Callable[..., Any], order: Order, answer: Answer, body: Body
    ) -> Iterable[bytes]:
        """Start the answer of this server. Raises HttpFailure or BadHeader when the other's cannot be passed on."""
        if answer.broken_head or not 200 <= answer.status <= 599:
            raise HttpFailure("garbage", f"status {answer.status}, or a head that is not HTTP")
        length, head = answer.length, fields.of_answer(answer.headers)
        if length is not None and length > order.limits.answer_bytes:
            raise HttpFailure("too large", f"the answer has {length} bytes, more than {order.limits.answer_bytes}")
        if environ["REQUEST_METHOD"] == "HEAD" or answer.status == 304:
            head += [pair for pair in answer.headers if pair[0].lower() == "content-length"]
        elif length is not None and answer.status != 204:
            head.append(("Content-Length", str(length)))
        start_response(fields.status_line(answer.status, answer.reason), head)
        body.begun = True
        return body

    def _refused(
        self,
        environ: dict[str, Any],
        start_response: Callable[..., Any],
        order: Order,
        told: tuple[int, Said],
        cause: str,
        detail: str,
    ) -> Iterable[bytes]:
        self._report(cause, f"{environ['REQUEST_METHOD']} {hop.target_of(environ)[:200]}: {order.me.other}: {detail}")
        status, text = told
        with self._app.request_context(environ):
            response = unavailable(self._ft, text, order.by, status)
        return response(environ, start_response)

    def _cut(self, order: Order) -> Callable[[str], None]:
        return lambda detail: self._report("cut", f"answer of {order.me.other}: {detail}")

    def _report(self, cause: str, text: str) -> None:
        """One line for each cause in 10 s."""
        now_s = time.monotonic()
        if now_s - self._reported.get(cause, float("-inf")) >= REPORT_S:
            self._reported[cause] = now_s
            self._ft.report.line(SOURCE, f"standby request, {cause}: {text}")

    def close(self) -> None:
        self._pool.close()


class Body:
    """The body of an answer as WSGI iterates it. A client that goes away ends the exchange: the server calls ``close``."""

    def __init__(self, answer: Answer, release: Callable[[], None], report: Callable[[str], None]) -> None:
        self._answer, self._release, self._report = answer, release, report
        self._open, self.begun = True, False

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            piece = self._answer.read()
        except HttpFailure as failure:
            self.close()
            self._report(failure.detail)
            raise AnswerCut(f"the active server's answer was cut: {failure.detail}") from None
        if not piece:
            self.close()
            raise StopIteration
        return piece

    def close(self) -> None:
        if self._open:
            self._open = False
            self._answer.close()
            self._release()


class _BadRequest(HTTPException):
    code = 400


def own_name(ft: Portal) -> str:
    """Address and port of this server, as in Via."""
    return ft.config.own_address.partition("://")[2].rstrip("/") or ft.config.own_address


def _headers(environ: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            yield key[5:].replace("_", "-").title(), value
        elif key == "CONTENT_TYPE" and value:
            yield "Content-Type", value


def _pieces(stream: Any, length: int | None, most: int) -> Iterator[bytes]:
    """The body; ``length`` bytes of it, or all of one sent in chunks. Raises ClientLeft, RequestEntityTooLarge."""
    done = 0
    while length is None or done < length:
        try:
            piece = stream.read(PIECE_BYTES if length is None else min(PIECE_BYTES, length - done))
        except (HTTPException, OSError):
            raise ClientLeft from None
        if not piece:
            if length is None:
                return
            raise ClientLeft
        done += len(piece)
        if done > most:
            raise RequestEntityTooLarge
        yield piece


def _plain(start_response: Callable[..., Any], status: str, body: bytes) -> Iterable[bytes]:
    start_response(status, [("Content-Type", "text/plain"), ("Content-Length", str(len(body)))])
    return [body]
