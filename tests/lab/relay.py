"""A bad cable in user space, for kernels without netem: copies frames, late, twice, out of order or slowly.

``python -m tests.lab.relay IF_A IF_B --delay-s 0.1`` copies every frame from A to B and from B to A until its standard
input ends, so it never outlives the process that started it. A line on standard input with the same options replaces
the parameters (``--delay-s 0.3 --jitter-s 0.05``). It prints ``ready`` when it works by the latest.

Each way is a wire of its own. A frame first waits for the rate (a queue of ``QUEUE_S`` seconds, at least
``QUEUE_FRAMES`` full frames; what does not fit is lost), then for the delay. Jitter keeps the order of frames; only
``--reorder-percent`` lets them overtake: the frames it picks are held ``--reorder-s`` longer, those behind them pass.
"""

from __future__ import annotations

import argparse
import errno
import heapq
import itertools
import os
import random
import selectors
import socket
import struct
import sys
import time
from dataclasses import dataclass, field
from typing import Sequence

QUEUE_S = 0.5
QUEUE_FRAMES = 20
FRAME_BYTES_MAX = 1514
PRIORITY = -15  # the cable must not get worse because the hosts are busy
BUFFER_BYTES = 4 << 20

_ETH_P_ALL = 3
_SOL_PACKET = 263
_PACKET_ADD_MEMBERSHIP = 1
_PACKET_MR_PROMISC = 1
_SO_RCVBUFFORCE = 33


def options() -> argparse.ArgumentParser:
    """Parameters of the wire, the same on the command line and on a line of standard input."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--idle", action="store_true", help="take nothing in")
    parser.add_argument("--delay-s", type=float, default=0.0)
    parser.add_argument("--jitter-s", type=float, default=0.0)
    parser.add_argument("--duplicate-percent", type=float, default=0.0)
    parser.add_argument("--reorder-percent", type=float, default=0.0)
    parser.add_argument("--reorder-s", type=float, default=0.0)
    parser.add_argument("--bytes-per-s", type=int, default=0, help="0: no limit")
    return parser


@dataclass(kw_only=True)
class Way:
    """One direction: when it is free for the next frame, and when the last frame in order arrives."""

    source: socket.socket
    target: socket.socket
    free_s: float = 0.0
    last_s: float = 0.0


@dataclass(kw_only=True)
class Relay:
    """Frames under way, by due time."""

    wire: argparse.Namespace
    chance: random.Random = field(default_factory=random.Random)
    under_way: list[tuple[float, int, socket.socket, bytes]] = field(default_factory=list)
    number: "itertools.count[int]" = field(default_factory=itertools.count)

    def change(self, wire: argparse.Namespace, ways: Sequence[Way]) -> None:
        """Other parameters from now on; frames under way keep their time, so those behind them may pass."""
        self.wire = wire
        for way in ways:
            way.free_s = way.last_s = 0.0

    def take(self, way: Way, frame: bytes, now_s: float) -> None:
        """A frame came in: decide when, how often and whether it goes out."""
        if self.wire.idle:
            return
        start_s = now_s
        if self.wire.bytes_per_s:
            queue_s = max(QUEUE_S, QUEUE_FRAMES * FRAME_BYTES_MAX / self.wire.bytes_per_s)
            way.free_s = min(way.free_s, now_s + queue_s + FRAME_BYTES_MAX / self.wire.bytes_per_s)
            if way.free_s > now_s + queue_s:
                return  # the queue is full: lost, as at a switch
            way.free_s = max(way.free_s, now_s) + len(frame) / self.wire.bytes_per_s
            start_s = way.free_s
        due_s = start_s + self.wire.delay_s + self.chance.uniform(-self.wire.jitter_s, self.wire.jitter_s)
        due_s = way.last_s = max(due_s, way.last_s, now_s)
        if self.chance.uniform(0, 100) < self.wire.reorder_percent:
            due_s += self.wire.reorder_s
        for _ in range(2 if self.chance.uniform(0, 100) < self.wire.duplicate_percent else 1):
            heapq.heappush(self.under_way, (due_s, next(self.number), way.target, frame))

    def give(self, now_s: float) -> None:
        """Send what is due."""
        while self.under_way and self.under_way[0][0] <= now_s:
            _, _, target, frame = heapq.heappop(self.under_way)
            try:
                target.send(frame)
            except OSError as error:
                if error.errno not in (errno.ENETDOWN, errno.ENOBUFS, errno.EAGAIN):
                    raise
                # the port is down or its queue is full: a cable loses the frame and says nothing

    def wait_s(self) -> float | None:
        """Seconds to the next frame that is due; None when nothing is under way."""
        return max(0.0, self.under_way[0][0] - time.monotonic()) if self.under_way else None


def open_port(interface: str) -> socket.socket:
    """Every frame that the other end of this interface sends, whoever it is for."""
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)  # protocol 0: deaf until bound to the one interface
    port.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, BUFFER_BYTES)
    promiscuous = struct.pack("iHH8s", socket.if_nametoindex(interface), _PACKET_MR_PROMISC, 0, b"")
    port.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, promiscuous)
    port.bind((interface, _ETH_P_ALL))
    port.setblocking(False)
    return port


def drain(relay: Relay, way: Way) -> None:
    """Take every frame that waits at one end."""
    while True:
        try:
            frame = way.source.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.ENETDOWN:  # told once when the port goes down; the socket hears again when it is up
                raise
            return
        relay.take(way, frame, time.monotonic())


def copy(relay: Relay, ways: Sequence[Way]) -> None:
    """Copy frames until standard input ends."""
    with selectors.DefaultSelector() as selector:
        for way in ways:
            selector.register(way.source, selectors.EVENT_READ, way)
        selector.register(sys.stdin, selectors.EVENT_READ, None)
        print("ready", flush=True)
        while True:
            for key, _ in selector.select(relay.wait_s()):
                if key.data is not None:
                    drain(relay, key.data)
                    continue
                line = os.read(sys.stdin.fileno(), 4096).decode()  # one write of the lab is one line, below PIPE_BUF
                if not line:
                    return
                relay.change(options().parse_args(line.splitlines()[-1].split()), ways)
                print("ready", flush=True)
            relay.give(time.monotonic())


def main() -> None:
    """Open both ends and copy."""
    parser = argparse.ArgumentParser(description="A bad cable between two interfaces", parents=[options()])
    parser.add_argument("if_a")
    parser.add_argument("if_b")
    wire = parser.parse_args()
    os.setpriority(os.PRIO_PROCESS, 0, PRIORITY)
    with open_port(wire.if_a) as a, open_port(wire.if_b) as b:
        copy(Relay(wire=wire), (Way(source=a, target=b), Way(source=b, target=a)))


if __name__ == "__main__":
    main()
