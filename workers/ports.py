"""What the agent needs of the world, as protocols. Real adapters are in ``workers/adapters``, the simulator's in ``tests/sim``.

Every call that can block takes its limit and keeps it; no call raises for a dead peer, Redis or service: what could not
be done comes back as a value. Points in time are seconds of CLOCK_BOOTTIME (``Clock.now_s``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Mapping, Protocol, Sequence

from ftplugin.core.settings import Settings
from ftplugin.core.records import OpenSwitch, RoleRecord, StepResult
from ftplugin.core.terms import Designation, Phase, Role
from ftplugin.core.view import LanReading, NodeState, Probe, ServiceReading, VipReading, VoteReading


class Clock(Protocol):
    @property
    def boot_id(self) -> str: ...

    def now_s(self) -> float:
        """CLOCK_BOOTTIME in seconds."""

    def wall_s(self) -> float:
        """Wall clock in seconds since 1970; shown, never decided on (I-H)."""

    def monotonic_s(self) -> float:
        """CLOCK_MONOTONIC in seconds; differs from now_s by time asleep."""

    def sleep(self, seconds: float) -> None: ...


class Runner(Protocol):
    def side_by_side(
        self,
        calls: Sequence[Callable[[], Any]],
        limit_s: float,
        enough: Callable[[Any], bool] | None = None,
        last_here: bool = False,
    ) -> list[Any]:
        """Results in order; None for one that has not ended within the limit (it is left behind, never waited for).

        ``enough``: return at once when it holds for any one result. ``last_here``: the last call keeps its own limit,
        so it may run in the calling thread.
        """


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """Answer of the peer's node API. ``answered`` is False when nothing signed came back."""

    answered: bool
    state: NodeState | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""


class PeerPort(Protocol):
    def probe(self, limit_s: float, *, check_body: bool) -> Probe:
        """One hedged probe of the peer's monitor (spec 5). ``check_body``: the application-error setting."""

    def probe_own(self, limit_s: float) -> Probe:
        """The same question to the own portal; cause BODY when IPSWS is KO, whatever the setting."""

    def command(self, name: str, body: Mapping[str, Any], limit_s: float) -> Reply:
        """Send one signed command (``demote``, ``switch``) to the peer's portal."""

    def state(self, limit_s: float) -> Reply:
        """The peer's signed state, one attempt; used while waiting for a fence."""

    def settings(self, limit_s: float) -> Reply:
        """The peer's settings: body {revision, saved_at, origin, actor, values}."""

    def status(self, limit_s: float) -> Reply:
        """What the peer's own page shows of it (``ftplugin.status.short``); asked only while somebody looks."""


class ChannelPort(Protocol):
    def demote(self, epoch: int, nonce: str, limit_s: float) -> bool:
        """Put demote(epoch) into the peer's queue; True when its broker took it (that is no answer, spec 5.5)."""

    def word(self, nonce: str) -> tuple[int, bool] | None:
        """(epoch, clear) if the peer's agent has answered this nonce with its signed word."""

    def answer(self, nonce: str, epoch: int, clear: bool, limit_s: float) -> None:
        """Send the own word to the peer's Redis."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Vote:
    """Outcome of one request to one voter. ``ok`` None: could not tell (unreachable)."""

    voter: str
    ok: bool | None
    epoch: int = 0
    owner: str = ""
    mark: str | None = None
    detail: str = ""


class VotesPort(Protocol):
    """The voters: "server1", "server2" and, if set, "witness" (spec 5.4). Each call has one limit for one voter.

    ``marks`` are the fingerprints that the candidate has watched standing still for one lease; a voter not in it must
    have released its lease. ``confirmed`` True: the peer has itself signed that it owns nothing.
    """

    def names(self) -> Sequence[str]:
        """Own voters in the fixed order server1, server2, witness."""

    def read(self, voter: str, limit_s: float) -> Vote: ...

    def reading(self, voter: str, limit_s: float) -> VoteReading: ...

    def lock(self, voter: str, epoch: int, mark: str | None, limit_s: float) -> Vote:
        """Take the switch lock; refused when the peer holds a lock that is not at ``mark``, or for a lower epoch."""

    def own(self, voter: str, epoch: int, mark: str | None, confirmed: bool, limit_s: float) -> Vote:
        """Turn the lock into the lease; refused when the peer's lease moved since ``mark`` and is not released."""

    def renew(self, voter: str, epoch: int, limit_s: float) -> Vote:
        """Move the counter; writes a missing record again; refused when a higher epoch owns it."""

    def release(self, voter: str, epoch: int, limit_s: float) -> Vote:
        """Give up lock and lease up to this epoch; the epoch stays."""


