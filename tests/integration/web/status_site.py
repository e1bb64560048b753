"""Documents as an agent and a peer write them, for the tests of the status page: from the fewest to the fullest state."""

from __future__ import annotations

import time
from typing import Any

from ftplugin.core.decision import decide
from ftplugin.core.outlook import outlook
from ftplugin.core.terms import Phase, Role
from ftplugin.core.records import StepResult
from ftplugin.standing import order
from ftplugin.status.short import short_status
from tests.core.ticks import S1, A, S, Ticks, settings

from .conftest import Site

SERVICES = {
    "cti": {"state": "starting", "progress": 3, "total": 48, "detail": "port 3 of 48 registered at 10.2.0.5"},
    "scheduler": {"state": "active", "progress": 0, "total": 0, "detail": ""},
    "asterisk": {"state": "dead", "progress": 0, "total": 0, "detail": "exit status 137, restarted 2 times in 600 s"},
}
CAUSES = ("timeout", "connection error", "agent has not ticked", "node state not signed by the peer")


def heartbeats(site: Site, bad: int = 0, count: int = 40) -> None:
    """The last ``bad`` ones are bad, each with another cause; 10.0 to 19.9 ms."""
    now_s = site.portal.clock.wall_s()
    beats: list[list[Any]] = []
    for index in range(count):
        left = count - index
        cause = CAUSES[left % len(CAUSES)] if left <= bad else "ok"
        beats.append([round(now_s - 30.0 * left, 1), 10.0 + index % 100 / 10, cause, cause == "ok"])
    assert site.portal.runtime.publish(
        "heartbeats", {"boot_id": site.portal.clock.boot_id, "last_s": 1.0, "beats": beats}
    )


def decided(site: Site, role: Role = S, **changes: Any) -> None:
    """Decision and outlook of a tick made just now, by the real core."""
    clock, chosen = site.portal.clock, settings(interval_s=30.0, timeout_s=10.0, threshold=5, service_stop_s=5.0)
    t = Ticks(S1, role, chosen)
    t.now_s = clock.now_s()
    peer = {"peer": t.good(S if role is A else A)} | changes
    decision = decide(t.view(**peer), chosen, t.memory, t.timing)
    found = outlook(t.view(**peer), chosen, decision, t.timing, t.timing).to_json()
    stamp = {"tick_s": t.now_s, "boot_id": clock.boot_id}
    assert site.portal.runtime.publish("decision", decision.to_json() | {"at_wall_s": time.time(), "tick_s": t.now_s})
    assert site.portal.runtime.publish("outlook", stamp | found)


def view_of(site: Site, role: Role = Role.STANDBY, **state: Any) -> None:
    """What the last heartbeat brought, with everything that a view holds."""
    said = {"designation": "server2", "role": str(role), "phase": "ready", "lease_left_s": 88.0, "epoch": 7}
    said |= {"seen_epoch": 7, "agent_age_s": 1.5, "settings_revision": 1, "version": "1.0.0"} | state
    view = {
        "peer": {"cause": "ok", "state": said, "skew_s": 0.42},
        "vip": {"destination": "self", "peer_state": None},
        "lan": {"carrier": "yes", "reference": "yes"},
        "votes": [
            {"voter": "server1", "mark": "m", "owner": "server1", "epoch": 6, "lock_owner": ""},
            {"voter": "server2", "mark": "m", "owner": "server1", "epoch": 6, "lock_owner": "server2"},
            {"voter": "witness", "mark": None},
        ],
    }
    assert site.portal.runtime.publish("view", view)


def peer_status(site: Site, *, age_s: float = 0.0, problem: str = "", **changes: Any) -> None:
    """The other server's own word, made as it makes it (from the same documents)."""
    clock = site.portal.clock
    status = short_status(site.portal) | changes
    asked = {"asked_s": clock.now_s(), "problem": problem}
    document = {"at_s": clock.now_s() - age_s, "boot_id": clock.boot_id, "status": status, **asked}
    assert site.portal.runtime.publish("peer_status", document)


def fullest(site: Site) -> None:
    """A switch runs, paused, drained, held, frozen, skewed clocks, bad heartbeats, long sentences on both servers."""
    portal, clock = site.portal, site.portal.clock
    site.role(Role.ACTIVE, phase=Phase.STARTING, epoch=6)
    site.agent(frozen=True, version="1.0.0")
    assert site.portal.journal.set_manual_hold(True)
    portal.runtime.publish("services", SERVICES)
    heartbeats(site, bad=12)
    view_of(site, Role.ACTIVE)
    decided(site, S)
    peer_status(site, problem="no complete answer within the limit")
    decided(site, A)
    words = order(
        "ann",
        "the new switch in rack 4 is being cabled",
        60,
        now_s=clock.now_s(),
        boot_id=clock.boot_id,
        wall_s=time.time(),
    )
    for name in ("pause", "drain"):
        portal.journal.set_standing(name, words)
    steps = [
        {"step": name, "outcome": "ok", "duration_s": 0.25, "detail": "server2 has signed that it owns nothing"}
        for name in (
            "last probe",
            "lock",
            "epoch",
            "fence",
            "own",
            "role",
            "portal",
            "service cti",
            "service scheduler",
        )
    ]
    running = {
        "switch_id": "1",
        "kind": "promote",
        "rule": "F1",
        "epoch": 6,
        "outcome": "running",
        "step": "service asterisk",
    }
    running |= {
        "detail": "waits until it is active",
        "steps": steps,
        "boot_id": clock.boot_id,
        "at_wall_s": time.time(),
    }
    portal.runtime.publish("switch", running)
    portal.runtime.publish(
        "manual", {"outcome": "refused", "at_wall_s": time.time(), "detail": "the peer cannot be asked"}
    )
    assert portal.journal.begin(
        switch_id="1", kind="promote", rule="F1", reason="the active server has failed", epoch=6, actor=""
    )
    for index, step in enumerate(steps):
        assert portal.journal.step("1", index, StepResult(**step))
    for cause in ("unsigned", "replayed", "stale", "unreadable"):
        portal.runtime.count_refused(cause)
