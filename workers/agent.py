"""The agent of one node: every tick collect, decide, persist, execute.

The same class runs in the tick worker (ticks, lease), in the switch worker (orders) and in the simulator: only the
ports differ. State that both workers need is in the node's Redis; what must outlive Redis is in the journal.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable

from ftplugin.core.decision import Decision, decide, settle
from ftplugin.core.futures import Now
from ftplugin.core.handover import to_offer
from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import Action
from ftplugin.core.settings import Settings, SettingsError
from ftplugin.core.terms import Designation, Phase, Role
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, VipReading
from ftplugin.report import bound

from .collect import Facts, view_to_json
from .heartbeats import DOCUMENT as HEARTBEATS
from .heartbeats import HeartbeatRing
from .lease_keeper import LeaseKeeper
from .orders import OrderTaker
from .service_watch import ServiceWatcher

TICKED = ("memory", "agent")  # of what is published, what each tick writes


class Agent(LeaseKeeper, ServiceWatcher, OrderTaker):
    """One node's agent. ``on_tick``: told of each decided tick when all is done, for what is only shown."""

    on_tick: Callable[[Now], None] | None = None
    _ordered_s: float | None = None  # when the last promotion was ordered

    def start(self) -> None:
        """As NodeRole.start, with the heartbeats that the page shows and what the watchdog knew."""
        if not self._started:
            self.ring = HeartbeatRing()
            self.ring.resume(self.ports.runtime.fetch(HEARTBEATS), self.ports.clock.boot_id)
            self.resume_watch()
        super().start()

    def tick(self, *, early: bool = False) -> Decision | None:
        """One heartbeat: collect, decide, persist, execute. None while the node has no valid designation.

        early: between two of the grid, because the decision before this one asked for it (suspect mode).
        """
        revision, settings, stop_by, wait_by = self.settings()
        try:
            me = self.designation(settings)
        except SettingsError as error:
            self._say("S0", f"not configured: {error}")
            return None
        self.start()
        self.sync_role()
        if self.record.role is Role.ACTIVE and not self.clocks_agree():
            self.renew_lease(at_once=True)  # verified before anything is decided on this role (I-F)
        if not self.record.clear and self.record.role is not Role.ACTIVE:
            self.watch_services()
        view = self.collector.view(lambda: self._fresh_facts(me), settings, stop_by, early=early)
        changes = self._changes
        self.tick_s = view.now_s
        self.peer_said = (view.now_s, view.peer_state) if view.peer_state is not None else self.peer_said
        decision = decide(view, settings, self.memory or Memory(), stop_by, wait_by)
        if (
            changes != self._changes
        ):  # the lease timer adopted another role meanwhile: this tick's streaks are of the old one
            decision = replace(decision, memory=settle(decision.memory), actions=())
        self._persist(view, decision, revision, settings, stop_by)
        self._execute(view, decision)
        self._follow_settings(view, revision)
        self.telling.look(view)
        if self.record.role is Role.ACTIVE:
            self.renew_lease(at_once=True)  # what this tick learned of the peer may be what keeps the lease (I1)
        if self.on_tick is not None:
            self.on_tick(Now(view=view, decision=decision, settings=settings, stop_by=stop_by, wait_by=wait_by))
        return decision

    def _fresh_facts(self, me: Designation) -> Facts:
        self.sync_role()  # a switch may have ended while the peer was asked
        return self.facts(me)

    # --- persist ------------------------------------------------------------------------------------------------

    def _persist(
        self, view: ClusterView, decision: Decision, revision: int, settings: Settings, timing: Timing
    ) -> None:
        runtime, clock = self.ports.runtime, self.ports.clock
        self.memory, self.stance = decision.memory, decision.stance
        self.published |= {
            "memory": {"boot_id": clock.boot_id, "memory": decision.memory.to_json()},
            "agent": self._agent_document(view, decision, revision, settings, timing),
        }
        self.ring.add(view, timing, clock.wall_s())
        shown = {
            HEARTBEATS: self.ring.document(clock.boot_id),
            "decision": {**decision.to_json(), "at_wall_s": clock.wall_s(), "tick_s": view.now_s},
            "view": view_to_json(view),
        }
        runtime.publish_many({**{name: self.published[name] for name in TICKED}, **shown})
        self._say(decision.rule, decision.sentence)
        self._report_probe(view, decision)
        self.chronicle.tick(view, decision)

    def _agent_document(
        self, view: ClusterView, decision: Decision, revision: int, settings: Settings, timing: Timing
    ) -> dict[str, Any]:
        return {
            "tick_s": view.now_s,
            "boot_id": self.ports.clock.boot_id,
            "healthy": view.self_healthy,
            "eligible": not view.drained,
            "enabled": settings.enabled,
            "stance": decision.stance,
            "switches": view.switches,
            "frozen": decision.memory.frozen,
            "manual_hold": view.manual_hold,
            "settings_revision": self.renewed[0] if view.role is Role.ACTIVE else revision,
            "settings_mark": self.renewed[1] if view.role is Role.ACTIVE else self.ports.settings.mark(),
            "version": self.version,
            "given_up": list(to_offer(view)),
            "failed": list(view.failed),
            "peer_heard_s": decision.memory.peer_heard_s,
            "guard_poll_s": timing.guard_poll_s,
            "interval_s": timing.interval_s,
            "designation": view.designation,
        }

    def _say(self, rule: str, sentence: str) -> None:
        """One sentence a tick, logged when it changes; figures that only count on are not a change."""
        key = rule + "".join(c for c in sentence if not c.isdigit())
        if key != self._sentence:
            self._sentence = key
            with bound(lambda: {"rule": rule}):
                self.ports.log.report("agent", sentence)

    def _report_probe(self, view: ClusterView, decision: Decision) -> None:
        if decision.memory.bad_streak and view.peer is not None:
            cause, streak = str(view.peer.cause), decision.memory.bad_streak
            detail = f" ({view.peer.detail})" if view.peer.detail else ""
            with bound(lambda: {"rule": decision.rule, "cause": cause, "bad_streak": streak}):
                self.ports.log.report(f"Check {view.designation.other}", f"{cause}{detail}, count = {streak}")
        for alarm in decision.alarms:
            self.ports.log.event("alarm", text=alarm)

    # --- execute ------------------------------------------------------------------------------------------------

    def _execute(self, view: ClusterView, decision: Decision) -> None:
        for action in decision.actions:
            if action is Action.RESUME:
                self.resolved = True
                self.renew_lease(at_once=True)  # the worker was away for a part of the lease
            elif action is Action.BECOME_STANDBY:
                self._become_standby()
            elif action in (Action.PROMOTE, Action.PROMOTE_CONFIRMED):
                promote = {"kind": "promote", "action": action.name, **self.promotion_facts(view, decision)}
                promote["heard_active_s"] = self.chronicle.heard_active_s
                self._say_unbegun()
                ordered_s = self.ports.clock.now_s()
                if self.dispatch(promote):
                    self._ordered_s = ordered_s
                    self.chronicle.ordered(promote, view, decision)
            elif action is Action.DEMOTE:
                invite = Action.INVITE_PEER in decision.actions
                order = {"kind": "demote", "rule": decision.rule, "reason": decision.why, "invite": invite}
                self._demote(order, view.epoch)
                self.chronicle.ordered(order, view, decision)
            elif action is Action.REASSERT:
                seen = view.peer_state.epoch if view.peer_state is not None else 0
                self.dispatch({"kind": "reassert", "rule": decision.rule, "reason": decision.why, "seen_epoch": seen})
            elif action is Action.RESTART_SERVICES:
                self.watch_services()
            elif action is Action.SYNC_SETTINGS:
                self._take_settings()

    def _demote(self, order: dict[str, Any], epoch: int) -> None:
        """Send the order to the switch worker; carry it out here when its queue or the worker itself does not answer."""
        if self.demoting():
            return
        if self._demote_sent_epoch != epoch and self.dispatch(order):
            self._demote_sent_epoch = epoch
            return
        self._demote_sent_epoch = 0
        self.ports.log.report("agent", "the switch worker did not take the demotion; carried out by the tick worker")
        self.run_order(order)

    def _say_unbegun(self) -> None:
        """A promotion is ordered again. Nobody but the switch worker can carry it out: one that does not must be looked at."""
        ordered_s, now_s, wait_by = self._ordered_s, self.ports.clock.now_s(), self.settings()[3]
        if ordered_s is None or now_s - ordered_s > wait_by.hold_s + wait_by.stale_s:
            return
        if float(self.switch_document().get("updated_s", 0)) < ordered_s:
            text = f"the switch worker shows no sign of what was ordered {now_s - ordered_s:.0f} s ago: look at it, or restart it"
            self.ports.log.report("agent", text)
            self.ports.log.event("alarm", text=text)

    def _become_standby(self) -> None:
        record = replace(self.record, role=Role.STANDBY, phase=Phase.READY, deadline_s=0.0)
        if self.ports.runtime.write_role(record):
            self.resolved = True
            self.role_changed(record)
            self.record = replace(record, seen_epoch=max(record.seen_epoch, self.record.seen_epoch))

    def _follow_settings(self, view: ClusterView, revision: int) -> None:
        peer = view.peer_state
        if peer is None:
            return
        same = peer.settings_mark == self.ports.settings.mark()
        if peer.settings_revision == revision and same:
            self.ports.settings.acknowledged(revision)
        elif peer.settings_revision >= revision:
            self._take_settings()  # newer, or another edit with the same number: the later one wins on both

    def _take_settings(self) -> None:
        _, _, stop_by, _ = self.settings()
        reply = self.ports.peer.settings(stop_by.network_s)
        if reply.answered and reply.body:
            self.ports.settings.adopt(reply.body)

    # --- services, VIP ------------------------------------------------------------------------------------------

    def probe_vip(self) -> VipReading:
        """Ask who answers at the VIP (5.3)."""
        _, settings, stop_by, _ = self.settings()
        if settings.vip_address:
            self.vip = self.ports.vip.probe(stop_by.timeout_s)
        else:
            self.vip = VipReading()
        self.ports.runtime.publish("vip", {"destination": self.vip.destination, "asked_s": self.vip.asked_s})
        return self.vip
