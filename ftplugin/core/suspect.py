"""Suspect mode: after a bad probe a standby node asks again sooner than T (as ``fastinter`` of a load balancer).

What it may shorten, and what not. An active node that is cut off stops by its own lease, which follows from T and N
alone. So F1 never ends sooner than a hold of (N-1)*T after the END of the first bad probe, whatever the suspect
interval is: ``policy`` does not know this setting. But N bad probes are then together long before the hold is over.
So the last probe and the fence need not wait for a tick of the grid, and the last probe runs inside the hold.

Once the streak is full the tick that ends with the hold is asked for in any case, suspect mode or not: when the grid's
tick comes a moment too soon, the next one would come a whole T late, and I-B would not hold.

The grid of T goes on below it, and all other streaks are counted on the grid alone. A good probe ends the streak and
with it suspect mode. More probes within the same hold can only find more reasons not to switch: F1 needs every one of
them to be bad.
"""

from __future__ import annotations

from .policy import F1
from .vetoes import Case, Refusal, certain_s
from .terms import Role

ENDED_BY_PROBES = frozenset({"streak", "hold"})  # vetoes that more probes, or the time they take, can end
AIM_S = 0.02  # past the earliest moment: a tick that comes a moment too soon would be followed by one more


def again_in_s(case: Case, refused: tuple[Refusal, ...]) -> float | None:
    """Seconds from the end of this tick to the next one, None for the grid's next.

    While the streak is short: the suspect interval after this tick's probe began, or at once if that took longer. Once
    it is full: so that the tick ends when the hold leaves just enough for the last probe.
    """
    suspect_s, view = case.settings.suspect_interval_s, case.view
    if case.rule is not F1 or view.role is not Role.STANDBY or view.peer is None:
        return None
    vetoes = {r.veto for r in refused}
    if not vetoes or not vetoes <= ENDED_BY_PROBES or ("streak" in vetoes and not suspect_s):
        return None
    if "streak" in vetoes:
        soonest_s = max(view.peer.started_s + suspect_s, view.now_s)
    else:  # a long suspect interval must not delay it
        last_probe_s = certain_s(case) - case.timing.timeout_s
        soonest_s = max(view.now_s, last_probe_s - view.peer.latency_s + AIM_S)
    if soonest_s >= view.peer.started_s + case.timing.interval_s:
        return None
    return soonest_s - view.now_s
