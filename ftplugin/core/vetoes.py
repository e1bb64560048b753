"""The vetoes: what holds a rule that promotes back, and when a silent peer has certainly stopped.

Each veto looks at one case and returns a sentence, or "". The order of ``VETOES`` is that in which the page lists them. A
rule that demotes is never asked about (``policy.py``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

from .handover import both_miss, no_better, offered
from .hysteresis import Memory, lan_is_up, switches_counted
from .policy import B1, C2_PROMOTE, C3, F1, F1_NOBODY, F1_STUCK, H1, M1, Rule
from .settings import Settings
from .terms import Designation, ProbeCause, Role, VipDestination
from .timing import Timing
from .view import ClusterView

OFF_THERE = (
    "Hot Standby mode was off on the other server when it was last heard: cut off, it keeps its role for ever; switch it "
    "off and force the takeover"
)
STUCK_TURNS = 3  # times N: how long a peer that has no role, and has not stopped everything, is left alone


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a rule was held back: the veto's name and a sentence."""

    veto: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Case:
    """What a veto looks at."""

    rule: Rule
    view: ClusterView
    memory: Memory
    settings: Settings
    timing: Timing

    @property
    def ticks_needed(self) -> int:
        """N; twice that for server2 where both may act on the same news (F1 with nobody active, C3). Three times where the
        peer has not stopped everything: it is the first that may take its role back, without a second owner."""
        slow = self.rule in (F1_NOBODY, C3) and self.view.designation is Designation.SERVER2
        turns = STUCK_TURNS if self.rule is F1_STUCK else 2 if slow else 1
        return self.settings.threshold * (turns + self.deference) * self.caution

    @property
    def deference(self) -> int:
        """Whose services did not start lets the other one go first, until that one has taken a higher epoch."""
        state, failed = self.view.peer_state, self.view.start_failed_epoch
        return 3 if self.rule is F1_NOBODY and failed and state is not None and state.epoch <= failed else 0

    @property
    def hold_s(self) -> float:
        extra = self.ticks_needed - self.settings.threshold * self.caution
        return self.timing.hold_s * self.caution + extra * self.timing.interval_s

    @property
    def caution(self) -> int:
        """A frozen pair that has nobody active goes on with doubled holds (spec 5.6)."""
        return 2 if self.memory.frozen and self.rule.id in ("F1", "C3") else 1


def _off(c: Case) -> str:
    if c.rule.id == "M1":
        return ""
    if not c.settings.enabled:
        return "Hot Standby mode is off"
    silent = c.view.peer_state is None and not c.view.invited and not peer_reaches_here(c)
    return OFF_THERE if c.rule in (F1, C3) and silent and owns_endlessly(c.settings, c.memory) else ""


def endless(settings: Settings, memory: Memory) -> bool:
    """A server that is cut off never stops by itself: nothing ends its lease while the mode is off (I1), as here or as it
    last said; with a witness it needs a majority all the same."""
    return not settings.witness and not (settings.enabled and memory.peer_enabled)


def owns_endlessly(settings: Settings, memory: Memory) -> bool:
    """As ``endless``, of a server that did not say that it owns nothing when it was last heard."""
    return memory.owner_word_s is not None and endless(settings, memory)


def _paused(c: Case) -> str:
    if c.view.pause is None or c.rule.id == "M1":
        return ""
    return f"paused by {c.view.pause.owner}: {c.view.pause.reason}"


def _drained(c: Case) -> str:
    return "this server is drained for maintenance" if c.view.drained else ""


def _lan(c: Case) -> str:
    if c.rule.id == "M1" or lan_is_up(c.view):
        return ""
    return f"the LAN is not known to be up (carrier {c.view.lan.carrier}, reference hosts {c.view.lan.reference})"


def streak_of(c: Case) -> tuple[int, str] | None:
    """(how many consecutive ticks there are, of what) of a rule that has to last; None of one that has not."""
    have = {"F2": c.memory.vip_self_streak, "B1": c.memory.own_ok_streak}.get(c.rule.id)
    noun = {"F2": "ticks with the VIP here", "B1": "good answers of the own monitor"}.get(c.rule.id, "bad probes")
    if c.rule in (F1, C3):
        have = max(c.memory.bad_streak, c.memory.combined_streak)
    elif c.rule is F1_NOBODY:
        have, noun = c.memory.nobody_streak, "ticks with nobody active"
    elif c.rule is F1_STUCK:
        have, noun = c.memory.stuck_streak, "ticks with nobody active"
    elif c.rule.id == "F2" and have is not None:
        have = max(have, c.memory.combined_streak)
    elif c.rule is C2_PROMOTE:
        started = c.view.peer_state is not None and c.view.peer_state.role is Role.UNDECIDED
        have, noun = (c.ticks_needed if started else c.memory.nobody_streak), "ticks with nobody active"
    return None if have is None else (have, noun)


