"""The switch journal in the database: durable before acting (I-G, I-E).

Methods answer False, or the last known value, when the database cannot be used: the agent decides what that means.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from ftplugin.core.records import OpenSwitch, RoleRecord, StepResult
from ftplugin.core.terms import Role

from .database import Database, DatabaseUnreachable
from .tables import INSTANCE, NODE, STANDING, STEP, SWITCH

T = TypeVar("T")
NOTICE = "tell-"  # names of rows that are no pause or drain, but what the other server is to be told
_FACTS = select(NODE).where(NODE.c.id == 1)


class SqlJournal:
    """JournalPort of ``workers/ports.py`` over a Database. ``wall_s`` gives seconds since 1970 (shown times)."""

    def __init__(self, database: Database, wall_s: Callable[[], float] = time.time) -> None:
        self.database, self._wall_s = database, wall_s
        self._epoch = 0
        self._hold = False

    def epoch(self) -> int:
        """Highest durable epoch; 0 when none, the last one known when the database cannot be read."""

        def read(connection: Connection) -> int:
            facts = connection.execute(_FACTS).first()
            switches = connection.scalar(select(func.max(SWITCH.c.epoch))) or 0
            return max(switches, facts.epoch if facts else 0)

        self._epoch = max(self._epoch, self._try(read, 0))
        return self._epoch

    def begin(self, *, switch_id: str, kind: str, rule: str, reason: str, epoch: int, actor: str) -> bool:
        """Record a switch and its epoch in one transaction. True: both are on the disk.

        A switch that is recorded already (resumed, or compensated under a new epoch) is opened again.
        """
        opened: dict[str, Any] = {"kind": kind, "rule": rule, "reason": reason, "actor": actor[:200]}
        opened |= {"ended_wall_s": None, "outcome": "", "role_after": "", "detail": ""}

        def write(connection: Connection) -> bool:
            known = connection.scalar(select(SWITCH.c.epoch).where(SWITCH.c.switch_id == switch_id))
            if known is None:
                new = {"switch_id": switch_id, "started_wall_s": self._wall_s(), "epoch": epoch}
                connection.execute(insert(SWITCH).values(**new, **opened))
            else:
                change = update(SWITCH).where(SWITCH.c.switch_id == switch_id)
                connection.execute(change.values(epoch=max(known, epoch), **opened))
            _keep(connection, epoch)
            return True

        done = self._try(write, False)
        if done:
            self._epoch = max(self._epoch, epoch)
        return done

    def step(self, switch_id: str, index: int, result: StepResult) -> bool:
        """Record the result of one step; a second result for the same index replaces the first."""
        values: dict[str, Any] = {"step": result.step, "outcome": result.outcome}
        values |= {"duration_s": result.duration_s, "detail": result.detail}

        def write(connection: Connection) -> bool:
            here = (STEP.c.switch_id == switch_id, STEP.c.step_index == index)
            if not connection.execute(update(STEP).where(*here).values(**values)).rowcount:
                connection.execute(insert(STEP).values(switch_id=switch_id, step_index=index, **values))
            return True

        return self._try(write, False)

    def end(self, switch_id: str, outcome: str, role: Role, detail: str) -> bool:
        """Close a switch and record which role the node has now. False also when there is no such switch."""

        def write(connection: Connection) -> bool:
            epoch = connection.scalar(select(SWITCH.c.epoch).where(SWITCH.c.switch_id == switch_id))
            if epoch is None:
                return False
            closed = {"outcome": outcome, "role_after": str(role), "detail": detail, "ended_wall_s": self._wall_s()}
            connection.execute(update(SWITCH).where(SWITCH.c.switch_id == switch_id).values(**closed))
            facts: dict[str, Any] = {"role": str(role), "role_epoch": epoch}
            if role is not Role.ACTIVE:
                facts["lease_deadline_s"] = 0.0
            _keep(connection, **facts)
            return True

        return self._try(write, False)

    def unfinished(self) -> Sequence[OpenSwitch]:
        """Switches without an end, oldest first; empty also when the database cannot be read."""

        def read(connection: Connection) -> list[OpenSwitch]:
            query = select(SWITCH).where(SWITCH.c.ended_wall_s.is_(None)).order_by(SWITCH.c.id)
            return [
                OpenSwitch(
                    switch_id=row.switch_id,
                    kind=row.kind,
                    rule=row.rule,
                    epoch=row.epoch,
                    steps=tuple(StepResult(**step) for step in _steps(connection, row.switch_id)),
                )
                for row in connection.execute(query).all()
            ]

        return self._try(read, [])

    def save_lease(self, epoch: int, deadline_s: float, boot_id: str) -> bool:
        """Keep the lease for rule C0. ``deadline_s``: CLOCK_BOOTTIME under ``boot_id``."""

        def write(connection: Connection) -> bool:
            _keep(connection, epoch, lease_epoch=epoch, lease_deadline_s=deadline_s, boot_id=boot_id)
            return True

        return self._try(write, False)

    def last_role(self) -> RoleRecord | None:
        """The last journalled role; a lease newer than it means active, for the end of that switch was not reached.

        None: nothing journalled, or the database cannot be read.
        """

        def read(connection: Connection) -> RoleRecord | None:
            facts = connection.execute(_FACTS).first()
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

        def read(connection: Connection) -> bool:
            return bool(connection.scalar(_FACTS.with_only_columns(NODE.c.manual_hold)))

        self._hold = self._try(read, self._hold)
        return self._hold

    def set_manual_hold(self, hold: bool) -> bool:
        def write(connection: Connection) -> bool:
            _keep(connection, manual_hold=hold)
            return True

        return self._try(write, False)

    def standing(self) -> dict[str, dict[str, Any]] | None:
        """Pause and drain by name, those that are ordered; None when the database cannot be read."""

        def read(connection: Connection) -> dict[str, dict[str, Any]] | None:
            rows = connection.execute(select(STANDING.c.name, STANDING.c.document)).all()
            own = (row for row in rows if row.name != INSTANCE and not row.name.startswith(NOTICE))
            return {row.name: dict(row.document) for row in own}

        return self._try(read, None)

    def notices(self) -> dict[str, dict[str, Any]] | None:
        """What the other server is to be told, by topic (``switching.telling``); None when the database cannot be read."""

        def read(connection: Connection) -> dict[str, dict[str, Any]] | None:
            rows = connection.execute(select(STANDING.c.name, STANDING.c.document)).all()
            return {row.name.removeprefix(NOTICE): dict(row.document) for row in rows if row.name.startswith(NOTICE)}

        return self._try(read, None)

    def set_notice(self, topic: str, document: Mapping[str, Any]) -> bool:
        """Keep the newest notice of a topic. True: it is on the disk."""
        return self.set_standing(NOTICE + topic, document)

    def told(self, topic: str, revision: int) -> bool:
        """The other server has this notice. False when a newer one has replaced it, or the database cannot be written."""

        def write(connection: Connection) -> bool:
            here = STANDING.c.name == NOTICE + topic
            document = connection.scalar(select(STANDING.c.document).where(here).with_for_update())
            if document is None or document.get("revision") != revision:
                return False
            connection.execute(update(STANDING).where(here).values(document={**document, "told": True}))
            return True

        return self._try(write, False)

    def set_standing(self, name: str, document: Mapping[str, Any] | None) -> bool:
        """Keep a pause or drain, None ends it. True: it is on the disk."""

        def write(connection: Connection) -> bool:
            connection.execute(delete(STANDING).where(STANDING.c.name == name))
            if document is not None:
                connection.execute(insert(STANDING).values(name=name, document=dict(document)))
            return True

        return self._try(write, False)

    def automatic_switches(self, window_s: float) -> int:
        """Promotions done without an administrator in the last ``window_s`` seconds of the wall clock (spec 5.6)."""

        def read(connection: Connection) -> int:
            query = select(func.count(SWITCH.c.id)).where(
                SWITCH.c.kind == "promote",
                SWITCH.c.outcome == "done",
                SWITCH.c.actor == "",
                SWITCH.c.rule.not_in(("C2", "C3")),  # a start is no flapping
                SWITCH.c.started_wall_s.between(
                    self._wall_s() - window_s, self._wall_s()
                ),  # not those of a clock set back since
            )
            return connection.scalar(query) or 0

        return self._try(read, 0)

    def find(self, switch_id: str) -> dict[str, Any] | None:
        """One switch of this node as ``recent`` has it; None: there is none, or the database cannot be read."""

        def read(connection: Connection) -> dict[str, Any] | None:
            row = connection.execute(select(SWITCH).where(SWITCH.c.switch_id == switch_id)).first()
            return None if row is None else _as_document(row) | {"steps": _steps(connection, switch_id)}

        return self._try(read, None)

    def recent(self, count: int = 1) -> list[dict[str, Any]]:
        """The last switches, newest first, as plain values for page and command line."""

        def read(connection: Connection) -> list[dict[str, Any]]:
            rows = connection.execute(select(SWITCH).order_by(SWITCH.c.id.desc()).limit(count)).all()
            return [_as_document(row) | {"steps": _steps(connection, row.switch_id)} for row in rows]

        return self._try(read, [])

    def between(self, since_s: float, until_s: float, count_max: int) -> list[dict[str, Any]]:
        """Switches begun from ``since_s`` to ``until_s`` (seconds since 1970), newest first, at most ``count_max``.

        Unlike ``recent`` this raises SQLAlchemyError or DatabaseUnreachable: a history must not pass for an empty one.
        """
        query = select(SWITCH).where(SWITCH.c.started_wall_s.between(since_s, until_s))
        with self.database.transaction() as connection:
            rows = connection.execute(query.order_by(SWITCH.c.id.desc()).limit(count_max)).all()
            return [_as_document(row) | {"steps": _steps(connection, row.switch_id)} for row in rows]

    def begun_wall_s(self, switch_id: str) -> float | None:
        """When a switch began; None: there is no such switch. Raises as ``between``."""
        with self.database.transaction() as connection:
            found: float | None = connection.scalar(
                select(SWITCH.c.started_wall_s).where(SWITCH.c.switch_id == switch_id)
            )
            return found

    def _try(self, action: Callable[[Connection], T], otherwise: T) -> T:
        for _attempt in range(2):
            try:
                with self.database.transaction() as connection:
                    return action(connection)
            except IntegrityError:
                continue  # another process has just made the row: now it is there to be changed
            except (SQLAlchemyError, DatabaseUnreachable):
                break
        return otherwise


def _keep(connection: Connection, epoch: int = 0, **facts: Any) -> None:
    """Change facts of this node. The epoch only grows, also when two processes write at the same time (I-E)."""
    own = update(NODE).where(NODE.c.id == 1)
    if connection.scalar(_FACTS.with_only_columns(NODE.c.id)) is None:
        connection.execute(insert(NODE).values(id=1, epoch=epoch, **facts))
        return
    if facts:
        connection.execute(own.values(**facts))
    connection.execute(own.where(NODE.c.epoch < epoch).values(epoch=epoch))


def _steps(connection: Connection, switch_id: str) -> list[dict[str, Any]]:
    query = select(STEP.c.step, STEP.c.outcome, STEP.c.duration_s, STEP.c.detail)
    rows = connection.execute(query.where(STEP.c.switch_id == switch_id).order_by(STEP.c.step_index))
    return [dict(row) for row in rows.mappings()]


def _as_document(row: Row[Any]) -> dict[str, Any]:
    names = ("switch_id", "kind", "rule", "reason", "epoch", "actor", "outcome", "role_after", "detail")
    document: dict[str, Any] = {name: getattr(row, name) for name in names}
    return document | {"started_wall_s": row.started_wall_s, "ended_wall_s": row.ended_wall_s}
