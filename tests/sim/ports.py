"""The agent's ports on the simulated site. Each call checks that its own process is still alive, so that a killed
process does nothing more, and takes the virtual time that the real call would take."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Callable

from ftplugin.core.records import RoleRecord
from ftplugin.core.terms import Phase, ProbeCause, Role, ServiceState, Tri, VipDestination
from ftplugin.core.timing import HEDGES
from ftplugin.core.view import LanReading, Probe, ServiceReading, VipReading, VoteReading
from ftplugin.switching.telling import is_newer
from workers.adapters.vote_rules import (
    FRESH_VOTE,
    lease_part,
    lock_part,
    mark_of,
    vote_lock,
    vote_own,
    vote_release,
    vote_renew,
)
from workers.guard_watch import FREE, FREE_S
from workers.ports import Fenced, Ports, Reply, Vote

from .world import Node, adopt_last, steps_of, unfinished

if TYPE_CHECKING:
    from .world import World

LOCAL_S = 0.0002
REDIS_LIMIT_S = 0.2


class _Base:
    def __init__(self, node: Node) -> None:
        self.node, self.world = node, node.world

    @property
    def kernel(self) -> Any:
        self.world.kernel.check()
        return self.world.kernel


class SimClock(_Base):
    @property
    def boot_id(self) -> str:
        return self.node.boot_id

    def now_s(self) -> float:
        self.world.kernel.check()
        return self.node.now_s()

    def wall_s(self) -> float:
        return self.node.wall_s()

    def monotonic_s(self) -> float:
        return self.node.now_s()

    def sleep(self, seconds: float) -> None:
        self.kernel.sleep(seconds)


class SimRunner(_Base):
    def side_by_side(
        self, calls: Any, limit_s: float, enough: Callable[[Any], bool] | None = None, last_here: bool = False
    ) -> list[Any]:
        return list(self.kernel.side_by_side(list(calls), limit_s, enough))


class SimPeer(_Base):
    """HTTP between the portals."""

    def probe(self, limit_s: float, *, check_body: bool) -> Probe:
        probe = self._hedged(limit_s)
        if check_body and probe.good and not self.node.peer.service_is_well():
            probe = replace(probe, cause=ProbeCause.BODY)
        if probe.good:
            self.node.first_bad_end = None
        elif self.node.first_bad_end is None:
            self.node.first_bad_end = self.world.now
        return probe

    def _hedged(self, limit_s: float) -> Probe:
        began = self.node.now_s()
        start = self.world.now
        for share in HEDGES:
            due = start + share * limit_s
            self.kernel.sleep(max(0.0, due - self.world.now))
            answer = self._ask(self.node.peer, limit_s - (self.world.now - start))
            if answer is not None:
                return replace(answer, started_s=began, ended_s=self.node.now_s())
            if self._refused(self.node.peer):
                return Probe(started_s=began, ended_s=self.node.now_s(), cause=ProbeCause.CONNECT)
        self.kernel.sleep(start + limit_s - self.world.now)
        return Probe(started_s=began, ended_s=self.node.now_s(), cause=ProbeCause.TIMEOUT)

    def _refused(self, target: Node) -> bool:
        dead = target.up and not target.processes["portal"].alive
        return dead and self.world.linked(self.node.designation, target.designation)

    def _ask(self, target: Node, limit: float) -> Probe | None:
        """One attempt; None when nothing came back."""
        world, me = self.world, self.node.designation
        if target is not self.node and not world.reaches(me, target.designation):
            return None
        delay = 0.0 if target is self.node else world.delay
        if 2 * delay > limit:
            return None
        self.kernel.sleep(delay + LOCAL_S)
        if not target.runs("portal"):
            return None
        state = target.state()
        self.kernel.sleep(delay)
        cause = ProbeCause.OK
        if state is None:
            cause = ProbeCause.NO_STATE
        elif state.agent_age_s is None or state.agent_age_s > world.timing.stale_s:
            cause = ProbeCause.AGENT_STALE
        return Probe(started_s=0, ended_s=0, cause=cause, state=state)

    def probe_own(self, limit_s: float) -> Probe:
        began = self.node.now_s()
        answer = self._ask(self.node, limit_s)
        if answer is None:
            if self.node.processes["portal"].alive:
                self.kernel.sleep(limit_s)
            return Probe(started_s=began, ended_s=self.node.now_s(), cause=ProbeCause.TIMEOUT)
        if answer.good and not self.node.service_is_well():
            answer = replace(answer, cause=ProbeCause.BODY)
        return replace(answer, started_s=began, ended_s=self.node.now_s())

    def command(self, name: str, body: Any, limit_s: float) -> Reply:
        target, start = self.node.peer, self.world.now
        probe = self._ask(target, limit_s)
        if probe is None or probe.state is None:
            if not self._refused(target):
                self.kernel.sleep(start + limit_s - self.world.now)
            return Reply(answered=False, detail="no answer")
        if name == "demote":
            epoch = int(body["epoch"])
            self.node.fence_answered = max(self.node.fence_answered, epoch)
            role = target.redis.role or RoleRecord()
            if epoch < role.epoch:
                return Reply(answered=True, state=target.state(), detail="stale epoch")
            target.redis.role = replace(role, seen_epoch=max(role.seen_epoch, epoch))
            self.world.send(target, "switch", ({"kind": "demote", "rule": "fence", "epoch": epoch},))
        elif name == "invite":
            target.redis.documents["invite"] = {"at_s": target.now_s(), "boot_id": target.boot_id, **body}
        elif name in ("pause", "resume"):
            known = target.disk.notices.get("pause") or {}
            if not is_newer(known, name, int(body["revision"])):
                return Reply(answered=True, state=target.state(), body={"taken": True, "revision": known["revision"]})
            if name == "pause":
                target.disk.standing["pause"] = {"owner": body["actor"], "reason": body["reason"]}
            else:
                target.disk.standing.pop("pause", None)
            target.disk.notices["pause"] = {"command": name, "revision": body["revision"], "told": True}
        elif name == "switch":
            self.world.send(target, "switch", ({"kind": "manual", **body},))
        return Reply(answered=True, state=target.state(), body={"taken": True})

    def state(self, limit_s: float) -> Reply:
        start = self.world.now
        probe = self._ask(self.node.peer, limit_s)
        if probe is None or probe.state is None:
            self.kernel.sleep(start + limit_s - self.world.now)
            return Reply(answered=False)
        return Reply(answered=True, state=probe.state)

    def settings(self, limit_s: float) -> Reply:
        return Reply(answered=False)


class SimChannel(_Base):
    """The agent channel: the peer's Redis."""

    def _path(self, limit_s: float) -> bool:
        target = self.node.peer
        if self.world.reaches(self.node.designation, target.designation) and target.runs("redis"):
            self.kernel.sleep(self.world.delay * 2)
            return target.runs("redis")
        dead = (
            target.up
            and not target.processes["redis"].alive
            and self.world.linked(self.node.designation, target.designation)
        )
        self.kernel.sleep(LOCAL_S if dead else limit_s)
        return False

    def demote(self, epoch: int, nonce: str, limit_s: float) -> bool:
        from ftplugin.protocol import make_demote

        if not self._path(limit_s):
            return False
        m = make_demote(self.node.config.secret_keys, self.node.designation, epoch, nonce)
        return self.world.send(self.node.peer, "demote", (m["sender"], m["epoch"], m["nonce"], m["signature"]))

    def word(self, nonce: str) -> tuple[int, bool] | None:
        self.world.kernel.check()
        word = self.node.redis.words.get(nonce) if self.node.runs("redis") else None
        if word is not None:
            self.node.fence_answered = max(self.node.fence_answered, word[0])
        return word

    def answer(self, nonce: str, epoch: int, clear: bool, limit_s: float) -> None:
        if self._path(limit_s):
            self.node.peer.redis.words[nonce] = (epoch, clear)