def _streak(c: Case) -> str:
    found = streak_of(c)
    if found is None or found[0] >= c.ticks_needed or (c.view.invited and c.rule in (F1, F1_NOBODY)):
        return ""
    return f"{found[0]} of {c.ticks_needed} {found[1]}"


def _hold(c: Case) -> str:
    """Never sooner than (N-1)*T after the END of the first bad probe. The last probe and the fence of a silent peer take t and
    min(t, 2 s) of it: held back for less than that, F1 would miss this tick and lose a whole T. Nor is it held back for one
    more tick that would end later than the last probe should begin (I-B): the switch worker waits for the rest. That is
    for the wait since the first bad probe alone; a vote that still moves must stand still first."""
    if c.rule not in (F1, C3) or c.view.invited:
        return ""
    sure_s = certain_s(c)
    left_s = sure_s - c.view.now_s
    waits_s = c.timing.timeout_s + (c.timing.fence_s if c.view.peer_state is None else 0.0)
    first_bad_s = c.memory.bad_since_s
    if c.view.peer is not None and first_bad_s is not None and sure_s <= first_bad_s + c.hold_s + c.timing.lan_gap_s:
        waits_s += min(c.view.peer.latency_s, c.timing.timeout_s)
    if left_s <= waits_s:
        return ""
    return f"{left_s:.1f} s until the old active server has certainly stopped" + _sign_of_life(c)


def _sign_of_life(c: Case) -> str:
    """Each renewal of its vote since the first bad probe begins the wait anew: nobody should wait for the end of that."""
    since_s = c.memory.bad_since_s
    theirs = [(v.still_since_s, v.voter) for v in c.view.votes if v.owner == c.view.designation.other]
    moved = [(s, voter) for s, voter in theirs if s is not None and since_s is not None and s > since_s]
    if not moved:
        return ""
    at_s, voter = max(moved)
    return f"; counted anew, for it renewed its vote at {voter} {c.view.now_s - at_s:.1f} s ago"


def certain_s(c: Case) -> float:
    """When F1 or C3 may end in a promotion: a silent peer cannot confirm a fence, so it must have stopped certainly. One
    whose monitor alone is broken can: its agent is asked as soon as the hold is over, or as soon as it has signed that it has
    stopped and invites (P1). Should it not answer then, the fence still passes no sooner than ``passable_s``."""
    if c.view.peer_state is not None or c.view.invited or peer_reaches_here(c):
        return not_before_s(c)
    return max(not_before_s(c), passable_s(c))


def peer_reaches_here(c: Case) -> bool:
    """The peer's agent renewed its vote in this node's own Redis within two renewal periods: it is alive, and connected.

    The voters were asked when the probe began; a monitor that hangs has kept this tick waiting for t since then.
    """
    asked_s = c.view.now_s if c.view.peer is None else c.view.peer.started_s
    own = [v for v in c.view.votes if v.voter == c.view.designation and v.owner == c.view.designation.other]
    return any(v.still_since_s is not None and asked_s - v.still_since_s < 2 * c.timing.renew_s for v in own)


def not_before_s(c: Case) -> float:
    """Earliest moment for a promotion under this rule, on the own clock."""
    if c.rule not in (F1, C3) or c.view.invited:
        return c.view.now_s
    since = [s for s in (c.memory.bad_since_s, c.memory.combined_since_s) if s is not None]
    return min(since) + c.hold_s if since else c.view.now_s + c.hold_s


def passable_s(c: Case) -> float:
    """When a silent peer has certainly stopped (I-D, ``timing.py``): a hold after its last signed word that it may own
    something and after the first bad probe, and a watch after any vote of the peer was last seen to move (5.4) and
    after the own LAN came back."""
    hold_s = c.timing.hold_s + c.timing.lan_gap_s
    times = [t + hold_s for t in (c.memory.owner_word_s, c.memory.bad_since_s) if t is not None]
    if c.view.lan.steady_since_s is not None and c.view.lan.asked:
        times.append(c.view.lan.steady_since_s + c.timing.watch_s)
    for vote in c.view.votes:
        unsettled = vote.owner == c.view.designation.other or vote.mark == "missing"  # a wiped voter proves nothing yet
        if unsettled and vote.still_since_s is not None:
            times.append(vote.still_since_s + c.timing.watch_s)
    return max(times) if times else c.view.now_s + hold_s


def _both_sick(c: Case) -> str:
    """A third party that both miss causes no switch: the own check must be better than the peer's."""
    probe = c.view.peer
    body = probe is not None and probe.cause is ProbeCause.BODY
    return "the own check fails as well" if c.rule is F1 and body and not c.view.self_healthy else ""


def _unhealthy(c: Case) -> str:
    if c.rule.id not in ("F2", "B1", "H1", "M1") or c.view.self_healthy:
        return ""
    cause = c.view.own.cause if c.view.own is not None else "not asked"
    return f"the own monitor is not OK ({cause})"


def _own_portal_dead(c: Case) -> str:
    """With the peer alive, a server whose own portal is dead would only be demoted again (P1), or the two would take the
    role from each other while neither portal answers."""
    heard, own = c.view.peer_state is not None or c.view.invited or peer_reaches_here(c), c.view.own
    return "the own portal does not answer" if heard and own is not None and own.state is None else ""


