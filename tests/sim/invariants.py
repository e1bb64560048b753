"""Invariants I-A to I-H of spec 5.2, asserted at every action, not only at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ftplugin.core.lease import epoch_owner
from ftplugin.core.records import RoleRecord
from ftplugin.state import lease_left_s
from ftplugin.core.terms import Role

if TYPE_CHECKING:
    from .world import Node, World


class Violation(AssertionError):
    """An invariant does not hold; the first word of the message names it."""


class Invariants:
    """Called by the simulated site at each action."""

    def __init__(self) -> None:
        self.world: World = None  # type: ignore[assignment]
        self.epochs: dict[int, Any] = {}
        self.highest: dict[Any, int] = {}
        self.violation: str = ""
        self.last_fault = 0.0
        self.split_until = -1e9
        self.both_s = 0.0
        self.checked_force = False  # an administrator's word, without a witness, replaced the wait (M2)

    def fail(self, text: str) -> None:
        self.violation = self.violation or text
        self.world.tell(f"VIOLATION {text}")
        raise Violation(text)

    def split_excused(self) -> bool:
        """I-C: without a witness, a cut between the nodes alone, until it is healed and decided; or a checked M2, whose
        word may have been wrong: that is the risk it takes."""
        return not self.world.settings.witness and (self.checked_force or self.world.now < self.split_until)

    def owners(self) -> list[Node]:
        """Nodes whose service the call manager would see: a frozen or dead host is silent there."""
        return [
            n
            for n in self.world.nodes.values()
            if any(s.settle() and s.owns for s in n.services) and not self.silent(n)
        ]

    def silent(self, node: Node) -> bool:
        return not node.up or node.processes["service"].frozen

    def resumed_lately(self, node: Node, *, owning: bool = True) -> bool:
        """I-A: for services that do not check their lease, guard poll + stop after a resume; when CLOCK_BOOTTIME stood
        still, what is left of the lease first: nobody but the peer can tell the node."""
        timing = self.world.timing
        still = self.world.now - node.stood_still_at < timing.lease_s + timing.guard_poll_s + timing.stop_s + 0.3
        return (
            (owning and still)
            or self.world.now - node.thawed_at < timing.guard_poll_s + timing.stop_s + 0.3
            or node.processes["guard"].frozen
        )

    def disobeys(self, node: Node) -> bool:
        """A service that was told to stop and did not: on a server that is cut off or silent nothing but a fence command
        against it could help, and a silent one is not fenced. Beside one that answers nobody may own (5.5)."""
        timing = self.world.timing
        refused = any(service.refused for service in node.services)
        return refused and self.world.now < node.sticks_until + timing.guard_poll_s + timing.stop_s + 0.3

    def on_own(self, node: Node, epoch: int) -> None:
        """A service of ``node`` is about to own: the peer's must not, whatever the roles say."""
        for other in self.owners():
            if (
                other is not node
                and not self.split_excused()
                and not self.resumed_lately(other)
                and not self.resumed_lately(node)
                and not (self.disobeys(other) and node.promoted_by_time)
            ):
                self.fail(f"I-A {node.designation} promotes its service while {other.designation} still owns")

    def on_active(self, node: Node, record: RoleRecord) -> None:
        """``node`` is about to write itself active."""
        if epoch_owner(record.epoch) is not node.designation:
            self.fail(f"I-E {node.designation} takes epoch {record.epoch} of the other server")
        stored = node.redis.role
        fresh = stored is None or stored.epoch != record.epoch
        if fresh and self.epochs.get(record.epoch) is not None and self.epochs[record.epoch] != (node.designation,):
            self.fail(f"I-E epoch {record.epoch} taken twice")
        if record.epoch < self.highest.get(node.designation, 0):
            self.fail(
                f"I-E epoch of {node.designation} went back from {self.highest[node.designation]} to {record.epoch}"
            )
        self.epochs[record.epoch] = (node.designation,)
        self.highest[node.designation] = record.epoch
        if node.disk.epoch < record.epoch:
            self.fail(f"I-G epoch {record.epoch} acts before it is durable")
        if lease_left_s(record, node.boot_id, node.now_s(), node.wall_s()) > 0:
            self.check_answers(node)
        if fresh and stored is not None and stored.role is not Role.ACTIVE:
            self.check_promotion(node, record.epoch)

    def on_renew(self, node: Node, deadline_s: float) -> None:
        """I-D: the deadline counts from before the request, and an expired lease is never revived."""
        began_s = node.voters_asked_s if self.world.settings.witness else node.now_s()
        if deadline_s > began_s + self.world.timing.lease_s + 0.005:
            self.fail(f"I-D {node.designation} counts its lease from after the request")
        # a renewal under way when the process was frozen may end late: its deadline counts from before, so it is no revival
        if node.redis.role is not None and deadline_s - self.world.timing.lease_s > node.redis.role.deadline_s:
            self.fail(f"I-D {node.designation} revives a lease that had run out")
        resumed = self.world.now - node.thawed_at < 0.2  # a tick that was frozen half way has just ended
        ticked = max(node.ticked_at, node.tick_began)
        if (
            not resumed
            and self.world.now - ticked > 2 * self.world.timing.interval_s + self.world.timing.timeout_s + 0.1
        ):
            self.fail(f"I-A {node.designation} renews its lease without ticks")
        self.check_answers(node)

    def check_answers(self, about_to: Node | None = None) -> None:
        """I-A: at most one node answers ACTIVE."""
        active = [n for n in self.world.nodes.values() if n.answers_active() or n is about_to]
        if len(active) > 1 and not self.split_excused():
            if self.world.settings.witness or not any(self.resumed_lately(n, owning=False) for n in active):
                self.fail("I-A both nodes answer ACTIVE")

    def check_promotion(self, node: Node, epoch: int) -> None:
        """A promotion that the peer did not confirm comes no sooner than (N-1)*T after the end of the first bad probe."""
        peer = node.peer.redis.role
        owns = any(s.settle() and s.owns for s in node.peer.services) or node.peer.answers_active()
        confirmed = peer is not None and not owns and (peer.clear or peer.seen_epoch >= epoch)
        node.promoted_by_time = not confirmed and node.fence_answered < epoch
        if confirmed or self.split_excused():
            return
        forced = any(v["rule"] == "M2" and v["epoch"] == epoch for v in node.disk.switches.values())
        if forced:  # no decision of a tick led to it: the streak of bad probes that still lasts counts
            node.bad_since_decision = node.first_bad_end
        if node.bad_since_decision is None:
            self.fail(
                f"I-D {node.designation} promotes itself although its last probe was good and the peer did not stop"
            )
        elif self.world.now - node.bad_since_decision < self.world.timing.hold_s - 0.001:
            early_s = self.world.now - node.bad_since_decision
            self.fail(f"I-D {node.designation} promotes itself {early_s:.3f} s after the first bad probe")

    def on_decision(self, node: Node, decision: Any) -> None:
        """I-F: no promotion on streaks older than the last gap. I-D: an isolated active gives up in time."""
        timing, now = self.world.timing, self.world.now
        if decision.rule == "F1" and "PROMOTE" in [a.name for a in decision.actions]:
            if now - node.gap_at < timing.hold_s - timing.timeout_s - 0.1 and decision.memory.last_tick_s is not None:
                invited = "invite" in node.redis.documents
                if not invited:
                    self.fail(f"I-F {node.designation} promotes {now - node.gap_at:.2f} s after a gap")
        promotes = any(a.name.startswith("PROMOTE") for a in decision.actions)
        if promotes:
            node.bad_since_decision = node.first_bad_end
        if promotes and decision.rule != "M1" and now - node.gateway_seen > timing.lease_s:
            self.fail(f"I-D {node.designation} promotes by {decision.rule} without a LAN")
        self.check_isolated(node)
        self.check_answers()

    def check_isolated(self, node: Node) -> None:
        """An active node that has seen neither LAN nor peer for (N-1)*T owns nothing (I-D)."""
        timing = self.world.timing
        dark_since = self.world.dark_since(node)
        if not self.world.enabled(node):  # nobody would take over from it: it keeps what it has
            return
        if dark_since is None or self.world.now - dark_since <= timing.hold_s + 0.05:
            return
        if node.answers_active():
            self.fail(f"I-D {node.designation} is isolated for {self.world.now - dark_since:.2f} s and answers ACTIVE")
        owns = any(s.settle() and s.owns for s in node.services) and node.runs("service")
        if (
            owns
            and not self.disobeys(node)
            and not self.resumed_lately(node)
            and node.processes["guard"].alive
            and not node.processes["guard"].frozen
        ):
            self.fail(f"I-D {node.designation} is isolated for {self.world.now - dark_since:.2f} s and owns")

    def sample(self) -> None:
        """Every 50 ms."""
        self.check_answers()
        owners = self.owners()
        if len(owners) > 1:
            self.both_s += 0.05
            excused = any(self.resumed_lately(n) or (self.disobeys(n) and n.peer.promoted_by_time) for n in owners)
            if not self.split_excused() and not excused:
                self.fail("I-A both nodes own")
        for node in self.world.nodes.values():
            if node.up and not node.processes["tick"].frozen:
                self.check_isolated(node)

    def at_end(self) -> None:
        """I-B: healed and left alone, exactly one node is active and its services with it; I-G: nothing is left open."""
        active = [n for n in self.world.nodes.values() if n.answers_active()]
        if len(active) != 1:
            self.fail(f"I-B {len(active)} nodes are active after healing")
        if [n.designation for n in self.owners()] != [active[0].designation]:
            self.fail(
                f"I-B owners after healing: {[str(n.designation) for n in self.owners()]}, active {active[0].designation}"
            )
        for node in self.world.nodes.values():
            stale = [k for k, v in node.disk.switches.items() if v["outcome"] is None and self.world.now - v["at"] > 30]
            if stale:
                self.fail(f"I-G {node.designation} left {len(stale)} switches open")
            role = node.redis.role
            if node is not active[0] and role is not None and role.role is Role.ACTIVE:
                self.fail(f"I-A {node.designation} still believes itself active")