class RuntimePort(Protocol):
    """Node-local Redis. Raises nothing: None or False means it did not answer within 200 ms."""

    def read_role(self) -> RoleRecord | None:
        """None: no answer. A record with epoch 0: nothing stored (wiped)."""

    def write_role(self, record: RoleRecord) -> bool:
        """Store unless a higher epoch is stored or, for role active, a higher epoch was seen. One atomic step."""

    def renew(self, epoch: int, deadline_s: float, boot_id: str, wall_ahead_s: float) -> str:
        """ "ok", "missing" (no record), "other" (another epoch or role is stored), "silent" (no answer)."""

    def see_epoch(self, epoch: int) -> bool: ...

    def set_progress(self, epoch: int, phase: Phase, progress_s: float) -> bool: ...

    def set_clear(self, epoch: int, clear: bool) -> bool:
        """Record that everything is demoted (or not), for a node that is not active, at that or a lower epoch."""

    def publish(self, name: str, value: Mapping[str, Any]) -> bool:
        """Keep one JSON document for portal and page: "view", "decision", "agent", "vip", "switch", "services"."""

    def publish_many(self, documents: Mapping[str, Mapping[str, Any]]) -> bool:
        """Several documents in one round trip."""

    def fetch(self, name: str) -> dict[str, Any] | None: ...

    def forget(self, name: str) -> bool: ...

    def fetch_many(self, names: Sequence[str]) -> dict[str, dict[str, Any] | None]:
        """Several documents in one round trip; all None when Redis does not answer."""


class JournalPort(Protocol):
    """SQLAlchemy: durable before acting (I-G). Methods return False when the database could not be written."""

    def epoch(self) -> int:
        """Highest durable epoch, 0 when none. Also when the database cannot be read."""

    def begin(self, *, switch_id: str, kind: str, rule: str, reason: str, epoch: int, actor: str) -> bool:
        """Record a switch and its epoch before it acts; kind is "promote" or "demote"."""

    def step(self, switch_id: str, index: int, result: StepResult) -> bool: ...

    def end(self, switch_id: str, outcome: str, role: Role, detail: str) -> bool:
        """outcome: "done", "failed", "undone", "refused", "aborted"; role is what the node is now."""

    def unfinished(self) -> Sequence[OpenSwitch]: ...

    def save_lease(self, epoch: int, deadline_s: float, boot_id: str) -> bool: ...

    def last_role(self) -> RoleRecord | None:
        """Role, epoch, boot id and lease deadline as last journalled; None when unknown."""

    def standing(self) -> dict[str, dict[str, Any]] | None:
        """Pause and drain by name, those that are ordered; None when the database cannot be read."""

    def notices(self) -> dict[str, dict[str, Any]] | None:
        """What the other server is to be told, by topic; None when the database cannot be read."""

    def set_notice(self, topic: str, document: Mapping[str, Any]) -> bool: ...

    def told(self, topic: str, revision: int) -> bool:
        """The other server has the notice of this topic and revision."""

    def manual_hold(self) -> bool: ...

    def set_manual_hold(self, hold: bool) -> bool: ...

    def automatic_switches(self, window_s: float) -> int: ...


class ServicePort(Protocol):
    """One controlled service. Every call ends within its limit and returns what is known then."""

    name: str
    start_limit_s: float
    stop_limit_s: float
    status_limit_s: float

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading: ...

    def demote(self, epoch: int) -> ServiceReading: ...

    def status(self) -> ServiceReading: ...

    def restart(self, own: bool) -> ServiceReading:
        """Clear up a dead service. It owns nothing after this; the caller promotes it under its epoch.

        own: this node may own. False: it must end owning nothing, a start that still runs included.
        """

    def renew(self, epoch: int, lease_left_s: float, limit_s: float) -> None:
        """Hand on the renewed lease to a service that checks it itself; others ignore it. Ends within ``limit_s``."""


class LanPort(Protocol):
    def reading(self) -> LanReading: ...

    def portal_seen_s(self) -> float | None:
        """When the own portal last answered ``/live``."""


class VipPort(Protocol):
    def probe(self, limit_s: float) -> VipReading: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Fenced:
    """How a fence command ended. ``done``: it says that the other server owns nothing any more."""

    done: bool
    detail: str


class FencePort(Protocol):
    def fence(self, target: Designation, address: str, epoch: int, reason: str, alive: Callable[[str], None]) -> Fenced:
        """Run the fence command against ``target``, within its own limit; ``alive`` is called about each second, and ends
        it by raising."""


class SettingsPort(Protocol):
    def current(self) -> tuple[int, Settings]:
        """(revision, settings) from memory, re-read from the database when it has changed; the last good ones else."""

    def previous(self) -> Settings | None:
        """The settings before the current revision while the peer has not acknowledged it, else None."""

    def mark(self) -> str:
        """``Settings.mark`` of the newest settings as saved; two edits with one revision differ in it."""

    def acknowledged(self, revision: int) -> None: ...

    def adopt(self, document: Mapping[str, Any]) -> None: ...


class DispatchPort(Protocol):
    def switch(self, order: Mapping[str, Any]) -> bool:
        """Start a switch sequence as a task on the switch queue; False when the broker did not take it."""

    def progress(self, step: str, detail: str) -> None:
        """Show the running step in the task's state (Flower)."""


class LogPort(Protocol):
    def report(self, source: str, text: str) -> None:
        """One line of FT_REPORT (spec 8)."""

    def event(self, name: str, **facts: Any) -> None:
        """A countable event: refused message, lost lease, …"""


@dataclass(frozen=True, kw_only=True)
class Ports:
    clock: Clock
    runner: Runner
    peer: PeerPort
    channel: ChannelPort
    votes: VotesPort
    runtime: RuntimePort
    journal: JournalPort
    services: Sequence[ServicePort]
    lan: LanPort
    vip: VipPort
    settings: SettingsPort
    dispatch: DispatchPort
    log: LogPort
    fence: FencePort | None = None  # None: no fence command is configured
