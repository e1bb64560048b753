"""The node's own word about itself, built from its Redis (spec 3). Shared by monitor, node API, page and command line.

No answer from Redis gives no state at all: a node that does not know its role signs nothing, and its peer counts a bad
probe. An agent that wrote its last tick under another boot id has not ticked since this boot.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .clock import SystemClock
from .core.lease import clocks_agree
from .core.records import RoleRecord
from .core.settings import Settings
from .core.terms import Designation, Role, SplitStance
from .core.view import NodeState
from .store.runtime import RuntimeStore, Snapshot

AGENT = "agent"
HEALTH = "health"
DAILY = "daily"
CONTENT = "content"  # what the portal replicates (``ftplugin.replicate.engine``)
HEALTH_PERIOD_S_MIN, HEALTH_PERIOD_S_MAX, HEALTH_CHECK_S = 2.0, 15.0, 3.0  # as the agent checks
HEALTH_STALE_CHECKS = 3
CACHE_S = 0.05  # issue 2, "Speed": a cached read is fine while it is younger than 50 ms and inside the lease


def lease_left_s(record: RoleRecord, boot_id: str, now_s: float, wall_s: float) -> float:
    """Seconds until an active node's lease ends; 0 when it is not active, the lease is of another boot, or a clock made a
    step since it was renewed: the agent must verify the role first."""
    if record.role is not Role.ACTIVE or record.boot_id != boot_id:
        return 0.0
    if not clocks_agree(record.wall_ahead_s, wall_s, now_s):
        return 0.0
    return max(0.0, record.deadline_s - now_s)


def agent_age_s(agent: Mapping[str, Any] | None, boot_id: str, now_s: float) -> float | None:
    """Seconds since the agent's last decided tick; None when it has not ticked since this boot."""
    if agent is None or agent.get("boot_id") != boot_id:
        return None
    tick_s = agent.get("tick_s")
    return max(0.0, now_s - tick_s) if isinstance(tick_s, (int, float)) else None


def node_state(
    snapshot: Snapshot,
    *,
    designation: Designation,
    settings: Settings,
    clock: SystemClock,
    version: str,
) -> NodeState | None:
    """The state to sign, from a snapshot with the document "agent". None: Redis did not answer."""
    record = snapshot.role
    if record is None:
        return None
    now_s = clock.now_s()
    agent = snapshot.documents.get(AGENT) or {}
    left_s = lease_left_s(record, clock.boot_id, now_s, clock.wall_s())
    heard_s = agent.get("peer_heard_s") if agent.get("boot_id") == clock.boot_id else None
    return NodeState(
        designation=designation,
        role=record.role,
        phase=record.phase,
        epoch=record.epoch,
        seen_epoch=max(record.seen_epoch, record.epoch),
        agent_age_s=agent_age_s(agent, clock.boot_id, now_s),
        lease_left_s=left_s,
        clear=record.clear and left_s <= 0,
        stance=_stance(agent.get("stance")),
        heard_asker_age_s=now_s - heard_s if isinstance(heard_s, (int, float)) else None,
        healthy=bool(agent.get("healthy", False)),
        eligible=bool(agent.get("eligible", False)),
        enabled=bool(agent.get("enabled", settings.enabled)),
        manual_hold=bool(agent.get("manual_hold", False)),
        switches=_count(agent.get("switches")),
        settings_revision=_count(agent.get("settings_revision")),
        settings_mark=str(agent.get("settings_mark", ""))[:8],
        version=version,
        wall_clock_s=clock.wall_s(),
        given_up=_names(agent.get("given_up")),
        failed=_names(agent.get("failed")),
        restarting_s=restarting_s(snapshot.documents.get(DAILY), clock.boot_id, now_s),
        content_mark=str((snapshot.documents.get(CONTENT) or {}).get("mark", "")),
    )


def restarting_s(daily: Mapping[str, Any] | None, boot_id: str, now_s: float) -> float:
    """Seconds that the announced restart may still take, from the document "daily"; 0: none is announced."""
    until_s = (daily or {}).get("until_s")
    if daily is None or daily.get("boot_id") != boot_id or not isinstance(until_s, (int, float)):
        return 0.0
    return max(0.0, until_s - now_s)