class SimVotes(_Base):
    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.watched: dict[tuple[str, str], tuple[str, float]] = {}

    def names(self) -> list[str]:
        return ["server1", "server2"] + (["witness"] if self.world.settings.witness else [])

    def _reach(self, voter: str, limit_s: float) -> bool:
        if voter == "witness":
            if self.world.witness_up and self.world.reaches(self.node.designation, "witness"):
                self.kernel.sleep(self.world.delay * 2)
                return True
            self.kernel.sleep(limit_s)
            return False
        target = next(n for d, n in self.world.nodes.items() if d == voter)
        linked = target is self.node or self.world.reaches(self.node.designation, target.designation)
        if linked and target.runs("redis"):
            self.kernel.sleep(LOCAL_S if target is self.node else self.world.delay * 2)
            return target.runs("redis")
        dead = target.up and not target.processes["redis"].alive and linked
        self.kernel.sleep(LOCAL_S if dead else min(limit_s, REDIS_LIMIT_S) if target is self.node else limit_s)
        return False

    def _get(self, voter: str) -> dict[str, Any] | None:
        if voter == "witness":
            return self.world.witness_vote
        return next(n for d, n in self.world.nodes.items() if d == voter).redis.vote

    def _put(self, voter: str, vote: dict[str, Any] | None) -> None:
        if voter == "witness":
            self.world.witness_vote = vote
        else:
            next(n for d, n in self.world.nodes.items() if d == voter).redis.vote = vote

    def _apply(self, voter: str, limit_s: float, rule: Any, *arguments: Any) -> Vote:
        if not self._reach(voter, limit_s):
            return Vote(voter=voter, ok=None, detail="silent")
        vote, granted = rule(self._get(voter), str(self.node.designation), *arguments)
        self._put(voter, vote)
        return Vote(
            voter=voter,
            ok=granted,
            epoch=vote["epoch"] if vote else 0,
            owner=(vote["owner"] or "") if vote else "",
            mark=mark_of(vote),
        )

    def read(self, voter: str, limit_s: float) -> Vote:
        return self._apply(voter, limit_s, lambda vote, me: (vote, True))

    def reading(self, voter: str, limit_s: float) -> VoteReading:
        answer = self.read(voter, limit_s)
        if answer.ok is None or answer.mark is None:
            return VoteReading(voter=voter)
        vote = self._get(voter) or FRESH_VOTE
        foreign = lock_part(vote) if vote["lock_owner"] != self.node.designation else ""
        lease_since = self._still_since(voter, "lease", lease_part(vote))
        lock_since = self._still_since(voter, "lock", foreign)  # the own lock is no movement
        return VoteReading(
            voter=voter,
            mark=mark_of(vote),
            owner=vote["owner"] or "",
            epoch=vote["epoch"],
            lock_owner=vote["lock_owner"],
            lock_epoch=vote["lock_epoch"],
            still_since_s=max(lease_since, lock_since) if foreign else lease_since,
        )

    def _still_since(self, voter: str, which: str, part: str) -> float:
        before = self.watched.get((voter, which))
        if before is None or before[0] != part:
            self.watched[voter, which] = (part, self.node.now_s())
        return self.watched[voter, which][1]

    def lock(self, voter: str, epoch: int, mark: str | None, limit_s: float) -> Vote:
        return self._apply(voter, limit_s, vote_lock, epoch, mark)

    def own(self, voter: str, epoch: int, mark: str | None, confirmed: bool, limit_s: float) -> Vote:
        return self._apply(voter, limit_s, vote_own, epoch, mark, confirmed)

    def renew(self, voter: str, epoch: int, limit_s: float) -> Vote:
        self.node.voters_asked_s = self.node.now_s()
        return self._apply(voter, limit_s, vote_renew, epoch)

    def release(self, voter: str, epoch: int, limit_s: float) -> Vote:
        return self._apply(voter, limit_s, vote_release, epoch)


