"""What the published documents say about this server's health now: for ``mod=IPSWS``, the page, ``ft status`` and ``ft doctor``.

Two documents: the agent's ("health") and that of the portal's own checks ("portal_health"). Old is never new: a document,
or one check, that was not made again in time counts as failed, with its age.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftplugin.state import HEALTH, HEALTH_STALE_CHECKS, health_of, health_period_s

from .checks import CheckState, Record, one_line

if TYPE_CHECKING:
    from ftplugin.core.settings import Settings
    from ftplugin.extension import Portal
    from ftplugin.store.runtime import Snapshot

PORTAL_HEALTH = "portal_health"
DOCUMENTS = (HEALTH, PORTAL_HEALTH)
BODY_BYTES_MAX = 3_000  # of the monitor's answer: the other server reads 4096, and takes no larger one for KO


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One check as it is shown. ``age_s``: since it began. ``old``: too old to be believed."""

    name: str
    state: CheckState
    detail: str
    age_s: float
    duration_s: float
    shared: bool
    old: bool

    @property
    def line(self) -> str:
        if self.old:
            return f"{self.name}: stale, last checked {self.age_s:.0f} s ago"
        return f"{self.name}: {self.detail}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """Both documents as one. ``failed``, ``degraded``: lines "name: detail"."""

    failed: tuple[str, ...]
    degraded: tuple[str, ...]
    checks: tuple[Shown, ...]

    @property
    def ok(self) -> bool:
        return not self.failed

    @property
    def body(self) -> str:
        """The whole answer of ``mod=IPSWS``."""
        if self.ok:
            return "IPSWS=OK"
        body = "IPSWS=KO"
        for index, line in enumerate(self.failed):
            if len(body.encode()) + len(line.encode()) > BODY_BYTES_MAX:
                return f"{body}\nand {len(self.failed) - index} more"
            body += f"\n{line}"
        return body

    def to_json(self) -> dict[str, Any]:
        """For the status document; ages are as of now."""
        checks = [
            {
                "name": check.name,
                "state": str(check.state),
                "detail": check.detail,
                "age_s": check.age_s,
                "duration_s": check.duration_s,
                "shared": check.shared,
                "old": check.old,
            }
            for check in self.checks
        ]
        return {"ok": self.ok, "failed": list(self.failed), "degraded": list(self.degraded), "checks": checks}


def read(
    documents: Mapping[str, Mapping[str, Any] | None],
    *,
    answered: bool,
    interval_s: float,
    boot_id: str,
    now_s: float,
    expected: Sequence[str] | None = None,
) -> Reading:
    """The health of this server.

    documents: those of ``DOCUMENTS``. answered: Redis did. interval_s: T, of which the pace of the checks follows. now_s:
    CLOCK_BOOTTIME. expected: names of the portal's own checks; None: this process does not know, those published count.
    """
    agent = health_of(documents.get(HEALTH), answered=answered, interval_s=interval_s, boot_id=boot_id, now_s=now_s)
    period_s = health_period_s(interval_s)
    of_agent = shown_of(documents.get(HEALTH), period_s=period_s, boot_id=boot_id, now_s=now_s)
    found = {
        check.name: check
        for check in shown_of(documents.get(PORTAL_HEALTH), period_s=period_s, boot_id=boot_id, now_s=now_s)
    }
    names = tuple(found) if expected is None else tuple(expected)
    of_portal = [found[name] for name in names if name in found]
    bad = [check.line for check in of_portal if check.old or check.state is CheckState.FAILED]
    missing = [f"{name}: not checked yet" for name in names if name not in found] if answered else []
    return Reading(
        failed=(*agent.failed, *bad, *missing),
        degraded=tuple(
            check.line for check in (*of_agent, *of_portal) if check.state is CheckState.DEGRADED and not check.old
        ),
        checks=(*of_agent, *of_portal),
    )


def of(ft: Portal, snapshot: Snapshot, settings: Settings) -> Reading:
    """The health of this server, from a snapshot that has the documents of ``DOCUMENTS``."""
    return read(
        snapshot.documents,
        answered=snapshot.role is not None,
        interval_s=settings.interval_s,
        boot_id=ft.clock.boot_id,
        now_s=ft.clock.now_s(),
        expected=None if ft.health is None else ft.health.hooks.names,
    )


def shown_of(document: Mapping[str, Any] | None, *, period_s: float, boot_id: str, now_s: float) -> tuple[Shown, ...]:
    """The checks of one document; none of another boot, whose clock was another."""
    rows = document.get("checks") if document and document.get("boot_id") == boot_id else None
    records = [Record.of_json(row) for row in rows] if isinstance(rows, list) else []
    return tuple(_shown(record, period_s, now_s) for record in records if record is not None)


def _shown(record: Record, period_s: float, now_s: float) -> Shown:
    age_s = max(0.0, now_s - record.checked_s)
    return Shown(
        name=record.name,
        state=record.state,
        detail=record.detail,
        age_s=age_s,
        duration_s=record.duration_s,
        shared=record.shared,
        old=age_s > HEALTH_STALE_CHECKS * period_s + record.timeout_s,
    )


def shared_failed(document: Mapping[str, Any] | None, *, period_s: float, boot_id: str, now_s: float) -> list[str]:
    """Names of the checks in a document that failed, are not old, and look at what both servers have."""
    checks = shown_of(document, period_s=period_s, boot_id=boot_id, now_s=now_s)
    return [one_line(c.name) for c in checks if c.shared and not c.old and c.state is CheckState.FAILED]