def _stance(value: object) -> SplitStance:
    return next((stance for stance in SplitStance if stance == value), SplitStance.NONE)


def _names(value: object) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


def _count(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    """Result of the last health checks, and whether it may still be believed."""

    ok: bool
    failed: tuple[str, ...] = ()


def health_period_s(interval_s: float) -> float:
    """How often the checks run: about each T, between 2 and 15 s."""
    return min(HEALTH_PERIOD_S_MAX, max(HEALTH_PERIOD_S_MIN, interval_s))


def health_of(
    document: Mapping[str, Any] | None, *, answered: bool, interval_s: float, boot_id: str, now_s: float
) -> Health:
    """The IPSWS answer from the "health" document; stale is KO.

    interval_s: the heartbeat interval T. Stale is older than three periods of the checks and 3 s: a check that takes longer
    does not delay the document.
    """
    if not answered:
        return Health(ok=False, failed=("the node's Redis did not answer",))
    why = _why_old(document, interval_s, boot_id, now_s)
    if document is None or why:
        return Health(ok=False, failed=(why,))
    failed = document.get("failed")
    lines = tuple(_one_line(line) for line in failed) if isinstance(failed, list) else ()
    if document.get("ok") is True:
        return Health(ok=True)
    return Health(ok=False, failed=lines or ("a health check failed",))


def _why_old(document: Mapping[str, Any] | None, interval_s: float, boot_id: str, now_s: float) -> str:
    """Why the "health" document must not be believed, "" when it may."""
    checked_s = document.get("checked_s") if document else None
    if document is None or not isinstance(checked_s, (int, float)):
        return "no health check has run"
    age_s = now_s - checked_s
    if document.get("boot_id", boot_id) != boot_id or age_s < 0:
        return "no health check has run since this server was started"
    if age_s > HEALTH_STALE_CHECKS * health_period_s(interval_s) + HEALTH_CHECK_S:
        return f"health checks are stale: the last one is {age_s:.0f} s old"
    return ""


def shared_failed_of(
    document: Mapping[str, Any] | None, *, interval_s: float, boot_id: str, now_s: float
) -> tuple[str, ...]:
    """Names of failed checks of what both nodes share, from the "health" document; none of one that is old: it says
    nothing about now, and must not hold a switch back. interval_s: T. now_s: CLOCK_BOOTTIME."""
    if document is None or _why_old(document, interval_s, boot_id, now_s):
        return ()
    return _names(document.get("shared_failed"))


def _one_line(text: object) -> str:
    return " ".join(str(text).split())[:200]


class RoleReader:
    """``ACTIVE`` or ``STANDBY`` for the monitor, with one Redis round trip at most each 50 ms in a process.

    A cached ``ACTIVE`` is still held against the lease's deadline and the clocks at every answer, so that a process or
    host that was frozen and resumed does not repeat it.
    """

    def __init__(self, runtime: RuntimeStore, clock: SystemClock) -> None:
        self._runtime, self._clock = runtime, clock
        self._lock = threading.Lock()
        self._known: tuple[float, float, float | None] = (float("-inf"), 0.0, None)
        self.record: RoleRecord | None = None  # as last read; None: Redis did not answer

    def active(self) -> bool:
        """True only inside an unexpired lease of this boot; False also when Redis does not answer."""
        now_s = self._clock.now_s()
        read_s, deadline_s, ahead_s = self._known
        over = read_s < deadline_s <= now_s  # since it was read: it may have been renewed meanwhile
        if over or not 0 <= now_s - read_s <= CACHE_S:
            self.record = record = self._runtime.read_role()
            deadline_s = 0.0
            if record is not None and record.role is Role.ACTIVE and record.boot_id == self._clock.boot_id:
                deadline_s, ahead_s = record.deadline_s, record.wall_ahead_s
            with self._lock:  # an answer that took long must not replace a newer one
                if now_s >= self._known[0]:
                    self._known = (now_s, deadline_s, ahead_s)
            now_s = self._clock.now_s()
        return now_s < deadline_s and clocks_agree(ahead_s, self._clock.wall_s(), now_s)
