"""The simulated site: two hosts with their processes, an optional witness, a LAN reference, a balancer with a VIP.

Redis, database, portal and service are small models that keep the promises of the real ones (the Lua scripts of
``ftplugin/store/runtime.py`` and ``workers/adapters/redis_votes.py`` among them; ``test_models_agree.py`` compares).
"""

from __future__ import annotations

import copy
import random
from dataclasses import dataclass, field, replace
from collections.abc import Callable
from typing import Any

from ftplugin.config import NodeConfig
from ftplugin.core.records import OpenSwitch, RoleRecord, StepResult
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation, Role, ServiceState, SplitStance
from ftplugin.core.timing import Timing
from ftplugin.core.view import NodeState
from ftplugin.state import DAILY, lease_left_s, restarting_s
from ftplugin.switching.telling import notice
from workers.adapters.lan_probe import ask_period_s
from workers.agent import Agent

from .kernel import Kernel, Process

S1, S2 = Designation.SERVER1, Designation.SERVER2
PROCESSES = ("tick", "switch", "guard", "portal", "redis", "service")
KEY = "simulated key of the pair"
ADDRESS = {S1: "10.0.0.1", S2: "10.0.0.2"}


@dataclass
class RedisData:
    """What a node's Redis holds; a wipe replaces it."""

    role: RoleRecord | None = None
    documents: dict[str, dict[str, Any]] = field(default_factory=dict)
    words: dict[str, tuple[int, bool]] = field(default_factory=dict)
    vote: dict[str, Any] | None = None


@dataclass
class Disk:
    """What survives everything: the journal."""

    epoch: int = 0
    switches: dict[str, dict[str, Any]] = field(default_factory=dict)
    last: RoleRecord | None = None
    hold: bool = False
    standing: dict[str, dict[str, Any]] = field(default_factory=dict)
    notices: dict[str, dict[str, Any]] = field(default_factory=dict)


class Service:
    """One service: owns from the moment it accepts a promotion until its demotion is complete."""

    start_s, stop_s = 0.4, 0.1

    def __init__(self, world: World, node: Node) -> None:
        self.world, self.node = world, node
        self.epoch, self.state, self.since, self.lease_deadline = 0, ServiceState.STANDBY, 0.0, 0.0
        self.refused = False  # to stop, when it was told to

    @property
    def owns(self) -> bool:
        node = self.node
        return node.up and node.processes["service"].alive and self.state is not ServiceState.STANDBY

    def promote(self, epoch: int) -> bool:
        if epoch < self.epoch:
            return False
        if self.state is ServiceState.STANDBY:
            self.state, self.since, self.refused = ServiceState.STARTING, self.world.now, False
        self.epoch = epoch
        self.world.invariants.on_own(self.node, epoch)
        if self.world.now < self.node.breaks_until:
            self.node.kill("service", None)
        return True

    def demote(self, epoch: int) -> bool:
        if epoch < self.epoch:
            return False
        self.epoch = epoch
        if self.world.now < self.node.sticks_until:
            self.refused = True
            return True
        if self.state in (ServiceState.ACTIVE, ServiceState.STARTING):
            self.state, self.since = ServiceState.STOPPING, self.world.now
        return True

    def settle(self) -> ServiceState:
        """State at this moment: a start or stop that has had its time is over."""
        age = self.world.now - self.since
        if self.state is ServiceState.STARTING and age >= self.start_s and self.world.now >= self.node.stalls_until:
            self.state = ServiceState.ACTIVE
        elif self.state is ServiceState.STOPPING and age >= self.stop_s:
            self.state = ServiceState.STANDBY
        return self.state


