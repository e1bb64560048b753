"""Which node does the VIP lead to? (spec 5.3, VipPort)

The monitor at the VIP is asked with a nonce; the node that gets the question signs its name and state, so that no
cache or page of the balancer can be taken for a node. Two questions on two new connections: a VIP that is on both
nodes, or a balancer that spreads, shows up as ``both``. A node that holds the VIP itself always reaches itself: it
answers unknown.
"""

from __future__ import annotations

import ipaddress
from typing import Callable, Sequence

from ftplugin import protocol
from ftplugin.core.settings import Settings, SettingsError, parse_address
from ftplugin.core.terms import Designation, VipDestination
from ftplugin.core.view import NodeState, VipReading
from workers.ports import Clock

from . import interfaces
from .http_client import ContextSource, HttpClient, HttpFailure
from .runner import DaemonPool, SideBySide

QUESTIONS = 2
BYTES_MAX = 4_096
NOBODY_STATUS = (502, 503, 504)  # what a balancer says that has no node to send to

_Answer = NodeState | VipDestination  # who signed, or NOBODY or UNKNOWN


class VipProbe:
    """VipPort. settings, designation: asked at every probe, so that changes go live."""

    def __init__(
        self,
        *,
        keys: Sequence[str],
        settings: Callable[[], Settings],
        designation: Callable[[], Designation],
        url_prefix: str,
        clock: Clock,
        pool: DaemonPool | None = None,
        ssl_context: ContextSource | None = None,
    ) -> None:
        self._keys, self._settings, self._designation, self._clock = keys, settings, designation, clock
        self._target = url_prefix.rstrip("/") + "/monitor?mod=IPSWS"
        self._runner, self._client = SideBySide(pool), HttpClient(ssl_context)

    def probe(self, limit_s: float) -> VipReading:
        """Ask the VIP; ends within ``limit_s`` seconds."""
        asked_s = self._clock.now_s()
        try:
            address = parse_address("vip_address", self._settings().vip_address)
        except SettingsError:
            return VipReading(asked_s=asked_s)
        if holds(address.host):
            return VipReading(asked_s=asked_s)
        asks = [lambda: self._ask(address.url, limit_s)] * QUESTIONS
        answers: list[_Answer | None] = self._runner.side_by_side(asks, limit_s)
        return self._reading([VipDestination.NOBODY if a is None else a for a in answers], asked_s)

    def _ask(self, url: str, limit_s: float) -> _Answer:
        nonce = protocol.new_nonce()
        ask = protocol.make_ask(self._keys, self._designation(), nonce)
        headers = {protocol.ASK_HEADER: ask, "Connection": "close"}
        try:
            answer = self._client.ask(
                "GET",
                url,
                self._target,
                limit_s=limit_s,
                headers=headers,
                bytes_max=BYTES_MAX,
                fresh=True,
                keep=False,
            )
        except HttpFailure as failure:
            return VipDestination.UNKNOWN if failure.kind in ("garbage", "too large") else VipDestination.NOBODY
        header = answer.headers.get(protocol.STATE_HEADER.lower(), "")
        if not header and answer.status in NOBODY_STATUS:
            return VipDestination.NOBODY
        try:
            return protocol.read_state(self._keys, header, nonce, None)[0]
        except protocol.ProtocolError:
            return VipDestination.UNKNOWN

    def _reading(self, answers: Sequence[_Answer], asked_s: float) -> VipReading:
        states = {answer.designation: answer for answer in answers if isinstance(answer, NodeState)}
        own = self._designation()
        if len(states) == 2:
            destination = VipDestination.BOTH
        elif own in states:
            destination = VipDestination.SELF
        elif states:
            destination = VipDestination.PEER
        elif VipDestination.UNKNOWN in answers:
            destination = VipDestination.UNKNOWN
        else:
            destination = VipDestination.NOBODY
        return VipReading(destination=destination, peer_state=states.get(own.other), asked_s=asked_s)


def holds(host: str) -> bool:
    """True when this node has the address itself; also when that cannot be told: no answer means anything then."""
    try:
        return ipaddress.ip_address(host) in interfaces.addresses()
    except (OSError, ValueError):
        return True
