"""Redis commands under one total limit each, on one kept connection.

redis-py's timeouts are per step: connecting, each answer of the hand-shake and the command itself may each take the
whole of it. Here every step gets what is left of the call's deadline (CLOCK_MONOTONIC). No retries, except once on
a kept connection that proves closed (a restarted Redis): all scripts sent here may run twice.
"""

from __future__ import annotations

import hashlib
import threading
import time
from typing import Any, Callable, Sequence
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.retry import Retry

from ftplugin.tls import problem_within


class _Limited:
    """Mixed into redis-py's connections: each step gets what is left of ``deadline_s``."""

    deadline_s = 0.0

    def _left(self) -> float:
        left_s = self.deadline_s - time.monotonic()
        if left_s <= 0:
            raise redis.TimeoutError("time limit reached")
        return left_s

    def _connect(self) -> Any:
        setattr(self, "socket_connect_timeout", self._left())
        sock = super()._connect()  # type: ignore[misc]
        sock.settimeout(self._left())
        return sock

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        sock = getattr(self, "_sock", None)
        if sock is not None:
            sock.settimeout(self._left())
        super().send_packed_command(command, check_health)  # type: ignore[misc]

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            kwargs["timeout"] = self._left()
            return super().read_response(*args, **kwargs)  # type: ignore[misc]
        except redis.TimeoutError:
            self.disconnect()  # type: ignore[attr-defined]  # a late answer must not meet the next question
            raise


class _Tcp(_Limited, Connection):
    pass


class _Tls(_Limited, SSLConnection):
    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        sock.settimeout(self._left())  # redis-py leaves the handshake without a limit
        return super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]


class _Unix(_Limited, UnixDomainSocketConnection):
    pass


class NotLoaded(redis.ResponseError):
    """A script is not known there, and this login may not bring it."""


class Script:
    """A Lua script and its SHA-1, by which Redis knows it."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


class DeadlineRedis:
    """One Redis, one connection, one command at a time; safe to share between threads."""

    def __init__(self, url: str, *, scripts: Sequence[Script] = (), **options: Any) -> None:
        """url: as redis-py takes it, an address rather than a name (DNS is outside the limit).

        scripts: kept known there for others, who may run them (EVALSHA) but none of their own (EVAL).
        """
        self._scripts, self._host = tuple(scripts), urlsplit(url).hostname or ""
        given = {**parse_url(url), **options}  # type: ignore[no-untyped-call]
        given.pop("connection_class", None)
        kind: Callable[..., Any] = {"rediss": _Tls, "unix": _Unix}.get(urlsplit(url).scheme, _Tcp)
        self._make: Callable[[], Any] = lambda: kind(
            retry=Retry(NoBackoff(), 0),
            protocol=2,
            driver_info=None,
            health_check_interval=0,
            decode_responses=True,
            **given,
        )
        self._lock = threading.Lock()
        self._connection: Any = None
        self._may_eval = True  # until Redis has said no

    def call(self, limit_s: float, *command: Any) -> Any:
        """The command's answer within ``limit_s`` seconds. Raises redis.RedisError or OSError."""
        return self._run(limit_s, lambda connection: self._ask(connection, *command))

    def script(self, limit_s: float, script: Script, keys: Sequence[str], arguments: Sequence[Any]) -> Any:
        """The script's answer within ``limit_s`` seconds. Raises NotLoaded, redis.RedisError or OSError."""

        def run(connection: Any) -> Any:
            try:
                return self._ask(connection, "EVALSHA", script.sha, len(keys), *keys, *arguments)
            except redis.exceptions.NoScriptError:
                self._load_scripts(connection)
            try:
                if self._may_eval:
                    return self._ask(connection, "EVAL", script.text, len(keys), *keys, *arguments)
            except redis.exceptions.NoPermissionError:  # we are the peer there; its own agent loads them
                self._may_eval = False
            raise NotLoaded("its own agent has not loaded the vote's scripts since it started")

        return self._run(limit_s, run)

    def change(self, limit_s: float, key: str, fields: Sequence[str], rule: Callable[[Any], dict[str, Any]]) -> None:
        """Read ``fields`` of the hash ``key``, write what ``rule`` makes of them, unless another writes in between.

        rule: from the values to the fields to write; asked again when another was faster. All within ``limit_s``
        seconds, in two round trips. Raises redis.RedisError, OSError, and what ``rule`` raises.
        """

        def run(connection: Any) -> None:
            written = None
            while written is None:  # each turn gets what is left of the limit
                _, values = self._ask_all(connection, ("WATCH", key), ("HMGET", key, *fields))
                try:
                    words = [word for pair in rule(values).items() for word in pair]
                except BaseException:
                    connection.disconnect()  # and with it what is watched
                    raise
                wanted = [("MULTI",), ("HSET", key, *words), ("EXEC",)] if words else [("UNWATCH",)]
                written = self._ask_all(connection, *wanted)[-1]

        self._run(limit_s, run)

    def _ask_all(self, connection: Any, *commands: Any) -> list[Any]:
        """The answers, in one round trip; the first error is raised after all were read."""
        connection.send_packed_command(connection.pack_commands(commands))
        answers: list[Any] = []
        for _ in commands:
            try:
                answers.append(connection.read_response())
            except redis.ResponseError as error:
                answers.append(error)
        for answer in answers:
            if isinstance(answer, redis.ResponseError):
                connection.disconnect()  # nothing stays watched or queued
                raise answer
        return answers

    def _ask(self, connection: Any, *command: Any) -> Any:
        if not connection.is_connected and self._scripts:
            connection.connect()
            self._load_scripts(connection)
        connection.send_command(*command)
        return connection.read_response()

    def _load_scripts(self, connection: Any) -> None:
        """All in one round trip."""
        if self._scripts:
            commands = [("SCRIPT", "LOAD", script.text) for script in self._scripts]
            connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                connection.read_response()

    def _run(self, limit_s: float, run: Callable[[Any], Any]) -> Any:
        deadline_s = time.monotonic() + limit_s
        if not self._lock.acquire(timeout=max(0.0, limit_s)):
            raise redis.TimeoutError("an earlier call is still waiting for this Redis")
        try:
            kept = self._connection is not None and self._connection.is_connected
            if self._connection is None:
                self._connection = self._make()
            connection = self._connection
            connection.deadline_s = deadline_s
            try:
                return run(connection)
            except redis.TimeoutError:
                connection.disconnect()
                raise
            except redis.ConnectionError as error:
                connection.disconnect()
                if not kept:
                    if problem := problem_within(error, self._host):
                        raise redis.ConnectionError(problem) from None
                    raise
                return run(connection)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Give up the connection; the next call opens a new one."""
        if self._lock.acquire(timeout=5):
            try:
                if self._connection is not None:
                    self._connection.disconnect()
            finally:
                self._lock.release()