class Node:
    """One host."""

    def __init__(self, world: World, designation: Designation) -> None:
        self.world, self.designation = world, designation
        self.up, self.boots = False, 0
        self.processes: dict[str, Process] = {}
        self.redis, self.disk = RedisData(), Disk()
        self.services = [Service(world, self)]
        self.agents: dict[str, Agent] = {}
        self.queue: list[tuple[str, tuple[Any, ...]]] = []
        self.lan_seen: float | None = None
        self.lan_steady: float | None = None
        self.lan_answers = False
        self.portal_seen: float | None = None
        self.portal_begun_s: float | None = None
        self.wall_offset = 0.0
        self.boot_offset = 0.0
        self.thawed_at = self.stood_still_at = self.paused_until = -1e9
        self.gap_at = self.ticked_at = self.tick_began = self.gateway_seen = -1e9
        self.first_bad_end: float | None = None
        self.bad_since_decision: float | None = None
        self.voters_asked_s = 0.0
        self.hung_until = -1e9
        # the service: cannot be started; dies as soon as it is to own; does not stop owning; its start does not end
        self.dead_until = self.breaks_until = self.sticks_until = self.stalls_until = -1e9
        self.hangs = False  # it is frozen until somebody kills it
        self.fence_answered = 0  # highest epoch of a fence of this node that the peer has answered
        self.promoted_by_time = False  # its last promotion passed a peer that did not answer the fence
        self.mode: bool | None = None  # Hot Standby mode as saved on this node alone, None: as on both
        self.database_locked_until = -1e9
        self.redis_file: RedisData | None = None  # what its Redis has saved
        self.fences, self.fence_takes_s = False, 1.0  # has a fence command, which powers the peer off after so long
        self.config = NodeConfig.of(
            {"FT_OWN_ADDRESS": ADDRESS[designation], "FT_SECRET_KEYS": [KEY], "FT_WATCHDOG_RESTARTS_MAX": 1000}
        )

    @property
    def peer(self) -> Node:
        return self.world.nodes[self.designation.other]

    @property
    def boot_id(self) -> str:
        return f"{self.designation}-{self.boots}"

    def now_s(self) -> float:
        """CLOCK_BOOTTIME of this host."""
        return self.world.now + self.boot_offset

    def wall_s(self) -> float:
        return 1e9 + self.world.now + self.wall_offset

    def runs(self, name: str) -> bool:
        process = self.processes.get(name)
        return self.up and process is not None and process.alive and not process.frozen

    # --- life ---------------------------------------------------------------------------------------------------

    def boot(self) -> None:
        self.boots += 1
        self.up, self.paused_until = True, -1e9
        self.boot_offset = self.world.random.uniform(0, 1000)
        self.redis, self.queue = RedisData(), []
        self.services = [Service(self.world, self)]
        for name in PROCESSES:
            self.start(name)

    def start(self, name: str) -> None:
        """Start one process, as its supervisor does; on a paused host nothing runs before it goes on."""
        if not self.up or self._later(lambda: self.start(name)):
            return
        process = Process(f"{self.designation} {name}")
        self.processes[name] = process
        if name == "redis":
            self.redis = RedisData()
            self.queue.clear()
        elif name == "service":
            self.services = [Service(self.world, self)]
        elif name in ("tick", "switch", "guard"):
            if name == "tick":
                self.lan_seen = self.portal_seen = self.lan_steady = None
            self.world.launch(self, name, process)

    def kill(self, name: str, back_after: float | None) -> None:
        if name not in self.processes:
            return
        self.world.kernel.kill(self.processes[name])
        if back_after is not None:
            boots = self.boots

            def back() -> None:
                if self.up and self.boots == boots and not self.processes[name].alive:
                    self.start(name)

            self.world.kernel.at(self.world.now + back_after, back)

    def crash(self) -> None:
        for process in self.processes.values():
            self.world.kernel.kill(process)
        self.up = False

    def freeze(self, names: tuple[str, ...]) -> None:
        for name in names:
            self.world.kernel.freeze(self.processes[name])

    def _later(self, call: Callable[[], None]) -> bool:
        """True when this host is paused: the call is made when it goes on, unless it was booted anew."""
        boots = self.boots
        if self.world.now >= self.paused_until:
            return False
        self.world.kernel.at(self.paused_until + 0.001, lambda: call() if self.boots == boots else None)
        return True

    def thaw(self, names: tuple[str, ...]) -> None:
        if self._later(lambda: self.thaw(names)):
            return
        self.thawed_at = self.world.now
        for name in names:
            process = self.processes[name]
            if process.frozen:
                self.world.kernel.thaw(process)
        self.world.deliver(self)

    def save_redis(self) -> None:
        """Its Redis writes a snapshot, as that of an administrator who has forgotten ``save ""`` does."""
        self.redis_file = copy.deepcopy(self.redis)

    def restart_redis_with_file(self) -> None:
        """Its Redis dies, and comes back at once with what it has saved."""
        self.redis = copy.deepcopy(self.redis_file or RedisData())
        self.queue.clear()

    def stand_still(self, lasted_s: float) -> None:
        """CLOCK_BOOTTIME did not count the last seconds; what was noted by the world's time moves with it."""
        self.boot_offset -= lasted_s
        self.stood_still_at = self.world.now
        self.ticked_at += lasted_s
        self.tick_began += lasted_s

    # --- what the portal says -----------------------------------------------------------------------------------

    def answers_active(self) -> bool:
        """mod=FT: ACTIVE only inside an unexpired lease."""
        role = self.redis.role
        if not self.runs("portal") or not self.runs("redis") or role is None or role.role is not Role.ACTIVE:
            return False
        return lease_left_s(role, self.boot_id, self.now_s(), self.wall_s()) > 0

    def state(self) -> NodeState | None:
        """The signed state, None when the own Redis cannot be read."""
        if not self.runs("redis"):
            return None
        role = self.redis.role or RoleRecord()
        agent = self.redis.documents.get("agent", {})
        same = agent.get("boot_id") == self.boot_id
        now = self.now_s()
        left = lease_left_s(role, self.boot_id, now, self.wall_s())
        heard = agent.get("peer_heard_s") if same else None
        return NodeState(
            designation=self.designation,
            role=role.role,
            phase=role.phase,
            epoch=role.epoch,
            seen_epoch=role.seen_epoch,
            agent_age_s=now - agent["tick_s"] if same else None,
            lease_left_s=left,
            clear=role.clear and left <= 0,
            stance=SplitStance(agent.get("stance", "")) if same else SplitStance.NONE,
            heard_asker_age_s=None if heard is None else now - heard,
            enabled=bool(agent.get("enabled", True)),
            manual_hold=bool(agent.get("manual_hold", False)),
            switches=int(agent.get("switches", 0)),
            settings_revision=1,
            restarting_s=restarting_s(self.redis.documents.get(DAILY), self.boot_id, now),
            healthy=bool(agent.get("healthy", False)),
            given_up=tuple(agent.get("given_up", ())),
            failed=tuple(agent.get("failed", ())),
        )

    def service_is_well(self) -> bool:
        """As the health check of the service sees it."""
        return self.processes["service"].alive and not self.processes["service"].frozen


