"""Votes in Redis: each voter keeps who may be active, under which epoch (spec 5.4, VotesPort).

A voter's record is one hash with a lease (owner, epoch, counter) and a switch lock (lock_owner, lock_epoch,
lock_counter). Its *mark* is the fingerprint ``lease|lock``; "missing" when there is no record at all. No voter's
clock is trusted and no TTL is set: a candidate may pass a lease or lock of the other node only at a mark that it
has itself watched standing still, on its own clock, for one lease. So ``lock`` compares the lock part, ``own`` the
lease part (the own lock has changed the other one by then), and a record that was wiped after the lock was taken is
refused.

Each rule is one Lua script: Redis runs those one at a time, which decides races. All may run twice. The same rules stand
in ``vote_rules`` for a Redis that does not know the scripts.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Mapping, Sequence

import redis

from ftplugin.core.settings import Settings, SettingsError, parse_address
from ftplugin.core.terms import Designation
from ftplugin.core.view import VoteReading
from ftplugin.store.keys import Keys
from workers.ports import Clock, Vote

from . import vote_rules
from .deadline_redis import DeadlineRedis, NotLoaded, Script

WITNESS = "witness"

# Every script answers {ok, owner, epoch, lock_owner, lock_epoch, lease part, lock part, reason}; KEYS[1] is the record.
_HEAD = """
local F = {'owner', 'epoch', 'counter', 'lock_owner', 'lock_epoch', 'lock_counter'}
local owner, epoch, counter, lock_owner, lock_epoch, lock_counter
local function load()
  local v = redis.call('HMGET', KEYS[1], unpack(F))
  owner, epoch, counter = v[1], tonumber(v[2] or '0'), tonumber(v[3] or '0')
  lock_owner, lock_epoch, lock_counter = v[4] or '', tonumber(v[5] or '0'), tonumber(v[6] or '0')
end
local function whole(n) return string.format('%.0f', n) end
local function lease_part()
  if not owner then return 'missing' end
  return owner .. '/' .. whole(epoch) .. '/' .. whole(counter)
end
local function lock_part()
  if lock_owner == '' then return '' end
  return lock_owner .. '/' .. whole(lock_epoch) .. '/' .. whole(lock_counter)
end
local function answer(ok, reason)
  load()
  return {ok, owner or '', whole(epoch), lock_owner, whole(lock_epoch), lease_part(), lock_part(), reason}
end
local function part(mark, which)
  if mark == 'missing' then return which == 1 and 'missing' or '' end
  local lease, lock = string.match(mark, '^(.-)|(.*)$')
  return which == 1 and lease or lock
end
local me, mine, mark = ARGV[1], tonumber(ARGV[2] or '0'), ARGV[3] or ''
load()
"""

_READ = Script(_HEAD + "return answer(1, '')")

_LOCK = Script(_HEAD + """
if mine <= epoch then return answer(0, 'a higher epoch owns or owned the lease') end
if lock_owner ~= '' and lock_owner ~= me then
  if mine <= lock_epoch then return answer(0, 'the other node holds the lock under a higher epoch') end
  if part(mark, 2) ~= lock_part() then return answer(0, 'the other node holds the lock') end
elseif lock_owner == me and mine < lock_epoch then
  return answer(0, 'own lock has a higher epoch already')
end
redis.call('HSET', KEYS[1], 'lock_owner', me, 'lock_epoch', whole(mine), 'lock_counter', whole(lock_counter + 1))
return answer(1, '')
""")

# ARGV[4]: 1 when the peer has itself signed that it owns nothing.
_OWN = Script(_HEAD + """
if owner == me and epoch == mine and lock_owner == '' then return answer(1, '') end
if lock_owner ~= me or lock_epoch ~= mine then return answer(0, 'own lock is gone') end
if mine <= epoch then return answer(0, 'a higher epoch owns or owned the lease') end
if owner ~= '' and owner ~= me and ARGV[4] ~= '1' and part(mark, 1) ~= lease_part() then
  return answer(0, 'the lease of the other node moved, or was not watched')
end
redis.call('HSET', KEYS[1], 'owner', me, 'epoch', whole(mine), 'counter', whole(counter + 1),
  'lock_owner', '', 'lock_epoch', '0')
return answer(1, '')
""")

# A lock alone, even of a higher epoch, does not end a lease: the candidate must see the counter stand still.
# An own lock up to this epoch has become the role long ago. It is left over where a voter was frozen while it was asked
# and took the lock when it went on; there it would refuse every switchover to the other node.
_RENEW = Script(_HEAD + """
if owner then
  if epoch > mine then return answer(0, 'a higher epoch owns or owned the lease') end
  if epoch == mine and owner ~= me then return answer(0, 'the lease was released under this epoch') end