class SimRuntime(_Base):
    """The node's Redis, with the rules of the Lua scripts."""

    def _ok(self) -> bool:
        if self.node.runs("redis"):
            self.kernel.sleep(LOCAL_S)
            return self.node.runs("redis")
        self.kernel.sleep(REDIS_LIMIT_S if self.node.processes["redis"].frozen else LOCAL_S)
        return False

    def read_role(self) -> RoleRecord | None:
        return (self.node.redis.role or RoleRecord()) if self._ok() else None

    def write_role(self, record: RoleRecord) -> bool:
        if not self._ok():
            return False
        stored = self.node.redis.role or RoleRecord()
        if record.epoch < stored.epoch or (record.role is Role.ACTIVE and record.epoch < stored.seen_epoch):
            return False
        if record.role is Role.ACTIVE:
            self.world.invariants.on_active(self.node, record)
        self.node.redis.role = replace(record, seen_epoch=max(stored.seen_epoch, record.epoch))
        return True

    def renew(self, epoch: int, deadline_s: float, boot_id: str, wall_ahead_s: float) -> str:
        if not self._ok():
            return "silent"
        role = self.node.redis.role
        if role is None or not role.boot_id:  # a hash that only a seen epoch or "clear" made has no role yet
            return "missing"
        if role.epoch != epoch or role.role is not Role.ACTIVE or role.seen_epoch > epoch:
            return "other"
        if deadline_s > self.node.now_s():  # else it is being ended
            self.world.invariants.on_renew(self.node, deadline_s)
        self.node.redis.role = replace(role, deadline_s=deadline_s, boot_id=boot_id, wall_ahead_s=wall_ahead_s)
        return "ok"

    def see_epoch(self, epoch: int) -> bool:
        if not self._ok():
            return False
        role = self.node.redis.role or RoleRecord()
        self.node.redis.role = replace(role, seen_epoch=max(role.seen_epoch, epoch))
        return True

    def set_progress(self, epoch: int, phase: Phase, progress_s: float) -> bool:
        if not self._ok():
            return False
        role = self.node.redis.role
        if role is None or not role.boot_id or role.epoch != epoch:
            return False
        self.node.redis.role = replace(role, phase=phase, progress_s=progress_s)
        return True

    def set_clear(self, epoch: int, clear: bool) -> bool:
        if not self._ok():
            return False
        role = self.node.redis.role or RoleRecord()
        if role.epoch > epoch:
            return False
        self.node.redis.role = replace(role, clear=clear)
        return True

    def publish(self, name: str, value: Any) -> bool:
        self.world.kernel.check()
        if not self.node.runs("redis"):
            return False
        self.node.redis.documents[name] = dict(value)
        return True

    def forget(self, name: str) -> bool:
        self.world.kernel.check()
        if not self.node.runs("redis"):
            return False
        self.node.redis.documents.pop(name, None)
        return True

    def publish_many(self, documents: Any) -> bool:
        return all([self.publish(name, value) for name, value in documents.items()])

    def fetch_many(self, names: Any) -> dict[str, dict[str, Any] | None]:
        return {name: self.fetch(name) for name in names}

    def fetch(self, name: str) -> dict[str, Any] | None:
        self.world.kernel.check()
        return self.node.redis.documents.get(name) if self.node.runs("redis") else None


