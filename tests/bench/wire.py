"""Bytes of a heartbeat on the wire, TCP and IP headers included."""

from __future__ import annotations

import os
import socket
import stat
import struct
import time
from dataclasses import dataclass

from ftplugin.clock import SystemClock
from ftplugin.config import NodeConfig
from ftplugin.core.settings import Settings
from ftplugin.core.terms import Designation
from workers.adapters.peer_http import PeerHttp

from .alone import Alone, alone
from .figures import BenchError, Figure, Options, Section

INTERVAL_S, TIMEOUT_S, THRESHOLD = 30.0, 10.0, 5
SETTLE_S = 0.3  # a delayed acknowledgement (40 to 200 ms) is a segment of its own, and counts
HOUR_BYTES_MAX = 90_000.0
IP_BYTES, TCP_BYTES, TIMESTAMP_BYTES = 20, 20, 12
TCP_INFO_BYTES = 208
OPTION_TIMESTAMPS = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Traffic:
    """What the kernel counted on one connection so far (tcp(7), struct tcp_info)."""

    sent: int
    received: int
    segments: int
    header: int

    @property
    def total(self) -> int:
        return self.sent + self.received + self.segments * self.header


def measure(options: Options) -> Section:
    with alone(INTERVAL_S, TIMEOUT_S, THRESHOLD) as node:
        settings = Settings(interval_s=INTERVAL_S, timeout_s=TIMEOUT_S, threshold=THRESHOLD)
        peer = _peer(node.node, settings)
        try:
            _tick(node, peer)  # opens the connection; then every tick is as in an hour of ticks
            ticks = [_bytes_of_tick(node, peer, 0.0) for _ in range(options.runs)]
            options.say(f"{ticks} bytes a tick; now one after a whole T of silence")
            idle = _bytes_of_tick(node, peer, INTERVAL_S)
        finally:
            peer.close()
    total = tuple(float(x.total) for x in ticks)
    per_hour = 3600 / INTERVAL_S
    return Section(
        title="Heartbeat on the wire",
        how=(
            "The agent's own adapter (`PeerHttp`) probes the demo's portal, and the kernel's counters of the kept "
            "connection (`TCP_INFO`) are read before and after each tick: payload and segments of both directions, a "
            f"header of {ticks[0].header} bytes a segment (IPv4, TCP, timestamps), late acknowledgements included. "
            f"One more tick comes after a whole T = {INTERVAL_S:g} s of silence on the same connection. An hour is "
            f"{per_hour:.0f} ticks. Not counted: opening the connection (once), TLS and voters (spec 3), the VIP test.",
        ),
        figures=(
            Figure(name="request", unit="B", values=tuple(float(x.sent) for x in ticks), digits=0),
            Figure(name="answer", unit="B", values=tuple(float(x.received) for x in ticks), digits=0),
            Figure(name="segments, both directions", unit="", values=tuple(float(x.segments) for x in ticks), digits=0),
            Figure(name="one tick, headers included", unit="B", values=total, digits=0),
            Figure(name=f"tick after {INTERVAL_S:g} s of silence", unit="B", values=(float(idle.total),), digits=0),
            Figure(
                name="one hour",
                unit="B",
                values=tuple(per_hour * x for x in (*total, float(idle.total))),
                bound=HOUR_BYTES_MAX,
                digits=0,
            ),
        ),
    )


def _peer(node: NodeConfig, settings: Settings) -> PeerHttp:
    return PeerHttp(
        keys=node.secret_keys,
        designation=lambda: Designation.SERVER2,
        peer_url=lambda: f"http://{node.own_address}",
        own_url=lambda: "",
        settings=lambda: settings,
        url_prefix=node.url_prefix,
        clock=SystemClock(),
    )


def _tick(node: Alone, peer: PeerHttp) -> None:
    node.agent_ticked()
    probe = peer.probe(TIMEOUT_S, check_body=True)
    if not probe.good:
        raise BenchError(f"the heartbeat of the benchmark is bad: {probe.cause} {probe.detail}")
    time.sleep(SETTLE_S)


def _bytes_of_tick(node: Alone, peer: PeerHttp, wait_s: float) -> Traffic:
    before = _traffic(node.address)
    time.sleep(wait_s)
    _tick(node, peer)
    after = _traffic(node.address)
    if after.sent <= before.sent:
        raise BenchError("the heartbeat did not use its kept connection")
    return Traffic(
        sent=after.sent - before.sent,
        received=after.received - before.received,
        segments=after.segments - before.segments,
        header=after.header,
    )


def _traffic(address: str) -> Traffic:
    """Counters of this process's one connection to the portal. Raises BenchError when there is none, or several."""
    host, _, port = address.rpartition(":")
    known = (_counters(int(name), (host, int(port))) for name in os.listdir("/proc/self/fd"))
    found = [counters for counters in known if counters is not None]
    if len(found) != 1:
        raise BenchError(f"{len(found)} connections to the portal instead of one kept one")
    return found[0]


def _counters(fd: int, peer: tuple[str, int]) -> Traffic | None:
    try:
        if not stat.S_ISSOCK(os.fstat(fd).st_mode):
            return None
        with socket.socket(fileno=os.dup(fd)) as sock:
            if sock.family != socket.AF_INET or sock.getpeername() != peer:
                return None
            info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    except OSError:
        return None  # closed since it was listed, as the listing's own is, or not connected
    received, segments_out, segments_in = struct.unpack_from("=QII", info, 128)
    (sent,) = struct.unpack_from("=Q", info, 200)
    header = IP_BYTES + TCP_BYTES + (TIMESTAMP_BYTES if info[5] & OPTION_TIMESTAMPS else 0)
    return Traffic(sent=sent, received=received, segments=segments_out + segments_in, header=header)
