"""What a node knows at one tick: one frozen ``ClusterView``, the only input of ``decide`` beside settings and memory.

All ``…_s`` values that are points in time are on this node's own CLOCK_BOOTTIME. Nothing here comes from the peer's
clock: what the peer says about time arrives as ages and remaining seconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .terms import Designation, Phase, ProbeCause, Role, ServiceState, SplitStance, Tri, VipDestination


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeState:
    """The signed word of a node about itself, as it travels in the monitor's answer (spec 3).

    ``clear`` is the node's word that it owns nothing: not active, lease over, every service demoted.
    ``heard_asker_age_s`` is how long ago its agent last had a good probe of the node that asks, None if never.
    ``given_up``: names of services that its watchdog has given up and that are known to have stopped (H1). ``failed``:
    names of failed checks of what both nodes share. ``restarting_s``: how long an announced restart may still take.
    ``content_mark``: digest of all that the portal replicates (spec 7), "" when it registers nothing or it is not known yet.
    """

    designation: Designation
    role: Role
    phase: Phase = Phase.READY
    epoch: int = 0
    seen_epoch: int = 0
    agent_age_s: float | None = None
    lease_left_s: float = 0.0
    clear: bool = False
    stance: SplitStance = SplitStance.NONE
    heard_asker_age_s: float | None = None
    healthy: bool = True
    eligible: bool = True
    enabled: bool = True
    manual_hold: bool = False
    switches: int = 0
    settings_revision: int = 0
    settings_mark: str = ""
    version: str = ""
    wall_clock_s: float = 0.0
    given_up: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()
    restarting_s: float = 0.0
    content_mark: str = ""

    @property
    def is_active(self) -> bool:
        """Active under a valid lease."""
        return self.role is Role.ACTIVE and self.lease_left_s > 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Result of one hedged probe of the peer (or of the own portal). Times: own CLOCK_BOOTTIME, seconds."""

    started_s: float
    ended_s: float
    cause: ProbeCause
    state: NodeState | None = None
    detail: str = ""
    skew_s: float | None = None

    @property
    def good(self) -> bool:
        return self.cause is ProbeCause.OK

    @property
    def latency_s(self) -> float:
        return self.ended_s - self.started_s


@dataclass(frozen=True, kw_only=True, slots=True)
class LanReading:
    """Carrier on the interface with the own address, and when a reference host last answered.

    ``steady_since_s``: since when answers have come without a gap (Timing.lan_gap_s). ``asked``: there is a reference
    host and it was asked, so that its silence means something.
    """

    carrier: Tri = Tri.UNKNOWN
    reference: Tri = Tri.UNKNOWN
    seen_s: float | None = None
    steady_since_s: float | None = None
    asked: bool = False

    @property
    def up(self) -> Tri:
        """LAN up = carrier and at least one reference host answers (spec 5.1)."""
        if self.carrier is Tri.NO or self.reference is Tri.NO:
            return Tri.NO
        if self.carrier is Tri.YES and self.reference is Tri.YES:
            return Tri.YES
        return Tri.UNKNOWN


@dataclass(frozen=True, kw_only=True, slots=True)
class VipReading:
    """Where the VIP leads, and the signed state of the peer if the peer answered there."""

    destination: VipDestination = VipDestination.UNKNOWN
    peer_state: NodeState | None = None
    asked_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class VoteReading:
    """One voter's record as read at this tick, and since when this node has seen it unchanged.

    ``voter`` is "server1", "server2" or "witness". ``mark`` is a fingerprint of lease and lock with their counters;
    "missing" when the voter has no record (a wiped voter), None when it could not be read.
    """

    voter: str
    mark: str | None = None
    owner: str = ""
    epoch: int = 0
    lock_owner: str = ""
    lock_epoch: int = 0
    still_since_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ServiceReading:
    """What one service said. ``waiting_s``: it waits for something outside that ends by itself, expected in so many
    seconds. ``also_owned``: (what, owner) of what another owns at the same time; None: the service cannot tell.
    """

    name: str
    state: ServiceState
    progress: int = 0
    total: int = 0
    detail: str = ""
    waiting_s: float | None = None
    also_owned: tuple[tuple[str, str], ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SwitchOrder:
    """What an administrator asked for (rule M1): make ``target`` active, if ``expected_active`` still is."""

    switch_id: str
    target: Designation
    expected_active: Designation | None
    actor: str = ""
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Probes go on, nothing promotes by itself (spec 5.6)."""

    owner: str
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterView:
    """Everything one tick collected."""

    now_s: float
    designation: Designation
    role: Role
    phase: Phase = Phase.READY
    epoch: int = 0
    lease_deadline_s: float | None = None
    resumable: bool = False
    clear: bool = True
    superseded_by_epoch: int = 0
    switching: bool = False
    progress_age_s: float | None = None
    peer: Probe | None = None
    own: Probe | None = None
    portal_seen_s: float | None = None
    lan: LanReading = field(default_factory=LanReading)
    vip: VipReading = field(default_factory=VipReading)
    votes: tuple[VoteReading, ...] = ()
    services: tuple[ServiceReading, ...] = ()
    order: SwitchOrder | None = None
    pause: Pause | None = None
    drained: bool = False
    manual_hold: bool = False
    freeze_acknowledged: bool = False
    switches: int = 0
    retry_after_s: float | None = None
    stance: SplitStance = SplitStance.NONE
    clock_stepped: bool = False
    early: bool = False  # a tick of suspect mode, between two of the grid
    in_failback_hours: bool = True
    invited_epoch: int | None = None  # the peer signed a moment ago, under this epoch, that it has stopped (I1, P1)
    spoke_s: float | None = None  # when the peer last answered a switch sequence of this node
    spoke_well: bool = False  # that answer was a good probe
    spoke_clear: bool = False  # and said that the peer owns nothing
    given_up: tuple[str, ...] = ()  # services that this node's watchdog has given up
    next_try_s: float | None = None  # when it next tries one of them
    stuck: tuple[str, ...] = ()  # "name: what it says", of services that should own nothing and may
    failed: tuple[str, ...] = ()  # failed checks of what both nodes share
    handed: tuple[str, ...] = ()  # services for which this node has taken the role over (H1), at ``handed_s``
    handed_s: float | None = None
    can_fence: bool = False  # a fence command is configured on this node
    start_failed_epoch: int = 0  # of this node's last promotion if its services did not start

    @property
    def invited(self) -> bool:
        return self.invited_epoch is not None

    @property
    def peer_state(self) -> NodeState | None:
        """The peer's signed word of this tick: heard directly, or through the VIP (spec 5, "Probe")."""
        if self.peer is not None and self.peer.state is not None:
            return self.peer.state
        return self.vip.peer_state

    @property
    def self_healthy(self) -> bool:
        return self.own is not None and self.own.good
