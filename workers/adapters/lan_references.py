"""Asks LAN reference hosts without ever waiting for one: send now, collect answers as they come (LanProbe uses it).

A reference is an address ("10.0.0.1": ICMP echo) or "tcp:10.0.0.1:80". For TCP a refused connection is an answer
too: the host is there and said no. What counts is the moment *before* the request that was answered.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import threading
import time
from typing import Callable, Iterable

from icmplib import ICMPRequest, ICMPv4Socket, ICMPv6Socket
from icmplib.exceptions import ICMPLibError

PENDING_MAX = 64  # asks without an answer that one reference may have; the oldest is given up
ICMP_NOT_POSSIBLE = (
    "ICMP is not possible here: run as root or with CAP_NET_RAW, set net.ipv4.ping_group_range to include this group, "
    'or give references as "tcp:address:port"'
)


class BadReference(ValueError):
    """A reference host cannot be read; the message names it."""


def parse_reference(text: str) -> tuple[str, int | None]:
    """(host, TCP port or None for ICMP) of "10.0.0.1", "fe80::1%eth0", "tcp:10.0.0.1:80" or "tcp:[::1]:80"."""
    if not text.startswith("tcp:"):
        return text, None
    host, _, port = text[4:].rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or not 0 < int(port) < 65_536:
        raise BadReference(f'reference {text!r}: must be an address or "tcp:address:port"')
    return host, int(port)


class IcmpAsker:
    """Echo requests over one socket of each IP version. Privileged where allowed, else the kernel's ping sockets."""

    def __init__(self) -> None:
        self._sockets: dict[int, ICMPv4Socket | ICMPv6Socket] = {}
        self._id = os.getpid() & 0xFFFF ^ (threading.get_ident() >> 8 & 0xFFFF)
        self._sequence = 0
        self._asked: dict[tuple[str, int], float] = {}
        self.impossible = ""

    def send(self, host: str, now_s: float) -> bool:
        """Send one echo request; False when this host cannot send it now."""
        try:
            sock = self._socket(6 if ":" in host else 4)
            if sock is None:
                return False
            self._sequence = self._sequence + 1 & 0xFFFF
            sock.sock.settimeout(0.05)
            sock.send(ICMPRequest(destination=host, id=self._id, sequence=self._sequence, payload_size=8))
        except (ICMPLibError, OSError):
            return False
        self._asked[host.split("%")[0], self._sequence] = now_s
        while len(self._asked) > PENDING_MAX * 4:
            self._asked.pop(next(iter(self._asked)))
        return True

    def _socket(self, version: int) -> ICMPv4Socket | ICMPv6Socket | None:
        if version not in self._sockets:
            kind = ICMPv4Socket if version == 4 else ICMPv6Socket
            for privileged in (True, False):
                try:
                    self._sockets[version] = kind(privileged=privileged)
                    self.impossible = ""
                    break
                except ICMPLibError:
                    self.impossible = ICMP_NOT_POSSIBLE
            else:
                return None
        return self._sockets[version]

    def filenos(self) -> list[int]:
        return [s.sock.fileno() for s in self._sockets.values()]

    def receive(self, fileno: int) -> Iterable[float]:
        """Times (as given to ``send``) of the requests that are now answered by the host asked."""
        sock = next(s for s in self._sockets.values() if s.sock.fileno() == fileno)
        own_id = self._id if sock.is_privileged else sock.sock.getsockname()[1]
        poll = select.poll()
        poll.register(fileno, select.POLLIN)
        while poll.poll(0):
            try:
                reply = sock.receive(timeout=0.01)
            except (ICMPLibError, OSError):
                return
            key = (str(reply.source).split("%")[0], reply.sequence)
            if reply.type in (0, 129) and reply.id == own_id and key in self._asked:  # echo replies, RFC 792, RFC 4443
                yield self._asked.pop(key)

    def close(self) -> None:
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()


class TcpAsker:
    """TCP connections that are closed as soon as the host has answered."""

    def __init__(self) -> None:
        self._pending: dict[int, tuple[socket.socket, float, float]] = {}

    def send(self, host: str, port: int, now_s: float, limit_s: float) -> bool:
        """Start one connection; True when it was answered at once. Raises nothing for a host that cannot be reached."""
        self._expire()
        if len(self._pending) >= PENDING_MAX:
            self._close(next(iter(self._pending)))
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            code = sock.connect_ex((host, port))
        except OSError:
            code = errno.EINVAL
        if code == errno.EINPROGRESS:
            self._pending[sock.fileno()] = (sock, now_s, time.monotonic() + limit_s)
            return False
        sock.close()
        return _answers(code)

    def filenos(self) -> list[int]:
        return list(self._pending)

    def receive(self, fileno: int) -> Iterable[float]:
        sock, asked_s, _ = self._pending[fileno]
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        self._close(fileno)
        if _answers(code):
            yield asked_s

    def _expire(self) -> None:
        now_s = time.monotonic()
        for fileno in [f for f, (_, _, end_s) in self._pending.items() if end_s <= now_s]:
            self._close(fileno)

    def _close(self, fileno: int) -> None:
        self._pending.pop(fileno)[0].close()

    def close(self) -> None:
        for fileno in list(self._pending):
            self._close(fileno)


def _answers(code: int) -> bool:
    return code in (0, errno.ECONNREFUSED, errno.ECONNRESET)


class Asker:
    """All references side by side, in one thread."""

    def __init__(self, now_s: Callable[[], float]) -> None:
        self._now_s = now_s
        self._icmp, self._tcp = IcmpAsker(), TcpAsker()

    def ask(self, references: Iterable[str], limit_s: float) -> tuple[float | None, str]:
        """Ask each once. (time before an ask that was answered at once, why an ask was not possible)."""
        seen_s, problem = None, ""
        for text in references:
            try:
                host, port = parse_reference(text)
            except BadReference as error:
                problem = str(error)
                continue
            now_s = self._now_s()
            if port is None:
                if not self._icmp.send(host, now_s) and self._icmp.impossible:
                    problem = self._icmp.impossible
            elif self._tcp.send(host, port, now_s, limit_s):
                seen_s = now_s
        return seen_s, problem

    def collect(self, until_s: float, stop: Callable[[], bool]) -> float | None:
        """Wait for answers until CLOCK_MONOTONIC ``until_s``; returns after the first batch with its latest ask."""
        poll = select.poll()
        for fileno in self._icmp.filenos():
            poll.register(fileno, select.POLLIN)
        for fileno in self._tcp.filenos():
            poll.register(fileno, select.POLLOUT)
        left_s = until_s - time.monotonic()
        if left_s <= 0 or stop():
            return None
        times: list[float] = []
        for fileno, _ in poll.poll(int(left_s * 1000) + 1):
            asker = self._icmp if fileno in self._icmp.filenos() else self._tcp
            times.extend(asker.receive(fileno))
        return max(times, default=None)

    def close(self) -> None:
        self._icmp.close()
        self._tcp.close()
