"""Node-local runtime state in Redis: the role record and small documents for portal, agent and guard.

Every call has the limit of the client it is built with (200 ms) and raises nothing: a Redis that is dead, frozen or loading
comes back as None or False, and the reader treats that as "could not tell". Rules that must hold when two processes
write at once are Lua scripts, since Redis runs those one at a time.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence, cast

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase

from .keys import Keys
from .role_record import CLEAR, LIMIT_S, document_of, record_of

CLEANUP_S = 86_400  # TTLs only clean up; no decision reads them (facts: they follow the wall clock)
CHALLENGE_CLEANUP_S = 300


def connect(url: str, limit_s: float = LIMIT_S, **options: Any) -> redis.Redis:
    """A client that gives up after ``limit_s`` and never retries (redis-py's default retries for a minute)."""
    return redis.Redis.from_url(
        url,
        socket_connect_timeout=limit_s,
        socket_timeout=limit_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_timeout=False,
        health_check_interval=0,
        decode_responses=True,
        **options,
    )


# KEYS: role. ARGV: role phase epoch boot_id deadline clear progress since wall_ahead. Refuses a lower epoch than stored, and an
# active role below an epoch that was seen: a node that promised to stay standby cannot become active under an older one.
_WRITE = """
local stored = tonumber(redis.call('HGET', KEYS[1], 'epoch') or '0')
local seen = tonumber(redis.call('HGET', KEYS[1], 'seen_epoch') or '0')
local epoch = tonumber(ARGV[3])
if epoch < stored then return 0 end
if ARGV[1] == 'active' and epoch < seen then return 0 end
redis.call('HSET', KEYS[1], 'role', ARGV[1], 'phase', ARGV[2], 'epoch', ARGV[3], 'boot_id', ARGV[4],
  'deadline_s', ARGV[5], 'clear', ARGV[6], 'progress_s', ARGV[7], 'since_wall_s', ARGV[8],
  'wall_ahead_s', ARGV[9])
if epoch > seen then redis.call('HSET', KEYS[1], 'seen_epoch', ARGV[3]) end
return 1
"""
# KEYS: role. ARGV: epoch deadline boot_id wall_ahead.
_RENEW = """
local stored = redis.call('HGET', KEYS[1], 'epoch')
if not stored then return 'missing' end
if tonumber(stored) ~= tonumber(ARGV[1]) or redis.call('HGET', KEYS[1], 'role') ~= 'active' then return 'other' end
if tonumber(redis.call('HGET', KEYS[1], 'seen_epoch') or '0') > tonumber(ARGV[1]) then return 'other' end
redis.call('HSET', KEYS[1], 'deadline_s', ARGV[2], 'boot_id', ARGV[3], 'wall_ahead_s', ARGV[4])
return 'ok'
"""
_SEE = """
local seen = tonumber(redis.call('HGET', KEYS[1], 'seen_epoch') or '0')
if tonumber(ARGV[1]) > seen then redis.call('HSET', KEYS[1], 'seen_epoch', ARGV[1]) end
return 1
"""
# KEYS: role. ARGV: epoch, phase, progress_s.
_PROGRESS = """
if tonumber(redis.call('HGET', KEYS[1], 'epoch') or '-1') ~= tonumber(ARGV[1]) then return 0 end
redis.call('HSET', KEYS[1], 'phase', ARGV[2], 'progress_s', ARGV[3])
return 1
"""


def _text(value: float | None) -> str:
    return "" if value is None else repr(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """What one round trip told. ``role`` None: Redis did not answer; then everything else is empty too."""

    role: RoleRecord | None = None
    challenge: str = ""
    documents: Mapping[str, dict[str, Any] | None] = field(default_factory=dict)


class RuntimeStore:
    """The node's own Redis, with the rules of RuntimePort (``workers/ports.py``)."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self.client, self.keys = client, keys
        self._write = client.register_script(_WRITE)
        self._renew = client.register_script(_RENEW)
        self._see = client.register_script(_SEE)
        self._progress = client.register_script(_PROGRESS)
        self._clear = client.register_script(CLEAR)

    def read_role(self) -> RoleRecord | None:
        """None: Redis did not answer. A record with epoch 0 and role undecided: nothing is stored."""
        try:
            return record_of(cast("dict[str, str]", self.client.hgetall(self.keys.role)))
        except (redis.RedisError, OSError, ValueError):
            return None

    def snapshot(self, names: Sequence[str] = (), *, challenge: bool = False) -> Snapshot:
        """Role and the documents ``names``, in one round trip. challenge: also keep a new nonce for a command."""
        nonce = secrets.token_urlsafe(9) if challenge else ""
        try:
            pipe = self.client.pipeline(transaction=False)
            if nonce:
                pipe.set(self.keys.challenge_prefix + nonce, "1", ex=CHALLENGE_CLEANUP_S)
            pipe.hgetall(self.keys.role)
            for name in names:
                pipe.get(self.keys.document(name))
            answers = pipe.execute()[int(bool(nonce)) :]
            return Snapshot(
                role=record_of(answers[0]),
                challenge=nonce,
                documents={name: document_of(text) for name, text in zip(names, answers[1:])},
            )
        except (redis.RedisError, OSError, ValueError):
            return Snapshot()

    def write_role(self, record: RoleRecord) -> bool:
        """Store the record in one atomic step; False when refused or Redis did not answer."""
        progress = _text(record.progress_s)
        arguments = [record.role, record.phase, record.epoch, record.boot_id, repr(record.deadline_s)]
        arguments += [int(record.clear), progress, repr(record.since_wall_s), _text(record.wall_ahead_s)]
        return bool(self._run(self._write, *arguments) == 1)

    def renew(self, epoch: int, deadline_s: float, boot_id: str, wall_ahead_s: float) -> str:
        """ "ok", "missing", "other" (another epoch or role is stored) or "silent" (no answer)."""
        answer = self._run(self._renew, epoch, repr(deadline_s), boot_id, repr(wall_ahead_s))
        return "silent" if answer is None else str(answer)

    def see_epoch(self, epoch: int) -> bool:
        """From now on no role below this epoch can become active here."""
        return bool(self._run(self._see, epoch) == 1)

    def set_progress(self, epoch: int, phase: Phase, progress_s: float) -> bool:
        return bool(self._run(self._progress, epoch, phase, repr(progress_s)) == 1)

    def set_clear(self, epoch: int, clear: bool) -> bool:
        return bool(self._run(self._clear, epoch, int(clear)) == 1)

    def _run(self, script: Any, *arguments: Any) -> Any:
        try:
            return script(keys=[self.keys.role], args=[str(a) for a in arguments])
        except (redis.RedisError, OSError):
            return None

    def publish(self, name: str, value: Mapping[str, Any]) -> bool:
        try:
            return bool(self.client.set(self.keys.document(name), json.dumps(value, default=str), ex=CLEANUP_S))
        except (redis.RedisError, OSError):
            return False

    def publish_many(self, documents: Mapping[str, Mapping[str, Any]]) -> bool:
        """Several documents in one round trip."""
        try:
            pipe = self.client.pipeline(transaction=False)
            for name, value in documents.items():
                pipe.set(self.keys.document(name), json.dumps(value, default=str), ex=CLEANUP_S)
            return all(pipe.execute())
        except (redis.RedisError, OSError):
            return False

    def fetch_many(self, names: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Several documents in one round trip; None for each that is missing, and for all when Redis did not answer."""
        try:
            texts = cast("list[str | None]", self.client.mget([self.keys.document(name) for name in names]))
            return {name: document_of(text) for name, text in zip(names, texts)}
        except (redis.RedisError, OSError):
            return dict.fromkeys(names)

    def fetch(self, name: str) -> dict[str, Any] | None:
        """The document, or None: never written, or Redis did not answer."""
        try:
            text = self.client.get(self.keys.document(name))
            return dict(json.loads(str(text))) if text else None
        except (redis.RedisError, OSError, ValueError):
            return None

    def forget(self, name: str) -> bool:
        try:
            self.client.delete(self.keys.document(name))
            return True
        except (redis.RedisError, OSError):
            return False

    def use_challenge(self, challenge: str) -> bool:
        """True once for each challenge given: a replayed command finds it used."""
        try:
            return bool(self.client.delete(self.keys.challenge_prefix + challenge))
        except (redis.RedisError, OSError):
            return False

    def count_refused(self, cause: str) -> None:
        try:
            self.client.hincrby(self.keys.refused, cause, 1)
        except (redis.RedisError, OSError):
            return

    def refused(self) -> dict[str, int]:
        try:
            return {str(k): int(v) for k, v in self.client.hgetall(self.keys.refused).items()}
        except (redis.RedisError, OSError):
            return {}
