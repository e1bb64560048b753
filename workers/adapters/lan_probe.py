"""Is this node's LAN there, and does its own portal answer? Asked beside the ticks, often and cheaply (LanPort).

LAN up = carrier on the interface with the own address, and a reference host answered (spec 5.1). References are
asked at least 20 times per (N-1)*T, all side by side, from one thread that waits for none of them, and more often as
soon as answers are missing: 30 % loss then does not look like a cut. A second thread asks the own portal's ``/live``.
Both note the time from *before* the request.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Callable

from ftplugin.core.settings import Settings
from ftplugin.core.terms import Tri
from ftplugin.core.timing import Timing
from ftplugin.core.view import LanReading
from workers.ports import Clock

from . import interfaces
from .http_client import ContextSource, HttpClient, HttpFailure
from .lan_references import Asker

INTERFACE_PERIOD_S = 1.0
PERIOD_S_MIN = 0.02
MISSING_MAX = (
    3  # so many asks without an answer in a row, and they are sent HURRY times as often until a hold has passed
)
HURRY = 4
STOP_POLL_S = 0.5
LIVE_BYTES_MAX = 4_096
NO_REFERENCE = "no reference host: there is no default gateway and none is set (LAN reference hosts)"

_log = logging.getLogger(__name__)


def ask_period_s(timing: Timing, silent_s: float) -> float:
    """Seconds until the references are asked again. ``silent_s``: age of the last answered ask.

    With 30 % loss each way, 13 asks in a row stay without an answer once in 6,000 times, and at T = 1 s, N = 3 that is a
    lease lost each half hour; with the asks of this rate it is once in 10^12. After a hold the LAN is down anyway.
    """
    missing = MISSING_MAX * timing.lan_period_s < silent_s <= timing.hold_s
    return max(PERIOD_S_MIN, timing.lan_period_s / (HURRY if missing else 1))


class LanProbe:
    """LanPort. settings, own_address (IP), own_url (of the own portal): asked at every turn: changes go live."""

    def __init__(
        self,
        *,
        settings: Callable[[], Settings],
        own_address: Callable[[], str],
        own_url: Callable[[], str],
        url_prefix: str,
        clock: Clock,
        ssl_context: ContextSource | None = None,
    ) -> None:
        self._settings, self._own_address, self._own_url, self._clock = settings, own_address, own_url, clock
        self._live = url_prefix.rstrip("/") + "/live"
        self._client = HttpClient(ssl_context)
        self._stop_wanted = threading.Event()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._carrier, self._known_s = Tri.UNKNOWN, float("-inf")
        self._interface: str | None = None
        self._since_s: float | None = None  # first ask
        self._seen_s: float | None = None
        self._steady_since_s: float | None = None
        self._gap_s = 0.0
        self._portal_s: float | None = None
        self._problem = ""

    # --- LanPort

    def reading(self) -> LanReading:
        """What is known now; touches nothing. ``seen_s``: before the last ask that was answered."""
        timing, now_s = Timing.of(self._settings()), self._clock.now_s()
        with self._lock:
            seen_s, since_s, carrier, problem = self._seen_s, self._since_s, self._carrier, self._problem
            steady_since_s = self._steady_since_s
        reference = Tri.UNKNOWN
        if seen_s is not None and now_s - seen_s <= timing.lan_gap_s:
            reference = Tri.YES
        elif since_s is not None and now_s - max(since_s, seen_s or since_s) > timing.hold_s and not problem:
            reference = Tri.NO
        return LanReading(
            carrier=carrier,
            reference=reference,
            seen_s=seen_s,
            steady_since_s=steady_since_s,
            asked=since_s is not None,
        )

    def portal_seen_s(self) -> float | None:
        with self._lock:
            return self._portal_s

    def detail(self) -> str:
        """Why the LAN cannot be judged, in a sentence; empty when it can."""
        with self._lock:
            return self._problem

    # --- life

    def start(self) -> None:
        """Start both threads; once."""
        if self._threads:
            raise RuntimeError("the LAN probe is running already")
        self._stop_wanted.clear()
        works = {"ft-lan": self._watch_lan, "ft-live": self._watch_portal}
        self._threads = [threading.Thread(target=work, name=name, daemon=True) for name, work in works.items()]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End both threads; waits a few seconds at most."""
        self._stop_wanted.set()
        for thread in self._threads:
            thread.join(3.0)
        self._threads = []
        self._client.close()

    # --- threads

    def _watch_lan(self) -> None:
        asker = Asker(self._clock.now_s)
        due_s, said = time.monotonic(), ""
        try:
            while not self._stop_wanted.is_set():
                timing = Timing.of(self._settings())
                self._gap_s = timing.lan_gap_s
                problem = self._ask(asker, timing)
                if problem != said:
                    said = problem
                    _log.warning("LAN: %s", problem or "can be judged again")
                due_s = max(due_s + ask_period_s(timing, self._silent_s()), time.monotonic())
                while (left_s := due_s - time.monotonic()) > 0 and not self._stop_wanted.is_set():
                    self._saw(asker.collect(time.monotonic() + min(left_s, STOP_POLL_S), self._stop_wanted.is_set))
        finally:
            asker.close()

    def _silent_s(self) -> float:
        with self._lock:
            return 0.0 if self._seen_s is None else self._clock.now_s() - self._seen_s

    def _ask(self, asker: Asker, timing: Timing) -> str:
        problem = self._look_at_interface()
        references = self._settings().lan_references
        if not references:
            gateway = interfaces.default_gateway()
            references = (gateway,) if gateway else ()
        if not references:
            problem = problem or NO_REFERENCE
        seen_s, not_possible = asker.ask(references, timing.network_s)
        with self._lock:
            if self._since_s is None and references:
                self._since_s = self._clock.now_s()
            self._problem = problem or not_possible
        self._saw(seen_s)
        return problem or not_possible

    def _saw(self, seen_s: float | None) -> None:
        if seen_s is not None:
            with self._lock:
                if self._seen_s is None or seen_s - self._seen_s > self._gap_s:
                    self._steady_since_s = seen_s
                self._seen_s = max(seen_s, self._seen_s or seen_s)

    def _look_at_interface(self) -> str:
        address = self._own_address()
        if not address:
            self._set_carrier(Tri.UNKNOWN)
            return "the IP address of this server is not set"
        if time.monotonic() - self._known_s >= INTERFACE_PERIOD_S:
            try:
                self._interface = interfaces.interface_of(address, interfaces.addresses())
                self._known_s = time.monotonic()
            except (OSError, ValueError) as error:
                self._set_carrier(Tri.UNKNOWN)
                return f"interfaces cannot be read: {error}"
        if self._interface is None:  # nobody can reach this node at its address: the LAN is down for it
            self._set_carrier(Tri.NO)
            return f"no interface of this server has its address {address}"
        self._set_carrier(interfaces.carrier(self._interface))
        return ""

    def _set_carrier(self, carrier: Tri) -> None:
        with self._lock:
            self._carrier = carrier

    def _watch_portal(self) -> None:
        due_s = time.monotonic()
        while not self._stop_wanted.wait(max(0.0, due_s - time.monotonic())):
            timing = Timing.of(self._settings())
            asked_s, url = self._clock.now_s(), self._own_url()
            limit_s = min(timing.timeout_s, max(timing.network_s, timing.hold_s / 4))
            try:
                alive = bool(url) and self._ask_portal(url, limit_s) == 200
            except HttpFailure:
                alive = False
            if alive:
                with self._lock:
                    self._portal_s = asked_s
            due_s = max(due_s + max(0.02, timing.portal_period_s), time.monotonic())

    def _ask_portal(self, url: str, limit_s: float) -> int:
        return self._client.ask("GET", url, self._live, limit_s=limit_s, bytes_max=LIVE_BYTES_MAX).status