class SimJournal(_Base):
    """The database; a locked one takes and tells nothing."""

    @property
    def locked(self) -> bool:
        return bool(self.world.now < self.node.database_locked_until)

    def epoch(self) -> int:
        self.world.kernel.check()
        return self.node.disk.epoch

    def begin(self, *, switch_id: str, kind: str, rule: str, reason: str, epoch: int, actor: str) -> bool:
        self.kernel.sleep(0.002)
        if self.locked:
            return False
        disk = self.node.disk
        disk.switches[switch_id] = {
            "kind": kind, "rule": rule, "epoch": epoch, "steps": {}, "outcome": None, "actor": actor, "at": self.world.now,
        }  # fmt: skip
        disk.epoch = max(disk.epoch, epoch)
        return True

    def step(self, switch_id: str, index: int, result: Any) -> bool:
        self.kernel.sleep(0.001)
        if self.locked:
            return False
        self.node.disk.switches[switch_id]["steps"][index] = result
        return True

    def end(self, switch_id: str, outcome: str, role: Role, detail: str) -> bool:
        self.kernel.sleep(0.002)
        if self.locked:
            return False
        row = self.node.disk.switches[switch_id]
        row["outcome"] = outcome
        last = self.node.disk.last
        if outcome == "done" or last is None:
            adopt_last(self.node.disk, RoleRecord(role=role, epoch=row["epoch"], boot_id=self.node.boot_id))
        steps = ", ".join(s.step for s in steps_of(row))
        self.world.tell(f"{self.node.designation} {row['rule']} {row['kind']} {outcome} epoch {row['epoch']}: {steps}")
        return True

    def unfinished(self) -> Any:
        return [] if self.locked else unfinished(self.node.disk)

    def save_lease(self, epoch: int, deadline_s: float, boot_id: str) -> bool:
        last = self.node.disk.last or RoleRecord()
        if self.locked:
            return False
        if last.epoch <= epoch:
            role = replace(last, role=Role.ACTIVE, epoch=epoch)
            self.node.disk.last = replace(role, deadline_s=deadline_s, boot_id=boot_id)
        return True

    def last_role(self) -> RoleRecord | None:
        return None if self.locked else self.node.disk.last

    def manual_hold(self) -> bool:
        return self.node.disk.hold

    def set_manual_hold(self, hold: bool) -> bool:
        if self.locked:
            return False
        self.node.disk.hold = hold
        return True

    def standing(self) -> dict[str, dict[str, Any]] | None:
        return None if self.locked else dict(self.node.disk.standing)

    def notices(self) -> dict[str, dict[str, Any]] | None:
        return None if self.locked else {topic: dict(row) for topic, row in self.node.disk.notices.items()}

    def set_notice(self, topic: str, document: Any) -> bool:
        self.kernel.sleep(0.002)
        if self.locked:
            return False
        self.node.disk.notices[topic] = dict(document)
        return True

    def told(self, topic: str, revision: int) -> bool:
        self.kernel.sleep(0.002)
        row = self.node.disk.notices.get(topic)
        if self.locked or row is None or row["revision"] != revision:
            return False
        row["told"] = True
        return True

    def automatic_switches(self, window_s: float) -> int:
        rows = self.node.disk.switches.values()
        automatic = [r for r in rows if r["kind"] == "promote" and r["outcome"] == "done" and not r["actor"]]
        automatic = [r for r in automatic if r["rule"] not in ("C2", "C3")]  # a start is no flapping
        return sum(self.world.now - r["at"] < window_s for r in automatic)


