"""The switch journal in the database: durable before acting (I-G, I-E).

Methods answer False, or the last known value, when the database cannot be used: the agent decides what that means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from ftplugin.core.records import OpenSwitch, RoleRecord, StepResult
from ftplugin.core.terms import Role

from .database import Database, DatabaseUnreachable
from .models import NodeFacts, Switch, SwitchStep


T = TypeVar("T")


class SqlJournal:
    """JournalPort of ``workers/ports.py`` over a Database. ``wall_s`` gives seconds since 1970 (shown times)."""

    def __init__(self, database: Database, wall_s: Callable[[], float] = time.time) -> None:
        self.database, self._wall_s = database, wall_s
        self._epoch = 0
        self._hold = False

    def epoch(self) -> int:
        """Highest durable epoch; 0 when none, the last one known when the database cannot be read."""

        def read(session: Session) -> int:
            facts = session.get(NodeFacts, 1)
            switches = session.scalar(select(func.max(Switch.epoch))) or 0
            return max(switches, facts.epoch if facts else 0)

        self._epoch = max(self._epoch, self._try(read, 0))
        return self._epoch

    def begin(self, *, switch_id: str, kind: str, rule: str, reason: str, epoch: int, actor: str) -> bool:
        """Record a switch and its epoch in one transaction. True: both are on the disk.

        A switch that is recorded already (resumed, or compensated under a new epoch) is opened again.
        """

        def write(session: Session) -> bool:
            switch = session.scalar(select(Switch).where(Switch.switch_id == switch_id))
            if switch is None:
                switch = Switch(switch_id=switch_id, started_wall_s=self._wall_s(), epoch=epoch)
                session.add(switch)
            switch.kind, switch.rule, switch.reason, switch.actor = kind, rule, reason, actor[:200]
            switch.epoch = max(switch.epoch, epoch)
            switch.ended_wall_s, switch.outcome, switch.role_after, switch.detail = None, "", "", ""
            facts = _facts(session)
            facts.epoch = max(facts.epoch, epoch)
            return True

        done = self._try(write, False)
        if done:
            self._epoch = max(self._epoch, epoch)
        return done

    def step(self, switch_id: str, index: int, result: StepResult) -> bool:
        """Record the result of one step; a second result for the same index replaces the first."""

        def write(session: Session) -> bool:
            session.merge(
                SwitchStep(
                    switch_id=switch_id,
                    step_index=index,
                    step=result.step,
                    outcome=result.outcome,
                    duration_s=result.duration_s,
                    detail=result.detail,
                )
            )
            return True

        return self._try(write, False)

    def end(self, switch_id: str, outcome: str, role: Role, detail: str) -> bool:
        """Close a switch and record which role the node has now. False also when there is no such switch."""

        def write(session: Session) -> bool:
            switch = session.scalar(select(Switch).where(Switch.switch_id == switch_id))
            if switch is None:
                return False
            switch.outcome, switch.role_after, switch.detail = outcome, str(role), detail
            switch.ended_wall_s = self._wall_s()
            facts = _facts(session)
            facts.role, facts.role_epoch = str(role), switch.epoch
            if role is not Role.ACTIVE:
                facts.lease_deadline_s = 0.0
            return True

        return self._try(write, False)

    def unfinished(self) -> Sequence[OpenSwitch]:
        """Switches without an end, oldest first; empty also when the database cannot be read."""

        def read(session: Session) -> list[OpenSwitch]:
            rows = session.scalars(select(Switch).where(Switch.ended_wall_s.is_(None)).order_by(Switch.id))
            return [
                OpenSwitch(switch_id=row.switch_id, kind=row.kind, rule=row.rule, epoch=row.epoch, steps=_steps(row))
                for row in rows
            ]

        return self._try(read, [])

    def save_lease(self, epoch: int, deadline_s: float, boot_id: str) -> bool:
        """Keep the lease for rule C0. ``deadline_s``: CLOCK_BOOTTIME under ``boot_id``."""

        def write(session: Session) -> bool:
            facts = _facts(session)
            facts.epoch = max(facts.epoch, epoch)
            facts.lease_epoch, facts.lease_deadline_s, facts.boot_id = epoch, deadline_s, boot_id
            return True

        return self._try(write, False)

    def last_role(self) -> RoleRecord | None:
        """The last journalled role; a lease newer than it means active, for the end of that switch was not reached.

        None: nothing journalled, or the database cannot be read.
        """

        def read(session: Session) -> RoleRecord | None:
            facts = session.get(NodeFacts, 1)
            if facts is None:
                return None
            leased = facts.lease_epoch > facts.role_epoch
            active = leased or (facts.role == Role.ACTIVE and facts.lease_epoch == facts.role_epoch)
            return RoleRecord(
                role=Role.ACTIVE if active else Role(facts.role),
                epoch=facts.lease_epoch if leased else facts.role_epoch,
                seen_epoch=facts.epoch,
                boot_id=facts.boot_id,
                deadline_s=facts.lease_deadline_s if active else 0.0,
            )

        return self._try(read, None)

    def manual_hold(self) -> bool:
        """Whether a switchover holds B1 and F2 (M1); the last known value when the database cannot be read."""

        def read(session: Session) -> bool:
            facts = session.get(NodeFacts, 1)
            return facts is not None and facts.manual_hold

        self._hold = self._try(read, self._hold)
        return self._hold

    def set_manual_hold(self, hold: bool) -> bool:
        def write(session: Session) -> bool:
            _facts(session).manual_hold = hold
            return True

        return self._try(write, False)

    def automatic_switches(self, window_s: float) -> int:
        """Promotions done without an administrator in the last ``window_s`` seconds of the wall clock (spec 5.6)."""

        def read(session: Session) -> int:
            query = select(func.count(Switch.id)).where(
                Switch.kind == "promote",
                Switch.outcome == "done",
                Switch.actor == "",
                Switch.started_wall_s >= self._wall_s() - window_s,
            )
            return session.scalar(query) or 0

        return self._try(read, 0)

    def recent(self, count: int = 1) -> list[dict[str, Any]]:
        """The last switches, newest first, as plain values for page and command line."""

        def read(session: Session) -> list[dict[str, Any]]:
            rows = session.scalars(select(Switch).order_by(Switch.id.desc()).limit(count))
            return [_as_document(row) for row in rows]

        return self._try(read, [])

    def _try(self, action: Callable[[Session], T], otherwise: T) -> T:
        try:
            with self.database.session() as session:
                return action(session)
        except (SQLAlchemyError, DatabaseUnreachable):
            return otherwise


def _facts(session: Session) -> NodeFacts:
    facts = session.get(NodeFacts, 1)
    if facts is None:
        facts = NodeFacts(id=1, epoch=0, role=str(Role.UNDECIDED), role_epoch=0, boot_id="", lease_epoch=0)
        facts.lease_deadline_s, facts.manual_hold = 0.0, False
        session.add(facts)
    return facts


def _steps(row: Switch) -> tuple[StepResult, ...]:
    return tuple(
        StepResult(step=s.step, outcome=s.outcome, duration_s=s.duration_s, detail=s.detail) for s in row.steps
    )


def _as_document(row: Switch) -> dict[str, Any]:
    names = ("switch_id", "kind", "rule", "reason", "epoch", "actor", "outcome", "role_after", "detail")
    document: dict[str, Any] = {name: getattr(row, name) for name in names}
    document |= {"started_wall_s": row.started_wall_s, "ended_wall_s": row.ended_wall_s}
    document["steps"] = [
        {"step": s.step, "outcome": s.outcome, "duration_s": s.duration_s, "detail": s.detail} for s in row.steps
    ]
    return document