end
redis.call('HSET', KEYS[1], 'owner', me, 'epoch', whole(mine), 'counter', whole(counter + 1))
if lock_owner == me and lock_epoch <= mine then redis.call('HSET', KEYS[1], 'lock_owner', '', 'lock_epoch', '0') end
return answer(1, '')
""")

_RELEASE = Script(_HEAD + """
if owner == me and epoch <= mine then redis.call('HSET', KEYS[1], 'owner', '', 'counter', whole(counter + 1)) end
if lock_owner == me and lock_epoch <= mine then redis.call('HSET', KEYS[1], 'lock_owner', '', 'lock_epoch', '0') end
return answer(1, '')
""")


@dataclass(frozen=True, slots=True)
class _Record:
    """One voter's answer."""

    ok: bool
    owner: str
    epoch: int
    lock_owner: str
    lock_epoch: int
    lease: str
    lock: str
    reason: str

    @classmethod
    def of(cls, answer: Sequence[Any]) -> _Record:
        ok, owner, epoch, lock_owner, lock_epoch, lease, lock, reason = answer
        lease, lock, reason = str(lease), str(lock), str(reason)
        return cls(bool(ok), str(owner), int(epoch), str(lock_owner), int(lock_epoch), lease, lock, reason)

    @classmethod
    def by_rules(cls, vote: dict[str, Any] | None, ok: bool) -> _Record:
        """Of a Redis that does not run the scripts."""
        known, reason = vote or vote_rules.FRESH_VOTE, "" if ok else "refused, by what its record says"
        owner, epoch, lock_owner, lock_epoch = (known[n] for n in ("owner", "epoch", "lock_owner", "lock_epoch"))
        parts = vote_rules.lease_part(vote), vote_rules.lock_part(vote)
        return cls(ok, str(owner or ""), int(epoch), str(lock_owner), int(lock_epoch), *parts, reason)

    @property
    def mark(self) -> str:
        return "missing" if self.lease == "missing" and not self.lock else f"{self.lease}|{self.lock}"


@dataclass(slots=True)
class _Watch:
    """Since when a part of one voter's record has been seen unchanged, on the own CLOCK_BOOTTIME."""

    part: str | None = None
    since_s: float = 0.0

    def see(self, part: str, after_s: float) -> float:
        """First sight counts from after the reading: earlier it may still have moved."""
        if part != self.part:
            self.part, self.since_s = part, after_s
        return self.since_s


SCRIPTS = (_READ, _LOCK, _OWN, _RENEW, _RELEASE)  # known to the own Redis, for the peer to run
_Changed = tuple[dict[str, Any] | None, bool]


def _look(vote: dict[str, Any] | None) -> _Changed:
    return vote, True


# For a Redis that was restarted while its own agent is dead: nobody has loaded the scripts there, and the peer may not.
# Without this such a voter would be none, and with a silent witness the active node would lose its majority for it.
_RULES: dict[Script, Callable[..., _Changed]] = {
    _LOCK: lambda me, epoch, mark, vote: vote_rules.vote_lock(vote, me, epoch, mark),
    _OWN: lambda me, epoch, mark, confirmed, vote: vote_rules.vote_own(vote, me, epoch, mark, bool(confirmed)),
    _RENEW: lambda me, epoch, vote: vote_rules.vote_renew(vote, me, epoch),
    _RELEASE: lambda me, epoch, vote: vote_rules.vote_release(vote, me, epoch),
}
Login = Callable[[], Mapping[str, Any]]


def no_login() -> Mapping[str, Any]:
    return {}