class SimService(_Base):
    name = "cti"
    start_limit_s, stop_limit_s, status_limit_s = 20.0, 0.3, 2.0

    @property
    def service(self) -> Any:
        return self.node.services[0]

    def _ok(self, limit: float) -> bool:
        process = self.node.processes["service"]
        if process.frozen:
            self.kernel.sleep(limit)
        else:
            self.kernel.sleep(LOCAL_S)
        return self.node.runs("service")

    def _reading(self, detail: str = "") -> ServiceReading:
        if not self.node.processes["service"].alive:
            return ServiceReading(name=self.name, state=ServiceState.DEAD)
        if self.node.processes["service"].frozen:
            return ServiceReading(name=self.name, state=ServiceState.UNKNOWN, detail="no answer")
        progress = int(10 * (self.world.now - self.service.since))
        return ServiceReading(name=self.name, state=self.service.settle(), progress=progress, total=10, detail=detail)

    def promote(self, epoch: int, lease_left_s: float) -> ServiceReading:
        if self._ok(1.0):
            self.service.promote(epoch)
        return self._reading()

    def demote(self, epoch: int) -> ServiceReading:
        deadline = self.world.now + self.stop_limit_s
        if self._ok(self.stop_limit_s) and self.service.demote(epoch):
            while self._reading().state is ServiceState.STOPPING and self.world.now < deadline:
                self.kernel.sleep(0.02)
        return self._reading()

    def status(self) -> ServiceReading:
        self._ok(1.0)
        return self._reading()

    def restart(self, own: bool) -> ServiceReading:
        process = self.node.processes["service"]
        if process.alive and (self.node.hangs or not process.frozen):  # restarted on purpose
            self.node.hangs = False
            self.node.kill("service", None)
        self.kernel.sleep(0.5)
        if not self.node.processes["service"].alive and self.world.now >= self.node.dead_until:
            self.node.start("service")
        return self._reading()

    def renew(self, epoch: int, lease_left_s: float, limit_s: float = 1.0) -> None:
        if self.node.processes["service"].frozen:
            self.kernel.sleep(limit_s)
            return
        self.service.lease_deadline = self.world.now + lease_left_s


class SimLan(_Base):
    def reading(self) -> LanReading:
        node = self.node
        gap_s = self.world.timing.lan_gap_s
        seen = node.lan_seen is not None and node.now_s() - node.lan_seen <= gap_s
        return LanReading(
            carrier=Tri.YES,
            reference=Tri.of(seen),
            seen_s=node.lan_seen,
            steady_since_s=node.lan_steady,
            asked=True,
        )

    def portal_seen_s(self) -> float | None:
        return self.node.portal_seen