def _peer_unheard(c: Case) -> str:
    if c.rule.id not in ("F2", "B1", "H1", "M1") or c.view.peer_state is not None:
        return ""
    return "the peer cannot be asked to stop"


def _frozen(c: Case) -> str:
    if not c.memory.frozen:
        return ""
    if c.rule.id in ("B1", "F2", "H1"):
        return f"frozen after {switches_counted(c.view)} automatic switches; acknowledge it to go on"
    if c.rule.id in ("F1", "C3") and switches_counted(c.view) >= 2 * c.settings.flap_budget:
        return f"frozen for good after {switches_counted(c.view)} automatic switches; acknowledge it to go on"
    return ""


def _manual_hold(c: Case) -> str:
    if c.rule.id not in (
        "B1",
        "F2",
    ):  # M1 names these two (spec 5.1): a forgotten hold must not keep a dead service (H1)
        return ""
    held = c.view.manual_hold or (c.view.peer_state is not None and c.view.peer_state.manual_hold)
    return "a manual switchover holds automatic switches back until it is released" if held else ""


def _failback(c: Case) -> str:
    if c.rule is not B1:
        return ""
    if c.settings.vip_test and c.view.vip.destination is not VipDestination.SELF:
        return f"the VIP does not lead here (it leads to: {c.view.vip.destination})"
    since_s = c.memory.own_ok_since_s
    stable_s = 0.0 if since_s is None else c.view.now_s - since_s
    if stable_s < c.settings.failback_stable_s:
        return f"stable for {stable_s:.0f} of {c.settings.failback_stable_s:.0f} s"
    return "" if c.view.in_failback_hours else f"outside the allowed hours {c.settings.failback_hours}"


def _expected(c: Case) -> str:
    order = c.view.order
    if c.rule is not M1 or order is None:
        return ""
    if order.target is not c.view.designation:
        return f"{order.target} was asked for, this is {c.view.designation}"
    if c.view.peer_state is None:
        return ""  # nobody knows who is active; "peer unheard" speaks
    active = c.view.peer_state.is_active
    now_active = c.view.designation.other if active else None
    if now_active is not order.expected_active:
        return f"expected {order.expected_active or 'nobody'} to be active, but {now_active or 'nobody'} is"
    return ""


def _retry(c: Case) -> str:
    after_s = c.view.retry_after_s
    asked = c.rule.id == "M1" or (c.view.invited and c.rule in (F1, F1_NOBODY))  # by people, or by a peer that stopped
    if asked or after_s is None or c.view.now_s >= after_s:
        return ""
    return f"the last attempt failed; the next is in {after_s - c.view.now_s:.1f} s"


def _given_up(c: Case) -> str:
    """A server on which a service does not work takes no role from one that is active (spec 6), unless it is better off: by
    what was given up here and there. A bad body for which no service of the peer was given up has another cause, which is
    known to be absent here (``both sick``)."""
    state, names = c.view.peer_state, c.view.given_up
    if c.rule is H1:
        return no_better(c.view, offered(c.view, c.memory))
    if c.rule is F1 and c.view.peer is not None and c.view.peer.cause is ProbeCause.BODY and state is not None:
        return no_better(c.view, state.given_up) if state.given_up else ""
    return f"{', '.join(names)} was given up on this server" if c.rule.id in ("B1", "F2") and names else ""


def _shared(c: Case) -> str:
    missed = both_miss(c.view) if c.rule is H1 else ()
    return f"both servers miss {', '.join(missed)}: the other one would not do better" if missed else ""


def _fence(c: Case) -> str:
    peer = c.view.peer_state
    boots = peer is not None and peer.role is Role.UNDECIDED and c.memory.stuck_streak < c.ticks_needed
    if c.rule is not F1_STUCK or c.view.can_fence or boots:  # one that boots looks after its services by itself
        return ""
    other = c.view.designation.other
    return f"look at the services of {other}, or switch {other} off and force the takeover (no fence command is set)"


VETOES: dict[str, Callable[[Case], str]] = {
    "off": _off,
    "paused": _paused,
    "drained": _drained,
    "lan": _lan,
    "streak": _streak,
    "hold": _hold,
    "both sick": _both_sick,
    "unhealthy": _unhealthy,
    "own portal dead": _own_portal_dead,
    "peer unheard": _peer_unheard,
    "frozen": _frozen,
    "manual hold": _manual_hold,
    "given up": _given_up,
    "shared": _shared,
    "fence": _fence,
    "failback": _failback,
    "expected active": _expected,
    "retry": _retry,
}


def refusals(case: Case) -> tuple[Refusal, ...]:
    """Every veto that holds the rule back; none for a rule that does not promote."""
    if not case.rule.promotes:
        return ()
    return tuple(Refusal(name, text) for name, veto in VETOES.items() if (text := veto(case)))
