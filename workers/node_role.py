"""What every process of the agent knows: who this node is, its role as Redis holds it, and what was remembered."""

from __future__ import annotations

import threading
import uuid
from dataclasses import replace
from typing import Any, Callable

from ftplugin.config import NodeConfig
from ftplugin.core.decision import Decision, settle
from ftplugin.core.hysteresis import Memory
from ftplugin.core.lease import believable
from ftplugin.core.vetoes import STUCK_TURNS, owns_endlessly
from ftplugin.core.records import RoleRecord
from ftplugin.core.settings import Settings, designation_of
from ftplugin.core.terms import Designation, Phase, Role, SplitStance
from ftplugin.core.timing import Timing
from ftplugin.core.view import ClusterView, NodeState, ServiceReading, VipReading
from ftplugin.core.watchdog import Watch

from .chronicle import Chronicle
from .collect import Collector, Facts
from .execute import SwitchRunner
from .ownership import OwnershipAlarm
from .ports import Ports
from .telling import Telling

SHORT_SHARE, HURRY, HURRY_S_MIN = 0.7, 5, 0.05  # with less than this share of the lease left, so many times as often
PENDING_S = 1.0  # a dispatched switch shows itself within this time, or is dispatched again


class NodeRole:
    """The node's role and settings, as one process sees them."""

    def __init__(self, *, config: NodeConfig, ports: Ports, version: str = "") -> None:
        self.config, self.ports, self.version = config, ports, version
        self.collector = Collector(ports)
        self.runner = SwitchRunner(ports)
        self.telling = Telling(ports)
        self.chronicle = Chronicle(ports)
        self.ownership = OwnershipAlarm(ports)
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
        self._stepped_s: float | None = None  # since when a clock's step waits for the role to be verified
        self._renewed_s = self._watched_s = float("-inf")
        self.renewed = (0, "")  # revision and mark of the settings under which the lease was last renewed
        self.published: dict[str, dict[str, Any]] = {}  # what the last tick wrote for portal and peer
        self._started = False
        self._sentence = ""
        self._pending_until_s, self._pending_kind = 0.0, ""
        self._watch = Watch()
        self.stuck: tuple[str, ...] = ()  # services that should own nothing and may
        self.peer_said: tuple[float, NodeState] | None = None  # the peer's last signed word, and when
        self._demote_sent_epoch = 0
        self._watching = threading.Lock()
        self.restarting: Callable[[], bool] = lambda: False  # the services are being restarted on purpose
        self._changes = 0
        self._left: set[int] = set()  # epochs that this process has seen this node leave behind

    # --- who am I -----------------------------------------------------------------------------------------------

    def settings(self) -> tuple[int, Settings, Timing, Timing]:
        """(revision, settings, timing to stop by, timing to wait by)."""
        revision, settings = self.ports.settings.current()
        stop_by, wait_by = Timing.between(settings, self.ports.settings.previous())
        return revision, settings, stop_by, wait_by

    def designation(self, settings: Settings) -> Designation:
        return designation_of(self.config.own_address, settings)

    def renew_period_s(self) -> float:
        """Period of ``renew_lease``. A standby node uses it to watch its own voter, so it is never long. While answers are
        missing the lease is renewed more often: else up to a whole period of what was heard last would be given away."""
        _, _, stop_by, _ = self.settings()
        period_s = min(1.0, stop_by.renew_s)
        if self.record.role is Role.ACTIVE and self.deadline_s - self.ports.clock.now_s() < SHORT_SHARE * stop_by.lease_s:
            return max(HURRY_S_MIN, period_s / HURRY)
        return period_s

    def facts(self, me: Designation) -> Facts:
        return Facts(
            designation=me,
            record=self.record,
            resolved=self.resolved,
            deadline_s=self.deadline_s,
            contact_floor_s=self.contact_floor_s or 0.0,
            switching=self.switching(),
            stance=self.stance,
            vip=self.vip,
            services=self.services,
            retry_after_s=self.retry_after_s(),
            given_up=self._watch.given_up,
            next_try_s=self._watch.next_try_s,
            stuck=self.stuck,
            can_fence=self.ports.fence is not None,
        )

    def start(self) -> None:
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
        was_active, is_active = record.role is Role.ACTIVE, last is not None and last.role is Role.ACTIVE
        old = last is not None and was_active and not is_active and last.epoch > record.epoch  # of an old file of Redis
        remembered = last is not None and (record.epoch == 0 or old)
        if remembered and last is not None:
            record = replace(last, clear=False, seen_epoch=self.ports.journal.epoch())
        valid = record.role is Role.ACTIVE and record.boot_id == clock.boot_id and clock.now_s() < record.deadline_s
        if valid and remembered and self.outranked(record.epoch):
            valid = False  # Redis has lost the end of that role, and the database could not be told of it
        self.chronicle.found(record, valid, remembered)
        if not valid:
            keep_clear = record.clear and record.boot_id == clock.boot_id and record.role is not Role.ACTIVE
            epoch = max(record.epoch, self.ports.journal.epoch())
            record = replace(
                record,
                role=Role.UNDECIDED,
                phase=Phase.READY,
                epoch=epoch,
                clear=keep_clear,
                boot_id=clock.boot_id,
                deadline_s=0.0,
            )
        runtime.write_role(record)
        self.record, self.deadline_s, self.lease_epoch = record, record.deadline_s, record.epoch
        self._started = True

    def outranked(self, epoch: int) -> bool:
        """Whether the other server is known to have taken the role under a higher epoch; see LeaseKeeper."""
        return False

    def sync_role(self) -> None:
        """Adopt what the switch worker wrote; write the record again after a wipe, under the same epoch (5.4), and when Redis
        came back with an old file: nobody goes back to an epoch (I-E)."""
        record = self.ports.runtime.read_role()
        if record is None:
            return  # silent Redis: go on with what is known; the lease is not renewed meanwhile
        if record.epoch in self._left:  # asked again: another thread may have adopted a newer one since
            record = self.ports.runtime.read_role() or self.record
        old, wiped = record.epoch in self._left, record.epoch == 0 and record.role is Role.UNDECIDED
        if old or (wiped and (self.record.epoch or self.record.role is not Role.UNDECIDED)):
            record = self._after_wipe("lost the role record" if wiped else "came back with an old role record")
            if record is None:
                return
        record = self._phase_ended(record)
        if (record.role, record.epoch) != (self.record.role, self.record.epoch):
            self.role_changed(record)
        self.record = record

    def _phase_ended(self, record: RoleRecord) -> RoleRecord:
        """A phase belongs to a switch. Where Redis lost that switch's last word, the phase would stay for ever: it ends here."""
        if record.phase is Phase.READY or self.switching():
            return record
        if any(switch.epoch == record.epoch for switch in self.ports.journal.unfinished()):
            return record  # the switch worker resumes or undoes it (I-G)
        self.ports.log.report(
            "agent", f"{record.phase} under epoch {record.epoch} without a switch: its end was lost"
        )
        self.ports.runtime.set_progress(record.epoch, Phase.READY, record.progress_s or 0.0)
        return replace(record, phase=Phase.READY)

    def _after_wipe(self, what: str) -> RoleRecord | None:
        last = self.ports.journal.last_role()
        record = self.record
        if last is not None and last.epoch > record.epoch:  # the switch worker changed the role and the wipe ate it
            boot_id = self.ports.clock.boot_id
            deadline_s = last.deadline_s if last.boot_id == boot_id else 0.0
            record = replace(last, deadline_s=deadline_s, clear=False, boot_id=boot_id)
        else:
            record = replace(record, deadline_s=self.deadline_s if record.role is Role.ACTIVE else 0.0)
        record = replace(record, seen_epoch=max(record.seen_epoch, self.ports.journal.epoch()))
        if record.role is Role.ACTIVE:  # an epoch of an own attempt that failed is no command to stop
            record = replace(record, seen_epoch=record.epoch)
        if not self.ports.runtime.write_role(record):
            return None
        self.ports.log.report("agent", f"the node's Redis {what}; written again under the same epoch")
        for name, document in self.published.items():  # the peer must not take the wipe for a dead agent
            self.ports.runtime.publish(name, document)
        return record

    def role_changed(self, record: RoleRecord) -> None:
        self._changes += 1
        if record.epoch > self.record.epoch:
            self._left.add(self.record.epoch)
        self.chronicle.changed(self.record, record, self.deadline_s)
        self.memory = settle(self.memory or Memory())
        active = record.role is Role.ACTIVE and record.boot_id == self.ports.clock.boot_id
        self.deadline_s = record.deadline_s if active else 0.0
        self.lease_epoch = record.epoch
        if record.role is not Role.UNDECIDED:
            self.resolved = True
        if record.role is Role.ACTIVE:  # an invitation is used up: it must not hasten a later failover
            self.ports.runtime.forget("invite")
        if record.role is Role.STANDBY:  # the hold of a switchover belongs to the role that it gave (M1)
            self.ports.journal.set_manual_hold(False)
        if record.role is not Role.ACTIVE:  # the survivor's new epoch does not take its "I stay" back (X1)
            self.stance = SplitStance.NONE
        self._pending_until_s = 0.0

    def switch_document(self) -> dict[str, Any]:
        document = self.ports.runtime.fetch("switch") or {}
        return document if document.get("boot_id") == self.ports.clock.boot_id else {}

    def switching(self) -> bool:
        """A switch was dispatched a moment ago, or is running and showed life lately."""
        now_s = self.ports.clock.now_s()
        if now_s < self._pending_until_s:
            return True
        document = self.switch_document()
        _, _, stop_by, _ = self.settings()
        return document.get("outcome") == "running" and now_s - float(document.get("updated_s", 0)) < stop_by.quiet_s

    def demoting(self) -> bool:
        """A demotion of this node was dispatched or is running: a second one would only burn an epoch."""
        if self.ports.clock.now_s() < self._pending_until_s:
            return self._pending_kind == "demote"
        return self.switching() and self.switch_document().get("kind") == "demote"

    def retry_after_s(self) -> float | None:
        """A promotion that failed is tried again after a pause, so that a peer that will not stop is not hammered."""
        document = self.switch_document()
        if document.get("kind") != "promote" or document.get("outcome") not in ("aborted", "failed", "refused"):
            return None
        _, _, stop_by, wait_by = self.settings()
        pause_s = (
            min(wait_by.hold_s, max(1.0, wait_by.interval_s))
            if document.get("rule") in ("F1", "C2", "C3", "M2")
            else wait_by.hold_s
        )
        return float(document.get("updated_s", 0)) + pause_s

    def promotion_facts(self, view: ClusterView, decision: Decision) -> dict[str, Any]:
        needed = STUCK_TURNS * self.settings()[1].threshold
        said = view.peer_state or (
            self.peer_said[1] if self.peer_said is not None else None
        )  # also of one that is silent now
        return self.vote_facts(view) | {
            "stuck": decision.memory.stuck_streak >= needed,
            "rule": decision.rule,
            "reason": decision.why,
            "not_before_s": decision.not_before_s,
            "passable_s": decision.passable_s,
            "endless": owns_endlessly(self.settings()[1], decision.memory),
            "certain_s": decision.certain_s,
            "invited": view.invited,
            "services": list(said.given_up) if said is not None else [],
        }

    def vote_facts(self, view: ClusterView) -> dict[str, Any]:
        """What a promotion needs of the voters, and where and when it was decided."""
        peer = view.peer_state
        epochs = [vote.epoch for vote in view.votes] + [vote.lock_epoch for vote in view.votes]
        signed = [peer.epoch, peer.seen_epoch] if peer is not None else []
        signed += [view.invited_epoch] if view.invited_epoch is not None else []
        known = max(0, self.record.epoch, self.record.seen_epoch, *signed)
        return {
            "marks": {vote.voter: [vote.mark, vote.still_since_s] for vote in view.votes},
            "seen_epoch": max([0, *signed, *believable(epochs, known)]),
            "boot_id": self.ports.clock.boot_id,
            "ordered_s": view.now_s,
        }

    def dispatch(self, order: dict[str, Any]) -> bool:
        order.setdefault("switch_id", str(uuid.uuid4()))
        taken = self.ports.dispatch.switch(order)
        if taken:
            self._pending_until_s, self._pending_kind = self.ports.clock.now_s() + PENDING_S, str(order["kind"])
        else:
            self.ports.log.report(
                "agent", f"the switch queue did not take {order['kind']} ({order.get('rule')}); trying again"
            )
        return taken
