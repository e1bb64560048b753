"""A Redis client for the guard alone: redis-py would cost that small process 11 MiB for three commands.

RESP2 (redis.io/docs/latest/develop/reference/protocol-spec) on one kept connection. A call has one total limit, in
which connecting, TLS and logging in are included. After an error the connection is closed, so that a late answer
never meets the next question; a kept connection that proves closed (a restarted Redis) is replaced once, at once.
"""

from __future__ import annotations

import socket
import time
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PORT = 6379
ANSWER_BYTES_MAX = 8 * 1024 * 1024
_READ_BYTES = 65_536


class RedisFailure(OSError):
    """No usable answer; the message says why."""


class PlainRedis:
    """One Redis, one connection, one thread at a time."""

    def __init__(self, url: str) -> None:
        """url: redis://[user]:password@address:port/number, rediss:// (TLS) or unix://[user]:password@/path?db=number.

        The address is an IP address as a rule: looking up a name is outside the limit. Raises ValueError.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("redis", "rediss", "unix"):
            raise ValueError(f"must begin with redis://, rediss:// or unix:// (got {parts.scheme or 'nothing'}://)")
        self._options = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        self._secure, self._path = parts.scheme == "rediss", unquote(parts.path) if parts.scheme == "unix" else ""
        self._host, self._port = parts.hostname or "localhost", parts.port or PORT
        database = self._options.get("db") or ("" if self._path else parts.path.strip("/")) or "0"
        self._hello: list[list[Any]] = []
        user = unquote(parts.username or "") or self._options.get("username", "")
        password = unquote(parts.password or "") or self._options.get("password", "")
        if password:
            self._hello.append(["AUTH", user, password] if user else ["AUTH", password])
        if int(database):
            self._hello.append(["SELECT", int(database)])
        self._sock: socket.socket | None = None
        self._buffer = b""
        self._deadline_s = 0.0

    def call(self, limit_s: float, *command: Any) -> Any:
        """The answer as text, int, list or None, within ``limit_s`` seconds. Raises OSError (RedisFailure is one)."""
        self._deadline_s = time.monotonic() + limit_s
        kept = self._sock is not None
        try:
            return self._ask(command)
        except ConnectionError:
            if not kept:
                raise
        return self._ask(command)

    def close(self) -> None:
        """Give up the connection; the next call opens a new one."""
        sock, self._sock, self._buffer = self._sock, None, b""
        if sock is not None:
            sock.close()

    # --- one exchange

    def _ask(self, command: Any) -> Any:
        try:
            if self._sock is None:
                self._open()
                for line in self._hello:
                    self._exchange(line)
            return self._exchange(command)
        except OSError:
            self.close()
            raise
        except ValueError as error:
            self.close()
            raise RedisFailure(f"answer is not RESP: {error}") from None

    def _exchange(self, command: Any) -> Any:
        assert self._sock is not None, "_open() comes first"
        words = [str(word).encode() for word in command]
        data = b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words)
        self._sock.settimeout(self._left_s())
        self._sock.sendall(data)
        return self._read()

    def _open(self) -> None:
        sock = socket.socket(self._family(), socket.SOCK_STREAM)
        self._sock, self._buffer = sock, b""
        sock.settimeout(self._left_s())
        if self._path:
            sock.connect(self._path)
            return
        sock.connect((self._host, self._port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._secure:
            sock.settimeout(self._left_s())
            self._sock = self._with_tls(sock)

    def _family(self) -> socket.AddressFamily:
        if self._path:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self._host else socket.AF_INET

    def _with_tls(self, sock: socket.socket) -> socket.socket:
        """TLS as redis-py's URL asks for it: checked, unless ssl_cert_reqs=none."""
        import ssl

        context = ssl.create_default_context(cafile=self._options.get("ssl_ca_certs"))
        context.check_hostname = self._options.get("ssl_check_hostname", "true").lower() != "false"
        if self._options.get("ssl_cert_reqs") == "none":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        if "ssl_certfile" in self._options:
            context.load_cert_chain(self._options["ssl_certfile"], self._options.get("ssl_keyfile"))
        return context.wrap_socket(sock, server_hostname=self._host)

    # --- RESP2

    def _read(self) -> Any:
        line = self._line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode("utf-8", "replace")
        if kind == b"-":
            raise RedisFailure(f"Redis refused: {rest.decode('utf-8', 'replace')}")
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else self._bytes(int(rest)).decode("utf-8", "replace")
        if kind == b"*":
            return None if int(rest) < 0 else [self._read() for _ in range(int(rest))]
        raise ValueError(f"{line[:40]!r}")

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            self._receive()
        line, self._buffer = self._buffer[:end], self._buffer[end + 2 :]
        return line

    def _bytes(self, count: int) -> bytes:
        if count > ANSWER_BYTES_MAX:
            raise ValueError(f"{count} bytes are too many")
        while len(self._buffer) < count + 2:
            self._receive()
        data, self._buffer = self._buffer[:count], self._buffer[count + 2 :]
        return data

    def _receive(self) -> None:
        assert self._sock is not None, "_open() comes first"
        if len(self._buffer) > ANSWER_BYTES_MAX:
            raise ValueError("the answer does not end")
        self._sock.settimeout(self._left_s())
        data = self._sock.recv(_READ_BYTES)
        if not data:
            raise ConnectionResetError("Redis closed the connection")
        self._buffer += data

    def _left_s(self) -> float:
        left_s = self._deadline_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("time limit reached")
        return left_s