class SimVip(_Base):
    def probe(self, limit_s: float) -> VipReading:
        world, me = self.world, self.node.designation
        asked = self.node.now_s()
        target = world.nodes.get(world.vip_to) if world.vip_to is not None else None
        if target is None or not world.reaches(me, "balancer") or not world.reaches("balancer", target.designation):
            self.kernel.sleep(limit_s)
            return VipReading(destination=VipDestination.NOBODY, asked_s=asked)
        self.kernel.sleep(world.delay * 2)
        state = target.state() if target.runs("portal") else None
        if state is None:
            return VipReading(destination=VipDestination.NOBODY, asked_s=asked)
        here = target is self.node
        return VipReading(
            destination=VipDestination.SELF if here else VipDestination.PEER,
            peer_state=None if here else state,
            asked_s=asked,
        )


class SimSettings(_Base):
    def current(self) -> Any:
        settings, mode = self.world.settings, self.node.mode
        return 1, settings if mode is None else replace(settings, enabled=mode)

    def previous(self) -> None:
        return None

    def mark(self) -> str:
        return ""

    def acknowledged(self, revision: int) -> None:
        return None

    def adopt(self, document: Any) -> None:
        return None


class SimDispatch(_Base):
    def switch(self, order: Any) -> bool:
        self.kernel.sleep(LOCAL_S)
        return self.world.send(self.node, "switch", (dict(order),))

    def progress(self, step: str, detail: str) -> None:
        self.world.kernel.check()


class SimFence(_Base):
    """A fence command that keeps its word: at its end it powers the peer off, which boots again later. Killed before
    (``alive`` raises), it has done nothing yet."""

    BACK_S = 15.0

    def fence(self, target: Any, address: str, epoch: int, reason: str, alive: Any) -> Fenced:
        for second in range(1, int(self.node.fence_takes_s) + 1):
            self.kernel.sleep(1.0)
            alive(f"the fence command against {target} has run for {second} s")
        peer = self.node.peer
        self.world.tell(f"{self.node.designation} fences {target}, epoch {epoch}: {reason}")
        if peer.up:
            peer.crash()
            self.world.kernel.at(self.world.now + self.BACK_S, lambda: None if peer.up else peer.boot())
        return Fenced(done=True, detail="exit 0")


class SimLog(_Base):
    def report(self, source: str, text: str) -> None:
        self.world.kernel.check()
        self.world.tell(f"{self.node.designation} {source}: {text}")

    def event(self, name: str, **facts: Any) -> None:
        self.world.kernel.check()


def make_ports(node: Node, process: str) -> Ports:
    return Ports(
        clock=SimClock(node),
        runner=SimRunner(node),
        peer=SimPeer(node),
        channel=SimChannel(node),
        votes=SimVotes(node),
        runtime=SimRuntime(node),
        journal=SimJournal(node),
        services=[SimService(node)],
        lan=SimLan(node),
        vip=SimVip(node),
        settings=SimSettings(node),
        dispatch=SimDispatch(node),
        log=SimLog(node),
        fence=SimFence(node) if node.fences else None,
    )


def guard_loop(node: Node) -> None:
    """The guard's rules, on the same ports: past the last deadline it read, it demotes by itself; where no lease is known
    and nobody is active, it says for services that own nothing that they do."""
    world: World = node.world
    runtime, service = SimRuntime(node), SimService(node)
    lease: RoleRecord | None = None
    free_since = world.now
    while True:
        world.kernel.sleep(world.timing.guard_poll_s)
        record = runtime.read_role()
        if record is not None and record.role is Role.ACTIVE:
            lease = record
        elif record is not None and record.epoch and record.clear:
            lease = None  # demoted and confirmed by the agent
        untold = record is not None and record.role is not Role.ACTIVE and not record.clear
        if lease is not None or not untold or service._reading().state not in FREE:
            free_since = world.now
        elif record is not None and record.phase is Phase.READY and world.now - free_since >= FREE_S:
            runtime.set_clear(record.epoch, True)
        if lease is None or (lease.boot_id == node.boot_id and node.now_s() < lease.deadline_s):
            continue
        if service.service.settle() is not ServiceState.STANDBY:
            world.tell(f"{node.designation} guard: lease of epoch {lease.epoch} has run out, demoting")
        state = service.demote(max(lease.epoch, service.service.epoch)).state
        if state in (ServiceState.STANDBY, ServiceState.DEAD):
            runtime.set_clear(max(lease.epoch, record.epoch if record else 0), True)
            lease = None
