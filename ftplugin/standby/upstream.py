"""One exchange with the active server in pieces, so that a stream of any length costs the memory of one piece.

``http_client`` ends in time but holds whole bodies; ``requests`` streams, but its limits are per read (a head that drips
holds a thread for good), it decodes, follows and adds headers, and costs more than the whole rest of passing on (see
docs/standby-requests.md). So this is the connection of ``http_client`` with a deadline for the head of the answer, one for
everything, and a longest gap between two pieces.
"""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ftplugin.http_client import ContextSource, HttpFailure, Link, failure_of, remaining_s

from .headers import Headers
from .limits import Limits

PIECE_BYTES = 65_536
HEAD_BYTES_MAX = 131_072  # with what came of the body in the same packets
EARLY_ANSWER_S = 1.0  # a server that refuses a body says so before it closes
REPEATABLE = ("GET", "HEAD", "OPTIONS")  # sent again, once, when a kept connection proves closed


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A request to pass on. body: its pieces, None when it has none. length: in bytes, None: sent in chunks."""

    method: str
    target: str
    host: str
    headers: Headers
    body: Iterable[bytes] | None = None
    length: int | None = None


class _Flow(io.RawIOBase):
    """The receiving side of a socket: a deadline (CLOCK_MONOTONIC), a longest gap, a budget of bytes for the head."""

    def __init__(self, sock: Any, deadline_s: float, gap_s: float) -> None:
        self.sock, self.deadline_s, self.gap_s = sock, deadline_s, gap_s
        self.left: int | None = HEAD_BYTES_MAX
        self.received = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.left is not None and self.left <= 0:
            raise HttpFailure("too large", f"the head of the answer is larger than {HEAD_BYTES_MAX} bytes")
        self.sock.settimeout(min(self.gap_s, remaining_s(self.deadline_s)))
        view = memoryview(buffer)
        count = int(self.sock.recv_into(view if self.left is None else view[: self.left]))
        self.received += count
        if self.left is not None:
            self.left -= count
        return count


class _Receiver:
    """What ``http.client.HTTPResponse`` wants of a socket."""

    def __init__(self, flow: _Flow) -> None:
        self.flow = flow

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.flow, PIECE_BYTES)


class _Stream(Link):
    """A connection that sends and receives in pieces."""

    def __init__(self, url: str, context: ContextSource | None) -> None:
        super().__init__(url, context)
        self.url = url
        self.flow: _Flow | None = None

    def put(self, data: bytes, deadline_s: float, gap_s: float) -> None:
        """Send all of ``data``. Raises OSError."""
        assert self._sock is not None, "open() comes first"
        self._sock.settimeout(min(gap_s, remaining_s(deadline_s)))
        self._sock.sendall(data)

    def head(self, method: str, deadline_s: float) -> http.client.HTTPResponse:
        """Wait for the head of the answer. Raises OSError, HTTPException or HttpFailure."""
        self.flow = _Flow(self._sock, deadline_s, remaining_s(deadline_s))
        response = http.client.HTTPResponse(_Receiver(self.flow), method=method)  # type: ignore[arg-type]
        response.begin()
        return response


class Answer:
    """The active server's answer: status, reason, headers, and its body in pieces by ``read``; ``close`` it in any case."""

    def __init__(self, link: _Stream, response: http.client.HTTPResponse, pool: Pool, bytes_max: int) -> None:
        self._link, self._response, self._pool, self._left = link, response, pool, bytes_max
        self.status, self.reason = response.status, response.reason
        self.headers: Headers = list(response.getheaders())
        self.length = None if response.chunked else response.length  # of the body, where the server has said it
        self.broken_head = bool(response.msg.defects)

    def read(self) -> bytes:
        """The next piece; empty at the end. Raises HttpFailure, also when the body ended too early or is too large."""
        response = self._response
        try:
            piece = b"" if response.isclosed() else response.read1(PIECE_BYTES)
        except http.client.IncompleteRead:
            raise HttpFailure("closed", "the answer ended in the middle of a chunk") from None
        except (OSError, http.client.HTTPException, HttpFailure, ValueError) as error:
            raise failure_of(error, True, self._link.host) from None
        if not piece and response.length:
            raise HttpFailure("closed", f"the answer ended {response.length} bytes too early")
        self._left -= len(piece)
        if self._left < 0:
            raise HttpFailure("too large", "the answer is larger than allowed")
        return piece

    def close(self) -> None:
        """Keep the connection when the answer was read to its end; else end it, so that the other side stops sending."""
        response = self._response
        at_end = response.isclosed() if response.chunked else response.length == 0  # of an answer to HEAD it is 0 too
        response.close()
        if at_end and not response.will_close:
            self._pool.give(self._link)
        else:
            self._link.close()