class RedisVotes:
    """VotesPort on the Redis of both nodes and, if set, the witness.

    settings, designation: asked at every call, so that a change is live at once; connections follow it. own_url: the
    node-local Redis. A voter without an address answers "could not tell".
    """

    def __init__(
        self,
        *,
        own_url: str,
        settings: Callable[[], Settings],
        designation: Callable[[], Designation],
        keys: Keys,
        clock: Clock,
        peer_login: Login = no_login,
        witness_login: Login = no_login,
        peer_tls: Mapping[str, str] | None = None,
        witness_tls: Mapping[str, str] | None = None,
    ) -> None:
        """peer_login, witness_login: redis-py's options, asked at each call, since 'ft pair' may change them. peer_tls,
        witness_tls: options of TLS, None without it; then that Redis is never asked without it."""
        self._own_url, self._settings, self._designation, self._keys = own_url, settings, designation, keys
        self._clock = clock
        self._peer_login, self._witness_login = peer_login, witness_login
        self._peer_tls, self._witness_tls = peer_tls, witness_tls
        self._lock = threading.Lock()
        self._clients: dict[str, tuple[tuple[str, Mapping[str, Any]], DeadlineRedis]] = {}
        self._watches: dict[tuple[str, str], _Watch] = {}

    def names(self) -> Sequence[str]:
        """The voters in the fixed order server1, server2, witness."""
        names = [str(Designation.SERVER1), str(Designation.SERVER2)]
        return [*names, WITNESS] if self._settings().witness else names

    def read(self, voter: str, limit_s: float) -> Vote:
        return self._vote(voter, limit_s, _READ)

    def reading(self, voter: str, limit_s: float) -> VoteReading:
        """The record, and since when this process has seen it unchanged.

        The own lock does not count as movement (a refused try would otherwise restart its own waiting); a lock of the
        other node does, for as long as it is there.
        """
        try:
            record = self._run(voter, limit_s, _READ)
        except (redis.RedisError, OSError, SettingsError, ValueError):
            return VoteReading(voter=voter)
        after_s = self._clock.now_s()
        foreign = record.lock if record.lock_owner != self._designation() else ""
        with self._lock:
            lease_s = self._watches.setdefault((voter, "lease"), _Watch()).see(record.lease, after_s)
            lock_s = self._watches.setdefault((voter, "lock"), _Watch()).see(foreign, after_s)
        return VoteReading(
            voter=voter,
            mark=record.mark,
            owner=record.owner,
            epoch=record.epoch,
            lock_owner=record.lock_owner,
            lock_epoch=record.lock_epoch,
            still_since_s=max(lease_s, lock_s) if foreign else lease_s,
        )

    def lock(self, voter: str, epoch: int, mark: str | None, limit_s: float) -> Vote:
        return self._vote(voter, limit_s, _LOCK, epoch, mark or "")

    def own(self, voter: str, epoch: int, mark: str | None, confirmed: bool, limit_s: float) -> Vote:
        return self._vote(voter, limit_s, _OWN, epoch, mark or "", int(confirmed))

    def renew(self, voter: str, epoch: int, limit_s: float) -> Vote:
        return self._vote(voter, limit_s, _RENEW, epoch)

    def release(self, voter: str, epoch: int, limit_s: float) -> Vote:
        return self._vote(voter, limit_s, _RELEASE, epoch)

    def _vote(self, voter: str, limit_s: float, script: Script, *arguments: Any) -> Vote:
        try:
            record = self._run(voter, limit_s, script, *arguments)
        except (redis.RedisError, OSError, SettingsError, ValueError) as error:
            return Vote(voter=voter, ok=None, detail=f"{type(error).__name__}: {error}"[:200])
        return Vote(
            voter=voter, ok=record.ok, epoch=record.epoch, owner=record.owner, mark=record.mark, detail=record.reason
        )

    def _run(self, voter: str, limit_s: float, script: Script, *arguments: Any) -> _Record:
        me, client, key = str(self._designation()), self._client(voter), self._keys.vote
        end_s = time.monotonic() + limit_s
        try:
            return _Record.of(client.script(limit_s, script, [key], [me, *arguments]))
        except NotLoaded:
            word = partial(_RULES[script], me, *arguments) if arguments else _look
        found: list[_Record] = []

        def rule(values: Sequence[Any]) -> dict[str, Any]:
            before = vote_rules.record_of(values)
            after, ok = word(before)
            found.append(_Record.by_rules(after, ok))
            return vote_rules.changes(before, after)

        client.change(end_s - time.monotonic(), key, vote_rules.FIELDS, rule)
        return found[-1]

    def _client(self, voter: str) -> DeadlineRedis:
        place = self._place(voter)
        with self._lock:
            known = self._clients.get(voter)
            if known is not None and known[0] == place:
                return known[1]
            own = place[0] == self._own_url
            client = DeadlineRedis(place[0], scripts=SCRIPTS if own else (), **place[1])
            self._clients[voter] = (place, client)
            for part in ("lease", "lock"):  # another Redis: what was watched says nothing of it
                self._watches.pop((voter, part), None)
        if known is not None:
            known[1].close()
        return client

    def _place(self, voter: str) -> tuple[str, Mapping[str, Any]]:
        """(URL, options) of a voter. Raises SettingsError while its address is not set."""
        settings, own = self._settings(), self._designation()
        if voter == own:
            return self._own_url, {}
        if voter == WITNESS:
            return over_tls(f"redis://{settings.witness}/0", self._witness_tls), _options(
                self._witness_login, self._witness_tls
            )
        address = parse_address(f"{voter}_address", settings.address_of(Designation(voter)))
        url = over_tls(peer_redis_url(address.host, settings.agent_port), self._peer_tls)
        return url, _options(self._peer_login, self._peer_tls)

    def close(self) -> None:
        with self._lock:
            clients = [client for _, client in self._clients.values()]
            self._clients.clear()
        for client in clients:
            client.close()


def _options(login: Login, tls: Mapping[str, str] | None) -> dict[str, Any]:
    return {**login(), **(tls or {})}


def over_tls(url: str, tls: Mapping[str, str] | None) -> str:
    """The URL of a Redis that is asked over TLS, where there are options of it."""
    return url if tls is None else url.replace("redis://", "rediss://", 1)


def peer_redis_url(host: str, port: int) -> str:
    """URL of the peer's Redis: an IP address, so that no name has to be looked up (facts, Celery 9)."""
    return f"redis://[{host}]:{port}/0" if ":" in host else f"redis://{host}:{port}/0"
