"""Orders of the switch queue and the peer's demote message, as the switch worker takes them."""

from __future__ import annotations

import uuid
from typing import Any, Mapping

from ftplugin.core.decision import decide
from ftplugin.core.forced import M2, force
from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import Action
from ftplugin.core.settings import Settings, SettingsError
from ftplugin.core.terms import Designation, Role
from ftplugin.core.timing import Timing
from ftplugin.core.view import SwitchOrder
from ftplugin.protocol import ProtocolError, check_demote
from ftplugin.report import bound

from .evidence import watched
from .forced import ForcedPromotion
from .node_role import NodeRole
from .services_restart import KIND as DAILY
from .services_restart import restart_services
from .telling import tell

FORCE_ORDER_S_MAX = 30.0  # a forced takeover is meant for the moment in which it was confirmed


class OrderTaker(NodeRole):
    """Refuses what is unknown, stale or forged; carries out the rest."""

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
            return self.runner.promote(order, settings, wait_by, stop_by, me)
        if kind == "demote":
            result = self.runner.demote(order, stop_by, me)
            if order.get("invite") and result.get("clear"):
                self.ports.peer.command("invite", {"epoch": result.get("epoch", 0)}, stop_by.network_s)
            return result
        if kind == "reassert":
            return self.runner.reassert(order, stop_by, me)
        if kind == "restart":
            return self._restart(order)
        if kind == DAILY:
            return restart_services(self.runner, order)
        if kind == "tell_peer":
            return tell(self.ports, order, settings, stop_by.network_s)
        if kind == "manual":
            return self._manual(order, settings, stop_by, me)
        if kind == "force":
            return self._force(order, settings, me)
        return {"outcome": "refused", "detail": f"unknown kind of order {kind!r}"}

    def _stale(self, order: Mapping[str, Any], timing: Timing) -> str:
        """A promotion is decided on this boot's clock and a fresh view; a late one is void: Redis may redeliver hours later."""
        if order.get("boot_id") != self.ports.clock.boot_id:
            return "decided before this boot"
        age_s = self.ports.clock.now_s() - float(order.get("ordered_s", 0))
        return f"decided {age_s:.1f} s ago" if age_s > timing.stale_s else ""

    def _restart(self, order: Mapping[str, Any]) -> dict[str, Any]:
        service = next((s for s in self.ports.services if s.name == order.get("service")), None)
        if service is None:
            return {"outcome": "refused", "detail": f"no service {order.get('service')!r}"}
        return self.runner.restart(service, int(order.get("epoch", 0)), silent=order.get("silent") is True)

    def _manual(self, order: Mapping[str, Any], settings: Settings, timing: Timing, me: Designation) -> dict[str, Any]:
        """M1. Runs on the target: it alone may promote itself."""
        try:
            target = Designation(str(order.get("target")))
            expected = Designation(str(order["expected_active"])) if order.get("expected_active") else None
        except ValueError:
            return {"outcome": "refused", "detail": f"target {order.get('target')!r} or expected_active is no server"}
        switch_id = str(order.get("switch_id") or uuid.uuid4())
        wish = SwitchOrder(
            switch_id=switch_id,
            target=target,
            expected_active=expected,
            actor=str(order.get("actor", "")),
            reason=str(order.get("reason", "")),
        )
        if target is not me:
            body = {k: order.get(k) for k in ("target", "expected_active", "actor", "reason")} | {
                "switch_id": switch_id
            }
            reply = self.ports.peer.command("switch", body, timing.network_s)
            if not (reply.answered and reply.body.get("taken", False)):
                return self._refuse(wish, f"{target} did not take the order: {reply.detail or dict(reply.body)}")
            self._tell_page(wish, "handed over", f"{target} has taken the order")
            return {"outcome": "handed over", "detail": reply.detail, "switch_id": switch_id}
        record = self.ports.runtime.read_role()
        if record is None:
            return {"outcome": "refused", "detail": "the node's own Redis does not answer"}
        self.record, self.resolved, self.contact_floor_s = record, True, self.ports.clock.now_s()
        view = self.collector.view(lambda: self.facts(me), settings, timing, order=wish)
        if record.role is Role.ACTIVE:
            return self._refuse(wish, f"{me} is active already")
        decision = decide(view, settings, Memory(), timing)
        if not decision.actions or decision.rule != "M1":
            return self._refuse(wish, decision.sentence)
        facts = self.promotion_facts(view, decision) | {
            "reason": wish.reason or "switchover",
            "actor": wish.actor,
            "switch_id": switch_id,
        }
        result = self.runner.promote({"action": Action.PROMOTE_CONFIRMED.name, **facts}, settings, timing, timing, me)
        return self._promoted(wish, result)

    def _force(self, order: Mapping[str, Any], settings: Settings, me: Designation) -> dict[str, Any]:
        """M2. Only on the server that takes over: it alone knows what it has watched."""
        _, _, stop_by, wait_by = self.settings()
        clock = self.ports.clock
        wish = SwitchOrder(
            switch_id=str(order.get("switch_id") or uuid.uuid4()),
            target=me,
            expected_active=None,
            actor=str(order.get("actor", "")),
            reason=str(order.get("reason", "")),
        )
        if order.get("target") != me:
            return self._refuse(wish, f"{order.get('target')!r} was asked for, this is {me}", M2.why)
        age_s = clock.now_s() - float(order.get("ordered_s", 0))
        if order.get("boot_id") != clock.boot_id or not 0 <= age_s <= FORCE_ORDER_S_MAX:
            return self._refuse(wish, "the order came too late; look again and confirm it again", M2.why)
        record = self.ports.runtime.read_role()
        if record is None:
            return self._refuse(wish, "the node's own Redis does not answer", M2.why)
        if record.role is Role.ACTIVE and record.deadline_s > clock.now_s():
            return self._refuse(wish, f"{me} is active already", M2.why)
        self.record, self.resolved, self.contact_floor_s = record, True, clock.now_s()
        view = self.collector.view(lambda: self.facts(me), settings, stop_by)
        memory, view = watched(self.ports, view, wait_by)
        found = force(view, settings, memory, wait_by, checked=order.get("checked") is True)
        if found.refused:
            return self._refuse(wish, found.sentence, M2.why)
        facts = self.vote_facts(view) | {
            "rule": M2.id,
            "reason": wish.reason or M2.why,
            "actor": wish.actor or "unknown",  # an empty actor would count as an automatic switch
            "switch_id": wish.switch_id,
            "certain_s": found.certain_s,
            "silent": found.silent,
            "endless": found.endless,
            "waived": found.waived,
        }
        with bound(lambda: {"switch_id": wish.switch_id, "rule": M2.id}):
            self.ports.log.report("agent", f"forced takeover by {wish.actor or 'unknown'}: {wish.reason}")
        result = self.runner.promote(facts, settings, wait_by, stop_by, me, ForcedPromotion)
        return self._promoted(wish, result, M2.why)

    def _promoted(self, wish: SwitchOrder, result: dict[str, Any], what: str = "switchover") -> dict[str, Any]:
        if result["outcome"] == "refused":
            return self._refuse(wish, str(result["detail"]), what)
        return result

    def _refuse(self, wish: SwitchOrder, why: str, what: str = "switchover") -> dict[str, Any]:
        actor = wish.actor or "unknown"
        with bound(lambda: {"switch_id": wish.switch_id, "outcome": "refused"}):
            self.ports.log.report("agent", f"{what} to {wish.target} asked by {actor} refused: {why}")
        self._tell_page(wish, "refused", why)
        return {"outcome": "refused", "detail": why, "switch_id": wish.switch_id}

    def _tell_page(self, wish: SwitchOrder, outcome: str, detail: str) -> None:
        at_wall_s = self.ports.clock.wall_s()
        document = {"switch_id": wish.switch_id, "outcome": outcome, "detail": detail, "at_wall_s": at_wall_s}
        self.ports.runtime.publish("manual", document)

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
        result = self.runner.demote(
            {"rule": "fence", "reason": f"the peer asked, epoch {number}", "epoch": number}, stop_by, me
        )
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
