"""The agent of one node: every tick collect, decide, persist, execute; and between ticks keep the lease.

The same class runs in the tick worker (ticks, lease), in the switch worker (sequences) and in the simulator: only the
ports differ. State that both workers need is in the node's Redis; what must outlive Redis is in the journal.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any, Callable, Mapping

from ftplugin.config import NodeConfig
from ftplugin.core.decision import Decision, decide, settle
from ftplugin.core.diagnosis import peer_is_heard, stall_limit_s
from ftplugin.core.hysteresis import Memory
from ftplugin.core.lease import contact_s, lease_deadline_s
from ftplugin.core.policy import Action
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings, SettingsError, designation_of
from ftplugin.core.terms import Designation, Phase, Role, SplitStance
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, ServiceReading, SwitchOrder, VipReading
from ftplugin.core.watchdog import Watch, WatchAction, watch
from ftplugin.protocol import ProtocolError, check_demote

from .collect import Collector, Facts, known_lan, view_to_json
from .execute import SwitchRunner
from .ports import Ports

PENDING_S = 1.0  # a dispatched switch shows itself within this time, or is dispatched again
SAVE_LEASE_RENEW_S_MIN = 5.0  # shorter leases are over before a reboot could resume them: not worth a disk write
MARK_TTL_S = 60.0


class Agent:
    """One node's agent."""

    def __init__(self, *, config: NodeConfig, ports: Ports, version: str = "") -> None:
        self.config, self.ports, self.version = config, ports, version
        self.collector = Collector(ports)
        self.runner = SwitchRunner(ports)
        self.memory: Memory | None = None
        self.record = RoleRecord()
        self.resolved = False  # the question of C0–C4 is answered
        self.deadline_s = 0.0
        self.tick_s: float | None = None
        self.contact_floor_s: float | None = None
        self.stance = SplitStance.NONE
        self.vip = VipReading()
        self.services: tuple[ServiceReading, ...] = ()
        self.lease_epoch = 0
        self._started = False
        self._sentence = ""
        self._pending_until_s = 0.0
        self._watch = Watch()

    # --- who am I -----------------------------------------------------------------------------------------------

    def settings(self) -> tuple[int, Settings, Timing, Timing]:
        """(revision, settings, timing to stop by, timing to wait by)."""
        revision, settings = self.ports.settings.current()
        stop_by, wait_by = Timing.between(settings, self.ports.settings.previous())
        return revision, settings, stop_by, wait_by

    def designation(self, settings: Settings) -> Designation:
        return designation_of(self.config.own_address, settings)

    def renew_period_s(self) -> float:
        """Period of ``renew_lease``. A standby node uses it to watch its own voter, so it is never long."""
        _, _, stop_by, _ = self.settings()
        return stop_by.renew_s if self.record.role is Role.ACTIVE else min(1.0, stop_by.renew_s)

    # --- the tick -----------------------------------------------------------------------------------------------

    def tick(self) -> Decision | None:
        """One heartbeat: collect, decide, persist, execute. None while the node has no valid designation."""
        revision, settings, stop_by, wait_by = self.settings()
        try:
            me = self.designation(settings)
        except SettingsError as error:
            self._say("S0", f"not configured: {error}")
            return None
        self._start()
        self._sync_role()
        if not self.record.clear and self.record.role is not Role.ACTIVE:
            self.watch_services()
        view = self.collector.view(lambda: self._facts(me), settings, stop_by)
        self.tick_s = view.now_s
        decision = decide(view, settings, self.memory or Memory(), stop_by, wait_by)
        self._persist(view, decision, revision, settings, stop_by)
        self._execute(view, decision)
        self._follow_settings(view, revision)
        return decision

    def _facts(self, me: Designation) -> Facts:
        return Facts(
            designation=me,
            record=self.record,
            resolved=self.resolved,
            deadline_s=self.deadline_s,
            contact_floor_s=self.contact_floor_s or 0.0,
            switching=self._switching(),
            stance=self.stance,
            vip=self.vip,
            services=self.services,
            retry_after_s=self._retry_after_s(),
        )

    def _start(self) -> None:
        """Take up what this node knew before a restart of its worker: memory and contact, if the host did not reboot."""
        if self._started:
            return
        clock, runtime = self.ports.clock, self.ports.runtime
        stored = runtime.fetch("memory") or {}
        same_boot = stored.get("boot_id") == clock.boot_id
        self.memory = Memory.from_json(stored.get("memory") if same_boot else None)
        contact = runtime.fetch("contact") or {}
        floor = contact.get("contact_s") if contact.get("boot_id") == clock.boot_id else None
        self.contact_floor_s = float(floor) if floor is not None else clock.now_s()
        record = runtime.read_role() or RoleRecord()
        last = self.ports.journal.last_role()
        if record.epoch == 0 and last is not None:
            record = replace(last, clear=False, seen_epoch=self.ports.journal.epoch())
        valid = record.role is Role.ACTIVE and record.boot_id == clock.boot_id and clock.now_s() < record.deadline_s
        if not valid:
            keep_clear = record.clear and record.boot_id == clock.boot_id and record.role is not Role.ACTIVE
            epoch = max(record.epoch, self.ports.journal.epoch())
            record = replace(
                record, role=Role.UNDECIDED, phase=Phase.READY, epoch=epoch, clear=keep_clear, boot_id=clock.boot_id, deadline_s=0.0
            )
        runtime.write_role(record)
        self.record, self.deadline_s, self.lease_epoch = record, record.deadline_s, record.epoch
        self._started = True

    def _sync_role(self) -> None:
        """Adopt what the switch worker wrote; write the record again after a wipe, under the same epoch (5.4)."""
        record = self.ports.runtime.read_role()
        if record is None:
            return  # silent Redis: go on with what is known; the lease is not renewed meanwhile
        if record.epoch == 0 and record.role is Role.UNDECIDED and (self.record.epoch or self.record.role is not Role.UNDECIDED):
            record = self._after_wipe()
            if record is None:
                return
        if (record.role, record.epoch) != (self.record.role, self.record.epoch):
            self._role_changed(record)
        self.record = record

    def _after_wipe(self) -> RoleRecord | None:
        last = self.ports.journal.last_role()
        record = self.record
        if last is not None and last.epoch > record.epoch:  # the switch worker changed the role and the wipe ate it
            record = replace(last, deadline_s=0.0, clear=False, boot_id=self.ports.clock.boot_id)
        else:
            record = replace(record, deadline_s=self.deadline_s if record.role is Role.ACTIVE else 0.0)
        record = replace(record, seen_epoch=max(record.seen_epoch, self.ports.journal.epoch()))
        if record.role is Role.ACTIVE:  # an epoch of an own attempt that failed is no command to stop
            record = replace(record, seen_epoch=record.epoch)
        self.ports.log.report("agent", "the node's Redis lost the role record; written again under the same epoch")
        return record if self.ports.runtime.write_role(record) else None

    def _role_changed(self, record: RoleRecord) -> None:
        self.memory = settle(self.memory or Memory())
        active = record.role is Role.ACTIVE and record.boot_id == self.ports.clock.boot_id
        self.deadline_s = record.deadline_s if active else 0.0
        self.lease_epoch = record.epoch
        if record.role is not Role.UNDECIDED:
            self.resolved = True
        self.stance = SplitStance.NONE
        self._pending_until_s = 0.0

    def _switch_document(self) -> dict[str, Any]:
        document = self.ports.runtime.fetch("switch") or {}
        return document if document.get("boot_id") == self.ports.clock.boot_id else {}

    def _switching(self) -> bool:
        """A switch was dispatched a moment ago, or is running and showed life lately."""
        now_s = self.ports.clock.now_s()
        if now_s < self._pending_until_s:
            return True
        document = self._switch_document()
        _, settings, stop_by, _ = self.settings()
        quiet_s_max = max(stop_by.stop_s + 2 * stop_by.timeout_s, stop_by.stale_s)
        return document.get("outcome") == "running" and now_s - float(document.get("updated_s", 0)) < quiet_s_max

    def _retry_after_s(self) -> float | None:
        """A promotion that failed is tried again after a pause, so that a peer that will not stop is not hammered."""
        document = self._switch_document()
        if document.get("kind") != "promote" or document.get("outcome") not in ("aborted", "failed", "refused"):
            return None
        _, _, stop_by, wait_by = self.settings()
        pause_s = min(wait_by.hold_s, max(1.0, wait_by.interval_s)) if document.get("rule") in ("F1", "C2", "C3") else wait_by.hold_s
        return float(document.get("updated_s", 0)) + pause_s

    # --- persist ------------------------------------------------------------------------------------------------

    def _persist(self, view: ClusterView, decision: Decision, revision: int, settings: Settings, timing: Timing) -> None:
        runtime, clock = self.ports.runtime, self.ports.clock
        self.memory, self.stance = decision.memory, decision.stance
        runtime.publish("memory", {"boot_id": clock.boot_id, "memory": decision.memory.to_json()})
        runtime.publish("agent", self._agent_document(view, decision, revision, settings, timing))
        runtime.publish("decision", {**decision.to_json(), "at_wall_s": clock.wall_s(), "tick_s": view.now_s})
        runtime.publish("view", view_to_json(view))
        self._say(decision.rule, decision.sentence)
        self._report_probe(view, decision)

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
            "manual_hold": view.manual_hold,
            "settings_revision": revision,
            "version": self.version,
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
            self.ports.log.report("agent", sentence)

    def _report_probe(self, view: ClusterView, decision: Decision) -> None:
        if decision.memory.bad_streak and view.peer is not None:
            detail = f" ({view.peer.detail})" if view.peer.detail else ""
            self.ports.log.report(
                f"Check {view.designation.other}", f"{view.peer.cause}{detail}, count = {decision.memory.bad_streak}"
            )
        for alarm in decision.alarms:
            self.ports.log.event("alarm", text=alarm)

    # --- execute ------------------------------------------------------------------------------------------------

    def _execute(self, view: ClusterView, decision: Decision) -> None:
        for action in decision.actions:
            if action is Action.RESUME:
                self.resolved = True
                self.renew_lease()  # at once: the worker was away for a part of the lease
            elif action is Action.BECOME_STANDBY:
                self._become_standby()
            elif action in (Action.PROMOTE, Action.PROMOTE_CONFIRMED):
                self._dispatch({"kind": "promote", "action": action.name, **self._promotion_facts(view, decision)})
            elif action is Action.DEMOTE:
                invite = Action.INVITE_PEER in decision.actions
                order = {"kind": "demote", "rule": decision.rule, "reason": decision.sentence, "invite": invite}
                if not self._dispatch(order):
                    self.run_order(order)
            elif action is Action.REASSERT:
                seen = view.peer_state.epoch if view.peer_state is not None else 0
                self._dispatch({"kind": "reassert", "rule": decision.rule, "reason": decision.sentence, "seen_epoch": seen})
            elif action is Action.RESTART_SERVICES:
                self.watch_services()
            elif action is Action.SYNC_SETTINGS:
                self._take_settings()

    def _promotion_facts(self, view: ClusterView, decision: Decision) -> dict[str, Any]:
        peer = view.peer_state
        epochs = [vote.epoch for vote in view.votes] + [vote.lock_epoch for vote in view.votes]
        return {
            "rule": decision.rule,
            "reason": decision.sentence,
            "not_before_s": decision.not_before_s,
            "passable_s": decision.passable_s,
            "marks": {vote.voter: [vote.mark, vote.still_since_s] for vote in view.votes},
            "seen_epoch": max([0, *epochs, *((peer.epoch, peer.seen_epoch) if peer is not None else ())]),
            "boot_id": self.ports.clock.boot_id,
            "ordered_s": view.now_s,
        }

    def _dispatch(self, order: dict[str, Any]) -> bool:
        order.setdefault("switch_id", str(uuid.uuid4()))
        taken = self.ports.dispatch.switch(order)
        if taken:
            self._pending_until_s = self.ports.clock.now_s() + PENDING_S
        else:
            self.ports.log.report("agent", f"the switch queue did not take {order['kind']} ({order.get('rule')}); trying again")
        return taken

    def _become_standby(self) -> None:
        record = replace(self.record, role=Role.STANDBY, phase=Phase.READY, deadline_s=0.0)
        if self.ports.runtime.write_role(record):
            self.resolved = True
            self._role_changed(record)
            self.record = replace(record, seen_epoch=max(record.seen_epoch, self.record.seen_epoch))

    def _follow_settings(self, view: ClusterView, revision: int) -> None:
        peer = view.peer_state
        if peer is None:
            return
        if peer.settings_revision == revision:
            self.ports.settings.acknowledged(revision)
        elif peer.settings_revision > revision:
            self._take_settings()

    def _take_settings(self) -> None:
        _, _, stop_by, _ = self.settings()
        reply = self.ports.peer.settings(stop_by.network_s)
        if reply.answered and reply.body:
            self.ports.settings.adopt(reply.body)

    # --- the lease ----------------------------------------------------------------------------------------------

    def renew_lease(self) -> bool:
        """Called by its own timer. True when this node is active and its lease was renewed.

        Not renewed: a lease that has run out (it is never revived), without a tick for 2 T, when a higher epoch was seen,
        when a start makes no progress, without a majority (with a witness), or while the own Redis is silent.
        """
        _, settings, timing, _ = self.settings()
        try:
            me = self.designation(settings)
        except SettingsError:
            return False
        if not self._started:
            return False
        self._sync_role()
        self.ports.votes.reading(me, 0.2)  # keeps watching since when the own voter stands still (5.4)
        self._publish_contact()
        record, now_s = self.record, self.ports.clock.now_s()
        if record.role is not Role.ACTIVE or not self.resolved or not self._may_renew(record, now_s, timing):
            return False
        before_s = self.ports.clock.now_s()
        quorum = len(list(self.ports.votes.names())) >= 3
        if quorum and not self._renew_votes(record.epoch, timing, timing.lease_s / 2):
            return False
        deadline_s = self._deadline_s(before_s, settings, timing)
        if self.ports.clock.now_s() >= self.deadline_s:
            return False  # it ran out while the voters were asked
        if self.ports.runtime.renew(record.epoch, deadline_s, self.ports.clock.boot_id) != "ok":
            return False
        if self.record.epoch == record.epoch and self.record.role is Role.ACTIVE:
            self.deadline_s = deadline_s
        if not quorum:  # the lease is the node's own; the votes only show the peer that it is alive and connected
            self._renew_votes(record.epoch, timing, timing.renew_s / 2)
        for service in self.ports.services:
            service.renew(record.epoch, deadline_s - self.ports.clock.now_s())
        if timing.renew_s >= SAVE_LEASE_RENEW_S_MIN:
            self.ports.journal.save_lease(record.epoch, deadline_s, self.ports.clock.boot_id)
        return True

    def _publish_contact(self) -> None:
        """For the switch worker: a lease that starts now may not outlast what this node knows of its surroundings."""
        lan = known_lan(self.ports.lan.reading(), self.contact_floor_s or 0.0)
        contact = contact_s(lan.seen_s, (self.memory or Memory()).vouched_s)
        self.ports.runtime.publish("contact", {"boot_id": self.ports.clock.boot_id, "contact_s": contact})

    def _may_renew(self, record: RoleRecord, now_s: float, timing: Timing) -> bool:
        if now_s >= self.deadline_s or record.seen_epoch > record.epoch:
            return False
        if self.tick_s is None or now_s - self.tick_s > timing.stale_s:
            return False
        starting = record.phase is Phase.STARTING and record.progress_s is not None
        return not (starting and now_s - (record.progress_s or 0.0) > stall_limit_s(timing))

    def _deadline_s(self, before_s: float, settings: Settings, timing: Timing) -> float:
        memory = self.memory or Memory()
        if not settings.enabled and not memory.peer_enabled:
            return before_s + timing.lease_s  # nobody would take over: losing the LAN must not stop the services
        lan = known_lan(self.ports.lan.reading(), self.contact_floor_s or 0.0)
        return lease_deadline_s(
            before_s=before_s,
            timing=timing,
            connected_s=contact_s(lan.seen_s, memory.vouched_s),
            portal_s=self.ports.lan.portal_seen_s(),
            peer_heard=peer_is_heard(memory.peer_heard_s, before_s, timing),
        )

    def _renew_votes(self, epoch: int, timing: Timing, limit_s: float) -> bool:
        """True when two voters renewed; returns as soon as they have."""
        votes = self.ports.votes
        limit_s = min(timing.network_s, max(0.05, limit_s))
        granted: list[str] = []

        def ask(voter: str) -> Callable[[], bool]:
            def call() -> bool:
                if votes.renew(voter, epoch, limit_s).ok:
                    granted.append(voter)
                return len(granted) >= 2

            return call

        self.ports.runner.side_by_side([ask(name) for name in votes.names()], limit_s + 0.05, enough=bool)
        return len(granted) >= 2

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

    def watch_services(self) -> None:
        """W1: look at every service; a dead one is restarted in its role, one that owns without a role is demoted."""
        services = self.ports.services
        if not services:
            readings: list[ServiceReading | None] = []
        else:
            readings = self.ports.runner.side_by_side([s.status for s in services], 2.0)
        self.services = tuple(r for r in readings if r is not None)
        record = self.ports.runtime.read_role()
        self.ports.runtime.publish("services", {r.name: {"state": r.state, "progress": r.progress, "total": r.total, "detail": r.detail} for r in self.services})
        if record is None or len(self.services) != len(services):
            return
        config = self.config
        self._watch, todo = watch(
            self._watch,
            now_s=self.ports.clock.now_s(),
            record=record,
            switching=self._switching(),
            services=self.services,
            restarts_max=config.watchdog_restarts_max,
            window_s=config.watchdog_window_s,
        )
        for item in todo:
            self._heal(item, record)

    def _heal(self, item: WatchAction, record: RoleRecord) -> None:
        if item.kind == "clear":
            self.ports.runtime.set_clear(record.epoch, True)
            return
        self.ports.log.report("watchdog", item.sentence)
        if item.kind == "restart":
            self.ports.dispatch.switch({"kind": "restart", "service": item.service, "epoch": record.epoch, "rule": "W1"})
        elif item.kind == "demote":
            self._dispatch({"kind": "demote", "rule": "W1", "reason": item.sentence})

    # --- switch worker ------------------------------------------------------------------------------------------

    def run_order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Carry out an order of the switch queue. Unknown or stale orders are refused, never half done."""
        _, settings, stop_by, wait_by = self.settings()
        try:
            me = self.designation(settings)
        except SettingsError as error:
            return {"outcome": "refused", "detail": str(error)}
        kind = order.get("kind")
        if kind == "promote":
            if why := self._stale(order, wait_by):
                return {"outcome": "refused", "detail": why}
            return self.runner.promote(order, settings, wait_by, me)
        if kind == "demote":
            result = self.runner.demote(order, stop_by, me)
            if order.get("invite") and result.get("clear"):
                self.ports.peer.command("invite", {"epoch": result.get("epoch", 0)}, stop_by.network_s)
            return result
        if kind == "reassert":
            return self.runner.reassert(order, stop_by, me)
        if kind == "restart":
            return self._restart(order)
        if kind == "manual":
            return self._manual(order, settings, stop_by, me)
        return {"outcome": "refused", "detail": f"unknown kind of order {kind!r}"}

    def _stale(self, order: Mapping[str, Any], timing: Timing) -> str:
        """A promotion is decided on this boot's clock and on a fresh view; a late one is void (facts: it may come an hour late)."""
        if order.get("boot_id") != self.ports.clock.boot_id:
            return "decided before this boot"
        age_s = self.ports.clock.now_s() - float(order.get("ordered_s", 0))
        return f"decided {age_s:.1f} s ago" if age_s > timing.stale_s else ""

    def _restart(self, order: Mapping[str, Any]) -> dict[str, Any]:
        record = self.ports.runtime.read_role()
        service = next((s for s in self.ports.services if s.name == order.get("service")), None)
        if record is None or service is None or record.epoch != order.get("epoch"):
            return {"outcome": "refused", "detail": "the role changed meanwhile, or no such service"}
        reading = service.status()
        if reading.state.value == "dead":
            reading = service.restart()
        now_s = self.ports.clock.now_s()
        if record.role is Role.ACTIVE and record.deadline_s > now_s and record.seen_epoch <= record.epoch:
            reading = service.promote(record.epoch, record.deadline_s - now_s)
        return {"outcome": "done", "detail": f"{service.name} is {reading.state}"}

    def _manual(self, order: Mapping[str, Any], settings: Settings, timing: Timing, me: Designation) -> dict[str, Any]:
        """M1. Runs on the target: it alone may promote itself."""
        try:
            target = Designation(str(order.get("target")))
            expected = Designation(str(order["expected_active"])) if order.get("expected_active") else None
        except ValueError:
            return {"outcome": "refused", "detail": f"target {order.get('target')!r} or expected_active is no server"}
        switch_id = str(order.get("switch_id") or uuid.uuid4())
        wish = SwitchOrder(
            switch_id=switch_id, target=target, expected_active=expected, actor=str(order.get("actor", "")), reason=str(order.get("reason", ""))
        )
        if target is not me:
            body = {k: order.get(k) for k in ("target", "expected_active", "actor", "reason")} | {"switch_id": switch_id}
            reply = self.ports.peer.command("switch", body, timing.network_s)
            taken = reply.answered and reply.body.get("accepted", False)
            return {"outcome": "handed over" if taken else "refused", "detail": reply.detail or str(dict(reply.body)), "switch_id": switch_id}
        record = self.ports.runtime.read_role()
        if record is None:
            return {"outcome": "refused", "detail": "the node's own Redis does not answer"}
        self.record, self.resolved, self.contact_floor_s = record, True, self.ports.clock.now_s()
        view = self.collector.view(lambda: self._facts(me), settings, timing, order=wish)
        if record.role is Role.ACTIVE:
            return self._refuse(wish, f"{me} is active already")
        decision = decide(view, settings, Memory(), timing)
        if not decision.actions or decision.rule != "M1":
            return self._refuse(wish, decision.sentence)
        facts = self._promotion_facts(view, decision) | {"reason": wish.reason or "switchover", "actor": wish.actor, "switch_id": switch_id}
        result = self.runner.promote({"action": Action.PROMOTE_CONFIRMED.name, **facts}, settings, timing, me)
        if result["outcome"] == "done":
            self.ports.journal.set_manual_hold(True)
        return result

    def _refuse(self, wish: SwitchOrder, why: str) -> dict[str, Any]:
        self.ports.log.report("agent", f"switchover to {wish.target} asked by {wish.actor or 'unknown'} refused: {why}")
        self.ports.runtime.publish(
            "manual", {"switch_id": wish.switch_id, "outcome": "refused", "detail": why, "at_wall_s": self.ports.clock.wall_s()}
        )
        return {"outcome": "refused", "detail": why, "switch_id": wish.switch_id}

    def handle_demote(self, sender: Any, epoch: Any, nonce: Any, signature: Any) -> dict[str, Any]:
        """The agent channel's one command. Refused messages are logged with their cause, counted, and change nothing."""
        _, settings, stop_by, _ = self.settings()
        try:
            me = self.designation(settings)
            number = check_demote(self.config.secret_keys, me, sender, epoch, nonce, signature)
        except (ProtocolError, SettingsError) as error:
            cause = getattr(error, "cause", "not configured")
            self.ports.log.event("refused", channel="agent", cause=cause)
            self.ports.log.report("agent channel", f"demote refused, {cause}: {error}")
            return {"outcome": "refused", "detail": str(error)}
        record = self.ports.runtime.read_role()
        if record is not None and number < record.epoch:
            self.ports.log.event("refused", channel="agent", cause="stale")
            self.ports.log.report("agent channel", f"demote refused, stale: epoch {number} is below {record.epoch}")
            return {"outcome": "refused", "detail": f"epoch {number} is below {record.epoch}"}
        result = self.runner.demote({"rule": "fence", "reason": f"the peer asked, epoch {number}", "epoch": number}, stop_by, me)
        self.ports.channel.answer(str(nonce), number, bool(result.get("clear")), min(2.0, stop_by.network_s))
        return result

    def recover(self) -> None:
        """At the start of the switch worker: resume or undo what a crash interrupted."""
        _, settings, stop_by, _ = self.settings()
        try:
            me = self.designation(settings)
        except SettingsError:
            return
        self.runner.recover(stop_by, me)
