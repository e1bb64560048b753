"""One login at one Redis, and what that login may do, found out without doing any of it.

A command that is queued in a transaction is checked against the ACL at once, by every Redis since 6.0; DISCARD then
throws all of it away. So whoever logs in may ask what it is allowed to do, without the right to ask about ACLs.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import redis
from redis.exceptions import NoPermissionError

from ftplugin.store.keys import AGENT_QUEUE, Keys
from ftplugin.store.runtime import connect
from ftplugin.tls import problem_within

Command = tuple[str, ...]
READ_VOTE = "return redis.call('HMGET', KEYS[1], 'owner', 'epoch')"
# The vote's words write by script. HSET with an odd number of values is checked against the ACL and then refused, so
# nothing is written.
TRY_VOTE = "return redis.pcall('HSET', KEYS[1], 'owner', '', 'epoch')"
NO_PERMISSION = ("NOPERM", "no permissions", "can't run this command", "can't access")


class Login:
    """One connection. Every read and write has ``limit_s`` seconds; the whole check has a limit of its own."""

    def __init__(self, url: str, limit_s: float, **login: Any) -> None:
        """Raises redis.RedisError when there is no Redis, or the login is refused."""
        self._client = connect(
            url, limit_s, protocol=2, driver_info=None, **login
        )  # 6.2 refuses CLIENT SETINFO to the peer's login
        self._connection: Any = self._client.connection_pool.get_connection()

    def ask(self, *command: object) -> Any:
        """The plain answer. Raises redis.RedisError."""
        self._connection.send_command(*command)
        return self._connection.read_response()

    def pairs(self, *command: object) -> dict[str, Any]:
        """An answer that is a flat list of names and values."""
        answer = self.ask(*command) or []
        return dict(zip(answer[::2], answer[1::2], strict=False))

    def info(self, section: str) -> dict[str, str]:
        lines = str(self.ask("INFO", section)).splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def refused(self, commands: Sequence[Command]) -> list[Command]:
        """Those that this login may not do. Nothing is done: the transaction is discarded. Raises redis.RedisError."""
        words = [("MULTI",), *commands, ("DISCARD",)]
        self._connection.send_packed_command(self._connection.pack_commands(words))
        denied = []
        for command in words:
            try:
                self._connection.read_response()
            except NoPermissionError:
                denied.append(command)
            except redis.ResponseError as error:
                if ("MULTI",) not in denied:  # without a transaction what follows it says nothing of its own
                    raise redis.ResponseError(f"{command[0]}: {error}") from None
        return denied

    def votes(self, keys: Keys) -> str:
        """Why this login cannot vote by script; empty when it can. Nothing is written. Raises redis.RedisError."""
        try:
            self.ask("EVAL", READ_VOTE, 1, keys.vote)
            self.ask("EVAL", TRY_VOTE, 1, keys.vote)
        except NoPermissionError as error:
            return str(error)
        except redis.ResponseError as error:
            return str(error) if any(word in str(error) for word in NO_PERMISSION) else ""
        return ""

    def close(self) -> None:
        self._connection.disconnect()
        self._client.close()


def needed(keys: Keys) -> list[Command]:
    """What the peer's agent sends: votes by scripts that are known there, its answer, and a demote message."""
    vote = keys.vote
    return [
        ("PING",),
        ("EVALSHA", "0" * 40, "1", vote),
        ("HMGET", vote, "owner"),
        ("HSET", vote, "owner", ""),
        ("SET", keys.word_prefix + "doctor", "", "EX", "1"),
        ("LPUSH", keys.queue(AGENT_QUEUE), "x"),
    ]


def needed_here(keys: Keys) -> list[Command]:
    """What it sends besides where nobody has loaded the scripts; not to be tried in a transaction, which it would end."""
    return [("WATCH", keys.vote), ("UNWATCH",), ("EXEC",)]


def needed_at_witness(keys: Keys) -> list[Command]:
    """Votes by scripts that the agents bring along: nobody else is there to load them."""
    votes = [command for command in needed(keys) if command[0] in ("PING", "EVALSHA", "HMGET", "HSET")]
    return [*votes, ("EVAL", "return 1", "1", keys.vote)]


def forbidden(keys: Keys) -> list[Command]:
    """Samples of what the peer's login must not be able to do."""
    return [
        ("HSET", keys.role, "role", "active"),
        ("GET", keys.document("agent")),
        ("SET", keys.challenge_prefix + "doctor", "1"),
        ("LPUSH", keys.queue("tick"), "x"),
        ("LPUSH", keys.queue("switch"), "x"),
        ("EVAL", "return 1", "1", keys.vote),
        ("CONFIG", "GET", "save"),
        ("ACL", "LIST"),
        ("KEYS", "*"),
        ("FLUSHALL",),
    ]


def named(commands: Sequence[Command]) -> str:
    """The commands with their key, as ``HSET ft:vote``."""
    without_key = {"PING", "MULTI", "DISCARD", "EXEC", "UNWATCH", "KEYS", "FLUSHALL"}
    return ", ".join(
        c[0] if c[0] in without_key else f"{c[0]} {c[3] if c[0].startswith('EVAL') else c[1]}" for c in commands
    )


def denied_to(login: Login, user: str, commands: Sequence[Command], account: dict[str, Any]) -> list[Command]:
    """Which ``commands`` the ACL user ``user`` of this Redis may not do, asked by an administrator's login.

    account: the answer of ACL GETUSER, which Redis 6 is judged by; Redis 7 is asked with ACL DRYRUN.
    Raises redis.RedisError.
    """
    try:
        return [command for command in commands if login.ask("ACL", "DRYRUN", user, *command) != "OK"]
    except NoPermissionError:
        raise
    except redis.ResponseError:
        return judged(login.ask, commands, account)


def judged(ask: Callable[..., Any], commands: Sequence[Command], account: dict[str, Any]) -> list[Command]:
    """As ``denied_to`` for Redis 6, whose GETUSER lists rules in order and plain key patterns."""
    rules, patterns = str(account.get("commands", "")).split(), list(account.get("keys", []))
    members: dict[str, set[str]] = {}

    def matches(rule: str, name: str) -> bool:
        if not rule.startswith("@"):
            return rule == name
        if rule == "@all":
            return True
        if rule not in members:
            members[rule] = {str(command).lower() for command in ask("ACL", "CAT", rule[1:])}
        return name in members[rule]

    def may(command: Command) -> bool:
        allowed = False
        for rule in rules:
            if matches(rule[1:], command[0].lower()):
                allowed = rule[0] == "+"
        key = _key_of(command)
        return allowed and (key is None or any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns))

    return [command for command in commands if not may(command)]


def _key_of(command: Command) -> str | None:
    if command[0] in ("EVAL", "EVALSHA"):
        return command[3]
    if command[0] in ("HMGET", "HSET", "SET", "GET", "LLEN", "SADD", "LPUSH", "WATCH"):
        return command[1]
    return None


def in_words(error: Exception, limit_s: float) -> str:
    """Why there was no answer, or no permission."""
    if "without any password configured" in str(error):
        return "it has no password, though a password is given to log in"
    if isinstance(error, redis.AuthenticationError) or "WRONGPASS" in str(error):
        return "the login is refused: wrong user or password"
    if "NOAUTH" in str(error):
        return "it asks for a password and none is set"
    if problem := problem_within(error, "that Redis"):
        return problem
    if isinstance(error, redis.TimeoutError):
        return f"no answer within {limit_s:g} s"
    text = str(error)
    return "connection refused" if "refused" in text.lower() else text
