"""One HTTP exchange that ends when it must.

Why not ``requests`` or ``http.client`` alone: their timeout is per read, so a server that sends a byte a second
holds a call for as long as it likes (facts, "HTTP"). Here every read and write on the socket gets what is *left* of
one deadline, and one budget of bytes covers status line, headers and body, so neither a drip nor a flood outlives
its limit. ``http.client`` still parses the answer (chunks, keep-alive, continuation); the request is written by
hand to be slim: two or three headers, so that a heartbeat stays below 90 kB an hour at T = 30 s.

The standard library alone: the guard uses this file too.
"""

from __future__ import annotations

import http.client
import io
import select
import socket
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import Any, Callable, Mapping
from urllib.parse import urlsplit

from .tls import in_words

HEAD_BYTES_MAX = 8_192
IDLE_S_MAX = 90.0  # many servers close an idle connection after 60 to 120 s; a retry covers the rest

ContextSource = Callable[[], ssl.SSLContext]


class HttpFailure(Exception):
    """No HTTP answer. ``kind``: timeout, refused, closed (reset, ended too early), connect, too large or garbage."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind, self.detail = kind, detail


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """One HTTP answer. Header names are lower case; ``duration_s``: from the first byte sent to the last received."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    duration_s: float = 0.0

    @property
    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


class _Bounded(io.RawIOBase):
    """The receiving side of a socket under a deadline (CLOCK_MONOTONIC) and a budget of bytes."""

    def __init__(self, sock: socket.socket, deadline_s: float, bytes_max: int) -> None:
        self.sock, self.deadline_s, self.left, self.received = sock, deadline_s, bytes_max, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.left <= 0:
            raise HttpFailure("too large", "answer is larger than allowed")
        self.sock.settimeout(remaining_s(self.deadline_s))
        count = self.sock.recv_into(memoryview(buffer)[: self.left])
        self.left -= count
        self.received += count
        return count


class _Receiver:
    """What ``http.client.HTTPResponse`` wants of a socket."""

    def __init__(self, raw: _Bounded) -> None:
        self.raw = raw

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self.raw, 2048)


