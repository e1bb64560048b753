"""Network namespaces as hosts: make, enter, tune and remove them. Knows the kernel's tools; knows nothing of faults.

Every namespace of the lab is called ``ftlab.<lan>.<pid>.<host>``. The pid is that of the test run, so that two runs on
one machine never meet, and so that what a killed run left behind can be told from what is in use.
"""

from __future__ import annotations

import ctypes
import fcntl
import functools
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import Iterator, Mapping

FAMILY = "ftlab"
COMMAND_LIMIT_S = 10.0
DEATH_LIMIT_S = 5.0
NAMED = pathlib.Path("/var/run/netns")

_CLONE_NEWNET = 0x40000000
_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_ETHTOOL_STSO = 0x1F
_ETHTOOL_SGSO = 0x24
_libc = ctypes.CDLL(None, use_errno=True)


class LabError(RuntimeError):
    """A command of the lab failed; the text holds the command and what it said."""


def run(*argv: str, text: str = "") -> str:
    """Run one command with ``text`` as its input and return what it printed.

    :raises LabError: it is not installed, failed, or took more than ``COMMAND_LIMIT_S`` seconds.
    """
    try:
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=COMMAND_LIMIT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise LabError(f"{' '.join(argv)}: {error}") from error
    if done.returncode:
        raise LabError(f"{' '.join(argv)} (input {text!r}): {done.stderr.strip() or f'exit {done.returncode}'}")
    return done.stdout


def name_of(lan: str, host: str) -> str:
    """The namespace of a host in a LAN of this process."""
    return f"{FAMILY}.{lan}.{os.getpid()}.{host}"


def ip_batch(namespace: str, *lines: str) -> None:
    """``ip`` commands in one namespace, in one process, so that little time passes between them.

    :raises LabError: one of them failed; those after it were not run.
    """
    run("ip", "-n", namespace, "-batch", "-", text="\n".join(lines) + "\n")


def _setns(fd: int, what: str) -> None:
    if _libc.setns(fd, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise LabError(f"setns to {what}: {os.strerror(code)}; the lab must run as root")


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """The calling thread is in the namespace; sockets opened there stay there. It always returns to the old one.

    Threads and processes that it starts meanwhile are in the namespace too, and stay.

    ``/sys`` still shows the old namespace: to read it, run a command behind ``ip netns exec``, which mounts it anew.

    :raises LabError: the namespace is gone or may not be entered.
    """
    old = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            new = os.open(NAMED / namespace, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise LabError(f"namespace {namespace} does not exist; is its Lan still entered?") from error
        try:
            _setns(new, namespace)
        finally:
            os.close(new)
        try:
            yield
        finally:
            _setns(old, "the namespace that the thread came from")
    finally:
        os.close(old)


def add(namespace: str, sysctls: Mapping[str, str]) -> None:
    """Make a namespace with ``lo`` up, or none at all.

    :param sysctls: keys below ``net``, with slashes, and their values.
    :raises LabError: there is one of that name, or this may not be done here.
    """
    run("ip", "netns", "add", namespace)
    try:
        ip_batch(namespace, "link set lo up")
        tune(namespace, sysctls)
    except (LabError, OSError):
        remove(namespace)
        raise


def tune(namespace: str, sysctls: Mapping[str, str]) -> None:
    """Set keys below ``net`` in a namespace. Those of a protocol that this kernel does not have are left out."""
    with inside(namespace):
        for key, value in sysctls.items():
            if not pathlib.Path("/proc/sys/net", key.split("/")[0]).is_dir():
                continue
            pathlib.Path("/proc/sys/net", key).write_text(value, encoding="ascii")


def offload_nothing(namespace: str, *interfaces: str) -> None:
    """Checksums and segments are made before the frame leaves, as on a wire, so that a copied frame is a valid one.

    :raises OSError: the driver refused.
    """
    with inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
        for interface in interfaces:
            for command in (_ETHTOOL_STXCSUM, _ETHTOOL_STSO, _ETHTOOL_SGSO):
                value = ctypes.create_string_buffer(struct.pack("II", command, 0))
                request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
                fcntl.ioctl(asker, _SIOCETHTOOL, request)


def pids(namespace: str) -> list[int]:
    """Processes whose main thread is in the namespace, this one left out."""
    return [pid for pid in map(int, run("ip", "netns", "pids", namespace).split()) if pid != os.getpid()]


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # it ended by itself between the listing and now


def remove(namespace: str) -> None:
    """End every process in the namespace (a namespace lives on, unseen, for as long as one is in it) and delete it.

    :raises LabError: a process would not die within ``DEATH_LIMIT_S`` seconds.
    """
    if not (NAMED / namespace).exists():
        return
    end_s = time.monotonic() + DEATH_LIMIT_S
    while left := pids(namespace):
        if time.monotonic() > end_s:
            raise LabError(
                f"processes {left} in namespace {namespace} outlive SIGKILL; thaw those in a freezer cgroup first"
            )
        for pid in left:
            _signal(pid)
        time.sleep(0.01)
    run("ip", "netns", "delete", namespace)


def _is_orphan(namespace: str) -> bool:
    parts = namespace.split(".")
    if len(parts) != 4 or parts[0] != FAMILY or not parts[2].isdigit():
        return False
    return not pathlib.Path("/proc", parts[2]).exists()


def remove_orphans() -> None:
    """Remove what a killed run left behind: namespaces of the lab whose test run does not exist any more."""
    if not NAMED.is_dir():
        return
    lock = os.open(NAMED, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)  # runs that start together would remove the same one
        for orphan in filter(_is_orphan, sorted(os.listdir(NAMED))):
            remove(orphan)
    finally:
        os.close(lock)


@functools.cache
def has_netem() -> bool:
    """Whether this kernel and its tools know netem; asked once."""
    space = name_of("try-out", "netem")  # longer than the name of any LAN
    add(space, {})
    try:
        run("tc", "-n", space, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")
    except LabError:
        return False
    finally:
        remove(space)
    return True


@functools.cache
def missing() -> str:
    """Why the lab cannot run here, in a sentence; empty when it can. Tries it once on a namespace of its own.

    :raises LabError: the trial could not be removed: a fault of the lab, which must not look like a reason to skip.
    """
    if sys.platform != "linux":
        return "the lab needs Linux"
    if os.geteuid():
        return "the lab needs root: it makes network namespaces"
    for tool, package in (("ip", "iproute2"), ("nft", "nftables")):
        if shutil.which(tool) is None:
            return f"the lab needs {tool}; install the package {package}"
    rule = "table bridge lab { chain at { type filter hook prerouting priority 0; numgen random mod 100 < 1 drop; }; }"
    refused = "the lab needs namespaces, bridges, veth and nftables' bridge family; this kernel refused:"
    space = name_of("try-out", "lan")
    try:
        add(space, {"ipv4/tcp_tw_reuse": "1"})
    except (LabError, OSError) as error:
        return f"{refused} {error}"
    try:
        ip_batch(space, "link add lan type bridge", "link add far1 type veth peer name port1")
        run("ip", "netns", "exec", space, "nft", "-f", "-", text=rule)
    except LabError as error:
        return f"{refused} {error}"
    finally:
        remove(space)
    return ""
