"""The other server's login at this server's Redis: what it may do, in a file for Redis and in the running Redis.

It may run the vote's scripts, but none of its own (no EVAL): one endless loop would hold this Redis for good. The
scripts act with the rights of who runs them, so HMGET and HSET of the one vote must be allowed too. It may leave its
signed word, and push into the agent queue, of which the switch worker takes demote messages alone. Selectors (Redis 7)
keep the three apart: a SET that is allowed for words is not one for the vote.
"""

from __future__ import annotations

import hashlib
import pathlib
import secrets
from typing import Any

import redis

from ..store.keys import AGENT_QUEUE, Keys
from .files import SecretFileError, read_secret, write_secret

WITNESS_USER = "voter"
PLAIN = ("+ping", "+multi", "+discard")  # "ft doctor" asks so what it may do, and does nothing
TRANSACTION = ("+exec", "+unwatch")  # of what it may do: a vote where nobody has loaded the scripts
_HEAD = "# The other server's login here. Written by 'ft pair'; name this file in redis.conf: include PATH\n"


class RedisUsersError(RuntimeError):
    """The running Redis did not take the users; the message says why and the way out."""


def new_password() -> str:
    return secrets.token_urlsafe(24)


def hashed(password: str) -> str:
    """As an ACL holds it: no file and no Redis needs the password itself."""
    return "#" + hashlib.sha256(password.encode()).hexdigest()


def peer_rules(keys: Keys) -> list[str]:
    """What the other server may do here, without its password."""
    vote, words, queue = f"~{keys.vote}", f"~{keys.word_prefix}*", f"~{keys.queue(AGENT_QUEUE)}"
    selectors = [f"({vote} +evalsha +hmget +hset +watch)", f"({words} +set)", f"({queue} +lpush)"]
    return ["resetkeys", "resetchannels", "-@all", *PLAIN, *TRANSACTION, *selectors]


def witness_rules(keys: Keys) -> list[str]:
    """What both servers may do at the witness. Nobody is at home there to load scripts, so they send them (EVAL)."""
    return ["resetkeys", "resetchannels", "-@all", *PLAIN, f"(~{keys.vote} +evalsha +eval +hmget +hset)"]


def line(user: str, password_hash: str, rules: list[str]) -> str:
    """One line of redis.conf or of an ACL file."""
    return " ".join(["user", user, "on", password_hash, *rules])


def write_users(path: pathlib.Path, user: str, password_hash: str, keys: Keys) -> None:
    """The file that redis.conf includes. Raises OSError."""
    write_secret(path, users_text(user, password_hash, keys))


def users_text(user: str, password_hash: str, keys: Keys) -> str:
    """What ``write_users`` writes."""
    return _HEAD + line(user, password_hash, peer_rules(keys)) + "\n"


def hash_in(path: pathlib.Path, user: str) -> str:
    """The hash of the user's password in that file; "" when there is none. Raises SecretFileError."""
    try:
        text = read_secret(path)
    except FileNotFoundError:
        return ""
    for words in (row.split() for row in text.splitlines()):
        if words[:2] == ["user", user]:
            return next((word for word in words if word.startswith("#")), "")
    raise SecretFileError(f"{path}: has no user {user}; remove the file and run 'ft pair' or 'ft redis-acl --write'")


def lacking_in(path: pathlib.Path, user: str, keys: Keys) -> list[str]:
    """Which rights of ``peer_rules`` that user's line in the file does not have; they would be missing after the next start of
    Redis, whatever the running one was told. Raises FileNotFoundError, SecretFileError.
    """
    rows = [" ".join(row.split()) for row in read_secret(path).splitlines()]
    mine = [row for row in rows if row.startswith(f"user {user} ")]
    if not mine:
        raise SecretFileError(f"{path}: has no user {user}")
    return [rule for rule in peer_rules(keys) if not any(f" {rule} " in f"{row} " for row in mine)]


def apply(client: redis.Redis, user: str, password_hash: str, keys: Keys) -> None:
    """Tell the running Redis, and end each connection of the former password. Raises RedisUsersError."""
    try:
        ask: Any = client.execute_command
        ask("ACL", "SETUSER", user, "reset", "on", password_hash, *peer_rules(keys))
        ask("CLIENT", "KILL", "USER", user)
        file: Any = client.config_get("aclfile")
        if file.get("aclfile"):
            ask("ACL", "SAVE")
    except (redis.RedisError, OSError) as error:
        raise RedisUsersError(f"this server's Redis did not take user {user}: {error}") from None