def remaining_s(deadline_s: float) -> float:
    """Seconds until ``deadline_s`` (CLOCK_MONOTONIC). Raises TimeoutError when it has passed."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise TimeoutError("time limit reached")
    return left_s


def failure_of(error: Exception, fresh: bool, host: str) -> HttpFailure:
    """``error`` of an exchange with ``host`` as an HttpFailure. fresh: on a connection that was opened for it."""
    if isinstance(error, HttpFailure):
        return error
    if isinstance(error, TimeoutError):
        return HttpFailure("timeout", "no complete answer within the limit")
    if isinstance(error, ConnectionRefusedError):
        return HttpFailure("refused", "connection refused")
    if isinstance(error, (ConnectionError, http.client.RemoteDisconnected)):
        return HttpFailure("closed", "connection closed without an answer")
    if isinstance(error, ssl.SSLError):
        return HttpFailure("connect", in_words(error, host))
    if isinstance(error, (http.client.HTTPException, ValueError)):
        return HttpFailure("garbage", f"answer is not HTTP: {type(error).__name__}")
    text = getattr(error, "strerror", None) or str(error)
    return HttpFailure("connect", text if fresh else f"{text} on a kept connection")


class Link:
    """One TCP (and TLS) connection to one address; used by one thread at a time, cut from any."""

    def __init__(self, url: str, context: ContextSource | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise HttpFailure("connect", f"no address to ask: {url!r}")
        self.secure = parts.scheme == "https"
        self.host, self.port = parts.hostname, parts.port or (443 if self.secure else 80)
        self.authority = parts.netloc
        self._context = context
        self._sock: socket.socket | None = None
        self.was_cut = False
        self.used_s = 0.0

    def open(self, deadline_s: float) -> None:
        """Connect, with TLS where the address asks for it. Raises OSError."""
        sock = socket.socket(socket.AF_INET6 if ":" in self.host else socket.AF_INET, socket.SOCK_STREAM)
        self._sock = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(remaining_s(deadline_s))
        sock.connect((self.host, self.port))
        if self.secure:
            context = self._context() if self._context else ssl.create_default_context()
            sock.settimeout(remaining_s(deadline_s))
            self._sock = context.wrap_socket(sock, server_hostname=self.host)
        if self.was_cut:
            raise TimeoutError("given up")

    @property
    def fresh(self) -> bool:
        """Not opened yet."""
        return self._sock is None

    def usable(self) -> bool:
        """False when the server has closed an idle connection, has sent something unasked, or it is old."""
        if self._sock is None or time.monotonic() - self.used_s > IDLE_S_MAX:
            return False
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        return not poll.poll(0)

    def ask(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes | None,
        bytes_max: int,
        deadline_s: float,
    ) -> tuple[Answer, bool]:
        """(answer, whether the connection can be kept). Raises HttpFailure or OSError."""
        assert self._sock is not None, "open() comes first"
        lines = [f"{method} {target} HTTP/1.1", f"Host: {self.authority}", *(f"{k}: {v}" for k, v in headers.items())]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        started_s = time.monotonic()
        self._sock.settimeout(remaining_s(deadline_s))
        self._sock.sendall("\r\n".join(lines).encode("latin-1", "replace") + b"\r\n\r\n" + (body or b""))
        raw = _Bounded(self._sock, deadline_s, HEAD_BYTES_MAX + bytes_max)
        response = http.client.HTTPResponse(_Receiver(raw), method=method)  # type: ignore[arg-type]
        try:
            response.begin()
            content = response.read(bytes_max + 1)
            if len(content) > bytes_max:
                raise HttpFailure("too large", f"answer is larger than {bytes_max} bytes")
            if response.length:  # the server closed in the middle of its answer
                raise HttpFailure("closed", "connection closed in the middle of an answer")
            fields = {name.lower(): value for name, value in response.getheaders()}
            kept = not response.will_close and response.isclosed()
        finally:
            response.close()
        self.used_s = time.monotonic()
        return Answer(status=response.status, headers=fields, body=content, duration_s=self.used_s - started_s), kept

    def cut(self) -> None:
        """Wake and end whatever waits on this connection, from another thread; its owner closes it."""
        self.was_cut = True
        sock = self._sock
        if sock is not None:
            try:
                socket.socket.shutdown(sock, socket.SHUT_RDWR)  # below TLS: the owner may be inside a TLS read
            except OSError:
                return  # not connected any more, or not yet: its own deadline ends it

    def close(self) -> None:
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()


class HttpClient:
    """Exchanges with one address, which may change between calls; keeps at most one idle connection."""

    def __init__(self, context: ContextSource | None = None) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._idle: tuple[str, Link] | None = None

    def ask(
        self,
        method: str,
        url: str,
        target: str,
        *,
        limit_s: float,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        bytes_max: int = 4096,
        fresh: bool = False,
        on_link: Callable[[Link], None] | None = None,
        keep: bool = True,
    ) -> Answer:
        """One exchange within ``limit_s`` seconds in all; retried once, at once, when a kept connection proves closed.

        url: scheme, address and port. bytes_max: largest body accepted. fresh: use a new connection. on_link: is given
        each connection used, so that the caller can cut it. keep: keep the connection for the next exchange.
        Raises HttpFailure.
        """
        deadline_s = time.monotonic() + limit_s

        def exchange(link: Link) -> Answer:
            fresh_link, stays = link.fresh, False
            try:
                if on_link is not None:
                    on_link(link)
                if fresh_link:
                    link.open(deadline_s)
                answer, stays = link.ask(method, target, headers or {}, body, bytes_max, deadline_s)
                return answer
            except (OSError, http.client.HTTPException, HttpFailure, ValueError) as error:
                raise failure_of(error, fresh_link, link.host) from None
            finally:
                if stays and keep and not link.was_cut:
                    self._give(url, link)
                else:
                    link.close()

        kept = None if fresh else self._take(url)
        if kept is not None:
            try:
                return exchange(kept)
            except HttpFailure as failure:
                if failure.kind != "closed" or kept.was_cut:
                    raise
        return exchange(Link(url, self._context))

    def _take(self, url: str) -> Link | None:
        with self._lock:
            idle, self._idle = self._idle, None
        if idle is None:
            return None
        if idle[0] == url and idle[1].usable():
            return idle[1]
        idle[1].close()
        return None

    def _give(self, url: str, link: Link) -> None:
        with self._lock:
            former, self._idle = self._idle, (url, link)
        if former is not None:
            former[1].close()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, None
        if idle is not None:
            idle[1].close()
