"""Orders of the switch queue and the peer's demote message, as the switch worker takes them."""

from __future__ import annotations

import uuid
from typing import Any, Mapping

from ftplugin.core.decision import decide
from ftplugin.core.hysteresis import Memory
from ftplugin.core.policy import Action
from ftplugin.core.settings import Settings, SettingsError
from ftplugin.core.terms import Designation, Role
from ftplugin.core.timing import Timing
from ftplugin.core.view import SwitchOrder
from ftplugin.protocol import ProtocolError, check_demote

from .node_role import NodeRole


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
        if kind == "tell_peer":
            return self._tell_peer(order, stop_by)
        if kind == "manual":
            return self._manual(order, settings, stop_by, me)
        return {"outcome": "refused", "detail": f"unknown kind of order {kind!r}"}

    def _tell_peer(self, order: Mapping[str, Any], timing: Timing) -> dict[str, Any]:
        """Hand on what an administrator did here and what counts for both servers."""
        command = order.get("command")
        if command not in ("release_hold", "acknowledge_freeze", "pause", "resume"):
            return {"outcome": "refused", "detail": f"unknown command {command!r}"}
        body = {name: order[name] for name in ("actor", "reason", "minutes") if name in order}
        reply = self.ports.peer.command(command, body, timing.network_s)
        told = reply.answered and bool(reply.body.get("taken"))
        if not told:
            self.ports.log.report("agent", f"{command} did not reach the peer ({reply.detail}); repeat it there")
        return {"outcome": "done" if told else "failed", "detail": reply.detail}

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
        return self.runner.restart(service, int(order.get("epoch", 0)))

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
            taken = reply.answered and reply.body.get("taken", False)
            return {
                "outcome": "handed over" if taken else "refused",
                "detail": reply.detail or str(dict(reply.body)),
                "switch_id": switch_id,
            }
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
        if result["outcome"] == "done":
            self.ports.journal.set_manual_hold(True)
        return result

    def _refuse(self, wish: SwitchOrder, why: str) -> dict[str, Any]:
        self.ports.log.report("agent", f"switchover to {wish.target} asked by {wish.actor or 'unknown'} refused: {why}")
        self.ports.runtime.publish(
            "manual",
            {"switch_id": wish.switch_id, "outcome": "refused", "detail": why, "at_wall_s": self.ports.clock.wall_s()},
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
