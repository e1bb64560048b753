"""Whether the other server has the saved settings, and since when: for the page and ``ft settings show`` (spec 4, 7).

Read from the node's own database and Redis; the agent records what the other server says with every heartbeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from .core.settings import Settings
from .core.timing import Timing
from .preview import PLACES
from .state import AGENT, agent_age_s
from .store.settings_history import changes_between, revision_of

if TYPE_CHECKING:
    from .extension import Portal


@dataclass(frozen=True, kw_only=True, slots=True)
class Replication:
    """State of the current revision. Wall clock times of this server, in seconds since 1970; None: not known.

    other: designation of the other server, "" while the addresses are not set. on_both: it has this revision.
    heard_wall_s: its last good answer to this server's agent. other_revision: what it then ran by. agent_silent: this
    server's own agent does not tick, so nothing is sent or learned. redis_silent: whether it does is not known.
    timing_waits, places_wait: as in ``Preview``.
    """

    revision: int
    saved_wall_s: float
    actor: str
    other: str
    on_both: bool
    since_wall_s: float | None
    heard_wall_s: float | None
    other_revision: int | None
    agent_silent: bool
    redis_silent: bool
    timing_waits: bool
    places_wait: bool

    def to_json(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}


def replication_of(ft: Portal) -> Replication:
    """Raises DatabaseUnreachable, SQLAlchemyError."""
    revision, settings = ft.settings.current()
    saved = revision_of(ft.database, revision) if revision else None
    snapshot = ft.runtime.snapshot((AGENT, "view"))
    documents = snapshot.documents
    agent, view = documents.get(AGENT) or {}, documents.get("view") or {}
    now_s, me = ft.clock.now_s(), ft.designation(settings)
    age_s = agent_age_s(agent, ft.clock.boot_id, now_s)
    silent = age_s is None or age_s > Timing.of(settings).stale_s
    heard_s = agent.get("peer_heard_s") if agent.get("boot_id") == ft.clock.boot_id else None
    previous = ft.settings.previous()
    return Replication(
        revision=revision,
        saved_wall_s=saved.saved_wall_s if saved else 0.0,
        actor=saved.actor if saved else "",
        other=str(me.other) if me is not None else "",
        on_both=bool(saved and saved.acknowledged),
        since_wall_s=saved.both_since_wall_s if saved else None,
        heard_wall_s=ft.clock.wall_s() - (now_s - heard_s) if isinstance(heard_s, (int, float)) else None,
        other_revision=None if silent else _said(view),
        agent_silent=silent,
        redis_silent=snapshot.role is None,
        timing_waits=previous is not None and Timing.of(previous) != Timing.of(settings),
        places_wait=previous is not None and _moves(previous, settings),
    )


def _moves(previous: Settings, settings: Settings) -> bool:
    return any(change.name in PLACES for change in changes_between(previous, settings))


def _said(view: Mapping[str, Any]) -> int | None:
    """The revision of the peer's last heartbeat, None when that one was bad."""
    peer = view.get("peer") if isinstance(view.get("peer"), Mapping) else None
    state = peer.get("state") if peer else None
    found = state.get("settings_revision") if isinstance(state, Mapping) else None
    return found if isinstance(found, int) and peer is not None and peer.get("cause") == "ok" else None
