"""Every duration that follows from the settings, in one place. T, t and N are the spec's letters.

The safety argument (I-D): an active node that loses its last contact at 0 has a lease that ends by

    lease = (N-1)*T - stop - margin,      margin = guard poll + jitter

so its services are released by (N-1)*T. The other node may not act sooner than (N-1)*T after the *end* of its first bad
probe. Counting ticks on both sides would not be enough: their phases differ by up to T.

That first bad probe may have been lost by chance before the cut. So there is a second watch: the active node renews its
vote in the other node's Redis, and a vote that moved proves that its owner was alive and connected then. A candidate
whose fence went unanswered waits until every vote it can read has stood still for

    watch = hold + renewal period + gap

since the last renewal lies at most one renewal period before the cut. The gap is the longest outage of the candidate's
own LAN that its reference hosts would not show: bad probes and still votes of such a time say nothing about the peer.
A longer outage shows, and hold and watch start again when it is over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Self

from .settings import Settings

FENCE_S_MAX = 2.0  # spec 5.5: fence and lock together take at most min(t, 2 s)
HEDGES = (0.0, 0.2, 0.4, 0.6)  # spec 5: attempts at 0, t/5, 2t/5, 3t/5
CTI_STEP_S = 0.2  # guide 6.2: 200 ms per port and per device
LAN_ASKS_PER_HOLD = 20  # spec 5.1
LAN_ASKS_PER_GAP = 7  # at 30 % loss each way seven unanswered in a row are rare (0.9 %), so a longer gap is an outage
NETWORK_LIMIT_S = 0.5  # default of one network call, raised by the round trip, capped by t (spec 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Timing:
    """Durations in seconds that follow from one set of settings."""

    interval_s: float
    timeout_s: float
    threshold: int
    hold_s: float
    stop_s: float
    guard_poll_s: float
    margin_s: float
    lease_s: float
    renew_s: float
    watch_s: float
    stale_s: float
    fence_s: float
    network_s: float
    lan_period_s: float
    lan_gap_s: float
    portal_period_s: float

    @classmethod
    @lru_cache(maxsize=64)
    def of(cls, settings: Settings) -> Self:
        """Derive from settings; a set that ``rules.check`` refuses may give a lease that is not positive."""
        interval_s, timeout_s = settings.interval_s, settings.timeout_s
        hold_s = (settings.threshold - 1) * interval_s
        guard_poll_s = min(1.0, max(0.05, interval_s / 10))
        margin_s = guard_poll_s + min(1.0, max(0.1, interval_s / 10))
        lease_s = hold_s - settings.service_stop_s - margin_s
        renew_s = max(0.02, min(interval_s / 2, lease_s / 3))
        lan_period_s = min(1.0, hold_s / LAN_ASKS_PER_HOLD, max(0.05, timeout_s / LAN_ASKS_PER_GAP))
        lan_gap_s = LAN_ASKS_PER_GAP * lan_period_s
        return cls(
            interval_s=interval_s,
            timeout_s=timeout_s,
            threshold=settings.threshold,
            hold_s=hold_s,
            stop_s=settings.service_stop_s,
            guard_poll_s=guard_poll_s,
            margin_s=margin_s,
            lease_s=lease_s,
            renew_s=renew_s,
            watch_s=hold_s + renew_s + lan_gap_s,
            stale_s=2 * interval_s,
            fence_s=min(timeout_s, FENCE_S_MAX),
            network_s=min(timeout_s, max(NETWORK_LIMIT_S, 4 * settings.rtt_ms / 1000)),
            lan_period_s=lan_period_s,
            lan_gap_s=lan_gap_s,
            portal_period_s=min(2.0, hold_s / 5),
        )

    @property
    def quiet_s(self) -> float:
        """How long a running switch may say nothing before it is taken for dead, in seconds: a step may stop every service."""
        return max(self.stop_s + 2 * self.timeout_s, self.stale_s)

    @classmethod
    def between(cls, live: Settings, pending: Settings | None) -> tuple[Self, Self]:
        """(timing an active node stops by, timing a standby node waits by) while a change awaits both nodes (spec 4)."""
        now = cls.of(live)
        if pending is None or pending == live:
            return now, now
        then = cls.of(pending)
        wait_by = replace(max(now, then, key=lambda x: x.hold_s), watch_s=max(now.watch_s, then.watch_s))
        return min(now, then, key=lambda x: x.lease_s), wait_by


def service_start_s(settings: Settings) -> float:
    """Expected start of the services as the settings say it, in seconds (guide 6.2); see ``start.with_starts``."""
    return start_s(settings.cti_connect_s, settings.cti_ports, settings.cti_devices)


def start_s(connect_s: float, ports: int, devices: int) -> float:
    """Start of a CTI server in seconds: connect + 200 ms per port + 200 ms per device (guide 6.2)."""
    return connect_s + CTI_STEP_S * (ports + devices)


def suspect_saving_s(settings: Settings) -> float:
    """Seconds by which suspect mode shortens the failover from a server that answers nothing any more.

    Each of its probes takes t. Counted from the end of the first bad one, after which both may never be sooner than
    hold = (N-1)*T and than hold + gap, when a silent server has certainly stopped (I-D, ``policy.passable_s``):

        off   the N-th probe ends at hold, the last probe follows:          hold + max(t, gap)
        on    N probes need (N-1)*p, p = max(suspect interval, t); the
              last probe begins at the latest of that and hold - t, so ends
              at hold + rest, rest = max(0, (N-1)*p + t - hold):            hold + max(rest, gap)

    The saving is the difference, 0 when suspect mode is off. A server whose host still refuses connections fails its
    probes at once: there the gain is the wait for the next tick of the grid, up to T, and depends on the phase alone.
    """
    if not settings.suspect_interval_s:
        return 0.0
    timing = Timing.of(settings)
    probes_s = (settings.threshold - 1) * max(settings.suspect_interval_s, settings.timeout_s)
    rest_s = max(0.0, probes_s + settings.timeout_s - timing.hold_s)
    off_s, on_s = max(settings.timeout_s, timing.lan_gap_s), max(rest_s, timing.lan_gap_s)
    return max(0.0, off_s - on_s)


def expected_failover_s(settings: Settings) -> float:
    """N*T + t + service start, at least the release delay (spec 6); less ``suspect_saving_s`` with suspect mode."""
    delay = settings.threshold * settings.interval_s + settings.timeout_s - suspect_saving_s(settings)
    return max(delay, settings.release_delay_s) + service_start_s(settings)


def worst_failover_s(settings: Settings, *, agent_only: bool = False) -> float:
    """The bound of I-B; 2 T more when only the agent died.

    N*T + 2t + min(t, 2 s): up to T until the first bad probe begins, t until it ends, hold, the last probe, the fence; the
    gap after which a silent server has certainly stopped, where that is longer than the last probe. Suspect mode promises
    nothing here: a tick of the grid that begins at the wrong moment eats its saving.
    """
    s = settings
    gap_s = max(0.0, Timing.of(s).lan_gap_s - s.timeout_s)
    detect = s.threshold * s.interval_s + 2 * s.timeout_s + min(s.timeout_s, FENCE_S_MAX) + gap_s
    bound = max(detect, s.release_delay_s) + service_start_s(s)
    return bound + (2 * s.interval_s if agent_only else 0.0)


def both_active_bound_s(settings: Settings) -> float | None:
    """How long two nodes may both be active when only the link between them is cut (I-C).

    Zero with a witness; None means "until healed" (no VIP test).
    """
    if settings.witness:
        return 0.0
    if not settings.vip_test:
        return None
    return settings.threshold * settings.interval_s + settings.timeout_s + settings.service_stop_s