class Pool:
    """Exchanges with the active server; keeps ``size`` idle connections at most."""

    def __init__(self, context: ContextSource | None, size: int) -> None:
        self._context, self._size = context, size
        self._lock = threading.Lock()
        self._idle: list[_Stream] = []

    def ask(self, url: str, message: Message, limits: Limits, connect_s: float) -> Answer:
        """Send the request, wait for the head of the answer.

        url: scheme, address and port. connect_s: limit of connecting, TLS included. Raises HttpFailure.
        """
        kept = self._take(url) if message.method in REPEATABLE and message.body is None else None
        if kept is not None:
            try:
                return self._exchange(kept, message, limits, connect_s)
            except HttpFailure as failure:
                if failure.kind != "closed" or (kept.flow is not None and kept.flow.received):
                    raise
        return self._exchange(_Stream(url, self._context), message, limits, connect_s)

    def _exchange(self, link: _Stream, message: Message, limits: Limits, connect_s: float) -> Answer:
        fresh, answer = link.fresh, None
        try:
            if fresh:
                link.open(time.monotonic() + connect_s)
            end_s = time.monotonic() + limits.total_s
            try:
                _send(link, message, end_s, limits.idle_s)
                head_s = limits.answer_s
            except (BrokenPipeError, ConnectionResetError):
                head_s = EARLY_ANSWER_S
            response = link.head(message.method, min(end_s, time.monotonic() + head_s))
            assert link.flow is not None, "head() has made it"
            link.flow.left, link.flow.deadline_s, link.flow.gap_s = None, end_s, limits.idle_s
            answer = Answer(link, response, self, limits.answer_bytes)
            return answer
        except (OSError, http.client.HTTPException, HttpFailure, ValueError) as error:
            raise failure_of(error, fresh, link.host) from None
        finally:
            if answer is None:
                link.close()

    def _take(self, url: str) -> _Stream | None:
        with self._lock:
            found = [link for link in self._idle if link.url == url and link.usable()]
            stale = [link for link in self._idle if link not in found]
            self._idle = found[:-1]
        for link in stale:
            link.close()
        return found[-1] if found else None

    def give(self, link: _Stream) -> None:
        """Keep a connection whose last answer was read to its end."""
        link.used_s = time.monotonic()
        with self._lock:
            room = len(self._idle) < self._size
            if room:
                self._idle.append(link)
        if not room:
            link.close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for link in idle:
            link.close()


def _send(link: _Stream, message: Message, end_s: float, gap_s: float) -> None:
    lines = [f"{message.method} {message.target} HTTP/1.1", f"Host: {message.host}"]
    lines += [f"{name}: {value}" for name, value in message.headers]
    if message.body is not None:
        framing = f"Content-Length: {message.length}" if message.length is not None else "Transfer-Encoding: chunked"
        lines.append(framing)
    link.put("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n", end_s, gap_s)
    for piece in message.body or ():
        link.put(piece if message.length is not None else b"%x\r\n%b\r\n" % (len(piece), piece), end_s, gap_s)
    if message.body is not None and message.length is None:
        link.put(b"0\r\n\r\n", end_s, gap_s)
