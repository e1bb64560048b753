"""Datagrams between hosts of a small LAN, and what a host sees: how the tests of the LAN look at it."""

from __future__ import annotations

import os
import pathlib
import select
import socket
import threading
import time

from tests.lab import namespaces
from tests.lab.lan import Lan

HOSTS = {"a": "10.99.7.11", "b": "10.99.7.12", "c": "10.99.7.13"}
VIP = "10.99.7.50"
PORT = 7007
QUIET_S = 0.3  # nothing more is under way when this long nothing came
Arrivals = list[tuple[int, float]]  # number of the datagram, when it came


def bound(lan: Lan, host: str, port: int = 0) -> socket.socket:
    with lan.inside(host):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    sock.bind(("0.0.0.0", port))
    return sock


def reaches(lan: Lan, near: str, address: str, limit_s: float = 2.0) -> bool:
    """Whether one of several datagrams comes back from the echo within the limit."""
    with bound(lan, near) as sock:
        sock.settimeout(0.1)
        end_s = time.monotonic() + limit_s
        while time.monotonic() < end_s:
            try:
                sock.sendto(b"0", (address, PORT))
                sock.recv(2048)
                return True
            except OSError:  # no answer in 0.1 s, or no route while the host has no carrier
                if select.select([sock], [], [], 0.05)[0]:
                    return True
    return False


def send(source: socket.socket, target: tuple[str, int], count: int, gap_s: float, size: int) -> dict[int, float]:
    """Send numbered datagrams, ``gap_s`` seconds apart; when each was sent."""
    sent = {}
    start_s = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, start_s + number * gap_s - time.monotonic()))
        sent[number] = time.monotonic()
        source.sendto(str(number).encode().ljust(size), target)
    return sent


def exchange(
    lan: Lan, near: str, far: str, count: int = 400, gap_s: float = 0.002
) -> tuple[dict[int, float], Arrivals]:
    """Round trips from near to the echo at far: when each datagram was sent, and what came back in its order."""
    with bound(lan, near) as sock:
        return _collected(sock, sock, (HOSTS[far], PORT), count, gap_s)


def one_way(lan: Lan, near: str, far: str, count: int = 400, gap_s: float = 0.002) -> tuple[dict[int, float], Arrivals]:
    """Datagrams from near that arrive at far, where nobody answers."""
    with bound(lan, near) as source, bound(lan, far) as sink:
        return _collected(source, sink, (HOSTS[far], sink.getsockname()[1]), count, gap_s)


def _collected(
    source: socket.socket, sink: socket.socket, target: tuple[str, int], count: int, gap_s: float, size: int = 64
) -> tuple[dict[int, float], Arrivals]:
    arrivals: Arrivals = []
    sending = threading.Event()

    def collect() -> None:
        while select.select([sink], [], [], QUIET_S)[0] or not sending.is_set():
            if select.select([sink], [], [], 0)[0]:
                data = sink.recv(2048)
                arrivals.append((int(data), time.monotonic()))

    thread = threading.Thread(target=collect)
    thread.start()
    try:
        sent = send(source, target, count, gap_s, size)
    finally:
        sending.set()
        thread.join(10)
    return sent, arrivals


def trip_times_s(lan: Lan, near: str, far: str, count: int = 40) -> list[float]:
    sent, back = exchange(lan, near, far, count, gap_s=0.01)
    return [at_s - sent[number] for number, at_s in back]


def on(lan: Lan, host: str, *command: str) -> str:
    return namespaces.run(*lan.prefix(host), *command)


def carrier(lan: Lan, host: str) -> str:
    return on(lan, host, "cat", "/sys/class/net/eth0/carrier").strip()


def left_over(name: str) -> list[str]:
    """Namespaces of a LAN of this process that still exist."""
    return [one for one in os.listdir(namespaces.NAMED) if one.startswith(f"ftlab.{name}.{os.getpid()}.")]


def relays() -> set[int]:
    """Relay processes that this process started."""
    found = set()
    for status in pathlib.Path("/proc").glob("[0-9]*/status"):
        try:
            parent = f"PPid:\t{os.getpid()}\n" in status.read_text()
            if parent and b"tests.lab.relay" in (status.parent / "cmdline").read_bytes():
                found.add(int(status.parent.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended while we looked
    return found
