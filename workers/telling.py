"""Notices to the other server: told by the switch worker, handed to it again by the tick worker (``switching.telling``)."""

from __future__ import annotations

from typing import Any, Mapping

from ftplugin.core.settings import Settings
from ftplugin.core.view import ClusterView
from ftplugin.standing import PAUSE, in_force
from ftplugin.switching.telling import FREEZE_TOPIC, FRESH_S, HOLD_TOPIC, PAUSE_TOPIC, TOPICS, age_s, minutes_left, notice

from .ports import Ports

LOOK_S = 5.0  # between two looks into the database for what is still to be told
AGAIN_S = 30.0  # before a server that is heard but did not take a notice is told again


class Telling:
    """The tick worker's part: nobody is told by it, so a slow answer costs no tick."""

    def __init__(self, ports: Ports) -> None:
        self._ports = ports
        self._next_s = 0.0

    def look(self, view: ClusterView) -> None:
        """After each tick: hand over what is untold while the other server is heard."""
        if view.peer is None or not view.peer.good:
            self._next_s = 0.0
            return
        if view.now_s < self._next_s:
            return
        rows = self._ports.journal.notices() or {}
        untold = {topic: row for topic, row in rows.items() if not row.get("told")}
        self._next_s = view.now_s + (AGAIN_S if untold else LOOK_S)
        for topic, row in untold.items():
            self._ports.dispatch.switch({"kind": "tell_peer", "topic": topic, **row})


def tell(ports: Ports, order: Mapping[str, Any], settings: Settings, limit_s: float) -> dict[str, Any]:
    """Tell the other server one notice, in the switch worker. ``limit_s``: of one network call."""
    command = str(order.get("command"))
    topic = TOPICS.get(command)
    if topic is None:
        return {"outcome": "refused", "detail": f"unknown command {command!r}"}
    body = {name: order[name] for name in ("actor", "reason", "minutes", "revision") if name in order}
    if why := _outdated(ports, order, topic, settings):
        ports.journal.told(topic, int(order.get("revision", 0)))
        return {"outcome": "refused", "detail": why}
    if command == "pause":
        body["minutes"] = _minutes_left(ports)
    reply = ports.peer.command(command, body, limit_s)
    if not (reply.answered and reply.body.get("taken")):
        ports.log.report(
            "agent", f"{command} did not reach the peer ({reply.detail}); it is told when it is heard again"
        )
        return {"outcome": "failed", "detail": reply.detail}
    later = reply.body.get("revision")
    if isinstance(later, int) and not isinstance(later, bool) and later >= int(order.get("revision", 0)):
        return _passed_over(ports, order, topic, later)
    ports.journal.told(topic, int(order.get("revision", 0)))
    return {"outcome": "done", "detail": reply.detail}


def _outdated(ports: Ports, order: Mapping[str, Any], topic: str, settings: Settings) -> str:
    """Why a notice is no longer true; "" while it is."""
    clock, journal = ports.clock, ports.journal
    row = (journal.notices() or {}).get(topic)
    if row is not None and row.get("revision") != order.get("revision"):
        return "a newer notice has taken its place"
    if order.get("command") == "pause" and (standing := journal.standing()) is not None:
        return "" if in_force(standing.get(PAUSE), clock.boot_id, clock.now_s()) else "the pause is over"
    if topic == HOLD_TOPIC and journal.manual_hold():
        return "a later switchover holds again"
    if topic == FREEZE_TOPIC and age_s(order, clock.boot_id, clock.now_s()) > settings.flap_window_s:
        return "the freeze that was acknowledged is long over"
    return ""


def _minutes_left(ports: Ports) -> int | None:
    pause = (ports.journal.standing() or {}).get(PAUSE) or {}
    return minutes_left(pause, ports.clock.boot_id, ports.clock.now_s())


def _passed_over(ports: Ports, order: Mapping[str, Any], topic: str, later: int) -> dict[str, Any]:
    """The other server knows a later pause or resume. One that is ordered just now is later still, so it is told again
    under a higher revision; an old one gives way, and what counts there is told from there."""
    clock = ports.clock
    same = later == order.get("revision")
    if topic == PAUSE_TOPIC and not same and age_s(order, clock.boot_id, clock.now_s()) <= FRESH_S:
        facts = {name: order[name] for name in ("reason", "minutes") if name in order}
        again = notice(
            {"revision": later},
            str(order["command"]),
            str(order.get("actor", "")),
            now_s=float(order["at_s"]),
            boot_id=clock.boot_id,
            **facts,
        )
        if ports.journal.set_notice(topic, again):
            ports.dispatch.switch({"kind": "tell_peer", "topic": topic, **again})
        return {"outcome": "failed", "detail": f"told again as revision {later + 1}"}
    ports.journal.told(topic, int(order.get("revision", 0)))
    if not same:
        ports.log.report("agent", f"{order['command']} gave way: a later pause or resume counts on the other server")
    return {"outcome": "done", "detail": "known there already" if same else "a later one counts there"}