class World:
    """Everything, with the network between."""

    def __init__(self, settings: Settings, seed: int, invariants: Any) -> None:
        self.kernel, self.random, self.settings = Kernel(), random.Random(seed), settings
        self.timing = Timing.of(settings)
        self.cuts: dict[tuple[str, str], int] = {}
        self.loss, self.delay = 0.0, 0.001
        self.witness_up = bool(settings.witness)
        self.witness_vote: dict[str, Any] | None = None
        self.vip_to: Designation | None = None
        self.portal_start_s: float | None = None  # None: nobody restarts a portal
        self.ticks = 0
        self.dark: dict[Designation, float] = {}
        self.rules: dict[str, int] = {}
        self.story: list[str] = []
        self.invariants = invariants
        invariants.world = self
        self.nodes = {d: Node(self, d) for d in (S1, S2)}

    @property
    def now(self) -> float:
        return self.kernel.now

    def enabled(self, node: Node) -> bool:
        """Whether Hot Standby mode is on by the settings of this node."""
        return self.settings.enabled if node.mode is None else node.mode

    def tell(self, text: str) -> None:
        self.story.append(f"{self.now:9.3f} {text}")

    # --- network ------------------------------------------------------------------------------------------------

    def cut(self, a: str, b: str) -> None:
        self.cuts[a, b] = self.cuts.get((a, b), 0) + 1

    def heal(self, a: str, b: str) -> None:
        if self.cuts.get((a, b), 0) > 1:
            self.cuts[a, b] -= 1
        else:
            self.cuts.pop((a, b), None)

    def reaches(self, a: str, b: str) -> bool:
        """An exchange needs both directions, and luck."""
        if (a, b) in self.cuts or (b, a) in self.cuts:
            return False
        return not self.loss or (self.random.random() >= self.loss and self.random.random() >= self.loss)

    def dark_since(self, node: Node) -> float | None:
        """Since when this node has been cut off from the LAN and from its peer; None when it is not."""
        return self.dark.get(node.designation)

    def note_darkness(self) -> None:
        """Called after each change of the network."""
        for d in (S1, S2):
            cut = not self.linked(d, "gateway") and not self.linked(d, d.other)
            if cut:
                self.dark.setdefault(d, self.now)
            else:
                self.dark.pop(d, None)

    def linked(self, a: str, b: str) -> bool:
        return (a, b) not in self.cuts and (b, a) not in self.cuts

    def force(self, node: Node, *, checked: bool = False) -> None:
        """An administrator forces a takeover (M2) on ``node``; ``checked``: says that the other server is off."""
        order = {"kind": "force", "target": str(node.designation), "actor": "admin", "checked": checked}
        order |= {"boot_id": node.boot_id, "ordered_s": node.now_s()}
        if checked and not self.settings.witness:
            self.invariants.checked_force = True
        self.send(node, "switch", (order,))

    def order_for_both(self, node: Node, command: str, **facts: Any) -> None:
        """An administrator pauses or resumes the pair at ``node``, as its portal does it."""
        clock = {"now_s": node.now_s(), "boot_id": node.boot_id}
        if command == "pause":
            node.disk.standing["pause"] = {"owner": "admin", "reason": facts["reason"]}
        else:
            node.disk.standing.pop("pause", None)
        made = notice(node.disk.notices.get("pause"), command, "admin", **clock, **facts)
        node.disk.notices["pause"] = made
        self.send(node, "switch", ({"kind": "tell_peer", "topic": "pause", **made},))

    # --- Celery -------------------------------------------------------------------------------------------------

    def send(self, node: Node, name: str, arguments: tuple[Any, ...]) -> bool:
        if not node.runs("redis"):
            return False
        node.queue.append((name, arguments))
        self.deliver(node)
        return True

    def deliver(self, node: Node) -> None:
        """The switch worker takes what is queued, while it and its Redis run."""
        if not (node.runs("redis") and node.runs("switch") and "switch" in node.agents):
            return
        queue, node.queue = node.queue, []
        agent, process = node.agents["switch"], node.processes["switch"]
        for name, arguments in queue:
            call = agent.run_order if name == "switch" else agent.handle_demote
            self.kernel.spawn(process, lambda c=call, a=arguments: c(*a))

    # --- processes ----------------------------------------------------------------------------------------------

    def launch(self, node: Node, name: str, process: Process) -> None:
        from .ports import guard_loop, make_ports
        from .restarts import look_after_portal

        if name == "guard":
            self.kernel.spawn(process, lambda: guard_loop(node))
            return
        agent = Agent(config=node.config, ports=make_ports(node, name), version="sim")
        node.agents[name] = agent
        if name == "switch":
            self.kernel.spawn(process, agent.recover)  # a task as any other: what waited in the queue runs beside it
            self.deliver(node)
            return
        self.kernel.spawn(process, lambda: self._tick_loop(node, agent))
        self.kernel.spawn(process, lambda: self._every(agent.renew_lease, lambda: agent.renew_period_s()))
        self.kernel.spawn(
            process, lambda: self._every(lambda: self._look_around(node), lambda: self._lan_period_s(node))
        )
        self.kernel.spawn(process, lambda: self._every(agent.watch_services, lambda: 1.0, self.random.random()))
        if self.portal_start_s is not None:
            look_after_portal(self, node, process, agent)
        if self.settings.vip_address:
            self.kernel.spawn(
                process, lambda: self._every(agent.probe_vip, lambda: self.timing.interval_s, self.random.random())
            )

    def _every(self, call: Any, period: Any, first: float = 0.0) -> None:
        due = self.now + first
        while True:
            self.kernel.sleep(due - self.now)
            call()
            due = max(due + period(), self.now)

    def _tick_loop(self, node: Node, agent: Agent) -> None:
        """Beat and broker: fixed rate with jitter; no tick while the node's Redis is away; a late one does not pile up."""
        interval = self.timing.interval_s
        due = self.now + self.random.uniform(0, interval)
        again: float | None = None  # suspect mode: a timer of the tick worker, which needs no Redis
        while True:
            if again is not None and again < due:
                self.kernel.sleep(again - self.now)
                again = self._tick(node, agent, early=True) if self.now >= node.hung_until else None
                continue
            self.kernel.sleep(due + self.random.uniform(0, 0.01) - self.now)
            if node.runs("redis") and self.now >= node.hung_until:
                again = self._tick(node, agent)
            due += interval
            while due < self.now - interval / 2:
                due += interval

    def _tick(self, node: Node, agent: Agent, *, early: bool = False) -> float | None:
        """One tick; when suspect mode wants the next one."""
        if self.now - node.ticked_at > self.timing.stale_s:
            node.gap_at = self.now
        node.tick_began = self.now
        decision = agent.tick(early=early)
        node.ticked_at = self.now
        self.ticks += 1
        if decision is None:
            return None
        key = decision.rule if decision.actions else f"{decision.rule} held"
        self.rules[key] = self.rules.get(key, 0) + 1
        self.rules["early"] = self.rules.get("early", 0) + early
        self.invariants.on_decision(node, decision)
        return None if decision.again_in_s is None else self.now + decision.again_in_s

    def _lan_period_s(self, node: Node) -> float:
        """As the real probe asks: more often while answers are missing."""
        return ask_period_s(self.timing, 0.0 if node.lan_seen is None else node.now_s() - node.lan_seen)

    def _look_around(self, node: Node) -> None:
        """The LAN probe thread: a reference host, and the own portal."""
        before = node.now_s()
        node.lan_answers = self.reaches(node.designation, "gateway")
        if node.lan_answers:
            if node.lan_seen is None or before - node.lan_seen > self.timing.lan_gap_s:
                node.lan_steady = before
            node.lan_seen, node.gateway_seen = before, self.now
        if node.runs("portal"):
            node.portal_seen = before


def adopt_last(disk: Disk, record: RoleRecord) -> None:
    last = disk.last
    if last is not None and record.role is Role.ACTIVE and last.epoch == record.epoch and not record.deadline_s:
        record = replace(record, deadline_s=last.deadline_s)  # as SqlJournal.end, which leaves the saved lease alone
    disk.last = replace(record, progress_s=None)


def steps_of(row: dict[str, Any]) -> tuple[StepResult, ...]:
    return tuple(row["steps"][i] for i in sorted(row["steps"]))


def unfinished(disk: Disk) -> list[OpenSwitch]:
    return [
        OpenSwitch(switch_id=k, kind=v["kind"], rule=v["rule"], epoch=v["epoch"], steps=steps_of(v))
        for k, v in disk.switches.items()
        if v["outcome"] is None
    ]
