"""One look into the node's Redis and database, for one scrape. Never the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from ftplugin.balancer.probers import Prober, seen
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation
from ftplugin.core.timing import Timing, expected_failover_s
from ftplugin.health import reading
from ftplugin.standing import DRAIN, PAUSE, in_force
from ftplugin.state import AGENT, CONTENT, agent_age_s, lease_left_s
from ftplugin.status.plain import mapping, number
from ftplugin.status.starts import expectations
from ftplugin.store.database import DatabaseUnreachable
from ftplugin.store.tables import SWITCH

from .tally import DOCUMENT

if TYPE_CHECKING:
    from ftplugin.extension import Portal

CONFLICTS, ACKNOWLEDGED = "conflicts", "ack_freeze"
OF_A_TICK = ("memory", "view", "decision")  # nothing of these is told when the agent is silent
DOCUMENTS = (AGENT, *OF_A_TICK, "services", "switch", PAUSE, DRAIN, ACKNOWLEDGED, CONTENT, CONFLICTS, DOCUMENT)


@dataclass(frozen=True, kw_only=True, slots=True)
class Switches:
    """kind, rule, outcome -> how many have ended so. ``promoted_wall_s``: begin of the last promotion that was done."""

    ended: Mapping[tuple[str, str, str], int]
    promoted_wall_s: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What one scrape knows. ``record`` None: Redis did not answer, and all documents are empty. ``fresh``: the agent has
    ticked within 2 T. ``lease_s``: how long a lease is now, ``left_s``: what is left of it. ``switches`` None: the database
    did not answer.
    """

    designation: Designation | None
    settings: Settings
    expected_failover_s: float
    revision: int
    lease_s: float
    now_s: float
    boot_id: str
    record: RoleRecord | None
    left_s: float
    agent_age_s: float | None
    fresh: bool
    documents: Mapping[str, Mapping[str, Any]]
    health: reading.Reading
    refused: Mapping[str, int]
    probers: tuple[Prober, ...]
    switches: Switches | None

    @classmethod
    def at(cls, ft: Portal) -> Look:
        """Now; takes at most the limits of the own Redis and of the database, and raises nothing for a silent one."""
        revision, settings = ft.settings.current()  # not what this process has known since its last request
        snapshot = ft.runtime.snapshot((*DOCUMENTS, *reading.DOCUMENTS))
        answered, clock = snapshot.role is not None, ft.clock
        now_s, boot_id = clock.now_s(), clock.boot_id
        record = snapshot.role
        age_s = agent_age_s(snapshot.documents.get(AGENT), boot_id, now_s)
        return cls(
            designation=ft.designation(settings),
            settings=settings,
            expected_failover_s=expected_failover_s(expectations(ft, settings)[0]),
            revision=revision,
            lease_s=Timing.between(settings, ft.settings.previous())[0].lease_s,
            now_s=now_s,
            boot_id=boot_id,
            record=record,
            left_s=0.0 if record is None else lease_left_s(record, boot_id, now_s, clock.wall_s()),
            agent_age_s=age_s,
            fresh=age_s is not None and age_s <= Timing.of(settings).stale_s,
            documents={name: mapping(snapshot.documents.get(name)) for name in DOCUMENTS},
            health=reading.of(ft, snapshot, settings),
            refused=ft.runtime.refused() if answered else {},
            probers=tuple(seen(ft.runtime.fetch_many, boot_id, now_s)) if answered else (),
            switches=_switches(ft),
        )

    @property
    def agent(self) -> Mapping[str, Any]:
        return self.of_tick(AGENT)

    def of_tick(self, name: str) -> Mapping[str, Any]:
        """A document of the last tick; empty when the agent is silent: what it last saw says nothing about now."""
        return self.documents[name] if self.fresh else {}

    def age_s(self, moment_s: object) -> float | None:
        """Since a moment of this boot's clock."""
        at_s = number(moment_s)
        return None if at_s is None else max(0.0, self.now_s - at_s)

    @property
    def paused(self) -> bool:
        return in_force(self.documents[PAUSE] or None, self.boot_id, self.now_s) is not None

    @property
    def frozen(self) -> bool:
        """As the agent said, unless an administrator has acknowledged it since."""
        note = self.documents[ACKNOWLEDGED]
        at_s = number(note.get("at_s")) if note.get("boot_id") == self.boot_id else None
        ticked_s = number(self.agent.get("tick_s"))
        since = at_s is not None and ticked_s is not None and at_s > ticked_s
        return self.agent.get("frozen") is True and not since


def _switches(ft: Portal) -> Switches | None:
    columns = (SWITCH.c.kind, SWITCH.c.rule, SWITCH.c.outcome)
    query = select(*columns, func.count(SWITCH.c.id), func.max(SWITCH.c.started_wall_s)).group_by(*columns)
    try:
        with ft.database.transaction() as connection:
            rows = connection.execute(query.where(SWITCH.c.ended_wall_s.is_not(None))).all()
    except (SQLAlchemyError, DatabaseUnreachable):
        return None
    promoted = [float(at_s) for kind, _, outcome, _, at_s in rows if (kind, outcome) == ("promote", "done")]
    return Switches(
        ended={(str(kind), str(rule), str(outcome)): int(times) for kind, rule, outcome, times, _ in rows},
        promoted_wall_s=max(promoted, default=None),
    )
